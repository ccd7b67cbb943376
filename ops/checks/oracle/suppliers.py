"""Who holds the shares of a lending market, and what a lending market tells when it lasts.

Holdings are raw shares by holder; what is stated beside them, and why they may be absent, is the market's.
"""

from markets import absent, bps

DAY = 86_400
# Shares up to which a supply is near zero, and above which an outflow is told.
NEAR_ZERO = 10_000
# Bps of utilization from which on time counts, and for how long it does before it is told.
HIGH_UTILIZATION = 9_900
HIGH_SECONDS = 21_600


class Holdings:
    """Raw shares by holder."""

    def __init__(self):
        self.by_user = {}

    def add(self, user, shares):
        """Adds to a holding."""
        self.by_user[user] = self.by_user.get(user, 0) + shares

    def total(self):
        """The sum of all."""
        return sum(self.by_user.values())

    def positive(self):
        """Holdings above 0, the greatest first."""
        if min(self.by_user.values(), default=0) < 0:
            absent("negative_balance")
        return sorted((shares for shares in self.by_user.values() if shares), reverse=True)

    def held(self):
        """The same, at least one."""
        return self.positive() or absent("no_suppliers")

    def top(self, count):
        """Share of the greatest, bps."""
        held = self.held()
        return bps(sum(held[:count]) * 10_000 // sum(held))

    def hhi(self):
        """Herfindahl-Hirschman index, bps."""
        held = self.held()
        return bps(sum(shares**2 for shares in held) * 10_000 // sum(held) ** 2)


def shock(supplied, borrowed, largest):
    """Utilization after the largest supplier leaves, bps."""
    left = supplied - largest
    return min(10_000, borrowed * 10_000 // left) if left > 0 else 10_000


def is_large_outflow(before, supply):
    """Whether three tenths of a supply are gone."""
    return before > NEAR_ZERO and (before - supply) * 10 >= before * 3


class Lasting:
    """Which lasting rules hold, and since when utilization is high."""

    def __init__(self):
        self.open = set()
        self.high_since = None

    def changed(self, rules):
        """The rules that begin or end to hold; `rules` says of each whether it holds."""
        changed = [rule for rule, holds in rules.items() if holds != (rule in self.open)]
        self.open.symmetric_difference_update(changed)
        return changed

    def is_high(self, now, utilization):
        """Whether utilization, bps or None, has been high for long."""
        if utilization is None or utilization < HIGH_UTILIZATION:
            self.high_since = None
            return False
        if self.high_since is None:
            self.high_since = now
        return now - self.high_since >= HIGH_SECONDS
