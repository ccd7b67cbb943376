//! The servers of one test, and how far the roles have come on them.

use std::path::Path;
use std::process::Command;

use obsqra_devnode::SEEDED_REGISTRY;
use obsqra_events::Entry;
use obsqra_protocols::{Registry, mainnet_registry};
use obsqra_store::projection::state;
use obsqra_store::{Role, Store, chain_tip, cursor, log};
use obsqra_testkit::{TestDatabase, TestNats};
use obsqra_types::{BlockNumber, ChainId, Partition, ProtocolId, Seq};
use tempfile::TempDir;

use super::chain::first_above;
use super::process::obsqra;
use super::until;

/// The protocols of the seeded chain.
pub(crate) const PROTOCOLS: [&str; 5] =
    ["ekubo", "jediswap_v1", "jediswap_v2", "vesu_v2", "zklend"];

pub(crate) struct Servers {
    pub(crate) database: TestDatabase,
    pub(crate) nats: TestNats,
    pub(crate) store: Store,
    data_dir: TempDir,
}

/// How far all roles are to come.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) tip: u64,
    pub(crate) finalized: Option<u64>,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Admin).await;
        let data_dir = tempfile::tempdir().expect("a folder for keys and checkpoints");
        Self { database, nats: TestNats::start().await, store, data_dir }
    }

    /// The binary with these servers set.
    pub(crate) fn obsqra(&self) -> Command {
        let mut command = obsqra();
        command
            .env("OBSQRA_DATA_DIR", self.data_dir.path())
            .env("OBSQRA_DATABASE_URL", self.database.url())
            .env("OBSQRA_NATS_URL", self.nats.url())
            .env("OBSQRA_NATS_TOKEN", self.nats.token());
        command
    }

    /// Where the binary keeps its key and checkpoints.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub(crate) async fn log_end(&self) -> Seq {
        log::head(&self.store).await.expect("database answers").seq
    }

    /// Waits until the log has the block, and every role has dealt with all the log has.
    pub(crate) async fn reach(&self, chain: &ChainId, goal: Goal) {
        let what = format!("all roles are at block {}", goal.tip);
        until(&what, async || {
            let before = self.log_end().await;
            self.is_followed(chain, goal).await
                && self.is_worked_off(chain, before).await
                && self.log_end().await == before
        })
        .await;
    }

    /// Waits until facts are repeated up to a final height, of a log without reverts.
    pub(crate) async fn repeats_up_to(&self, chain: &ChainId, entries: &[Entry], height: u64) {
        let end = Seq(first_above(entries, height).map_or(0, |seq| seq - 1));
        let partition = Partition::FinalRelay(chain.clone());
        until("the final facts are repeated", async || {
            cursor::load(&self.store, &partition).await.expect("database answers") >= end
        })
        .await;
    }

    async fn is_followed(&self, chain: &ChainId, goal: Goal) -> bool {
        let tip = chain_tip::load(&self.store, chain).await.expect("database answers");
        tip.is_some_and(|tip| {
            tip.number == BlockNumber(goal.tip) && tip.finalized == goal.finalized.map(BlockNumber)
        })
    }

    async fn is_worked_off(&self, chain: &ChainId, end: Seq) -> bool {
        let mut partitions =
            vec![Partition::Relay(chain.clone()), Partition::Allocator(chain.clone())];
        let scored = scored(chain).into_iter();
        partitions.extend(scored.map(|protocol| Partition::RiskWorker(chain.clone(), protocol)));
        for partition in &partitions {
            if cursor::load(&self.store, partition).await.expect("database answers") < end {
                return false;
            }
        }
        state::load(&self.store, chain).await.expect("database answers").seq >= end
    }
}

/// The protocols with markets of a chain's registry.
fn scored(chain: &ChainId) -> Vec<ProtocolId> {
    let is_recorded = chain.as_str() == "OBSQRA_REC";
    let registry = if is_recorded { mainnet_registry() } else { SEEDED_REGISTRY };
    let registry = Registry::parse(registry).expect("a registry");
    let scored = registry.protocols().filter(|protocol| protocol.kind.has_markets());
    scored.map(|protocol| protocol.id.clone()).collect()
}

pub(crate) fn chain_id(name: &str) -> ChainId {
    ChainId::new(name).expect("a chain's name")
}
