//! Why a figure is absent.

use std::fmt;
use std::sync::Arc;

use obsqra_events::AbsentInput;

/// The reasons, as `ops/docs/metrics.md` lists them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// No event has set the state that the figure is made from.
    NoState,
    /// The log begins after events that the figure needs.
    HistoryStartsAt,
    /// No counted pool prices the token in USDC.
    NoUsdcPool,
    /// A token of the market is not in the registry's list.
    TokenUnlisted,
    /// Too few hours with trades.
    InsufficientHistory,
    /// A lending rate above 0 beside a borrowing rate of 0.
    InvalidRates,
    /// The value that a ratio divides by is 0.
    ZeroTvl,
    /// More left a market than entered it, as far as its events tell.
    NegativeBalance,
    /// The protocol has no market that counts.
    NoMarkets,
    /// The registry does not support an audit score.
    AuditsUnknown,
    /// The registry does not say when the protocol went live.
    DeploymentUnknown,
    /// The block is older than the deployment.
    NotDeployed,
    /// An amount outside 256 bits.
    Overflow,
    /// Nobody holds shares of the reserve.
    NoSuppliers,
    /// A conservation check failed; the detail is its rule.
    Quarantined,
    /// No source states what a swap of the pool costs.
    FeeUnknown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::NoState,
        Self::HistoryStartsAt,
        Self::NoUsdcPool,
        Self::TokenUnlisted,
        Self::InsufficientHistory,
        Self::InvalidRates,
        Self::ZeroTvl,
        Self::NegativeBalance,
        Self::NoMarkets,
        Self::AuditsUnknown,
        Self::DeploymentUnknown,
        Self::NotDeployed,
        Self::Overflow,
        Self::NoSuppliers,
        Self::Quarantined,
        Self::FeeUnknown,
    ];

    /// The name, as stored and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoState => "no_state",
            Self::HistoryStartsAt => "history_starts_at",
            Self::NoUsdcPool => "no_usdc_pool",
            Self::TokenUnlisted => "token_unlisted",
            Self::InsufficientHistory => "insufficient_history",
            Self::InvalidRates => "invalid_rates",
            Self::ZeroTvl => "zero_tvl",
            Self::NegativeBalance => "negative_balance",
            Self::NoMarkets => "no_markets",
            Self::AuditsUnknown => "audits_unknown",
            Self::DeploymentUnknown => "deployment_unknown",
            Self::NotDeployed => "not_deployed",
            Self::Overflow => "overflow",
            Self::NoSuppliers => "no_suppliers",
            Self::Quarantined => "quarantined",
            Self::FeeUnknown => "fee_unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An absent figure: the reason, and what it is about, for people. Figures are copied at every block, so
/// the text is shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Absence {
    pub(crate) reason: Reason,
    pub(crate) detail: Option<Arc<str>>,
}

/// A figure, or why there is none.
pub(crate) type Figure<T> = Result<T, Absence>;

impl Absence {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: Some(Arc::from(detail.into())) }
    }

    pub(crate) fn bare(reason: Reason) -> Self {
        Self { reason, detail: None }
    }

    /// The same reason, said of one part of a sum.
    pub(crate) fn of_part(&self, part: &str) -> Self {
        let detail = match &self.detail {
            Some(detail) => format!("{part}: {detail}"),
            None => part.to_owned(),
        };
        Self::new(self.reason, detail)
    }

    pub(crate) fn of_field(&self, field: &str) -> AbsentInput {
        AbsentInput {
            field: field.to_owned(),
            reason: self.reason.name().to_owned(),
            detail: self.detail.as_deref().map(str::to_owned),
        }
    }
}

/// An amount that fits, or `overflow`.
pub(crate) fn or_overflow<T>(value: Option<T>) -> Figure<T> {
    value.ok_or(Absence::bare(Reason::Overflow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
