//! Roles are killed at random places of the log and started again: nothing is lost, nothing is twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use obsqra_devnode::{DevNode, DevNodeOptions, SEEDED_REGISTRY};
use obsqra_events::Kind;
use obsqra_protocols::Registry;
use obsqra_store::chain_tip;
use obsqra_testkit::{canonical_blocks, node_blocks, read_log};
use obsqra_types::{ChainId, ContractAddress, Seq};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::api::Api;
use support::chain::{check_final, check_stream, count};
use support::process::{Process, obsqra, succeed};
use support::servers::{Goal, Servers, chain_id};
use support::until;

/// Names a seed, to repeat a run that failed.
const SEED: &str = "OBSQRA_TEST_KILL_SEED";
/// The chain's own seed.
const CHAIN_SEED: u64 = 11;
/// How often each role is killed.
const ROUNDS: usize = 5;
/// Most entries that the log grows by between two kills; a block has about sixty.
const MOST_GROWTH: u64 = 400;
/// Blocks there are at the start. From then on the chain grows until the last kill is got over.
const FIRST_BLOCKS: u64 = 60;
/// Blocks after the last kill.
const LAST_BLOCKS: u64 = 20;
const L1_LAG: u64 = 50;

const ROLES: [&str; 7] = ["devnode", "index", "relay", "work", "project", "checkpoint", "serve"];

/// The roles, each its own process.
struct Cluster {
    servers: Servers,
    chain: ChainId,
    node: SocketAddr,
    running: BTreeMap<&'static str, Process>,
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_are_killed_lose_nothing_and_write_nothing_twice() {
    let seed = std::env::var(SEED).ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::start().await;
    let mut kills = ROLES.repeat(ROUNDS);
    kills.shuffle(&mut dice);
    for role in kills {
        cluster.wait_for_growth(dice.random_range(1..=MOST_GROWTH)).await;
        println!("{role} is killed at entry {}", cluster.servers.log_end().await);
        cluster.kill_and_start(role).await;
    }
    let tip = cluster.end_the_chain().await;
    let goal = Goal { tip, finalized: tip.checked_sub(L1_LAG) };
    cluster.servers.reach(&cluster.chain, goal).await;
    cluster.check(tip).await;
}

impl Cluster {
    async fn start() -> Self {
        let servers = Servers::start().await;
        let mut cluster = Self {
            servers,
            chain: chain_id("OBSQRA_DEV"),
            node: free_port(),
            running: BTreeMap::new(),
        };
        for role in ROLES {
            cluster.start_role(role).await;
        }
        cluster
    }

    async fn start_role(&mut self, role: &'static str) {
        let command = match role {
            // A node that starts again has at least what it had, as far as anybody saw.
            "devnode" => self.devnode((self.blocks().await + 1).max(FIRST_BLOCKS), "20"),
            _ => self.role(role),
        };
        self.running.insert(role, Process::start(command));
    }

    fn devnode(&self, blocks: u64, pace: &str) -> std::process::Command {
        let mut command = obsqra();
        command.args(["devnode", "--listen", &self.node.to_string(), "--blocks-per-second", pace]);
        command.args(["--seed", &CHAIN_SEED.to_string(), "--blocks", &blocks.to_string()]);
        command
    }

    fn role(&self, role: &str) -> std::process::Command {
        let mut command = self.servers.obsqra();
        command
            .arg(role)
            .env("OBSQRA_RPC_URL", format!("http://{}/", self.node))
            .env("OBSQRA_LISTEN", "127.0.0.1:0")
            .env("OBSQRA_LEASE_TTL_MS", "500")
            .env("OBSQRA_POLL_INTERVAL_MS", "50")
            .env("OBSQRA_LONGEST_REST_MS", "200")
            .env("OBSQRA_CHECKPOINT_REST_MS", "100");
        command
    }

    async fn kill_and_start(&mut self, role: &'static str) {
        let mut process = self.running.remove(role).expect("every role runs");
        assert!(process.is_running(), "{role} ended by itself: {}", process.stderr());
        process.kill();
        self.start_role(role).await;
    }

    async fn wait_for_growth(&self, entries: u64) {
        let from = self.servers.log_end().await;
        until("the log grows", async || self.servers.log_end().await >= Seq(from.0 + entries))
            .await;
    }

    /// How many blocks the log holds.
    async fn blocks(&self) -> u64 {
        let tip = chain_tip::load(&self.servers.store, &self.chain).await.unwrap();
        tip.map_or(0, |tip| tip.number.0 + 1)
    }

    /// A node that ends at a known height takes the other's place; that height.
    async fn end_the_chain(&mut self) -> u64 {
        self.running.remove("devnode").expect("every role runs").kill();
        // What the follower still had in hand may come in after this look.
        let blocks = self.blocks().await + LAST_BLOCKS;
        let command = self.devnode(blocks, "0");
        self.running.insert("devnode", Process::start(command));
        blocks - 1
    }

    async fn check(&mut self, tip: u64) {
        for (role, process) in &mut self.running {
            assert!(process.is_running(), "{role} ended by itself: {}", process.stderr());
        }
        let serve = self.running.get_mut("serve").expect("every role runs");
        let head = Api::new(&serve.announces("GraphQL").await).head().await;
        assert_eq!(head["blockNumber"], tip, "{head}");
        let file = self.servers.data_dir().join("checkpoints.ndjson");
        let file = file.to_str().unwrap();
        let log = ["log", "verify", "--decode", "--checkpoints", file];
        for check in [&log[..], &["project", "verify"], &["derive", "verify"]] {
            let mut command = self.servers.obsqra();
            command.args(check);
            println!("{}", succeed(command).await.trim());
        }
        let entries = read_log(&self.servers.store).await;
        assert_eq!(count(&entries, Kind::BlockReverted), 0);
        assert_eq!(count(&entries, Kind::BlockApplied) as u64, tip + 1, "each block once");
        let node = same_chain(tip).await;
        let watched: BTreeSet<ContractAddress> =
            Registry::parse(SEEDED_REGISTRY).unwrap().watched().collect();
        let blocks = node_blocks(&node.url(), (0, tip), &watched).await;
        assert!(canonical_blocks(&entries) == blocks, "the log has other blocks than the node");
        let published = self.servers.nats.messages("OBSQRA_OBSQRA_DEV").await;
        check_stream(&entries, &published);
        let last_final = tip - L1_LAG;
        self.servers.repeats_up_to(&self.chain, &entries, last_final).await;
        let repeated = self.servers.nats.messages("OBSQRA_OBSQRA_DEV-final").await;
        check_final(&entries, &published, &repeated, last_final);
    }
}

async fn same_chain(tip: u64) -> DevNode {
    let blocks = tip + 1;
    let options =
        DevNodeOptions { blocks, blocks_per_second: 0.0, ..DevNodeOptions::seeded(CHAIN_SEED) };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(tip).await;
    node
}

/// A port that is free now, for a node that keeps its address from one start to the next.
fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
