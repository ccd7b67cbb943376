"""What wallets did, counted by protocol and kind.

Kinds are deposit, withdrawal, borrow, repay, liquidation and swap. An event that moves two tokens is two
deposits or withdrawals; an amount of zero is none. A swap is one where the pool gained one token and did
not gain the other.
"""


def moved(above, below, *amounts):
    """A kind for each amount: one for those above zero, one for those below."""
    return [above if amount > 0 else below for amount in amounts if amount]


def put(*amounts):
    """A deposit for each amount above zero, a withdrawal for each below."""
    return moved("deposit", "withdrawal", *amounts)


def took(*amounts):
    """A withdrawal for each amount that is not zero."""
    return moved("withdrawal", "withdrawal", *amounts)


def swapped(gained0, gained1):
    """A swap, from what the pool gained."""
    return ["swap"] if (gained0 > 0) != (gained1 > 0) else []


def pair_swapped(event):
    """A swap of a pair that states both directions of both tokens."""
    return swapped(
        event["amount0In"] - event["amount0Out"],
        event["amount1In"] - event["amount1Out"],
    )


def position_moved(event):
    """A lending position whose collateral and debt changed."""
    return put(event["collateral_delta"]) + moved("borrow", "repay", event["debt_delta"])


def share_minted(contract, event):
    """A mint of a money market's token: of a debt token it is a loan."""
    return moved("borrow" if contract.role == "debt_token" else "deposit", None, event["amount"])


def share_burnt(contract, event):
    """A burn of a money market's token: of a debt token it pays back."""
    return moved("repay" if contract.role == "debt_token" else "withdrawal", None, event["amount"])


KINDS = {
    ("zklend", "Deposit"): lambda _, event: put(event["face_amount"]),
    ("zklend", "Withdrawal"): lambda _, event: took(event["face_amount"]),
    ("zklend", "Borrowing"): lambda _, event: moved("borrow", None, event["face_amount"]),
    ("zklend", "Repayment"): lambda _, event: moved("repay", None, event["face_amount"]),
    ("zklend", "Liquidation"): lambda _, event: ["liquidation"],
    ("ekubo", "Swapped"): lambda _, event: swapped(*event["delta"].values()),
    ("ekubo", "PositionUpdated"): lambda _, event: put(*event["delta"].values()),
    ("jediswap_v1", "Swap"): lambda _, event: pair_swapped(event),
    ("jediswap_v1", "Mint"): lambda _, event: put(event["amount0"], event["amount1"]),
    ("jediswap_v1", "Burn"): lambda _, event: took(event["amount0"], event["amount1"]),
    ("jediswap_v2", "Swap"): lambda _, event: swapped(event["amount0"], event["amount1"]),
    ("jediswap_v2", "Mint"): lambda _, event: put(event["amount0"], event["amount1"]),
    ("jediswap_v2", "Burn"): lambda _, event: took(event["amount0"], event["amount1"]),
    ("nostra_pools", "Swap"): lambda _, event: pair_swapped(event),
    ("nostra_pools", "PairMint"): lambda _, event: put(event["amount0"], event["amount1"]),
    ("nostra_pools", "PairBurn"): lambda _, event: took(event["amount0"], event["amount1"]),
    ("nostra_money_market", "Mint"): share_minted,
    ("nostra_money_market", "Burn"): share_burnt,
    ("vesu_v1", "ModifyPosition"): lambda _, event: position_moved(event),
    ("vesu_v1", "LiquidatePosition"): lambda _, event: ["liquidation"],
    ("vesu_v2", "ModifyPosition"): lambda _, event: position_moved(event),
    ("vesu_v2", "LiquidatePosition"): lambda _, event: ["liquidation"],
}


def activities(contract, name, event):
    """The kinds of what an event says that wallets did."""
    kinds = KINDS.get((contract.decoder, name))
    return kinds(contract, event) if kinds else []
