//! Known answers: blocks of every age, and every way to spoil one of their events.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use starknet_crypto::pedersen_hash;

use super::*;
use crate::source::{SourceBlock, read_block_file};

/// Blocks that hold, by their place in the shared folder.
const WHOLE: [&str; 9] = [
    "feeder/mainnet_2238855_feeder.json.gz",
    "feeder/mainnet_550000_feeder.json.gz",
    "feeder/mainnet_6500_feeder.json.gz",
    "feeder/sepolia-integration_63881_feeder.json.gz",
    "feeder/sepolia_100000_feeder.json.gz",
    "rpc/sepolia_3100000_rpc-getblockwithreceipts.json",
    "rpc/mainnet_588763_rpc-getblockwithreceipts.json",
    "rpc/sepolia_0_rpc-getblockwithreceipts.json",
    "rpc/sepolia_64159_rpc-getblockwithreceipts.json",
];
/// Blocks that were cut down, which their hash shows.
const CUT: [&str; 5] = [
    "rpc/mainnet_16618_rpc-getblockwithreceipts.json",
    "rpc/mainnet_17301_rpc-getblockwithreceipts.json",
    "rpc/mainnet_50000_rpc-getblockwithreceipts.json",
    "rpc/mainnet_400000_rpc-getblockwithreceipts.json",
    "rpc/mainnet_646491_rpc-getblockwithreceipts.json",
];
/// Blocks without what is needed.
const BARE: [&str; 4] = [
    "rpc/sepolia_1833335_rpc-getblockwithreceipts.json",
    "rpc/mainnet_1081035_rpc-getblockwithreceipts.json",
    "rpc/sepolia_309238_rpc-getblockwithreceipts.json",
    "rpc/sepolia-integration_1300000_rpc-getblockwithreceipts.json",
];

fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/chain");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: the blocks of the shared folder are not there");
    None
}

fn block(folder: &Path, name: &str) -> SourceBlock {
    let bytes = std::fs::read(folder.join(name)).unwrap();
    read_block_file(&bytes).unwrap_or_else(|error| panic!("{name}: {error}")).1
}

fn is_whole(block: &SourceBlock) -> bool {
    check(block).outcome == Outcome::Verified
}

#[test]
fn real_blocks_hold() {
    let Some(folder) = shared() else { return };
    for name in WHOLE {
        let block = block(&folder, name);
        let findings = check(&block);
        assert_eq!(findings.outcome, Outcome::Verified, "{name}");
        assert!(findings.checks.contains(&Check::EventCommitment), "{name}");
        assert!(findings.checks.contains(&Check::TransactionCommitment), "{name}");
        assert!(findings.checks.contains(&Check::BlockHash), "{name}");
        assert_eq!(findings.leaves.len(), block.events.len(), "{name}");
        let is_older = findings.computed.is_some();
        assert_ne!(findings.checks.contains(&Check::ReceiptCommitment), is_older, "{name}");
    }
}

#[test]
fn blocks_checked_together_are_the_blocks_one_by_one() {
    let Some(folder) = shared() else { return };
    let names = WHOLE.into_iter().chain(CUT).chain(BARE);
    let mut blocks: Vec<_> = names.map(|name| block(&folder, name)).collect();
    let mut spoilt = blocks[0].clone();
    spoilt.events[3].data.clear();
    blocks.insert(2, spoilt);
    blocks.push(blocks[0].clone());
    let together = check_all(&blocks);
    assert_eq!(together.len(), blocks.len());
    for (block, found) in blocks.iter().zip(together) {
        assert_eq!(check(block), found, "block {}", block.number);
    }
    assert!(check_all(&[]).is_empty());
    // 8 of the header, 4 of the gas prices, 1 and 4 of each receipt, and so on: counted by hand for one with
    // three transactions, of five felts with their hash, and three events.
    let small = block(&folder, "rpc/sepolia_3100000_rpc-getblockwithreceipts.json");
    let list = |len: usize| len / 2 + 1;
    let events: usize =
        small.events.iter().map(|event| list(4 + event.keys.len() + event.data.len())).sum();
    let signed = small.transactions.iter().flatten();
    let signed: usize = signed.map(|one| list(1 + one.signature.as_ref().unwrap().len())).sum();
    // A tree over three leaves takes 4.
    let expected = events + signed + 3 * (list(1) + list(7)) + 3 * 4 + list(7) + list(14);
    assert_eq!(permutations(std::slice::from_ref(&small)), expected);
}

#[test]
fn blocks_that_were_cut_down_do_not() {
    let Some(folder) = shared() else { return };
    for name in CUT {
        let findings = check(&block(&folder, name));
        let Outcome::Mismatch(differences) = findings.outcome else {
            panic!("{name}: {:?}", findings.outcome);
        };
        assert_eq!(differences[0].member, "block_hash", "{name}");
    }
}

#[test]
fn what_a_source_leaves_out_is_no_mismatch() {
    let Some(folder) = shared() else { return };
    for name in BARE {
        let outcome = check(&block(&folder, name)).outcome;
        assert!(matches!(outcome, Outcome::Unverifiable(_)), "{name}: {outcome:?}");
    }
    let whole = block(&folder, WHOLE[0]);
    type Change<'a> = &'a dyn Fn(&mut SourceBlock);
    let check_changed = |change: Change<'_>| {
        let mut block = whole.clone();
        change(&mut block);
        check(&block)
    };
    let reasons: [(Change<'_>, Reason); 6] = [
        (&|block| block.transactions = None, Reason::SomeEventsOnly),
        (&|block| block.supplied = None, Reason::NoCommitments),
        (&|block| block.l2_gas = None, Reason::NotSupplied("l2_gas_price")),
        (
            &|block| block.supplied.as_mut().unwrap().event_commitment = Felt::ZERO,
            Reason::NotSupplied("event_commitment"),
        ),
        (
            &|block| block.starknet_version = "0.fourteen".into(),
            Reason::NoVersion("0.fourteen".into()),
        ),
        (&|block| block.starknet_version = "0.16.0".into(), Reason::NewerVersion("0.16.0".into())),
    ];
    for (change, reason) in reasons {
        assert_eq!(check_changed(change).outcome, Outcome::Unverifiable(reason));
    }
    // What is not kept may be missing; without signatures nothing vouches for the order of transactions.
    let findings = check_changed(&|block| {
        block.transactions.iter_mut().flatten().for_each(|one| one.receipt = None);
    });
    assert_eq!(findings.outcome, Outcome::Verified);
    assert!(!findings.checks.contains(&Check::ReceiptCommitment));
    let findings = check_changed(&|block| {
        block.transactions.iter_mut().flatten().take(1).for_each(|one| one.signature = None);
    });
    assert_eq!(findings.outcome, Outcome::Unverifiable(Reason::NoSignature));
    // What is supplied beside a zero is compared all the same.
    let findings = check_changed(&|block| {
        block.supplied.as_mut().unwrap().state_diff_commitment = Felt::ZERO;
    });
    let reason = Reason::NotSupplied("state_diff_commitment");
    assert_eq!(findings.outcome, Outcome::Unverifiable(reason));
    assert!(findings.checks.contains(&Check::EventCommitment));
    let findings = check_changed(&|block| {
        block.supplied.as_mut().unwrap().state_diff_commitment = Felt::ZERO;
        block.events.pop();
    });
    let Outcome::Mismatch(differences) = findings.outcome else { panic!("it is not whole") };
    let members: Vec<_> = differences.iter().map(|one| one.member.as_str()).collect();
    assert_eq!(members, ["event_count", "event_commitment"]);
    // Newer rules are no excuse for losing events that are counted.
    let findings = check_changed(&|block| {
        block.starknet_version = "0.16.0".into();
        block.events.pop();
    });
    assert!(matches!(findings.outcome, Outcome::Mismatch(_)));
}

/// A version that is none must not get around the hash.
#[test]
fn nothing_is_verified_without_its_hash() {
    let Some(folder) = shared() else { return };
    let whole = block(&folder, WHOLE[0]);
    let long = "0.14.00000000000000000000000000000000";
    let empty_list = "0x2272be0f580fd156823304800919530eaa97430e972d7213ee13f4fbf7a5dbc";
    for version in [long, "0.014.0", "0.14.0 ", "0.14.0.0.0", "00.14.0"] {
        let mut block = whole.clone();
        block.starknet_version = version.into();
        for hash in [whole.hash.0, Felt::from_hex_unchecked(empty_list), Felt::ZERO] {
            block.hash.0 = hash;
            let outcome = check(&block).outcome;
            assert!(matches!(outcome, Outcome::Unverifiable(_)), "{version:?}: {outcome:?}");
        }
    }
}

/// The order of transactions, which events are placed by, is covered by their commitment.
#[test]
fn transactions_out_of_order_are_noticed() {
    let Some(folder) = shared() else { return };
    for name in WHOLE {
        let whole = block(&folder, name);
        let count = whole.transactions.as_ref().unwrap().len();
        for place in 1..count.min(6) {
            let mut block = whole.clone();
            block.transactions.as_mut().unwrap().swap(place - 1, place);
            assert!(!is_whole(&block), "{name}: transactions {} and {place}", place - 1);
        }
    }
}

#[test]
fn a_revert_in_other_words_is_no_mismatch() {
    let Some(folder) = shared() else { return };
    let mut block = block(&folder, WHOLE[0]);
    let reverted = |transaction: &&mut SourceTransaction| {
        transaction.receipt.as_ref().is_some_and(|receipt| receipt.revert_reason.is_some())
    };
    let transaction = block.transactions.iter_mut().flatten().find(reverted).unwrap();
    transaction.receipt.as_mut().unwrap().revert_reason = Some("it failed".into());
    let findings = check(&block);
    assert_eq!(findings.outcome, Outcome::Verified);
    assert!(!findings.checks.contains(&Check::ReceiptCommitment));
}

/// Every header member that the hash covers.
#[test]
fn every_member_of_a_header_counts() {
    let Some(folder) = shared() else { return };
    let changes: [fn(&mut SourceBlock); 12] = [
        |block| block.number.0 += 1,
        |block| block.hash.0 += Felt::ONE,
        |block| block.parent_hash.0 += Felt::ONE,
        |block| block.new_root += Felt::ONE,
        |block| block.timestamp.0 += 1,
        |block| block.sequencer.0 += Felt::ONE,
        |block| block.starknet_version.push_str(".0"),
        |block| block.l1_gas.wei += 1,
        |block| block.l1_data_gas.fri += 1,
        |block| block.l2_gas.as_mut().unwrap().wei += 1,
        |block| block.supplied.as_mut().unwrap().state_diff_length += 1,
        |block| block.supplied.as_mut().unwrap().state_diff_commitment += Felt::ONE,
    ];
    let whole = block(&folder, WHOLE[0]);
    for (index, change) in changes.into_iter().enumerate() {
        let mut block = whole.clone();
        change(&mut block);
        assert!(matches!(check(&block).outcome, Outcome::Mismatch(_)), "change {index}");
    }
}

/// Changes of one event that a whole block must not survive.
fn spoilt(whole: &SourceBlock, place: usize) -> Vec<(&'static str, SourceBlock)> {
    let with = |change: &dyn Fn(&mut Vec<EventData>)| {
        let mut block = whole.clone();
        change(&mut block.events);
        if let Some(supplied) = &mut block.supplied {
            // Whoever drops an event may adapt the count.
            supplied.event_count = block.events.len() as u64;
        }
        block
    };
    let mut spoilt = vec![
        ("dropped", with(&|events| drop(events.remove(place)))),
        ("added", with(&|events| events.insert(place, events[place].clone()))),
        ("emitter", with(&|events| events[place].from_address.0 += Felt::ONE)),
        ("a datum more", with(&|events| events[place].data.push(Felt::ZERO))),
        ("a key more", with(&|events| events[place].keys.push(Felt::ZERO))),
    ];
    let event = &whole.events[place];
    if !event.data.is_empty() {
        spoilt.push(("datum", with(&|events| events[place].data[0] += Felt::ONE)));
        spoilt.push((
            "moved",
            with(&|events| {
                let datum = events[place].data.remove(0);
                events[place].keys.push(datum);
            }),
        ));
    }
    if !event.keys.is_empty() {
        spoilt.push(("key", with(&|events| events[place].keys[0] += Felt::ONE)));
    }
    let next = whole.events.get(place + 1);
    if next.is_some_and(|next| differ(event, next)) {
        spoilt.push(("reordered", with(&|events| events.swap(place, place + 1))));
    }
    spoilt
}

/// Whether two events differ in what every era's leaf covers.
fn differ(one: &EventData, other: &EventData) -> bool {
    id(one) != id(other)
}

/// A block of the older kind with what a change of one event leaves as it was: hashing all of its events
/// again takes a third of a second.
struct Older {
    computed: ComputedCommitments,
    leaves: HashMap<EventId, Felt>,
    nodes: HashMap<[Felt; 2], Felt>,
}

/// All of an event that a leaf of the older kind covers.
type EventId = (Felt, Vec<Felt>, Vec<Felt>);

fn id(event: &EventData) -> EventId {
    (event.from_address.0, event.keys.clone(), event.data.clone())
}

impl Older {
    fn new(whole: &SourceBlock, computed: ComputedCommitments, leaves: &[Felt]) -> Self {
        let mut nodes = HashMap::new();
        let root = pedersen::root_with(leaves, |pair| {
            *nodes.entry(*pair).or_insert_with(|| pedersen_hash(&pair[0], &pair[1]))
        });
        assert_eq!(root, computed.event_commitment);
        let leaves = whole.events.iter().map(id).zip(leaves.iter().copied()).collect();
        Self { computed, leaves, nodes }
    }

    fn is_whole(&self, changed: &SourceBlock) -> bool {
        let leaf = |event: &EventData| match self.leaves.get(&id(event)) {
            Some(leaf) => *leaf,
            None => pedersen::event_leaf(&fields(event)),
        };
        let leaves: Vec<Felt> = changed.events.iter().map(leaf).collect();
        let event_commitment = pedersen::root_with(&leaves, |pair| match self.nodes.get(pair) {
            Some(hash) => *hash,
            None => pedersen_hash(&pair[0], &pair[1]),
        });
        let event_count = leaves.len() as u64;
        let computed = ComputedCommitments { event_count, event_commitment, ..self.computed };
        pedersen::form_of(&pedersen::header(changed, &computed), changed.hash.0).is_some()
    }
}

/// Set, it tries every change on every event of the older blocks too, which takes minutes; else each of
/// their events gets one of them, in rotation.
const ALL_CHANGES: &str = "OBSQRA_ALL_CHANGES";

#[test]
fn no_change_of_any_event_goes_unnoticed() {
    let Some(folder) = shared() else { return };
    let all = std::env::var_os(ALL_CHANGES).is_some();
    let mut tried = 0;
    for name in WHOLE {
        let whole = block(&folder, name);
        let findings = check(&whole);
        let older = findings.computed.map(|older| Older::new(&whole, older, &findings.leaves));
        tried += (0..whole.events.len())
            .into_par_iter()
            .map(|place| {
                let mut changes = spoilt(&whole, place);
                if older.is_some() && !all {
                    changes = vec![changes.swap_remove(place % changes.len())];
                }
                for (what, changed) in &changes {
                    let unnoticed = match &older {
                        Some(older) => older.is_whole(changed),
                        None => is_whole(changed),
                    };
                    assert!(!unnoticed, "{name}: event {place} {what}");
                }
                changes.len()
            })
            .sum::<usize>();
        if let Some(older) = &older {
            assert!(older.is_whole(&whole), "{name}");
        }
    }
    println!("{tried} changes tried");
}
