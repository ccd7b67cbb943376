//! The registry of the seeded chain: the same facts as constants for the truth and as the file that the
//! product reads. A test holds them equal.

/// The registry file, as the product reads it.
pub const SEEDED_REGISTRY: &[u8] = include_bytes!("../../registry/obsqra_dev.json");

/// What is known of a protocol's audits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Audits {
    /// Firms and the midnights (UTC) of their reports.
    Reports(&'static [(&'static str, u64)]),
    /// A source says from this time on that there is none.
    Unaudited { since: u64 },
}

/// A protocol of the seeded chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    pub(super) id: &'static str,
    pub(super) deployed_at: u64,
    pub(super) audits: Audits,
}

pub(super) const ZKLEND: Protocol = Protocol {
    id: "zklend",
    deployed_at: 1_683_226_849,
    // The newer report is more than 365 days old from 2025-01-08 on, in the second week of the chain.
    audits: Audits::Reports(&[
        ("Example Audits", 1_683_676_800),
        ("Sample Security", 1_704_672_000),
    ]),
};

pub(super) const EKUBO: Protocol = Protocol {
    id: "ekubo",
    deployed_at: 1_692_576_000,
    audits: Audits::Reports(&[
        ("Example Audits", 1_692_576_000),
        ("Sample Security", 1_710_460_800),
        ("Specimen Reviews", 1_726_358_400),
    ]),
};

pub(super) const JEDISWAP: Protocol = Protocol {
    id: "jediswap_v1",
    deployed_at: 1_670_803_200,
    audits: Audits::Unaudited { since: 1_717_200_000 },
};

pub(super) const JEDISWAP_V2: Protocol = Protocol {
    id: "jediswap_v2",
    deployed_at: 1_718_409_600,
    audits: Audits::Reports(&[("Example Audits", 1_715_904_000)]),
};

pub(super) const VESU: Protocol = Protocol {
    id: "vesu_v2",
    deployed_at: 1_733_011_200,
    audits: Audits::Reports(&[
        ("Sample Security", 1_727_740_800),
        ("Specimen Reviews", 1_730_419_200),
    ]),
};

impl Audits {
    /// The rubric `audit-rubric-v1` at a time; `None` while nothing dated is known.
    pub(super) fn score(self, now: u64) -> Option<u32> {
        const DAY: u64 = 86_400;
        match self {
            Self::Unaudited { since } => (since <= now).then_some(0),
            Self::Reports(reports) => {
                let dated: Vec<_> = reports.iter().filter(|(_, date)| *date <= now).collect();
                let newest = dated.iter().map(|(_, date)| *date).max()?;
                let mut firms: Vec<&str> = dated.iter().map(|(firm, _)| *firm).collect();
                firms.sort_unstable();
                firms.dedup();
                let several = match firms.len() {
                    0 | 1 => 0,
                    2 => 15,
                    _ => 20,
                };
                let recent = if (now - newest) / DAY <= 365 { 10 } else { 0 };
                Some(70 + several + recent)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::super::ekubo::{CORE, ODD_POOL, POOLS};
    use super::super::jediswap::{FACTORY, PAIRS};
    use super::super::jediswap_v2::{V2_FACTORY, V2_POOL, V2_SPEC};
    use super::super::tokens::Token;
    use super::super::vesu::{VESU_FACTORY, VESU_POOL};
    use super::super::zklend::{MARKET, RESERVES, WSTETH, z_token};
    use super::*;
    use crate::chain::encode::hex;

    fn file() -> Value {
        serde_json::from_slice(SEEDED_REGISTRY).expect("JSON")
    }

    /// Midnight of a date, by counting days.
    fn midnight(date: &str) -> u64 {
        let parts: Vec<u64> = date.split('-').map(|part| part.parse().expect("a number")).collect();
        let (year, month, day) = (parts[0], parts[1], parts[2]);
        let leap = |year: u64| year.is_multiple_of(4);
        let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
        let lengths =
            [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months: u64 = lengths.iter().take(usize::try_from(month).expect("small") - 1).sum();
        (years + months + day - 1) * 86_400
    }

    #[test]
    fn tokens_are_those_of_the_model() {
        let tokens: Vec<Value> = Token::LISTED
            .iter()
            .map(|token| {
                json!({ "address": hex(&token.address()), "symbol": token.symbol(), "decimals": token.decimals() })
            })
            .collect();
        assert_eq!(file()["tokens"], json!(tokens));
        assert_eq!(file()["quote_token"], json!(hex(&Token::Usdc.address())));
        assert_eq!(file()["chain_ids"], json!(["OBSQRA_DEV"]));
    }

    #[test]
    fn contracts_are_those_of_the_model() {
        let pairs = PAIRS.map(|pair| {
            json!({
                "address": hex(&pair.address), "role": "pair",
                "token0": hex(&pair.token0.address()), "token1": hex(&pair.token1.address()),
            })
        });
        let mut jediswap = vec![json!({ "address": hex(&FACTORY), "role": "factory" })];
        jediswap.extend(pairs);
        let file = file();
        let contracts = |index: usize| file["protocols"][index]["contracts"].clone();
        let mut zklend = vec![json!({ "address": hex(&MARKET), "role": "market" })];
        zklend.extend(
            RESERVES.iter().chain([&WSTETH]).map(
                |reserve| json!({ "address": hex(&z_token(reserve.token)), "role": "z_token" }),
            ),
        );
        assert_eq!(contracts(0), json!(zklend));
        assert_eq!(contracts(1), json!([{ "address": hex(&CORE), "role": "core" }]));
        assert_eq!(contracts(2), json!(jediswap));
        let tokens = [V2_SPEC.token0, V2_SPEC.token1].map(|token| hex(&token.address()));
        assert_eq!(
            contracts(3),
            json!([
                { "address": hex(&V2_FACTORY), "role": "pool_factory" },
                {
                    "address": hex(&V2_POOL), "role": "pool",
                    "token0": tokens[0], "token1": tokens[1],
                },
            ])
        );
        assert_eq!(
            contracts(4),
            json!([
                { "address": hex(&VESU_FACTORY), "role": "pool_factory" },
                { "address": hex(&VESU_POOL), "role": "pool" },
            ])
        );
    }

    #[test]
    fn markets_are_the_pools_that_count() {
        let counted: Vec<Value> = POOLS
            .iter()
            .chain([&ODD_POOL])
            .filter(|pool| pool.is_counted())
            .map(|pool| {
                let source = "seeded chain: defined by the generator";
                json!({ "id": pool.market_id(), "source": source })
            })
            .collect();
        assert_eq!(file()["protocols"][1]["markets"], json!(counted));
        assert_eq!(counted.len(), POOLS.len() - 1, "all but the one of an unlisted token");
    }

    #[test]
    fn audits_and_ages_are_those_of_the_truth() {
        let file = file();
        for (index, protocol) in
            [ZKLEND, EKUBO, JEDISWAP, JEDISWAP_V2, VESU].into_iter().enumerate()
        {
            let entry = &file["protocols"][index];
            assert_eq!(entry["id"], json!(protocol.id));
            assert_eq!(entry["deployed_at"]["timestamp"], json!(protocol.deployed_at));
            let date = |value: &Value| midnight(value["date"].as_str().expect("a date"));
            match protocol.audits {
                Audits::Reports(reports) => {
                    let listed: Vec<_> =
                        entry["audits"]["reports"].as_array().expect("reports").iter().collect();
                    assert_eq!(listed.len(), reports.len());
                    for (report, (firm, time)) in listed.into_iter().zip(reports) {
                        assert_eq!((report["firm"].as_str(), date(report)), (Some(*firm), *time));
                    }
                }
                Audits::Unaudited { since } => {
                    assert_eq!(entry["audits"]["state"], json!("unaudited"));
                    assert_eq!(date(&entry["audits"]), since);
                }
            }
        }
    }

    #[test]
    fn the_rubric_counts_firms_and_age() {
        const DAY: u64 = 86_400;
        fn reports(list: &'static [(&'static str, u64)]) -> Audits {
            Audits::Reports(list)
        }
        assert_eq!(reports(&[("a", 10 * DAY)]).score(9 * DAY), None);
        assert_eq!(reports(&[("a", 10 * DAY)]).score(376 * DAY - 1), Some(80));
        assert_eq!(reports(&[("a", 10 * DAY)]).score(376 * DAY), Some(70));
        assert_eq!(reports(&[("a", 10 * DAY), ("a", 11 * DAY)]).score(12 * DAY), Some(80));
        assert_eq!(reports(&[("a", 10 * DAY), ("b", 11 * DAY)]).score(12 * DAY), Some(95));
        assert_eq!(reports(&[("a", 0), ("b", 0), ("c", 0), ("d", 0)]).score(DAY), Some(100));
        assert_eq!(Audits::Unaudited { since: DAY }.score(DAY - 1), None);
        assert_eq!(Audits::Unaudited { since: DAY }.score(DAY), Some(0));
    }
}
