//! A block as a source gives it, whole.

use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_types::{BlockHash, BlockNumber, ContractAddress, Felt, UnixSeconds};

use crate::planner::{BlockId, BlockLink};

/// A block with its events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceBlock {
    /// Height.
    pub number: BlockNumber,
    /// Hash.
    pub hash: BlockHash,
    /// The hash of the block below.
    pub parent_hash: BlockHash,
    /// Header timestamp.
    pub timestamp: UnixSeconds,
    /// State root after the block.
    pub new_root: Felt,
    /// Who built it.
    pub sequencer: ContractAddress,
    /// Protocol version.
    pub starknet_version: String,
    /// Data availability mode.
    pub da_mode: DaMode,
    /// Price of L1 gas.
    pub l1_gas: GasPrice,
    /// Price of L1 data gas.
    pub l1_data_gas: GasPrice,
    /// Price of L2 gas.
    pub l2_gas: Option<GasPrice>,
    /// What the header supplies beyond that.
    pub supplied: Option<SuppliedCommitments>,
    /// Transactions received; `None` from a source that sends events without their transactions.
    pub transactions: Option<u64>,
    /// The events in block order: all of them, or those of the watched contracts.
    pub events: Vec<EventData>,
}

impl SourceBlock {
    /// The block as far as linking goes.
    #[must_use]
    pub fn link(&self) -> BlockLink {
        BlockLink { id: BlockId { number: self.number, hash: self.hash }, parent: self.parent_hash }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let felts: usize =
            self.events.iter().map(|event| event.keys.len() + event.data.len()).sum();
        size_of::<Self>() + self.events.len() * size_of::<EventData>() + felts * size_of::<Felt>()
    }
}
