//! `obsqra run`: all roles in one process.

use anyhow::Result;
use obsqra_devnode::DevNode;
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
    let known = roles::known_chain(settings, &store).await?;
    let node = match (&settings.rpc_url, &settings.dna_url) {
        (Some(_), _) | (_, Some(_)) => None,
        (None, None) => {
            let tip = match &known {
                Some(known) => chain_tip::load(&store, known).await?.map(|tip| tip.number),
                None => None,
            };
            Some(devnode::beside_the_log(chain, tip).await?)
        }
    };
    let urls = settings.rpc_url.clone().or(node.as_ref().map(DevNode::url));
    let feed = roles::feed(settings, urls.as_deref(), known.clone())?;
    let chain = match known {
        Some(known) => Some(known),
        None => roles::chain_of(&feed, &stop).await?,
    };
    if let Some(chain) = chain {
        let writing = Writing::open(instance, settings, &chain, "run").await?;
        let server = roles::bind_server(settings, instance, &writing.bus, &chain).await?;
        roles::announce(&server);
        let (context, bus) = (writing.context, writing.bus);
        let followed =
            roles::follow(settings.clone(), writing.store, feed, chain.clone(), stop.clone());
        running.start("index", followed);
        running.start("relay", roles::relay(context.clone(), chain.clone(), stop.clone()));
        let repeating =
            roles::relay_final(bus.clone(), context.clone(), chain.clone(), stop.clone());
        running.start("relay of final facts", repeating);
        running.start("project", roles::project(context.clone(), chain.clone(), stop.clone()));
        running.start("retract", roles::retract(context.clone(), chain.clone(), stop.clone()));
        running.start("allocate", roles::allocate(context.clone(), chain.clone(), stop.clone()));
        let reported = roles::enqueue_reports(context.clone(), chain.clone(), stop.clone());
        running.start("report", reported);
        running.start("jobs", roles::run_jobs(context.clone(), stop.clone()));
        let signed =
            roles::checkpoint(settings.clone(), bus, context.clone(), chain.clone(), stop.clone());
        running.start("checkpoint", signed);
        running.start("work", roles::score_all(context, chain, stop.clone()));
        running.start("serve", async move { Ok(server.run(stop).await?) });
    }
    let finished = running.finish().await;
    if let Some(node) = node {
        node.stop().await;
    }
    finished
}
