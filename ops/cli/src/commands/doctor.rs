//! `obsqra doctor`: what works, what does not, and how far each role has come.

use std::process::ExitCode;

use anyhow::{Result, bail};
use obsqra_indexer::source::{Identity, JsonRpcSource};
use obsqra_store::attested::{self, AttestedAs};
use obsqra_store::projection::{misfit, state};
use obsqra_store::{Role, Store, chain_tip, checkpoint, cursor, finding, job, log};
use obsqra_types::{ChainId, Partition, felt_hex};

use crate::config::Settings;
use crate::instance::Instance;
use crate::{problem, roles};

/// Most ranges of blocks named.
const RANGES: u32 = 5;
/// Most contracts and selectors named whose events fit no layout.
const MISFITS: u32 = 10;

/// One line of the report.
struct Finding {
    what: String,
    good: bool,
    says: String,
}

pub(super) async fn run(settings: Settings) -> Result<ExitCode> {
    let mut findings = Vec::new();
    match Instance::open(&settings).await {
        Ok(instance) => {
            examine(&settings, &instance, &mut findings).await;
            instance.close().await?;
        }
        Err(error) => findings.push(finding("servers", Err(error))),
    }
    for finding in &findings {
        let mark = if finding.good { "ok " } else { "BAD" };
        println!("{mark} {:<18} {}", finding.what, finding.says);
    }
    let healthy = findings.iter().all(|finding| finding.good);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding(what: &str, outcome: Result<String>) -> Finding {
    match outcome {
        Ok(says) => Finding { what: what.to_owned(), good: true, says },
        Err(error) => {
            Finding { what: what.to_owned(), good: false, says: problem::sentence(&error) }
        }
    }
}

async fn examine(settings: &Settings, instance: &Instance, findings: &mut Vec<Finding>) {
    let bus = instance.bus("doctor").await.map(|_| "answers".to_owned());
    findings.push(finding("NATS", bus));
    if let Some(url) = &settings.rpc_url {
        match roles::node_list(url) {
            Ok(nodes) => {
                for source in &nodes {
                    findings.push(finding("node", node(source).await));
                }
            }
            Err(error) => findings.push(finding("node", Err(error))),
        }
    }
    let store = match instance.store_as(Role::Writer).await {
        Ok(store) => store,
        Err(error) => {
            findings.push(finding("database", Err(error)));
            return;
        }
    };
    findings.push(finding("database", database(&store).await));
    findings.push(finding("checkpoints", checkpoints(&store).await));
    findings.push(finding("jobs", jobs(&store).await));
    match roles::known_chain(settings, &store).await {
        Ok(Some(chain)) => chain_of(&store, &chain, findings).await,
        Ok(None) => findings.push(finding("chain", Ok("none yet: the log is empty".into()))),
        Err(error) => findings.push(finding("chain", Err(error))),
    }
}

async fn node(source: &JsonRpcSource) -> Result<String> {
    let (identity, head) = (source.open().await?, source.head().await?);
    let Identity { chain, spec } = identity;
    let head =
        head.map_or_else(|| "no block yet".to_owned(), |head| format!("head {}", head.number));
    Ok(format!("{} serves {chain} by spec {spec}, {head}", source.name()))
}

async fn database(store: &Store) -> Result<String> {
    let head = log::head(store).await?;
    Ok(format!("answers; the log ends at {}", head.seq))
}

async fn checkpoints(store: &Store) -> Result<String> {
    let head = log::head(store).await?;
    Ok(match checkpoint::last(store).await? {
        None => "none yet".to_owned(),
        Some(last) => format!(
            "the last at {}, signed with {}, {} entries behind the log",
            last.seq(),
            last.signed.key,
            head.seq.0.saturating_sub(last.seq().0)
        ),
    })
}

/// Jobs by kind. Those that were set aside wait for somebody to decide, so they are told as bad.
async fn jobs(store: &Store) -> Result<String> {
    let counts = job::counts(store).await?;
    if counts.is_empty() {
        return Ok("none is queued, leased or dead".to_owned());
    }
    let told: Vec<String> = counts
        .iter()
        .map(|(kind, counts)| {
            let due = counts
                .longest_due
                .map_or_else(String::new, |due| format!(", one is due for {} s", due.as_secs()));
            let job::Counts { queued, leased, dead, .. } = counts;
            format!("{kind}: {queued} queued, {leased} leased, {dead} dead{due}")
        })
        .collect();
    let told = told.join("; ");
    if counts.values().any(|counts| counts.dead > 0) {
        bail!("{told}; see `obsqra dead list`");
    }
    Ok(told)
}

async fn chain_of(store: &Store, chain: &ChainId, findings: &mut Vec<Finding>) {
    findings.push(finding("chain", tip(store, chain).await));
    findings.push(finding("completeness", completeness(store, chain).await));
    findings.push(finding("sources", sources(store, chain).await));
    findings.push(finding("read models", projection(store, chain).await));
    findings.push(finding("events", misfits(store, chain).await));
    let relayed = progress(store, Partition::Relay(chain.clone())).await;
    findings.push(finding("relay", relayed));
    let repeated = progress(store, Partition::FinalRelay(chain.clone())).await;
    findings.push(finding("final facts", repeated.map(|at| format!("repeated {at}"))));
    let registry =
        obsqra_workers::adopted::registry(store, chain, obsqra_types::Seq(i64::MAX.unsigned_abs()));
    match registry.await {
        Ok(Some((registry, _))) => {
            for protocol in registry.protocols() {
                let partition = Partition::RiskWorker(chain.clone(), protocol.id.clone());
                let scored = progress(store, partition).await;
                findings.push(finding(&format!("risk {}", protocol.id), scored));
            }
        }
        Ok(None) => findings.push(finding("registry", Ok("none adopted yet".into()))),
        Err(error) => findings.push(finding("registry", Err(error.into()))),
    }
}

async fn tip(store: &Store, chain: &ChainId) -> Result<String> {
    Ok(match chain_tip::load(store, chain).await? {
        None => format!("{chain}: no block yet"),
        Some(tip) => format!(
            "{chain}: blocks {} to {}, final up to {}, {} reorganisations",
            tip.first,
            tip.number,
            tip.finalized.map_or_else(|| "none".to_owned(), |number| number.to_string()),
            tip.epoch,
        ),
    })
}

/// How the blocks were checked: how many in which way, and the newest ranges.
async fn completeness(store: &Store, chain: &ChainId) -> Result<String> {
    let Some(tip) = chain_tip::load(store, chain).await? else {
        return Ok("no block yet".to_owned());
    };
    let totals = attested::totals(store, chain, tip.number).await?;
    let told: Vec<String> = AttestedAs::ALL
        .into_iter()
        .map(|verdict| {
            let blocks = totals.get(&verdict).copied().unwrap_or(0);
            format!("{blocks} {}", verdict.name())
        })
        .collect();
    let ranges = attested::newest(store, chain, tip.number, RANGES).await?;
    let named: Vec<String> = ranges
        .iter()
        .map(|range| format!("{} to {} {}", range.first, range.last, range.verdict.name()))
        .collect();
    Ok(format!("{} blocks; newest ranges: {}", told.join(", "), named.join(", ")))
}

/// What sources were found out about.
async fn sources(store: &Store, chain: &ChainId) -> Result<String> {
    let newest = finding::newest(store, chain, 1).await?;
    match newest.first() {
        None => Ok("nothing was found out about any".to_owned()),
        Some((number, _)) => Ok(format!(
            "a node contradicted itself or another, the last time about block {number}: see `obsqra block evidence`"
        )),
    }
}

async fn projection(store: &Store, chain: &ChainId) -> Result<String> {
    let state = state::load(store, chain).await?;
    let head = log::head(store).await?;
    Ok(format!("at {}, {} entries behind the log", state.seq, head.seq.0 - state.seq.0))
}

/// Events that fit no layout. They are kept as they came, so that a program that knows their layout decodes
/// them too.
async fn misfits(store: &Store, chain: &ChainId) -> Result<String> {
    let counts = misfit::by_protocol(store, chain).await?;
    if counts.is_empty() {
        return Ok("each fits a layout of its contract".to_owned());
    }
    let counts: Vec<String> =
        counts.iter().map(|(protocol, events)| format!("{events} of {protocol}")).collect();
    let frequent = misfit::most_frequent(store, chain, MISFITS).await?;
    let named: Vec<String> = frequent
        .iter()
        .map(|misfits| {
            let selector = misfits.selector.as_ref().map_or_else(|| "none".to_owned(), felt_hex);
            format!("\n    {} of {} with selector {selector}", misfits.events, misfits.contract)
        })
        .collect();
    Ok(format!(
        "fitting no layout: {}. They are kept and change no figure; where a newer program knows them, \
         update it and run `obsqra project rebuild`. The most frequent:{}",
        counts.join(", "),
        named.concat()
    ))
}

async fn progress(store: &Store, partition: Partition) -> Result<String> {
    let at = cursor::load(store, &partition).await?;
    let head = log::head(store).await?;
    Ok(format!("at {at}, {} entries behind the log", head.seq.0.saturating_sub(at.0)))
}
