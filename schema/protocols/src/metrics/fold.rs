//! The fold itself: blocks in, changed figures out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_types::{BlockNumber, ContractAddress, Felt, Hash32, ProtocolId, Seq, UnixSeconds};

use super::absence::{Absence, Reason};
use super::audit;
use super::block::{BlockInput, BlockOutput, FoldError, FoldTip, Span};
use super::causes::{CauseSources, EventTally, causes};
use super::due::Due;
use super::figures::{Figures, Surroundings};
use super::gaps::PriceGaps;
use super::inputs::{CountedMarket, Inputs, InputsAt, MarketSums};
use super::market::{Body, Identity, Market, MarketIndex};
use super::oracle::{OracleKey, OraclePrices};
use super::quotes::{Markets, Quotes};
use super::review::{BlockNotes, DueSignals, Findings};
use super::row::MarketMetrics;
use super::trades::DAY;
use crate::decoders::{Change, MarketChange, MarketRef, decode_from};
use crate::{Contracts, ProtocolEntry, Registry, Role, WatchedContract};

/// The state of all markets after a block.
#[derive(Clone, Debug)]
pub struct MetricFold {
    pub(crate) contracts: Contracts,
    pub(crate) registry_seq: Seq,
    pub(crate) span: Option<Span>,
    pub(crate) tallies: BTreeMap<ProtocolId, EventTally>,
    pub(crate) markets: Vec<Arc<Market>>,
    pub(super) index: Arc<MarketIndex>,
    /// Markets by the instant at which something leaves their 24 hours.
    windows: Due,
    due: DueSignals,
    pub(crate) gaps: PriceGaps,
    /// Pools of reserves that begin in the log, by the contract that holds them.
    pub(crate) opened_pools: Arc<BTreeSet<(ContractAddress, Felt)>>,
    pub(crate) quotes: Quotes,
    pub(super) oracle_prices: OraclePrices,
    figures: Vec<Option<Arc<Figures>>>,
    inputs: BTreeMap<ProtocolId, Inputs>,
}

/// What a block did to the markets' state.
#[derive(Default)]
struct Touched {
    markets: BTreeSet<usize>,
    /// Tokens whose price or volatility may have changed with a pool.
    tokens: BTreeSet<ContractAddress>,
    notes: BlockNotes,
}

impl Touched {
    fn add(&mut self, place: usize, market: &Market) {
        self.markets.insert(place);
        self.tokens.extend(market.identity.usdc.map(|usdc| usdc.token));
    }
}

impl MetricFold {
    /// The state before the first block. `registry_seq` is the position at which the registry was
    /// adopted.
    #[must_use]
    pub fn new(registry: Arc<Registry>, registry_seq: Seq) -> Self {
        Self {
            contracts: Contracts::new(registry),
            registry_seq,
            span: None,
            tallies: BTreeMap::new(),
            markets: Vec::new(),
            index: Arc::default(),
            windows: Due::default(),
            due: DueSignals::default(),
            gaps: PriceGaps::default(),
            opened_pools: Arc::default(),
            quotes: Quotes::default(),
            oracle_prices: OraclePrices::default(),
            figures: Vec::new(),
            inputs: BTreeMap::new(),
        }
    }

    /// The registry that the fold reads events by.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        self.contracts.registry()
    }

    /// The contracts that the fold reads: those of the registry and those announced so far.
    #[must_use]
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The newest block; `None` before the first.
    #[must_use]
    pub fn tip(&self) -> Option<FoldTip> {
        self.span.map(|span| span.tip)
    }

    /// Every market's row as of the newest block, by protocol and market id.
    pub fn markets(&self) -> impl Iterator<Item = MarketMetrics> {
        self.index.all().filter_map(|place| self.row(place))
    }

    /// Takes the next block.
    ///
    /// # Errors
    /// When the block does not follow the one before; the state stays as it was.
    pub fn apply(&mut self, input: &BlockInput<'_>) -> Result<BlockOutput, FoldError> {
        let span = Span::after(self.span, input)?;
        let covered_day = self.covers_day();
        self.span = Some(span);
        let mut touched = Touched::default();
        for (place, entry) in input.events.iter().enumerate() {
            let next = input.events.get(place + 1).map(|(_, _, next)| next);
            self.fold_event(entry, next, &mut touched);
        }
        self.expire_windows(&mut touched, input.applied_seq);
        let mut findings = self.review(&mut touched, input.applied_seq);
        if self.covers_day() != covered_day {
            touched.markets.extend(0..self.markets.len());
        }
        let differing = self.update_figures(touched);
        let outflows =
            self.review_outflows(&differing.looked_at, &findings.last_events, input.applied_seq);
        findings.anomalies.extend(outflows);
        findings.anomalies.sort_unstable();
        let changed_markets = self.rows(&differing.rows);
        let of_pools = differing.prices.iter().filter_map(|token| self.token_price(token));
        let of_oracles = differing.oracle_prices.iter().filter_map(|key| self.oracle_price(key));
        let changed_prices = of_pools.chain(of_oracles).collect();
        let InputsDiffering { scores: inputs_changed, yields: yields_changed } =
            self.update_inputs(&differing.protocols);
        let Findings { violations, anomalies, .. } = findings;
        Ok(BlockOutput {
            changed_markets,
            inputs: self.inputs_at(&span)?,
            inputs_changed,
            yields_changed,
            changed_prices,
            violations,
            anomalies,
        })
    }

    fn now(&self) -> u64 {
        self.span.map_or(0, |span| span.now.0)
    }

    /// Whether the log reaches back over 24 hours.
    fn covers_day(&self) -> bool {
        self.span.is_some_and(|span| span.first_time.0.saturating_add(DAY) <= span.now.0)
    }

    fn fold_event(
        &mut self,
        (seq, content_hash, event): &(Seq, Hash32, EventData),
        next: Option<&EventData>,
        touched: &mut Touched,
    ) {
        let seq = *seq;
        let contracts = self.contracts.clone();
        let Some(contract) = contracts.get(&event.from_address) else {
            return;
        };
        match self.tallies.get_mut(&contract.protocol) {
            Some(tally) => tally.add(seq, content_hash),
            None => {
                let tally = EventTally::of(seq, content_hash);
                self.tallies.insert(contract.protocol.clone(), tally);
            }
        }
        let Some(decoded) = decode_from(contract, event) else {
            return;
        };
        self.contracts.learn(contract, &decoded);
        // Anybody has a factory announce a contract and pauses it; a share token is the protocol's own.
        if !self.contracts.is_child(&contract.address) || contract.role == Role::ZToken {
            touched.notes.event(contract, decoded.name(), seq);
        }
        if decoded.is_restated(|| decode_from(contract, directly_after(event, next)?)) {
            return;
        }
        for change in decoded.changes(&self.contracts, contract) {
            self.fold_change(contract, &change, seq, touched);
        }
    }

    fn fold_change(
        &mut self,
        contract: &WatchedContract,
        (reference, change): &MarketChange,
        seq: Seq,
        touched: &mut Touched,
    ) {
        let now = self.now();
        let place = match (self.index.find(&contract.protocol, reference), reference) {
            (Some(place), _) => place,
            // Shares of a reserve that was opened before the log begins.
            (None, MarketRef::ShareToken(_)) => return,
            (None, MarketRef::LendingPool { contract, pool }) => {
                Arc::make_mut(&mut self.opened_pools).insert((*contract, *pool));
                return;
            }
            // Of a reserve that no event has stated.
            (None, MarketRef::PoolReserve { .. }) if change.is_of_holdings() => return,
            (None, _) => self.open(Identity::new(self.registry(), &contract.protocol, *reference)),
        };
        if let Change::ShareToken { token } = change {
            self.keep_shares(&contract.protocol, *token, place);
        }
        let market = Arc::make_mut(&mut self.markets[place]);
        touched.notes.before(place, market, change, seq);
        market.apply(change, seq, now);
        touched.notes.after(place, market, change, (seq, now));
        touched.add(place, market);
    }

    /// Looks at the markets that the block's events touched, and at what the clock makes due.
    fn review(&mut self, touched: &mut Touched, applied_seq: Seq) -> Findings {
        let (now, history) = (self.now(), self.history());
        let notes = std::mem::take(&mut touched.notes);
        let mut findings = notes.review(&mut self.markets, &history, now);
        for place in &touched.markets {
            self.due.note(*place, &self.markets[*place]);
        }
        findings.anomalies.extend(self.due.tell(&mut self.markets, now, applied_seq));
        let registry = self.contracts.registry();
        let markets = Markets { list: &self.markets, index: &self.index, registry };
        let gaps = self.gaps.review(markets, &touched.tokens, now, applied_seq);
        findings.anomalies.extend(gaps);
        findings.violations.sort_unstable();
        findings
    }

    /// A contract keeps the shares of one reserve: the one that named it last.
    fn keep_shares(&mut self, protocol: &ProtocolId, token: ContractAddress, place: usize) {
        let index = Arc::make_mut(&mut self.index);
        let Some(before) = index.keep_shares(protocol, token, place).filter(|old| *old != place)
        else {
            return;
        };
        if let Body::Reserve(reserve) = &mut Arc::make_mut(&mut self.markets[before]).body {
            reserve.book.iter_mut().for_each(|book| book.share_token = None);
        }
    }

    fn open(&mut self, identity: Identity) -> usize {
        let reference = identity.reference;
        let mut market = Market::new(identity);
        if let (Body::Stated(reserve), MarketRef::PoolReserve { contract, pool: Some(pool), .. }) =
            (&mut market.body, reference)
        {
            reserve.holdings.pool_opened = self.opened_pools.contains(&(contract, pool));
        }
        self.insert(market)
    }

    /// Adds a market and returns its place.
    pub(crate) fn insert(&mut self, market: Market) -> usize {
        let place = self.markets.len();
        let (index, identity) = (Arc::make_mut(&mut self.index), &market.identity);
        index.insert(place, identity);
        if let Body::Reserve(reserve) = &market.body
            && let Some(token) = reserve.book.as_ref().and_then(|book| book.share_token)
        {
            index.keep_shares(&identity.protocol, token, place);
        }
        self.markets.push(Arc::new(market));
        self.figures.push(None);
        place
    }

    /// Drops what has left the 24 hours.
    fn expire_windows(&mut self, touched: &mut Touched, applied_seq: Seq) {
        let now = self.now();
        for place in &touched.markets {
            self.windows.note(self.markets[*place].expires_at(), *place);
        }
        while let Some(place) = self.windows.take(now) {
            let market = &mut self.markets[place];
            if market.expires_at().is_some_and(|end| end <= now) {
                Arc::make_mut(market).expire(now);
                touched.markets.insert(place);
                touched.notes.clock(place, applied_seq);
            }
            self.windows.note(market.expires_at(), place);
        }
    }

    /// Computes again what the touched markets and the clock can have changed.
    fn update_figures(&mut self, mut touched: Touched) -> Differing {
        let now = self.now();
        let registry = self.contracts.registry();
        let markets = Markets { list: &self.markets, index: &self.index, registry };
        let quoted = self.quotes.update(markets, &touched.tokens, now);
        let oracle_prices = self.oracle_prices.update(markets, &touched.markets);
        for token in &quoted.differing {
            touched.markets.extend(self.index.of_token(token));
        }
        let history = self.history();
        let around = Surroundings {
            registry: self.contracts.registry(),
            quotes: &self.quotes,
            history: &history,
            covers_day: self.covers_day(),
        };
        let mut differing =
            Differing { prices: quoted.prices, oracle_prices, ..Differing::default() };
        for place in touched.markets.iter().copied() {
            let market = &self.markets[place];
            let new = Figures::of(market, around);
            if self.figures[place].as_deref() == Some(&new) {
                continue;
            }
            if market.is_counted() {
                differing.protocols.insert(market.identity.protocol.clone());
            }
            differing.rows.insert(place);
            if let Some(tvl) = new.tvl.as_ref().ok().filter(|tvl| **tvl > market.peak_tvl) {
                Arc::make_mut(&mut self.markets[place]).peak_tvl = *tvl;
            }
            self.figures[place] = Some(Arc::new(new));
        }
        differing.looked_at = touched.markets;
        differing
    }

    fn history(&self) -> Absence {
        let first = self.span.map_or(BlockNumber(0), |span| span.first_block);
        Absence::new(Reason::HistoryStartsAt, format!("the log starts at block {first}"))
    }

    /// Brings the inputs up to date and returns the protocols whose inputs differ.
    fn update_inputs(&mut self, differing: &BTreeSet<ProtocolId>) -> InputsDiffering {
        let registry = Arc::clone(self.registry());
        let now = UnixSeconds(self.now());
        let mut changed = InputsDiffering::default();
        for protocol in registry.protocols().filter(|protocol| protocol.kind.has_markets()) {
            let old = self.inputs.get(&protocol.id);
            let sums = match old {
                Some(old) if !differing.contains(&protocol.id) => old.sums.clone(),
                _ => MarketSums::of(protocol.kind, &self.counted(protocol)),
            };
            let new = Inputs { sums, audit: audit::score(&protocol.audits, now) };
            if old.is_none_or(|old| old.differ(&new)) {
                changed.scores.insert(protocol.id.clone());
            }
            if old.is_none_or(|old| old.yields_differ(&new)) {
                changed.yields.insert(protocol.id.clone());
            }
            self.inputs.insert(protocol.id.clone(), new);
        }
        changed
    }

    fn counted(&self, protocol: &ProtocolEntry) -> Vec<CountedMarket<'_>> {
        let places = self.index.counted(&protocol.id);
        places
            .filter_map(|place| {
                let figures = self.figures[place].as_deref()?;
                Some((self.markets[place].identity.as_ref(), figures))
            })
            .collect()
    }

    fn inputs_at(&self, span: &Span) -> Result<BTreeMap<ProtocolId, InputsAt>, FoldError> {
        let mut all = BTreeMap::new();
        for protocol in self.registry().protocols() {
            let Some(inputs) = self.inputs.get(&protocol.id) else {
                continue;
            };
            let causes = causes(self.cause_sources(protocol, span)).map_err(|source| {
                let protocol = protocol.id.clone();
                FoldError::Causes { block: span.tip.block.number, protocol, source }
            })?;
            all.insert(protocol.id.clone(), inputs.at(protocol, span.now, causes));
        }
        Ok(all)
    }

    fn cause_sources<'a>(&'a self, protocol: &'a ProtocolEntry, span: &Span) -> CauseSources<'a> {
        let mut tokens = BTreeSet::new();
        let mut state_seqs = Vec::new();
        for place in self.index.counted(&protocol.id) {
            let market = &self.markets[place];
            tokens.extend(market.identity.tokens.each());
            state_seqs.extend(market.state_seq);
        }
        let pools = tokens.iter().filter_map(|token| self.quotes.pool(token));
        CauseSources {
            registry_seq: self.registry_seq,
            applied_seq: span.tip.applied_seq,
            protocol: &protocol.id,
            priced_by: pools.map(|pool| &self.markets[pool].identity.protocol).collect(),
            tallies: &self.tallies,
            state_seqs,
        }
    }

    /// The rows of some markets, by protocol and market id.
    fn rows(&self, places: &BTreeSet<usize>) -> Vec<MarketMetrics> {
        let mut markets: Vec<_> = places
            .iter()
            .map(|place| (self.markets[*place].identity.as_ref(), *place))
            .map(|(identity, place)| ((&identity.protocol, &identity.id), place))
            .collect();
        markets.sort_unstable();
        markets.into_iter().filter_map(|(_, place)| self.row(place)).collect()
    }

    fn row(&self, place: usize) -> Option<MarketMetrics> {
        let figures = self.figures.get(place)?.as_ref()?;
        Some(figures.row(&self.markets[place].identity))
    }

    /// Computes every figure from the markets' state, as after reading a snapshot.
    pub(crate) fn recompute(&mut self) {
        if self.span.is_none() {
            return;
        }
        let markets = 0..self.markets.len();
        let tokens = self.index.tokens_with_usdc_pools().collect();
        for (place, market) in self.markets.iter().enumerate() {
            self.due.note(place, market);
            self.windows.note(market.expires_at(), place);
        }
        let notes = BlockNotes::default();
        self.update_figures(Touched { markets: markets.collect(), tokens, notes });
        let all = self.registry().protocols().map(|protocol| protocol.id.clone()).collect();
        self.update_inputs(&all);
    }
}

/// The next event, if its contract is the same and no event of the block stands between.
fn directly_after<'a>(event: &EventData, next: Option<&'a EventData>) -> Option<&'a EventData> {
    let follows = |next: &&EventData| {
        next.from_address == event.from_address
            && event.index.0.checked_add(1) == Some(next.index.0)
    };
    next.filter(follows)
}

/// What differs from the block before.
#[derive(Default)]
struct Differing {
    /// Markets whose figures the block can have changed.
    looked_at: BTreeSet<usize>,
    rows: BTreeSet<usize>,
    /// Those of counted markets.
    protocols: BTreeSet<ProtocolId>,
    /// Tokens whose price differs, or the pool that gives it.
    prices: BTreeSet<ContractAddress>,
    /// Prices of oracles that differ, or the market that gives them.
    oracle_prices: BTreeSet<OracleKey>,
}

/// Protocols for which something is due.
#[derive(Default)]
struct InputsDiffering {
    scores: BTreeSet<ProtocolId>,
    yields: BTreeSet<ProtocolId>,
}
