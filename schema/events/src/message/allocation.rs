//! The bodies of allocation messages. An absent input is null, and stands under `absent` with its reason.

use serde_json::{Value, json};

use crate::{
    AllocationBasis, AllocationInfeasible, AllocationProposed, Binding, Candidate, CandidateInput,
    DropReason, Infeasibility, Measured,
};

pub(super) fn proposed(fact: &AllocationProposed) -> Value {
    let mut body = basis(&fact.basis);
    let shares = fact.shares.iter();
    let shares =
        shares.map(|one| json!({ "protocol": one.protocol.as_str(), "shareBps": one.share.0 }));
    body["shares"] = shares.collect();
    body["binding"] = bindings(&fact.binding);
    body
}

pub(super) fn infeasible(fact: &AllocationInfeasible) -> Value {
    let mut body = basis(&fact.basis);
    body["failure"] = failure(&fact.failure);
    body["conflicts"] = bindings(&fact.conflicts);
    body
}

fn basis(basis: &AllocationBasis) -> Value {
    let dropped = basis.dropped.iter().map(|one| {
        let reasons: Vec<Value> = one.reasons.iter().map(reason).collect();
        json!({ "protocol": one.protocol.as_str(), "reasons": reasons })
    });
    json!({
        "policy": basis.policy.id.as_str(),
        "policyVersion": basis.policy.version,
        "policyHash": basis.policy.hash.to_string(),
        "rule": basis.policy.rule,
        "blockHash": basis.block_hash.to_string(),
        "candidates": basis.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "dropped": dropped.collect::<Vec<_>>(),
        "causes": super::causes(&basis.causes),
    })
}

fn candidate(candidate: &Candidate) -> Value {
    let absent = [
        absence(CandidateInput::Score, &candidate.score),
        absence(CandidateInput::Apy, &candidate.apy),
        absence(CandidateInput::Volatility, &candidate.volatility),
        absence(CandidateInput::LiquidityClass, &candidate.liquidity_class),
    ];
    json!({
        "protocol": candidate.protocol.as_str(),
        "score": candidate.score.known(),
        "apyBps": candidate.apy.known().map(|apy| apy.0),
        "volatilityBps": candidate.volatility.known().map(|volatility| volatility.0),
        "liquidityClass": candidate.liquidity_class.known(),
        "absent": absent.into_iter().flatten().collect::<Vec<_>>(),
    })
}

fn absence<T>(input: CandidateInput, measured: &Measured<T>) -> Option<Value> {
    match measured {
        Measured::Known(_) => None,
        Measured::Absent { reason, detail } => {
            Some(json!({ "field": input.name(), "reason": reason, "detail": detail }))
        }
    }
}

fn reason(reason: &DropReason) -> Value {
    match reason {
        DropReason::Constraint(constraint) => json!({
            "reason": "constraint", "constraint": constraint.name(), "limit": constraint.limit(),
        }),
        DropReason::InputAbsent(input) => {
            json!({ "reason": "input_absent", "field": input.name() })
        }
        DropReason::NoYield => json!({ "reason": "no_yield" }),
    }
}

fn bindings(bindings: &[Binding]) -> Value {
    let told = bindings.iter().map(|one| {
        let protocols: Vec<&str> = one.protocols.iter().map(|id| id.as_str()).collect();
        json!({
            "constraint": one.constraint.name(),
            "limit": one.constraint.limit(),
            "protocols": protocols,
        })
    });
    told.collect()
}

fn failure(failure: &Infeasibility) -> Value {
    match failure {
        Infeasibility::NoProtocolLeft => json!({ "reason": failure.name() }),
        Infeasibility::CapsBelowWhole { caps } => {
            json!({ "reason": failure.name(), "capsBps": caps.0 })
        }
        Infeasibility::TooFewProtocols { found, required } => {
            json!({ "reason": failure.name(), "found": found, "required": required })
        }
    }
}
