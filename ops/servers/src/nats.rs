//! A private nats-server with JetStream.
//!
//! Its configuration file holds the token and is therefore of mode 0600. A server that a killed
//! supervisor left behind is adopted when its configuration is still the wanted one.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::data_dir::{HeldDataDir, make_private_dir};
use crate::port::{self, PORT_TRIES};
use crate::process::{self, Launch, ServerProcess};
use crate::secret::{Secret, write_private};
use crate::tools::{ToolPaths, bare_command};
use crate::{Durability, ServerError};

const SERVER: &str = "nats-server";

/// Recovery reads the streams' files.
const START_LIMIT: Duration = Duration::from_secs(60);
const GREETING_LIMIT: Duration = Duration::from_secs(2);
const GREETING_PAUSE: Duration = Duration::from_millis(20);

/// A term and a kill, 5 s in all.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// What to start.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// The instance's data directory, made if it is not there.
    pub data_dir: PathBuf,
    /// Whether each acknowledged message is synced to disk.
    pub durability: Durability,
    /// Where the program is.
    pub tools: ToolPaths,
}

impl NatsOptions {
    /// Options with the program where `ops/install` puts it.
    pub fn new(data_dir: impl Into<PathBuf>, durability: Durability) -> Self {
        Self { data_dir: data_dir.into(), durability, tools: ToolPaths::default() }
    }
}

/// A running private nats-server. Dropping it ends the server quickly; `stop` ends it in order.
#[derive(Debug)]
pub struct PrivateNats {
    process: ServerProcess,
    setup: Setup,
    port: u16,
    _held: HeldDataDir,
}

impl PrivateNats {
    /// Returns when the server greets its clients.
    pub async fn start(options: NatsOptions) -> Result<Self, ServerError> {
        let held = HeldDataDir::hold(&options.data_dir, "nats")?;
        let setup = Setup::open(&held, &options)?;
        let (process, port) = adopt_or_launch(&setup).await?;
        Ok(Self { process, setup, port, _held: held })
    }

    /// `nats://127.0.0.1:port`, without the token.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What a client authenticates with.
    pub fn token(&self) -> &Secret {
        &self.setup.token
    }

    /// Whether the server process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// An orderly end, then a kill when it takes too long: 5 s at most.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::TERM, STOP_LIMIT, KILL_LIMIT).await
    }

    /// Kills the server as a crash would, and leaves it down.
    pub async fn kill(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::KILL, STOP_LIMIT, KILL_LIMIT).await
    }

    /// Stops the server if it runs, and starts it again, on the same port unless that was taken.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::TERM, STOP_LIMIT, KILL_LIMIT).await?;
        (self.process, self.port) = launch(&self.setup).await?;
        Ok(())
    }
}

/// The server's files and program.
#[derive(Debug)]
struct Setup {
    program: PathBuf,
    durability: Durability,
    token: Secret,
    directory: PathBuf,
    log: PathBuf,
    port_file: PathBuf,
}

impl Setup {
    fn open(held: &HeldDataDir, options: &NatsOptions) -> Result<Self, ServerError> {
        let directory = held.path().join("nats");
        make_private_dir(&directory)?;
        Ok(Self {
            program: options.tools.nats()?,
            durability: options.durability,
            token: Secret::load_or_create(&held.secret("nats_token")?)?,
            directory,
            log: held.path().join("nats.log"),
            port_file: held.path().join("nats.port"),
        })
    }

    fn config_file(&self) -> PathBuf {
        self.directory.join("nats.conf")
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("nats.pid")
    }

    fn command(&self) -> Command {
        let mut command = bare_command(&self.program);
        command.arg("--config").arg(self.config_file());
        command
    }

    fn launch_plan(&self) -> Launch<'_> {
        Launch { server: SERVER, command: self.command(), log: &self.log, quit: Signal::TERM }
    }

    fn has_config(&self, port: u16) -> bool {
        fs::read_to_string(self.config_file()).is_ok_and(|text| text == self.config(port))
    }

    fn config(&self, port: u16) -> String {
        let sync_interval = match self.durability {
            Durability::Full => "always",
            Durability::Throwaway => "2m",
        };
        format!(
            "listen: \"127.0.0.1:{port}\"\n\
             server_name: \"obsqra\"\n\
             pid_file: {pid_file}\n\
             authorization {{ token: \"{token}\" }}\n\
             jetstream {{\n  \
               store_dir: {store}\n  \
               sync_interval: {sync_interval}\n  \
               max_memory_store: 256MB\n  \
               max_file_store: 16GB\n\
             }}\n",
            pid_file = quoted(&self.pid_file()),
            store = quoted(&self.directory.join("jetstream")),
            token = self.token.expose(),
        )
    }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

async fn adopt_or_launch(setup: &Setup) -> Result<(ServerProcess, u16), ServerError> {
    let running =
        process::read_pid(&setup.pid_file()).and_then(|pid| setup.launch_plan().adopt(pid));
    let Some(mut process) = running else {
        return launch(setup).await;
    };
    match port::remembered(&setup.port_file) {
        Some(port) if setup.has_config(port) => {
            await_greeting(&mut process, port).await?;
            tracing::info!(port, "nats-server is still running and is adopted");
            Ok((process, port))
        }
        _ => {
            tracing::info!(
                "nats-server is still running with another configuration and is restarted"
            );
            process.stop(Signal::TERM, STOP_LIMIT, KILL_LIMIT).await?;
            launch(setup).await
        }
    }
}

async fn launch(setup: &Setup) -> Result<(ServerProcess, u16), ServerError> {
    let mut port = 0;
    for _ in 0..PORT_TRIES {
        port = port::choose(&setup.port_file)?;
        write_private(&setup.config_file(), &setup.config(port))?;
        let mut process = setup.launch_plan().spawn()?;
        match await_greeting(&mut process, port).await {
            Ok(()) => return Ok((process, port)),
            Err(_) if process.log_tells("address already in use") => {}
            Err(error) => return Err(error),
        }
    }
    Err(ServerError::PortTaken { server: SERVER, port })
}

async fn await_greeting(process: &mut ServerProcess, port: u16) -> Result<(), ServerError> {
    let deadline = Instant::now() + START_LIMIT;
    while process.is_running() {
        if greets(port).await {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(process.timed_out("ready", START_LIMIT));
        }
        tokio::time::sleep(GREETING_PAUSE).await;
    }
    Err(process.ended_early())
}

/// A NATS server speaks first: a line that begins with INFO and says whether JetStream is on.
async fn greets(port: u16) -> bool {
    let greeting = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.ok()?;
        Some(line.starts_with("INFO ") && line.contains("\"jetstream\":true"))
    };
    matches!(tokio::time::timeout(GREETING_LIMIT, greeting).await, Ok(Some(true)))
}
