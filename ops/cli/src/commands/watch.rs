//! `obsqra watch`: widening the watched set of a log that has begun.
//!
//! The command asks; the follower does it, between two blocks, and goes on with it after a restart.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use obsqra_events::AdoptedWhat;
use obsqra_indexer::watch_request;
use obsqra_protocols::Registry;
use obsqra_store::watch::{self, Watch, WatchRequest};
use obsqra_store::{Role, Store, key};
use obsqra_types::{ChainId, ContractAddress, Hash32, Seq, felt_hex, parse_felt};
use tokio_util::sync::CancellationToken;

use crate::args::{WatchAction, WatchAddArgs};
use crate::config::Settings;
use crate::instance::Instance;
use crate::roles::{self, Roles};

/// Time between two looks at how far the follower has come.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn run(settings: Settings, action: WatchAction) -> Result<()> {
    let running = Roles::new()?;
    let instance = Instance::open_database(&settings).await?;
    let done = act(&settings, &instance, action, running.stop()).await;
    instance.close().await?;
    done
}

async fn act(
    settings: &Settings,
    instance: &Instance,
    action: WatchAction,
    stop: &CancellationToken,
) -> Result<()> {
    let store = instance.store_as(Role::Writer).await?;
    let chain = roles::known_chain(settings, &store).await?.context(
        "the log is empty: nothing can be added to what it watches; `--registry FILE` of `obsqra index` says what it begins with",
    )?;
    match action {
        WatchAction::List => list(&store, &chain).await,
        WatchAction::Add(args) => add(&store, &chain, &args, stop).await,
    }
}

async fn list(store: &Store, chain: &ChainId) -> Result<()> {
    let known = watch::all(store, chain).await?;
    if known.is_empty() {
        println!("nothing was added to what the log of {chain} began with");
    }
    for watch in &known {
        println!("{}", line(watch));
        for contract in &watch.request.contracts {
            println!("  {}", felt_hex(&contract.0));
        }
    }
    Ok(())
}

async fn add(
    store: &Store,
    chain: &ChainId,
    args: &WatchAddArgs,
    stop: &CancellationToken,
) -> Result<()> {
    let request = asked_for(store, chain, args).await?;
    if watch::request(store, chain, &request).await? {
        println!("asked for {} contracts; a running follower takes it up", request.contracts.len());
    } else {
        println!("this was asked for before");
    }
    if args.no_wait {
        return Ok(());
    }
    wait(store, chain, &request.digest, stop).await
}

async fn asked_for(store: &Store, chain: &ChainId, args: &WatchAddArgs) -> Result<WatchRequest> {
    let mut contracts = args
        .contracts
        .iter()
        .map(|text| {
            let felt = parse_felt(text).with_context(|| {
                format!("`{text}` is no contract address: expected 0x and up to 64 hex digits")
            })?;
            Ok(ContractAddress(felt))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut adopts = None;
    if let Some(file) = &args.registry {
        let (registry, bytes) = read_registry(file, chain)?;
        let added = added_by(store, chain, &registry).await?;
        contracts.extend(added);
        adopts = Some((format!("{}/{}", registry.name(), registry.version()), bytes));
    }
    if contracts.is_empty() {
        bail!("there is nothing to add: all contracts of the registry are watched already");
    }
    Ok(watch_request(contracts, adopts))
}

fn read_registry(file: &Path, chain: &ChainId) -> Result<(Registry, Vec<u8>)> {
    let named = || format!("registry file {}", file.display());
    let bytes = std::fs::read(file).with_context(named)?;
    let registry = Registry::parse(&bytes).with_context(named)?;
    if !registry.chain_ids().contains(chain) {
        bail!("registry {} is not for chain {chain}", registry.name());
    }
    Ok((registry, bytes))
}

/// The contracts of a registry that the one adopted last does not have.
async fn added_by(
    store: &Store,
    chain: &ChainId,
    registry: &Registry,
) -> Result<Vec<ContractAddress>> {
    let newest = Seq(u64::try_from(i64::MAX)?);
    let hash = registry.hash();
    if key::was_adopted(store, chain, AdoptedWhat::Registry, &hash).await? {
        bail!("this registry was adopted before: give it another version to change anything");
    }
    let adopted = obsqra_workers::adopted::registry(store, chain, newest).await?;
    let known = adopted.map(|(known, _)| known);
    Ok(registry
        .watched()
        .filter(|contract| {
            known.as_ref().is_none_or(|known| !known.watched().any(|other| other == *contract))
        })
        .collect())
}

/// Shows how far the follower has come, until it is done or the user has seen enough.
async fn wait(
    store: &Store,
    chain: &ChainId,
    digest: &Hash32,
    stop: &CancellationToken,
) -> Result<()> {
    let mut shown = String::new();
    loop {
        let known = watch::all(store, chain).await?;
        let watch = known
            .iter()
            .find(|watch| watch.request.digest == *digest)
            .context("the request is gone")?;
        let now = line(watch);
        if now != shown {
            println!("{now}");
            shown = now;
        }
        if watch.widening.is_some_and(|widening| widening.completed.is_some()) {
            return Ok(());
        }
        tokio::select! {
            () = stop.cancelled() => {
                println!("the follower goes on with it; `obsqra watch list` shows how far it is");
                return Ok(());
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

fn line(watch: &Watch) -> String {
    let what = watch.request.registry.as_ref().map_or_else(
        || format!("{} contracts", watch.request.contracts.len()),
        |(version, _)| format!("registry {version}"),
    );
    let Some(widening) = watch.widening else {
        return format!("{what}: waits for the follower (`obsqra index` or `obsqra run`)");
    };
    let gained = format!("{} events in {} blocks", widening.events, widening.blocks);
    match widening.completed {
        Some(seq) => format!("{what}: complete at entry {seq}, {gained}"),
        None => format!(
            "{what}: block {} of {} to {}, {gained}",
            widening.next, widening.first, widening.last
        ),
    }
}
