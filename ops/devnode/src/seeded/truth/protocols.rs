//! From a block's markets to the inputs and the score of each protocol.

use ruint::aliases::U256;

use super::super::registry::{Protocol, ZKLEND};
use super::figures::capped_bps;
use super::{Market, ProtocolTruth, ScoreTruth};

/// A protocol's inputs over its tracked markets.
pub(super) fn inputs(protocol: Protocol, markets: &[Market], timestamp: u64) -> ProtocolTruth {
    let mine: Vec<&Market> = markets
        .iter()
        .filter(|market| market.truth.protocol == protocol.id && market.tracked)
        .collect();
    let values: Option<Vec<U256>> = mine.iter().map(|market| market.truth.tvl_usdc).collect();
    let values = values.filter(|values| !values.is_empty());
    let total: Option<U256> = values
        .as_ref()
        .map(|values| values.iter().copied().sum())
        .filter(|total: &U256| !total.is_zero());
    let weighted = |metric: fn(&Market) -> Option<u32>| {
        let parts: Option<Vec<u32>> = mine.iter().map(|market| metric(market)).collect();
        let sum: U256 = parts?
            .into_iter()
            .zip(values.as_ref()?)
            .map(|(part, value)| U256::from(part) * value)
            .sum();
        Some((sum / total?).saturating_to::<u32>())
    };
    let u = if protocol.id == ZKLEND.id {
        weighted(|market| market.truth.utilization_bps)
    } else {
        let volumes: Option<Vec<U256>> =
            mine.iter().map(|market| market.truth.pool.volume_24h_usdc).collect();
        volumes.zip(total).map(|(volumes, total)| capped_bps(volumes.into_iter().sum(), total))
    };
    let v = weighted(|market| market.truth.volatility_bps).map(|v| v.min(10_000));
    let l = values.as_ref().zip(total).map(|(_, total)| liquidity_class(total));
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
        score: score(u, v, l, a, d),
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
