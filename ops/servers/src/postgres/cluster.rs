//! The cluster's files: how they are made, and the settings they hold.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;

use crate::account::Account;
use crate::data_dir::{HeldDataDir, make_private_dir};
use crate::error::last_complaint;
use crate::secret::{Secret, write_private};
use crate::tools::{PostgresTools, ToolPaths, missing_postgres};
use crate::{Durability, ServerError};

use super::roles;

const ACCESS: &str =
    "# Passwords only, from this machine only.\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// Common to both: what the product relies on, and nothing that listens beyond this machine.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
timezone = 'UTC'
log_timezone = 'UTC'
log_checkpoints = off
jit = off
max_locks_per_transaction = 256
";

/// For a machine of two cores and a few GB: the recent chunks of the log fit the buffers, checkpoints
/// are rare, and an acknowledged commit is on disk.
const FULL: &str = "\
fsync = on
full_page_writes = on
synchronous_commit = on
wal_compression = lz4
max_wal_size = 4GB
min_wal_size = 512MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
shared_buffers = 512MB
effective_cache_size = 2GB
maintenance_work_mem = 128MB
work_mem = 16MB
random_page_cost = 1.1
max_connections = 100
max_worker_processes = 16
max_parallel_workers_per_gather = 1
";

/// Many small databases at once, none of which outlives the run. A commit is still handed to the
/// operating system before it is acknowledged, so tests may kill the server. The extension's background workers
/// are off, because one connected to a template database blocks copying it.
const THROWAWAY: &str = "\
fsync = off
full_page_writes = off
synchronous_commit = on
max_wal_size = 2GB
checkpoint_timeout = 1h
shared_buffers = 256MB
max_connections = 300
max_worker_processes = 8
max_parallel_workers_per_gather = 0
timescaledb.max_background_workers = 0
autovacuum_naptime = 1h
";

/// A cluster on disk, with the programs that fit it.
#[derive(Debug)]
pub(super) struct Cluster {
    tools: PostgresTools,
    account: Account,
    durability: Durability,
    directory: PathBuf,
    log: PathBuf,
    port_file: PathBuf,
    name: String,
}

impl Cluster {
    pub(super) fn open(
        held: &HeldDataDir,
        account: Account,
        tools: &ToolPaths,
        durability: Durability,
    ) -> Result<Self, ServerError> {
        let directory = held.path().join("postgres");
        Ok(Self {
            tools: matching_tools(held.path(), &directory, tools)?,
            account,
            durability,
            log: held.path().join("postgres.log"),
            port_file: held.path().join("postgres.port"),
            name: cluster_name(&directory),
            directory,
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.tools.program(name)
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    pub(super) fn port_file(&self) -> &Path {
        &self.port_file
    }

    /// Stands in the title of each of the server's processes.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.directory.join("postmaster.pid")
    }

    pub(super) fn server_command(&self) -> Command {
        let mut command = self.account.command(self.program("postgres"));
        command.arg("-D").arg(&self.directory);
        command
    }

    /// Made beside its place and renamed, so that a cluster that is there is a whole one.
    pub(super) async fn initialize_if_new(&self, password: &Secret) -> Result<(), ServerError> {
        if self.directory.exists() {
            return Ok(());
        }
        tracing::info!(directory = %self.directory.display(), "making a PostgreSQL cluster");
        let partial = self.directory.with_extension("new");
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ServerError::io("remove", &partial)(error));
            }
            _ => {}
        }
        make_private_dir(&partial)?;
        self.account.give(&partial)?;
        self.run_initdb(&partial, password).await?;
        self.write_file(&partial.join("pg_hba.conf"), ACCESS)?;
        append(&partial.join("postgresql.conf"), "include_if_exists = 'obsqra.conf'\n")?;
        fs::rename(&partial, &self.directory).map_err(ServerError::io("create", &self.directory))
    }

    async fn run_initdb(&self, directory: &Path, password: &Secret) -> Result<(), ServerError> {
        let password_file = directory.with_extension("password");
        write_private(&password_file, password.expose())?;
        self.account.give(&password_file)?;
        let mut command = self.account.command(self.program("initdb"));
        command
            .arg("--pgdata")
            .arg(directory)
            .args([
                "--username",
                roles::ADMIN,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
            ])
            .arg("--pwfile")
            .arg(&password_file)
            .process_group(0);
        command.arg(match self.durability {
            Durability::Full => "--data-checksums",
            Durability::Throwaway => "--no-sync",
        });
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
        fs::remove_file(&password_file).map_err(ServerError::io("remove", &password_file))?;
        let output = output.map_err(ServerError::io("run", &self.program("initdb")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("No space left on device") {
            return Err(ServerError::DiskFull { path: directory.to_owned() });
        }
        Err(ServerError::StepFailed { program: "initdb", reason: last_complaint(&said) })
    }

    pub(super) fn write_settings(&self, port: u16) -> Result<(), ServerError> {
        self.write_file(&self.settings_file(), &self.settings(port))
    }

    /// Whether the server that runs was started with these settings.
    pub(super) fn has_settings(&self, port: u16) -> bool {
        fs::read_to_string(self.settings_file()).is_ok_and(|text| text == self.settings(port))
    }

    /// The port in the fourth line of the pid file.
    pub(super) fn running_port(&self) -> Option<u16> {
        fs::read_to_string(self.pid_file()).ok()?.lines().nth(3)?.trim().parse().ok()
    }

    /// What the eighth line of the pid file says, as `pg_ctl` reads it. The file of a server that was
    /// killed still says so: the first line must name this one.
    pub(super) fn is_ready(&self, pid: Pid) -> bool {
        let Ok(text) = fs::read_to_string(self.pid_file()) else {
            return false;
        };
        let line = |index| text.lines().nth(index).map(str::trim);
        line(0) == Some(pid.to_string().as_str()) && line(7) == Some("ready")
    }

    fn settings_file(&self) -> PathBuf {
        self.directory.join("obsqra.conf")
    }

    fn settings(&self, port: u16) -> String {
        let durability = match self.durability {
            Durability::Full => FULL,
            Durability::Throwaway => THROWAWAY,
        };
        format!("port = {port}\ncluster_name = '{}'\n{SETTINGS}{durability}", self.name)
    }

    fn write_file(&self, path: &Path, text: &str) -> Result<(), ServerError> {
        write_private(path, text)?;
        self.account.give(path)
    }
}

/// An existing cluster can only be run by the major version that made it.
fn matching_tools(
    data_dir: &Path,
    directory: &Path,
    tools: &ToolPaths,
) -> Result<PostgresTools, ServerError> {
    let Ok(text) = fs::read_to_string(directory.join("PG_VERSION")) else {
        return tools.postgres(None).ok_or_else(missing_postgres);
    };
    let major = text.trim();
    let number = major.parse().ok();
    number.and_then(|number| tools.postgres(Some(number))).ok_or_else(|| ServerError::OtherMajor {
        data_dir: data_dir.to_owned(),
        major: major.to_owned(),
    })
}

/// Distinct for each directory, so that one cluster's processes are told from another's.
fn cluster_name(directory: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    directory.hash(&mut hasher);
    format!("obsqra_{:016x}", hasher.finish())
}

fn append(path: &Path, text: &str) -> Result<(), ServerError> {
    let mut content = fs::read_to_string(path).map_err(ServerError::io("read", path))?;
    content.push_str(text);
    fs::write(path, content).map_err(ServerError::io("write", path))
}
