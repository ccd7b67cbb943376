//! The registry of Starknet mainnet: one file for the chain and one for each protocol.
//!
//! The files are joined as text into one document, the same bytes in every build: its digest stands in the
//! log. A file that is added or changed therefore takes a new `version` in `chain.json`.

use std::sync::LazyLock;

/// The chain's members without the protocols.
const CHAIN: &str = include_str!("../../registry/mainnet/chain.json");

/// A protocol each, by id.
const PROTOCOLS: [&str; 10] = [
    include_str!("../../registry/mainnet/ekubo.json"),
    include_str!("../../registry/mainnet/erc20.json"),
    include_str!("../../registry/mainnet/jediswap_v1.json"),
    include_str!("../../registry/mainnet/jediswap_v2.json"),
    include_str!("../../registry/mainnet/mist_cash.json"),
    include_str!("../../registry/mainnet/nostra_money_market.json"),
    include_str!("../../registry/mainnet/nostra_pools.json"),
    include_str!("../../registry/mainnet/vesu_v1.json"),
    include_str!("../../registry/mainnet/vesu_v2.json"),
    include_str!("../../registry/mainnet/zklend.json"),
];

static REGISTRY: LazyLock<String> = LazyLock::new(|| join(CHAIN, &PROTOCOLS));

/// The registry of Starknet mainnet as one document. It also fits the recorded chain.
#[must_use]
pub fn mainnet_registry() -> &'static [u8] {
    REGISTRY.as_bytes()
}

/// The chain's object with the protocols as its last member.
fn join(chain: &str, protocols: &[&str]) -> String {
    let chain = chain.trim_end().trim_end_matches('}').trim_end();
    let protocols: Vec<&str> = protocols.iter().map(|protocol| protocol.trim_end()).collect();
    format!("{chain},\n\"protocols\": [\n{}\n]}}\n", protocols.join(",\n"))
}
