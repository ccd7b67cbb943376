//! The canonical layouts of allocations. What is optional is an array of another length, and what is
//! one of several starts with its name, as everywhere in the log.

use obsqra_types::{BlockHash, Bps, PolicyId, ProtocolId};

use super::{
    AllocationBasis, AllocationInfeasible, AllocationProposed, Binding, Candidate, CandidateInput,
    Constraint, DropReason, Dropped, Infeasibility, Measured, PolicyRef, Share, WHOLE,
};
use crate::Causes;
use crate::cbor::{Canonical, DecodeError, Reader, Writer};

impl Canonical for ProtocolId {
    fn write(&self, out: &mut Writer) {
        out.text(self.as_str());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(input.text()?).map_err(|_| DecodeError::Range("protocol id"))
    }
}

fn read_bps(input: &mut Reader<'_>, what: &'static str) -> Result<Bps, DecodeError> {
    Ok(Bps(input.uint32(what)?))
}

fn write_measured<T>(out: &mut Writer, measured: &Measured<T>, value: impl FnOnce(&T) -> u32) {
    match measured {
        Measured::Known(known) => {
            out.array(1).uint(value(known).into());
        }
        Measured::Absent { reason, detail } => {
            out.array(2).text(reason).option(detail.as_ref(), |out, detail| {
                out.text(detail);
            });
        }
    }
}

fn read_measured<T>(
    input: &mut Reader<'_>,
    value: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Measured<T>, DecodeError> {
    match input.any_array()? {
        1 => value(input).map(Measured::Known),
        2 => Ok(Measured::Absent {
            reason: input.text()?.to_owned(),
            detail: input.option(|input| Ok(input.text()?.to_owned()))?,
        }),
        found => Err(DecodeError::Length { expected: 1, found }),
    }
}

impl Canonical for Candidate {
    fn write(&self, out: &mut Writer) {
        out.array(5).text(self.protocol.as_str());
        write_measured(out, &self.score, |score| u32::from(*score));
        write_measured(out, &self.apy, |apy| apy.0);
        write_measured(out, &self.volatility, |volatility| volatility.0);
        write_measured(out, &self.liquidity_class, |class| u32::from(*class));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(5)?;
        Ok(Self {
            protocol: ProtocolId::read(input)?,
            score: read_measured(input, |input| input.uint8("score"))?,
            apy: read_measured(input, |input| read_bps(input, "APY"))?,
            volatility: read_measured(input, |input| read_bps(input, "volatility"))?,
            liquidity_class: read_measured(input, |input| input.uint8("liquidity class"))?,
        })
    }
}

impl Canonical for Constraint {
    fn write(&self, out: &mut Writer) {
        match self.limit() {
            None => out.array(1).text(self.name()),
            Some(limit) => out.array(2).text(self.name()).uint(limit.into()),
        };
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = input.any_array()?;
        let name = input.text()?;
        match (name, length) {
            ("allow_list", 1) => Ok(Self::AllowList),
            ("max_score", 2) => Ok(Self::MaxScore(input.uint8("maximum score")?)),
            ("max_volatility", 2) => {
                Ok(Self::MaxVolatility(read_bps(input, "maximum volatility")?))
            }
            ("min_liquidity", 2) => Ok(Self::MinLiquidity(input.uint8("minimum liquidity")?)),
            ("max_single", 2) => Ok(Self::MaxSingle(read_bps(input, "cap")?)),
            ("protocol_cap", 2) => Ok(Self::ProtocolCap(read_bps(input, "cap")?)),
            ("min_diversification", 2) => {
                Ok(Self::MinDiversification(input.uint8("minimum number of protocols")?))
            }
            _ => Err(DecodeError::Range("constraint")),
        }
    }
}

impl Canonical for Binding {
    fn write(&self, out: &mut Writer) {
        out.array(2);
        self.constraint.write(out);
        out.list(&self.protocols);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        Ok(Self { constraint: Constraint::read(input)?, protocols: input.list()? })
    }
}

impl Canonical for DropReason {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Constraint(constraint) => {
                out.array(2).text("constraint");
                constraint.write(out);
            }
            Self::InputAbsent(absent) => {
                out.array(2).text("input_absent").text(absent.name());
            }
            Self::NoYield => {
                out.array(1).text("no_yield");
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = input.any_array()?;
        match (input.text()?, length) {
            ("constraint", 2) => Ok(Self::Constraint(Constraint::read(input)?)),
            ("input_absent", 2) => {
                let name = input.text()?;
                let found = CandidateInput::ALL.into_iter().find(|input| input.name() == name);
                Ok(Self::InputAbsent(found.ok_or(DecodeError::Range("input"))?))
            }
            ("no_yield", 1) => Ok(Self::NoYield),
            _ => Err(DecodeError::Range("reason of a drop")),
        }
    }
}

impl Canonical for Dropped {
    fn write(&self, out: &mut Writer) {
        out.array(2).text(self.protocol.as_str()).list(&self.reasons);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        Ok(Self { protocol: ProtocolId::read(input)?, reasons: input.list()? })
    }
}

impl Canonical for Share {
    fn write(&self, out: &mut Writer) {
        out.array(2).text(self.protocol.as_str()).uint(self.share.0.into());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        Ok(Self { protocol: ProtocolId::read(input)?, share: read_bps(input, "share")? })
    }
}

fn read_shares(input: &mut Reader<'_>) -> Result<Vec<Share>, DecodeError> {
    let shares: Vec<Share> = input.list()?;
    let sum: u64 = shares.iter().map(|one| u64::from(one.share.0)).sum();
    let is_ordered = shares.is_sorted_by(|one, next| one.protocol < next.protocol);
    if sum == u64::from(WHOLE.0) && is_ordered {
        Ok(shares)
    } else {
        Err(DecodeError::Range("shares"))
    }
}

/// The key and the body's first seven members of nine: both kinds of snapshot add two.
fn write_basis(basis: &AllocationBasis, out: &mut Writer) {
    out.array(2).array(1).text(basis.policy.id.as_str());
    out.array(9).felt(&basis.block_hash.0);
    out.text(&basis.policy.version).bytes(basis.policy.hash.as_bytes()).text(&basis.policy.rule);
    out.list(&basis.candidates).list(&basis.dropped);
    basis.causes.write(out);
}

fn read_basis(input: &mut Reader<'_>) -> Result<AllocationBasis, DecodeError> {
    input.array(2)?;
    input.array(1)?;
    let id = PolicyId::new(input.text()?).map_err(|_| DecodeError::Range("policy name"))?;
    input.array(9)?;
    let block_hash = BlockHash(input.felt()?);
    let version = input.text()?.to_owned();
    let policy = PolicyRef { id, version, hash: input.hash()?, rule: input.text()?.to_owned() };
    Ok(AllocationBasis {
        policy,
        block_hash,
        candidates: input.list()?,
        dropped: input.list()?,
        causes: Causes::read(input)?,
    })
}

impl Canonical for AllocationProposed {
    fn write(&self, out: &mut Writer) {
        write_basis(&self.basis, out);
        out.list(&self.shares).list(&self.binding);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { basis: read_basis(input)?, shares: read_shares(input)?, binding: input.list()? })
    }
}

impl Canonical for Infeasibility {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::NoProtocolLeft => out.array(1).text(self.name()),
            Self::CapsBelowWhole { caps } => out.array(2).text(self.name()).uint(caps.0.into()),
            Self::TooFewProtocols { found, required } => {
                out.array(3).text(self.name()).uint((*found).into()).uint((*required).into())
            }
        };
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = input.any_array()?;
        match (input.text()?, length) {
            ("no_protocol_left", 1) => Ok(Self::NoProtocolLeft),
            ("caps_below_whole", 2) => Ok(Self::CapsBelowWhole { caps: read_bps(input, "caps")? }),
            ("too_few_protocols", 3) => Ok(Self::TooFewProtocols {
                found: input.uint8("number of protocols")?,
                required: input.uint8("number of protocols")?,
            }),
            _ => Err(DecodeError::Range("infeasibility")),
        }
    }
}

impl Canonical for AllocationInfeasible {
    fn write(&self, out: &mut Writer) {
        write_basis(&self.basis, out);
        self.failure.write(out);
        out.list(&self.conflicts);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            basis: read_basis(input)?,
            failure: Infeasibility::read(input)?,
            conflicts: input.list()?,
        })
    }
}
