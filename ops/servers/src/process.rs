//! One server process: started here, or found running and adopted.
//!
//! A process is recognised by its command line, because a process id alone may have been given to
//! another program since. The command line of any process can be read by anyone, which holds in
//! containers too, where root may not follow another user's links under `/proc`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt as _;

use rustix::process::{Pid, Signal, kill_process};

use crate::ServerError;

const POLL: Duration = Duration::from_millis(10);

/// How long `Drop` lets a server end by itself before it is killed.
const DROP_LIMIT: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    server: &'static str,
    pid: Pid,
    /// `None` for an adopted one, whose parent is another process.
    child: Option<Child>,
    command_line: CommandLine,
    log: PathBuf,
    /// Asks for the quickest end that the server can recover from.
    quit: Signal,
}

/// A program's name and arguments. Where the program lies is left out: a newer installation is to
/// find the server that an older one started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    program: String,
    arguments: Vec<String>,
}

impl CommandLine {
    fn new(mut parts: Vec<String>) -> Self {
        let arguments = parts.split_off(parts.len().min(1));
        let program = parts.pop().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        Self { program: name, arguments }
    }

    /// `None` when there is no such process, or it is a zombie.
    fn of(pid: Pid) -> Option<Self> {
        read_command_line(pid).map(Self::new)
    }
}

/// What to run, and how it is told to end quickly.
pub(crate) struct Launch<'a> {
    pub(crate) server: &'static str,
    pub(crate) command: Command,
    pub(crate) log: &'a Path,
    pub(crate) quit: Signal,
}

impl Launch<'_> {
    fn command_line(&self) -> CommandLine {
        let program = self.command.get_program();
        let parts = [program].into_iter().chain(self.command.get_args());
        CommandLine::new(parts.map(|part| part.to_string_lossy().into_owned()).collect())
    }

    /// Starts it in a process group of its own, so that the terminal's Ctrl-C reaches the supervisor
    /// alone, which then stops its servers in order. The log of the run before is kept beside.
    pub(crate) fn spawn(mut self) -> Result<ServerProcess, ServerError> {
        let command_line = self.command_line();
        let io_error = |action| ServerError::io(action, self.log);
        match fs::rename(self.log, self.log.with_extension("log.1")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("rotate")(error));
            }
            _ => {}
        }
        let log = File::create(self.log).map_err(io_error("create"))?;
        let errors = log.try_clone().map_err(io_error("open"))?;
        self.command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let program = PathBuf::from(self.command.get_program());
        let child = self.command.spawn().map_err(ServerError::io("run", &program))?;
        Ok(ServerProcess {
            server: self.server,
            pid: Pid::from_child(&child),
            child: Some(child),
            command_line,
            log: self.log.to_owned(),
            quit: self.quit,
        })
    }

    /// Takes over the process of that id if it runs this command.
    pub(crate) fn adopt(&self, pid: Pid) -> Option<ServerProcess> {
        let command_line = self.command_line();
        (CommandLine::of(pid)? == command_line).then(|| ServerProcess {
            server: self.server,
            pid,
            child: None,
            command_line,
            log: self.log.to_owned(),
            quit: self.quit,
        })
    }
}

impl ServerProcess {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn log_tells(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|log| log.contains(words))
    }

    pub(crate) fn ended_early(&self) -> ServerError {
        ServerError::ended_early(self.server, &self.log)
    }

    pub(crate) fn timed_out(&self, awaited: &'static str, limit: Duration) -> ServerError {
        ServerError::TimedOut {
            server: self.server,
            awaited,
            seconds: limit.as_secs(),
            log: self.log.clone(),
        }
    }

    /// Whether it still runs; a child that has ended is reaped.
    pub(crate) fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => CommandLine::of(self.pid).as_ref() == Some(&self.command_line),
        }
    }

    /// Sends a signal; one that has ended already is no error.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        if let Err(error) = kill_process(self.pid, signal) {
            tracing::warn!(server = self.server, pid = self.pid.as_raw_nonzero(), %error, "signal not delivered");
        }
    }

    /// Whether it ends within the limit.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Asks it to end, then to end quickly, then kills it.
    pub(crate) async fn stop(
        &mut self,
        ask: Signal,
        patience: Duration,
        quick: Duration,
    ) -> Result<(), ServerError> {
        for (signal, limit) in [(ask, patience), (self.quit, quick), (Signal::KILL, quick)] {
            self.signal(signal);
            if self.ends_within(limit).await {
                return Ok(());
            }
            tracing::warn!(
                server = self.server,
                seconds = limit.as_secs(),
                "has not stopped in time"
            );
        }
        Err(self.timed_out("gone", patience + quick + quick))
    }
}

/// Ends the server the quick way and reaps it, blocking for at most `DROP_LIMIT` before it is killed.
impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.signal(self.quit);
        let deadline = Instant::now() + DROP_LIMIT;
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        self.signal(Signal::KILL);
        if let Some(child) = &mut self.child
            && let Err(error) = child.wait()
        {
            tracing::warn!(server = self.server, %error, "could not be reaped");
        }
    }
}

/// Awaits a condition that some other process brings about, looking at short intervals.
pub(crate) async fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}

/// Whether any process has a title that starts like this.
pub(crate) fn any_with_title(prefix: &str) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter_map(read_command_line)
        .any(|line| line.first().is_some_and(|title| title.starts_with(prefix)))
}

/// `None` when there is no such process, or it is a zombie.
pub(crate) fn read_command_line(pid: Pid) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches('\0');
    (!text.is_empty()).then(|| text.split('\0').map(str::to_owned).collect())
}

/// The process id in the first line of a file.
pub(crate) fn read_pid(path: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(path).ok()?.lines().next()?.trim().parse().ok()?)
}
