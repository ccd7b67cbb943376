#!/usr/bin/env python3
"""Works out the figures of the recorded blocks straight from their felts.

    recorded.py BLOCKS REGISTRY

BLOCKS holds one block a line as JSON, plain or gzip, with the heights of the original chain; here they
become 0, 1, 2 and so on, and the timestamps stay. REGISTRY is a registry file, or a directory of one for
the chain and one for each protocol. Prints one JSON object:

    {"heights": [{"height", "block", "timestamp", "zklend", "ekubo", "jediswap_v1", "nostra_pools",
                  "prices", "markets": {protocol: {market: {"asset", "assetAddress", "counted", figure: …}}},
                  "anomalies": [[protocol, market or null, rule]]}],
     "events": {protocol: {name or "undecoded": count}},
     "activities": {protocol: {kind: count}}, "unread": {protocol: [figure]}}

with the state at the end of each height: utilization in bps by zkLend token, price and liquidity by
Ekubo pool, reserves by pair, the USDC price of each token at its deepest pool, scale 10^-18, and every
figure of each market as the API names it, a value or `{"absent": reason}`. Figures that this reading does not
have are named in "unread".

It is a second reading of ops/docs/metrics.md and of the layouts, in integers and decimals of the standard
library. It shares no code with the product, so that an error has to be made twice to go unseen.
"""

import gzip
import json
import sys
from collections import Counter
from decimal import Decimal, getcontext

sys.dont_write_bytecode = True

from activity import activities
from layouts import decode
from markets import Around
from pools import Q128, EkuboPool, JediSwapV2Pool, Pair
from registry import Registry
from reserves import NostraReserve, Reserve
from vesu import VesuReserve

getcontext().prec = 60

# The members by which an event of zkLend's market names a reserve.
RESERVE_MEMBERS = ("token", "debt_token", "collateral_token")
PAIR_EVENTS = {"Sync", "Swap", "Mint", "Burn", "PairMint", "PairBurn"}
# A pool's depth in USDC's smallest unit from which on its price is compared, and for how long a gap lasts.
LEAST_DEPTH = 10**10
GAP_SECONDS = 1_800
# What the pairs of Nostra Pools take for a swap is not known.
UNREAD = {"nostra_pools": ["fees24hUsdc", "supplyApyBps"]}


def blocks(path):
    """The lines of a plain or gzip file."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with (gzip.open if packed else open)(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def pool_id(key):
    """A pool key as a market id."""
    return "/".join(map(hex, key.values()))


def parts(event):
    """Keys and data of an event."""
    return [int(felt, 16) for felt in event["keys"]], [int(felt, 16) for felt in event["data"]]


class Reading:
    """What the events said so far."""

    def __init__(self, registry_path):
        self.registry = Registry(registry_path)
        self.markets = {}  # protocol: {market id: market}
        self.times = []
        self.events = {}
        self.activities = {}
        self.upgraded = []  # of the newest block
        self.gaps = {}  # token: since when its pools are apart, and the market that was told

    def block(self, block):
        """Takes a block's events; the rules that it broke, with protocol and market."""
        self.upgraded = []
        self.times.append(max([block["timestamp"], *self.times[-1:]]))
        events = [event for transaction in block["transactions"] for event in transaction["events"]]
        for place, event in enumerate(events):
            contract = self.registry.contracts.get(int(event["from_address"], 16))
            if contract is not None:
                keys, data = parts(event)
                is_told_again = self.is_told_again(contract, keys, data, events[place + 1 : place + 2])
                self.event(contract, keys, data, is_told_again)
        broken = [
            [protocol, market_id, rule]
            for protocol, markets in self.markets.items()
            for market_id, market in markets.items()
            for rule in market.end_block(self.times[-1])
        ]
        return broken + self.upgraded + self.price_gaps() + self.outflows()

    @staticmethod
    def is_told_again(contract, keys, data, after):
        """Whether the event after a zToken's transfer tells of the same movement."""
        name, event = decode(contract.decoder, contract.role, keys, data)
        if contract.role != "z_token" or name != "Transfer" or not after:
            return False
        again, raw = decode(contract.decoder, contract.role, *parts(after[0]))
        if int(after[0]["from_address"], 16) != contract.address or again != "RawTransfer":
            return False
        movement = (event["from"], event["to"], event["value"])
        return movement == (raw["from"], raw["to"], raw["face_value"])

    def event(self, contract, keys, data, is_told_again):
        """Takes an event of a watched contract."""
        name, event = decode(contract.decoder, contract.role, keys, data)
        self.events.setdefault(contract.protocol, Counter())[name or "undecoded"] += 1
        if name is None:
            return
        for kind in activities(contract, name, event):
            self.activities.setdefault(contract.protocol, Counter())[kind] += 1
        if name in ("ContractUpgraded", "Upgraded"):
            self.upgraded.append([contract.protocol, None, "contract_upgraded"])
        self.registry.announce(contract, name, event)
        if is_told_again:
            return
        for market in self.named(contract, name, event):
            market.apply(name, event, self.times[-1])

    def named(self, contract, name, event):
        """The markets that an event names, each made if it is new."""
        markets = self.markets.setdefault(contract.protocol, {})
        if contract.role == "market":
            tokens = [event[member] for member in RESERVE_MEMBERS if member in event]
            return [markets.setdefault(hex(token), Reserve(token)) for token in tokens]
        if contract.role == "z_token":
            return [market for market in markets.values() if market.z_token == contract.address]
        if contract.decoder == "ekubo" and "pool_key" in event:
            key = event["pool_key"]
            return [markets.setdefault(pool_id(key), EkuboPool(key, self.registry))]
        if name == "InterestStateUpdated":
            debt = self.registry.contracts.get(event["debtToken"])
            asset = debt.asset if debt and (debt.protocol, debt.role) == (contract.protocol, "debt_token") else None
            return [markets.setdefault(hex(asset), NostraReserve(asset))] if asset else []
        if name == "PairCreated":
            child = self.registry.contracts[event["pair"]]
            return [markets.setdefault(hex(child.address), Pair(child.tokens, self.registry))]
        if name == "PoolCreated":
            child = self.registry.contracts[event["pool"]]
            return [markets.setdefault(hex(child.address), JediSwapV2Pool(child.tokens, self.registry))]
        if contract.decoder == "jediswap_v2" and contract.role == "pool":
            return [markets.setdefault(hex(contract.address), JediSwapV2Pool(contract.tokens, self.registry))]
        if contract.decoder in ("vesu_v1", "vesu_v2"):
            return list(self.of_pool(markets, contract, name, event))
        if contract.role == "pair" and name in PAIR_EVENTS:
            return [markets.setdefault(hex(contract.address), Pair(contract.tokens, self.registry))]
        return []

    @staticmethod
    def of_pool(markets, contract, name, event):
        """The assets of a pool of Vesu that an event names. Statements and openings make a market."""
        pool = hex(event.get("pool", contract.address))
        pool = f"{pool}/{event['pool_id']:#x}" if "pool_id" in event else pool
        for asset in {event.get(member) for member in ("asset", "collateral_asset", "debt_asset")} - {None, 0}:
            market_id = f"{pool}/{asset:#x}"
            if name in ("UpdateContext", "AddAsset"):
                yield markets.setdefault(market_id, VesuReserve(asset))
            elif market_id in markets:
                yield markets[market_id]

    def counted(self):
        """The markets that count, with protocol and id."""
        for protocol, markets in self.markets.items():
            for market_id, market in markets.items():
                if market.is_tracked(self.registry) and self.registry.is_counted(protocol, market_id):
                    yield protocol, market_id, market

    def around(self):
        """What figures need beside their market."""
        deepest = self.deepest()
        prices = {token: price for token, (_, _, _, price) in deepest.items()} | {self.registry.usdc: 10**18}
        pools = {token: self.markets[protocol][market_id] for token, (_, protocol, market_id, _) in deepest.items()}
        return Around(self.registry, prices, pools, self.times)

    def outflows(self):
        """The outflows that begin or end to be told."""
        around = self.around()
        return [
            [protocol, market_id, "net_outflow"]
            for protocol, markets in self.markets.items()
            for market_id, market in markets.items()
            if market.outflow(around)
        ]

    def deepest(self):
        """By token the deepest pool with USDC that counts: depth below 0, protocol, id, price."""
        found = {}
        for protocol, market_id, market in self.counted():
            side = self.usdc_side(market.tokens)
            quote = None if side is None else market.quote(self.registry, side)
            if quote and min(quote) > 0:
                found.setdefault(market.asset, []).append((-quote[0], protocol, market_id, quote[1]))
        return {token: min(candidates) for token, candidates in found.items()}

    def prices(self):
        """USDC price by token at the deepest pool that counts, with that pool's id."""
        deepest = self.deepest()
        prices = {token: (price, market_id) for token, (_, _, market_id, price) in deepest.items()}
        return prices | {self.registry.usdc: (10**18, None)}

    def price_gaps(self):
        """The gaps between venues that begin or end to be told."""
        deep = {}
        for protocol, market_id, market in self.counted():
            side = self.usdc_side(market.tokens)
            quote = None if side is None else market.quote(self.registry, side)
            if quote and quote[0] >= LEAST_DEPTH and quote[1] > 0:
                deep.setdefault(market.asset, []).append((quote[1], protocol, market_id, quote[0]))
        told = []
        for token in sorted(deep.keys() | self.gaps.keys()):
            pools = sorted(deep.get(token, []))
            venues = {protocol for _, protocol, _, _ in pools}
            is_apart = len(venues) > 1 and (pools[-1][0] - pools[0][0]) * 100 > pools[0][0] * 3
            since, market = self.gaps.pop(token, (self.times[-1], None))
            if is_apart and market is None and since + GAP_SECONDS <= self.times[-1]:
                _, protocol, market_id, _ = min((pools[0], pools[-1]), key=lambda pool: pool[3])
                market = [protocol, market_id]
                told.append([*market, "price_gap"])
            elif not is_apart and market is not None:
                told.append([*market, "price_gap"])
            if is_apart:
                self.gaps[token] = (since, market)
        return told

    def usdc_side(self, tokens):
        """Which token is USDC, where the other one is a listed token."""
        if len(tokens) != 2 or (tokens[0] == self.registry.usdc) == (tokens[1] == self.registry.usdc):
            return None
        side = tokens.index(self.registry.usdc)
        return side if tokens[1 - side] in self.registry.decimals else None

    def figures(self):
        """All figures of all markets."""
        around = self.around()
        return {
            protocol: {
                market_id: {
                    "asset": self.registry.symbol(market.asset),
                    "assetAddress": hex(market.asset),
                    "counted": market.is_tracked(self.registry) and self.registry.is_counted(protocol, market_id),
                    **self.read_figures(protocol, market.figures(around)),
                }
                for market_id, market in sorted(markets.items())
            }
            for protocol, markets in self.markets.items()
            if markets
        }

    @staticmethod
    def read_figures(protocol, figures):
        """The figures without those that this reading does not have."""
        return {name: value for name, value in figures.items() if name not in UNREAD.get(protocol, [])}

    def state(self, protocol, show):
        """What `show` says of a protocol's markets; those of which it says None are left out."""
        shown = {market_id: show(market) for market_id, market in self.markets.get(protocol, {}).items()}
        return {market_id: value for market_id, value in sorted(shown.items()) if value is not None}


def reserve_state(market):
    """Utilization in bps, where rates were seen."""
    if market.rates is None:
        return None
    lending, borrowing = market.rates
    if borrowing == 0:
        return None if lending else 0
    return lending * 10_000 // borrowing


def pool_state(market):
    """Price of token0 in token1, raw units, from the ratio and from the tick."""
    if market.state is None:
        return None
    ratio, tick, liquidity = market.state
    price = (Decimal(ratio) / Q128) ** 2
    by_tick = Decimal("1.000001") ** tick
    return {
        "price": format(price, ".30g"),
        "price_by_tick": format(by_tick, ".30g"),
        "difference": format(abs(price / by_tick - 1), ".3g"),
        "liquidity": str(liquidity),
    }


def pair_state(market):
    """Reserves, and price of token0 in token1, raw units."""
    if market.reserves is None:
        return None
    first, second = market.reserves
    price = format(Decimal(second) / Decimal(first), ".30g") if first else None
    return {"reserve0": str(first), "reserve1": str(second), "price": price}


def read(blocks_path, registry_path):
    """The object that the module describes."""
    reading = Reading(registry_path)
    heights = []
    for height, block in enumerate(blocks(blocks_path)):
        anomalies = reading.block(block)
        prices = reading.prices()
        heights.append({
            "height": height,
            "block": block["number"],
            "timestamp": block["timestamp"],
            "zklend": reading.state("zklend", reserve_state),
            "ekubo": reading.state("ekubo", pool_state),
            "jediswap_v1": reading.state("jediswap_v1", pair_state),
            "nostra_pools": reading.state("nostra_pools", pair_state),
            "prices": {
                hex(token): {"price": str(price), "pool": pool} for token, (price, pool) in sorted(prices.items())
            },
            "markets": reading.figures(),
            "anomalies": anomalies,
        })
    counts = {"events": reading.events, "activities": reading.activities}
    return {"heights": heights, **counts, "unread": UNREAD}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: recorded.py BLOCKS REGISTRY")
    json.dump(read(sys.argv[1], sys.argv[2]), sys.stdout, indent=1, sort_keys=True)
    print()
