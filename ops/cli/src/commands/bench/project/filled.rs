//! A log of the seeded chain, filled by bare COPY as fast as it goes: what is measured comes after.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::Utc;
use obsqra_devnode::{BlockDraft, SEEDED_CHAIN_ID, SEEDED_REGISTRY, SeededChain};
use obsqra_events::{
    Adopted, AdoptedWhat, BlockApplied, BlockAttested, DaMode, Draft, EventData, EventsDigest,
    Fact, GasPrice, Verdict,
};
use obsqra_policy::{PRESETS, Policies};
use obsqra_protocols::{Definitions, METRICS_VERSION, risk};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::log::{self, CopyFiles, CopyIn};
use obsqra_store::{Key, Keyed, Lease, Role, Store};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Felt,
    Hash32, Partition, RecordedAt, Seq, TransactionHash, UnixSeconds,
};
use sha2::{Digest, Sha256};

use crate::commands::bench::stand::Stand;

/// Longer than the bench takes.
const LEASE: Duration = Duration::from_secs(3_600);
const SEED: u64 = 1;
/// Blocks of one COPY.
const BATCH: usize = 1_000;

/// Servers with a log that goes on.
pub(in crate::commands::bench) struct Filled {
    pub(in crate::commands::bench) stand: Stand,
    pub(in crate::commands::bench) admin: Store,
    pub(in crate::commands::bench) writer: Store,
    pub(in crate::commands::bench) chain: ChainId,
    blocks: SeededChain,
    parent: BlockHash,
}

impl Filled {
    /// A log with what was adopted and no block.
    pub(in crate::commands::bench) async fn start() -> Result<Self> {
        let stand = Stand::start().await?;
        let (admin, writer) = (stand.instance.store_as(Role::Admin).await?, stand.writer().await?);
        let chain = ChainId::new(SEEDED_CHAIN_ID)?;
        let partition = Partition::Follower(chain.clone());
        let lease = Lease::acquire(&writer, partition, "bench", LEASE).await?;
        let lease = lease.context("somebody else writes to the log of this bench")?;
        let mut tx = writer.begin().await?;
        log::append(&mut tx, lease.fence(), adopted(&chain)?).await?;
        tx.commit().await?;
        let (blocks, parent) = (SeededChain::new(SEED), BlockHash(Felt::ZERO));
        Ok(Self { stand, admin, writer, chain, blocks, parent })
    }

    /// Appends blocks until the log has so many entries; its last position.
    pub(in crate::commands::bench) async fn fill_to(&mut self, entries: u64) -> Result<Seq> {
        let folder = tempfile::tempdir_in(self.stand.data_dir())?;
        // The server runs under an account of its own.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let files = CopyFiles { log: folder.path().join("log"), keys: folder.path().join("keys") };
        let mut head = log::head(&self.admin).await?;
        while head.seq.0 < entries {
            let mut facts = Vec::new();
            let mut left = entries - head.seq.0;
            while left > 0 && facts.len() < BATCH {
                let block = self.block()?;
                left = left.saturating_sub(block.drafts.len() as u64);
                facts.push(block);
            }
            let recorded_at = RecordedAt(Utc::now().timestamp_micros());
            let rows = CopyIn::new(head, recorded_at, &facts)?;
            rows.write(&files)?;
            log::copy_in(&self.admin, &files).await?;
            log::move_head(&self.admin, &rows).await?;
            head = rows.after();
        }
        self.note_tip(head.seq).await?;
        Ok(head.seq)
    }

    async fn note_tip(&self, seq: Seq) -> Result<()> {
        let number = BlockNumber(self.blocks.height().saturating_sub(1));
        let tip = ChainTip {
            first: BlockNumber(0),
            number,
            hash: self.parent,
            epoch: BranchEpoch(0),
            seq,
            finalized: Some(number),
        };
        let mut tx = self.writer.begin().await?;
        chain_tip::store(&mut tx, &self.chain, &tip).await?;
        Ok(tx.commit().await?)
    }

    /// The next block with its events and its attestation.
    fn block(&mut self) -> Result<Keyed> {
        let number = BlockNumber(self.blocks.height());
        let draft = self.blocks.next_block().draft;
        let hash = BlockHash(Felt::from(number.0 + 1));
        let timestamp = UnixSeconds(draft.timestamp);
        let at = BlockRef { number, epoch: BranchEpoch(0), timestamp };
        let events = self.events(at, &draft)?;
        let watched_events = u32::try_from(events.len())?;
        let gas = GasPrice { fri: 1, wei: 1 };
        let applied = BlockApplied {
            hash,
            parent_hash: self.parent,
            new_root: hash.0,
            sequencer: ContractAddress(Felt::ONE),
            starknet_version: "0.14.1".into(),
            da_mode: DaMode::Blob,
            l1_gas: gas,
            l1_data_gas: gas,
            watched_events,
            events_digest: digest(&events),
        };
        let attested = BlockAttested {
            hash,
            source: "memory".into(),
            verdict: Verdict::Unchecked("made up for a measurement".into()),
            checks: Vec::new(),
            l2_gas: None,
            supplied: None,
            computed: None,
            other_leaves: None,
        };
        let key = Key::Block { hash, parent: self.parent, watched_events };
        let mut drafts = vec![Draft::new(&self.chain, Some(at), &Fact::BlockApplied(applied))];
        drafts.extend(events);
        drafts.push(Draft::new(&self.chain, Some(at), &Fact::BlockAttested(attested)));
        self.parent = hash;
        Ok(Keyed { key, drafts })
    }

    fn events(&self, at: BlockRef, draft: &BlockDraft) -> Result<Vec<Draft>> {
        let mut events = Vec::new();
        for (transaction, place) in draft.transactions.iter().zip(0u32..) {
            let hash = Felt::from(at.number.0) * Felt::from(1u64 << 32) + Felt::from(place);
            for event in &transaction.events {
                let event = EventData {
                    index: EventIndex(u32::try_from(events.len())?),
                    transaction_index: place,
                    transaction_hash: TransactionHash(hash),
                    from_address: ContractAddress(event.from_address),
                    keys: event.keys.clone(),
                    data: event.data.clone(),
                };
                events.push(Draft::new(&self.chain, Some(at), &Fact::Event(event)));
            }
        }
        Ok(events)
    }

    pub(in crate::commands::bench) async fn stop(self) -> Result<()> {
        self.admin.close().await;
        self.writer.close().await;
        self.stand.stop().await
    }
}

fn digest(events: &[Draft]) -> Hash32 {
    let mut digest = EventsDigest::new();
    events.iter().for_each(|event| digest.add(&event.content_hash));
    digest.finish()
}

fn adopted(chain: &ChainId) -> Result<Vec<Keyed>> {
    let policies = Policies::parse(PRESETS)?;
    let adopt = [
        (AdoptedWhat::Registry, "bench", SEEDED_REGISTRY),
        (AdoptedWhat::Metrics, METRICS_VERSION, Definitions::own().text().as_bytes()),
        (AdoptedWhat::RiskFormula, risk::FORMULA, risk::FORMULA.as_bytes()),
        (AdoptedWhat::Policy, policies.version(), PRESETS),
    ];
    let keyed = adopt.into_iter().map(|(what, version, bytes)| {
        let (hash, version) = (Hash32(Sha256::digest(bytes).into()), version.to_owned());
        let fact = Adopted { what, version: version.clone(), hash, bytes: bytes.to_vec() };
        Keyed {
            key: Key::Adopted { what, version, hash },
            drafts: vec![Draft::new(chain, None, &Fact::Adopted(fact))],
        }
    });
    Ok(keyed.collect())
}
