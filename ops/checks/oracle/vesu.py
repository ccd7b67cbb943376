"""Vesu: an asset of a pool, which each `UpdateContext` states in full.

Two statements give the rates; between them nothing moves. Holdings are known where they add up to what
positions hold together by the statement: of version 1 all but 1,000 shares, of version 2 all but the curator's
and those of the 2,000 units that are burnt.
"""

from markets import Market, absent, bps, e18, figure
from reserves import RAY, YEAR
from suppliers import DAY, NEAR_ZERO, Holdings, Lasting, is_large_outflow, shock


class Statement:
    """What an `UpdateContext` says of one of its assets."""

    def __init__(self, config, price, now):
        self.shares = config["total_collateral_shares"]
        self.debt = config["total_nominal_debt"]
        self.reserve = config["reserve"]
        self.scale = config["scale"]
        self.updated = config["last_updated"]
        self.accumulator = config["last_rate_accumulator"] * 10**9
        self.fee_rate = config["fee_rate"] * 10**9
        self.price = price["value"] if price["is_valid"] else None
        self.told = now
        self.held = self.shares - 1_000 if self.shares else 0
        if "fee_shares" in config:
            burnt = 2_000 * 10**18 // self.scale if self.scale else self.shares
            self.held = self.shares - config["fee_shares"] - burnt

    def fits(self):
        """Whether what has 18 decimals fits at 27."""
        return max(self.accumulator, self.fee_rate) < 2**256

    def borrowed(self):
        """Raw units of the token."""
        return narrow(self.debt * self.accumulator * self.scale // 10**45)

    def supplied(self):
        """Raw units of the token."""
        return narrow(self.reserve + self.borrowed())


def narrow(amount):
    """An amount of 256 bits."""
    return amount if amount < 2**256 else absent("overflow")


class VesuReserve(Market):
    """An asset of a pool."""

    def __init__(self, asset):
        super().__init__(asset, (asset,))
        self.newest = self.base = None
        self.totals = []  # (instant, stated total of shares), the last of each block of a day and the one before
        self.fell = self.has_fallen = False
        self.holdings = Holdings()
        self.is_stated = self.is_complete = False
        self.lasting = Lasting()

    def apply(self, name, event, now):
        """Takes an event."""
        if name == "AddAsset":
            self.opened = now
        if name == "UpdateContext":
            for side in ("collateral", "debt"):
                if event[f"{side}_asset"] == self.asset:
                    self.state(Statement(event[f"{side}_asset_config"], event[f"{side}_asset_price"], now))
        if self.newest is None:
            return
        if name in ("ModifyPosition", "LiquidatePosition") and event["collateral_asset"] == self.asset:
            self.hold(event["user"], event["collateral_shares_delta"])
        if name == "AccrueFees":
            self.hold(event["recipient"], event["fee_shares"])

    def hold(self, user, shares):
        """Adds to a holding; address 0 has none."""
        if user:
            self.holdings.add(user, shares)

    def state(self, statement):
        """Takes a statement."""
        if not statement.fits():
            return
        if self.newest and self.newest.updated < statement.updated:
            self.base, self.fell = self.newest, False
        self.fell |= bool(self.newest) and statement.accumulator < self.newest.accumulator
        self.newest, self.is_stated = statement, True
        self.totals.append((statement.told, statement.shares))

    def end_block(self, now):
        """The rules that the block broke."""
        fell = self.fell and not self.has_fallen
        self.has_fallen = self.fell
        if self.is_stated:
            self.is_complete = 0 <= self.newest.held == self.holdings.total()
        self.is_stated = False
        while len(self.totals) > 1 and self.totals[1][0] <= now - DAY:
            self.totals.pop(0)
        total = self.newest.shares if self.newest else 0
        before = self.totals[0][1] if self.totals and self.totals[0][0] <= now - DAY else 0
        utilization = figure(self.utilization)
        return ["index_fell"] * fell + self.lasting.changed({
            "near_zero_supply": 1 <= total <= NEAR_ZERO,
            "net_outflow": is_large_outflow(before, total),
            "utilization_high": self.lasting.is_high(now, utilization if isinstance(utilization, int) else None),
        })

    def stated(self):
        """The newest statement."""
        return self.newest or absent("no_state")

    def sound(self, value):
        """A value, unless the accumulator fell."""
        return absent("quarantined") if self.fell else value

    def supplied(self):
        """Raw units of the token."""
        return self.sound(self.stated().supplied())

    def borrowed(self):
        """Raw units of the token."""
        return self.sound(self.stated().borrowed())

    def utilization(self):
        """Bps."""
        supplied, borrowed = self.supplied(), self.borrowed()
        return bps(borrowed * 10_000 // supplied) if supplied else 0

    def growth(self):
        """Both statements, and the time between them."""
        newest, base = self.stated(), self.base or absent("no_state")
        if newest.updated <= base.updated:
            absent("no_state")
        return newest, base, newest.updated - base.updated

    def borrow_rate(self):
        """A share per year at scale 10^-18."""
        newest, base, elapsed = self.growth()
        if base.accumulator == 0:
            absent("overflow")
        grown = newest.accumulator - base.accumulator
        return self.sound(narrow(grown * YEAR * 10**18 // (base.accumulator * elapsed)))

    def supply_rate(self, scale):
        """A share per year at a scale."""
        newest, base, elapsed = self.growth()
        if base.accumulator == 0:
            absent("overflow")
        if base.fee_rate > RAY:
            absent("invalid_rates")
        supplied, borrowed = base.supplied(), base.borrowed()
        if supplied == 0:
            return self.sound(0)
        earned = (newest.accumulator - base.accumulator) * YEAR * scale * borrowed * (RAY - base.fee_rate)
        return self.sound(narrow(earned // (base.accumulator * elapsed * supplied * RAY)))

    def of_holdings(self, work):
        """A figure of the holdings, where they are all the shares there are."""
        self.stated()
        if not self.is_complete:
            absent("history_starts_at")
        return self.sound(work())

    def exit_shock(self):
        """Utilization after the largest supplier leaves, bps."""
        supplied, borrowed = self.supplied(), self.borrowed()
        largest = self.of_holdings(self.holdings.held)[0] * supplied // self.newest.shares
        return shock(supplied, borrowed, largest)

    def oracle_price(self):
        """What the newest statement gives for a whole token."""
        price = self.stated().price
        return absent("no_state") if price is None else price

    def figures(self, around):
        """All figures, as of the end of a block."""
        figures = self.lent(around, self.supplied)
        if self.opened is None:
            figures["openedAt"] = {"absent": "no_state"}
        return figures | {
            "oraclePriceUsd": figure(self.oracle_price, e18),
            "utilizationBps": figure(self.utilization),
            "borrowRate": figure(self.borrow_rate, e18),
            "supplyRate": figure(lambda: self.supply_rate(10**18), e18),
            "supplyApyBps": figure(lambda: bps(self.supply_rate(10**4))),
            "supplied": figure(self.supplied, str),
            "borrowed": figure(self.borrowed, str),
            "withdrawHeadroom": figure(lambda: self.stated().reserve, str),
            "exitShockBps": figure(self.exit_shock),
            "suppliers": figure(lambda: self.of_holdings(lambda: len(self.holdings.positive()))),
            "top1Bps": figure(lambda: self.of_holdings(lambda: self.holdings.top(1))),
            "top5Bps": figure(lambda: self.of_holdings(lambda: self.holdings.top(5))),
            "hhiBps": figure(lambda: self.of_holdings(self.holdings.hhi)),
        }
