//! What an event does to a market, in terms that no protocol owns. Decoders translate into these; the
//! fold knows nothing else.

use obsqra_types::{ContractAddress, Felt, MarketId, U256, felt_hex};

use super::ekubo::PoolKey;
use super::members::{I129, I257};
use crate::TokenPair;

/// Which market of a protocol an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum MarketRef {
    /// A reserve, by its token.
    Reserve(ContractAddress),
    /// A pair, by its contract.
    Pair(ContractAddress, TokenPair),
    /// A pool inside a core contract.
    Pool(PoolKey),
    /// A concentrated pool, by its contract.
    PoolContract(ContractAddress, TokenPair),
    /// A reserve of one pool out of several, whose events state it in full: by the contract that holds it,
    /// the pool where the contract holds several, and the token.
    PoolReserve { contract: ContractAddress, pool: Option<Felt>, asset: ContractAddress },
    /// The reserve whose shares that contract keeps, as an earlier [`Change::ShareToken`] says. No
    /// market is opened under such a reference.
    ShareToken(ContractAddress),
    /// All reserves of one pool out of several, by the contract that holds it and the pool. No market is
    /// opened under such a reference.
    LendingPool { contract: ContractAddress, pool: Felt },
}

/// A market's tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MarketTokens {
    /// What a reserve lends.
    Single(ContractAddress),
    /// What a pool swaps.
    Pair(TokenPair),
}

impl MarketRef {
    /// The id under which the market is published.
    pub(crate) fn id(&self) -> MarketId {
        MarketId(match self {
            Self::Reserve(address)
            | Self::Pair(address, _)
            | Self::PoolContract(address, _)
            | Self::ShareToken(address) => address.to_string(),
            Self::Pool(key) => key.to_string(),
            Self::PoolReserve { contract, pool: Some(pool), asset } => {
                format!("{contract}/{}/{asset}", felt_hex(pool))
            }
            Self::PoolReserve { contract, pool: None, asset } => format!("{contract}/{asset}"),
            Self::LendingPool { contract, pool } => format!("{contract}/{}", felt_hex(pool)),
        })
    }

    pub(crate) fn tokens(&self) -> MarketTokens {
        match self {
            Self::Reserve(token)
            | Self::ShareToken(token)
            | Self::LendingPool { contract: token, .. }
            | Self::PoolReserve { asset: token, .. } => MarketTokens::Single(*token),
            Self::Pair(_, tokens) | Self::PoolContract(_, tokens) => MarketTokens::Pair(*tokens),
            Self::Pool(key) => MarketTokens::Pair(key.tokens()),
        }
    }
}

impl MarketTokens {
    /// Each token, in the market's order.
    pub(crate) fn each(self) -> impl Iterator<Item = ContractAddress> {
        let (first, second) = match self {
            Self::Single(token) => (token, None),
            Self::Pair(TokenPair { token0, token1 }) => (token0, Some(token1)),
        };
        std::iter::once(first).chain(second)
    }
}

/// What an event says of an amount of a reserve's shares: of one kind, the other follows with the
/// accumulator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReserveAmount {
    /// As shares, which interest does not change.
    Raw(U256),
    /// As tokens at the accumulator of that moment.
    Face(U256),
}

/// What an event states of a reserve, as it stands after that event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Statement {
    /// What is not lent out, in the token's smallest unit.
    pub(crate) available: U256,
    /// Debt without interest, 18 decimals, whatever the token's own are.
    pub(crate) nominal_debt: U256,
    /// What a nominal debt of 1 has grown to, 27 decimals.
    pub(crate) debt_accumulator: U256,
    /// Smallest units in a whole token.
    pub(crate) unit: U256,
    /// The share of the interest that does not go to the suppliers, 27 decimals.
    pub(crate) fee_rate: U256,
    /// Shares of the supply, 18 decimals, whatever the token's own are.
    pub(crate) total_shares: U256,
    /// What of them accounts hold together; `None` where the statement contradicts itself.
    pub(crate) held_shares: Option<U256>,
    /// Seconds since 1970 at which the accumulator was brought up to date.
    pub(crate) at: u64,
    /// What the oracle gives for a whole token, 18 decimals, where it vouches for it.
    pub(crate) oracle_price: Option<U256>,
}

/// What a swap's event says of its fee, by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SwapFees {
    /// What the fees are.
    Fixed(U256, U256),
    /// What was paid in; the share that is a fee is the pool's, as [`Change::SwapFee`] says.
    OfPaidIn(U256, U256),
    /// Nothing, and no other event tells.
    Unknown,
}

/// One step of a market's state. Accumulators, rates and factors of reserves have 27 decimals, whatever
/// the protocol's own are; amounts count a token's smallest unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// The event names the market and changes nothing that is kept.
    Named,
    /// The market's beginning.
    Opened,
    /// The beginning of the pool that a reserve is of.
    PoolOpened,
    /// The contract that keeps a reserve's shares.
    ShareToken { token: ContractAddress },
    /// The share of a reserve's interest that its protocol keeps.
    ReserveFactor { factor: U256 },
    /// A reserve's accumulators.
    Accumulators { lending: U256, debt: U256 },
    /// All of a reserve.
    Stated(Statement),
    /// A reserve's rates, the lending rate before the reserve factor.
    Rates { lending: U256, borrowing: U256 },
    /// A reserve's rates, the lending rate as suppliers earn it. What the protocol keeps is not told, so
    /// that both rates say nothing of utilization.
    NetRates { lending: U256, borrowing: U256 },
    /// Shares of a reserve went from one account to another; from address 0 they are minted, to address
    /// 0 they are burnt.
    SharesMoved { from: ContractAddress, to: ContractAddress, amount: ReserveAmount },
    /// Raw shares of a reserve changed hands, and no event tells how many.
    SharesMovedUntold,
    /// Debt was taken on, without the interest on it.
    Borrowed { raw: U256 },
    /// Debt was paid back, by whomever.
    Repaid { raw: U256 },
    /// A flash loan came back with that fee due.
    FlashLoaned { fee: U256 },
    /// A constant-product pool's reserves.
    Reserves { reserve0: U256, reserve1: U256 },
    /// A concentrated pool's beginning, with its price.
    Started { sqrt_ratio: U256, tick: I129 },
    /// A concentrated pool's state after a swap.
    Moved { sqrt_ratio: U256, tick: I129, liquidity: u128 },
    /// Liquidity put into or taken out of a range of ticks.
    Ranged { lower: I129, upper: I129, liquidity: I129 },
    /// Tokens that a concentrated pool gained or lost.
    Balances { delta0: I257, delta1: I257 },
    /// Tokens that a pool's liquidity providers put in, above zero, or took out, below.
    Provided { delta0: I257, delta1: I257 },
    /// The share of what is paid into a pool that is a fee, in millionths.
    SwapFee { millionths: u32 },
    /// What a swap moved on each side, and the fees on what was paid in.
    Traded { amount0: U256, amount1: U256, fees: SwapFees },
    /// What a constant-product pool's event says went in and out.
    Flowed { in0: U256, in1: U256, out0: U256, out1: U256 },
}

impl Change {
    /// Whether the newest such event of a market fixes its price or its rates, and so is named among
    /// the causes of what is computed from it.
    pub(crate) fn sets_state(&self) -> bool {
        matches!(
            self,
            Self::Rates { .. }
                | Self::NetRates { .. }
                | Self::Stated(_)
                | Self::Reserves { .. }
                | Self::Started { .. }
                | Self::Moved { .. }
        )
    }

    /// Whether it is about holdings alone. Of a reserve that its events state in full such an event says
    /// nothing before the first statement.
    pub(crate) fn is_of_holdings(&self) -> bool {
        matches!(self, Self::SharesMoved { .. } | Self::SharesMovedUntold)
    }
}

/// A step and the market it is about.
pub(crate) type MarketChange = (MarketRef, Change);
