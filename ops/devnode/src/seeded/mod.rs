//! The seeded chain: a market model that writes the events of five protocols as their contracts would.
//!
//! Everything is a function of the seed: integers only, ordered collections only, no clock. The model
//! also keeps the truth about every metric of its markets (`ops/docs/metrics.md`), worked out from its own
//! state and not from the events it wrote.

mod actions;
mod ekubo;
mod emit;
mod incident;
mod jediswap;
mod jediswap_v2;
mod lenders;
mod market;
mod math;
mod odd;
mod positions;
mod registry;
mod rng;
mod selectors;
mod tokens;
mod traders_v2;
mod trades;
mod truth;
mod vesu;
mod vesu_users;
mod zklend;

pub use incident::Incident;
pub use registry::SEEDED_REGISTRY;
pub use truth::{
    AbsentTruth, AnomalyPhase, AnomalyTruth, BlockTruth, LendingTruth, MarketTruth, PoolTruth,
    ProtocolTruth, ScoreTruth,
};

use self::actions::{Turn, founder, target_ratio};
use self::ekubo::{POOLS, Pool, RANGES};
use self::emit::Transaction;
use self::incident::Stage;
use self::jediswap::{PAIRS, Pair};
use self::jediswap_v2::V2Pool;
use self::market::ReferencePrices;
use self::positions::Position;
use self::rng::Dice;
use self::trades::TradeLog;
use self::truth::Memory;
use self::vesu::VesuPool;
use self::zklend::{RESERVE_FACTOR, RESERVES, Reserve};
use crate::chain::block::{BlockDraft, Origin, TransactionDraft};

/// Time of block 0: 2025-01-01 00:00:00 UTC.
pub const GENESIS_TIMESTAMP: u64 = 1_735_689_600;

/// Chain time between two blocks, in seconds.
pub const BLOCK_SECONDS: u64 = 600;

/// Which pool a trade was made at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Venue {
    /// Index of a JediSwap pair.
    Pair(usize),
    /// Index of an Ekubo pool.
    Pool(usize),
    /// Index of a JediSwap v2 pool.
    V2Pool(usize),
}

/// The state of all protocols after a block.
#[derive(Debug, Clone)]
struct Model {
    prices: ReferencePrices,
    reserves: Vec<Reserve>,
    pairs: Vec<Pair>,
    pools: Vec<Pool>,
    v2_pools: Vec<V2Pool>,
    vesu: Vec<VesuPool>,
    /// Whether zkLend's market does nothing any more.
    lending_halted: bool,
}

/// From a height on, the blocks of a competing chain take other draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fork {
    from_height: u64,
    branch: u32,
}

/// A block of the seeded chain before sealing, and the truth after it.
#[derive(Debug, Clone)]
pub struct SeededBlock {
    /// Events and time.
    pub draft: BlockDraft,
    /// Every metric as of this block.
    pub truth: BlockTruth,
}

/// Makes the blocks of a seed in height order.
#[derive(Debug, Clone)]
pub struct SeededChain {
    seed: u64,
    incident: Option<Incident>,
    forks: Vec<Fork>,
    height: u64,
    model: Model,
    trades: TradeLog,
    memory: Memory,
}

impl SeededChain {
    /// The chain of a seed, before its first block.
    pub fn new(seed: u64) -> Self {
        Self::over(seed, None)
    }

    /// The chain of a seed with an incident at zkLend: the same blocks up to where it begins.
    pub fn with_incident(seed: u64, incident: Incident) -> Self {
        Self::over(seed, Some(incident))
    }

    fn over(seed: u64, incident: Option<Incident>) -> Self {
        let model = Model {
            prices: ReferencePrices::new(),
            reserves: Vec::new(),
            pairs: Vec::new(),
            pools: Vec::new(),
            v2_pools: Vec::new(),
            vesu: Vec::new(),
            lending_halted: false,
        };
        let (trades, memory) = (TradeLog::new(), Memory::default());
        Self { seed, incident, forks: Vec::new(), height: 0, model, trades, memory }
    }

    /// Height of the block that [`Self::next_block`] makes.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Goes back to a height and takes other draws from there on. Everything below is made again from
    /// the seed, which costs some hundreds of microseconds a block, most of it for the truth.
    pub fn fork_at(&mut self, height: u64, branch: u32) {
        let mut again = Self::over(self.seed, self.incident);
        again.forks.clone_from(&self.forks);
        again.forks.retain(|fork| fork.from_height < height);
        while again.height < height {
            again.next_block();
        }
        again.forks.push(Fork { from_height: height, branch });
        *self = again;
    }

    /// Makes the next block.
    pub fn next_block(&mut self) -> SeededBlock {
        let height = self.height;
        let timestamp = GENESIS_TIMESTAMP + height * BLOCK_SECONDS;
        let branch = self
            .forks
            .iter()
            .rfind(|fork| height >= fork.from_height)
            .map_or(0, |fork| fork.branch);
        let mut dice = Dice::of_block(self.seed, branch, height);
        self.model.prices.step(&mut dice, height);
        let stage = self.incident.and_then(|incident| incident.stage_at(height));
        self.model.lending_halted |= stage == Some(Stage::Halt);
        let found = if height == 0 { self.model.found(timestamp) } else { Vec::new() };
        let mut turn = Turn {
            model: &mut self.model,
            dice: &mut dice,
            now: timestamp,
            stage,
            transactions: found,
            trades: Vec::new(),
        };
        turn.play();
        let Turn { transactions, trades, .. } = turn;
        self.trades.record(timestamp, &trades);
        let now = truth::Moment { height, timestamp };
        let truth = truth::after_block(&self.model, &mut self.trades, &mut self.memory, now);
        self.height += 1;
        SeededBlock { draft: BlockDraft { timestamp, origin: Origin::Seeded, transactions }, truth }
    }
}

impl Model {
    /// Everything that exists from the start: reserves, pairs and pools with their first liquidity.
    fn found(&mut self, timestamp: u64) -> Vec<TransactionDraft> {
        let mut transactions = Vec::new();
        for spec in RESERVES {
            transactions.extend(self.found_reserve(spec, timestamp));
        }
        for (spec, total_pairs) in PAIRS.into_iter().zip(1..) {
            let mut transaction = Transaction::from(founder());
            let half = spec.initial_usdc / 2;
            let amounts = (
                self.prices.amount_worth(spec.token0, half),
                self.prices.amount_worth(spec.token1, half),
            );
            self.pairs.push(Pair::create(spec, total_pairs, amounts, &mut transaction));
            transactions.push(transaction.finish());
        }
        for spec in POOLS {
            transactions.push(self.found_pool(spec, timestamp));
        }
        transactions.push(self.found_v2_pool(timestamp));
        transactions.extend(self.found_vesu(timestamp));
        transactions
    }

    /// A reserve with its first deposits and a debt.
    fn found_reserve(
        &mut self,
        spec: zklend::ReserveSpec,
        timestamp: u64,
    ) -> Vec<TransactionDraft> {
        let mut transaction = Transaction::from(founder());
        let mut reserve = Reserve::list(spec, RESERVE_FACTOR, timestamp, &mut transaction);
        let supplied = self.prices.amount_worth(spec.token, spec.initial_usdc);
        let own = supplied / 100 * lenders::founders_percent();
        reserve.deposit(founder(), own, timestamp, &mut transaction);
        let mut transactions = vec![transaction.finish()];
        transactions.extend(lenders::first_deposits(&mut reserve, supplied, timestamp));
        let mut transaction = Transaction::from(founder());
        let debt = supplied / 100 * u128::from(spec.initial_debt_percent);
        reserve.borrow(founder(), debt, timestamp, &mut transaction);
        transactions.push(transaction.finish());
        self.reserves.push(reserve);
        transactions
    }

    /// A pool and its first positions, one for each of [`RANGES`].
    fn found_pool(&mut self, spec: ekubo::PoolSpec, timestamp: u64) -> TransactionDraft {
        let mut transaction = Transaction::from(founder());
        let token = |token: tokens::Token| (self.prices.of(token), token.decimals());
        let ((price0, decimals0), (price1, decimals1)) = (token(spec.token0), token(spec.token1));
        let ratio = math::sqrt_ratio_of(price0, decimals0, price1, decimals1);
        let mut pool = Pool::initialize(spec, ratio, timestamp, &mut transaction);
        for (index, (half_width, percent)) in RANGES.into_iter().enumerate() {
            let (lower, upper) = pool.range_around(half_width);
            let salt = u64::try_from(index).unwrap_or(0) + 1;
            pool.positions.push(Position::over(founder(), salt, lower, upper));
            let amount1 = self.prices.amount_worth(spec.token1, spec.initial_usdc * percent / 200);
            if let Some(liquidity) = pool.liquidity_for(index, amount1) {
                pool.add_liquidity(index, liquidity, &mut transaction);
            }
        }
        debug_assert_eq!(target_ratio(&self.prices, &pool), pool.sqrt_ratio);
        self.pools.push(pool);
        transaction.finish()
    }
}
