//! Both stages of the pipeline against a real database: order, what is refused, and what an error leaves.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use obsqra_events::{DaMode, EventData, GasPrice, Kind};
use obsqra_indexer::completeness::{CheckedBlock, Checking, Comparing, Effort, Keep};
use obsqra_indexer::encode::Encoder;
use obsqra_indexer::pipeline::{self, EncodedBatch, Reverts, Target};
use obsqra_indexer::source::SourceBlock;
use obsqra_indexer::watching::Watching;
use obsqra_store::attested;
use obsqra_store::log::{self, Verdict};
use obsqra_store::{Fence, Lease, Role, Store, StoreError, chain_tip, key};
use obsqra_testkit::{TestDatabase, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BranchEpoch, ChainId, ContractAddress, EventIndex, Partition, Seq,
    TransactionHash, UnixSeconds,
};

const WATCHED: u64 = 7;
const EPOCH: BranchEpoch = BranchEpoch(0);
const TTL: Duration = Duration::from_secs(600);

fn watching() -> Watching {
    Watching::of(BTreeSet::from([ContractAddress(felt(WATCHED))]))
}

fn encoder() -> Arc<Encoder> {
    Arc::new(Encoder {
        chain: ChainId::new("OBSQRA_TEST").unwrap(),
        watching: watching(),
        source: "test".into(),
        first: BlockNumber(1),
    })
}

/// With an event that is kept and one that is not.
fn block(number: u64) -> CheckedBlock {
    let checking = Checking {
        watching: watching(),
        effort: Effort::Off,
        keep: Keep::Watched,
        comparison: Comparing::Nothing,
    };
    checking.take(source_block(number)).unwrap()
}

fn source_block(number: u64) -> SourceBlock {
    let event = |index: u32, from: u64| EventData {
        index: EventIndex(index),
        transaction_index: 0,
        transaction_hash: TransactionHash(felt(number)),
        from_address: ContractAddress(felt(from)),
        keys: vec![felt(1)],
        data: vec![felt(2)],
    };
    SourceBlock {
        number: BlockNumber(number),
        hash: BlockHash(felt(100 + number)),
        parent_hash: BlockHash(felt(99 + number)),
        timestamp: UnixSeconds(1_700_000_000 + number),
        new_root: felt(3),
        sequencer: ContractAddress(felt(4)),
        starknet_version: "0.14.1".into(),
        da_mode: DaMode::Blob,
        l1_gas: GasPrice { fri: 1, wei: 1 },
        l1_data_gas: GasPrice { fri: 1, wei: 1 },
        l2_gas: None,
        supplied: None,
        transactions: None,
        events: vec![event(0, WATCHED), event(1, 8)],
    }
}

fn batches() -> impl Iterator<Item = Vec<CheckedBlock>> {
    [vec![block(1), block(2)], vec![block(3)], vec![block(4), block(5)]].into_iter()
}

fn target<'a>(store: &'a Store, fence: &'a Fence, encoder: &'a Encoder) -> Target<'a> {
    let first = Some(encoder.first);
    Target { store, fence, chain: &encoder.chain, first, finalized: None }
}

async fn lease(store: &Store, encoder: &Encoder) -> Lease {
    let partition = Partition::Follower(encoder.chain.clone());
    Lease::acquire(store, partition, "test", TTL).await.unwrap().unwrap()
}

#[tokio::test]
async fn batches_are_committed_in_their_order() {
    let (database, encoder) = (TestDatabase::create().await, encoder());
    let store = database.store(Role::Writer).await;
    let lease = lease(&store, &encoder).await;
    let mut batches = batches();
    let mut tips = Vec::new();
    let target = target(&store, lease.fence(), &encoder);
    pipeline::run::<Stopped>(
        &encoder,
        EPOCH,
        async || batches.next(),
        async |batch| {
            let tip = pipeline::commit(target, None, batch).await?.tip;
            assert_eq!(chain_tip::load(&store, &encoder.chain).await.unwrap(), Some(tip));
            tips.push((tip.number.0, tip.seq.0));
            Ok(())
        },
    )
    .await
    .unwrap();
    // A block is three entries: itself, its event, its attestation.
    assert_eq!(tips, [(2, 4), (3, 7), (5, 13)]);
    let report = log::verify(&store, Seq(1), |_, _| {}).await.unwrap();
    assert_eq!((report.entries, report.verdict), (15, Verdict::Intact));
    assert!(EncodedBatch::new(&encoder, &[], EPOCH).unwrap().is_none());
}

#[tokio::test]
async fn what_is_there_already_is_left_out_and_reverts_come_first() {
    let (database, encoder) = (TestDatabase::create().await, encoder());
    let store = database.store(Role::Writer).await;
    let lease = lease(&store, &encoder).await;
    let target = target(&store, lease.fence(), &encoder);
    let encoded = |numbers: [u64; 2], epoch| {
        EncodedBatch::new(&encoder, &numbers.map(block), epoch).unwrap().unwrap()
    };
    pipeline::commit(target, None, encoded([1, 2], EPOCH)).await.unwrap();
    let again = pipeline::commit(target, None, encoded([2, 3], EPOCH)).await.unwrap();
    assert_eq!((again.outcome.unchanged, again.outcome.after.seq), (1, Seq(9)));
    assert_eq!(again.tip.seq, Seq(7));

    let chain = &encoder.chain;
    let newest = key::canonical(&store, chain, BlockNumber(3), BlockNumber(3)).await.unwrap();
    let entries = vec![encoder.reverted(&newest[0])];
    let reverts = Reverts { fork: BlockNumber(2), entries };
    let replaced = pipeline::commit(target, Some(reverts), encoded([3, 4], BranchEpoch(1))).await;
    let replaced = replaced.unwrap();
    assert_eq!((replaced.outcome.after.seq, replaced.tip.seq), (Seq(16), Seq(14)));
    let entries = log::read_after(&store, Seq(9), 1).await.unwrap();
    assert_eq!(entries[0].draft.kind, Kind::BlockReverted);
    let ranges = attested::newest(&store, chain, BlockNumber(4), 10).await.unwrap();
    let range = (ranges[0].first, ranges[0].last);
    assert_eq!((ranges.len(), range), (1, (BlockNumber(1), BlockNumber(4))));
    assert_eq!(ranges, attested::from_log(&store, chain).await.unwrap());
    let report = log::verify(&store, Seq(1), |_, _| {}).await.unwrap();
    assert_eq!((report.entries, report.verdict), (16, Verdict::Intact));
}

#[derive(Debug)]
enum Stopped {
    Store(StoreError),
    Encoding,
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<tokio::task::JoinError> for Stopped {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Encoding
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_is_the_last() {
    let (database, encoder) = (TestDatabase::create().await, encoder());
    let store = database.store(Role::Writer).await;
    let lease = lease(&store, &encoder).await;
    let mut stale = lease.fence().clone();
    stale.epoch.0 += 1;
    let mut batches = batches();
    let mut written = 0;
    let ended = pipeline::run(
        &encoder,
        EPOCH,
        async || batches.next(),
        async |batch| {
            let fence = if written == 1 { &stale } else { lease.fence() };
            written += 1;
            pipeline::commit(target(&store, fence, &encoder), None, batch).await?;
            Ok::<_, Stopped>(())
        },
    )
    .await;
    assert!(matches!(ended, Err(Stopped::Store(StoreError::LeaseLost(_)))), "{ended:?}");
    assert_eq!(written, 2, "nothing is written after a refusal");
    let tip = chain_tip::load(&store, &encoder.chain).await.unwrap().unwrap();
    assert_eq!((tip.number, tip.seq), (BlockNumber(2), Seq(4)));
    assert_eq!(log::head(&store).await.unwrap().seq, Seq(6));
}
