//! Known answers, most of them from real blocks.

use proptest::prelude::*;
use starknet_crypto::pedersen_hash;

use super::*;

fn felt(hex: &str) -> Felt {
    Felt::from_hex(hex).expect("a felt")
}

fn felts(range: std::ops::RangeInclusive<u64>) -> Vec<Felt> {
    range.map(Felt::from).collect()
}

#[test]
fn hashes_of_two_and_of_lists() {
    let (one, two) = (Felt::ONE, Felt::TWO);
    assert_eq!(
        crate::poseidon::hash_pair(one, two),
        felt("0x5d44a3decb2b2e0cc71071f7b802f45dd792d064f0fc7316c46514f70f9891a")
    );
    assert_eq!(
        hash_many(&[one, two]),
        felt("0x371cb6995ea5e7effcd2e174de264b5b407027a75a231a70c2c8d196107f0e7")
    );
    assert_eq!(
        hash_many(&[]),
        felt("0x2272be0f580fd156823304800919530eaa97430e972d7213ee13f4fbf7a5dbc")
    );
    assert_eq!(
        ascii_felt("STARKNET_BLOCK_HASH1"),
        Some(felt("0x535441524b4e45545f424c4f434b5f4841534831"))
    );
    assert_eq!(ascii_felt("an ASCII text of 32 bytes or more"), None);
}

#[test]
fn roots_of_small_trees() {
    let cases = [
        (0, "0x0"),
        (1, "0x7752582c54a42fe0fa35c40f07293bb7d8efe90e21d8d2c06a7db52d7d9b7e1"),
        (2, "0x1c1ba983ee0a0de87d87d67ea3cbee7023aa65f6b7bcf71259f122ea3af80bf"),
        (3, "0x3b5cc7f1292eb3847c3f902d048a7e5dc7702d1c191ccd17c2d33f797e6fc32"),
        (5, "0x21b97c154c2185cb3b008f70054c64f254616f67e03dc39a3157bf27df3e12c"),
    ];
    for (leaves, root) in cases {
        assert_eq!(poseidon_root(&felts(1..=leaves)), felt(root), "{leaves} leaves");
    }
}

#[test]
fn the_tree_takes_another_hash() {
    let leaf = Felt::from(7_u8);
    let root = pedersen::root(&[leaf]);
    assert_eq!(root, pedersen_hash(&leaf, &Felt::ZERO) + Felt::from(64_u8));
}

#[test]
fn event_leaf_and_commitment() {
    let (keys, data) = (felts(1..=4), felts(5..=9));
    let event = EventFields {
        from_address: felt("0xdeadbeef"),
        transaction_hash: felt("0x1234"),
        keys: &keys,
        data: &data,
    };
    assert_eq!(
        event_leaf(&event),
        felt("0x2da3a267cc23ea7ce28c8e01aaa4d99c86a3b25b1b0a6b80ab4abf73e5f7e51")
    );
    let leaves = [
        felt("0x256bd8394940f120cadfbf147407467ca11fbbc24f5f8bba72034a4607ce76a"),
        felt("0xf0f3a3345b0468a98c6aa047b4c36faedf475dc4e09b08fc41edd6639a873c"),
        felt("0xcfa77213bc6bcd2f851b6f581f24a8b13aeedc933a1c2c15334ded07360378"),
    ];
    let root = felt("0x5dc7b3f65c7aa495a86c18f60c9edce67fb8283076c0272a1219d85985c0ba7");
    assert_eq!(poseidon_root(&leaves), root);
    assert_ne!(poseidon_root(&leaves[..2]), root);
    assert_eq!(event_commitment(&[]), Felt::ZERO);
}

#[test]
fn an_unsigned_transaction_differs_by_era() {
    let hash = felt("0x1234");
    assert_eq!(
        transaction_commitment(Era::GasPricesListed, &[(hash, &[])]),
        poseidon_root(&[hash_many(&[hash, Felt::ZERO])])
    );
    assert_eq!(
        transaction_commitment(Era::GasPricesHashed, &[(hash, &[])]),
        poseidon_root(&[hash_many(&[hash])])
    );
}

/// The header of Sepolia block 3100000, a real block of version 0.14.1.
fn sepolia_3100000() -> HeaderFields<'static> {
    HeaderFields {
        block_number: 3_100_000,
        state_root: felt("0x1fa4b70953c305f21fca73a06d87287612fe65dd4e5990e52843202f7edba86"),
        sequencer_address: felt(
            "0x1176a1bd84444c89232ec27754698e5d2e7e1a7f1539f12027f28b23ec9f3d8",
        ),
        timestamp: 1_763_887_048,
        transaction_count: 3,
        event_count: 3,
        state_diff_length: 5,
        l1_da_mode: DataAvailability::Blob,
        state_diff_commitment: felt(
            "0x8dd9765ffec2e9133dca513bb2bf0f9e995470cff144b54cb342afb94ed90",
        ),
        transaction_commitment: felt(
            "0x68bb56c1d0ffe9e271d0e342070a14900ef1b58eca0d8db4cd942c48c32211b",
        ),
        event_commitment: felt("0x5dc7b3f65c7aa495a86c18f60c9edce67fb8283076c0272a1219d85985c0ba7"),
        receipt_commitment: felt(
            "0x6453aacffaa3ba6fd25faa9379e3dd8862f89a7b571acde90ab90689aa418b9",
        ),
        l1_gas_price: GasPrice { wei: 0x3b9a_ca09, fri: 0x1416_432d_fc4d },
        l1_data_gas_price: GasPrice { wei: 0x1, fri: 0x5645 },
        l2_gas_price: GasPrice { wei: 0x21299, fri: 0xb2d0_5e00 },
        starknet_version: "0.14.1",
        parent_hash: felt("0x689d583286182cd8e58e850ec0804e05f395dccae8edf627de787ff3f211aaa"),
    }
}

#[test]
fn hash_of_a_real_header() {
    let header = sepolia_3100000();
    let gas = gas_prices_hash(&header);
    assert_eq!(gas, felt("0x5f1249089326b146c145f48929c150085da384fa5c8813926e122de1a5eddb9"));
    assert_eq!(packed_counts(&header), felt("0x3000000000000000300000000000000058000000000000000"));
    let hash = felt("0x1640b846e71502526539c32c8420cd7cb0f28d83ece2e6e71aeaf7c97960bb2");
    assert_eq!(block_hash(&header), Some(hash));
    for changed in [
        HeaderFields { event_count: 4, ..header },
        HeaderFields { starknet_version: "0.14.1.0", ..header },
        HeaderFields { starknet_version: "0.13.3", ..header },
        HeaderFields { l1_da_mode: DataAvailability::Calldata, ..header },
    ] {
        assert_ne!(block_hash(&changed), Some(hash));
    }
    assert_eq!(block_hash(&HeaderFields { starknet_version: "0.13.1.1", ..header }), None);
}

#[test]
fn versions_compare_by_number() {
    let version = |text| Version::parse(text).expect("a version");
    assert!(version("0.13.10") > version("0.13.2"));
    assert_eq!(version("0.13.1.1").era(), None);
    assert_eq!(version("0.13.2").era(), Some(Era::GasPricesListed));
    assert_eq!(version("0.13.2.1").era(), Some(Era::GasPricesListed));
    assert_eq!(version("0.13.4").era(), Some(Era::GasPricesHashed));
    assert_eq!(version("0.14.1").era(), Some(Era::GasPricesHashed));
    for bad in ["", "0.13", "0.13.x", "0.13.2.1.1", "+0.13.2"] {
        assert_eq!(Version::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_revert_reason_changes_the_receipt() {
    let succeeded = ReceiptFields {
        transaction_hash: Felt::ONE,
        actual_fee: 2,
        messages: &[],
        revert_reason: None,
        l1_gas: 0,
        l1_data_gas: 128,
    };
    let reverted = ReceiptFields { revert_reason: Some("out of gas"), ..succeeded };
    assert_ne!(receipt_commitment(&[succeeded]), receipt_commitment(&[reverted]));
    assert!(revert_hash("out of gas").bits() <= 250);
}

/// The tree as `commitments.md` has it, one level after the other, hashed one by one.
fn naive_root(leaves: &[Felt], permutations: &mut usize) -> Felt {
    let mut hash = |left: Felt, right: Felt| {
        *permutations += 1;
        starknet_crypto::poseidon_hash(left, right)
    };
    let finish = |(node, run): (Felt, u64), hash: &mut dyn FnMut(Felt, Felt) -> Felt| {
        if run == 0 { node } else { hash(node, Felt::ZERO) + Felt::from(run) }
    };
    let mut nodes: Vec<(Felt, u64)> = leaves.iter().map(|&leaf| (leaf, 0)).collect();
    for _ in 0..64 {
        nodes = nodes
            .chunks(2)
            .map(|pair| match *pair {
                [left, right] => {
                    let (left, right) = (finish(left, &mut hash), finish(right, &mut hash));
                    (hash(left, right), 0)
                }
                _ => (pair[0].0, pair[0].1 + 1),
            })
            .collect();
    }
    nodes.first().map_or(Felt::ZERO, |&root| finish(root, &mut hash))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn many_trees_at_once_are_the_trees_one_by_one(
        sizes in proptest::collection::vec(0usize..40, 1..8),
    ) {
        let trees: Vec<Vec<Felt>> = sizes
            .iter()
            .enumerate()
            .map(|(tree, &size)| (0..size).map(|leaf| Felt::from(tree * 1_000 + leaf)).collect())
            .collect();
        let roots = poseidon_roots(trees.clone());
        for (leaves, root) in trees.iter().zip(roots) {
            let mut permutations = 0;
            prop_assert_eq!(root, naive_root(leaves, &mut permutations));
            prop_assert_eq!(permutations, permutations_of_root(leaves.len()));
        }
    }

    #[test]
    fn parts_of_lists_hash_as_the_whole(sizes in proptest::collection::vec(0usize..9, 0..12)) {
        let mut lists = Lists::default();
        for &size in &sizes {
            let keys = vec![Felt::TWO; size];
            lists.push_event(&EventFields {
                from_address: Felt::ONE,
                transaction_hash: Felt::THREE,
                keys: &keys,
                data: &[],
            });
        }
        let whole = lists.hashes();
        let middle = sizes.len() / 2;
        let parts = [lists.hashes_of(0..middle), lists.hashes_of(middle..sizes.len())].concat();
        prop_assert_eq!(whole, parts);
        let expected: usize = sizes.iter().map(|size| (4 + size) / 2 + 1).sum();
        prop_assert_eq!(lists.permutations(), expected);
    }
}
