//! Settings: defaults, a TOML file, the environment, the command line, each over the one before.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use obsqra_indexer::completeness::{Effort, Keep};
use obsqra_types::ChainId;
use serde::{Deserialize, Serialize};

use crate::args::{Args, Command, IndexArgs, RunArgs, ServeArgs};
use crate::telemetry::LogFormat;

/// Names that the environment may set, with the prefix `OBSQRA_`. Others are left to tests and tools.
const ENVIRONMENT: [&str; 30] = [
    "data_dir",
    "log_format",
    "database_url",
    "database_url_file",
    "reader_database_url",
    "admin_database_url",
    "nats_url",
    "nats_token",
    "nats_token_file",
    "rpc_url",
    "dna_url",
    "dna_token",
    "dna_token_file",
    "chain",
    "start_block",
    "registry",
    "policies",
    "listen",
    "poll_interval_ms",
    "lease_ttl_ms",
    "idle_in_transaction_ms",
    "longest_rest_ms",
    "max_lag_blocks",
    "batch_blocks",
    "check",
    "keep",
    "compare_nodes",
    "checkpoint_key_file",
    "checkpoint_file",
    "checkpoint_rest_ms",
];

/// Those of them that are numbers. All others are text, even where they look like numbers, as a token may.
const NUMBERS: [&str; 8] = [
    "start_block",
    "poll_interval_ms",
    "lease_ttl_ms",
    "idle_in_transaction_ms",
    "longest_rest_ms",
    "max_lag_blocks",
    "batch_blocks",
    "checkpoint_rest_ms",
];

/// Everything that can be set.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Folder of this instance.
    pub(crate) data_dir: PathBuf,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// Database of the writer roles; private servers are used where it is not set.
    pub(crate) database_url: Option<String>,
    /// A file that holds it.
    pub(crate) database_url_file: Option<PathBuf>,
    /// Database of the GraphQL server, where another login is to be used.
    pub(crate) reader_database_url: Option<String>,
    /// Database for migrations, where another login is to be used.
    pub(crate) admin_database_url: Option<String>,
    /// NATS server.
    pub(crate) nats_url: Option<String>,
    /// Its token.
    pub(crate) nats_token: Option<String>,
    /// A file that holds it.
    pub(crate) nats_token_file: Option<PathBuf>,
    /// Nodes to follow, one or several with commas between them; the development node is used where it is not set.
    pub(crate) rpc_url: Option<String>,
    /// Apibara DNA server to stream from, in place of asking nodes.
    pub(crate) dna_url: Option<String>,
    /// Its bearer token.
    pub(crate) dna_token: Option<String>,
    /// A file that holds it.
    pub(crate) dna_token_file: Option<PathBuf>,
    /// The chain, where the log or the node is not to decide.
    pub(crate) chain: Option<String>,
    /// First block of a new log.
    pub(crate) start_block: u64,
    /// Registry file.
    pub(crate) registry: Option<PathBuf>,
    /// Policy file.
    pub(crate) policies: Option<PathBuf>,
    /// Address of the GraphQL server.
    pub(crate) listen: SocketAddr,
    /// Milliseconds between two looks at the node's head.
    pub(crate) poll_interval_ms: u64,
    /// Milliseconds that a lease runs without renewal.
    pub(crate) lease_ttl_ms: u64,
    /// Milliseconds that a transaction may stand idle before the server ends it: how long a process that is
    /// stopped inside one keeps others waiting.
    pub(crate) idle_in_transaction_ms: u64,
    /// Longest rest of a role that nothing wakes, in milliseconds.
    pub(crate) longest_rest_ms: u64,
    /// Lag in blocks from which the server is not ready.
    pub(crate) max_lag_blocks: u64,
    /// Most blocks appended in one transaction.
    pub(crate) batch_blocks: usize,
    /// How thoroughly blocks are checked before they are applied.
    pub(crate) check: CheckBlocks,
    /// What is kept of blocks.
    pub(crate) keep: KeepEvents,
    /// Whether each block is compared with what a second node has, where there are several.
    pub(crate) compare_nodes: CompareNodes,
    /// Secret key that checkpoints are signed with; made in the data directory where it is not set.
    pub(crate) checkpoint_key_file: Option<PathBuf>,
    /// Checkpoints outside the database; in the data directory where it is not set.
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// Milliseconds without a new entry after which the log's end is signed.
    pub(crate) checkpoint_rest_ms: u64,
}

/// How thoroughly blocks are checked.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckBlocks {
    /// Commitments and hash are recomputed where the source supplies what that takes.
    Whole,
    /// They are not; `obsqra attest` makes up for it.
    Off,
}

/// What is kept of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeepEvents {
    /// The events of watched contracts.
    Watched,
    /// The leaf of each other event too, so that the check can be repeated from the log alone.
    WatchedAndLeaves,
}

/// Whether blocks of several nodes are compared.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CompareNodes {
    /// Each block.
    EachBlock,
    /// None.
    Never,
}

impl From<CheckBlocks> for Effort {
    fn from(setting: CheckBlocks) -> Self {
        match setting {
            CheckBlocks::Whole => Self::Whole,
            CheckBlocks::Off => Self::Off,
        }
    }
}

impl From<KeepEvents> for Keep {
    fn from(setting: KeepEvents) -> Self {
        match setting {
            KeepEvents::Watched => Self::Watched,
            KeepEvents::WatchedAndLeaves => Self::WatchedAndLeaves,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".obsqra"),
            log_format: LogFormat::Human,
            database_url: None,
            database_url_file: None,
            reader_database_url: None,
            admin_database_url: None,
            nats_url: None,
            nats_token: None,
            nats_token_file: None,
            rpc_url: None,
            dna_url: None,
            dna_token: None,
            dna_token_file: None,
            chain: None,
            start_block: 0,
            registry: None,
            policies: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            poll_interval_ms: 500,
            lease_ttl_ms: 6_000,
            idle_in_transaction_ms: 30_000,
            longest_rest_ms: 1_000,
            max_lag_blocks: 50,
            batch_blocks: 256,
            check: CheckBlocks::Whole,
            keep: KeepEvents::Watched,
            compare_nodes: CompareNodes::EachBlock,
            checkpoint_key_file: None,
            checkpoint_file: None,
            checkpoint_rest_ms: 2_000,
        }
    }
}

impl Settings {
    /// Puts the settings together.
    pub(crate) fn load(args: &Args) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        let environment = Layer::of_environment()?;
        let base = figment.clone().merge(&environment);
        let data_dir = match &args.data_dir {
            Some(dir) => dir.clone(),
            None => base.extract_inner("data_dir").context("setting data_dir")?,
        };
        let beside_data = data_dir.join("obsqra.toml");
        if let Some(file) = args.config.as_ref().or(beside_data.exists().then_some(&beside_data)) {
            figment = figment.merge(&Layer::of_file(file)?);
        }
        let mut settings: Self = figment.merge(&environment).extract().map_err(describe)?;
        settings.data_dir = data_dir;
        if let Some(format) = args.log_format {
            settings.log_format = format;
        }
        settings.take_flags(&args.command);
        settings.read_secret_files()?;
        Ok(settings)
    }

    fn take_flags(&mut self, command: &Command) {
        match command {
            Command::Run(RunArgs { index, serve, .. }) => {
                self.take_index(index);
                self.take_serve(serve);
            }
            Command::Index(index) => self.take_index(index),
            Command::Serve(serve) => self.take_serve(serve),
            Command::Attest(args) => replace(&mut self.rpc_url, &args.node.rpc_url),
            _ => {}
        }
    }

    fn take_index(&mut self, args: &IndexArgs) {
        replace(&mut self.rpc_url, &args.rpc_url);
        replace(&mut self.registry, &args.registry);
        replace(&mut self.policies, &args.policies);
        if let Some(start) = args.start_block {
            self.start_block = start;
        }
    }

    fn take_serve(&mut self, args: &ServeArgs) {
        if let Some(listen) = args.listen {
            self.listen = listen;
        }
    }

    fn read_secret_files(&mut self) -> Result<()> {
        if let Some(file) = &self.database_url_file {
            self.database_url = Some(read_secret(file)?);
        }
        if let Some(file) = &self.dna_token_file {
            self.dna_token = Some(read_secret(file)?);
        }
        if let Some(file) = &self.nats_token_file {
            self.nats_token = Some(read_secret(file)?);
        }
        Ok(())
    }

    /// Where checkpoints are kept outside the database.
    pub(crate) fn checkpoint_file(&self) -> PathBuf {
        let in_data_dir = || self.data_dir.join("checkpoints.ndjson");
        self.checkpoint_file.clone().unwrap_or_else(in_data_dir)
    }

    /// The chain that was set, if one was.
    pub(crate) fn chain(&self) -> Result<Option<ChainId>> {
        self.chain
            .as_ref()
            .map(|name| ChainId::new(name.as_str()))
            .transpose()
            .context("setting chain")
    }
}

fn replace<T: Clone>(setting: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}

/// Settings from one place.
struct Layer {
    from: String,
    values: Dict,
}

impl Layer {
    /// An empty variable counts as not set: that is how compose files leave one out.
    fn of_environment() -> Result<Self> {
        let mut values = Dict::new();
        for name in ENVIRONMENT {
            let variable = format!("OBSQRA_{}", name.to_ascii_uppercase());
            match env::var(&variable) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => {
                    values.insert(name.to_owned(), read_value(name, text));
                }
                Err(VarError::NotPresent) => {}
                Err(VarError::NotUnicode(_)) => return Err(anyhow!("{variable} is not UTF-8")),
            }
        }
        Ok(Self { from: "OBSQRA_ variable of the environment".into(), values })
    }

    fn of_file(file: &Path) -> Result<Self> {
        let from = format!("settings file {}", file.display());
        let text = std::fs::read_to_string(file).with_context(|| from.clone())?;
        // The error's own text quotes the line, which may hold a secret.
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            anyhow!("{from}, line {line}: {}", error.message())
        })?;
        let values = Value::serialize(table).ok().and_then(Value::into_dict);
        Ok(Self { values: values.with_context(|| format!("{from} cannot be read"))?, from })
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.from.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// What is no number where one is expected stays text, which is refused with the setting's name.
fn read_value(name: &str, text: String) -> Value {
    match text.parse::<u64>() {
        Ok(number) if NUMBERS.contains(&name) => Value::from(number),
        _ => Value::from(text),
    }
}

/// The error's own text holds the value it found, which may be a secret.
fn describe(error: figment::Error) -> anyhow::Error {
    use figment::error::Kind;
    let place = error.path.join(".");
    let source = error.metadata.as_ref().map_or_else(String::new, |m| format!(" ({})", m.name));
    match &error.kind {
        Kind::UnknownField(field, _) => anyhow!("there is no setting `{field}`{source}"),
        Kind::InvalidType(_, expected) => {
            anyhow!("setting `{place}`{source}: expected {expected}")
        }
        Kind::InvalidValue(_, expected) => {
            anyhow!("setting `{place}`{source}: expected {expected}")
        }
        Kind::Message(message) if place.is_empty() => anyhow!("{message}{source}"),
        _ => anyhow!("setting `{place}`{source} cannot be read"),
    }
}

fn read_secret(file: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("secret file {}", file.display()))?;
    Ok(text.trim().to_owned())
}
