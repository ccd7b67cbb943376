//! From a policy file's bytes to [`Policies`]: shape by serde, meaning checked here.
//!
//! Every refusal names the member. A policy that no scores could ever satisfy is refused too: it would
//! be infeasible at every block.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{PolicyRef, WHOLE};
use obsqra_types::{Bps, Hash32, PolicyId, ProtocolId};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::file::{Limits, Policies, Policy};
use crate::{COUNTED_SHARE, RULE};

/// Scores lie in this range.
const SCORES: std::ops::RangeInclusive<u8> = 5..=95;
const MAX_LIQUIDITY_CLASS: u8 = 3;

/// A file holds no policies.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not JSON, or a member is missing, unknown or of another type.
    #[error("policies: {0}")]
    Shape(#[source] serde_json::Error),
    /// A member's value is not allowed.
    #[error("policies: {member}: {problem}")]
    Member {
        /// The member, such as `presets[0].caps[1].protocol`.
        member: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicies {
    policies: String,
    version: u64,
    rule: String,
    presets: Vec<RawPolicy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    id: String,
    allow: Vec<String>,
    max_score: u8,
    max_volatility_bps: u32,
    min_liquidity_class: u8,
    max_single_bps: u32,
    caps: Vec<RawCap>,
    min_diversification: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCap {
    protocol: String,
    max_bps: u32,
}

type Checked<T> = Result<T, PolicyError>;

fn refuse<T>(member: impl Into<String>, problem: impl Into<String>) -> Checked<T> {
    Err(PolicyError::Member { member: member.into(), problem: problem.into() })
}

pub(crate) fn policies(bytes: &[u8]) -> Checked<Policies> {
    let raw: RawPolicies = serde_json::from_slice(bytes).map_err(PolicyError::Shape)?;
    if raw.policies.trim().is_empty() {
        return refuse("policies", "is empty");
    }
    if raw.rule != RULE {
        return refuse("rule", format!("`{}` is not `{RULE}`", raw.rule));
    }
    if raw.presets.is_empty() {
        return refuse("presets", "is empty");
    }
    let mut policies = Policies {
        version: format!("{}/{}", raw.policies, raw.version),
        hash: Hash32(Sha256::digest(bytes).into()),
        policies: BTreeMap::new(),
    };
    for (index, raw) in raw.presets.into_iter().enumerate() {
        let member = format!("presets[{index}]");
        let policy = policy(&policies, &member, raw)?;
        if policies.policies.insert(policy.id().clone(), policy).is_some() {
            return refuse(format!("{member}.id"), "stands twice");
        }
    }
    Ok(policies)
}

fn policy(file: &Policies, member: &str, raw: RawPolicy) -> Checked<Policy> {
    let id = PolicyId::new(raw.id.as_str())
        .or_else(|error| refuse(format!("{member}.id"), error.to_string()))?;
    let limits = limits(member, raw)?;
    satisfiable(member, &limits)?;
    let version = file.version.clone();
    let reference = PolicyRef { id, version, hash: file.hash, rule: RULE.to_owned() };
    Ok(Policy { reference, limits })
}

fn limits(member: &str, raw: RawPolicy) -> Checked<Limits> {
    let allow = allow_list(&format!("{member}.allow"), &raw.allow)?;
    if !SCORES.contains(&raw.max_score) {
        return refuse(format!("{member}.max_score"), "is not in 5 to 95");
    }
    if raw.max_volatility_bps > WHOLE.0 {
        return refuse(format!("{member}.max_volatility_bps"), "is above 10000");
    }
    if raw.min_liquidity_class > MAX_LIQUIDITY_CLASS {
        return refuse(format!("{member}.min_liquidity_class"), "is above 3");
    }
    let max_single = share(&format!("{member}.max_single_bps"), raw.max_single_bps)?;
    let mut caps = BTreeMap::new();
    for (index, cap) in raw.caps.iter().enumerate() {
        let member = format!("{member}.caps[{index}]");
        let (protocol, cap) = protocol_cap(&member, cap, &allow, max_single)?;
        if caps.insert(protocol, cap).is_some() {
            return refuse(format!("{member}.protocol"), "stands twice");
        }
    }
    Ok(Limits {
        allow,
        max_score: raw.max_score,
        max_volatility: Bps(raw.max_volatility_bps),
        min_liquidity_class: raw.min_liquidity_class,
        max_single,
        caps,
        min_diversification: raw.min_diversification,
    })
}

fn protocol(member: &str, id: &str) -> Checked<ProtocolId> {
    ProtocolId::new(id).or_else(|error| refuse(member, error.to_string()))
}

fn allow_list(member: &str, raw: &[String]) -> Checked<BTreeSet<ProtocolId>> {
    if raw.is_empty() {
        return refuse(member, "is empty");
    }
    let mut allow = BTreeSet::new();
    for (index, id) in raw.iter().enumerate() {
        let member = format!("{member}[{index}]");
        if !allow.insert(protocol(&member, id)?) {
            return refuse(member, "stands twice");
        }
    }
    Ok(allow)
}

fn share(member: &str, bps: u32) -> Checked<Bps> {
    if (1..=WHOLE.0).contains(&bps) { Ok(Bps(bps)) } else { refuse(member, "is not in 1 to 10000") }
}

fn protocol_cap(
    member: &str,
    raw: &RawCap,
    allow: &BTreeSet<ProtocolId>,
    max_single: Bps,
) -> Checked<(ProtocolId, Bps)> {
    let id = protocol(&format!("{member}.protocol"), &raw.protocol)?;
    if !allow.contains(&id) {
        return refuse(format!("{member}.protocol"), "is not among those allowed");
    }
    let cap = share(&format!("{member}.max_bps"), raw.max_bps)?;
    if cap >= max_single {
        return refuse(format!("{member}.max_bps"), "is not below max_single_bps");
    }
    Ok((id, cap))
}

/// Whether some scores and APYs satisfy the caps and the number of protocols.
fn satisfiable(member: &str, limits: &Limits) -> Checked<()> {
    let caps = || limits.allow.iter().map(|protocol| limits.cap_bps(protocol));
    if caps().map(|cap| u64::from(cap.0)).sum::<u64>() < u64::from(WHOLE.0) {
        let problem = "with the caps of those allowed, it does not reach 10000";
        return refuse(format!("{member}.max_single_bps"), problem);
    }
    let member = format!("{member}.min_diversification");
    let most = WHOLE.0 / COUNTED_SHARE.0;
    if !(1..=most).contains(&u32::from(limits.min_diversification)) {
        return refuse(member, format!("is not in 1 to {most}"));
    }
    if caps().filter(|cap| *cap >= COUNTED_SHARE).count() < usize::from(limits.min_diversification)
    {
        return refuse(
            member,
            "is more than there are protocols allowed with a cap of 1000 or more",
        );
    }
    Ok(())
}
