"""Reserves of zkLend and of Nostra Money Market: rates and accumulators.

Supply and holdings follow from the events of the reserve's token, debt from those of the market; both are
known from the reserve's opening on.
"""

from decimal import Decimal, getcontext

from markets import Market, absent, bps, e18, figure
from suppliers import DAY, NEAR_ZERO, Holdings, Lasting, is_large_outflow, shock

YEAR = 31_536_000
RAY = 10**27
getcontext().prec = 60
# A jump is growth of more than a hundredth beyond the rate; closer to it than this is not decided here.
JUMP = Decimal("1.01").ln()
UNDECIDED = Decimal("1e-15")


class Reserve(Market):
    """A token of zkLend's market."""

    def __init__(self, token):
        super().__init__(token, (token,))
        self.z_token = None
        self.rates = None  # lending, borrowing; RAY is 1
        self.terms = None  # the same as they accrue: 0 from the opening on
        self.factor = None
        self.fell = self.has_fallen = self.is_lent_beyond = False
        self.lasting = Lasting()
        self.reset()

    def reset(self):
        """Nothing is supplied or owed."""
        self.syncs = []  # (instant, both accumulators), the last of each of the newest two instants
        self.before = (None, None)  # rates and factor before the newest instant's first sync
        self.synced_at = None  # the instant of the newest AccumulatorsSync
        self.holdings = Holdings()
        self.raw_supply = self.raw_debt = 0
        self.minted = []  # (instant, raw amount), below 0 where burnt
        self.loans = []  # (instant, fee) of flash loans
        self.is_synced = self.has_surplus = False

    def apply(self, name, event, now):
        """Takes an event."""
        if name == "NewReserve":
            self.list(event, now)
        if name == "InterestRatesSync":
            self.rates = self.terms = (event["lending_rate"], event["borrowing_rate"])
        if name == "ReserveFactorUpdate":
            self.factor = event["reserve_factor"]
        if name == "AccumulatorsSync":
            self.is_synced, self.synced_at = True, now
            self.sync(now, (event["lending_accumulator"], event["debt_accumulator"]))
        if name == "RawTransfer":
            self.transfer(event["from"], event["to"], event["raw_value"], now)
        if name == "Transfer":
            self.transfer(event["from"], event["to"], self.raw_of(event["from"], event["value"]), now)
        if name == "Borrowing":
            self.raw_debt += event["raw_amount"]
        if name == "Repayment":
            self.raw_debt -= event["raw_amount"]
        if name == "Liquidation" and event["debt_token"] == self.asset:
            self.raw_debt -= event["debt_raw_amount"]
        if name == "FlashLoan":
            self.loan(event["fee"], now)

    def list(self, event, now):
        """Opens the reserve, or opens it anew."""
        self.reset()
        self.opened, self.fell = now, False
        self.z_token, self.factor = event["z_token"], event["reserve_factor"]
        self.rates, self.terms = None, (0, 0)
        self.sync(now, (RAY, RAY))

    def raw_of(self, sender, face):
        """The raw amount of a movement of which only the face amount is told."""
        accumulator = self.syncs[-1][1][0]
        if accumulator == 0:
            raise SystemExit("recorded.py has no shares at an accumulator of 0, and these blocks need them")
        held = self.holdings.by_user.get(sender, 0)
        is_all = held > 0 and held * accumulator // RAY == face
        return held if is_all else face * RAY // accumulator

    def transfer(self, sender, receiver, raw, now):
        """Mints from address 0, burns to it, and moves otherwise."""
        if sender:
            self.holdings.add(sender, -raw)
        if receiver:
            self.holdings.add(receiver, raw)
        minted = raw * ((not sender) - (not receiver))
        self.raw_supply += minted
        self.minted.append((now, minted))

    def loan(self, fee, now):
        """Notes a flash loan, and whether more came back than was owed."""
        self.loans = [loan for loan in self.loans if loan[0] == now] + [(now, fee)]
        if self.opened is None or self.synced_at != now or len(self.syncs) < 2 or self.before[0] is None:
            return
        (then, (first, _)), (_, (last, _)) = self.syncs
        interest = first * self.before[0][0] * (now - then) // (RAY * YEAR)
        surplus = self.raw_supply * max(0, last - first - interest) // RAY
        self.has_surplus |= surplus > sum(fee for _, fee in self.loans) + 1

    def sync(self, now, accumulators):
        """Takes both accumulators."""
        if self.syncs:
            self.fell |= any(new < old for new, old in zip(accumulators, self.syncs[-1][1]))
        if self.syncs and self.syncs[-1][0] == now:
            self.syncs.pop()
        else:
            self.before = (self.terms, self.factor)
        self.syncs = self.syncs[-1:] + [(now, accumulators)]

    def end_block(self, now):
        """The rules that the block broke."""
        jumped = self.is_synced and self.jumped()
        surplus, fell = self.has_surplus, self.fell and not self.has_fallen
        was_beyond, self.is_lent_beyond = self.is_lent_beyond, self.exceeds()
        beyond = self.is_lent_beyond and not was_beyond
        self.is_synced, self.has_surplus, self.has_fallen = False, False, self.fell
        points = ["accumulator_jump"] * jumped + ["flash_loan_surplus"] * surplus
        violations = ["index_fell"] * fell + ["borrowed_exceeds_supplied"] * beyond
        return points + violations + self.lasting.changed(self.holding(now))

    def holding(self, now):
        """Of each lasting rule whether it holds."""
        self.minted = [flow for flow in self.minted if flow[0] > now - DAY]
        before = self.raw_supply - sum(raw for _, raw in self.minted)
        utilization = figure(self.utilization)
        return {
            "near_zero_supply": 1 <= self.raw_supply <= NEAR_ZERO,
            "net_outflow": self.opened is not None and is_large_outflow(before, self.raw_supply),
            "utilization_high": self.lasting.is_high(now, utilization if isinstance(utilization, int) else None),
        }

    def exceeds(self):
        """Whether more is lent out than was supplied."""
        amounts = [figure(work) for work in (self.supplied, self.borrowed)]
        return all(isinstance(amount, int) for amount in amounts) and amounts[1] > amounts[0]

    def known(self, value):
        """What is known from the opening on."""
        return absent("history_starts_at") if self.opened is None else value

    def sound(self, value):
        """A value, unless an accumulator fell."""
        return absent("quarantined") if self.fell else value

    def at_accumulator(self, raw, side):
        """A raw amount with its interest; side 0 is lending, 1 debt."""
        if self.known(raw) < 0:
            absent("negative_balance")
        amount = raw * self.syncs[-1][1][side] // RAY
        return self.sound(amount if amount < 2**256 else absent("overflow"))

    def supplied(self):
        """Raw units of the token."""
        return self.at_accumulator(self.raw_supply, 0)

    def borrowed(self):
        """Raw units of the token."""
        return self.at_accumulator(self.raw_debt, 1)

    def headroom(self):
        """What could be withdrawn."""
        supplied, borrowed = self.supplied(), self.borrowed()
        return absent("quarantined") if borrowed > supplied else supplied - borrowed

    def exit_shock(self):
        """Utilization after the largest supplier leaves, bps."""
        supplied, borrowed = self.supplied(), self.borrowed()
        largest = self.at_accumulator(self.holdings.held()[0], 0)
        return absent("quarantined") if borrowed > supplied else shock(supplied, borrowed, largest)

    def of_holdings(self, work):
        """A figure of the holdings."""
        self.known(None)
        return self.sound(work())

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
        excess = abs(grown) // (first * one)
        return (excess if grown >= 0 else -excess) if excess < 2**63 else absent("overflow")

    def figures(self, around):
        """All figures, as of the end of a block."""
        return self.lent(around, self.supplied) | {
            "utilizationBps": figure(self.utilization),
            "borrowRate": figure(lambda: (self.rates or absent("no_state"))[1] // 10**9, e18),
            "supplyRate": figure(lambda: self.supply_rate(10**36), e18),
            "supplyApyBps": figure(lambda: bps(self.supply_rate(10**50))),
            "accumulatorExcessPpb": figure(self.excess, str),
            "supplied": figure(self.supplied, str),
            "borrowed": figure(self.borrowed, str),
            "withdrawHeadroom": figure(self.headroom, str),
            "exitShockBps": figure(self.exit_shock),
            "suppliers": figure(lambda: self.of_holdings(lambda: len(self.holdings.positive()))),
            "top1Bps": figure(lambda: self.of_holdings(lambda: self.holdings.top(1))),
            "top5Bps": figure(lambda: self.of_holdings(lambda: self.holdings.top(5))),
            "hhiBps": figure(lambda: self.of_holdings(self.holdings.hhi)),
        }


class NostraReserve(Reserve):
    """An asset of Nostra: the lending rate is what suppliers earn, and both rates do not give utilization."""

    def __init__(self, token):
        super().__init__(token)
        self.factor = 0

    def apply(self, name, event, now):
        """Takes an event; its numbers have 18 decimals."""
        self.is_synced = True
        self.sync(now, (event["lendingIndex"] * 10**9, event["borrowingIndex"] * 10**9))
        self.rates = self.terms = (event["lendingRate"] * 10**9, event["borrowingRate"] * 10**9)

    def utilization(self):
        """Supply and debt are known from the deployment on, which the log does not have."""
        return absent("history_starts_at")


def known_factor(factor):
    """A reserve factor that the log states, at most one."""
    if factor is None:
        absent("history_starts_at")
    return factor if factor <= RAY else absent("invalid_rates")
