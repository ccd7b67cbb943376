"""The registry, and the contracts that events announce.

A contract that a factory announces is followed from that event on. What the registry lists itself, or an
earlier event announced, stays as it is. Markets count that a protocol opens by its own governance, and those
that the registry lists: by their contract, or as one of many in a contract.
"""

import json
import os
from typing import NamedTuple

# Decoder and event: the member that is the contract, its role, and whether the event names two tokens.
ANNOUNCEMENTS = {
    ("zklend", "NewReserve"): ("z_token", "z_token", False),
    ("jediswap_v1", "PairCreated"): ("pair", "pair", True),
    ("jediswap_v2", "PoolCreated"): ("pool", "pool", True),
    ("vesu_v2", "CreatePool"): ("pool", "pool", False),
}


# Decoders of protocols that open markets by their own governance.
GOVERNED = {"zklend", "nostra_money_market"}
# Decoders of contracts that hold many markets: how many parts of a market's id the registry lists.
SHARED = {"ekubo": 5, "vesu_v1": 2}


def felts(market_id):
    """The parts of a market id."""
    return [int(part, 16) for part in market_id.split("/")]


class Contract(NamedTuple):
    """A watched contract: `tokens` are those of a pool, `asset` is that of a share or of a debt."""

    address: int
    protocol: str
    decoder: str
    role: str
    tokens: tuple | None = None
    asset: int | None = None


def load(path):
    """One document: a registry file, or a directory with `chain.json` and a file for each protocol."""
    if not os.path.isdir(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    raw = load(os.path.join(path, "chain.json"))
    names = sorted(name for name in os.listdir(path) if name != "chain.json")
    raw["protocols"] = [load(os.path.join(path, name)) for name in names]
    return raw


class Registry:
    """The members of the registry that the numbers need, addresses as integers."""

    def __init__(self, path):
        raw = load(path)
        self.usdc = int(raw["quote_token"], 16)
        self.decimals = {int(token["address"], 16): token["decimals"] for token in raw["tokens"]}
        self.symbols = {int(token["address"], 16): token["symbol"] for token in raw["tokens"]}
        self.contracts = {}
        self.decoders = {protocol["id"]: protocol["decoder"] for protocol in raw["protocols"]}
        self.markets = {
            protocol["id"]: {tuple(felts(market["id"])) for market in protocol.get("markets", [])}
            for protocol in raw["protocols"]
        }
        for protocol in raw["protocols"]:
            for listed in protocol["contracts"]:
                self.add(
                    int(listed["address"], 16),
                    (protocol["id"], protocol["decoder"], listed["role"]),
                    tokens=tuple(int(listed[side], 16) for side in ("token0", "token1") if side in listed) or None,
                    asset=int(listed["asset"], 16) if "asset" in listed else None,
                )

        self.listed = frozenset(self.contracts)

    def is_counted(self, protocol, market_id):
        """Whether a market whose tokens are all listed counts."""
        decoder, parts = self.decoders[protocol], felts(market_id)
        if decoder in GOVERNED:
            return True
        if decoder in SHARED:
            return tuple(parts[: SHARED[decoder]]) in self.markets[protocol]
        return parts[0] in self.listed

    def add(self, address, kind, tokens=None, asset=None):
        """Follows a contract, unless it is followed already."""
        self.contracts.setdefault(address, Contract(address, *kind, tokens, asset))

    def announce(self, emitter, name, event):
        """Follows the contract that an event announces."""
        if (emitter.decoder, name) in ANNOUNCEMENTS:
            member, role, has_tokens = ANNOUNCEMENTS[(emitter.decoder, name)]
            tokens = (event["token0"], event["token1"]) if has_tokens else None
            self.add(event[member], (emitter.protocol, emitter.decoder, role), tokens=tokens)

    def scale(self, token):
        """The power of ten between a price and a ratio of raw amounts of USDC and the token."""
        return 10 ** (18 + self.decimals[token] - self.decimals[self.usdc])

    def symbol(self, token):
        """The token's symbol, or its address."""
        return self.symbols.get(token, hex(token))
