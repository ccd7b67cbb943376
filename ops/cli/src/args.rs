//! The command line.

mod replay;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use obsqra_devnode::{MAX_LIGHT_EVENTS, MAX_NODES, Scenario, ScenarioError, Spec};
use obsqra_store::job::{JobState, MAX_LISTED};
use obsqra_store::projection::state::READ_MODELS;
use obsqra_types::{InvalidJobKind, JobId, JobKind};

use crate::telemetry::LogFormat;
pub(crate) use replay::{Format, ReplayArgs};

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
    /// Sign the log's Merkle root at every thousandth entry and where the log rests.
    Checkpoint {
        #[command(subcommand)]
        action: Option<CheckpointAction>,
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
    /// Replay a range of the log, with the same bytes every time.
    Replay(Box<ReplayArgs>),
    /// Watch more contracts than the log began with, or show which.
    Watch {
        #[command(subcommand)]
        action: WatchAction,
    },
    /// Check one block by itself, or show what sources were found out about.
    Block {
        #[command(subcommand)]
        action: BlockAction,
    },
    /// Recompute the commitments and hashes of blocks that were applied without it.
    Attest(AttestArgs),
    /// Look at jobs that processes share, or cancel one.
    Job {
        #[command(subcommand)]
        action: JobAction,
    },
    /// Look at jobs that were set aside, and decide what becomes of them.
    Dead {
        #[command(subcommand)]
        action: DeadAction,
    },
    /// Say what works, what does not, and how far each role has come.
    Doctor,
    /// Measure a part of the system on private servers of its own, which go with it.
    Bench(BenchArgs),
}

/// What to measure, and how to say it.
#[derive(Debug, ClapArgs)]
pub(crate) struct BenchArgs {
    /// What to measure.
    pub(crate) name: BenchName,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,

    /// Sizes that show that it works and measure nothing.
    #[arg(long, hide = true)]
    pub(crate) smoke: bool,

    /// One lane alone.
    #[arg(long, hide = true, value_name = "LANE")]
    pub(crate) lane: Option<String>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum BenchName {
    /// Verifying the log, a deep reorganisation, the memory of a long backfill.
    Log,
    /// Taking blocks into the log, against a bare COPY of the same rows.
    Ingest,
    /// Folding the log into read models, against a bare COPY of the same rows; deriving it all again.
    Project,
    /// Replaying the log into Parquet, against a bare COPY of the same rows.
    Replay,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectAction {
    /// Fold the log into scratch tables and compare them with the live read models.
    Verify,
    /// Fold the log into tables beside the live read models and put these in their place; the projector goes on.
    Rebuild {
        /// A read model, or `all`.
        #[arg(value_parser = read_models(), default_value = ALL_READ_MODELS)]
        name: String,
    },
}

/// Names every read model.
pub(crate) const ALL_READ_MODELS: &str = "all";

fn read_models() -> PossibleValuesParser {
    PossibleValuesParser::new(READ_MODELS.into_iter().chain([ALL_READ_MODELS]))
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeriveAction {
    /// Derive every fact again from the chain lane and compare bytes.
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointAction {
    /// Print the public key that checkpoints of this instance are checked with.
    Key {
        /// Make a key first; where there is one, it is left alone and this fails.
        #[arg(long)]
        new: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogAction {
    /// Read the log again, recompute every hash and signed root, and name the first bad entry.
    Verify(VerifyArgs),
    /// Write a proof that an entry is in the log that a signed checkpoint fixes.
    Prove {
        /// The entry's position.
        seq: u64,
        /// File to write [default: standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The checkpoint to prove it under [default: the first that covers the entry].
        #[arg(long, value_name = "SEQ")]
        checkpoint: Option<u64>,
    },
    /// Check a proof; needs no database and no settings.
    CheckProof {
        /// The proof.
        file: PathBuf,
        /// Public key whose signature counts: 64 hex digits, or a file with one a line. May be repeated.
        #[arg(long, required = true, value_name = "KEY")]
        key: Vec<String>,
    },
    /// Write a range of entries and its checkpoints, for other programs to verify.
    Export {
        /// First position.
        #[arg(long, default_value_t = 1, value_name = "SEQ")]
        from: u64,
        /// Last position [default: the end of the log].
        #[arg(long, value_name = "SEQ")]
        to: Option<u64>,
        /// File to write [default: standard output].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print one entry.
    Show {
        /// Its position.
        seq: u64,
    },
    /// Print the position and hash of the last entry.
    Head,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WatchAction {
    /// Ask for contracts to be watched from the log's first block on, and wait until it is done.
    Add(WatchAddArgs),
    /// Print what was added and how far it is.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BlockAction {
    /// Recompute commitments and hash of a block out of a file; needs no database and no settings. Ends with 0
    /// only where event commitment and block hash hold.
    Verify {
        /// An answer of starknet_getBlockWithReceipts, or a block of the feeder gateway; gzipped or not.
        file: PathBuf,
    },
    /// Show the blocks that nodes contradicted themselves or one another about.
    Evidence {
        /// The height [default: list the newest ones].
        height: Option<u64>,
        /// File for what the node answered.
        #[arg(long, value_name = "FILE", requires = "height")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobAction {
    /// List jobs, newest first.
    List {
        #[command(flatten)]
        list: JobListArgs,
        /// Only those in this state.
        #[arg(long, value_name = "STATE", value_parser = JobState::NAMES)]
        state: Option<String>,
    },
    /// Ask for a job not to be done; one that runs is told at its next renewal.
    Cancel {
        /// The job.
        #[arg(value_parser = job_id)]
        id: JobId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadAction {
    /// List jobs that were set aside, newest first.
    List(JobListArgs),
    /// Show one with its payload and why it was set aside.
    Show {
        /// The job.
        #[arg(value_parser = job_id)]
        id: JobId,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Queue one again, with all its attempts.
    Retry {
        /// The job.
        #[arg(value_parser = job_id)]
        id: JobId,
    },
    /// Give one up: it is not done, and not enqueued again.
    Drop {
        /// The job.
        #[arg(value_parser = job_id)]
        id: JobId,
    },
}

/// Which jobs to list.
#[derive(Debug, ClapArgs)]
pub(crate) struct JobListArgs {
    /// Only those of this kind.
    #[arg(long, value_name = "KIND", value_parser = job_kind)]
    pub(crate) kind: Option<JobKind>,
    /// Only those enqueued before this one.
    #[arg(long, value_name = "ID", value_parser = job_id)]
    pub(crate) before: Option<JobId>,
    /// Most jobs listed.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LISTED)))]
    pub(crate) limit: u32,
    /// Print a JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

fn job_id(text: &str) -> Result<JobId, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(JobId).ok_or_else(|| "give a job's number, as `obsqra job list` shows it".to_owned())
}

fn job_kind(text: &str) -> Result<JobKind, InvalidJobKind> {
    JobKind::new(text)
}

/// Which blocks to check again.
#[derive(Debug, ClapArgs)]
pub(crate) struct AttestArgs {
    /// First height [default: the first of the log].
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) from: Option<u64>,
    /// Last height [default: the newest of the log].
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) to: Option<u64>,
    /// Repeat the check from the log alone, for blocks whose leaves are kept; nothing is written.
    #[arg(long)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// Which node to ask.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct NodeArgs {
    /// JSON-RPC address of a node of specification 0.10, or several with commas between them. They may hold
    /// keys: prefer OBSQRA_RPC_URL.
    #[arg(long, value_name = "URL")]
    pub(crate) rpc_url: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WatchAddArgs {
    /// Addresses of contracts; their events are kept, and decoded once a registry knows them.
    #[arg(value_name = "ADDRESS", required_unless_present = "registry")]
    pub(crate) contracts: Vec<String>,

    /// A registry that has more contracts than the adopted one; it is adopted when all is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,

    /// Only ask, do not wait.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// What to verify, and against what.
#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// First position to check; the entry before it is trusted.
    #[arg(long, default_value_t = 1, value_name = "SEQ")]
    pub(crate) from: u64,
    /// Checkpoint file to hold the log against, beside the checkpoints of the database.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoints: Option<PathBuf>,
    /// Public key whose signatures count: 64 hex digits, or a file with one a line. May be repeated
    /// [default: the key of this instance].
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Accept a log that is shorter than what was signed, and otherwise intact.
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Decode every entry too, and count the events of each block and compare their digest.
    #[arg(long)]
    pub(crate) decode: bool,
}

/// Which node to follow, and how.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct IndexArgs {
    /// JSON-RPC address of a Starknet node, or several with commas between them. They may hold keys: prefer
    /// OBSQRA_RPC_URL.
    #[arg(long, value_name = "URL")]
    pub(crate) rpc_url: Option<String>,

    /// First block of a new log [default: 0].
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) start_block: Option<u64>,

    /// Registry of contracts, as JSON [default: the built-in one of the chain].
    #[arg(long, value_name = "FILE")]
    pub(crate) registry: Option<PathBuf>,

    /// Policies of allocation, as JSON [default: the built-in presets].
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
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

    /// Serve a chain for load: blocks of so many events made on the fly, true to no protocol.
    #[arg(long, value_name = "EVENTS", conflicts_with = "recorded", value_parser = light_events)]
    pub(crate) light: Option<u32>,

    /// Make the blocks for load ahead, with all commitments.
    #[arg(long, requires = "light")]
    pub(crate) sealed: bool,

    /// JSON-RPC specification to answer by: 0.8, 0.9 or 0.10.
    #[arg(long, value_name = "VERSION", default_value = "0.10")]
    pub(crate) spec: Spec,

    /// Nodes that serve the chain: the first one makes it, the others follow it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = nodes)]
    pub(crate) nodes: usize,

    /// Run the nodes and steps of a scenario file (TOML).
    #[arg(long, value_name = "FILE", value_parser = scenario, conflicts_with_all = [
        "recorded", "seed", "blocks", "blocks_per_second", "light", "sealed", "spec", "nodes",
    ])]
    pub(crate) scenario: Option<Box<Scenario>>,

    /// Address to listen on; further nodes take the ports after it.
    #[arg(long, default_value = "127.0.0.1:5050", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,

    /// Address of an Apibara DNA stream of the first node's chain.
    #[arg(long, value_name = "ADDR", conflicts_with = "scenario")]
    pub(crate) dna_listen: Option<SocketAddr>,
}

/// A scenario is read with the command line, so that a bad file is a wrong call.
fn scenario(file: &str) -> Result<Box<Scenario>, ScenarioError> {
    Scenario::read(Path::new(file)).map(Box::new)
}

fn light_events(text: &str) -> Result<u32, String> {
    let events = text.parse().ok().filter(|events| *events <= MAX_LIGHT_EVENTS);
    events.ok_or_else(|| format!("give a number of events up to {MAX_LIGHT_EVENTS}"))
}

fn nodes(text: &str) -> Result<usize, String> {
    let nodes = text.parse().ok().filter(|nodes| (1..=MAX_NODES).contains(nodes));
    nodes.ok_or_else(|| format!("give a number of nodes from 1 to {MAX_NODES}"))
}
