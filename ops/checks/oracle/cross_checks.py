#!/usr/bin/env python3
"""Holds figures of the recorded blocks against others of the same thing.

    cross_checks.py BLOCKS REGISTRY STATS ACCUMULATORS

BLOCKS and REGISTRY are those of recorded.py. STATS is a list of tables that a published dashboard of zkLend
showed in 2023, ACCUMULATORS a table of zkLend's accumulators of its first week. Prints one JSON object with
a member for each check; ops/docs/cross-checks.md says what is compared and what explains the differences.
Differences are in bps of the second figure, rounded to a hundredth.
"""

import csv
import json
import sys
from datetime import datetime
from decimal import Decimal

sys.dont_write_bytecode = True

from pools import EkuboPool
from recorded import Reading, blocks
from reserves import RAY, YEAR

ETH = 0x49D36570D4E46F48E99674BD3FCC84644DDD6B96F7C741B1562B82F9E004DC7
# Tokens whose rates the recorded blocks state, as the dashboard names them too.
STATS_NAMES = ["ETH", "USDC", "USDT", "wstETH"]
WEEK = 7 * 86_400


def apart(first, second):
    """The difference of two figures."""
    return str(round((Decimal(first) / Decimal(second) - 1) * 10_000, 2))


def readings(blocks_path, registry_path):
    """The state after each block, with the block."""
    reading = Reading(registry_path)
    for block in blocks(blocks_path):
        reading.block(block)
        yield reading, block


def eth_pools(reading):
    """The pools of ETH and USDC with their protocol and id."""
    sides = {ETH, reading.registry.usdc}
    for protocol, markets in reading.markets.items():
        for market_id, market in markets.items():
            if set(market.tokens) == sides:
                yield protocol, market_id, market


def traded_now(reading):
    """The deepest pool of ETH and USDC of each of two protocols that had a swap in the newest block."""
    deepest = {}
    for protocol, market_id, market in eth_pools(reading):
        if market.swaps and market.swaps[-1][0] == reading.times[-1] and protocol in ("jediswap_v1", "ekubo"):
            quote = market.quote(reading.registry, market.tokens.index(reading.registry.usdc))
            deepest[protocol] = max(deepest.get(protocol, ((0, 0), "", None)), (quote, market_id, market))
    return deepest


def prices(blocks_path, registry_path):
    """ETH in USDC after each block with a swap on both JediSwap v1 and Ekubo."""
    found = []
    for reading, block in readings(blocks_path, registry_path):
        deepest = traded_now(reading)
        if len(deepest) < 2:
            continue
        (_, pair_price), _, _ = deepest["jediswap_v1"]
        (_, pool_price), _, pool = deepest["ekubo"]
        pool_fee = Decimal(pool.fee) / 2**128 * 10_000 if isinstance(pool, EkuboPool) else None
        found.append({
            "block": block["number"],
            "jediswap_v1": str(round(Decimal(pair_price) / 10**18, 2)),
            "ekubo": str(round(Decimal(pool_price) / 10**18, 2)),
            "apart_bps": apart(pair_price, pool_price),
            "fees_bps": str(round(30 + pool_fee, 2)),
        })
    return found


def stats_of(path):
    """The dashboard's supply and debt of zkLend, in whole tokens, by second and token."""
    with open(path, encoding="utf-8") as file:
        tables = json.load(file)
    found = {}
    for table in tables:
        kind = table["file"].rsplit("/", 1)[-1].removesuffix("_stats.csv")
        row = next((row for row in table["rows"] if row["Protocol"] == "zkLend"), None)
        # A table that does not say when it was made is dated by its commit, which is later.
        if row is None or kind not in ("supply", "debt", "utilization"):
            continue
        made = table["last_update"] and int(json.loads(table["last_update"])["timestamp"])
        made = made or int(datetime.fromisoformat(table["commit_date"]).timestamp())
        for name in STATS_NAMES:
            if f"{name} {kind}" in row:
                found.setdefault((made, table["commit_date"], name), {})[kind] = Decimal(row[f"{name} {kind}"])
    return {key: row for key, row in found.items() if {"supply", "debt"} <= set(row) and row["debt"] > 0}


def utilization(blocks_path, registry_path, stats_path):
    """zkLend's utilization where the block states rates, beside the nearest table that is at most a week apart."""
    stats = stats_of(stats_path)
    found = []
    for reading, block in readings(blocks_path, registry_path):
        for market in reading.markets.get("zklend", {}).values():
            symbol = reading.registry.symbol(market.asset)
            is_fresh = market.syncs and market.syncs[-1][0] == block["timestamp"]
            near = [key for key in stats if key[2] == symbol and abs(key[0] - block["timestamp"]) <= WEEK]
            if not is_fresh or not near:
                continue
            made, committed, _ = min(near, key=lambda key: (abs(key[0] - block["timestamp"]), key[1]))
            row = stats[(made, committed, symbol)]
            theirs = row["debt"] / row["supply"]
            found.append({
                "block": block["number"],
                "token": symbol,
                "utilization_bps": market.utilization(),
                "debt_by_supply_bps": int(theirs * 10_000),
                "debt_by_supply_and_debt_bps": int(row["debt"] / (row["supply"] + row["debt"]) * 10_000),
                "shown_bps": int(row["utilization"] * 10_000) if "utilization" in row else None,
                "hours_later": round((made - block["timestamp"]) / 3600, 1),
            })
    return found


def launch_week(path):
    """Per token: rows that fall below an earlier one, what they say instead, and growth of the others."""
    tokens = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            values = tuple(Decimal(row[f"{kind}_accumulator"]) for kind in ("lending", "debt"))
            tokens.setdefault(hex(int(row["token"], 16)), []).append((int(row["timestamp"]), values))
    return {token: week_of(rows) for token, rows in sorted(tokens.items())}


def week_of(rows):
    """One token's rows."""
    rising, fallen = [rows[0]], []
    for row in rows[1:]:
        falls = any(new < old for new, old in zip(row[1], rising[-1][1]))
        (fallen if falls else rising).append(row)
    steps = list(zip(rising, rising[1:]))
    return {
        "rows": len(rows),
        "fallen": len(fallen),
        "values_of_fallen": len({values for _, values in fallen}),
        "lending_grew_more_than_debt": sum(
            new[0] / old[0] > new[1] / old[1] for (_, old), (_, new) in steps
        ),
        "last_rising": [str(value) for value in rising[-1][1]],
    }


def growth(blocks_path, registry_path):
    """Yearly growth of zkLend's debt accumulators between recorded blocks, beside the borrow rates at both ends."""
    last, found = {}, []
    for reading, block in readings(blocks_path, registry_path):
        for market in reading.markets.get("zklend", {}).values():
            if not market.syncs or market.syncs[-1][0] != block["timestamp"]:
                continue
            now = (block, market.syncs[-1], market.rates)
            if market.asset in last:
                found.append(grown(reading.registry.symbol(market.asset), last[market.asset], now))
            last[market.asset] = now
    return found


def grown(symbol, first, second):
    """Growth from one block to another."""
    (old_block, (then, old), old_rates), (new_block, (now, new), new_rates) = first, second
    yearly = ((Decimal(new[1]) / Decimal(old[1])).ln() * YEAR) / (now - then)
    percent = Decimal(100)
    return {
        "token": symbol,
        "from_block": old_block["number"],
        "to_block": new_block["number"],
        "days": round((now - then) / 86_400, 1),
        "yearly_growth_percent": str(round(yearly * percent, 2)),
        "borrow_rates_percent": [str(round(percent * rates[1] / RAY, 2)) for rates in (old_rates, new_rates)],
        "lending_by_debt_growth_bps": int((new[0] - old[0]) * 10_000 * old[1] // ((new[1] - old[1]) * old[0])),
    }


def main(blocks_path, registry_path, stats_path, accumulators_path):
    """Prints the object that the module describes."""
    found = {
        "eth_price": prices(blocks_path, registry_path),
        "zklend_utilization": utilization(blocks_path, registry_path, stats_path),
        "zklend_launch_week": launch_week(accumulators_path),
        "zklend_growth": growth(blocks_path, registry_path),
    }
    json.dump(found, sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: cross_checks.py BLOCKS REGISTRY STATS ACCUMULATORS")
    main(*sys.argv[1:])
