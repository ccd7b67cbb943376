//! What watched contracts are to their protocols.
//!
//! A role says which events a contract has; the same name may mean different events in different protocols,
//! so a role is read together with the protocol's decoder.

/// What a watched contract is to its protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// A lending market that holds many reserves.
    Market,
    /// A reserve's share token.
    ZToken,
    /// A contract that holds all pools.
    Core,
    /// A contract that deploys pairs.
    Factory,
    /// One pool of two tokens, of constant product.
    Pair,
    /// A contract that deploys pools.
    PoolFactory,
    /// One pool.
    Pool,
    /// A contract that keeps the rates of all reserves.
    InterestRateModel,
    /// A share of a reserve that earns interest.
    InterestToken,
    /// A share of a reserve that earns interest and stands as collateral.
    InterestCollateralToken,
    /// A share of a reserve that earns none.
    PlainToken,
    /// A share of a reserve that earns none and stands as collateral.
    PlainCollateralToken,
    /// A debt to a reserve.
    DebtToken,
    /// A contract that holds all lending pools.
    Singleton,
    /// An ERC-20 token.
    Token,
    /// A privacy pool.
    Chamber,
    /// Proposes and records allocations.
    RiskEngine,
    /// Holds what is allocated and moves it.
    StrategyRouter,
    /// Keeps the limits of allocations.
    DaoConstraintManager,
    /// Records the versions of models.
    ModelRegistry,
    /// Records what agents do.
    AgentOrchestrator,
}

impl Role {
    /// The name that registry files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::ZToken => "z_token",
            Self::Core => "core",
            Self::Factory => "factory",
            Self::Pair => "pair",
            Self::PoolFactory => "pool_factory",
            Self::Pool => "pool",
            Self::InterestRateModel => "interest_rate_model",
            Self::InterestToken => "interest_token",
            Self::InterestCollateralToken => "interest_collateral_token",
            Self::PlainToken => "plain_token",
            Self::PlainCollateralToken => "plain_collateral_token",
            Self::DebtToken => "debt_token",
            Self::Singleton => "singleton",
            Self::Token => "token",
            Self::Chamber => "chamber",
            Self::RiskEngine => "risk_engine",
            Self::StrategyRouter => "strategy_router",
            Self::DaoConstraintManager => "dao_constraint_manager",
            Self::ModelRegistry => "model_registry",
            Self::AgentOrchestrator => "agent_orchestrator",
        }
    }
}
