//! What the append functions cost against the INSERT that they replace: both on one database, in turn, at
//! several sizes of a transaction. The figures of `ops/docs/decisions/0012-append-function.md` come from it.
//!
//! `cargo run --release -p obsqra-servers --example throwaway -- --durable \
//!  cargo run --release -p obsqra-store --example append_cost`
//!
//! The entries have no keys: statements on key rows are the same either way and would hide the difference.

#![allow(clippy::unwrap_used, reason = "a measurement that fails has no result")]

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use obsqra_events::{Draft, EventData, Fact, chain_hash};
use obsqra_store::{Fence, Head, Key, Keyed, Lease, Role, Store, Transaction, log};
use obsqra_testkit::{TestDatabase, felt};
use obsqra_types::{
    ChainId, ContractAddress, EventIndex, Hash32, Partition, RecordedAt, Seq, TransactionHash,
};

/// Entries of a transaction, and transactions of a sample.
const SIZES: [(usize, u32); 5] = [(1, 400), (16, 250), (100, 120), (400, 50), (1_000, 20)];
/// Samples a size and way, after one that does not count.
const SAMPLES: usize = 9;

#[derive(Clone, Copy)]
enum Way {
    Insert,
    Function,
}

#[tokio::main]
async fn main() {
    let database = TestDatabase::create().await;
    // The rights of before: the statements that the functions replaced need them.
    database
        .execute("GRANT INSERT ON log TO obsqra_writer; GRANT UPDATE ON log_head TO obsqra_writer")
        .await;
    let store = database.store(Role::Writer).await;
    let partition = Partition::Follower(chain());
    let ttl = Duration::from_secs(3_600);
    let lease = Lease::acquire(&store, partition, "measurement", ttl).await.unwrap().unwrap();
    println!(
        "payload of {} bytes; entries/s, median (lowest to highest) of {SAMPLES}",
        draft(1).payload.len()
    );
    for (size, transactions) in SIZES {
        let mut rates: [Vec<f64>; 2] = Default::default();
        for sample in 0..=SAMPLES {
            let sampled = measure(&store, lease.fence(), (size, transactions)).await;
            if sample > 0 {
                rates.iter_mut().zip(sampled).for_each(|(rates, rate)| rates.push(rate));
            }
        }
        let [insert, function] = rates.map(shown);
        println!(
            "{size:>5} a transaction: INSERT {}, function {}, ratio {:.2}",
            insert.1,
            function.1,
            function.0 / insert.0
        );
    }
    let report = log::verify(&store, Seq(1), |_, _| {}).await.unwrap();
    println!("{} entries: {:?}", report.entries, report.verdict);
}

fn shown(mut rates: Vec<f64>) -> (f64, String) {
    rates.sort_by(f64::total_cmp);
    let median = rates[rates.len() / 2];
    (median, format!("{median:.0} ({:.0} to {:.0})", rates[0], rates[rates.len() - 1]))
}

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

/// An event of six felts of data.
fn draft(number: u32) -> Draft {
    let event = EventData {
        index: EventIndex(number),
        transaction_index: number,
        transaction_hash: TransactionHash(felt(u64::from(number)) * felt(u64::MAX)),
        from_address: ContractAddress(felt(7)),
        keys: vec![felt(1)],
        data: (0..6).map(felt).collect(),
    };
    Draft::new(&chain(), None, &Fact::Event(event))
}

/// Entries a second of each way. The ways take turns from one transaction to the next, so that what else the
/// machine does falls on both.
async fn measure(store: &Store, fence: &Fence, (size, transactions): (usize, u32)) -> [f64; 2] {
    let drafts: Vec<Draft> = (0..u32::try_from(size).unwrap()).map(draft).collect();
    let mut took = [Duration::ZERO; 2];
    for _ in 0..transactions {
        for (way, took) in [Way::Insert, Way::Function].into_iter().zip(&mut took) {
            let begun = Instant::now();
            let mut tx = store.begin().await.unwrap();
            match way {
                Way::Insert => insert(&mut tx, fence, &drafts).await,
                Way::Function => {
                    let facts = vec![Keyed { key: Key::Plain, drafts: drafts.clone() }];
                    log::append(&mut tx, fence, facts).await.unwrap();
                }
            }
            tx.commit().await.unwrap();
            *took += begun.elapsed();
        }
    }
    took.map(|took| f64::from(transactions) * size as f64 / took.as_secs_f64())
}

/// The statements of an append before there were functions for it.
async fn insert(tx: &mut Transaction, fence: &Fence, drafts: &[Draft]) {
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM lease WHERE partition = $1 FOR UPDATE")
        .bind(fence.partition.to_string())
        .fetch_one(&mut **tx)
        .await
        .unwrap();
    assert_eq!(epoch, fence.epoch.0);
    let (seq, hash, last): (i64, Vec<u8>, DateTime<Utc>) =
        sqlx::query_as("SELECT seq, hash, recorded_at FROM log_head FOR UPDATE")
            .fetch_one(&mut **tx)
            .await
            .unwrap();
    let now: DateTime<Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut **tx).await.unwrap();
    let at = now.max(last);
    let mut head = Head {
        seq: Seq(u64::try_from(seq).unwrap()),
        hash: Hash32::try_from(hash.as_slice()).unwrap(),
    };
    let (mut seqs, mut hashes) = (Vec::new(), Vec::new());
    for draft in drafts {
        let seq = head.seq.next();
        let recorded_at = RecordedAt(at.timestamp_micros());
        head = Head { seq, hash: chain_hash(seq, recorded_at, &draft.content_hash, &head.hash) };
        seqs.push(i64::try_from(seq.0).unwrap());
        hashes.push(head.hash.0.to_vec());
    }
    insert_rows(tx, drafts, (seqs, hashes), at).await;
    sqlx::query("UPDATE log_head SET seq = $1, hash = $2, recorded_at = $3")
        .bind(i64::try_from(head.seq.0).unwrap())
        .bind(head.hash.0.to_vec())
        .bind(at)
        .execute(&mut **tx)
        .await
        .unwrap();
    sqlx::query("SELECT pg_notify('obsqra_log', '')").execute(&mut **tx).await.unwrap();
}

async fn insert_rows(
    tx: &mut Transaction,
    drafts: &[Draft],
    (seqs, hashes): (Vec<i64>, Vec<Vec<u8>>),
    at: DateTime<Utc>,
) {
    sqlx::query(
        r#"
        INSERT INTO log (
            seq, kind, schema_version, chain_id, block_number, branch_epoch,
            occurred_at, recorded_at, payload, content_hash, hash
        )
        SELECT u.seq, u.kind, u.schema_version, u.chain_id, u.block_number, u.branch_epoch,
               u.occurred_at, $11, u.payload, u.content_hash, u.hash
        FROM unnest(
            $1::bigint[], $2::smallint[], $3::smallint[], $4::text[], $5::bigint[],
            $6::integer[], $7::timestamptz[], $8::bytea[], $9::bytea[], $10::bytea[]
        ) AS u (
            seq, kind, schema_version, chain_id, block_number, branch_epoch,
            occurred_at, payload, content_hash, hash
        )
        "#,
    )
    .bind(seqs)
    .bind(drafts.iter().map(|draft| draft.kind.code()).collect::<Vec<_>>())
    .bind(drafts.iter().map(|draft| draft.version).collect::<Vec<_>>())
    .bind(drafts.iter().map(|draft| draft.chain.to_string()).collect::<Vec<_>>())
    .bind(vec![None::<i64>; drafts.len()])
    .bind(vec![None::<i32>; drafts.len()])
    .bind(vec![None::<DateTime<Utc>>; drafts.len()])
    .bind(drafts.iter().map(|draft| draft.payload.clone()).collect::<Vec<_>>())
    .bind(drafts.iter().map(|draft| draft.content_hash.0.to_vec()).collect::<Vec<_>>())
    .bind(hashes)
    .bind(at)
    .execute(&mut **tx)
    .await
    .unwrap();
}
