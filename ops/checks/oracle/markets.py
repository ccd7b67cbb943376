"""What all markets have, by the definitions of ops/docs/metrics.md.

State is what the events said so far. A figure is a value, or `{"absent": reason}`, under the name that the
API gives it; decimal numbers are text with all their places. Where several reasons apply, the definitions
say which is given; here the checks stand in that order.
"""

from datetime import datetime, timezone
from decimal import ROUND_HALF_EVEN, Decimal, getcontext
from math import isqrt

getcontext().prec = 60
MAX_BPS = 2**31 - 1
# Name, hours of the window, hours with trades that it needs.
VOLATILITIES = [("volatility1dBps", 24, 18), ("volatilityBps", 168, 120), ("volatility30dBps", 720, 514)]


class Absent(Exception):
    """The log does not support a figure."""


def figure(work, show=lambda value: value):
    """What `work` gives, or why it is absent."""
    try:
        return show(work())
    except Absent as absent:
        return {"absent": str(absent)}


def absent(reason):
    """Ends the work on a figure."""
    raise Absent(reason)


def places(value, count):
    """An integer as a decimal number with that many places."""
    digits = str(abs(value)).zfill(count + 1)
    return f"{'-' if value < 0 else ''}{digits[:-count]}.{digits[-count:]}"


def usdc(value):
    """A value in USDC's smallest unit, in USDC."""
    return places(value, 6)


def e18(value):
    """A price or a rate at scale 10^-18."""
    return places(value, 18)


def instant(seconds):
    """A second since 1970."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def bps(value):
    """A ratio in basis points."""
    return value if value <= MAX_BPS else absent("overflow")


class Around:
    """What figures need beside their market, at the end of a block."""

    def __init__(self, registry, prices, pools, times):
        self.registry = registry
        self.prices = prices  # token: USDC at scale 10^-18
        self.pools = pools  # token: the pool that gives the price
        self.hours = {}  # token: the pool's price by hour
        self.times = times  # timestamps of the blocks so far, each the greatest up to there
        self.now = times[-1]

    def price(self, token):
        """The token's price."""
        return self.prices[token] if token in self.prices else absent("no_usdc_pool")

    def value(self, token, amount):
        """A raw amount in USDC's smallest unit."""
        return amount * self.price(token) // self.registry.scale(token)

    def volatility(self, asset, hours, needed):
        """Of the hours before this one, bps a year."""
        if asset == self.registry.usdc:
            return 0
        self.price(asset)
        if asset not in self.hours:
            self.hours[asset] = self.pools[asset].hourly(self.registry, asset)
        hour = self.now // 3600
        prices = [price for at, price in sorted(self.hours[asset].items()) if hour - hours <= at < hour]
        if len(prices) < needed:
            absent("insufficient_history")
        if max(prices) >= 2**256:
            absent("overflow")
        steps = [(Decimal(new) / Decimal(old)).ln() * 2**64 for old, new in zip(prices, prices[1:])]
        squares = sum(int(step.to_integral_value(ROUND_HALF_EVEN)) ** 2 for step in steps)
        return min(10_000, isqrt(10**8 * squares * 365 // (hours // 24 * 2**128)))


class Market:
    """What all markets have: `asset`, `tokens`, and when the log opened them."""

    def __init__(self, asset, tokens):
        self.asset = asset
        self.tokens = tokens
        self.opened = None
        self.peak = 0

    def outflow(self, around):
        """Whether an outflow begins or ends to be told."""
        return False

    def is_tracked(self, registry):
        """Whether the registry lists all tokens."""
        return all(token in registry.decimals for token in self.tokens)

    def valued(self, around, tvl):
        """The figures that every market has but for the yield; `tvl` is work."""

        def drawdown():
            value = tvl()
            self.peak = max(self.peak, value)
            return bps((self.peak - value) * 10_000 // self.peak if self.peak else absent("zero_tvl"))

        figures = {
            "priceUsdc": figure(lambda: around.price(self.asset), e18),
            "tvlUsdc": figure(tvl, usdc),
            "liquidityClass": figure(
                lambda: sum(tvl() >= bound * 10**12 for bound in (1, 10, 50))
            ),
            "drawdownBps": figure(drawdown),
            "openedAt": figure(lambda: self.opened or absent("history_starts_at"), instant),
        }
        for name, hours, needed in VOLATILITIES:
            figures[name] = figure(lambda hours=hours, needed=needed: around.volatility(self.asset, hours, needed))
        return figures

    def lent(self, around, supplied):
        """The figures that every market has, of a lending market whose value is what is supplied."""
        if self.is_tracked(around.registry):
            return self.valued(around, lambda: around.value(self.asset, supplied()))
        figures = self.valued(around, lambda: absent("token_unlisted"))
        unlisted = ["priceUsdc", *(name for name, _, _ in VOLATILITIES)]
        return figures | {name: {"absent": "token_unlisted"} for name in unlisted}

    def end_block(self, now):
        """The rules that the block broke, each told when that begins."""
        return []
