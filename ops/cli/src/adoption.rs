//! What the follower adopts into the log before the first block that rests on it.

use anyhow::{Context, Result, anyhow};
use obsqra_devnode::{LIGHT_REGISTRY, SEEDED_REGISTRY};
use obsqra_events::AdoptedWhat;
use obsqra_policy::{PRESETS, Policies};
use obsqra_protocols::{Definitions, METRICS_VERSION, Registry, mainnet_registry, risk};
use obsqra_store::{Store, key, log};
use obsqra_types::ChainId;

use crate::config::Settings;

/// What is adopted: its sort, the version that it calls itself, its bytes.
pub(crate) type Adopt = (AdoptedWhat, String, Vec<u8>);

/// Registry, definitions, formula and policies of the settings and of this program.
///
/// # Errors
/// When a file cannot be read or is not for the chain, or a version names other bytes in the log.
pub(crate) async fn due(settings: &Settings, store: &Store, chain: &ChainId) -> Result<Vec<Adopt>> {
    let bytes = registry_bytes(settings, chain)?;
    let registry = Registry::parse(&bytes).context("registry")?;
    if !registry.chain_ids().contains(chain) {
        return Err(anyhow!("registry {} is not for chain {chain}", registry.name()));
    }
    let version = format!("{}/{}", registry.name(), registry.version());
    let policy_bytes = policy_bytes(settings)?;
    let policies = Policies::parse(&policy_bytes).context("policies")?;
    refuse_other_policies(store, chain, &policies).await?;
    Ok(vec![
        (AdoptedWhat::Registry, version, bytes),
        definitions(),
        (AdoptedWhat::RiskFormula, risk::FORMULA.to_owned(), risk::FORMULA.as_bytes().to_vec()),
        (AdoptedWhat::Policy, policies.version().to_owned(), policy_bytes),
    ])
}

/// The definitions of this program. Their bytes list the layouts: a decoder that learns one is adopted anew.
fn definitions() -> Adopt {
    let bytes = Definitions::own().text().as_bytes().to_vec();
    (AdoptedWhat::Metrics, METRICS_VERSION.to_owned(), bytes)
}

fn registry_bytes(settings: &Settings, chain: &ChainId) -> Result<Vec<u8>> {
    if let Some(file) = &settings.registry {
        return std::fs::read(file).with_context(|| format!("registry file {}", file.display()));
    }
    match chain.as_str() {
        "SN_MAIN" | "OBSQRA_REC" => Ok(mainnet_registry().to_vec()),
        "OBSQRA_DEV" => Ok(SEEDED_REGISTRY.to_vec()),
        "OBSQRA_LIGHT" => Ok(LIGHT_REGISTRY.to_vec()),
        _ => Err(anyhow!(
            "there is no built-in registry for chain {chain}: give one with --registry FILE"
        )),
    }
}

fn policy_bytes(settings: &Settings) -> Result<Vec<u8>> {
    match &settings.policies {
        Some(file) => {
            std::fs::read(file).with_context(|| format!("policy file {}", file.display()))
        }
        None => Ok(PRESETS.to_vec()),
    }
}

/// A version of a policy file names its bytes: which snapshots are current follows from it.
async fn refuse_other_policies(store: &Store, chain: &ChainId, policies: &Policies) -> Result<()> {
    let head = log::head(store).await?.seq;
    let newest = key::adopted_as_of(store, chain, AdoptedWhat::Policy, head).await?;
    let version = policies.version();
    match newest.filter(|newest| newest.version == version && newest.hash != policies.hash()) {
        None => Ok(()),
        Some(newest) => Err(anyhow!(
            "policy file {version} was adopted with other bytes at position {}: give the changed file a version of its own",
            newest.seq
        )),
    }
}
