//! All read models of a chain, applied entry by entry inside one transaction.

use obsqra_events::{Entry, Fact, Kind, Lane};
use obsqra_protocols::{Contracts, MarketMetrics, TokenPrice};
use obsqra_store::projection::HistoryRow;
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
use obsqra_types::{BlockNumber, BlockRef, ChainId, Partition, Seq};

use super::event_rows::{self, EventRows};
use super::history::History;
use super::misfits::Misfits;
use super::privacy::PoolChanges;
use super::rows;
use crate::WorkError;
use crate::chain_fold::{ChainFold, Folded, FoldedBlock};

/// Most reverted heights whose rows are read and closed at a time.
const REVERT_HEIGHTS: usize = 128;

/// The rows that are open, the fold they come from, and the position they stand for.
#[derive(Debug)]
pub struct ReadModels {
    pub(super) store: Store,
    pub(super) chain: ChainId,
    fold: ChainFold,
    state: ProjectionState,
    blocks: History<BlockRow>,
    events: History<EventRow>,
    markets: History<MarketMetricsRow>,
    prices: History<PriceRow>,
    scores: History<RiskScoreRow>,
    anomalies: History<AnomalyRow>,
    allocations: History<AllocationSnapshotRow>,
    activities: History<ActivityRow>,
    pub(super) pools: History<PrivacyPoolRow>,
    misfits: Misfits,
    /// Whether an older program, which did not know all read models, wrote the rows.
    is_outdated: bool,
    /// Reverts that follow one another, taken in and not yet applied to the rows.
    reverting: Vec<(BlockNumber, Seq)>,
}

/// An entry that is folded and not written yet.
#[derive(Debug)]
pub struct Step {
    entry: Entry,
    folded: Option<Folded>,
    /// The contracts known after the entry.
    contracts: Option<Contracts>,
    /// Of an entry that changes what is known at once: the contracts known before it.
    before: Option<Contracts>,
}

impl ReadModels {
    /// Empty read models, before the first entry.
    #[must_use]
    pub fn empty(store: &Store, chain: &ChainId, partition: &Partition) -> Self {
        Self {
            store: store.clone(),
            chain: chain.clone(),
            fold: ChainFold::new(store, chain, partition),
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

    /// The read models as the database holds them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(
        store: &Store,
        chain: &ChainId,
        partition: &Partition,
    ) -> Result<Self, WorkError> {
        let state = state::load(store, chain).await?;
        let hashes = state::load_hashes(store, chain).await?;
        let markets = market_metrics::open(store, chain.as_str()).await?;
        let prices = price::open(store, chain.as_str()).await?;
        let scores = risk_score::open(store, chain.as_str()).await?;
        let anomalies = anomaly::open(store, chain.as_str()).await?;
        let allocations = allocation_snapshot::open(store, chain.as_str()).await?;
        let pools = privacy_pool::open(store, chain.as_str()).await?;
        let models = Self {
            store: store.clone(),
            chain: chain.clone(),
            fold: ChainFold::resume(store, chain, partition, state.seq).await?,
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
        let is_whole = models.hashes().iter().all(|(name, _)| hashes.contains_key(*name));
        Ok(Self { is_outdated: state.seq > Seq::BEFORE_FIRST && !is_whole, ..models })
    }

    /// Whether rows are missing of a read model that the program that wrote the others did not know: all are
    /// to be made anew.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// The position that the rows stand for, once written.
    #[must_use]
    pub fn state(&self) -> ProjectionState {
        self.state
    }

    /// Whether the position may be made visible: no block is half in, no revert half done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.fold.is_settled()
    }

    /// Takes the next entry of the log into the fold. May read the log again, so it is done before a
    /// transaction begins; [`ReadModels::write_step`] then writes what came of it.
    ///
    /// # Errors
    /// When the entry cannot be read or does not follow, or the database fails.
    pub async fn fold(&mut self, entry: Entry) -> Result<Step, WorkError> {
        let adopts = entry.draft.kind == Kind::Adopted;
        let before = self.fold.contracts().filter(|_| adopts).cloned();
        let folded = self.fold.take(&entry).await?;
        Ok(Step { folded, contracts: self.fold.contracts().cloned(), before, entry })
    }

    /// Applies the next entry of the log at once.
    ///
    /// # Errors
    /// As [`ReadModels::fold`] and [`ReadModels::write_step`].
    pub async fn apply(&mut self, tx: &mut Transaction, entry: &Entry) -> Result<(), WorkError> {
        let step = self.fold(entry.clone()).await?;
        self.write_step(tx, &step).await
    }

    /// Changes the rows as an entry says.
    ///
    /// # Errors
    /// When a value is out of range or the database fails.
    pub async fn write_step(&mut self, tx: &mut Transaction, step: &Step) -> Result<(), WorkError> {
        let Step { entry, folded, contracts, before } = step;
        let seq = entry.seq;
        if !matches!(folded, Some(Folded::Reverted(_))) {
            self.finish_reverts(tx).await?;
        }
        match folded {
            Some(Folded::Block(folded)) => self.block(folded, contracts.as_ref())?,
            Some(Folded::Reverted(block)) => self.reverting.push((block.number, seq)),
            Some(Folded::Reread(markets, prices)) => {
                self.reread(markets, prices, seq)?;
                if let Some(contracts) = contracts {
                    self.add(tx, (before.as_ref(), contracts), seq).await?;
                }
            }
            None => self.other(entry)?,
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
        let number = rows::signed(folded.block.number.0, folded.applied_seq)?;
        for metrics in folded.output.iter().flat_map(|output| &output.changed_markets) {
            put_other(
                &mut self.markets,
                rows::market(&self.chain, number, folded.last_seq, metrics)?,
            );
        }
        for price in folded.output.iter().flat_map(|output| &output.changed_prices) {
            put_other(&mut self.prices, rows::price(&self.chain, number, folded.last_seq, price)?);
        }
        self.state.block = Some((folded.block, folded.hash));
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
        let EventRows { event, activities, transfer } = rows;
        if let Some(transfer) = transfer {
            changes.note(&self.chain, event.ranges.from_block, contracts, &transfer);
        }
        self.misfits.stands(&event);
        self.events.put_point(event);
        for activity in activities {
            self.activities.put_point(activity);
        }
    }

    /// Another registry changes what the newest block's markets are; rows that say the same stay.
    fn reread(
        &mut self,
        markets: &[MarketMetrics],
        prices: &[TokenPrice],
        seq: Seq,
    ) -> Result<(), WorkError> {
        let Some((block, _)) = self.state.block else {
            return Ok(());
        };
        let number = rows::signed(block.number.0, seq)?;
        for metrics in markets {
            put_other(&mut self.markets, rows::market(&self.chain, number, seq, metrics)?);
        }
        for price in prices {
            put_other(&mut self.prices, rows::price(&self.chain, number, seq, price)?);
        }
        Ok(())
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

    pub(super) async fn write_rows(&mut self, tx: &mut Transaction) -> Result<(), WorkError> {
        let (_, inserts) = self.blocks.take();
        if !inserts.is_empty() {
            block::insert(tx, &inserts).await?;
        }
        let (_, inserts) = self.events.take();
        if !inserts.is_empty() {
            event::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.markets.take();
        if !closes.is_empty() {
            market_metrics::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            market_metrics::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.prices.take();
        if !closes.is_empty() {
            price::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            price::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.scores.take();
        if !closes.is_empty() {
            risk_score::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            risk_score::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.anomalies.take();
        if !closes.is_empty() {
            anomaly::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            anomaly::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.allocations.take();
        if !closes.is_empty() {
            allocation_snapshot::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            allocation_snapshot::insert(tx, &inserts).await?;
        }
        let (_, inserts) = self.activities.take();
        if !inserts.is_empty() {
            activity::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.pools.take();
        if !closes.is_empty() {
            privacy_pool::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            privacy_pool::insert(tx, &inserts).await?;
        }
        Ok(())
    }

    fn hashes(&self) -> [(&'static str, StateHashes); 9] {
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

    /// Writes rows, state hashes and position.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&mut self, tx: &mut Transaction) -> Result<(), WorkError> {
        self.finish_reverts(tx).await?;
        self.write_rows(tx).await?;
        for (read_model, hashes) in self.hashes() {
            state::save_hashes(tx, &self.chain, read_model, &hashes).await?;
        }
        state::save(tx, &self.chain, &self.state).await?;
        Ok(())
    }

    /// Sets the gauges that are about rows, once these are committed.
    pub fn publish(&self) {
        self.misfits.publish();
    }

    /// Keeps a snapshot of the fold when one is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_fold(&mut self, tx: &mut Transaction) -> Result<(), WorkError> {
        self.fold.save(tx).await
    }
}

/// Puts a row unless the one that stands says the same.
fn put_other<R: HistoryRow + PartialEq>(history: &mut History<R>, row: R) {
    let same = history
        .standing(&row.key())
        .is_some_and(|standing| standing.with_ranges(row.ranges()) == row);
    if !same {
        history.put(row);
    }
}
