//! The product's fold of the seeded chain's events against the truth that the chain keeps in its own books: every
//! figure, every reason of an absent one, every anomaly and every input of a score, at every block.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use obsqra_devnode::{
    BlockTruth, Incident, MarketTruth, SEEDED_REGISTRY, SeededBlock, SeededChain,
};
use obsqra_events::EventData;
use obsqra_protocols::{BlockInput, BlockOutput, MarketMetrics, MetricFold, Registry};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, Felt, Hash32, Seq,
    TransactionHash, UnixSeconds,
};

/// A figure by its name, as digits; `-` where there is none.
type Row = BTreeMap<&'static str, String>;

/// More than the 30 days of the longest window.
const LONG: u64 = 4_700;

#[test]
fn figures_are_the_chains_own_over_more_than_thirty_days() {
    Comparison::new().run(SeededChain::new(7), LONG);
}

#[test]
fn figures_are_the_chains_own_through_the_incident() {
    let mut comparison = Comparison::new();
    comparison.run(SeededChain::with_incident(4, Incident::from_height(300)), 700);
    let rules: Vec<&str> = comparison.rules.keys().map(String::as_str).collect();
    for rule in [
        "accumulator_jump",
        "contract_upgraded",
        "flash_loan_surplus",
        "near_zero_supply",
        "net_outflow",
        "utilization_high",
    ] {
        assert!(rules.contains(&rule), "{rule} was never told: {rules:?}");
    }
}

struct Comparison {
    registry: Arc<Registry>,
    fold: MetricFold,
    seq: Seq,
    rows: BTreeMap<(String, String), Row>,
    /// How often each rule was told.
    rules: BTreeMap<String, u64>,
}

impl Comparison {
    fn new() -> Self {
        let registry = Arc::new(Registry::parse(SEEDED_REGISTRY).unwrap());
        let fold = MetricFold::new(Arc::clone(&registry), Seq(1));
        Self { registry, fold, seq: Seq(1), rows: BTreeMap::new(), rules: BTreeMap::new() }
    }

    fn run(&mut self, mut chain: SeededChain, blocks: u64) {
        for height in 0..blocks {
            let block = chain.next_block();
            let output = self.fold(height, &block);
            self.check_markets(height, &output, &block.truth);
            self.check_anomalies(height, &output, &block.truth);
            check_inputs(height, &output, &block.truth);
        }
    }

    fn next_seq(&mut self) -> Seq {
        self.seq = self.seq.next();
        self.seq
    }

    fn fold(&mut self, height: u64, block: &SeededBlock) -> BlockOutput {
        let applied_seq = self.next_seq();
        let mut events = Vec::new();
        let mut index = 0;
        for (transaction, place) in block.draft.transactions.iter().zip(0u32..) {
            for event in &transaction.events {
                let from_address = ContractAddress(event.from_address);
                if self.registry.contract(&from_address).is_some() {
                    let data = EventData {
                        index: EventIndex(index),
                        transaction_index: place,
                        transaction_hash: TransactionHash(Felt::from(place)),
                        from_address,
                        keys: event.keys.clone(),
                        data: event.data.clone(),
                    };
                    events.push((self.next_seq(), Hash32([7; 32]), data));
                }
                index += 1;
            }
        }
        let number = BlockNumber(height);
        let timestamp = UnixSeconds(block.draft.timestamp);
        let block = BlockRef { number, epoch: BranchEpoch(0), timestamp };
        let hash = BlockHash(Felt::from(height + 1));
        self.fold.apply(&BlockInput { block, hash, applied_seq, events: &events }).unwrap()
    }

    fn check_markets(&mut self, height: u64, output: &BlockOutput, truth: &BlockTruth) {
        for market in &output.changed_markets {
            let key = (market.protocol.to_string(), market.market.to_string());
            self.rows.insert(key, folded(market));
        }
        assert_eq!(self.rows.len(), truth.markets.len(), "markets at block {height}");
        for market in &truth.markets {
            let key = (market.protocol.to_string(), market.market.to_string());
            assert_eq!(self.rows[&key], true_row(market), "{key:?} at block {height}");
        }
        assert!(output.violations.is_empty(), "block {height}: {:?}", output.violations);
    }

    fn check_anomalies(&mut self, height: u64, output: &BlockOutput, truth: &BlockTruth) {
        let shown = |protocol: &str, market: Option<String>, rule: &str, phase: &str| {
            format!("{rule} {phase} of {protocol} {}", digits(market))
        };
        let mut told: Vec<String> = output
            .anomalies
            .iter()
            .map(|one| {
                let market = one.market.as_ref().map(ToString::to_string);
                shown(one.protocol.as_str(), market, one.rule.name(), one.phase.name())
            })
            .collect();
        let mut known: Vec<String> = truth
            .anomalies
            .iter()
            .map(|one| shown(one.protocol, one.market.clone(), one.rule, one.phase.name()))
            .collect();
        told.sort();
        known.sort();
        assert_eq!(told, known, "anomalies at block {height}");
        for one in &output.anomalies {
            *self.rules.entry(one.rule.name().to_owned()).or_default() += 1;
        }
    }
}

fn check_inputs(height: u64, output: &BlockOutput, truth: &BlockTruth) {
    for protocol in &truth.protocols {
        let named = |id: &obsqra_types::ProtocolId| id.as_str() == protocol.protocol;
        let (_, inputs) = output.inputs.iter().find(|(id, _)| named(id)).unwrap();
        let folded = [
            digits(inputs.utilization_bps.as_ref().ok()),
            digits(inputs.volatility_bps.as_ref().ok()),
            digits(inputs.liquidity_class.as_ref().ok()),
            digits(inputs.audit_score.as_ref().ok()),
            digits(inputs.age_days.as_ref().ok()),
            digits(inputs.apy_bps.as_ref().ok()),
        ];
        let known = [
            digits(protocol.utilization_bps),
            digits(protocol.volatility_bps),
            digits(protocol.liquidity_class),
            digits(protocol.audit_score),
            digits(protocol.age_days),
            digits(protocol.yield_bps),
        ];
        assert_eq!(folded, known, "inputs of {} at block {height}", protocol.protocol);
    }
}

fn digits<T: ToString>(figure: Option<T>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string())
}

/// Reasons are compared as a set: which of a market's figures comes first means nothing.
fn reasons(absent: impl Iterator<Item = (String, String)>) -> String {
    let mut reasons: Vec<String> =
        absent.map(|(field, reason)| format!("{field} {reason}")).collect();
    reasons.sort();
    reasons.join(", ")
}

fn true_row(market: &MarketTruth) -> Row {
    let (lending, pool) = (&market.lending, &market.pool);
    let absent = market.absent.iter().map(|one| (one.field.to_string(), one.reason.to_owned()));
    BTreeMap::from([
        ("asset", market.asset.to_string()),
        ("asset address", market.asset_address.to_string()),
        ("counted", market.counted.to_string()),
        ("utilization", digits(market.utilization_bps)),
        ("turnover", digits(market.turnover_bps)),
        ("volatility", digits(market.volatility_bps)),
        ("volatility 1 d", digits(market.volatility_1d_bps)),
        ("volatility 30 d", digits(market.volatility_30d_bps)),
        ("class", digits(market.liquidity_class)),
        ("price", digits(market.price_usdc)),
        ("oracle price", digits(market.oracle_price_usd)),
        ("tvl", digits(market.tvl_usdc)),
        ("drawdown", digits(market.drawdown_bps)),
        ("supply apy", digits(market.supply_apy_bps)),
        ("opened at", digits(market.opened_at)),
        ("borrow rate", digits(lending.borrow_rate)),
        ("supply rate", digits(lending.supply_rate)),
        ("supplied", digits(lending.supplied)),
        ("borrowed", digits(lending.borrowed)),
        ("headroom", digits(lending.withdraw_headroom)),
        ("exit shock", digits(lending.exit_shock_bps)),
        ("suppliers", digits(lending.suppliers)),
        ("top 1", digits(lending.top1_bps)),
        ("top 5", digits(lending.top5_bps)),
        ("hhi", digits(lending.hhi_bps)),
        ("accumulator excess", digits(lending.accumulator_excess_ppb)),
        ("volume", digits(pool.volume_24h_usdc)),
        ("fees", digits(pool.fees_24h_usdc)),
        ("depth up", digits(pool.depth_up_usdc)),
        ("depth down", digits(pool.depth_down_usdc)),
        ("absent", reasons(absent)),
    ])
}

fn folded(market: &MarketMetrics) -> Row {
    let (lending, pool) = (&market.lending, &market.pool);
    let absent = market.absent.iter().map(|one| (one.field.clone(), one.reason.clone()));
    BTreeMap::from([
        ("asset", market.asset.clone()),
        ("asset address", market.asset_address.to_string()),
        ("counted", market.counted.to_string()),
        ("utilization", digits(market.utilization_bps.map(|bps| bps.0))),
        ("turnover", digits(market.turnover_bps.map(|bps| bps.0))),
        ("volatility", digits(market.volatility_bps.map(|bps| bps.0))),
        ("volatility 1 d", digits(market.volatility_1d_bps.map(|bps| bps.0))),
        ("volatility 30 d", digits(market.volatility_30d_bps.map(|bps| bps.0))),
        ("class", digits(market.liquidity_class)),
        ("price", digits(market.price.map(|price| price.0))),
        ("oracle price", digits(market.oracle_price.map(|price| price.0))),
        ("tvl", digits(market.tvl.map(|value| value.0))),
        ("drawdown", digits(market.drawdown_bps.map(|bps| bps.0))),
        ("supply apy", digits(market.supply_apy_bps.map(|bps| bps.0))),
        ("opened at", digits(market.opened_at.map(|at| at.0))),
        ("borrow rate", digits(lending.borrow_rate.map(|rate| rate.0))),
        ("supply rate", digits(lending.supply_rate.map(|rate| rate.0))),
        ("supplied", digits(lending.supplied.map(|amount| amount.0))),
        ("borrowed", digits(lending.borrowed.map(|amount| amount.0))),
        ("headroom", digits(lending.withdraw_headroom.map(|amount| amount.0))),
        ("exit shock", digits(lending.exit_shock_bps.map(|bps| bps.0))),
        ("suppliers", digits(lending.suppliers)),
        ("top 1", digits(lending.top1_bps.map(|bps| bps.0))),
        ("top 5", digits(lending.top5_bps.map(|bps| bps.0))),
        ("hhi", digits(lending.hhi_bps.map(|bps| bps.0))),
        ("accumulator excess", digits(lending.accumulator_excess.map(|excess| excess.0))),
        ("volume", digits(pool.volume_24h.map(|value| value.0))),
        ("fees", digits(pool.fees_24h.map(|value| value.0))),
        ("depth up", digits(pool.depth_up.map(|value| value.0))),
        ("depth down", digits(pool.depth_down.map(|value| value.0))),
        ("absent", reasons(absent)),
    ])
}
