//! What is looked at after a block's events and before its figures: whether they contradict each other,
//! and whether something calls for attention.
//!
//! The scratch of a block is kept beside the state, never in it, so that the state after a block is the
//! same whether or not anything was found.

use std::collections::BTreeMap;
use std::sync::Arc;

use obsqra_types::Seq;

use super::absence::Absence;
use super::anomalies::{self, Anomaly, Signals, Watched};
use super::conservation::{self, PairFlows, Violation};
use super::due::Due;
use super::growth::FlashSurplus;
use super::market::{Body, Market};
use crate::WatchedContract;
use crate::decoders::{Change, MarketRef};

/// What a block's events tell beside the state that they leave.
#[derive(Default)]
pub(crate) struct BlockNotes {
    /// By market: its last event, or the block's entry where the clock alone moved.
    last_events: BTreeMap<usize, Seq>,
    /// By reserve: its last statement, of accumulators or of all.
    stated: BTreeMap<usize, Seq>,
    /// By reserve: the first flash loan that brought more than was owed.
    surpluses: BTreeMap<usize, (Seq, FlashSurplus)>,
    /// By constant-product pool.
    flows: BTreeMap<usize, PairFlows>,
    /// What contracts say of themselves.
    contracts: Vec<Anomaly>,
}

/// What a block showed.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<Violation>,
    pub(crate) anomalies: Vec<Anomaly>,
    /// By market: its last event, or the block's entry where the clock alone moved.
    pub(crate) last_events: BTreeMap<usize, Seq>,
}

impl BlockNotes {
    /// An event of that name came from a watched contract.
    pub(crate) fn event(&mut self, contract: &WatchedContract, name: &str, seq: Seq) {
        self.contracts.extend(anomalies::of_contract(contract, name, seq));
    }

    /// A market is about to change.
    pub(crate) fn before(&mut self, place: usize, market: &Market, change: &Change, seq: Seq) {
        self.last_events.insert(place, seq);
        if let (Body::Pool(pool), MarketRef::Pair(..)) = (&market.body, market.identity.reference) {
            self.flows.entry(place).or_insert_with(|| PairFlows::of(pool)).note(change);
        }
    }

    /// The clock alone may have changed what lasts of a market.
    pub(crate) fn clock(&mut self, place: usize, applied_seq: Seq) {
        self.last_events.entry(place).or_insert(applied_seq);
    }

    /// A market has changed.
    pub(crate) fn after(&mut self, place: usize, market: &Market, change: &Change, at: (Seq, u64)) {
        let (seq, now) = at;
        match (change, &market.body) {
            (Change::Accumulators { .. } | Change::Stated(_), _) => {
                self.stated.insert(place, seq);
            }
            (Change::FlashLoaned { .. }, Body::Reserve(reserve)) => {
                if let Some(surplus) = reserve.flash_surplus(now) {
                    self.surpluses.entry(place).or_insert((seq, surplus));
                }
            }
            _ => {}
        }
    }

    /// Checks and reviews every market that the block touched.
    pub(crate) fn review(
        self,
        markets: &mut [Arc<Market>],
        history: &Absence,
        now: u64,
    ) -> Findings {
        let mut findings = Findings { anomalies: self.contracts, ..Findings::default() };
        for (place, cause) in &self.last_events {
            let Some(market) = markets.get_mut(*place).map(Arc::make_mut) else {
                continue;
            };
            if let (Body::Stated(reserve), true) =
                (&mut market.body, self.stated.contains_key(place))
            {
                reserve.compare_holdings();
            }
            let flows = self.flows.get(place);
            findings.violations.extend(conservation::check(market, flows, history));
            let identity = Arc::clone(&market.identity);
            if let Some((watched, signals)) = watched(market) {
                let found = anomalies::review(&identity, &watched, signals, now, *cause);
                findings.anomalies.extend(found);
            }
            let Body::Reserve(reserve) = &market.body else {
                continue;
            };
            let jump = reserve.jump().zip(self.stated.get(place));
            let jump = jump.map(|(jump, seq)| anomalies::jumped(&identity, &jump, *seq));
            let surplus = self.surpluses.get(place);
            let surplus = surplus.map(|(seq, found)| anomalies::surplus(&identity, found, *seq));
            findings.anomalies.extend(jump.into_iter().chain(surplus));
        }
        Findings { last_events: self.last_events, ..findings }
    }
}

/// What is looked at of a reserve, and what was found of it before.
fn watched(market: &mut Market) -> Option<(Watched, &mut Signals)> {
    match &mut market.body {
        Body::Reserve(reserve) => Some((reserve.watched(), &mut reserve.signals)),
        Body::Stated(reserve) => Some((reserve.watched(), &mut reserve.signals)),
        Body::Pool(_) | Body::Unlisted => None,
    }
}

/// Reserves whose utilization is high and is to be told once it has lasted.
#[derive(Clone, Debug, Default)]
pub(crate) struct DueSignals(Due);

impl DueSignals {
    /// Takes up a market whose signals may have changed.
    pub(crate) fn note(&mut self, place: usize, market: &Market) {
        let signals = match &market.body {
            Body::Reserve(reserve) => &reserve.signals,
            Body::Stated(reserve) => &reserve.signals,
            Body::Pool(_) | Body::Unlisted => return,
        };
        self.0.note(signals.high_due(), place);
    }

    /// Tells what has lasted long enough at `now`. What ended in between is dropped.
    pub(crate) fn tell(
        &mut self,
        markets: &mut [Arc<Market>],
        now: u64,
        cause: Seq,
    ) -> Vec<Anomaly> {
        let mut told = Vec::new();
        while let Some(place) = self.0.take(now) {
            let Some(market) = markets.get_mut(place).map(Arc::make_mut) else {
                continue;
            };
            let identity = Arc::clone(&market.identity);
            if let Some((watched, signals)) = watched(market) {
                let high = anomalies::high_utilization(&identity, &watched, signals, now, cause);
                told.extend(high);
            }
        }
        told
    }
}
