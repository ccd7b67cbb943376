//! Two followers on one log. The one that holds the chain's partition is stopped (SIGSTOP) at any moment, past
//! its lease, and continued after the other took over: it ends and says why, and nothing interleaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use obsqra_devnode::{DevNode, DevNodeOptions, SEEDED_REGISTRY};
use obsqra_events::Kind;
use obsqra_protocols::Registry;
use obsqra_store::{Lease, Role, Store, log};
use obsqra_testkit::{canonical_blocks, node_blocks, read_log};
use obsqra_types::{ContractAddress, Partition, Seq};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use support::chain::count;
use support::process::{Process, succeed};
use support::servers::Servers;
use support::until;

/// Names a seed, to repeat a run that failed.
const SEED: &str = "OBSQRA_TEST_FENCING_SEED";
/// The chain's own seed.
const CHAIN_SEED: u64 = 13;
/// Times that a holder is stopped, each way.
const ROUNDS: usize = 3;
/// Most entries that the log grows by before a stop; a block has about sixty.
const MOST_GROWTH: u64 = 300;

/// Where a holder is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// Wherever it is.
    Anywhere,
    /// Inside a transaction that holds the lease's row and the head of the log.
    InsideTransaction,
}

struct Pair {
    servers: Servers,
    /// The lease that this test takes to hold the head of the log itself.
    own: Lease,
    writer: Store,
    node: DevNode,
    followers: [Process; 2],
}

/// Who holds the chain's partition.
#[derive(Clone, Copy, Debug)]
struct Holder {
    /// Its place among the followers; `None` for one that has ended.
    place: Option<usize>,
    epoch: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_stopped_past_its_lease_ends_and_its_successor_goes_on() {
    let seed = std::env::var(SEED).ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut pair = Pair::start().await;
    let mut stops = [Stop::Anywhere, Stop::InsideTransaction].repeat(ROUNDS);
    stops.shuffle(&mut dice);
    for stop in stops {
        pair.until_one_waits().await;
        pair.wait_for_growth(dice.random_range(1..=MOST_GROWTH)).await;
        let stopped = pair.stop_holder(stop).await;
        println!("{stop:?} at entry {}: {stopped:?}", pair.servers.log_end().await);
        pair.await_takeover(stopped).await;
        pair.wait_for_growth(dice.random_range(1..=MOST_GROWTH)).await;
        pair.continue_stopped(stopped).await;
    }
    pair.check().await;
}

impl Pair {
    async fn start() -> Self {
        let servers = Servers::start().await;
        let options = DevNodeOptions {
            blocks: 60,
            blocks_per_second: 20.0,
            ..DevNodeOptions::seeded(CHAIN_SEED)
        };
        let node = DevNode::start(options).await.unwrap();
        let writer = servers.database.store(Role::Writer).await;
        let ttl = Duration::from_secs(3_600);
        let own = Lease::acquire(&writer, Partition::Checkpointer, "test", ttl).await.unwrap();
        let own = own.expect("nobody else takes it");
        let followers = [follower(&servers, &node), follower(&servers, &node)];
        Self { servers, own, writer, node, followers }
    }

    async fn holder(&self) -> Holder {
        let lease = "FROM lease WHERE partition = 'follower/OBSQRA_DEV'";
        let database = &self.servers.database;
        // An epoch has one holder.
        loop {
            let epoch = database.number(&format!("SELECT coalesce(max(epoch), 0) {lease}")).await;
            let holder =
                format!("SELECT coalesce(max(split_part(holder, '/', 2)), '0')::bigint {lease}");
            let holder = database.number(&holder).await;
            if epoch == database.number(&format!("SELECT coalesce(max(epoch), 0) {lease}")).await {
                let place = self.followers.iter().position(|one| i64::from(one.id()) == holder);
                return Holder { place, epoch };
            }
        }
    }

    /// One appends; the other waits, and says so.
    async fn until_one_waits(&self) {
        until("one follower waits and says so", async || {
            self.holder().await.place.is_some_and(|holder| {
                self.followers[1 - holder].stderr().contains("waiting: another process holds")
            })
        })
        .await;
    }

    async fn wait_for_growth(&self, entries: u64) {
        let from = self.servers.log_end().await;
        until("the log grows", async || self.servers.log_end().await >= Seq(from.0 + entries))
            .await;
    }

    async fn stop_holder(&self, stop: Stop) -> Holder {
        // An append of nothing takes the head; whoever then waits for a lock is the holder, for the head, or
        // the other one, for the lease's row that the holder's transaction has.
        let mut head = None;
        if matches!(stop, Stop::InsideTransaction) {
            let mut tx = self.writer.begin().await.unwrap();
            log::append(&mut tx, self.own.fence(), Vec::new()).await.unwrap();
            head = Some(tx);
            let locks = "SELECT count(*) FROM pg_stat_activity \
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
            until("the holder is inside a transaction", async || {
                self.servers.database.number(locks).await > 0
            })
            .await;
        }
        let holder = self.holder().await;
        self.followers[holder.place.expect("it runs")].signal(Signal::STOP);
        if let Some(tx) = head {
            tx.rollback().await.unwrap();
        }
        holder
    }

    async fn await_takeover(&self, stopped: Holder) {
        until("the other follower takes over", async || self.holder().await.epoch > stopped.epoch)
            .await;
    }

    /// The one that was stopped ends, and a new one takes its place.
    async fn continue_stopped(&mut self, stopped: Holder) {
        let place = stopped.place.expect("it ran");
        self.followers[place].signal(Signal::CONT);
        let ended = self.followers[place].ends().await;
        println!("{}", ended.stderr);
        assert_eq!(ended.code(), 1, "{}", ended.output());
        let said = "follower/OBSQRA_DEV is held by another process";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        self.followers[place] = follower(&self.servers, &self.node);
    }

    async fn check(mut self) {
        // One that has just begun has no handler of signals yet, and would end by the signal itself.
        self.until_one_waits().await;
        for process in &mut self.followers {
            process.signal(Signal::TERM);
            let ended = process.ends().await;
            println!("{}", ended.stderr);
            assert_eq!(ended.code(), 0, "{}", ended.output());
        }
        let mut verify = self.servers.obsqra();
        verify.args(["log", "verify"]);
        println!("{}", succeed(verify).await.trim());
        let entries = read_log(&self.servers.store).await;
        assert_eq!(count(&entries, Kind::BlockReverted), 0);
        let blocks = canonical_blocks(&entries);
        assert_eq!(count(&entries, Kind::BlockApplied), blocks.len(), "each block once");
        let tip = blocks.last().expect("there are blocks").number;
        let watched: BTreeSet<ContractAddress> =
            Registry::parse(SEEDED_REGISTRY).unwrap().watched().collect();
        let expected = node_blocks(&self.node.url(), (0, tip), &watched).await;
        assert!(blocks == expected, "the log has other blocks than the node");
        self.node.stop().await;
    }
}

fn follower(servers: &Servers, node: &DevNode) -> Process {
    let mut command = servers.obsqra();
    command
        .arg("index")
        .env("OBSQRA_RPC_URL", node.url())
        .env("OBSQRA_LEASE_TTL_MS", "1500")
        .env("OBSQRA_IDLE_IN_TRANSACTION_MS", "1500")
        .env("OBSQRA_POLL_INTERVAL_MS", "50");
    Process::start(command)
}
