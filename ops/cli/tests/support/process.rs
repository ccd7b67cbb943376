//! `obsqra` as a child process whose output is kept.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// The binary, without the settings of the environment that the tests run in.
pub(crate) fn obsqra() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obsqra"));
    for (name, _) in std::env::vars() {
        if name.starts_with("OBSQRA_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// A running `obsqra`. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    output: [Captured; 2],
}

/// What a process printed so far.
struct Captured {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("obsqra runs");
        let stdout = Captured::of(child.stdout.take().expect("a pipe"));
        let stderr = Captured::of(child.stderr.take().expect("a pipe"));
        Self { child, output: [stdout, stderr] }
    }

    pub(crate) fn stdout(&self) -> String {
        self.output[0].so_far()
    }

    pub(crate) fn stderr(&self) -> String {
        self.output[1].so_far()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child takes a signal");
    }

    /// The rest of the first line of standard output that begins with `label`.
    pub(crate) async fn announces(&mut self, label: &str) -> String {
        let mut found = None;
        until(&format!("`{label}` is printed"), async || {
            // The output is looked at last: a process may print and end at once.
            let running = self.is_running();
            found =
                self.stdout().lines().find_map(|line| line.strip_prefix(label).map(str::to_owned));
            assert!(
                running || found.is_some(),
                "ended before it printed {label}: {}",
                self.stderr()
            );
            found.is_some()
        })
        .await;
        found.expect("waited for").trim().to_owned()
    }

    /// Waits for its end.
    pub(crate) async fn ends(&mut self) -> Ended {
        until("the process ends", async || !self.is_running()).await;
        let status = self.child.wait().expect("a child");
        let [stdout, stderr] = &mut self.output;
        Ended { status, stdout: stdout.whole(), stderr: stderr.whole() }
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(&mut self) {
        // One that has ended already cannot be killed, which is as good.
        self.child.kill().ok();
        self.child.wait().expect("a child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Captured {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = sink.lock().expect("no reader panics");
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("no reader panics").clone()
    }

    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.so_far()
    }
}

impl Ended {
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: Command) -> Ended {
    Process::start(command).ends().await
}

/// Runs a command that must succeed; what it printed.
pub(crate) async fn succeed(command: Command) -> String {
    let ended = run(command).await;
    assert_eq!(ended.code(), 0, "{}", ended.output());
    ended.stdout
}
