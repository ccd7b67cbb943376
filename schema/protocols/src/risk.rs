//! The published risk formula. Lower is safer.

use obsqra_events::{RiskComponents, RiskInputs};

/// The formula's name and version.
pub const FORMULA: &str = "risk-v1.2";

/// The least and the greatest score.
const RANGE: (u64, u64) = (5, 95);

/// `clamp(5, 95, floor(u·35/10000) + floor(v·30/10000) + (3−l)·5 + floor((100−a)/5) + max(0, 10 −
/// floor(d/100)))`, and its terms. A class above 3 and an audit score above 100, which no input has,
/// count as 3 and 100.
#[must_use]
pub fn score(inputs: &RiskInputs) -> (u8, RiskComponents) {
    let components = RiskComponents {
        utilization: share(inputs.utilization_bps, 35),
        volatility: share(inputs.volatility_bps, 30),
        liquidity: u32::from(3u8.saturating_sub(inputs.liquidity_class)) * 5,
        audit: u32::from(100u8.saturating_sub(inputs.audit_score)) / 5,
        age: 10u32.saturating_sub(inputs.age_days / 100),
    };
    let sum: u64 = [
        components.utilization,
        components.volatility,
        components.liquidity,
        components.audit,
        components.age,
    ]
    .into_iter()
    .map(u64::from)
    .sum();
    let clamped = sum.clamp(RANGE.0, RANGE.1);
    (u8::try_from(clamped).unwrap_or(u8::MAX), components)
}

/// `floor(bps · points / 10000)`, which is below `bps` for any number of points used here.
fn share(bps: u32, points: u64) -> u32 {
    u32::try_from(u64::from(bps) * points / 10_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs `(u, v, l, a, d)`, score, terms: the published known answers of this formula.
    type KnownAnswer = ((u32, u32, u8, u8, u32), u8, [u32; 5]);

    const KNOWN: &[KnownAnswer] = &[
        ((6_500, 3_500, 1, 98, 800), 44, [22, 10, 10, 0, 2]),
        ((5_000, 2_500, 2, 95, 600), 34, [17, 7, 5, 1, 4]),
        ((100, 100, 3, 100, 5_000), 5, [0, 0, 0, 0, 0]),
        ((10_000, 10_000, 0, 0, 0), 95, [35, 30, 15, 20, 10]),
        ((6_500, 2_000, 3, 98, 1_500), 28, [22, 6, 0, 0, 0]),
        ((7_000, 3_500, 2, 85, 800), 44, [24, 10, 5, 3, 2]),
        ((8_500, 5_000, 2, 90, 150), 60, [29, 15, 5, 2, 9]),
        ((4_000, 1_500, 3, 95, 2_000), 19, [14, 4, 0, 1, 0]),
        ((9_500, 1_000, 3, 95, 1_000), 37, [33, 3, 0, 1, 0]),
        ((2_000, 8_000, 1, 80, 600), 49, [7, 24, 10, 4, 4]),
        ((5_000, 5_000, 2, 75, 500), 47, [17, 15, 5, 5, 5]),
        ((6_500, 3_500, 1, 98, 800), 44, [22, 10, 10, 0, 2]),
        ((5_200, 2_800, 2, 95, 400), 38, [18, 8, 5, 1, 6]),
        ((3_000, 7_000, 0, 60, 10), 64, [10, 21, 15, 8, 10]),
        ((2_000, 4_000, 1, 70, 3_000), 35, [7, 12, 10, 6, 0]),
        ((7_500, 4_500, 2, 88, 250), 54, [26, 13, 5, 2, 8]),
        ((9_000, 6_000, 3, 75, 400), 60, [31, 18, 0, 5, 6]),
    ];

    #[test]
    fn published_answers_are_met() {
        for ((u, v, l, a, d), expected, terms) in KNOWN {
            let (score, components) = score(&RiskInputs {
                utilization_bps: *u,
                volatility_bps: *v,
                liquidity_class: *l,
                audit_score: *a,
                age_days: *d,
            });
            let RiskComponents { utilization, volatility, liquidity, audit, age } = components;
            assert_eq!(
                (score, [utilization, volatility, liquidity, audit, age]),
                (*expected, *terms)
            );
        }
    }

    #[test]
    fn a_lending_market_beyond_full_utilization_is_clamped_at_the_top() {
        let inputs = RiskInputs {
            utilization_bps: u32::MAX,
            volatility_bps: 0,
            liquidity_class: 3,
            audit_score: 100,
            age_days: 5_000,
        };
        assert_eq!(score(&inputs).0, 95);
    }
}
