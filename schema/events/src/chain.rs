//! Facts of the chain lane: what was read from the chain, and what was adopted to read it.
//!
//! The header fields kept in [`BlockApplied`] are those that every source supplies, so that the same
//! block has the same bytes through any source; what only some sources supply (the price of L2 gas,
//! counts and commitments) stands in [`BlockAttested`], which says how a block was checked. Version 1 of
//! `chain.block_applied` still had the price of L2 gas, which an Apibara DNA stream lacks.

use obsqra_types::{BlockHash, ContractAddress, EventIndex, Felt, Hash32, TransactionHash};

use crate::cbor::{Canonical, DecodeError, Reader, Writer};

/// What kind of bytes were adopted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum AdoptedWhat {
    /// The contract registry, as its file stands.
    Registry,
    /// The name and version of the metric definitions.
    Metrics,
    /// The name and version of the risk formula.
    RiskFormula,
    /// The allocation policies, as their file stands. All presets are in one file: what is adopted
    /// replaces the newest of its sort.
    Policy,
}

impl AdoptedWhat {
    const ALL: [Self; 4] = [Self::Registry, Self::Metrics, Self::RiskFormula, Self::Policy];

    /// The name, as hashed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Metrics => "metrics",
            Self::RiskFormula => "risk_formula",
            Self::Policy => "policy",
        }
    }
}

/// Bytes that shape numbers from this position on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Adopted {
    /// What they are.
    pub what: AdoptedWhat,
    /// The version they call themselves.
    pub version: String,
    /// SHA-256 of the bytes.
    pub hash: Hash32,
    /// The bytes, whole.
    pub bytes: Vec<u8>,
}

/// Where a chain keeps its data for availability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DaMode {
    /// In L1 calldata.
    Calldata,
    /// In L1 blobs.
    Blob,
}

/// A gas price in both fee units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GasPrice {
    /// In fri (10⁻¹⁸ STRK).
    pub fri: u128,
    /// In wei (10⁻¹⁸ ETH).
    pub wei: u128,
}

/// A block that the canonical chain gained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockApplied {
    /// The block's hash.
    pub hash: BlockHash,
    /// The hash of the block below.
    pub parent_hash: BlockHash,
    /// State root after the block.
    pub new_root: Felt,
    /// Who built the block.
    pub sequencer: ContractAddress,
    /// Protocol version, as the header prints it; empty on the oldest blocks.
    pub starknet_version: String,
    /// Data availability mode.
    pub da_mode: DaMode,
    /// Price of L1 gas.
    pub l1_gas: GasPrice,
    /// Price of L1 data gas.
    pub l1_data_gas: GasPrice,
    /// How many watched events follow this entry.
    pub watched_events: u32,
    /// SHA-256 over 0x01 and the content hashes of those events, in order.
    pub events_digest: Hash32,
}

/// A watched event, undecoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventData {
    /// Its place in the block, over all events, kept and not kept.
    pub index: EventIndex,
    /// The place of its transaction in the block.
    pub transaction_index: u32,
    /// The transaction that emitted it.
    pub transaction_hash: TransactionHash,
    /// The contract that emitted it.
    pub from_address: ContractAddress,
    /// Keys, the selector first.
    pub keys: Vec<Felt>,
    /// Data.
    pub data: Vec<Felt>,
}

/// One thing that was checked about a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// The parent hash is the hash of the block below.
    ParentLink,
    /// The number of transactions is the header's.
    TransactionCount,
    /// The number of events, kept and not kept, is the header's.
    EventCount,
    /// The commitment to the events follows from them, or the block hash from it.
    EventCommitment,
    /// The commitment to transactions and signatures follows from them.
    TransactionCommitment,
    /// The commitment to the receipts follows from them.
    ReceiptCommitment,
    /// The block hash follows from the header.
    BlockHash,
    /// A second node has the same block, with the same events.
    SecondSource,
    /// The events in the log are those of the block: for a block that was applied unverified.
    KeptEvents,
}

impl Check {
    /// Every check, in ascending order.
    pub const ALL: [Self; 9] = [
        Self::ParentLink,
        Self::TransactionCount,
        Self::EventCount,
        Self::EventCommitment,
        Self::TransactionCommitment,
        Self::ReceiptCommitment,
        Self::BlockHash,
        Self::SecondSource,
        Self::KeptEvents,
    ];

    /// The name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ParentLink => "parent link",
            Self::TransactionCount => "transaction count",
            Self::EventCount => "event count",
            Self::EventCommitment => "event commitment",
            Self::TransactionCommitment => "transaction commitment",
            Self::ReceiptCommitment => "receipt commitment",
            Self::BlockHash => "block hash",
            Self::SecondSource => "second source",
            Self::KeptEvents => "kept events",
        }
    }

    /// The number, as hashed. Fixed for good.
    fn code(self) -> u64 {
        match self {
            Self::ParentLink => 1,
            Self::TransactionCount => 2,
            Self::EventCount => 3,
            Self::EventCommitment => 4,
            Self::TransactionCommitment => 5,
            Self::ReceiptCommitment => 6,
            Self::BlockHash => 7,
            Self::SecondSource => 8,
            Self::KeptEvents => 9,
        }
    }
}

/// What the checks amount to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Events, commitments and block hash were recomputed and agree.
    Verified,
    /// They cannot be recomputed from what the source supplies.
    Unverifiable(String),
    /// They could be recomputed, and were not.
    Unchecked(String),
}

impl Verdict {
    /// The name, for messages and tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverifiable(_) => "unverifiable",
            Self::Unchecked(_) => "unchecked",
        }
    }

    /// Why it is not more, where it is not.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Verified => None,
            Self::Unverifiable(reason) | Self::Unchecked(reason) => Some(reason),
        }
    }
}

/// Header members that only some sources supply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuppliedCommitments {
    /// Transactions in the block.
    pub transaction_count: u64,
    /// Events in the block.
    pub event_count: u64,
    /// Entries of the state diff.
    pub state_diff_length: u64,
    /// Commitment to the transactions.
    pub transaction_commitment: Felt,
    /// Commitment to the events.
    pub event_commitment: Felt,
    /// Commitment to the receipts.
    pub receipt_commitment: Felt,
    /// Commitment to the state diff.
    pub state_diff_commitment: Felt,
}

/// Commitments that were recomputed and that the header does not state, as before Starknet 0.13.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ComputedCommitments {
    /// Transactions in the block.
    pub transaction_count: u64,
    /// Events in the block.
    pub event_count: u64,
    /// Commitment to the transactions.
    pub transaction_commitment: Felt,
    /// Commitment to the events.
    pub event_commitment: Felt,
}

/// How a block was checked when it was applied, or later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockAttested {
    /// The block's hash.
    pub hash: BlockHash,
    /// The kind of source, such as `json-rpc/0.10`.
    pub source: String,
    /// What the checks amount to.
    pub verdict: Verdict,
    /// What was checked, in ascending order.
    pub checks: Vec<Check>,
    /// Price of L2 gas, where the source supplies it. Entries of version 1 do not state it.
    pub l2_gas: Option<GasPrice>,
    /// What the header supplied beyond [`BlockApplied`].
    pub supplied: Option<SuppliedCommitments>,
    /// What was recomputed and the header does not state. Entries before version 3 do not state it.
    pub computed: Option<ComputedCommitments>,
    /// The leaves, in block order, of the events that are not in the log: with those that are, the check can
    /// be repeated without a node. `None` where it cannot, and before version 3.
    pub other_leaves: Option<Vec<Felt>>,
}

/// A block that the canonical chain lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockReverted {
    /// The block's hash. With the height and branch of the entry it names the entry that applied it;
    /// no position is stated, so that the content does not depend on what else the log holds.
    pub hash: BlockHash,
}

/// A block that, with all below it, is accepted on L1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockFinalized {
    /// The block's hash.
    pub hash: BlockHash,
}

impl Canonical for GasPrice {
    fn write(&self, out: &mut Writer) {
        out.array(2).u128(self.fri).u128(self.wei);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        Ok(Self { fri: input.u128()?, wei: input.u128()? })
    }
}

// Each payload is an array of two: the key, which with kind, version, chain and block names the fact,
// and the body.

impl Canonical for Adopted {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(2).text(self.what.name()).bytes(self.hash.as_bytes());
        out.array(2).text(&self.version).bytes(&self.bytes);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(2)?;
        let name = input.text()?;
        let what = AdoptedWhat::ALL
            .into_iter()
            .find(|what| what.name() == name)
            .ok_or(DecodeError::Range("kind of adopted bytes"))?;
        let hash = input.hash()?;
        input.array(2)?;
        Ok(Self { what, hash, version: input.text()?.to_owned(), bytes: input.bytes()?.to_vec() })
    }
}

impl Canonical for BlockApplied {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).felt(&self.hash.0);
        out.array(9);
        self.write_header(out);
        out.uint(self.watched_events.into()).bytes(self.events_digest.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let hash = BlockHash(input.felt()?);
        input.array(9)?;
        let header = Self::read_header(hash, input)?;
        Ok(Self {
            watched_events: input.uint32("number of watched events")?,
            events_digest: input.hash()?,
            ..header
        })
    }
}

impl BlockApplied {
    fn write_header(&self, out: &mut Writer) {
        out.felt(&self.parent_hash.0).felt(&self.new_root).felt(&self.sequencer.0);
        out.text(&self.starknet_version).uint(match self.da_mode {
            DaMode::Calldata => 0,
            DaMode::Blob => 1,
        });
        self.l1_gas.write(out);
        self.l1_data_gas.write(out);
    }

    /// What stands before the watched events, which stay unset.
    fn read_header(hash: BlockHash, input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            hash,
            parent_hash: BlockHash(input.felt()?),
            new_root: input.felt()?,
            sequencer: ContractAddress(input.felt()?),
            starknet_version: input.text()?.to_owned(),
            da_mode: match input.uint()? {
                0 => DaMode::Calldata,
                1 => DaMode::Blob,
                _ => return Err(DecodeError::Range("data availability mode")),
            },
            l1_gas: GasPrice::read(input)?,
            l1_data_gas: GasPrice::read(input)?,
            watched_events: 0,
            events_digest: Hash32::ZERO,
        })
    }
}

/// Version 1 of [`BlockApplied`], with the price of L2 gas before the watched events.
pub(crate) struct BlockAppliedV1 {
    pub(crate) fact: BlockApplied,
    l2_gas: Option<GasPrice>,
}

impl Canonical for BlockAppliedV1 {
    fn write(&self, out: &mut Writer) {
        let fact = &self.fact;
        out.array(2).array(1).felt(&fact.hash.0);
        out.array(10);
        fact.write_header(out);
        out.option(self.l2_gas.as_ref(), |out, price| price.write(out));
        out.uint(fact.watched_events.into()).bytes(fact.events_digest.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let hash = BlockHash(input.felt()?);
        input.array(10)?;
        let header = BlockApplied::read_header(hash, input)?;
        let l2_gas = input.option(GasPrice::read)?;
        let fact = BlockApplied {
            watched_events: input.uint32("number of watched events")?,
            events_digest: input.hash()?,
            ..header
        };
        Ok(Self { fact, l2_gas })
    }
}

impl Canonical for EventData {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).uint(self.index.0.into());
        out.array(5).uint(self.transaction_index.into()).felt(&self.transaction_hash.0);
        out.felt(&self.from_address.0).felts(&self.keys).felts(&self.data);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let index = EventIndex(input.uint32("event index")?);
        input.array(5)?;
        Ok(Self {
            index,
            transaction_index: input.uint32("transaction index")?,
            transaction_hash: TransactionHash(input.felt()?),
            from_address: ContractAddress(input.felt()?),
            keys: input.felts()?,
            data: input.felts()?,
        })
    }
}

impl Canonical for Check {
    fn write(&self, out: &mut Writer) {
        out.uint(self.code());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = input.uint()?;
        let known = Self::ALL.into_iter().find(|check| check.code() == code);
        known.ok_or(DecodeError::Range("check"))
    }
}

impl Canonical for Verdict {
    fn write(&self, out: &mut Writer) {
        let (code, reason) = match self {
            Self::Verified => (0, None),
            Self::Unverifiable(reason) => (1, Some(reason)),
            Self::Unchecked(reason) => (2, Some(reason)),
        };
        out.array(2).uint(code).option(reason, |out, reason| {
            out.text(reason);
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        let code = input.uint()?;
        match (code, input.option(|input| Ok(input.text()?.to_owned()))?) {
            (0, None) => Ok(Self::Verified),
            (1, Some(reason)) => Ok(Self::Unverifiable(reason)),
            (2, Some(reason)) => Ok(Self::Unchecked(reason)),
            _ => Err(DecodeError::Range("verdict")),
        }
    }
}

impl Canonical for SuppliedCommitments {
    fn write(&self, out: &mut Writer) {
        out.array(7).uint(self.transaction_count).uint(self.event_count);
        out.uint(self.state_diff_length).felt(&self.transaction_commitment);
        out.felt(&self.event_commitment).felt(&self.receipt_commitment);
        out.felt(&self.state_diff_commitment);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(7)?;
        Ok(Self {
            transaction_count: input.uint()?,
            event_count: input.uint()?,
            state_diff_length: input.uint()?,
            transaction_commitment: input.felt()?,
            event_commitment: input.felt()?,
            receipt_commitment: input.felt()?,
            state_diff_commitment: input.felt()?,
        })
    }
}

impl Canonical for ComputedCommitments {
    fn write(&self, out: &mut Writer) {
        out.array(4).uint(self.transaction_count).uint(self.event_count);
        out.felt(&self.transaction_commitment).felt(&self.event_commitment);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(4)?;
        Ok(Self {
            transaction_count: input.uint()?,
            event_count: input.uint()?,
            transaction_commitment: input.felt()?,
            event_commitment: input.felt()?,
        })
    }
}

impl Canonical for BlockAttested {
    fn write(&self, out: &mut Writer) {
        self.write_common(out, 7);
        out.option(self.l2_gas.as_ref(), |out, price| price.write(out));
        out.option(self.supplied.as_ref(), |out, supplied| supplied.write(out));
        out.option(self.computed.as_ref(), |out, computed| computed.write(out));
        out.option(self.other_leaves.as_ref(), |out, leaves| {
            out.felts(leaves);
        });
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let common = Self::read_common(input, 7)?;
        Ok(Self {
            l2_gas: input.option(GasPrice::read)?,
            supplied: input.option(SuppliedCommitments::read)?,
            computed: input.option(ComputedCommitments::read)?,
            other_leaves: input.option(|input| input.felts())?,
            ..common
        })
    }
}

impl BlockAttested {
    fn write_common(&self, out: &mut Writer, members: usize) {
        out.array(2).array(1).felt(&self.hash.0);
        out.array(members).text(&self.source);
        self.verdict.write(out);
        out.list(&self.checks);
    }

    /// What all versions have; the rest stays unset.
    fn read_common(input: &mut Reader<'_>, members: u64) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let hash = BlockHash(input.felt()?);
        input.array(members)?;
        Ok(Self {
            hash,
            source: input.text()?.to_owned(),
            verdict: Verdict::read(input)?,
            checks: input.list()?,
            l2_gas: None,
            supplied: None,
            computed: None,
            other_leaves: None,
        })
    }
}

/// Version 1 of [`BlockAttested`], without the price of L2 gas.
pub(crate) struct BlockAttestedV1(pub(crate) BlockAttested);

impl Canonical for BlockAttestedV1 {
    fn write(&self, out: &mut Writer) {
        self.0.write_common(out, 4);
        out.option(self.0.supplied.as_ref(), |out, supplied| supplied.write(out));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let common = BlockAttested::read_common(input, 4)?;
        let supplied = input.option(SuppliedCommitments::read)?;
        Ok(Self(BlockAttested { supplied, ..common }))
    }
}

/// Version 2 of [`BlockAttested`], without what was computed and without leaves.
pub(crate) struct BlockAttestedV2(pub(crate) BlockAttested);

impl Canonical for BlockAttestedV2 {
    fn write(&self, out: &mut Writer) {
        self.0.write_common(out, 5);
        out.option(self.0.l2_gas.as_ref(), |out, price| price.write(out));
        out.option(self.0.supplied.as_ref(), |out, supplied| supplied.write(out));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let common = BlockAttested::read_common(input, 5)?;
        let l2_gas = input.option(GasPrice::read)?;
        let supplied = input.option(SuppliedCommitments::read)?;
        Ok(Self(BlockAttested { l2_gas, supplied, ..common }))
    }
}

impl Canonical for BlockReverted {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).felt(&self.hash.0).array(0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let hash = BlockHash(input.felt()?);
        input.array(0)?;
        Ok(Self { hash })
    }
}

impl Canonical for BlockFinalized {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).felt(&self.hash.0).array(0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let hash = BlockHash(input.felt()?);
        input.array(0)?;
        Ok(Self { hash })
    }
}
