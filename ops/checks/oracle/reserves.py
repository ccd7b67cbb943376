"""Reserves of zkLend and of Nostra Money Market: rates and accumulators.

The recorded blocks open no reserve, so what needs a reserve's opening is `history_starts_at` and its formula
is not written down a second time: a block that does open one ends the script.
"""

from decimal import Decimal, getcontext

from markets import VOLATILITIES, Market, absent, bps, e18, figure

YEAR = 31_536_000
RAY = 10**27
getcontext().prec = 60
# A jump is growth of more than a hundredth beyond the rate; closer to it than this is not decided here.
JUMP = Decimal("1.01").ln()
UNDECIDED = Decimal("1e-15")
# Bps of utilization from which on time counts.
HIGH_UTILIZATION = 9_900
NEEDS_OPENING = [
    "tvlUsdc",
    "supplied",
    "borrowed",
    "withdrawHeadroom",
    "exitShockBps",
    "suppliers",
    "top1Bps",
    "top5Bps",
    "hhiBps",
]


class Reserve(Market):
    """A token of zkLend's market."""

    def __init__(self, token):
        super().__init__(token, (token,))
        self.rates = None  # lending, borrowing; RAY is 1
        self.factor = None
        self.syncs = []  # (instant, both accumulators), the last of each of the newest two instants
        self.before = (None, None)  # rates and factor before the newest instant's first sync
        self.is_synced = False
        self.fell = self.has_fallen = False

    def apply(self, name, event, now):
        """Takes an event."""
        if name == "NewReserve":
            raise SystemExit("recorded.py reads no supply and debt, and these blocks open a reserve")
        if name == "InterestRatesSync":
            self.rates = (event["lending_rate"], event["borrowing_rate"])
        if name == "ReserveFactorUpdate":
            self.factor = event["reserve_factor"]
        if name == "AccumulatorsSync":
            self.sync(now, (event["lending_accumulator"], event["debt_accumulator"]))

    def sync(self, now, accumulators):
        """Takes both accumulators."""
        self.is_synced = True
        if self.syncs:
            self.fell |= any(new < old for new, old in zip(accumulators, self.syncs[-1][1]))
        if self.syncs and self.syncs[-1][0] == now:
            self.syncs.pop()
        else:
            self.before = (self.rates, self.factor)
        self.syncs = self.syncs[-1:] + [(now, accumulators)]

    def end_block(self):
        """The rules that the block broke."""
        if self.is_lent_out():
            raise SystemExit("recorded.py does not count how long utilization is high, and these blocks need it")
        jumped = self.is_synced and self.jumped()
        fell = self.fell and not self.has_fallen
        self.is_synced, self.has_fallen = False, self.fell
        return ["accumulator_jump"] * jumped + ["index_fell"] * fell

    def is_lent_out(self):
        """Whether utilization is high."""
        return bool(self.rates and self.rates[1]) and self.utilization() >= HIGH_UTILIZATION

    def jumped(self):
        """Whether an accumulator grew beyond what its rate explains."""
        if len(self.syncs) < 2 or self.before[0] is None:
            return False
        (then, first), (now, last) = self.syncs
        excess = [
            (Decimal(new) / Decimal(old)).ln() - Decimal(rate * (now - then)) / (RAY * YEAR) - JUMP
            for old, new, rate in zip(first, last, self.before[0])
        ]
        if min(map(abs, excess)) < UNDECIDED:
            raise SystemExit("recorded.py does not round logarithms as the definition does, and these blocks need it")
        return max(excess) > 0

    def utilization(self):
        """Bps of the last rates."""
        lending, borrowing = self.rates or absent("no_state")
        if borrowing == 0:
            return absent("invalid_rates") if lending else 0
        return bps(lending * 10_000 // borrowing)

    def supply_rate(self, scale):
        """After the reserve factor; RAY by RAY is cut to `scale`."""
        lending, _ = self.rates or absent("no_state")
        return lending * (RAY - known_factor(self.factor)) // scale

    def excess(self):
        """Growth of the lending accumulator that the rates do not explain, in parts per billion."""
        rates, factor = self.before
        if len(self.syncs) < 2 or rates is None:
            absent("no_state")
        (then, (first, _)), (now, (last, _)) = self.syncs
        supply = rates[0] * (RAY - known_factor(factor)) // RAY
        one = RAY * YEAR
        if first == 0:
            absent("overflow")
        if self.fell:
            absent("quarantined")
        grown = (last * one - first * (one + supply * (now - then))) * 10**9
        return (abs(grown) // (first * one)) * (1 if grown >= 0 else -1)

    def figures(self, around):
        """All figures, as of the end of a block."""
        is_tracked = self.is_tracked(around.registry)
        tvl_reason = "history_starts_at" if is_tracked else "token_unlisted"
        figures = self.valued(around, lambda: absent(tvl_reason))
        if not is_tracked:
            unlisted = ["priceUsdc", *(name for name, _, _ in VOLATILITIES)]
            figures |= {name: {"absent": "token_unlisted"} for name in unlisted}
        for name in NEEDS_OPENING:
            figures.setdefault(name, {"absent": "history_starts_at"})
        return figures | {
            "utilizationBps": figure(self.utilization),
            "borrowRate": figure(lambda: (self.rates or absent("no_state"))[1] // 10**9, e18),
            "supplyRate": figure(lambda: self.supply_rate(10**36), e18),
            "supplyApyBps": figure(lambda: bps(self.supply_rate(10**50))),
            "accumulatorExcessPpb": figure(self.excess, str),
        }


class NostraReserve(Reserve):
    """An asset of Nostra: the lending rate is what suppliers earn, and both rates do not give utilization."""

    def __init__(self, token):
        super().__init__(token)
        self.factor = 0

    def apply(self, name, event, now):
        """Takes an event; its numbers have 18 decimals."""
        self.sync(now, (event["lendingIndex"] * 10**9, event["borrowingIndex"] * 10**9))
        self.rates = (event["lendingRate"] * 10**9, event["borrowingRate"] * 10**9)

    def utilization(self):
        """Supply and debt are known from the deployment on, which the log does not have."""
        return absent("history_starts_at")

    def is_lent_out(self):
        """Not known."""
        return False


def known_factor(factor):
    """A reserve factor that the log states, at most one."""
    if factor is None:
        absent("history_starts_at")
    return factor if factor <= RAY else absent("invalid_rates")
