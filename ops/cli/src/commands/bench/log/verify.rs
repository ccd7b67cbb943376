//! `log verify` against a bare binary COPY of the same entries to nowhere, which is what reading them costs at
//! the least.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use obsqra_events::{Draft, EventData, Fact};
use obsqra_store::log::{self, Verdict};
use obsqra_store::{Key, Keyed, Lease, Store};
use obsqra_types::{
    BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Felt, Partition, Seq,
    TransactionHash, UnixSeconds,
};

use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, rounds};
use crate::commands::bench::stand::Stand;

/// Entries of one transaction, as of a few blocks.
const BATCH: u64 = 400;
/// Longer than the bench takes.
const LEASE: Duration = Duration::from_secs(3_600);

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let entries = match size {
        Size::Full => 300_000,
        Size::Smoke => 2_000,
    };
    let stand = Stand::start().await?;
    let written = fill(&stand.writer().await?, entries).await?;
    let store = stand.reader().await?;
    let mut copied =
        Figure::new("copy_out_rows_per_s", "rows/s", "bare binary COPY of the log to nowhere");
    let mut verified = Figure::new("verify_rows_per_s", "rows/s", "log verify");
    for round in rounds(ROUNDS) {
        let begun = Instant::now();
        log::copy_out_nowhere(&store, Seq::BEFORE_FIRST, Seq(entries)).await?;
        copied.take(round, rate(entries, begun.elapsed()));
        let begun = Instant::now();
        let found = log::verify(&store, Seq(1), |_, _| {}).await?;
        verified.take(round, rate(entries, begun.elapsed()));
        if (found.entries, &found.verdict) != (entries, &Verdict::Intact) {
            bail!("{} of {entries} entries verified: {:?}", found.entries, found.verdict);
        }
    }
    report.bar(Bar {
        name: "verify_vs_copy_out",
        value: verified.median() / copied.median(),
        bar: 0.7,
        better: Better::Higher,
    });
    report.figures(written);
    report.figures([copied, verified]);
    store.close().await;
    stand.stop().await
}

/// Entries as of a real chain, through the API that followers use.
async fn fill(store: &Store, entries: u64) -> Result<[Figure; 2]> {
    let chain = ChainId::new("OBSQRA_BENCH")?;
    let lease = Lease::acquire(store, Partition::Follower(chain.clone()), "bench", LEASE).await?;
    let lease = lease.context("somebody else writes to the log of this bench")?;
    let mut busy = Duration::ZERO;
    let mut payload = 0;
    for block in 0..entries / BATCH {
        let drafts: Vec<Draft> =
            (0..BATCH).map(|index| draft(&chain, block, index)).collect::<Result<_>>()?;
        payload = drafts.first().map_or(0, |draft| draft.payload.len());
        let begun = Instant::now();
        let mut tx = store.begin().await?;
        log::append(&mut tx, lease.fence(), vec![Keyed { key: Key::Plain, drafts }]).await?;
        tx.commit().await?;
        busy += begun.elapsed();
    }
    let what = format!("appending, {BATCH} entries a transaction");
    Ok([
        Figure::single("payload_bytes", "bytes", "payload of an entry", payload as f64),
        Figure::single("append_rows_per_s", "rows/s", what, rate(entries, busy)),
    ])
}

/// A watched event of the size that most have.
fn draft(chain: &ChainId, block: u64, index: u64) -> Result<Draft> {
    let place = u32::try_from(index)?;
    let wide = |salt: u64| {
        Felt::from(block * BATCH + index + salt) * Felt::from(u64::MAX) * Felt::from(u64::MAX)
    };
    let at = BlockRef {
        number: BlockNumber(block),
        epoch: BranchEpoch(0),
        timestamp: UnixSeconds(1_700_000_000 + block * 30),
    };
    let event = EventData {
        index: EventIndex(place),
        transaction_index: place / 8,
        transaction_hash: TransactionHash(wide(1)),
        from_address: ContractAddress(wide(2)),
        keys: vec![wide(3)],
        data: (4..10).map(wide).collect(),
    };
    Ok(Draft::new(chain, Some(at), &Fact::Event(event)))
}

fn rate(entries: u64, took: Duration) -> f64 {
    entries as f64 / took.as_secs_f64()
}
