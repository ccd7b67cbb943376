//! `project verify`: folds the log into scratch tables and compares them with the live ones, row by row
//! and by state hash.

use obsqra_store::projection::state::{self, Difference};
use obsqra_store::{Store, log};
use obsqra_types::{ChainId, Partition, Seq};

use crate::WorkError;
use crate::projections::ReadModels;

const BATCH: u32 = 4_000;

/// The result of a verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectReport {
    /// The position that was compared.
    pub seq: Seq,
    /// Rows that differ, by read model.
    pub differences: Vec<Difference>,
    /// Read models whose stored state hashes are not those of the fold.
    pub wrong_hashes: Vec<String>,
}

impl ProjectReport {
    /// Whether the live rows are what the log says.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.wrong_hashes.is_empty()
            && self.differences.iter().all(|d| d.only_live == 0 && d.only_folded == 0)
    }
}

/// Folds the log up to the position of the live read models and compares.
///
/// The fold starts at the first entry and uses no snapshot of the projector. The projector must not be
/// running on another version of the code; it may go on while this runs, since the comparison is taken
/// at the position that was live at its start, under one snapshot of the database.
///
/// # Errors
/// When the database fails or the log cannot be folded. A difference is a report, not an error.
pub async fn project(
    store: &Store,
    chain: &ChainId,
    mut progress: impl FnMut(Seq, Seq),
) -> Result<ProjectReport, WorkError> {
    let mut tx = state::begin_comparison(store).await?;
    let live = state::load_in(&mut tx, chain).await?;
    let live_hashes = state::load_hashes_in(&mut tx, chain).await?;
    state::shadow(&mut tx).await?;
    // Nobody holds this partition: its name only keeps the fold away from the projector's snapshots.
    let mut folded = ReadModels::empty(store, chain, &Partition::Relay(chain.clone()));
    while folded.state().seq < live.seq {
        let entries = log::read_after(store, folded.state().seq, BATCH).await?;
        for entry in entries.iter().take_while(|entry| entry.seq <= live.seq) {
            folded.apply(&mut tx, entry).await?;
        }
        if entries.is_empty() {
            let problem = "the read models are ahead of the log".to_owned();
            return Err(WorkError::Log { seq: folded.state().seq, problem });
        }
        folded.write(&mut tx).await?;
        progress(folded.state().seq, live.seq);
    }
    folded.write(&mut tx).await?;
    let folded_hashes = state::load_hashes_in(&mut tx, chain).await?;
    // Before the first batch nothing is stored, and nothing is to be.
    let wrong_hashes = folded_hashes
        .iter()
        .filter(|_| live.seq > Seq::BEFORE_FIRST)
        .filter(|(read_model, hashes)| live_hashes.get(*read_model) != Some(*hashes))
        .map(|(read_model, _)| read_model.clone())
        .collect();
    let differences = state::compare_shadow(&mut tx, chain).await?;
    Ok(ProjectReport { seq: live.seq, differences, wrong_hashes })
}
