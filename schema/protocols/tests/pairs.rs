//! Pairs of constant product: every decoder of such pairs gives the same figures for the same events.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_events::EventData;
use obsqra_protocols::{Decoder, MetricFold, Role};
use obsqra_types::{EventIndex, Seq};
use support::roles::{every_role, of_role, raw_event};
use support::{Chain, row};

const WHOLE_ETH: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800;
const DAY: u64 = 86_400;

#[test]
fn nostras_pairs_are_read_as_those_of_jediswap_v1() {
    let rows = |decoder: Decoder| {
        let pair = of_role(decoder, Role::Pair);
        let mut fold = MetricFold::new(every_role(), Seq(1));
        let mut chain = Chain::default();
        let events = [
            raw_event(&pair, "Sync", &[], &[2_000_000_000, 0, WHOLE_ETH, 0]),
            raw_event(&pair, "Swap", &[], &[0x77, 1_000_000, 0, 0, 0, 0, 0, 5, 0, 0x78]),
        ];
        let indexed = events
            .into_iter()
            .zip(0..)
            .map(|(event, index)| EventData { index: EventIndex(index), ..event });
        fold.apply(&chain.block_of(T0, indexed.collect()).input()).unwrap();
        fold.apply(&chain.block(T0 + DAY, &[]).input()).unwrap();
        fold.markets().map(|market| row(&market)).collect::<Vec<String>>()
    };
    let rows_of_jediswap = rows(Decoder::JediSwapV1);
    assert_eq!(rows(Decoder::NostraPools), rows_of_jediswap);
    assert!(
        rows_of_jediswap[0].starts_with("2000000000000000000000 4000000000 "),
        "{rows_of_jediswap:?}"
    );
}

#[test]
fn reserves_that_follow_their_swaps_break_no_rule() {
    for (decoder, mint, burn) in
        [(Decoder::JediSwapV1, "Mint", "Burn"), (Decoder::NostraPools, "PairMint", "PairBurn")]
    {
        let pair = of_role(decoder, Role::Pair);
        let mut fold = MetricFold::new(every_role(), Seq(1));
        let mut chain = Chain::default();
        let blocks = [
            vec![raw_event(&pair, "Sync", &[], &[2_000, 0, 1_000, 0])],
            vec![
                raw_event(&pair, "Sync", &[], &[2_010, 0, 996, 0]),
                raw_event(&pair, "Swap", &[], &[0x77, 10, 0, 0, 0, 0, 0, 4, 0, 0x78]),
            ],
            vec![
                raw_event(&pair, "Sync", &[], &[4_020, 0, 1_992, 0]),
                raw_event(&pair, mint, &[], &[0x77, 2_010, 0, 996, 0]),
            ],
            vec![
                raw_event(&pair, "Sync", &[], &[2_010, 0, 996, 0]),
                raw_event(&pair, burn, &[], &[0x77, 2_010, 0, 996, 0, 0x78]),
            ],
        ];
        for (events, time) in blocks.into_iter().zip(T0..) {
            let indexed = events
                .into_iter()
                .zip(0..)
                .map(|(event, index)| EventData { index: EventIndex(index), ..event });
            let output = fold.apply(&chain.block_of(time, indexed.collect()).input()).unwrap();
            assert!(output.violations.is_empty(), "{decoder:?}: {:?}", output.violations);
        }
        let short = raw_event(&pair, "Sync", &[], &[2_009, 0, 996, 0]);
        let output = fold.apply(&chain.block_of(T0 + 4, vec![short]).input()).unwrap();
        assert_eq!(output.violations.len(), 1, "{decoder:?}");
    }
}
