//! `obsqra devnode`: a stand-in for a Starknet node, or for several.

use anyhow::Result;
use obsqra_devnode::{DevNode, DevNodeOptions, Network, ScenarioNode, Source};
use obsqra_types::BlockNumber;

use crate::args::{ChainArgs, DevnodeArgs};
use crate::roles::Roles;

/// The seed where none is given.
const DEFAULT_SEED: u64 = 1;

fn options(args: ChainArgs) -> DevNodeOptions {
    let mut options = match args.recorded {
        Some(file) => DevNodeOptions::recorded(file),
        None => DevNodeOptions::seeded(args.seed.unwrap_or(DEFAULT_SEED)),
    };
    if let Some(blocks) = args.blocks {
        options.blocks = blocks;
    }
    if let Some(pace) = args.blocks_per_second {
        options.blocks_per_second = pace;
    }
    options
}

pub(super) async fn run(args: DevnodeArgs) -> Result<()> {
    let running = Roles::new()?;
    let network = network(args).await?;
    for node in network.nodes() {
        println!("JSON-RPC  {} ({})", node.url(), node.chain_id());
        println!("WebSocket {}", node.ws_url());
        if let Some(url) = node.dna_url() {
            println!("DNA       {url}");
        }
    }
    running.stop().cancelled().await;
    network.stop().await;
    Ok(())
}

async fn network(args: DevnodeArgs) -> Result<Network> {
    if let Some(scenario) = args.scenario {
        println!("Scenario  {}", scenario.title);
        return Ok(Network::of_scenario(*scenario, args.listen).await?);
    }
    let seed = args.chain.seed.unwrap_or(DEFAULT_SEED);
    let mut first = options(args.chain);
    first.listen = args.listen;
    first.spec = args.spec;
    first.dna_listen = args.dna_listen;
    if let Some(events_per_block) = args.light {
        first.source = if args.sealed {
            Source::Sealed { seed, events_per_block }
        } else {
            Source::Light { seed, events_per_block }
        };
    }
    let other = ScenarioNode { spec: args.spec, ..ScenarioNode::default() };
    let others = vec![other; args.nodes.saturating_sub(1)];
    Ok(Network::start(first, others, Vec::new()).await?)
}

/// A node on a free port whose chain is at least as long as the log, so that a second run goes on where
/// the first one stopped.
pub(super) async fn beside_the_log(args: ChainArgs, tip: Option<BlockNumber>) -> Result<DevNode> {
    let mut options = options(args);
    if let Some(tip) = tip {
        options.blocks = options.blocks.max(tip.0.saturating_add(1));
    }
    Ok(DevNode::start(options).await?)
}
