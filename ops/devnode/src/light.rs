//! The light chain: blocks for load, made on the fly.
//!
//! A block is a function of seed, number of events, branch and height, and no state runs along: any height
//! is made at once and none must be kept. It has N small events of one contract and a header as before
//! spec 0.10, without counts and commitments. Hashes are derived by SHA-256 and commit to nothing: the chain
//! is for measuring how fast blocks are taken in, and is never to be mistaken for a protocol-true one.
//!
//! The last eight bytes of a hash are the height, so that a block is found by its hash without an index.

use std::sync::Arc;

use starknet_types_core::felt::Felt;

use crate::chain::block::{Event, Origin, SealedBlock, Transaction};
use crate::chain::felts::made_up;
use crate::chain::seal::gas_prices;
use crate::seeded::GENESIS_TIMESTAMP;

/// Chain id of a light chain.
pub const LIGHT_CHAIN_ID: &str = "OBSQRA_LIGHT";

/// The registry of the light chain, as the product reads it: one protocol with one contract.
pub const LIGHT_REGISTRY: &[u8] = include_bytes!("../registry/obsqra_light.json");

/// The contract that all events of a light chain come from, `obsqra_light_market`.
pub const LIGHT_CONTRACT: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6c696768745f6d61726b6574");

/// The first key of every event of a light chain, `obsqra_light_event`: no decoder knows it.
pub const LIGHT_SELECTOR: Felt = Felt::from_hex_unchecked("0x6f62737172615f6c696768745f6576656e74");

/// Most events of a light block.
pub const MAX_LIGHT_EVENTS: u32 = 100_000;

/// Chain time between two light blocks, in seconds.
const LIGHT_BLOCK_SECONDS: u64 = 6;

/// Events of one transaction; a block's last one may have fewer.
const EVENTS_PER_TRANSACTION: u32 = 10;

/// From a height on, the blocks are those of another branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fork {
    from: u64,
    branch: u32,
}

/// A light chain: which blocks stand at which height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LightChain {
    seed: u64,
    events_per_block: u32,
    forks: Arc<[Fork]>,
}

impl LightChain {
    pub(crate) fn new(seed: u64, events_per_block: u32) -> Self {
        let events_per_block = events_per_block.min(MAX_LIGHT_EVENTS);
        Self { seed, events_per_block, forks: Arc::new([]) }
    }

    /// The chain with other blocks from a height on.
    pub(crate) fn forked(&self, from: u64, branch: u32) -> Self {
        let below = self.forks.iter().copied().filter(|fork| fork.from < from);
        let forks = below.chain([Fork { from, branch }]).collect();
        Self { forks, ..self.clone() }
    }

    fn branch_at(&self, number: u64) -> u32 {
        self.forks.iter().rfind(|fork| number >= fork.from).map_or(0, |fork| fork.branch)
    }

    pub(crate) fn hash_at(&self, number: u64) -> Felt {
        let derived = made_up(
            "light block",
            &[
                &self.seed.to_be_bytes(),
                &self.events_per_block.to_be_bytes(),
                &self.branch_at(number).to_be_bytes(),
                &number.to_be_bytes(),
            ],
        );
        let mut bytes = derived.to_bytes_be();
        if let Some(end) = bytes.last_chunk_mut::<8>() {
            *end = number.to_be_bytes();
        }
        Felt::from_bytes_be(&bytes)
    }

    /// The height of a block of this chain that has this hash.
    pub(crate) fn number_of(&self, hash: &Felt) -> Option<u64> {
        let bytes = hash.to_bytes_be();
        let number = u64::from_be_bytes(*bytes.last_chunk::<8>()?);
        (self.hash_at(number) == *hash).then_some(number)
    }

    pub(crate) fn block(&self, number: u64) -> SealedBlock {
        let hash = self.hash_at(number);
        let parent_hash = number.checked_sub(1).map_or(Felt::ZERO, |below| self.hash_at(below));
        let starts = (0..self.events_per_block).step_by(EVENTS_PER_TRANSACTION as usize);
        let transactions =
            starts.zip(1..).map(|(first, index)| self.transaction(hash, first, index)).collect();
        SealedBlock {
            number,
            hash,
            parent_hash,
            timestamp: GENESIS_TIMESTAMP + number.saturating_mul(LIGHT_BLOCK_SECONDS),
            new_root: hash,
            gas_prices: gas_prices(number),
            transaction_commitment: Felt::ZERO,
            event_commitment: Felt::ZERO,
            receipt_commitment: Felt::ZERO,
            state_diff_commitment: Felt::ZERO,
            state_diff_length: 0,
            origin: Origin::Light,
            transactions,
        }
    }

    fn transaction(&self, block: Felt, first_event: u32, index: u32) -> Transaction {
        let hash = made_up("light transaction", &[&block.to_bytes_be(), &index.to_be_bytes()]);
        let end = (first_event + EVENTS_PER_TRANSACTION).min(self.events_per_block);
        let [_, _, _, amount] = hash.to_be_digits();
        let event = |index: u32| Event {
            from_address: LIGHT_CONTRACT,
            keys: vec![LIGHT_SELECTOR, Felt::from(index)],
            data: vec![Felt::from(amount ^ u64::from(index)), Felt::ZERO],
        };
        Transaction {
            hash,
            sender: LIGHT_CONTRACT,
            signature: [Felt::ONE, Felt::TWO],
            nonce: u64::from(index),
            actual_fee: 1_000_000_000_000_000,
            l1_data_gas: 128,
            l2_gas: 800_000,
            events: (first_event..end).map(event).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_depends_on_its_place_alone() {
        let chain = LightChain::new(7, 25);
        assert_eq!(chain.block(150_000), LightChain::new(7, 25).block(150_000));
        assert_ne!(chain.hash_at(5), LightChain::new(8, 25).hash_at(5));
        assert_ne!(chain.hash_at(5), LightChain::new(7, 24).hash_at(5));
        let sizes: Vec<usize> = chain
            .block(3)
            .transactions
            .iter()
            .map(|transaction| transaction.events.len())
            .collect();
        assert_eq!(sizes, [10, 10, 5]);
        assert!(LightChain::new(7, 0).block(3).transactions.is_empty());
    }

    #[test]
    fn parents_link_across_branches() {
        let chain = LightChain::new(7, 1).forked(10, 1).forked(20, 2);
        for number in 1..30 {
            assert_eq!(chain.block(number).parent_hash, chain.block(number - 1).hash, "{number}");
        }
        assert_eq!(chain.block(0).parent_hash, Felt::ZERO);
        let back = chain.forked(10, 3);
        assert_eq!(back.hash_at(9), chain.hash_at(9));
        assert_ne!(back.hash_at(10), chain.hash_at(10));
        assert_ne!(back.hash_at(25), chain.hash_at(25));
    }

    #[test]
    fn a_hash_leads_back_to_its_height() {
        let chain = LightChain::new(7, 1);
        assert_eq!(chain.number_of(&chain.hash_at(123_456)), Some(123_456));
        assert_eq!(chain.forked(5, 1).number_of(&chain.hash_at(123_456)), None);
        assert_eq!(chain.number_of(&Felt::ONE), None);
    }
}
