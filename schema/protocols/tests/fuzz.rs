//! Decoding of arbitrary felts: never a panic, and what decodes has a meaning that holds.
//!
//! Inputs are seeded, so that a failure comes again. `OBSQRA_FUZZ_INPUTS` sets how many each decoder gets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{
    ActivityKind, Contracts, Decoder, Layout, MetricFold, Registry, decode, layouts,
};
use obsqra_types::{ContractAddress, EventIndex, Felt, Seq, TransactionHash};
use support::roles::every_role;
use support::{Chain, all_layouts};

const INPUTS: u64 = 10_000;
const EVENTS_A_BLOCK: u64 = 50;
/// Folds begin anew, so that their markets do not pile up.
const BLOCKS_A_FOLD: u64 = 20;

/// SplitMix64: the next number follows from the one before alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let end = u64::try_from(choices.len()).unwrap();
        &choices[usize::try_from(self.below(end)).unwrap()]
    }

    /// A felt beside the end of some integer, at the end of the field, or anywhere.
    fn felt(&mut self) -> Felt {
        match self.below(4) {
            0 => {
                let end = Felt::TWO.pow(*self.of(&[31u32, 32, 63, 64, 127, 128, 250, 251]));
                end + Felt::from(self.below(3)) - Felt::ONE
            }
            1 => Felt::ZERO - Felt::from(self.below(3)),
            2 => Felt::from(self.next()),
            _ => {
                let words = [self.next(), self.next(), self.next(), self.next()];
                Felt::from_bytes_be_slice(&words.map(u64::to_be_bytes).concat())
            }
        }
    }

    /// Mostly felts that fit any member; the signs and flags among them are 0 or 1.
    fn tame_felt(&mut self) -> Felt {
        if self.one_in(200) { self.felt() } else { Felt::from(self.below(2)) }
    }
}

struct Fuzz {
    random: Random,
    registry: Arc<Registry>,
    contracts: Contracts,
    every_layout: Vec<&'static Layout>,
}

impl Fuzz {
    fn new(seed: u64) -> Self {
        let registry = every_role();
        let contracts = Contracts::new(Arc::clone(&registry));
        Self { random: Random(seed), registry, contracts, every_layout: all_layouts().collect() }
    }

    /// Mostly an event in a layout of the decoder, from one of its contracts.
    fn event(&mut self, own: &[&'static Layout], emitters: &[ContractAddress]) -> EventData {
        let any = self.random.one_in(20);
        let layout = *self.random.of(if any { &self.every_layout } else { own });
        let (mut keys, mut data) = (layout.keys_len, layout.data_len);
        if self.random.one_in(20) {
            keys = usize::try_from(self.random.below(8)).unwrap();
        }
        if self.random.one_in(20) {
            data = usize::try_from(self.random.below(60)).unwrap();
        }
        let tame = !self.random.one_in(4);
        let mut felt = || if tame { self.random.tame_felt() } else { self.random.felt() };
        let mut keys: Vec<Felt> = (0..keys).map(|_| felt()).collect();
        let data = (0..data).map(|_| felt()).collect();
        if let Some(selector) = keys.first_mut() {
            *selector = layout.selector;
        }
        EventData {
            index: EventIndex(0),
            transaction_index: 0,
            transaction_hash: TransactionHash(Felt::ZERO),
            from_address: *self.random.of(emitters),
            keys,
            data,
        }
    }

    /// Whether it decodes; checks what holds for every event that does.
    fn check(&mut self, event: &EventData) -> bool {
        let Some(emitter) = self.contracts.get(&event.from_address).cloned() else {
            panic!("the emitter is registered");
        };
        let decoded = decode(&self.contracts, event).unwrap();
        assert_eq!(decoded.name.is_some(), decoded.event.is_some());
        let Some(event) = decoded.event else {
            return false;
        };
        assert!(event.to_json().is_object());
        for activity in event.activities(&emitter) {
            let swapped = activity.kind == ActivityKind::Swap;
            assert!(!activity.amount.is_zero() || activity.kind == ActivityKind::Liquidation);
            assert_eq!(activity.counter_token.is_some(), activity.counter_amount.is_some());
            assert!(!swapped || activity.counter_token.is_some());
        }
        assert!(event.transfer(&emitter).is_none_or(|transfer| transfer.token == emitter.address));
        if let Some(child) = event.child(&emitter) {
            assert_ne!(child.address, ContractAddress(Felt::ZERO));
            assert!(child.decoder.roles().contains(&child.role));
        }
        self.contracts.learn(&emitter, &event);
        true
    }

    /// The share of inputs that decode, in percent.
    fn run(&mut self, decoder: Decoder, inputs: u64) -> u64 {
        let own: Vec<_> = layouts(decoder).collect();
        let emitters: Vec<_> = self
            .registry
            .watched()
            .filter(|address| self.registry.contract(address).unwrap().decoder == decoder)
            .collect();
        let mut decoded = 0;
        let mut chain = Chain::default();
        let mut fold = MetricFold::new(Arc::clone(&self.registry), Seq(1));
        for block in 0..inputs.div_ceil(EVENTS_A_BLOCK) {
            if block % BLOCKS_A_FOLD == 0 {
                fold = MetricFold::new(Arc::clone(&self.registry), Seq(1));
                self.contracts = Contracts::new(Arc::clone(&self.registry));
            }
            let mut events: Vec<EventData> = Vec::new();
            for (_, index) in (0..EVENTS_A_BLOCK).zip(0..) {
                let event = EventData { index: EventIndex(index), ..self.event(&own, &emitters) };
                decoded += u64::from(self.check(&event));
                events.push(event);
            }
            let block = chain.block_of(100_000_000 + block * 600, events);
            fold.apply(&block.input()).unwrap();
        }
        decoded * 100 / inputs
    }
}

#[test]
fn arbitrary_events_never_panic() {
    let inputs = std::env::var("OBSQRA_FUZZ_INPUTS")
        .map_or(INPUTS, |text| text.parse().unwrap_or_else(|_| panic!("{text} is no number")));
    for (decoder, seed) in Decoder::ALL.iter().copied().zip(1..) {
        let share = Fuzz::new(seed).run(decoder, inputs);
        println!("{}: {share} % of {inputs} inputs decode", decoder.name());
        assert!(share > 5, "{}: {share} %", decoder.name());
    }
}
