#!/usr/bin/env python3
"""Works out metrics of the recorded blocks straight from their felts.

    recorded.py BLOCKS REGISTRY

BLOCKS holds one block a line as JSON, plain or gzip, with the heights of the original chain; here they
become 0, 1, 2 and so on. REGISTRY is a registry file, or a directory of one for the chain and one for each
protocol. Prints one JSON object:

    {"heights": [{"height", "block", "timestamp", "zklend", "ekubo", "jediswap_v1", "nostra_pools", "prices"}],
     "events": {protocol: {name or "undecoded": count}}}

with the state at the end of each height: utilization in bps by zkLend token, price and liquidity by
Ekubo pool, reserves by pair, and the USDC price of each token at its deepest pool, scale 10^-18.

It is a second reading of ops/docs/metrics.md, in integers and decimals of the standard library. It
shares no code with the product, so that an error has to be made twice to go unseen.
"""

import gzip
import json
import os
import sys
from collections import Counter
from decimal import Decimal, getcontext

getcontext().prec = 60

Q128 = 1 << 128

# (first key, number of keys, number of data felts): name.
ZKLEND = {
    (0x3d3ae916d7df55e66f18fa2bbcc98ae398b3e9b93f72b77a352a526db72ae54, 1, 9): "NewReserve",
    (0x30c296ae369716818de77cb5b71ce9cda7cc2c0e8456f474e0abb1ae8d017da, 1, 3): "AccumulatorsSync",
    (0xa2fb82b5656725dad81c7112b2c4ef0119096677c3c0fd82632d0a74f07666, 1, 3): "InterestRatesSync",
    (0x9149d2123147c5f43d258257fef0b7b969db78269369ebcf5ebb9eef8592f2, 1, 3): "Deposit",
    (0x2eed7e29b3502a726faf503ac4316b7101f3da813654e8df02c13449e03da8, 1, 3): "Withdrawal",
    (0xfa3f9acdb7b24dcf6d40d77ff2f87a87bca64a830a2169aebc9173db23ff41, 1, 4): "Borrowing",
    (0x7ae0ab7952bbfc33a72035e5eccec7c8816723421c0acb315bd4690a71d46e, 1, 5): "Repayment",
    (0x238a25785a13ab3138feb8f8f517e5a21a377cc1ad47809e9fd5e76daf01df7, 1, 7): "Liquidation",
    (0x3218efe38000d1819eab9d0f52611e116d8eb59fd834c800ae94bddf5048fc3, 1, 5): "FlashLoan",
    (0x2324062bde6ebb76ffd17d55fee62fee62a4877588eb02524b19c091983b365, 1, 2): "CollateralEnabled",
    (0xf999d0d33513a8215756ae6a9223180a439c134372b158bc84b9dd02f63856, 1, 2): "CollateralDisabled",
    (0x12a972615a5b8eceedc4aa745657497294c6ebe9a3dc1f15c6b65abbeb1472e, 1, 2): "ReserveFactorUpdate",
    (0x3d23e514b52404566430259eb64e1c6ac4e8a36ace84bc7c8b90fbf45f68ac5, 1, 2): "InterestRateModelUpdate",
    (0x546d3ebe4dee046a05db8fe2ce6fbd66b06636feb3267a9d9260b69e6de97b, 1, 2): "CollateralFactorUpdate",
    (0x181afad2ad4b13dfc63a4e1d186a375245ca5975cc64afd9b78d49600e2380f, 1, 2): "BorrowFactorUpdate",
    (0x3cd84a3c74c6922c8e2501e79d64d35d91b74f570105e29c937ef861c5d896b, 1, 2): "DebtLimitUpdate",
    (0xd9dc61762d009d47ace69836911d3d6ca1ed8042aa1c7d9f2b3098f53f4355, 1, 2): "DepositLimitUpdate",
    (0xda3256205c64a1c337004b58fdba0438b4476b9be6e9ba06544c4ed6222b58, 1, 1): "TreasuryUpdate",
    (0x8248d60b6c95dac1563fa392e8dfc0cb968be73d80faedfe9a90e66811b45f, 1, 1): "ContractUpgraded",
}
EKUBO = {
    (0x157717768aca88da4ac4279765f09f4d0151823d573537fbbeb950cdbd9a870, 1, 21): "Swapped",
    (0x3a7adca3546c213ce791fabf3b04090c163e419c808c9830fb343a4a395946e, 1, 17): "PositionUpdated",
    (0x25ccf80ee62b2ca9b97c76ccea317c7f450fd6efb6ed6ea56da21d7bb9da5f1, 1, 9): "PoolInitialized",
    (0x96982abd597114bdaa4a60612f87fabfcc7206aa12d61c50e7ba1e6c291100, 1, 15): "PositionFeesCollected",
    (0x5dacf59794364ad1555bb3c9b2346afa81e57e5c19bb6bae0d22721c96c4e5, 1, 15): "ProtocolFeesPaid",
    (0x291697c8230383d5c3cc8dc39443356a7da6b0735605fb0ee0f7bfbb7b824a, 1, 3): "ProtocolFeesWithdrawn",
    (0x237e5e0677822acfc9117ed0f7ba4810b2c6b539a2359e8d73f9025d56957aa, 1, 7): "FeesAccumulated",
    (0x48796a25e5ceac9caf95a4618ebfd1516b51e5d994a49d28e22f09c64ad2ee, 1, 4): "SavedBalance",
    (0x305c746d1cf87085ae1abfe05967daa50048146e50e03fa41f7e41a91ee323d, 1, 4): "LoadedBalance",
}
JEDISWAP = {
    (0x19437bf1c5c394fc8509a2e38c9c72c152df0bac8be777d4fc8f959ac817189, 1, 4): "PairCreated",
    (0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232, 1, 4): "Sync",
    (0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab, 1, 10): "Swap",
    (0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16, 1, 5): "Mint",
    (0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744, 1, 6): "Burn",
    (0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9, 1, 4): "Transfer",
}
NOSTRA_MONEY_MARKET = {
    (0x33db1d611576200c90997bde1f948502469d333e65e87045c250e6efd2e42c7, 1, 9): "InterestStateUpdated",
    (0x33db1d611576200c90997bde1f948502469d333e65e87045c250e6efd2e42c7, 2, 8): "InterestStateUpdated",
    (0x3f1547f5c752a56ed475433772ec93cab0ef5ff7786632287d7381d30d305ae, 1, 3): "InterestStateSetLendingRate",
    (0x3f1547f5c752a56ed475433772ec93cab0ef5ff7786632287d7381d30d305ae, 2, 2): "InterestStateSetLendingRate",
    (0x49d3e14a9a5551aa9aa4e7ce97f74cc7357d95f68db2d55fc291f2e07af82d, 1, 3): "InterestStateSetBorrowingRate",
    (0x49d3e14a9a5551aa9aa4e7ce97f74cc7357d95f68db2d55fc291f2e07af82d, 2, 2): "InterestStateSetBorrowingRate",
    (0x624ef3ac9a411845bcc671de3155f9c27c29a2539be56d17acff46d0747877, 1, 2): "InterestStateSetLastUpdateTimestamp",
    (0x624ef3ac9a411845bcc671de3155f9c27c29a2539be56d17acff46d0747877, 2, 1): "InterestStateSetLastUpdateTimestamp",
    (0x2d869564c7a090f9b3cd65b3da756ce0477042ddacf02cf39dd19ca4c223e5f, 1, 3): "InterestStateSetLendingIndex",
    (0x2d869564c7a090f9b3cd65b3da756ce0477042ddacf02cf39dd19ca4c223e5f, 2, 2): "InterestStateSetLendingIndex",
    (0x3fe378208b9b410fecd7e94ee45037c8715f0f12c7a8455bde0f35277b83d65, 1, 3): "InterestStateSetBorrowingIndex",
    (0x3fe378208b9b410fecd7e94ee45037c8715f0f12c7a8455bde0f35277b83d65, 2, 2): "InterestStateSetBorrowingIndex",
    (0x369d08e8684f0f5059a0d8d3dd472d5ed27f64f12223960945d18ed6f31ad1c, 1, 3): "InterestRateConfigSetOptimalUtilizationRate",
    (0x2ecff393ae9c24f317e60d3ec6d2460d68ce33ca46cce8ec756e3d52538097f, 1, 3): "InterestRateConfigSetBaseBorrowingRate",
    (0xaf2b3e71915a0025ff80d3aec40737eab89d014d2d42dfe4e30e37b6ba11fa, 1, 3): "InterestRateConfigSetRateSlope1",
    (0x759c46a2ff5f6627c6da47452b2dfe18301f4ea54e75af567ef2600dbd0e7c, 1, 3): "InterestRateConfigSetRateSlope2",
    (0x6ef3a81d4eb76c3ec65f33f68bbbfaf80c656d21bbef535aa935fc090c7a0b, 1, 3): "InterestRateConfigSetGeneralProtocolFee",
    (0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16, 1, 3): "Mint",
    (0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16, 2, 2): "Mint",
    (0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744, 1, 3): "Burn",
    (0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744, 2, 2): "Burn",
    (0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9, 1, 4): "Transfer",
    (0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9, 3, 2): "Transfer",
    (0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff, 1, 4): "Approval",
    (0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff, 3, 2): "Approval",
}
NOSTRA_POOLS = {
    (0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab, 1, 10): "Swap",
    (0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232, 1, 4): "Sync",
    (0x4da1c5aad76bc7515d0b2a3e1701f34bb32eef406856809bce5ba13f3151de, 1, 5): "PairMint",
    (0x2b497518d83b236665380348d05287d4ff2e3bfde80c1487f31c8ddd34c9892, 1, 6): "PairBurn",
    (0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9, 3, 2): "Transfer",
    (0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff, 3, 2): "Approval",
}
ERC20 = {
    (0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9, 1, 4): "Transfer",
    (0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9, 3, 2): "Transfer",
    (0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff, 1, 4): "Approval",
    (0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff, 3, 2): "Approval",
}
# No event of the other decoders stands in the recorded blocks; one that did would end the script.
NAMES = {
    "zklend": ZKLEND,
    "ekubo": EKUBO,
    "jediswap_v1": JEDISWAP,
    "nostra_money_market": NOSTRA_MONEY_MARKET,
    "nostra_pools": NOSTRA_POOLS,
    "erc20": ERC20,
}


def signed(felts):
    """A magnitude and a sign."""
    magnitude, sign = felts
    return -magnitude if sign else magnitude


def blocks(path):
    """The lines of a plain or gzip file."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def load_registry(path):
    """One document: a registry file, or a directory with `chain.json` and a file for each protocol."""
    if not os.path.isdir(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    raw = load_registry(os.path.join(path, "chain.json"))
    names = sorted(name for name in os.listdir(path) if name != "chain.json")
    raw["protocols"] = [load_registry(os.path.join(path, name)) for name in names]
    return raw


class Registry:
    """The members of a registry file that the numbers need, addresses as integers."""

    def __init__(self, path):
        raw = load_registry(path)
        self.usdc = int(raw["quote_token"], 16)
        self.decimals = {int(t["address"], 16): t["decimals"] for t in raw["tokens"]}
        self.contracts = {}
        self.pairs = {}
        for protocol in raw["protocols"]:
            for contract in protocol["contracts"]:
                address = int(contract["address"], 16)
                self.contracts[address] = (protocol["id"], protocol["decoder"])
                if contract["role"] == "pair":
                    self.pairs[address] = (int(contract["token0"], 16), int(contract["token1"], 16))

    def usdc_side(self, token0, token1):
        """The token of a USDC pool, its price's power of ten, and whether USDC is token1."""
        if (token0 == self.usdc) == (token1 == self.usdc):
            return None
        token = token0 if token1 == self.usdc else token1
        if token not in self.decimals:
            return None
        exponent = 18 + self.decimals[token] - self.decimals[self.usdc]
        return token, 10**exponent, token1 == self.usdc


class State:
    """What the events said so far."""

    def __init__(self, registry):
        self.registry = registry
        self.rates = {}  # token: (lending, borrowing)
        self.pools = {}  # pool key: [sqrt ratio, tick, active liquidity]
        self.reserves = {}  # pair: (reserve0, reserve1)

    def event(self, decoder, name, address, data):
        """Takes one event."""
        if (decoder, name) == ("zklend", "InterestRatesSync"):
            self.rates[data[0]] = (data[1], data[2])
        elif (decoder, name) == ("ekubo", "Swapped"):
            ratio = data[16] + (data[17] << 128)
            self.pools[tuple(data[1:6])] = [ratio, signed(data[18:20]), data[20]]
        elif (decoder, name) == ("ekubo", "PoolInitialized"):
            ratio = data[7] + (data[8] << 128)
            self.pools[tuple(data[0:5])] = [ratio, signed(data[5:7]), 0]
        elif (decoder, name) == ("ekubo", "PositionUpdated"):
            pool = self.pools.get(tuple(data[1:6]))
            if pool and signed(data[7:9]) <= pool[1] < signed(data[9:11]):
                pool[2] += signed(data[11:13])
        elif decoder in ("jediswap_v1", "nostra_pools") and name == "Sync" and address in self.registry.pairs:
            self.reserves[address] = (data[0] + (data[1] << 128), data[2] + (data[3] << 128))

    def utilization(self):
        """Bps by token."""
        return {
            hex(token): lending * 10_000 // borrowing if borrowing else (None if lending else 0)
            for token, (lending, borrowing) in sorted(self.rates.items())
        }

    def ekubo(self):
        """Price of token0 in token1, raw units, from the ratio and from the tick."""
        pools = {}
        for key, (ratio, tick, liquidity) in sorted(self.pools.items()):
            price = (Decimal(ratio) / Q128) ** 2
            by_tick = Decimal("1.000001") ** tick
            pools["/".join(map(hex, key))] = {
                "price": format(price, ".30g"),
                "price_by_tick": format(by_tick, ".30g"),
                "difference": format(abs(price / by_tick - 1), ".3g"),
                "liquidity": str(liquidity),
            }
        return pools

    def pairs(self, decoder):
        """Reserves of a decoder's pairs, and price of token0 in token1, raw units."""
        return {
            hex(pair): {
                "reserve0": str(first),
                "reserve1": str(second),
                "price": format(Decimal(second) / Decimal(first), ".30g") if first else None,
            }
            for pair, (first, second) in sorted(self.reserves.items())
            if self.registry.contracts[pair][1] == decoder
        }

    def prices(self):
        """USDC price by token at the deepest pool, with that pool."""
        found = {}
        for key, (ratio, _, liquidity) in self.pools.items():
            side = self.registry.usdc_side(key[0], key[1])
            if side and ratio:
                token, scale, usdc_is_token1 = side
                if usdc_is_token1:
                    depth, price = liquidity * ratio // Q128, ratio**2 * scale // Q128**2
                else:
                    depth, price = liquidity * Q128 // ratio, Q128**2 * scale // ratio**2
                found.setdefault(token, []).append((-depth, "ekubo", "/".join(map(hex, key)), price))
        for pair, reserves in self.reserves.items():
            side = self.registry.usdc_side(*self.registry.pairs[pair])
            if side:
                token, scale, usdc_is_token1 = side
                other, usdc = reserves if usdc_is_token1 else reserves[::-1]
                if other:
                    found.setdefault(token, []).append((-usdc, self.registry.contracts[pair][0], hex(pair), usdc * scale // other))
        prices = {hex(self.registry.usdc): {"price": str(10**18), "pool": None}}
        for token, candidates in sorted(found.items()):
            usable = sorted(candidate for candidate in candidates if candidate[0] < 0 and candidate[3] > 0)
            if usable:
                prices[hex(token)] = {"price": str(usable[0][3]), "pool": usable[0][2]}
        return prices


def main(blocks_path, registry_path):
    """Prints the object that the module describes."""
    registry = Registry(registry_path)
    state = State(registry)
    counts = {}
    heights = []
    for height, block in enumerate(blocks(blocks_path)):
        for transaction in block["transactions"]:
            for event in transaction["events"]:
                address = int(event["from_address"], 16)
                if address not in registry.contracts:
                    continue
                protocol, decoder = registry.contracts[address]
                keys = [int(key, 16) for key in event["keys"]]
                data = [int(felt, 16) for felt in event["data"]]
                name = NAMES[decoder].get((keys[0], len(keys), len(data))) if keys else None
                counts.setdefault(protocol, Counter())[name or "undecoded"] += 1
                state.event(decoder, name, address, data)
        heights.append({
            "height": height,
            "block": block["number"],
            "timestamp": block["timestamp"],
            "zklend": state.utilization(),
            "ekubo": state.ekubo(),
            "jediswap_v1": state.pairs("jediswap_v1"),
            "nostra_pools": state.pairs("nostra_pools"),
            "prices": state.prices(),
        })
    json.dump({"heights": heights, "events": counts}, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: recorded.py BLOCKS REGISTRY")
    main(sys.argv[1], sys.argv[2])
