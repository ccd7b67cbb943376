//! Inclusion proofs: a true one counts, and nothing else does.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use obsqra_events::merkle::{Frontier, PathBuilder, leaf_hash};
use obsqra_events::{
    BlockFinalized, Checkpoint, Draft, Entry, Fact, Proof, ProofError, PublicKey, SigningKey,
    chain_hash,
};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Felt, Hash32, RecordedAt, Seq,
    UnixSeconds,
};
use proptest::prelude::*;

fn signer() -> SigningKey {
    SigningKey::from_secret(&[7; 32])
}

fn keys() -> [PublicKey; 1] {
    [signer().public()]
}

fn log(entries: u64) -> Vec<Entry> {
    let chain = ChainId::new("OBSQRA_TEST").unwrap();
    let mut log: Vec<Entry> = Vec::new();
    for seq in 1..=entries {
        let block = BlockRef {
            number: BlockNumber(seq * 3),
            epoch: BranchEpoch(1),
            timestamp: UnixSeconds(1_700_000_000 + seq),
        };
        let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(Felt::from(seq)) });
        let block = (seq % 2 == 0).then_some(block);
        let draft = Draft::new(&chain, block, &fact);
        let recorded_at = RecordedAt(1_700_000_000_000_000 + i64::try_from(seq).unwrap());
        let previous = log.last().map_or(Hash32::ZERO, |entry| entry.hash);
        let hash = chain_hash(Seq(seq), recorded_at, &draft.content_hash, &previous);
        log.push(Entry { seq: Seq(seq), recorded_at, draft, hash });
    }
    log
}

fn prove(log: &[Entry], seq: usize) -> Proof {
    let mut builder = PathBuilder::new(Frontier::new(), seq as u64 - 1).unwrap();
    log.iter().for_each(|entry| builder.push(leaf_hash(entry.hash.as_bytes())));
    let (path, root) = builder.finish().unwrap();
    let last = log.last().unwrap();
    let checkpoint = Checkpoint {
        seq: last.seq,
        head: last.hash,
        root,
        recorded_at: last.recorded_at,
        previous: Hash32::ZERO,
    };
    let previous = seq.checked_sub(2).map_or(Hash32::ZERO, |before| log[before].hash);
    Proof { entry: log[seq - 1].clone(), previous, path, checkpoint: signer().sign(checkpoint) }
}

#[test]
fn every_entry_of_every_log_is_proven() {
    for size in 1..=20 {
        let log = log(size);
        for seq in 1..=log.len() {
            let proof = prove(&log, seq);
            assert_eq!(proof.check(&keys()), Ok(()), "{seq} of {size}");
            assert_eq!(Proof::parse(&proof.to_json()), Ok(proof));
        }
    }
}

#[test]
fn what_is_not_in_the_log_is_not_proven() {
    let log = log(11);
    let proof = prove(&log, 6);
    let refused = |proof: &Proof| {
        let said = proof.check(&keys());
        assert!(matches!(said, Err(ProofError::NotIncluded { .. })), "{said:?}");
    };
    let mut other = proof.clone();
    other.entry.draft.payload[0] ^= 1;
    refused(&other);
    let mut other = proof.clone();
    other.entry = log[6].clone();
    refused(&other);
    let mut other = proof.clone();
    other.previous = Hash32::ZERO;
    refused(&other);
    let mut other = proof.clone();
    other.path.pop();
    refused(&other);
    let mut other = proof.clone();
    other.path.push(Hash32::ZERO);
    refused(&other);
    for seq in [0, 12, u64::MAX] {
        let mut other = proof.clone();
        other.entry.seq = Seq(seq);
        refused(&other);
    }
    let foreign = SigningKey::from_secret(&[8; 32]).public();
    let said = proof.check(&[foreign]);
    assert!(matches!(said, Err(ProofError::Checkpoint { seq: Seq(11), .. })), "{said:?}");
    assert!(proof.check(&[]).is_err());
}

#[test]
fn text_that_is_no_proof_is_refused() {
    let text = prove(&log(11), 6).to_json();
    for end in 0..text.len() {
        assert!(Proof::parse(&text[..end]).is_err(), "cut at {end}");
    }
    let many = vec!["\"00\""; 100_000].join(",");
    for other in [
        "null".to_owned(),
        "{}".to_owned(),
        "[".repeat(100_000),
        text.replace("obsqra.proof.v1", "obsqra.proof.v2"),
        text.replace("\"version\": 1", "\"version\": -1"),
        text.replace("\"version\": 1", "\"version\": 70000"),
        text.replace("\"seq\": \"6\"", "\"seq\": \"99999999999999999999999\""),
        text.replace("\"leafIndex\": \"5\"", "\"leafIndex\": \"6\""),
        text.replace("chain.block_finalized", "chain.block_unheard_of"),
        text.replace("\"path\": [", &format!("\"path\": [{many},")),
        format!("{text}\n"),
    ] {
        assert!(Proof::parse(&other).is_err(), "{}", &other[..other.len().min(200)]);
    }
}

proptest! {
    #[test]
    fn no_proof_with_one_bit_flipped_counts(
        size in 1u64..40,
        pick in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let log = log(size);
        let mut text = prove(&log, pick.index(log.len()) + 1).to_json().into_bytes();
        let place = place.index(text.len());
        text[place] ^= 1 << bit;
        let counts = String::from_utf8(text)
            .ok()
            .and_then(|text| Proof::parse(&text).ok())
            .is_some_and(|proof| proof.check(&keys()).is_ok());
        prop_assert!(!counts);
    }
}
