//! The rows of all read models of a chain, changed in memory and written inside one transaction.

use obsqra_events::{Entry, Fact, Kind, Lane};
use obsqra_protocols::{Contracts, MarketMetrics, TokenPrice};
use obsqra_store::projection::HistoryRow as _;
use obsqra_store::projection::activity::{self, ActivityRow};
use obsqra_store::projection::allocation_snapshot::{self, AllocationSnapshotRow};
use obsqra_store::projection::anomaly::{self, AnomalyRow};
use obsqra_store::projection::block::{self, BlockRow};
use obsqra_store::projection::event::{self, EventRow};
use obsqra_store::projection::market_metrics::{self, MarketMetricsRow};
use obsqra_store::projection::misfit;
use obsqra_store::projection::price::{self, PriceRow};
use obsqra_store::projection::privacy_pool::{self, PrivacyPoolRow};
use obsqra_store::projection::risk_score::{self, RiskScoreRow};
use obsqra_store::projection::state::{self, ProjectionState, StateHashes};
use obsqra_store::{Store, Transaction, key};
use obsqra_types::{BlockNumber, BlockRef, ChainId, Seq};

use super::changes::{Changes, Outcome, RULES};
use super::event_rows::{self, EventRows};
use super::history::History;
use super::misfits::Misfits;
use super::models::Step;
use super::privacy::PoolChanges;
use super::rows;
use crate::WorkError;
use crate::chain_fold::{Folded, FoldedBlock};

/// Most reverted heights whose rows are read and closed at a time.
const REVERT_HEIGHTS: usize = 128;

/// The rows that are open, what is to be written, and the position they stand for.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) store: Store,
    pub(super) chain: ChainId,
    state: ProjectionState,
    blocks: History<BlockRow>,
    events: History<EventRow>,
    markets: History<MarketMetricsRow>,
    prices: History<PriceRow>,
    scores: History<RiskScoreRow>,
    anomalies: History<AnomalyRow>,
    allocations: History<AllocationSnapshotRow>,
    pub(super) activities: History<ActivityRow>,
    pub(super) pools: History<PrivacyPoolRow>,
    misfits: Misfits,
    /// Whether an older program, which did not know all read models, wrote the rows.
    is_outdated: bool,
    /// Reverts that follow one another, taken in and not yet applied to the rows.
    reverting: Vec<(BlockNumber, Seq)>,
}

/// Markets and prices at the end of a block.
struct Told<'a> {
    markets: &'a [MarketMetrics],
    prices: &'a [TokenPrice],
    /// Whether there are no others.
    are_all: bool,
}

impl Tables {
    /// None, before the first entry.
    pub(super) fn empty(store: &Store, chain: &ChainId) -> Self {
        Self {
            store: store.clone(),
            chain: chain.clone(),
            state: ProjectionState::START,
            blocks: History::default(),
            events: History::default(),
            markets: History::default(),
            prices: History::default(),
            scores: History::default(),
            anomalies: History::default(),
            allocations: History::default(),
            activities: History::default(),
            pools: History::default(),
            misfits: Misfits::default(),
            is_outdated: false,
            reverting: Vec::new(),
        }
    }

    /// Those that the database holds.
    pub(super) async fn load(store: &Store, chain: &ChainId) -> Result<Self, WorkError> {
        let state = state::load(store, chain).await?;
        let hashes = state::load_hashes(store, chain).await?;
        let markets = market_metrics::open(store, chain.as_str()).await?;
        let prices = price::open(store, chain.as_str()).await?;
        let scores = risk_score::open(store, chain.as_str()).await?;
        let anomalies = anomaly::open(store, chain.as_str()).await?;
        let allocations = allocation_snapshot::open(store, chain.as_str()).await?;
        let pools = privacy_pool::open(store, chain.as_str()).await?;
        let tables = Self {
            store: store.clone(),
            chain: chain.clone(),
            state,
            blocks: History::load(Vec::new(), hashes.get(BlockRow::READ_MODEL)),
            events: History::load(Vec::new(), hashes.get(EventRow::READ_MODEL)),
            markets: History::load(markets, hashes.get(MarketMetricsRow::READ_MODEL)),
            prices: History::load(prices, hashes.get(PriceRow::READ_MODEL)),
            scores: History::load(scores, hashes.get(RiskScoreRow::READ_MODEL)),
            anomalies: History::load(anomalies, hashes.get(AnomalyRow::READ_MODEL)),
            allocations: History::load(allocations, hashes.get(AllocationSnapshotRow::READ_MODEL)),
            activities: History::load(Vec::new(), hashes.get(ActivityRow::READ_MODEL)),
            pools: History::load(pools, hashes.get(PrivacyPoolRow::READ_MODEL)),
            misfits: Misfits::new(misfit::by_protocol(store, chain).await?),
            is_outdated: false,
            reverting: Vec::new(),
        };
        let reached = state::reached(store, chain, (state.seq, &RULES)).await?;
        let is_whole = tables.hashes().iter().all(|(name, _)| reached.contains(*name));
        Ok(Self { is_outdated: state.seq > Seq::BEFORE_FIRST && !is_whole, ..tables })
    }

    /// Whether rows are missing of a read model that the program that wrote the others did not know, or were made
    /// by other definitions.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// The position that the rows stand for, once written.
    pub(super) fn state(&self) -> ProjectionState {
        self.state
    }

    /// Changes the rows as an entry says, in memory alone: the entry is none that [`Step::needs_tables`].
    pub(super) fn put(&mut self, step: &Step) -> Result<(), WorkError> {
        let Step { entry, folded, contracts, .. } = step;
        match folded {
            Some(Folded::Block(folded)) => self.block(folded, contracts.as_ref())?,
            _ => self.other(entry)?,
        }
        self.state.seq = entry.seq;
        Ok(())
    }

    /// Changes the rows as an entry says. A revert, and another registry, look at the database.
    pub(super) async fn take(
        &mut self,
        tx: &mut Transaction,
        step: &Step,
    ) -> Result<(), WorkError> {
        let Step { entry, folded, contracts, before } = step;
        let seq = entry.seq;
        if let Some(Folded::Reverted(block)) = folded {
            self.reverting.push((block.number, seq));
            self.state.seq = seq;
            return Ok(());
        }
        self.finish_reverts(tx).await?;
        let Some(Folded::Reread(markets, prices)) = folded else {
            return self.put(step);
        };
        if let Some((block, _)) = self.state.block {
            let told = Told { markets, prices, are_all: true };
            self.tell((block.number, seq), &told)?;
        }
        if let Some(contracts) = contracts {
            self.add(tx, (before.as_ref(), contracts), seq).await?;
        }
        self.state.seq = seq;
        Ok(())
    }

    fn block(
        &mut self,
        folded: &FoldedBlock,
        contracts: Option<&Contracts>,
    ) -> Result<(), WorkError> {
        self.blocks.put_point(rows::block(&self.chain, folded)?);
        if let Some(contracts) = contracts {
            self.events_of(folded, contracts)?;
        }
        self.state.block = Some((folded.block, folded.hash));
        if let Some(output) = &folded.output {
            let told = Told {
                markets: &output.changed_markets,
                prices: &output.changed_prices,
                are_all: folded.tells_all,
            };
            self.tell((folded.block.number, folded.last_seq), &told)?;
        }
        Ok(())
    }

    /// Puts what is told at a height, known from a position on. Rows that say the same stay; where all is told,
    /// those end that are not told of.
    fn tell(
        &mut self,
        (number, seq): (BlockNumber, Seq),
        told: &Told<'_>,
    ) -> Result<(), WorkError> {
        let number = rows::signed(number.0, seq)?;
        let markets = told.markets.iter().map(|one| rows::market(&self.chain, number, seq, one));
        let markets = markets.collect::<Result<Vec<_>, _>>()?;
        let prices = told.prices.iter().map(|one| rows::price(&self.chain, number, seq, one));
        let prices = prices.collect::<Result<Vec<_>, _>>()?;
        if told.are_all {
            let place = (number, rows::signed(seq.0, seq)?);
            self.markets.end_others(&markets, place);
            self.prices.end_others(&prices, place);
        }
        markets.into_iter().for_each(|row| self.markets.put_other(row));
        prices.into_iter().for_each(|row| self.prices.put_other(row));
        Ok(())
    }

    fn events_of(&mut self, folded: &FoldedBlock, contracts: &Contracts) -> Result<(), WorkError> {
        let mut changes = PoolChanges::default();
        for (seq, _, event) in &folded.events {
            let place = (folded.block, folded.hash);
            if let Some(rows) = event_rows::event(&self.chain, place, contracts, (*seq, event))? {
                self.put_event(rows, contracts, &mut changes);
            }
        }
        for (key, change) in changes.into_pools() {
            let standing: Vec<_> = self.pools.standing(&key).cloned().into_iter().collect();
            if let Some(row) = change.rows(&key, &standing, folded.last_seq)?.pop() {
                self.pools.put(row);
            }
        }
        Ok(())
    }

    /// Puts the rows of an event, and notes what it moves to and from chambers.
    pub(super) fn put_event(
        &mut self,
        rows: EventRows,
        contracts: &Contracts,
        changes: &mut PoolChanges,
    ) {
        let EventRows { event, activities, private, transfer } = rows;
        if let Some(transfer) = transfer {
            let place = (&self.chain, event.ranges.from_block);
            changes.note(place, contracts, &transfer, |_| true);
        }
        self.misfits.stands(&event);
        self.events.put_point(event);
        for activity in activities.into_iter().chain(private) {
            self.activities.put_point(activity);
        }
    }

    fn other(&mut self, entry: &Entry) -> Result<(), WorkError> {
        let draft = &entry.draft;
        let Some(block) = draft.block.filter(|_| draft.chain == self.chain) else {
            return Ok(());
        };
        if draft.kind.lane() != Lane::Derived && draft.kind != Kind::BlockFinalized {
            return Ok(());
        }
        let fact = draft.fact().map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
        match &fact {
            Fact::RiskScored(fact) => {
                self.scores.put(rows::scored(&self.chain, block, entry.seq, fact)?);
            }
            Fact::RiskAbsent(fact) => {
                self.scores.put(rows::unscored(&self.chain, block, entry.seq, fact)?);
            }
            Fact::AnomalyFound(fact) => {
                self.anomalies.put(rows::anomaly(&self.chain, block, entry.seq, fact)?);
            }
            Fact::AllocationProposed(fact) => {
                let shares = Ok(fact.shares.as_slice());
                let row = rows::allocation(&self.chain, block, entry.seq, &fact.basis, shares)?;
                self.allocations.put(row);
            }
            Fact::AllocationInfeasible(fact) => {
                let failure = Err(&fact.failure);
                let row = rows::allocation(&self.chain, block, entry.seq, &fact.basis, failure)?;
                self.allocations.put(row);
            }
            Fact::BlockFinalized(_) => self.state.finalized = Some(block.number),
            _ => {}
        }
        Ok(())
    }

    /// Applies the reverts taken in so far: a deep reorganisation costs a few statements for each
    /// [`REVERT_HEIGHTS`] blocks, not for each block.
    async fn finish_reverts(&mut self, tx: &mut Transaction) -> Result<(), WorkError> {
        let reverting = std::mem::take(&mut self.reverting);
        for some in reverting.chunks(REVERT_HEIGHTS) {
            self.revert(tx, some).await?;
        }
        if let Some((lowest, seq)) = reverting.last() {
            self.state.block = self.block_below(*lowest, *seq).await?;
        }
        Ok(())
    }

    async fn revert(
        &mut self,
        tx: &mut Transaction,
        reverts: &[(BlockNumber, Seq)],
    ) -> Result<(), WorkError> {
        // What is touched is read back from the tables: everything up to here has to be in them.
        self.write_rows(tx).await?;
        let chain = self.chain.as_str().to_owned();
        let reverted = reverts
            .iter()
            .map(|(number, seq)| Ok((rows::signed(number.0, *seq)?, rows::signed(seq.0, *seq)?)))
            .collect::<Result<Vec<_>, WorkError>>()?;
        let heights = || reverted.iter().map(|(number, _)| *number);
        let Some(range) = heights().min().zip(heights().max()) else {
            return Ok(());
        };
        let closed = block::close_reverted(tx, &chain, &reverted).await?;
        self.blocks.closed_there(&closed);
        let closed = event::close_reverted(tx, &chain, &reverted).await?;
        closed.iter().for_each(|(row, _)| self.misfits.is_gone(row));
        self.events.closed_there(&closed);
        let closed = activity::close_reverted(tx, &chain, &reverted).await?;
        self.activities.closed_there(&closed);
        let touching = market_metrics::touching(tx, &chain, range).await?;
        self.markets.revert(touching, &reverted);
        let touching = price::touching(tx, &chain, range).await?;
        self.prices.revert(touching, &reverted);
        let touching = risk_score::touching(tx, &chain, range).await?;
        self.scores.revert(touching, &reverted);
        let touching = anomaly::touching(tx, &chain, range).await?;
        self.anomalies.revert(touching, &reverted);
        let touching = allocation_snapshot::touching(tx, &chain, range).await?;
        self.allocations.revert(touching, &reverted);
        let touching = privacy_pool::touching(tx, &chain, range).await?;
        self.pools.revert(touching, &reverted);
        Ok(())
    }

    async fn block_below(
        &self,
        number: BlockNumber,
        seq: Seq,
    ) -> Result<Option<(BlockRef, obsqra_types::BlockHash)>, WorkError> {
        let Some(below) = number.previous() else {
            return Ok(None);
        };
        let found = key::canonical_as_of(&self.store, &self.chain, (below, below), seq).await?;
        Ok(found.first().map(|block| (block.block, block.hash)))
    }

    /// Writes the rows changed so far.
    pub(super) async fn write_rows(&mut self, tx: &mut Transaction) -> Result<(), WorkError> {
        self.changes().write(tx).await
    }

    fn changes(&mut self) -> Changes {
        Changes {
            blocks: self.blocks.take().1,
            events: self.events.take().1,
            markets: self.markets.take(),
            prices: self.prices.take(),
            scores: self.scores.take(),
            anomalies: self.anomalies.take(),
            allocations: self.allocations.take(),
            activities: self.activities.take().1,
            pools: self.pools.take(),
        }
    }

    pub(super) fn hashes(&self) -> [(&'static str, StateHashes); 9] {
        [
            (BlockRow::READ_MODEL, self.blocks.hashes()),
            (EventRow::READ_MODEL, self.events.hashes()),
            (MarketMetricsRow::READ_MODEL, self.markets.hashes()),
            (PriceRow::READ_MODEL, self.prices.hashes()),
            (RiskScoreRow::READ_MODEL, self.scores.hashes()),
            (AnomalyRow::READ_MODEL, self.anomalies.hashes()),
            (AllocationSnapshotRow::READ_MODEL, self.allocations.hashes()),
            (ActivityRow::READ_MODEL, self.activities.hashes()),
            (PrivacyPoolRow::READ_MODEL, self.pools.hashes()),
        ]
    }

    /// What came of the entries taken since the last time, with the state after them. No revert waits among
    /// them.
    pub(super) fn outcome(&mut self) -> Outcome {
        Outcome {
            changes: self.changes(),
            hashes: self.hashes(),
            state: self.state,
            misfits: self.misfits.clone(),
        }
    }

    /// Writes rows, state hashes and position.
    pub(super) async fn write(&mut self, tx: &mut Transaction) -> Result<Misfits, WorkError> {
        self.finish_reverts(tx).await?;
        self.outcome().write(tx, &self.chain).await
    }

    /// How many standing events fit no layout.
    pub(super) fn misfits(&self) -> &Misfits {
        &self.misfits
    }
}
