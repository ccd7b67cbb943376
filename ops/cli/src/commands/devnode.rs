//! `obsqra devnode`: a stand-in for a Starknet node.

use anyhow::Result;
use obsqra_devnode::{DevNode, DevNodeOptions};
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
    let mut options = options(args.chain);
    options.listen = args.listen;
    let running = Roles::new()?;
    let node = DevNode::start(options).await?;
    println!("JSON-RPC  {} ({})", node.url(), node.chain_id());
    running.stop().cancelled().await;
    node.stop().await;
    Ok(())
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
