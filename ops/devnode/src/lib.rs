//! A stand-in for a Starknet node, so that everything runs and is tested with no network.
//!
//! Its chain is recorded (the events of real blocks on a consecutive chain, id `OBSQRA_REC`) or seeded (a
//! market model that writes the events of three protocols, id `OBSQRA_DEV`, with the truth about every
//! metric). What a source lacks is made up and marked so in each block's member `obsqra`. The chain ids are
//! never those of a real chain, and nothing of the product depends on this package.
//!
//! Chain bytes are a function of file or seed: integers only, no clock, ordered collections only.

mod chain;
mod faults;
mod node;
mod recorded;
mod rpc;
mod seeded;

pub use chain::block::{
    BlockDraft, Event, GasPrices, Origin, SealedBlock, Transaction, TransactionDraft,
};
pub use chain::ledger::Head;
pub use chain::producer::{Chain, ProducedBlock, RECORDED_CHAIN_ID, SEEDED_CHAIN_ID};
pub use chain::seal::{Position, SEQUENCER_ADDRESS, STARKNET_VERSION, Sealer};
pub use faults::{Fault, FaultScope, Faults, MAX_HANG_MILLIS, ScriptedFault};
pub use node::{DevNode, DevNodeError, DevNodeOptions, Source};
pub use recorded::{BadLine, RecordedError};
pub use rpc::SPEC_VERSION;
pub use seeded::{
    BLOCK_SECONDS, BlockTruth, GENESIS_TIMESTAMP, MarketTruth, ProtocolTruth, SEEDED_REGISTRY,
    ScoreTruth, SeededBlock, SeededChain,
};
