//! From a block's markets to the inputs and the score of each protocol.

use ruint::aliases::U256;

use super::super::registry::{Protocol, VESU, ZKLEND};
use super::figures::{bps, capped_bps};
use super::{MarketTruth, ProtocolTruth, ScoreTruth};

/// A protocol's inputs over its counted markets.
pub(super) fn inputs(protocol: Protocol, markets: &[MarketTruth], timestamp: u64) -> ProtocolTruth {
    let mine = markets.iter().filter(|market| market.protocol == protocol.id && market.counted);
    let sums = Sums::of(mine.collect());
    let is_lending = [ZKLEND.id, VESU.id].contains(&protocol.id);
    let u = if is_lending {
        sums.mean(|market| market.utilization_bps)
    } else {
        sums.total(|market| market.pool.volume_24h_usdc)
            .zip(sums.value)
            .map(|(volume, value)| capped_bps(volume, value))
    };
    let yield_bps = if is_lending {
        sums.mean(|market| market.supply_apy_bps)
    } else {
        let fees = sums.total(|market| market.pool.fees_24h_usdc);
        fees.zip(sums.value).and_then(|(fees, value)| bps(fees * U256::from(365), value).ok())
    };
    let v = sums.mean(|market| market.volatility_bps).map(|v| v.min(10_000));
    let l = sums.value.map(liquidity_class);
    let a = protocol.audits.score(timestamp);
    let d = timestamp
        .checked_sub(protocol.deployed_at)
        .and_then(|age| u32::try_from(age / 86_400).ok());
    ProtocolTruth {
        protocol: protocol.id,
        utilization_bps: u,
        volatility_bps: v,
        liquidity_class: l,
        audit_score: a,
        age_days: d,
        yield_bps,
        score: score(u, v, l, a, d),
    }
}

/// Markets with their values; one of value 0 adds nothing to any sum.
struct Sums<'a> {
    markets: Option<Vec<(&'a MarketTruth, U256)>>,
    /// Of all markets, above 0.
    value: Option<U256>,
}

impl<'a> Sums<'a> {
    fn of(markets: Vec<&'a MarketTruth>) -> Self {
        let valued = markets.into_iter().map(|market| Some((market, market.tvl_usdc?)));
        let markets: Option<Vec<_>> = valued.collect();
        let markets = markets.map(|mut markets| {
            markets.retain(|(_, value)| !value.is_zero());
            markets
        });
        let value = markets.as_ref().map(|markets| markets.iter().map(|(_, value)| *value).sum());
        Self { markets, value: value.filter(|value: &U256| !value.is_zero()) }
    }

    fn total(&self, part: fn(&MarketTruth) -> Option<U256>) -> Option<U256> {
        self.markets.as_ref()?.iter().map(|(market, _)| part(market)).sum()
    }

    /// The mean by value.
    fn mean(&self, part: fn(&MarketTruth) -> Option<u32>) -> Option<u32> {
        let weighted = |(market, value): &(&MarketTruth, U256)| {
            part(market).map(|part| U256::from(part) * *value)
        };
        let sum: Option<U256> = self.markets.as_ref()?.iter().map(weighted).sum();
        Some((sum? / self.value?).saturating_to::<u32>())
    }
}

fn score(
    u: Option<u32>,
    v: Option<u32>,
    l: Option<u32>,
    a: Option<u32>,
    d: Option<u32>,
) -> Option<ScoreTruth> {
    let utilization = u? * 35 / 10_000;
    let volatility = v? * 30 / 10_000;
    let liquidity = (3 - l?) * 5;
    let audit = (100 - a?) / 5;
    let age = 10_u32.saturating_sub(d? / 100);
    let sum = utilization + volatility + liquidity + audit + age;
    Some(ScoreTruth { score: sum.clamp(5, 95), utilization, volatility, liquidity, audit, age })
}

pub(super) fn liquidity_class(value: U256) -> u32 {
    const MILLION: u64 = 1_000_000_000_000;
    [1, 10, 50].iter().map(|millions| u32::from(value >= U256::from(millions * MILLION))).sum()
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_the_sum_of_its_terms() {
        let known =
            score(Some(6_500), Some(3_500), Some(1), Some(98), Some(800)).expect("all there");
        assert_eq!(
            known,
            ScoreTruth {
                score: 44,
                utilization: 22,
                volatility: 10,
                liquidity: 10,
                audit: 0,
                age: 2
            }
        );
        assert_eq!(
            score(Some(0), Some(0), Some(3), Some(100), Some(9_999)).map(|score| score.score),
            Some(5)
        );
        assert_eq!(score(Some(0), None, Some(3), Some(100), Some(9_999)), None);
    }

    #[test]
    fn liquidity_classes_begin_at_their_bounds() {
        let class = |usdc: u64| liquidity_class(U256::from(usdc) * U256::from(1_000_000));
        assert_eq!(
            [999_999, 1_000_000, 10_000_000, 49_999_999, 50_000_000].map(class),
            [0, 1, 2, 2, 3]
        );
    }
}
