//! The script that reads recorded blocks a second time, and its figures held against the product's.
//!
//! Nothing is compared loosely: the markets are the same ones, and each figure is the same value, is absent
//! for the same reason, or is one that the market's kind does not have. Only what the script names as unread
//! is left out.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::api::{FIGURES, list};
use super::chain::text;
use super::root;

/// What the script works out from a file of blocks and the registry of mainnet.
pub(crate) async fn recorded(file: &Path) -> Value {
    let mut script = std::process::Command::new("python3");
    script.arg(root().join("ops/checks/oracle/recorded.py")).arg(file);
    script.arg(root().join("schema/protocols/registry/mainnet"));
    let output = tokio::task::spawn_blocking(move || script.output())
        .await
        .expect("the script is waited for")
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// Compares a protocol's markets as of a block; returns how many figures were compared.
///
/// # Panics
/// Where they differ.
pub(crate) fn check_markets(markets: &Value, expected: &Value, unread: &Value) -> usize {
    let found: BTreeMap<String, &Value> =
        list(markets).iter().map(|market| (text(&market["market"]), market)).collect();
    let expected: BTreeMap<String, &Value> = expected
        .as_object()
        .map(|markets| markets.iter().map(|(id, market)| (id.clone(), market)).collect())
        .unwrap_or_default();
    assert!(found.keys().eq(expected.keys()), "{:#?}\n{:#?}", found.keys(), expected.keys());
    found.iter().map(|(id, market)| check_market(market, expected[id], unread)).sum()
}

fn check_market(market: &Value, expected: &Value, unread: &Value) -> usize {
    for name in ["asset", "assetAddress"] {
        assert_eq!(market[name], expected[name], "{name} of {market:#}");
    }
    let read = FIGURES.iter().filter(|name| !list(unread).iter().any(|unread| unread == **name));
    read.map(|name| check_figure(name, market, expected.get(*name))).count()
}

/// A figure is null without a reason only where the script has neither a value nor a reason.
fn check_figure(name: &str, market: &Value, expected: Option<&Value>) {
    let reason = list(&market["absent"]).iter().find(|absent| absent["field"] == name);
    let reason = reason.map_or(&Value::Null, |absent| &absent["reason"]);
    let (value, expected_reason) = match expected {
        None => (&Value::Null, &Value::Null),
        Some(Value::Object(absent)) => (&Value::Null, &absent["absent"]),
        Some(value) => (value, &Value::Null),
    };
    assert_eq!(market[name], *value, "{name} of {market:#}");
    assert_eq!(reason, expected_reason, "why {name} is absent of {market:#}");
}
