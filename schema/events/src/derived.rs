//! Facts of the derived lane. Each is a pure function of the chain lane up to its as-of block; the
//! block reference of its entry is that as-of block.

use obsqra_types::{BlockHash, ProtocolId};

use crate::Causes;
use crate::cbor::{Canonical, DecodeError, Reader, Writer};

/// The five inputs of a risk score.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RiskInputs {
    /// Utilization or turnover, bps, 0 to 10,000 (lending may exceed it where a market does).
    pub utilization_bps: u32,
    /// Realised volatility over 7 days, bps, 0 to 10,000.
    pub volatility_bps: u32,
    /// Liquidity class, 0 (below 1 M USDC) to 3 (from 50 M USDC).
    pub liquidity_class: u8,
    /// Audit score, 0 to 100.
    pub audit_score: u8,
    /// Whole days since deployment.
    pub age_days: u32,
}

/// The five terms of a risk score, before their sum is clamped to 5..=95.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RiskComponents {
    /// Of the utilization.
    pub utilization: u32,
    /// Of the volatility.
    pub volatility: u32,
    /// Of the liquidity class.
    pub liquidity: u32,
    /// Of the audit score.
    pub audit: u32,
    /// Of the age.
    pub age: u32,
}

/// A protocol's risk score as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RiskScored {
    /// Whose score it is.
    pub protocol: ProtocolId,
    /// The as-of block's hash.
    pub block_hash: BlockHash,
    /// The formula, such as `risk-v1.2`.
    pub formula: String,
    /// 5 (least) to 95 (most).
    pub score: u8,
    /// The terms.
    pub components: RiskComponents,
    /// The inputs.
    pub inputs: RiskInputs,
    /// What it was computed from.
    pub causes: Causes,
}

/// One input that the log does not support.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AbsentInput {
    /// The input's field name, such as `volatilityBps`.
    pub field: String,
    /// The reason's name, such as `insufficient_history`.
    pub reason: String,
    /// What it is about, for people.
    pub detail: Option<String>,
}

/// A protocol that has no score as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RiskAbsent {
    /// Whose score is absent.
    pub protocol: ProtocolId,
    /// The as-of block's hash.
    pub block_hash: BlockHash,
    /// The formula that would have applied.
    pub formula: String,
    /// What is missing; never empty.
    pub absent: Vec<AbsentInput>,
    /// What was looked at.
    pub causes: Causes,
}

fn read_protocol(input: &mut Reader<'_>) -> Result<ProtocolId, DecodeError> {
    input.array(2)?;
    input.array(1)?;
    ProtocolId::new(input.text()?).map_err(|_| DecodeError::Range("protocol id"))
}

impl Canonical for RiskInputs {
    fn write(&self, out: &mut Writer) {
        out.array(5).uint(self.utilization_bps.into()).uint(self.volatility_bps.into());
        out.uint(self.liquidity_class.into()).uint(self.audit_score.into());
        out.uint(self.age_days.into());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(5)?;
        Ok(Self {
            utilization_bps: input.uint32("utilization")?,
            volatility_bps: input.uint32("volatility")?,
            liquidity_class: input.uint8("liquidity class")?,
            audit_score: input.uint8("audit score")?,
            age_days: input.uint32("age")?,
        })
    }
}

impl Canonical for RiskComponents {
    fn write(&self, out: &mut Writer) {
        out.array(5).uint(self.utilization.into()).uint(self.volatility.into());
        out.uint(self.liquidity.into()).uint(self.audit.into()).uint(self.age.into());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(5)?;
        Ok(Self {
            utilization: input.uint32("component")?,
            volatility: input.uint32("component")?,
            liquidity: input.uint32("component")?,
            audit: input.uint32("component")?,
            age: input.uint32("component")?,
        })
    }
}

impl Canonical for RiskScored {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).text(self.protocol.as_str());
        out.array(6).felt(&self.block_hash.0).text(&self.formula).uint(self.score.into());
        self.components.write(out);
        self.inputs.write(out);
        self.causes.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = read_protocol(input)?;
        input.array(6)?;
        Ok(Self {
            protocol,
            block_hash: BlockHash(input.felt()?),
            formula: input.text()?.to_owned(),
            score: input.uint8("score")?,
            components: RiskComponents::read(input)?,
            inputs: RiskInputs::read(input)?,
            causes: Causes::read(input)?,
        })
    }
}

impl Canonical for AbsentInput {
    fn write(&self, out: &mut Writer) {
        out.array(3).text(&self.field).text(&self.reason);
        out.option(self.detail.as_ref(), |out, detail| {
            out.text(detail);
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(3)?;
        Ok(Self {
            field: input.text()?.to_owned(),
            reason: input.text()?.to_owned(),
            detail: input.option(|input| Ok(input.text()?.to_owned()))?,
        })
    }
}

impl Canonical for RiskAbsent {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).text(self.protocol.as_str());
        out.array(4).felt(&self.block_hash.0).text(&self.formula).list(&self.absent);
        self.causes.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = read_protocol(input)?;
        input.array(4)?;
        Ok(Self {
            protocol,
            block_hash: BlockHash(input.felt()?),
            formula: input.text()?.to_owned(),
            absent: input.list()?,
            causes: Causes::read(input)?,
        })
    }
}
