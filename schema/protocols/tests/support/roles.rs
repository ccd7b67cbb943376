//! Registries with a contract for each role of each decoder, and events of such contracts.

use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{Contracts, Decoder, Registry, Role, WatchedContract};
use obsqra_types::{ContractAddress, EventIndex, Felt, TransactionHash};
use serde_json::{Value, json};

use super::{ETH, REGISTRY, USDC, all_layouts};

/// Obsqra's own contracts, at made-up addresses: `0xe1` the risk engine, `0xe2` the strategy router, `0xe3`
/// the constraint manager, `0xe4` the model registry, `0xe5` the agent orchestrator.
pub(crate) fn own_contracts() -> Contracts {
    let protocol = json!({
        "id": "obsqra", "name": "Obsqra", "kind": "governance", "decoder": "obsqra",
        "contracts": [
            {"address": "0xe1", "role": "risk_engine"},
            {"address": "0xe2", "role": "strategy_router"},
            {"address": "0xe3", "role": "dao_constraint_manager"},
            {"address": "0xe4", "role": "model_registry"},
            {"address": "0xe5", "role": "agent_orchestrator"},
        ],
        "audits": {"state": "unknown", "detail": "none"}, "sources": [],
    });
    Contracts::new(registry_of(&json!([protocol])))
}

/// The test registry with other protocols.
pub(crate) fn registry_of(protocols: &Value) -> Arc<Registry> {
    let mut file: Value = serde_json::from_str(REGISTRY).unwrap();
    file["protocols"] = protocols.clone();
    Arc::new(Registry::parse(file.to_string().as_bytes()).unwrap())
}

/// A registry with one protocol for each decoder and one contract for each of its roles: pools of USDC and
/// ETH, and tokens over ETH.
pub(crate) fn every_role() -> Arc<Registry> {
    let mut address = 0xd000;
    let mut contract = |decoder: Decoder, role: Role| {
        address += 1;
        let mut contract = json!({"address": format!("{address:#x}"), "role": role.name()});
        if decoder.is_pool(role) {
            contract["token0"] = json!(format!("{USDC:#x}"));
            contract["token1"] = json!(format!("{ETH:#x}"));
        }
        if decoder.has_asset(role) {
            contract["asset"] = json!(format!("{ETH:#x}"));
        }
        contract
    };
    let mut protocol = |decoder: Decoder| {
        let contracts: Vec<Value> =
            decoder.roles().iter().map(|role| contract(decoder, *role)).collect();
        json!({
            "id": decoder.name(), "name": decoder.name(), "kind": decoder.kind().name(),
            "decoder": decoder.name(), "contracts": contracts,
            "audits": {"state": "unknown", "detail": "none"}, "sources": [],
        })
    };
    registry_of(&Decoder::ALL.iter().map(|decoder| protocol(*decoder)).collect())
}

/// That registry's contract of a role.
pub(crate) fn of_role(decoder: Decoder, role: Role) -> WatchedContract {
    let registry = every_role();
    let mut contracts = registry.watched().filter_map(|address| registry.contract(&address));
    contracts.find(|found| found.decoder == decoder && found.role == role).unwrap().clone()
}

/// An event of a contract, by name, keys after the selector, and data.
pub(crate) fn raw_event(
    contract: &WatchedContract,
    name: &str,
    keys: &[u128],
    data: &[u128],
) -> EventData {
    let selector = all_layouts().find(|layout| layout.name == name).unwrap().selector;
    EventData {
        index: EventIndex(0),
        transaction_index: 0,
        transaction_hash: TransactionHash(Felt::ZERO),
        from_address: contract.address,
        keys: std::iter::once(selector).chain(keys.iter().copied().map(Felt::from)).collect(),
        data: data.iter().copied().map(Felt::from).collect(),
    }
}

pub(crate) fn address(value: u128) -> ContractAddress {
    ContractAddress(Felt::from(value))
}
