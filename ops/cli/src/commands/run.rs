//! `obsqra run`: all roles in one process.

use anyhow::Result;
use obsqra_store::chain_tip;

use super::devnode;
use crate::args::ChainArgs;
use crate::config::Settings;
use crate::instance::Instance;
use crate::roles::{self, Roles, Writing};

pub(super) async fn run(settings: Settings, chain: ChainArgs) -> Result<()> {
    let running = Roles::new()?;
    let Some(instance) = running.unless_stopped(Instance::open_alone(&settings)).await? else {
        return Ok(());
    };
    let finished = roles_of(&settings, &instance, running, chain).await;
    let closed = instance.close().await;
    finished.and(closed)
}

async fn roles_of(
    settings: &Settings,
    instance: &Instance,
    mut running: Roles,
    chain: ChainArgs,
) -> Result<()> {
    instance.migrate().await?;
    let stop = running.stop().clone();
    let store = instance.store_as(obsqra_store::Role::Writer).await?;
    let node = match &settings.rpc_url {
        Some(_) => None,
        None => {
            let known = roles::known_chain(settings, &store).await?;
            let tip = match &known {
                Some(known) => chain_tip::load(&store, known).await?.map(|tip| tip.number),
                None => None,
            };
            Some(devnode::beside_the_log(chain, tip).await?)
        }
    };
    let url = match (&settings.rpc_url, &node) {
        (Some(url), _) => url.clone(),
        (None, Some(node)) => node.url(),
        (None, None) => String::new(),
    };
    let source = roles::node(&url)?;
    if let Some(chain) = roles::chain_of_node(settings, &store, &source, &stop).await? {
        let writing = Writing::open(instance, settings, &chain, "run").await?;
        let server = roles::bind_server(settings, instance, &writing.bus, &chain).await?;
        roles::announce(&server);
        let context = writing.context;
        let followed =
            roles::follow(settings.clone(), writing.store, source, chain.clone(), stop.clone());
        running.start("index", followed);
        running.start("relay", roles::relay(context.clone(), chain.clone(), stop.clone()));
        running.start("project", roles::project(context.clone(), chain.clone(), stop.clone()));
        running.start("work", roles::score_all(context, chain, stop.clone()));
        running.start("serve", async move { Ok(server.run(stop).await?) });
    }
    let finished = running.finish().await;
    if let Some(node) = node {
        node.stop().await;
    }
    finished
}
