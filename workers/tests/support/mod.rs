//! A chain with real events in a log, and the roles that work on it, driven stretch by stretch.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

pub(crate) mod bodies;

use std::time::Duration;

use obsqra_devnode::{Chain, SEEDED_CHAIN_ID, SEEDED_REGISTRY, SealedBlock};
use obsqra_events::{AdoptedWhat, EventData};
use obsqra_policy::{PRESETS, Policies};
use obsqra_protocols::Registry;
use obsqra_store::projection::state::{self, StateHashes};
use obsqra_store::{Keyed, LeaseKeeper, Store, log};
use obsqra_testkit::{ChainWriter, MadeBlock, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Felt,
    Partition, ProtocolId, TransactionHash, UnixSeconds, parse_felt,
};
use obsqra_workers::WorkError;
use obsqra_workers::jobs::propose_allocation::ProposeAllocation;
use obsqra_workers::jobs::retract::Retract;
use obsqra_workers::jobs::score_risk::ScoreRisk;
use obsqra_workers::projections::{Projector, ReadModels};
use obsqra_workers::runtime::{Progress, Role};
use tokio_util::sync::CancellationToken;

pub(crate) const SEED: u64 = 7;

const BLOCKS_A_TRANSACTION: usize = 64;

/// A contract that no protocol of the registry owns.
pub(crate) const STRANGER: u64 = 0x57a9;

pub(crate) fn chain() -> ChainId {
    ChainId::new(SEEDED_CHAIN_ID).unwrap()
}

pub(crate) fn protocols() -> Vec<ProtocolId> {
    let registry = Registry::parse(SEEDED_REGISTRY).unwrap();
    registry.protocols().map(|protocol| protocol.id.clone()).collect()
}

/// An account that uses the chamber.
pub(crate) const WALLET: u64 = 0xa11ce;
/// A tracked token.
pub(crate) const TOKEN: u64 = 0x70ce;
/// A privacy pool's chamber.
pub(crate) const CHAMBER: u64 = 0xc4a;
/// Selector of an ERC-20 transfer.
const TRANSFER: &str = "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9";

/// The registry of the seeded chain, with a token and a privacy pool.
pub(crate) fn registry() -> Vec<u8> {
    let protocol = |id: &str, kind: &str, contract: u64, role: &str| {
        serde_json::json!({
            "id": id, "name": id, "kind": kind, "decoder": id,
            "contracts": [{ "address": format!("{contract:#x}"), "role": role }],
            "deployed_at": null, "audits": { "state": "unknown", "detail": "made up" },
            "sources": ["made up"],
        })
    };
    let mut registry: serde_json::Value = serde_json::from_slice(SEEDED_REGISTRY).unwrap();
    registry["protocols"].as_array_mut().unwrap().extend([
        protocol("erc20", "token", TOKEN, "token"),
        protocol("mist_cash", "privacy", CHAMBER, "chamber"),
    ]);
    serde_json::to_vec(&registry).unwrap()
}

/// The same with one token less, and the others under other symbols.
pub(crate) fn registry_of_other_tokens() -> Vec<u8> {
    let mut registry: serde_json::Value = serde_json::from_slice(&registry()).unwrap();
    let quote = registry["quote_token"].clone();
    let tokens = registry["tokens"].as_array_mut().unwrap();
    let dropped = tokens.iter().position(|token| token["symbol"] == "STRK").unwrap();
    tokens.remove(dropped);
    for token in tokens.iter_mut().filter(|token| token["address"] != quote) {
        token["symbol"] = format!("{}/other", token["symbol"].as_str().unwrap()).into();
    }
    serde_json::to_vec(&registry).unwrap()
}

/// The same without a protocol.
pub(crate) fn registry_without(id: &str) -> Vec<u8> {
    let mut registry: serde_json::Value = serde_json::from_slice(&registry()).unwrap();
    registry["protocols"].as_array_mut().unwrap().retain(|protocol| protocol["id"] != id);
    serde_json::to_vec(&registry).unwrap()
}

/// The seeded chain on its way into a log, with the reorganisations that a test asks for.
pub(crate) struct Script {
    pub(crate) writer: ChainWriter,
    source: Chain,
    canonical: Vec<SealedBlock>,
    epoch: u32,
    /// Most events of the seeded chain that go into a block.
    most_events: usize,
}

/// Blocks that a script left behind and may come back to.
pub(crate) struct Left {
    source: Chain,
    blocks: Vec<SealedBlock>,
    instead: usize,
}

impl Script {
    /// Adopts the registry of the seeded chain; no block is written yet.
    pub(crate) async fn start(store: &Store) -> Self {
        let writer = ChainWriter::new(store, &chain()).await;
        let bytes = registry();
        let hash = Registry::parse(&bytes).unwrap().hash();
        writer.adopt_registry("1", hash, &bytes).await.unwrap();
        let most_events = usize::MAX;
        Self { writer, source: Chain::seeded(SEED), canonical: Vec::new(), epoch: 0, most_events }
    }

    /// The blocks of another script in a log of their own, with policies adopted, none of them ever reverted.
    pub(crate) async fn straight(store: &Store, other: &Self) -> Self {
        let mut script = Self::start(store).await;
        script.adopt_policies().await;
        for some in other.canonical.chunks(BLOCKS_A_TRANSACTION) {
            let entries = some.iter().map(|block| script.entries(block)).collect();
            script.writer.append_all(entries, script.epoch).await.unwrap();
        }
        script.canonical.clone_from(&other.canonical);
        script
    }

    /// Adopts the policies that come with the program.
    pub(crate) async fn adopt_policies(&self) {
        let policies = Policies::parse(PRESETS).unwrap();
        let (what, hash) = (AdoptedWhat::Policy, policies.hash());
        self.writer.adopt(what, policies.version(), hash, PRESETS).await.unwrap();
    }

    /// Adopts a registry anew, as a follower does between two blocks.
    pub(crate) async fn adopt(&mut self, version: &str, bytes: &[u8]) {
        let hash = Registry::parse(bytes).unwrap().hash();
        self.writer.adopt_registry(version, hash, bytes).await.unwrap();
    }

    /// Leaves events out of the blocks that follow, so that many blocks are quick to write.
    pub(crate) fn thin(&mut self, most_events: usize) {
        self.most_events = most_events;
    }

    /// Applies the next blocks, some in each transaction.
    pub(crate) async fn grow_fast(&mut self, blocks: usize) {
        let blocks: Vec<SealedBlock> =
            (0..blocks).map(|_| self.source.next_block().unwrap().block).collect();
        for some in blocks.chunks(BLOCKS_A_TRANSACTION) {
            let entries = some.iter().map(|block| self.entries(block)).collect();
            self.writer.append_all(entries, self.epoch).await.unwrap();
        }
        self.canonical.extend(blocks);
    }

    /// Applies the next blocks, each in a transaction of its own.
    pub(crate) async fn grow(&mut self, blocks: usize) {
        for _ in 0..blocks {
            let block = self.source.next_block().unwrap().block;
            let entries = self.entries(&block);
            self.writer.append(entries, self.epoch).await.unwrap();
            self.canonical.push(block);
        }
    }

    /// Replaces the newest blocks by `with` others, in one transaction.
    pub(crate) async fn reorganise(&mut self, depth: usize, with: usize) {
        let fork = self.canonical.len() - depth;
        let first = &self.canonical[fork];
        self.source.fork_at(first.number, first.parent_hash);
        let others = (0..with).map(|_| self.source.next_block().unwrap().block).collect();
        self.replace(depth, others).await;
    }

    /// Leaves the canonical chain for another one by `depth` blocks and comes back: A, B, A.
    pub(crate) async fn detour(&mut self, depth: usize, with: usize) {
        let left = self.leave(depth, with).await;
        self.come_back(left).await;
    }

    /// The first half of a detour.
    pub(crate) async fn leave(&mut self, depth: usize, with: usize) -> Left {
        let source = self.source.clone();
        let fork = self.canonical.len() - depth;
        let blocks = self.canonical[fork..].to_vec();
        self.reorganise(depth, with).await;
        Left { source, blocks, instead: with }
    }

    /// The second half of a detour.
    pub(crate) async fn come_back(&mut self, left: Left) {
        self.replace(left.instead, left.blocks).await;
        self.source = left.source;
    }

    async fn replace(&mut self, depth: usize, by: Vec<SealedBlock>) {
        self.epoch += 1;
        let entries = by.iter().map(|block| self.entries(block)).collect();
        self.writer.replace_all(depth as u64, entries, self.epoch).await.unwrap();
        self.canonical.truncate(self.canonical.len() - depth);
        self.canonical.extend(by);
    }

    pub(crate) fn tip(&self) -> &SealedBlock {
        self.canonical.last().unwrap()
    }

    pub(crate) fn canonical(&self) -> &[SealedBlock] {
        &self.canonical
    }

    pub(crate) fn block_ref(&self, block: &SealedBlock) -> BlockRef {
        BlockRef {
            number: BlockNumber(block.number),
            epoch: BranchEpoch(self.epoch),
            timestamp: UnixSeconds(block.timestamp),
        }
    }

    /// A block's entries, with one event of a stranger at the end of each fifth block, and what goes through
    /// the chamber.
    fn entries(&self, block: &SealedBlock) -> Keyed {
        let mut events: Vec<EventData> = Vec::new();
        // The first block makes the markets.
        let most = if block.number == 0 { usize::MAX } else { self.most_events };
        let step = block.events().count().div_ceil(most).max(1);
        let kept = block.events().step_by(step);
        for (index, (transaction, event)) in kept.enumerate() {
            events.push(EventData {
                index: EventIndex(u32::try_from(index).unwrap()),
                transaction_index: 0,
                transaction_hash: TransactionHash(transaction),
                from_address: ContractAddress(event.from_address),
                keys: event.keys.clone(),
                data: event.data.clone(),
            });
        }
        if block.number.is_multiple_of(5) {
            events.push(EventData {
                index: EventIndex(u32::try_from(events.len()).unwrap()),
                transaction_index: 0,
                transaction_hash: TransactionHash(felt(1)),
                from_address: ContractAddress(felt(STRANGER)),
                keys: vec![felt(1)],
                data: Vec::new(),
            });
        }
        for (from, keys, data) in made_up(block) {
            events.push(EventData {
                index: EventIndex(u32::try_from(events.len()).unwrap()),
                transaction_index: 0,
                transaction_hash: TransactionHash(felt(2)),
                from_address: ContractAddress(felt(from)),
                keys,
                data,
            });
        }
        self.writer.made(MadeBlock {
            at: self.block_ref(block),
            hash: BlockHash(block.hash),
            parent: BlockHash(block.parent_hash),
            events,
        })
    }
}

/// What blocks have beside the seeded events: a deposit or a withdrawal of a privacy pool, whose amount
/// depends on the block, and now and then an event of the token that fits no layout.
fn made_up(block: &SealedBlock) -> Vec<(u64, Vec<Felt>, Vec<Felt>)> {
    let byte = block.hash.to_bytes_be()[31];
    let (from, to) = if byte.is_multiple_of(3) { (CHAMBER, WALLET) } else { (WALLET, CHAMBER) };
    let keys = vec![parse_felt(TRANSFER).unwrap(), felt(from), felt(to)];
    let mut events = Vec::new();
    if !byte.is_multiple_of(4) {
        events.push((TOKEN, keys, vec![felt(byte.into()), felt(0)]));
    }
    if byte.is_multiple_of(2) {
        events.push((TOKEN, vec![felt(0xbad), felt(1)], Vec::new()));
    }
    events
}

pub(crate) async fn hold(store: &Store, partition: Partition) -> LeaseKeeper {
    let shutdown = CancellationToken::new();
    let ttl = Duration::from_secs(600);
    let lease = LeaseKeeper::acquire(store, partition, "test", ttl, &shutdown).await.unwrap();
    lease.expect("no shutdown")
}

/// Loads a role and lets it work until it has reached the end of the log; says how many stretches
/// that took.
pub(crate) async fn run_to_end<R: Role>(role: &mut R, store: &Store) -> Result<u32, WorkError> {
    let lease = hold(store, role.partition()).await;
    role.load().await?;
    let mut stretches = 0;
    while role.work(&lease).await? == Progress::Worked {
        stretches += 1;
    }
    lease.release().await.unwrap();
    Ok(stretches)
}

/// Scores all protocols up to the end of the log, and retracts what was reverted.
pub(crate) async fn score(store: &Store) {
    score_only(store).await;
    retract(store).await;
}

pub(crate) async fn score_only(store: &Store) {
    for protocol in protocols() {
        run_to_end(&mut ScoreRisk::new(store, &chain(), &protocol), store).await.unwrap();
    }
}

pub(crate) async fn retract(store: &Store) {
    run_to_end(&mut Retract::new(store, &chain()), store).await.unwrap();
}

pub(crate) async fn project(store: &Store) {
    run_to_end(&mut Projector::new(store, &chain()), store).await.unwrap();
}

/// Proposes allocations up to the end of the log.
pub(crate) async fn propose(store: &Store) {
    run_to_end(&mut ProposeAllocation::new(store, &chain()), store).await.unwrap();
}

/// Projects with batches of at most `size` entries, more where a block is larger, at most so many of them, and
/// loads the read models anew before each batch when `reload` says so. Says whether the end was reached.
pub(crate) async fn project_in_batches(
    store: &Store,
    (size, most): (u32, u32),
    reload: bool,
) -> bool {
    let partition = Partition::Projector(chain());
    let mut models = ReadModels::load(store, &chain(), &partition).await.unwrap();
    for _ in 0..most {
        if reload {
            models = ReadModels::load(store, &chain(), &partition).await.unwrap();
        }
        let mut tx = store.begin().await.unwrap();
        let mut applied = 0;
        while applied < size || !models.is_settled() {
            let next = log::read_after(store, models.state().seq, 1).await.unwrap();
            let Some(entry) = next.first() else { break };
            models.apply(&mut tx, entry).await.unwrap();
            applied += 1;
        }
        if applied == 0 {
            return true;
        }
        models.write(&mut tx).await.unwrap();
        if let Some(snapshot) = models.due_snapshot() {
            snapshot.save(&mut tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    false
}

pub(crate) async fn hashes(store: &Store) -> std::collections::BTreeMap<String, StateHashes> {
    state::load_hashes(store, &chain()).await.unwrap()
}
