//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::telemetry::LogFormat;

/// Indexes Starknet into an append-only, hash-chained log, derives risk from it and serves it.
///
/// Settings come from the command line, else from `OBSQRA_NAME` in the environment, else from a TOML file;
/// the options of a development chain only from the command line.
#[derive(Debug, Parser)]
#[command(name = "obsqra", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Folder of this instance: private servers, secrets and logs.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// TOML file with settings [default: obsqra.toml in the data directory, if there is one].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How log lines look [default: human].
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run all roles in one process, with private servers and a development node where none are set.
    Run(RunArgs),
    /// Follow a chain into the log.
    Index(IndexArgs),
    /// Publish the log to NATS JetStream.
    Relay,
    /// Derive risk scores, one partition a protocol.
    Work,
    /// Keep the read models up to date, or check or rebuild them.
    Project {
        #[command(subcommand)]
        action: Option<ProjectAction>,
    },
    /// Check derived facts.
    Derive {
        #[command(subcommand)]
        action: DeriveAction,
    },
    /// Serve GraphQL.
    Serve(ServeArgs),
    /// Bring the database to this program's schema.
    Migrate,
    /// Run a stand-in for a Starknet node.
    Devnode(DevnodeArgs),
    /// Look at the log.
    Log {
        #[command(subcommand)]
        action: LogAction,
    },
    /// Say what works, what does not, and how far each role has come.
    Doctor,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectAction {
    /// Fold the log into scratch tables and compare them with the live read models.
    Verify,
    /// Empty the read models and fold the log again.
    Rebuild,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeriveAction {
    /// Derive every fact again from the chain lane and compare bytes.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogAction {
    /// Read the log again, recompute every hash and name the first bad entry.
    Verify {
        /// First position to check; the entry before it is trusted.
        #[arg(long, default_value_t = 1, value_name = "SEQ")]
        from: u64,
    },
    /// Print one entry.
    Show {
        /// Its position.
        seq: u64,
    },
    /// Print the position and hash of the last entry.
    Head,
}

/// Which node to follow, and how.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct IndexArgs {
    /// JSON-RPC address of a Starknet node. It may hold a key: prefer OBSQRA_RPC_URL.
    #[arg(long, value_name = "URL")]
    pub(crate) rpc_url: Option<String>,

    /// First block of a new log [default: 0].
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) start_block: Option<u64>,

    /// Registry of contracts, as JSON [default: the built-in one of the chain].
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,
}

/// Where to serve.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Address of the GraphQL server [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

/// The development chain.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ChainArgs {
    /// Serve recorded blocks: one JSON line a block, gzipped or not.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    pub(crate) recorded: Option<PathBuf>,

    /// Seed of the made-up chain [default: 1].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Blocks that are there at once [default: 2016, or all of a recording].
    #[arg(long, value_name = "N")]
    pub(crate) blocks: Option<u64>,

    /// Pace of the blocks after those [default: 1].
    #[arg(long, value_name = "X")]
    pub(crate) blocks_per_second: Option<f64>,
}

#[derive(Debug, Default, ClapArgs)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    #[command(flatten)]
    pub(crate) index: IndexArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DevnodeArgs {
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
}
