//! Risk scores: one for each protocol and block whose entries change the score's inputs.
//!
//! The fact is a function of the chain lane up to its block. This role decides when to compute it, never
//! what comes out.

use obsqra_events::{BlockApplied, Draft, Fact, Kind, RiskAbsent, RiskScored};
use obsqra_protocols::{InputsAt, risk};
use obsqra_store::{Key, Keyed, LeaseKeeper, Store, StoreError, cursor, lease, log};
use obsqra_types::{BlockRef, ChainId, Partition, ProtocolId, Seq};

use crate::WorkError;
use crate::chain_fold::{ChainFold, Folded, FoldedBlock};
use crate::runtime::{Progress, Role, WakesOn};

/// Entries read at a time.
const BATCH: u32 = 4_000;
/// Most facts appended in one transaction.
const MOST_FACTS: usize = 256;

/// Scores one protocol.
#[derive(Debug)]
pub struct ScoreRisk {
    store: Store,
    chain: ChainId,
    protocol: ProtocolId,
    state: State,
}

#[derive(Debug)]
struct State {
    fold: ChainFold,
    /// Committed up to here.
    cursor: Seq,
    /// Read up to here.
    read: Seq,
}

impl ScoreRisk {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store, chain: &ChainId, protocol: &ProtocolId) -> Self {
        let partition = Partition::RiskWorker(chain.clone(), protocol.clone());
        let fold = ChainFold::new(store, chain, &partition);
        let state = State { fold, cursor: Seq::BEFORE_FIRST, read: Seq::BEFORE_FIRST };
        Self { store: store.clone(), chain: chain.clone(), protocol: protocol.clone(), state }
    }

    async fn commit(
        &mut self,
        lease: &LeaseKeeper,
        facts: Vec<Keyed>,
        to: Seq,
    ) -> Result<(), WorkError> {
        let count = facts.len();
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        cursor::advance(&mut tx, &self.partition(), to).await?;
        self.state.fold.save(&mut tx).await?;
        if !facts.is_empty() {
            let outcome = log::append(&mut tx, lease.fence(), facts).await?;
            metrics::counter!("obsqra_risk_superseded_total").increment(outcome.superseded as u64);
        }
        tx.commit().await.map_err(StoreError::from)?;
        self.state.cursor = to;
        metrics::counter!("obsqra_risk_facts_total", "protocol" => self.protocol.to_string())
            .increment(count as u64);
        Ok(())
    }
}

impl Role for ScoreRisk {
    fn partition(&self) -> Partition {
        Partition::RiskWorker(self.chain.clone(), self.protocol.clone())
    }

    fn wakes_on(&self) -> WakesOn {
        WakesOn::Facts(&[Kind::BlockApplied, Kind::BlockReverted])
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        let partition = self.partition();
        let cursor = cursor::load(&self.store, &partition).await?;
        let fold = ChainFold::resume(&self.store, &self.chain, &partition, cursor).await?;
        self.state = State { fold, cursor, read: cursor };
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let entries = log::read_after(&self.store, self.state.read, BATCH).await?;
        if entries.is_empty() {
            return Ok(Progress::Idle);
        }
        let mut facts = Vec::new();
        let mut settled = None;
        for entry in &entries {
            if let Some(Folded::Block(block)) = self.state.fold.take(entry).await? {
                facts.extend(fact(&self.chain, &self.protocol, &block));
            }
            self.state.read = entry.seq;
            if self.state.fold.is_settled() {
                settled = Some(entry.seq);
                if facts.len() >= MOST_FACTS {
                    self.commit(lease, std::mem::take(&mut facts), entry.seq).await?;
                    settled = None;
                }
            }
        }
        // A block's fact is there once the block is complete, where the fold is settled: whatever is left
        // belongs to the last settled position. What is half in is completed by the next batch.
        if let Some(to) = settled {
            self.commit(lease, facts, to).await?;
        }
        Ok(Progress::Worked)
    }
}

/// The fact that is due at a block, if one is.
#[must_use]
pub fn fact(chain: &ChainId, protocol: &ProtocolId, block: &FoldedBlock) -> Option<Keyed> {
    let output = block.output.as_ref()?;
    if !output.inputs_changed.contains(protocol) {
        return None;
    }
    let inputs = output.inputs.get(protocol)?;
    Some(keyed(chain, protocol, block.block, &state(protocol, &block.applied, inputs)))
}

fn state(protocol: &ProtocolId, applied: &BlockApplied, inputs: &InputsAt) -> Fact {
    match inputs.complete() {
        Ok(complete) => {
            let (score, components) = risk::score(&complete);
            Fact::RiskScored(RiskScored {
                protocol: protocol.clone(),
                block_hash: applied.hash,
                formula: risk::FORMULA.to_owned(),
                score,
                components,
                inputs: complete,
                causes: inputs.causes.clone(),
            })
        }
        Err(absent) => Fact::RiskAbsent(RiskAbsent {
            protocol: protocol.clone(),
            block_hash: applied.hash,
            formula: risk::FORMULA.to_owned(),
            absent,
            causes: inputs.causes.clone(),
        }),
    }
}

fn keyed(chain: &ChainId, protocol: &ProtocolId, block: BlockRef, fact: &Fact) -> Keyed {
    Keyed {
        key: Key::Derived { subject: protocol.to_string() },
        drafts: vec![Draft::new(chain, Some(block), fact)],
    }
}
