//! A block as a source gives it, whole, with what there is to check it by.

use obsqra_events::commitments::MAX_VERSION_BYTES;
use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_types::{BlockHash, BlockNumber, ContractAddress, Felt, TransactionHash, UnixSeconds};

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
    /// The transactions; `None` from a source that sends events without them, and then not all events.
    pub transactions: Option<Vec<SourceTransaction>>,
    /// The events in block order: all of them, or those of the watched contracts.
    pub events: Vec<EventData>,
}

/// What a block's commitments say about a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceTransaction {
    /// Its hash.
    pub hash: TransactionHash,
    /// What it is, as far as that matters here.
    pub kind: TransactionKind,
    /// Its signature, empty where its kind has none; `None` where it should have one and the source left it
    /// out.
    pub signature: Option<Vec<Felt>>,
    /// Its receipt; `None` where the source does not supply all that the commitment covers.
    pub receipt: Option<SourceReceipt>,
}

/// Kinds of transactions that commitments tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionKind {
    /// An invocation: of the oldest blocks the only one whose signature counts.
    Invoke,
    /// One that nobody signs: a message from L1, a deployment of the old kind.
    Unsigned,
    /// Any other.
    Other,
}

/// What a block's commitments say about a receipt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceReceipt {
    /// The fee charged.
    pub actual_fee: u128,
    /// Messages to L1.
    pub messages: Vec<SourceMessage>,
    /// Why the transaction was reverted, if it was.
    pub revert_reason: Option<String>,
    /// Total L1 gas.
    pub l1_gas: u64,
    /// Total L1 data gas.
    pub l1_data_gas: u64,
}

/// A message to L1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceMessage {
    /// Who sends it.
    pub from_address: Felt,
    /// The address on L1.
    pub to_address: Felt,
    /// What it says.
    pub payload: Vec<Felt>,
}

/// A protocol version as a header may state it.
///
/// # Errors
/// When it is longer than any, or not ASCII: it goes into the log as it stands.
pub(super) fn version(text: String) -> Result<String, String> {
    if text.len() > MAX_VERSION_BYTES || !text.is_ascii() {
        return Err(format!(
            "starknet_version is no version: {} bytes, at most {MAX_VERSION_BYTES} of ASCII are",
            text.len()
        ));
    }
    Ok(text)
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
        let transactions = self.transactions.iter().flatten();
        size_of::<Self>()
            + self.events.len() * size_of::<EventData>()
            + felts * size_of::<Felt>()
            + transactions.map(SourceTransaction::weight).sum::<usize>()
    }
}

impl SourceTransaction {
    fn weight(&self) -> usize {
        let signature = self.signature.as_ref().map_or(0, Vec::len);
        let receipt = self.receipt.as_ref().map_or(0, |receipt| {
            let payloads: usize =
                receipt.messages.iter().map(|message| 2 + message.payload.len()).sum();
            receipt.revert_reason.as_ref().map_or(0, String::len) + payloads * size_of::<Felt>()
        });
        size_of::<Self>() + signature * size_of::<Felt>() + receipt
    }
}
