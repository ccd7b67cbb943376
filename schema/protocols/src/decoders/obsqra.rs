//! Obsqra's own contracts: they govern allocations and hold what is allocated, and make no market.
//!
//! Percentages are whole, from 0 to 100; scores and rates are in basis points; values are in the token's
//! smallest unit; timestamps are seconds since 1970. Layouts are those of the contracts on Sepolia: the
//! risk engine, version 3.5 of the strategy router, the DAO's constraint manager and the model registry.
//! The layouts of the agent orchestrator and of older routers are not known: their events fit none.
//!
//! The wallet of an activity is the member `user` of the router's `Deposit` and `Withdrawal`. They do not
//! name the token.

use obsqra_types::{ContractAddress, Felt, U256};

use super::activity::{Activity, ActivityKind, single};
use super::layout::event_table;
use super::meaning::EventMeaning;
use super::members::Opaque;
use crate::{Role, WatchedContract};

event_table! {
    /// An event of one of Obsqra's contracts.
    ObsqraEvent
    AllocationProposed "0x1340f745290fdd8231e5d471b17fa9f6c98559f3dec7dcc03b228f52acb79f0" {
        decision_id: Felt, jediswap_pct: Felt, ekubo_pct: Felt, rationale_hash: Opaque,
        block_number: u64,
    }
    AllocationExecuted "0x313565c966b88fd4477b4d644cc52125e346e89bab4c51a9d0b6af8db33760d" {
        decision_id: Felt, strategy_router_tx: Opaque, model_hash: Opaque, timestamp: u64,
        block_number: u64, jediswap_proof_fact: Opaque, ekubo_proof_fact: Opaque,
        constraint_signer: ContractAddress,
    }
    ConstraintsValidated "0x1cb1a24f7c8c8116b94bc20a1f580f03379fe77259044f1499642398fda0968" {
        decision_id: Felt, max_single: Felt, min_diversification: Felt, passed: bool,
        jediswap_pct: Felt, ekubo_pct: Felt,
    }
    ProtocolMetricsQueried "0x16f8c19d9ab8ceb395d8c4baa2f54a11e0e140670386594dcca4185b2f43e52" {
        protocol: Opaque, risk_score: Felt, utilization: Felt, volatility: Felt, liquidity: Felt,
        audit_score: Felt, age_days: Felt, timestamp: u64,
    }
    APYQueried "0x32d4134022ac526e7d5691272c1c65965e217deb1c9cdc2156ced5cce37db52" {
        protocol: Opaque, apy: Felt, source: Opaque, timestamp: u64,
    }
    APYUpdated "0x31bfe1eb896614393bccc3c0eb4028285a4bdf7fa058ede252e8259052b6981" {
        protocol: Opaque, old_apy: Felt, new_apy: Felt, timestamp: u64,
    }
    PerformanceRecorded "0x196239bda8309f50a4e0ac51ed3a9641a2e782f878bf9025410223c2d62b64d" {
        decision_id: Felt, total_value: U256, jediswap_value: U256, ekubo_value: U256,
        jediswap_yield: U256, ekubo_yield: U256, total_yield: U256, performance_delta: U256,
        is_positive_delta: bool, timestamp: u64,
    }
    DecisionRationale "0xd709d4501b28b5a2e2327c20578075d9004dec50db9131f1c23fec8979655c" {
        decision_id: Felt, jediswap_risk: Felt, ekubo_risk: Felt, jediswap_apy: Felt,
        ekubo_apy: Felt, jediswap_risk_adj_score: Felt, ekubo_risk_adj_score: Felt,
        jediswap_pct: Felt, ekubo_pct: Felt, calculation_hash: Opaque,
    }
    AllocationUpdated "0x1a72196e12c7c80c73844650cdd963fd108cdab7a70dff4e88179af6c3e95d" {
        jediswap_pct: Felt, ekubo_pct: Felt, timestamp: u64, decision_id: Felt,
    }
    PerformanceLinked "0x2f49948d74a434d62b3b50ded42fc34aed46f7e7f8c36ce181bf83238994e01" {
        jediswap_value: U256, ekubo_value: U256, timestamp: u64, decision_id: Felt,
    }
    Deposit "0x9149d2123147c5f43d258257fef0b7b969db78269369ebcf5ebb9eef8592f2" {
        user: ContractAddress, amount: U256, timestamp: u64,
    }
    Withdrawal "0x2eed7e29b3502a726faf503ac4316b7101f3da813654e8df02c13449e03da8" {
        user: ContractAddress, amount: U256, yield_amount: U256, timestamp: u64,
    }
    ProtocolsDeployed "0x2389c55b1c1bd58a320e3f4c5ac451b55640ac00bb0723c59d219a12c11cdc2" {
        jediswap_amount: U256, ekubo_amount: U256, timestamp: u64,
    }
    YieldsAccrued "0x38f0767e423ce760ada2e6369fe2b569ee0434237f1c014307ccda05127f28f" {
        total_yield: U256, timestamp: u64,
    }
    Rebalanced "0x20bd862457607b5aa08881cb4c3d2fec9bca992a586242c7d1bb855e432c6fa" {
        old_jediswap: Felt, old_ekubo: Felt, new_jediswap: Felt, new_ekubo: Felt, timestamp: u64,
    }
    MistDepositCommitted "0x1c16057215bcc8e66b208c5756bc703e2a696034f83efe075ccc8824230cdf0" {
        user: ContractAddress, commitment_hash: Opaque, expected_amount: U256, timestamp: u64,
    }
    MistDepositClaimed "0x17bbd0ff034bd648ec5254d37797c4a7e20196b54762c898b2a3e8282450d59" {
        user: ContractAddress, commitment_hash: Opaque, token: ContractAddress, amount: U256,
        timestamp: u64,
    }
    ProtocolsRecalled "0x33728dac95e93cfc2cf5e43c40e02920d3985ab34e9cdd38fcbc44c5189c439" {
        jediswap_amount: U256, ekubo_amount: U256, timestamp: u64,
    }
    ConstraintsUpdated "0x3c4ed52ebb9fd526c2c7772f81ba3b176479f94048cb7c2ace3aa745a496c36" {
        max_single: Felt, min_diversification: Felt, max_volatility: Felt, min_liquidity: Felt,
    }
    ModelRegistered "0x2474f33346a1e5cfe0f6bedbc1facc0224efeb1be69ea9160b8dd8886a100dd" keys [2] {
        version: Opaque, model_hash: Opaque,
    }
}

/// Which contract has an event of that name.
fn role_of(name: &str) -> Role {
    match name {
        "AllocationProposed"
        | "AllocationExecuted"
        | "ConstraintsValidated"
        | "ProtocolMetricsQueried"
        | "APYQueried"
        | "APYUpdated"
        | "PerformanceRecorded"
        | "DecisionRationale" => Role::RiskEngine,
        "ConstraintsUpdated" => Role::DaoConstraintManager,
        "ModelRegistered" => Role::ModelRegistry,
        _ => Role::StrategyRouter,
    }
}

impl EventMeaning for ObsqraEvent {
    fn emits(role: Role, name: &str) -> bool {
        role == role_of(name)
    }

    fn activities(&self, _emitter: &WatchedContract) -> Vec<Activity> {
        let (kind, user, amount) = match *self {
            Self::Deposit { user, amount, .. } => (ActivityKind::Deposit, user, amount),
            Self::Withdrawal { user, amount, .. } => (ActivityKind::Withdrawal, user, amount),
            _ => return Vec::new(),
        };
        single(kind, user, None, amount).into_iter().collect()
    }
}
