//! A stand-in for a Starknet node, so that everything runs and is tested with no network.
//!
//! Its chain is recorded (the events of real blocks on a consecutive chain, id `OBSQRA_REC`) or seeded (a
//! market model that writes the events of three protocols, id `OBSQRA_DEV`, with the truth about every
//! metric) or light (load that is true to nothing, id `OBSQRA_LIGHT`). It is asked over JSON-RPC, or
//! streamed over Apibara DNA. What a source lacks is made up and marked so in each block's member
//! `obsqra`. The chain ids are never those of a real chain, and nothing of the product depends on this
//! package.
//!
//! Chain bytes are a function of file or seed: integers only, no clock, ordered collections only.

mod branch;
mod chain;
mod dna;
mod faults;
mod light;
mod network;
mod node;
mod recorded;
mod rpc;
mod scenario;
mod sealed;
mod seeded;
mod serving;
mod spec;
mod twin;

pub use branch::Branch;
pub use chain::block::{
    BlockDraft, Event, GasPrices, Origin, SealedBlock, Transaction, TransactionDraft,
};
pub use chain::ledger::Head;
pub use chain::producer::{Chain, ProducedBlock, RECORDED_CHAIN_ID, SEEDED_CHAIN_ID};
pub use chain::seal::{Position, SEQUENCER_ADDRESS, STARKNET_VERSION, Sealer};
pub use dna::{DnaFault, DnaFaults, DnaSettings};
pub use faults::{
    Fault, FaultScope, Faults, MAX_DRIP_PIECES, MAX_HANG_MILLIS, MAX_PADDING_BYTES,
    NEW_HEADS_NOTICE, ScriptedFault,
};
pub use light::{LIGHT_CHAIN_ID, LIGHT_CONTRACT, LIGHT_REGISTRY, LIGHT_SELECTOR, MAX_LIGHT_EVENTS};
pub use network::{Network, StepFailed};
pub use node::{DevNode, DevNodeError, DevNodeOptions, Source};
pub use recorded::{BadLine, RecordedError};
pub use scenario::{
    Action, BadStep, MAX_NODES, MAX_STEP_WAIT_MILLIS, MAX_STEPS, Scenario, ScenarioChain,
    ScenarioError, ScenarioNode, Step, When,
};
pub use seeded::{
    AbsentTruth, AnomalyPhase, AnomalyTruth, BLOCK_SECONDS, BlockTruth, GENESIS_TIMESTAMP,
    Incident, LendingTruth, MarketTruth, PoolTruth, ProtocolTruth, SEEDED_REGISTRY, ScoreTruth,
    SeededBlock, SeededChain,
};
pub use spec::{Spec, UnknownSpec};
pub use twin::TwinOptions;
