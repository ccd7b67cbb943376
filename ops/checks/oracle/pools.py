"""Pools: those of concentrated liquidity, and pairs of constant product.

`tokens`, reserves and balances stand in the order of the pool, token0 first; a side is 0 or 1.
"""

from math import isqrt

from markets import VOLATILITIES, Absent, Market, absent, bps, figure, usdc

DAY = 86_400
# Raw units above which an outflow is told.
LEAST_SUPPLY = 10_000
Q128 = 1 << 128


def ceil_div(number, divisor):
    """Rounds up."""
    return -(-number // divisor)


class Pool(Market):
    """What pools of both kinds share; they add `virtual`, `balance_value` and `fees_of`."""

    def __init__(self, tokens, registry):
        asset = tokens[1] if tokens[0] == registry.usdc else tokens[0]
        super().__init__(asset, tokens)
        self.swaps = []  # (instant, what each token moved, what each paid in fees)
        self.provided = []  # (instant, what positions or shares brought of each token)
        self.is_faulty = self.is_outflow = False

    def held(self):
        """What the pool holds of both tokens, where the events tell that; else None."""
        raise NotImplementedError

    def outflow(self, around):
        """Whether an outflow begins or ends to be told."""
        was_outflow, self.is_outflow = self.is_outflow, self.has_outflow(around)
        return self.is_outflow != was_outflow

    def has_outflow(self, around):
        """Whether three tenths of what there was went out in 24 hours, beyond what came in."""
        self.provided = [flow for flow in self.provided if flow[0] > around.now - DAY]
        balances = self.held() if self.is_tracked(around.registry) else None
        if balances is None:
            return False
        try:
            side = self.reference(around)
        except Absent:
            return False
        out = -sum(amounts[side] for _, amounts in self.provided)
        before = balances[side] + out
        return balances[side] >= 0 and before > LEAST_SUPPLY and out > 0 and out * 10 >= before * 3

    def reference(self, around):
        """The side that values the pool: USDC, or the first that has a price."""
        for side in (0, 1):
            if self.tokens[side] == around.registry.usdc:
                return side
        for side in (0, 1):
            if self.tokens[side] in around.prices:
                return side
        return absent("no_usdc_pool")

    def hourly(self, registry, asset):
        """The mean price of the asset in USDC of each hour with trades, by volume."""
        sums = {}
        for at, moved, _ in self.swaps:
            hour = sums.setdefault(at // 3600, [0, 0])
            hour[:] = [total + amount for total, amount in zip(hour, moved)]
        side, scale = self.tokens.index(asset), registry.scale(asset)
        prices = {
            hour: moved[1 - side] * scale // moved[side] for hour, moved in sums.items() if moved[side]
        }
        return {hour: price for hour, price in prices.items() if price}

    def day(self, around):
        """The swaps of 24 hours, if the log reaches back over them."""
        start = around.now - DAY
        if around.times[0] > start and self.opened is None:
            absent("history_starts_at")
        return [swap for swap in self.swaps if start < swap[0] <= around.now]

    def volume(self, around):
        """Value swapped in 24 hours."""
        swaps = self.day(around)
        side = self.reference(around)
        return around.value(self.tokens[side], sum(moved[side] for _, moved, _ in swaps))

    def fees(self, around):
        """Value of the fees of 24 hours."""
        swaps = self.day(around)
        paid = [sum(fees[side] for _, _, fees in swaps) for side in (0, 1)]
        return sum(around.value(token, amount) for token, amount in zip(self.tokens, paid))

    def sound(self, work):
        """`work`, unless a conservation check failed."""
        value = work()
        return absent("quarantined") if self.is_faulty else value

    def depth(self, around, is_up):
        """Value that moves the asset's price by 2 %."""
        side = 0 if self.tokens[1] == self.asset else 1
        reserve = self.virtual(side)
        if is_up:
            moved = isqrt(reserve**2 * 102 // 100) - reserve
        else:
            # The smallest integer whose square times 100 is at least 98 squares of the reserve.
            least = ceil_div(reserve**2 * 98, 100)
            root = isqrt(least)
            moved = reserve - (root if root**2 == least else root + 1)
        return around.value(self.tokens[side], moved)

    def figures(self, around):
        """All figures, as of the end of a block."""
        if not self.is_tracked(around.registry):
            return {name: {"absent": "token_unlisted"} for name in self.names()}

        def tvl():
            return self.balance_value(around)

        def by_tvl(work, least):
            value = tvl()
            flow = work(around)
            return least(flow, value if value else absent("zero_tvl"))

        def turnover():
            return by_tvl(self.volume, lambda volume, value: min(10_000, volume * 10_000 // value))

        def apy():
            return by_tvl(self.fees, lambda fees, value: bps(fees * 365 * 10_000 // value))

        return self.valued(around, tvl) | {
            "turnoverBps": figure(lambda: self.sound(turnover)),
            "volume24hUsdc": figure(lambda: self.sound(lambda: self.volume(around)), usdc),
            "fees24hUsdc": figure(lambda: self.sound(lambda: self.fees(around)), usdc),
            "supplyApyBps": figure(lambda: self.sound(apy)),
            "depthUpUsdc": figure(lambda: self.depth(around, True), usdc),
            "depthDownUsdc": figure(lambda: self.depth(around, False), usdc),
        }

    @staticmethod
    def names():
        """The names of a pool's figures."""
        shared = ["priceUsdc", "tvlUsdc", "liquidityClass", "drawdownBps", "openedAt", "turnoverBps"]
        own = ["volume24hUsdc", "fees24hUsdc", "supplyApyBps", "depthUpUsdc", "depthDownUsdc"]
        return shared + own + [name for name, _, _ in VOLATILITIES]


class Concentrated(Pool):
    """A pool of concentrated liquidity; its balances are known if the log opened it."""

    def __init__(self, tokens, registry):
        super().__init__(tokens, registry)
        self.state = None  # sqrt ratio, tick, active liquidity
        self.balances = [0, 0]

    def held(self):
        """Balances, if the pool was opened in the log."""
        return None if self.opened is None else self.balances

    def add(self, *amounts):
        """What the pool got of each token."""
        self.balances = [balance + amount for balance, amount in zip(self.balances, amounts)]

    def reposition(self, lower, upper, delta):
        """Liquidity that the price lies in."""
        if self.state and lower <= self.state[1] < upper:
            ratio, tick, liquidity = self.state
            liquidity += delta
            self.state = (ratio, tick, liquidity) if 0 <= liquidity < Q128 else None

    def virtual(self, side):
        """The reserve of a token that the active liquidity stands for."""
        ratio, _, liquidity = self.state or absent("no_state")
        return liquidity * ratio // Q128 if side == 1 else liquidity * Q128 // ratio

    def balance_value(self, around):
        """Value locked."""
        if self.opened is None:
            absent("history_starts_at")
        if min(self.balances) < 0:
            absent("negative_balance")
        return sum(around.value(token, balance) for token, balance in zip(self.tokens, self.balances))

    def quote(self, registry, side):
        """Depth in USDC, which is token `side`, and the other token's price; None without either."""
        if self.state is None or self.state[0] == 0:
            return None
        scale = registry.scale(self.tokens[1 - side])
        square = self.state[0] ** 2
        return self.virtual(side), square * scale // Q128**2 if side == 1 else Q128**2 * scale // square


class EkuboPool(Concentrated):
    """A pool key of Ekubo's core."""

    def __init__(self, key, registry):
        super().__init__((key["token0"], key["token1"]), registry)
        self.fee = key["fee"]

    def apply(self, name, event, now):
        """Takes an event."""
        if name == "PoolInitialized":
            self.opened = now
            self.state = (event["sqrt_ratio"], event["initial_tick"], 0)
        if name == "FeesAccumulated":
            self.add(event["amount0"], event["amount1"])
        if "delta" in event:
            self.add(*event["delta"].values())
        if name == "PositionUpdated":
            self.provided.append((now, tuple(event["delta"].values())))
            params = event["params"]
            self.reposition(params["lower"], params["upper"], params["liquidity_delta"])
        if name == "Swapped":
            self.state = (event["sqrt_ratio_after"], event["tick_after"], event["liquidity_after"])
            deltas = list(event["delta"].values())
            fees = [ceil_div(max(delta, 0) * self.fee, Q128) for delta in deltas]
            self.swaps.append((now, [abs(delta) for delta in deltas], fees))


class JediSwapV2Pool(Concentrated):
    """A pool contract of JediSwap v2; fees are known if the log states their share before the first swap."""

    def __init__(self, tokens, registry):
        super().__init__(tokens, registry)
        self.fee = None  # in millionths
        self.is_fee_unknown = False

    def apply(self, name, event, now):
        """Takes an event."""
        amounts = (event.get("amount0"), event.get("amount1"))
        if name == "PoolCreated":
            self.opened = now
            self.fee = event["fee"] if event["fee"] < 10**6 else None
        if event.get("sqrt_price_X96", 0) >> 224:
            return
        if name == "Initialize":
            self.state = (event["sqrt_price_X96"] << 32, event["tick"], 0)
        if name == "Swap":
            self.state = (event["sqrt_price_X96"] << 32, event["tick"], event["liquidity"])
            self.add(*amounts)
            self.is_fee_unknown |= self.fee is None
            fees = [ceil_div(max(amount, 0) * (self.fee or 0), 10**6) for amount in amounts]
            self.swaps.append((now, [abs(amount) for amount in amounts], fees))
        if name == "Mint":
            self.add(*amounts)
            self.provided.append((now, amounts))
            self.reposition(event["tick_lower"], event["tick_upper"], event["amount"])
        if name == "Burn":
            self.provided.append((now, [-amount for amount in amounts]))
            self.reposition(event["tick_lower"], event["tick_upper"], -event["amount"])
        if name in ("Collect", "CollectProtocol"):
            self.add(*(-amount for amount in amounts))

    def fees(self, around):
        """Value of the fees of 24 hours."""
        fees = super().fees(around)
        return absent("fee_unknown") if self.is_fee_unknown else fees


class Pair(Pool):
    """A pair of constant product."""

    def __init__(self, tokens, registry):
        super().__init__(tokens, registry)
        self.reserves = None
        self.before = None  # reserves at the end of the block before
        self.flows = [0, 0]  # what the block's events say came in
        self.has_flows = self.is_synced = self.was_skipped = False

    def apply(self, name, event, now):
        """Takes an event."""
        if name == "PairCreated":
            self.opened = now
        if name == "Sync":
            self.reserves = (event["reserve0"], event["reserve1"])
            self.is_synced = True
        if name in ("Mint", "PairMint"):
            self.provide(now, event["amount0"], event["amount1"])
        if name in ("Burn", "PairBurn"):
            self.provide(now, -event["amount0"], -event["amount1"])
        if name == "Swap":
            paid = [event["amount0In"], event["amount1In"]]
            gained = [paid[0] - event["amount0Out"], paid[1] - event["amount1Out"]]
            self.flow(*gained)
            fees = [ceil_div(amount * 3, 1000) for amount in paid]
            self.swaps.append((now, [abs(amount) for amount in gained], fees))

    def held(self):
        """Reserves of the newest Sync."""
        return self.reserves

    def provide(self, now, *amounts):
        """What shares brought or took."""
        self.provided.append((now, amounts))
        self.flow(*amounts)

    def flow(self, *amounts):
        """What came in of each token."""
        self.has_flows = True
        self.flows = [flow + amount for flow, amount in zip(self.flows, amounts)]

    def end_block(self, now):
        """Reserves are at least what was there before and what came in."""
        was_faulty = self.is_faulty
        if self.is_synced:
            if self.before is not None and not self.was_skipped:
                least = [before + flow for before, flow in zip(self.before, self.flows)]
                self.is_faulty = any(reserve < bound for reserve, bound in zip(self.reserves, least))
            self.was_skipped = False
        elif self.has_flows:
            self.was_skipped = True
        self.before = self.reserves
        self.flows, self.has_flows, self.is_synced = [0, 0], False, False
        return ["reserves_below_flows"] * (self.is_faulty and not was_faulty)

    def virtual(self, side):
        """The reserve of a token."""
        return (self.reserves or absent("no_state"))[side]

    def balance_value(self, around):
        """Value locked."""
        if self.reserves is None:
            absent("no_state")
        side = self.reference(around)
        return 2 * around.value(self.tokens[side], self.reserves[side])

    def quote(self, registry, side):
        """Depth in USDC, which is token `side`, and the other token's price; None without either."""
        if self.reserves is None or self.reserves[1 - side] == 0:
            return None
        depth, other = self.reserves[side], self.reserves[1 - side]
        return depth, depth * registry.scale(self.tokens[1 - side]) // other
