//! `obsqra block evidence`: blocks that sources were found out by, and the answers that show it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use obsqra_store::{Role, Store, finding};
use obsqra_types::{BlockNumber, ChainId};

use crate::config::Settings;
use crate::instance::Instance;
use crate::roles;

/// Most heights listed.
const HEIGHTS: u32 = 50;

/// Lists findings, or those of one height; writes the answer to a file where one is named.
pub(super) async fn show(
    settings: &Settings,
    height: Option<u64>,
    out: Option<&Path>,
) -> Result<()> {
    let instance = Instance::open_database(settings).await?;
    let shown = act(settings, &instance, height, out).await;
    instance.close().await?;
    shown
}

async fn act(
    settings: &Settings,
    instance: &Instance,
    height: Option<u64>,
    out: Option<&Path>,
) -> Result<()> {
    let store = instance.store_as(Role::Writer).await?;
    let Some(chain) = roles::known_chain(settings, &store).await? else {
        println!("nothing was found out about any source: the log is empty");
        return Ok(());
    };
    match height {
        None => list(&store, &chain).await,
        Some(height) => at(&store, &chain, BlockNumber(height), out).await,
    }
}

async fn list(store: &Store, chain: &ChainId) -> Result<()> {
    let heights = finding::newest(store, chain, HEIGHTS).await?;
    if heights.is_empty() {
        println!("{chain}: nothing was found out about any source");
    }
    for (height, findings) in heights {
        println!("block {height}: {findings}");
    }
    Ok(())
}

async fn at(store: &Store, chain: &ChainId, height: BlockNumber, out: Option<&Path>) -> Result<()> {
    let found = finding::at(store, chain, height).await?;
    if found.is_empty() {
        bail!("nothing was found out about block {height} of {chain}");
    }
    for one in &found {
        let kept = one.answer.as_ref().map_or(0, Vec::len);
        println!(
            "{} by {}: {}, answer of {kept} bytes",
            one.kind.name(),
            one.node,
            one.content_hash
        );
    }
    let Some(file) = out else {
        return Ok(());
    };
    let answer = found.into_iter().find_map(|one| one.answer);
    let answer = answer.context("no answer was kept")?;
    std::fs::write(file, answer).with_context(|| format!("cannot write {}", file.display()))?;
    println!("the first answer is in {}", file.display());
    Ok(())
}
