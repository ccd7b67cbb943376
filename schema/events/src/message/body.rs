//! The bodies of messages as types: what is written and the schema that says so are made from the same members.
//!
//! A body may gain members. One that goes, or that means something else, takes a new version of its kind. What a
//! member's comment says is its description in the schema, so that it is written for whoever reads messages.

use obsqra_types::ChainId;
use schemars::{JsonSchema, Schema, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::text::{Decimal, DigestHex, FeltHex};
use crate::{
    AnomalyFound, BlockApplied, Cause, Causes, Draft, Entry, EventData, Kind, Lane, MessageContext,
    Phase, Retracted, RiskAbsent, RiskScored, Severity,
};

/// What every body has.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<D> {
    /// The kind of the fact and the version of its layout.
    schema: String,
    /// The chain.
    chain_id: String,
    /// The position of the fact's entry in the log, a decimal number.
    seq: Decimal,
    /// The content hash of the fact's entry.
    content_hash: DigestHex,
    // Of every kind that is published, none is written without a block.
    /// The block that the fact belongs to; of a derived fact the block as of which it holds.
    #[schemars(with = "BlockBody")]
    block: Option<BlockBody>,
    /// What the fact says.
    data: D,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct BlockBody {
    /// Height.
    number: u64,
    /// Number of reorganisations before the block was applied: a block that comes back has another one.
    branch_epoch: u32,
    /// The header's time, seconds since 1970 UTC.
    timestamp: u64,
}

impl<D> Envelope<D> {
    pub(super) fn new(entry: &Entry, data: D) -> Self {
        let draft = &entry.draft;
        let block = draft.block.map(|block| BlockBody {
            number: block.number.0,
            branch_epoch: block.epoch.0,
            timestamp: block.timestamp.0,
        });
        Self {
            schema: schema_name(draft),
            chain_id: ChainId::to_string(&draft.chain),
            seq: entry.seq.into(),
            content_hash: draft.content_hash.into(),
            block,
            data,
        }
    }
}

fn schema_name(draft: &Draft) -> String {
    versioned(draft.kind, draft.version)
}

/// The value of the member `schema` in bodies of a kind and version.
pub(super) fn versioned(kind: Kind, version: i16) -> String {
    format!("obsqra.v1.{}/{version}", kind.name())
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockAppliedBody {
    /// The block's hash.
    block_hash: FeltHex,
    /// The hash of the block below.
    parent_hash: FeltHex,
    /// How many watched events it has. Those that a protocol owns are published each by itself.
    watched_events: u32,
    /// The position of its last watched event in the log, its own position where it has none.
    #[schemars(with = "Decimal")]
    last_seq: Option<Decimal>,
}

impl BlockAppliedBody {
    pub(super) fn of(fact: &BlockApplied, context: &MessageContext) -> Self {
        Self {
            block_hash: (&fact.hash.0).into(),
            parent_hash: (&fact.parent_hash.0).into(),
            watched_events: fact.watched_events,
            last_seq: context.last_seq.map(Decimal::from),
        }
    }
}

/// Of a block that was reverted, or that is final with all below it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlockHashBody {
    /// The block's hash.
    pub(super) block_hash: FeltHex,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventBody {
    /// The protocol that owns the contract.
    #[schemars(with = "String")]
    protocol: Option<String>,
    /// The event's name in the contract's source; null where it fits no layout that is known.
    name: Option<String>,
    /// The event's members; null where it fits no layout. The schema of its decoder has them.
    #[schemars(with = "Option<Map<String, Value>>")]
    decoded: Option<Value>,
    /// Its place in the block, over all events of the block.
    event_index: u32,
    /// The transaction that emitted it.
    transaction_hash: FeltHex,
    /// The contract that emitted it.
    contract: FeltHex,
    /// Its keys, the selector first.
    keys: Vec<FeltHex>,
    /// Its data.
    data: Vec<FeltHex>,
}

impl EventBody {
    pub(super) fn of(fact: &EventData, context: &MessageContext) -> Self {
        Self {
            protocol: context.protocol.as_ref().map(ToString::to_string),
            name: context.event_name.clone(),
            decoded: context.decoded.clone(),
            event_index: fact.index.0,
            transaction_hash: (&fact.transaction_hash.0).into(),
            contract: (&fact.from_address.0).into(),
            keys: fact.keys.iter().map(FeltHex::from).collect(),
            data: fact.data.iter().map(FeltHex::from).collect(),
        }
    }
}

/// Entries of the log that a fact was computed from.
#[derive(Serialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum CauseBody {
    /// One entry.
    Entry {
        /// Its position.
        seq: Decimal,
    },
    /// The entries of a range that a selector names.
    Window {
        /// First position of the range.
        from_seq: Decimal,
        /// Last position of the range, inclusive.
        to_seq: Decimal,
        /// Which entries of the range count, such as `event protocol=zklend`.
        selector: String,
        /// How many they are.
        count: u64,
        /// The digest of their set.
        digest: DigestHex,
    },
}

pub(super) fn causes(causes: &Causes) -> Vec<CauseBody> {
    causes.as_slice().iter().map(CauseBody::of).collect()
}

impl CauseBody {
    fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Entry(seq) => Self::Entry { seq: Decimal::from(*seq) },
            Cause::Window { from_seq, to_seq, selector, count, digest } => Self::Window {
                from_seq: Decimal::from(*from_seq),
                to_seq: Decimal::from(*to_seq),
                selector: selector.clone(),
                count: *count,
                digest: (*digest).into(),
            },
        }
    }
}

/// A figure that the log does not support.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AbsenceBody {
    /// Which figure.
    pub(super) field: String,
    /// The reason's name, such as `insufficient_history`.
    pub(super) reason: String,
    /// What it is about, for people.
    pub(super) detail: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RiskScoredBody {
    /// Whose score it is.
    protocol: String,
    /// The as-of block's hash.
    block_hash: FeltHex,
    /// The formula, such as `risk-v1.2`.
    formula: String,
    /// 5 (least risk) to 95 (most).
    score: u8,
    /// The terms of the score, before their sum is clamped.
    components: ComponentsBody,
    /// What the score was computed from.
    inputs: InputsBody,
    /// The entries that the inputs follow from; at most 64.
    causes: Vec<CauseBody>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ComponentsBody {
    /// Of the utilization.
    utilization: u32,
    /// Of the volatility.
    volatility: u32,
    /// Of the liquidity class.
    liquidity: u32,
    /// Of the audit score.
    audit: u32,
    /// Of the age.
    age: u32,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct InputsBody {
    /// Utilization or turnover, bps.
    utilization_bps: u32,
    /// Realised volatility over 7 days, bps, 0 to 10,000.
    volatility_bps: u32,
    /// 0 (below 1 M USDC) to 3 (from 50 M USDC).
    liquidity_class: u8,
    /// 0 to 100.
    audit_score: u8,
    /// Whole days since deployment.
    age_days: u32,
}

impl RiskScoredBody {
    pub(super) fn of(fact: &RiskScored) -> Self {
        Self {
            protocol: fact.protocol.to_string(),
            block_hash: (&fact.block_hash.0).into(),
            formula: fact.formula.clone(),
            score: fact.score,
            components: ComponentsBody {
                utilization: fact.components.utilization,
                volatility: fact.components.volatility,
                liquidity: fact.components.liquidity,
                audit: fact.components.audit,
                age: fact.components.age,
            },
            inputs: InputsBody {
                utilization_bps: fact.inputs.utilization_bps,
                volatility_bps: fact.inputs.volatility_bps,
                liquidity_class: fact.inputs.liquidity_class,
                audit_score: fact.inputs.audit_score,
                age_days: fact.inputs.age_days,
            },
            causes: causes(&fact.causes),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RiskAbsentBody {
    /// Whose score is absent.
    protocol: String,
    /// The as-of block's hash.
    block_hash: FeltHex,
    /// The formula that would have applied.
    formula: String,
    /// What is missing, and why; never empty.
    absent: Vec<AbsenceBody>,
    /// The entries that were looked at; at most 64.
    causes: Vec<CauseBody>,
}

impl RiskAbsentBody {
    pub(super) fn of(fact: &RiskAbsent) -> Self {
        let absent = fact.absent.iter().map(|absent| AbsenceBody {
            field: absent.field.clone(),
            reason: absent.reason.clone(),
            detail: absent.detail.clone(),
        });
        Self {
            protocol: fact.protocol.to_string(),
            block_hash: (&fact.block_hash.0).into(),
            formula: fact.formula.clone(),
            absent: absent.collect(),
            causes: causes(&fact.causes),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnomalyBody {
    /// The rule's name, such as `accumulator_jump`.
    rule: String,
    /// Whose market it is about.
    protocol: String,
    /// Which market; null where it is about the protocol.
    market: Option<String>,
    /// The as-of block's hash.
    block_hash: FeltHex,
    /// The version of the rules.
    rules: String,
    /// How much it matters.
    #[schemars(schema_with = "severities")]
    severity: &'static str,
    /// `point` where it does not last, else whether it begins or ends with the block.
    #[schemars(schema_with = "phases")]
    phase: &'static str,
    /// What was measured, for people.
    detail: String,
    /// The entries that it was seen in; at most 64.
    causes: Vec<CauseBody>,
}

fn severities(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "enum": Severity::ALL.map(Severity::name) })
}

fn phases(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "enum": Phase::ALL.map(Phase::name) })
}

impl AnomalyBody {
    pub(super) fn of(fact: &AnomalyFound) -> Self {
        Self {
            rule: fact.rule.clone(),
            protocol: fact.protocol.to_string(),
            market: fact.market.as_ref().map(|market| market.0.clone()),
            block_hash: (&fact.block_hash.0).into(),
            rules: fact.rules.clone(),
            severity: fact.severity.name(),
            phase: fact.phase.name(),
            detail: fact.detail.clone(),
            causes: causes(&fact.causes),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetractedBody {
    /// The kind of the fact that no longer counts.
    #[schemars(schema_with = "retractable")]
    kind: &'static str,
    /// What that fact is about, such as a protocol id.
    subject: String,
    /// The hash of its as-of block.
    block_hash: FeltHex,
    /// Its position in the log: the `Obsqra-Seq` of its message.
    retracted_seq: Decimal,
    /// Its content hash.
    content_hash: DigestHex,
    /// The position of the `chain.block_reverted` that takes its block back.
    reverted_seq: Decimal,
}

fn retractable(_: &mut schemars::SchemaGenerator) -> Schema {
    let derived = Kind::ALL.into_iter().filter(|kind| kind.lane() == Lane::Derived);
    let names: Vec<_> = derived.filter(|kind| *kind != Kind::Retracted).map(Kind::name).collect();
    json_schema!({ "enum": names })
}

impl RetractedBody {
    pub(super) fn of(fact: &Retracted) -> Self {
        Self {
            kind: fact.kind.name(),
            subject: fact.subject.clone(),
            block_hash: (&fact.block_hash.0).into(),
            retracted_seq: fact.seq.into(),
            content_hash: fact.content_hash.into(),
            reverted_seq: fact.reverted_seq.into(),
        }
    }
}
