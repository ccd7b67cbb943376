//! A log that blocks are taken into, by the follower's own way or by bare COPY, each going on where the other
//! left it: both always see the same tables.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::Utc;
use obsqra_indexer::completeness::{CheckedBlock, Checking, Comparing, Effort, Keep};
use obsqra_indexer::encode::Encoder;
use obsqra_indexer::pipeline::{self, Target};
use obsqra_indexer::source::SourceBlock;
use obsqra_indexer::watching::Watching;
use obsqra_store::log::{self, CopyFiles, CopyIn, Verdict};
use obsqra_store::{Keyed, Lease, Role, Store};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Partition, RecordedAt, Seq};

use super::blocks::{Blocks, Seal};
use crate::commands::bench::stand::Stand;
use crate::roles::BATCH_EVENTS;

/// Longer than the bench takes.
const LEASE: Duration = Duration::from_secs(3_600);
const EPOCH: BranchEpoch = BranchEpoch(0);

pub(super) struct Course {
    stand: Stand,
    pub(super) admin: Store,
    writer: Store,
    lease: Lease,
    encoder: Arc<Encoder>,
    pub(super) blocks: Blocks,
    /// As a follower is set up to have.
    batch_blocks: usize,
}

impl Course {
    /// An empty log, for blocks of so many events.
    pub(super) async fn start(events: u32, seal: Seal) -> Result<Self> {
        let stand = Stand::start().await?;
        let batch_events = usize::try_from(BATCH_EVENTS)?;
        let batch_blocks = (batch_events / events as usize).clamp(1, stand.settings.batch_blocks);
        let (admin, writer) = (stand.instance.store_as(Role::Admin).await?, stand.writer().await?);
        let chain = ChainId::new("OBSQRA_BENCH")?;
        let partition = Partition::Follower(chain.clone());
        let lease = Lease::acquire(&writer, partition, "bench", LEASE).await?;
        let lease = lease.context("somebody else writes to the log of this bench")?;
        let encoder = Encoder {
            chain,
            watching: Watching::of(BTreeSet::from([Blocks::contract()])),
            source: "memory".into(),
            first: BlockNumber(0),
        };
        Ok(Self {
            stand,
            admin,
            writer,
            lease,
            encoder: Arc::new(encoder),
            blocks: Blocks::new(events, seal),
            batch_blocks,
        })
    }

    /// The next blocks, in the batches of one transaction each.
    pub(super) fn batches(&mut self, blocks: usize) -> Vec<Vec<SourceBlock>> {
        let sizes = (0..blocks).step_by(self.batch_blocks);
        sizes.map(|from| self.blocks.take(self.batch_blocks.min(blocks - from))).collect()
    }

    /// How long blocks take from memory to committed, checked on the way or not.
    pub(super) async fn ingest(
        &self,
        batches: Vec<Vec<SourceBlock>>,
        effort: Effort,
    ) -> Result<Duration> {
        let mut batches = batches.into_iter();
        let checking = self.checking(effort);
        let target = Target {
            store: &self.writer,
            fence: self.lease.fence(),
            chain: &self.encoder.chain,
            first: Some(self.encoder.first),
            finalized: None,
        };
        let begun = Instant::now();
        pipeline::run(
            &self.encoder,
            EPOCH,
            async || check(batches.next()?, &checking).await,
            async |batch| {
                pipeline::commit(target, None, batch).await?;
                anyhow::Ok(())
            },
        )
        .await?;
        Ok(begun.elapsed())
    }

    fn checking(&self, effort: Effort) -> Checking {
        Checking {
            watching: self.encoder.watching.clone(),
            effort,
            keep: Keep::Watched,
            comparison: Comparing::Nothing,
        }
    }

    /// How long bare COPY takes for the rows of blocks, which are made before.
    pub(super) async fn copy_in(&self, batches: Vec<Vec<SourceBlock>>) -> Result<Duration> {
        let folder = tempfile::tempdir_in(self.stand.data_dir())?;
        // The server runs under an account of its own.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let mut head = log::head(&self.admin).await?;
        let recorded_at = RecordedAt(Utc::now().timestamp_micros());
        let mut last = None;
        let mut transactions = Vec::new();
        for (number, blocks) in batches.into_iter().enumerate() {
            let checked = self.checking(Effort::Off).take_all(blocks);
            let facts: Vec<Keyed> = checked
                .iter()
                .flatten()
                .map(|block| self.encoder.block(block, EPOCH).entries)
                .collect();
            let rows = CopyIn::new(head, recorded_at, &facts)?;
            let file = |table| folder.path().join(format!("{table}-{number}"));
            let files = CopyFiles { log: file("log"), keys: file("keys") };
            rows.write(&files)?;
            transactions.push(files);
            head = rows.after();
            last = Some(rows);
        }
        let begun = Instant::now();
        for files in &transactions {
            log::copy_in(&self.admin, files).await?;
        }
        let took = begun.elapsed();
        if let Some(last) = last {
            log::move_head(&self.admin, &last).await?;
        }
        Ok(took)
    }

    /// What was measured is a log: every entry of it follows.
    pub(super) async fn verify(&self) -> Result<()> {
        let report = log::verify(&self.stand.reader().await?, Seq(1), |_, _| {}).await?;
        match report.verdict {
            Verdict::Intact => Ok(()),
            verdict => bail!("the log of the bench does not verify: {verdict:?}"),
        }
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.admin.close().await;
        self.writer.close().await;
        self.stand.stop().await
    }
}

/// Blocks as a follower hands them to the pipeline; `None`, which ends it, where one is not whole.
async fn check(blocks: Vec<SourceBlock>, checking: &Checking) -> Option<Vec<CheckedBlock>> {
    let checking = checking.clone();
    let checked = tokio::task::spawn_blocking(move || {
        checking.take_all(blocks).into_iter().collect::<Result<Vec<_>, _>>().ok()
    });
    checked.await.ok()?
}
