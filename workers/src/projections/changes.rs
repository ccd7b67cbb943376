//! What a batch changes in the tables, out of memory: it is written while the next batch is made.

use std::sync::LazyLock;

use obsqra_protocols::Definitions;
use obsqra_store::Transaction;
use obsqra_store::projection::activity::{self, ActivityRow};
use obsqra_store::projection::allocation_snapshot::{self, AllocationSnapshotRow};
use obsqra_store::projection::anomaly::{self, AnomalyRow};
use obsqra_store::projection::block::{self, BlockRow};
use obsqra_store::projection::event::{self, EventRow};
use obsqra_store::projection::market_metrics::{self, MarketMetricsRow};
use obsqra_store::projection::price::{self, PriceRow};
use obsqra_store::projection::privacy_pool::{self, PrivacyPoolRow};
use obsqra_store::projection::risk_score::{self, RiskScoreRow};
use obsqra_store::projection::state::{self, ProjectionState, StateHashes};
use obsqra_types::ChainId;

use super::misfits::Misfits;
use crate::WorkError;

/// Raised when rows are made otherwise from the same decoded events and figures.
const ROWS_VERSION: u32 = 1;

/// What makes rows what they are: the definitions of figures, the layouts of events, and the code here. Rows that
/// were made by others are made anew, so that an event is read again when a layout for it is learned.
pub(super) static RULES: LazyLock<String> =
    LazyLock::new(|| format!("{}/rows-{ROWS_VERSION}", Definitions::own().hash()));

/// Rows to close, each with the position that closes it, and rows to insert.
pub(super) type Changed<R> = (Vec<(R, i64)>, Vec<R>);

/// Rows of all read models. Those of blocks, events and activities are closed in the database.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) blocks: Vec<BlockRow>,
    pub(super) events: Vec<EventRow>,
    pub(super) markets: Changed<MarketMetricsRow>,
    pub(super) prices: Changed<PriceRow>,
    pub(super) scores: Changed<RiskScoreRow>,
    pub(super) anomalies: Changed<AnomalyRow>,
    pub(super) allocations: Changed<AllocationSnapshotRow>,
    pub(super) activities: Vec<ActivityRow>,
    pub(super) pools: Changed<PrivacyPoolRow>,
}

impl Changes {
    /// Writes the rows.
    pub(super) async fn write(self, tx: &mut Transaction) -> Result<(), WorkError> {
        let Self { blocks, events, markets, prices, .. } = self;
        if !blocks.is_empty() {
            block::insert(tx, &blocks).await?;
        }
        if !events.is_empty() {
            event::insert(tx, events).await?;
        }
        let (closes, inserts) = markets;
        if !closes.is_empty() {
            market_metrics::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            market_metrics::insert(tx, inserts).await?;
        }
        let (closes, inserts) = prices;
        if !closes.is_empty() {
            price::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            price::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.scores;
        if !closes.is_empty() {
            risk_score::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            risk_score::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.anomalies;
        if !closes.is_empty() {
            anomaly::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            anomaly::insert(tx, &inserts).await?;
        }
        let (closes, inserts) = self.allocations;
        if !closes.is_empty() {
            allocation_snapshot::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            allocation_snapshot::insert(tx, &inserts).await?;
        }
        if !self.activities.is_empty() {
            activity::insert(tx, &self.activities).await?;
        }
        let (closes, inserts) = self.pools;
        if !closes.is_empty() {
            privacy_pool::close(tx, &closes).await?;
        }
        if !inserts.is_empty() {
            privacy_pool::insert(tx, &inserts).await?;
        }
        Ok(())
    }
}

/// What came of a batch: its rows, and the state after them.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) changes: Changes,
    pub(super) hashes: [(&'static str, StateHashes); 9],
    pub(super) state: ProjectionState,
    pub(super) misfits: Misfits,
}

impl Outcome {
    /// Writes rows, state hashes and position; gives the counts that hold once these are committed.
    pub(super) async fn write(
        self,
        tx: &mut Transaction,
        chain: &ChainId,
    ) -> Result<Misfits, WorkError> {
        self.changes.write(tx).await?;
        state::save_hashes(tx, chain, (self.state.seq, &RULES), &self.hashes).await?;
        state::save(tx, chain, &self.state).await?;
        Ok(self.misfits)
    }
}
