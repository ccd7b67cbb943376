//! `anomaly.found`: something out of the ordinary that the chain lane shows as of a block.
//!
//! The rules are defined in `ops/docs/metrics.md`, conservation checks among them. An anomaly that lasts is
//! told when it opens and when it closes; of one rule and market there is at most one a block.

use obsqra_types::{BlockHash, MarketId, ProtocolId};

use crate::Causes;
use crate::cbor::{Canonical, DecodeError, Reader, Writer};

/// How much it matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// May become a loss.
    Warning,
    /// A loss, or what comes right before one.
    Critical,
}

/// Where an anomaly stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// It happened in the block, and does not last.
    Point,
    /// It begins with the block.
    Opened,
    /// It is over as of the block.
    Closed,
}

/// An anomaly as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnomalyFound {
    /// The rule's name, such as `accumulator_jump`.
    pub rule: String,
    /// Whose market it is about.
    pub protocol: ProtocolId,
    /// Which market; `None` where it is about the protocol.
    pub market: Option<MarketId>,
    /// The as-of block's hash.
    pub block_hash: BlockHash,
    /// The version of the rules, such as `metrics-v2`.
    pub rules: String,
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands.
    pub phase: Phase,
    /// What was measured, for people.
    pub detail: String,
    /// What it was seen in.
    pub causes: Causes,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The name, as hashed and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 3] = [Self::Point, Self::Opened, Self::Closed];

    /// The name, as hashed and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

impl AnomalyFound {
    /// What the fact is about: rule, protocol and market, `/` between them.
    #[must_use]
    pub fn subject(&self) -> String {
        let market = self.market.as_ref().map_or("", |market| market.0.as_str());
        format!("{}/{}/{market}", self.rule, self.protocol)
    }
}

impl Canonical for AnomalyFound {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(3).text(&self.rule).text(self.protocol.as_str());
        out.option(self.market.as_ref(), |out, market| {
            out.text(&market.0);
        });
        out.array(6).felt(&self.block_hash.0).text(&self.rules).text(self.severity.name());
        out.text(self.phase.name()).text(&self.detail);
        self.causes.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(3)?;
        let rule = input.text()?.to_owned();
        let protocol =
            ProtocolId::new(input.text()?).map_err(|_| DecodeError::Range("protocol id"))?;
        let market = input.option(|input| Ok(MarketId(input.text()?.to_owned())))?;
        input.array(6)?;
        Ok(Self {
            rule,
            protocol,
            market,
            block_hash: BlockHash(input.felt()?),
            rules: input.text()?.to_owned(),
            severity: named(input, &Severity::ALL, Severity::name, "severity")?,
            phase: named(input, &Phase::ALL, Phase::name, "phase")?,
            detail: input.text()?.to_owned(),
            causes: Causes::read(input)?,
        })
    }
}

fn named<T: Copy>(
    input: &mut Reader<'_>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
    what: &'static str,
) -> Result<T, DecodeError> {
    let text = input.text()?;
    all.iter().copied().find(|one| name(*one) == text).ok_or(DecodeError::Range(what))
}
