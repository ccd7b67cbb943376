//! A private PostgreSQL cluster with TimescaleDB loaded.
//!
//! Starting makes the cluster on first use, adopts a server that a killed supervisor left behind, or
//! starts it, and then brings roles and database to the state below. Whether the server runs with
//! today's settings is part of what is compared: one that does not is restarted, not adopted.

mod cluster;
mod roles;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::account::Account;
use crate::data_dir::HeldDataDir;
use crate::port::{self, PORT_TRIES};
use crate::process::{self, Launch, ServerProcess};
use crate::secret::{DatabaseUrl, Secret};
use crate::tools::ToolPaths;
use crate::{Durability, ServerError};

use cluster::Cluster;
use roles::Passwords;

pub(crate) const SERVER: &str = "PostgreSQL";

/// Recovery after a crash reads up to `max_wal_size` of log.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A fast shutdown ends with a checkpoint, which a slow disk can draw out; the immediate one that
/// follows leaves the rest to recovery. With the kill after it, 8 s in all.
const FAST_LIMIT: Duration = Duration::from_secs(6);
const IMMEDIATE_LIMIT: Duration = Duration::from_secs(1);

/// How long the children of a killed server take to notice.
const ORPHAN_LIMIT: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The instance's data directory, made if it is not there.
    pub data_dir: PathBuf,
    /// Settings for keeping data, or for speed.
    pub durability: Durability,
    /// Where the programs are.
    pub tools: ToolPaths,
}

impl PostgresOptions {
    /// Options with the programs where `ops/install` puts them.
    pub fn new(data_dir: impl Into<PathBuf>, durability: Durability) -> Self {
        Self { data_dir: data_dir.into(), durability, tools: ToolPaths::default() }
    }
}

/// The same database as each of the login roles.
#[derive(Debug, Clone)]
pub struct DatabaseUrls {
    /// `obsqra_admin`, a superuser: migrations only.
    pub admin: DatabaseUrl,
    /// `obsqra_write`, a member of `obsqra_writer`.
    pub writer: DatabaseUrl,
    /// `obsqra_read`, a member of `obsqra_reader`.
    pub reader: DatabaseUrl,
    /// `obsqra_analyse`, a member of `obsqra_analyst`: for people, no role of the program uses it.
    pub analyst: DatabaseUrl,
}

/// A running private cluster. Dropping it ends the server quickly; `stop` ends it in order.
#[derive(Debug)]
pub struct PrivatePostgres {
    process: ServerProcess,
    cluster: Cluster,
    passwords: Passwords,
    port: u16,
    held: HeldDataDir,
}

impl PrivatePostgres {
    /// Returns when the server accepts connections and roles and database are in place.
    pub async fn start(options: PostgresOptions) -> Result<Self, ServerError> {
        let held = HeldDataDir::hold(&options.data_dir, "postgres")?;
        let account = Account::for_postgres()?;
        account.require_reach(held.path())?;
        let passwords = Passwords::load_or_create(&held)?;
        let cluster = Cluster::open(&held, account, &options.tools, options.durability)?;
        cluster.initialize_if_new(&passwords.admin).await?;
        let (process, port) = adopt_or_launch(&cluster).await?;
        let server = Self { process, cluster, passwords, port, held };
        server.ensure_roles().await?;
        Ok(server)
    }

    /// The connection URLs of the database `obsqra`.
    pub fn urls(&self) -> DatabaseUrls {
        let url = |role, password: &Secret| {
            DatabaseUrl::new(role, password.clone(), self.port, roles::DATABASE)
        };
        DatabaseUrls {
            admin: url(roles::ADMIN, &self.passwords.admin),
            writer: url(roles::WRITE, &self.passwords.write),
            reader: url(roles::READ, &self.passwords.read),
            analyst: url(roles::ANALYSE, &self.passwords.analyse),
        }
    }

    /// Whether the server process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// A fast shutdown, made immediate and then a kill when it takes too long: 8 s at most.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::INT, FAST_LIMIT, IMMEDIATE_LIMIT).await
    }

    /// Kills the server as a crash would, and leaves it down.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::KILL, FAST_LIMIT, IMMEDIATE_LIMIT).await
    }

    /// Stops the server if it runs, and starts it again, on the same port unless that was taken.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::INT, FAST_LIMIT, IMMEDIATE_LIMIT).await?;
        (self.process, self.port) = launch(&self.cluster).await?;
        self.ensure_roles().await
    }

    async fn ensure_roles(&self) -> Result<(), ServerError> {
        let psql = self.cluster.program("psql");
        roles::ensure(&psql, &self.held, &self.passwords, self.port).await
    }
}

async fn adopt_or_launch(cluster: &Cluster) -> Result<(ServerProcess, u16), ServerError> {
    let Some(mut process) = running(cluster) else {
        return launch(cluster).await;
    };
    match cluster.running_port() {
        Some(port) if cluster.has_settings(port) => {
            await_ready(cluster, &mut process).await?;
            tracing::info!(port, "PostgreSQL is still running and is adopted");
            Ok((process, port))
        }
        _ => {
            tracing::info!("PostgreSQL is still running with other settings and is restarted");
            process.stop(Signal::INT, FAST_LIMIT, IMMEDIATE_LIMIT).await?;
            launch(cluster).await
        }
    }
}

fn running(cluster: &Cluster) -> Option<ServerProcess> {
    let pid = process::read_pid(&cluster.pid_file())?;
    launch_plan(cluster).adopt(pid)
}

fn launch_plan(cluster: &Cluster) -> Launch<'_> {
    Launch {
        server: SERVER,
        command: cluster.server_command(),
        log: cluster.log(),
        quit: Signal::QUIT,
    }
}

async fn launch(cluster: &Cluster) -> Result<(ServerProcess, u16), ServerError> {
    clear_the_way(cluster).await?;
    let mut port = 0;
    for _ in 0..PORT_TRIES {
        port = port::choose(cluster.port_file())?;
        cluster.write_settings(port)?;
        let mut process = launch_plan(cluster).spawn()?;
        match await_ready(cluster, &mut process).await {
            Ok(()) => return Ok((process, port)),
            Err(_) if process.log_tells("could not bind") => {}
            Err(error) => return Err(error),
        }
    }
    Err(ServerError::PortTaken { server: SERVER, port })
}

/// After a killed server its children end by themselves; a new server must not start before. Its pid
/// file may by now name a process of another program, which PostgreSQL would take for a rival.
async fn clear_the_way(cluster: &Cluster) -> Result<(), ServerError> {
    let title = format!("postgres: {}: ", cluster.name());
    if !process::holds_within(ORPHAN_LIMIT, || !process::any_with_title(&title)).await {
        return Err(ServerError::TimedOut {
            server: SERVER,
            awaited: "gone",
            seconds: ORPHAN_LIMIT.as_secs(),
            log: cluster.log().to_owned(),
        });
    }
    let pid_file = cluster.pid_file();
    if process::read_pid(&pid_file).and_then(process::read_command_line).is_some() {
        fs::remove_file(&pid_file).map_err(ServerError::io("remove", &pid_file))?;
    }
    Ok(())
}

/// The server itself writes `ready` into its pid file.
async fn await_ready(cluster: &Cluster, process: &mut ServerProcess) -> Result<(), ServerError> {
    let mut alive = true;
    let answered = process::holds_within(START_LIMIT, || {
        alive = process.is_running();
        !alive || cluster.is_ready(process.pid())
    });
    match (answered.await, alive) {
        (_, false) => Err(process.ended_early()),
        (true, true) => Ok(()),
        (false, true) => Err(process.timed_out("ready", START_LIMIT)),
    }
}
