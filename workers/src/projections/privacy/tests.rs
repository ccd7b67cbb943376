//! Which transfers count for which pool and decade, and that what is added later counts as if it had been
//! there from the start.

use std::sync::Arc;

use obsqra_protocols::{
    Contracts, Decoder, Registry, Role, Transfer, WatchedContract, mainnet_registry,
};
use obsqra_store::projection::privacy_pool::PrivacyPoolRow;
use obsqra_store::projection::state::StateHashes;
use obsqra_types::{ChainId, ContractAddress, Felt, ProtocolId, Seq, U256, U512};
use proptest::prelude::*;

use super::super::history::History;
use super::{OPEN, PoolChanges, bucket};

const CHAMBERS: [u64; 2] = [0xc1, 0xc2];
const TOKEN: u64 = 0x70;
const WALLET: u64 = 0xa1;

fn address(number: u64) -> ContractAddress {
    ContractAddress(Felt::from(number))
}

/// The mainnet registry with two chambers of the test's own.
fn contracts() -> Contracts {
    let registry = Registry::parse(mainnet_registry()).unwrap();
    let chamber = |number| WatchedContract {
        address: address(number),
        protocol: ProtocolId::new("mist_cash").unwrap(),
        decoder: Decoder::MistCash,
        role: Role::Chamber,
        pair: None,
        asset: None,
    };
    Contracts::with_children(Arc::new(registry), CHAMBERS.map(chamber))
}

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

#[derive(Clone, Copy, Debug)]
struct Moved {
    height: i64,
    from: u64,
    to: u64,
    amount: u64,
}

fn changes(moved: &[Moved]) -> PoolChanges {
    let contracts = contracts();
    let mut changes = PoolChanges::default();
    for Moved { height, from, to, amount } in moved {
        let transfer = Transfer {
            token: address(TOKEN),
            from: address(*from),
            to: address(*to),
            amount: U256::from(*amount),
        };
        changes.note((&chain(), *height), &contracts, &transfer, |_| true);
    }
    changes
}

/// The read model with its table.
#[derive(Default)]
struct Model {
    history: History<PrivacyPoolRow>,
    table: Vec<PrivacyPoolRow>,
    seq: i64,
}

impl Model {
    fn write(&mut self) {
        let (closes, inserts) = self.history.take();
        for (row, seq) in closes {
            let standing = self.table.iter_mut().find(|other| **other == row).unwrap();
            standing.ranges.to_seq = seq;
        }
        self.table.extend(inserts);
    }

    fn next(&mut self) -> Seq {
        self.seq += 1;
        Seq(u64::try_from(self.seq).unwrap())
    }

    /// A block with transfers, as the projector takes it.
    fn block(&mut self, moved: &[Moved]) {
        let seq = self.next();
        for (key, change) in changes(moved).into_pools() {
            let standing: Vec<_> = self.history.standing(&key).cloned().into_iter().collect();
            self.history.put(change.rows(&key, &standing, seq).unwrap().pop().unwrap());
        }
        self.write();
    }

    /// Transfers of blocks that were there before, known only now.
    fn add(&mut self, moved: &[Moved]) {
        let seq = self.next();
        for (key, change) in changes(moved).into_pools() {
            let holds = |row: &&PrivacyPoolRow| {
                let ranges = row.ranges;
                (&row.chamber, &row.token, row.bucket) == (&key.1, &key.2, key.3)
                    && ranges.to_seq == OPEN
                    && ranges.to_block > change.lowest()
            };
            let mut standing: Vec<_> = self.table.iter().filter(holds).cloned().collect();
            standing.sort_by_key(|row| row.ranges.from_block);
            let rows = change.rows(&key, &standing, seq).unwrap();
            self.history.rewrite(standing, rows, self.seq);
        }
        self.write();
    }

    fn hashes(&self) -> StateHashes {
        self.history.hashes()
    }

    fn now(&self) -> Vec<&PrivacyPoolRow> {
        let open = |row: &&PrivacyPoolRow| (row.ranges.to_seq, row.ranges.to_block) == (OPEN, OPEN);
        self.table.iter().filter(open).collect()
    }
}

#[test]
fn a_decade_holds_the_amounts_with_as_many_digits() {
    for (amount, expected) in [
        (U256::ZERO, None),
        (U256::from(1u8), Some(0)),
        (U256::from(9u8), Some(0)),
        (U256::from(10u8), Some(1)),
        (U256::from(99u8), Some(1)),
        (U256::from(100u8), Some(2)),
        (U256::MAX, Some(77)),
    ] {
        assert_eq!(bucket(amount), expected, "{amount}");
    }
}

#[test]
fn only_what_moves_to_or_from_a_chamber_counts() {
    let [one, other] = CHAMBERS;
    let mut model = Model::default();
    let at = |from, to, amount| Moved { height: 1, from, to, amount };
    model.block(&[
        at(WALLET, one, 50),
        at(WALLET, one, 70),
        at(one, WALLET, 20),
        at(one, other, 30),
        at(one, one, 40),
        at(WALLET, 0xa2, 60),
        at(WALLET, one, 0),
    ]);
    let counted: Vec<_> = model
        .now()
        .iter()
        .map(|row| (row.bucket, row.deposits, row.withdrawals, row.deposited, row.withdrawn))
        .collect();
    let sum = |number: u64| U512::from(number);
    assert_eq!(counted, [(1, 2, 2, sum(120), sum(50)), (1, 1, 0, sum(30), sum(0))]);
    assert_eq!(model.now().iter().map(|row| row.anonymity_set()).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn more_withdrawals_than_deposits_leave_nobody_to_hide_among() {
    let mut model = Model::default();
    model.block(&[Moved { height: 5, from: CHAMBERS[0], to: WALLET, amount: 7 }]);
    let row = model.now()[0];
    assert_eq!((row.deposits, row.withdrawals, row.anonymity_set()), (0, 1, 0));
}

fn moved() -> impl Strategy<Value = (Moved, bool)> {
    let account = prop_oneof![Just(WALLET), Just(CHAMBERS[0]), Just(CHAMBERS[1])];
    (1i64..8, account.clone(), account, 0u64..120, any::<bool>())
        .prop_map(|(height, from, to, amount, late)| (Moved { height, from, to, amount }, late))
}

proptest! {
    #[test]
    fn what_is_added_later_counts_from_its_block(all in prop::collection::vec(moved(), 0..24)) {
        let (mut whole, mut parts) = (Model::default(), Model::default());
        for height in 1..8 {
            let of = |late: fn(bool) -> bool| -> Vec<Moved> {
                let here = all.iter().filter(|(moved, is_late)| moved.height == height && late(*is_late));
                here.map(|(moved, _)| *moved).collect()
            };
            whole.block(&of(|_| true));
            parts.block(&of(|late| !late));
        }
        let late: Vec<Moved> = all.iter().filter(|(_, late)| *late).map(|(moved, _)| *moved).collect();
        parts.add(&late);
        prop_assert_eq!(whole.hashes().canonical, parts.hashes().canonical);
        // And the table is what the hashes say.
        let standing = |model: &Model| {
            let mut rows: Vec<_> = model.table.iter().filter(|row| row.ranges.to_seq == OPEN).collect();
            rows.sort_by_key(|row| (&row.chamber, row.bucket, row.ranges.from_block));
            let sums = |row: &&PrivacyPoolRow| (row.ranges.from_block, row.ranges.to_block, row.deposited, row.withdrawn);
            rows.iter().map(sums).collect::<Vec<_>>()
        };
        prop_assert_eq!(standing(&whole), standing(&parts));
    }
}
