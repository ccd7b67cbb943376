//! What can go wrong with a private server, each as one sentence that says what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a private server could not be started, adopted or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program that the server needs is not on this machine.
    #[error("{tool} is not installed: run ops/install")]
    MissingTool {
        /// Its name, with the version asked for.
        tool: String,
    },
    /// A program is there but cannot be used.
    #[error("{tool} {found} is older than {minimum}: run ops/install")]
    ToolTooOld {
        /// Its name.
        tool: &'static str,
        /// The version found.
        found: String,
        /// The oldest version that works.
        minimum: &'static str,
    },
    /// PostgreSQL refuses to run as root, and the account that it runs as instead is missing.
    #[error(
        "the user `postgres`, which PostgreSQL runs as under root, does not exist: run ops/install"
    )]
    MissingAccount,
    /// The account that runs PostgreSQL cannot enter a directory on the way to the data directory.
    #[error(
        "the user `postgres` cannot enter {}: choose another data directory or run `chmod o+x` on it",
        directory.display()
    )]
    Unreachable {
        /// The first directory on the path that refuses.
        directory: PathBuf,
    },
    /// Another supervisor holds this data directory.
    #[error(
        "another instance is running on {}: stop it or choose another data directory",
        data_dir.display()
    )]
    AlreadyRunning {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The file system has no room left.
    #[error("the disk that holds {} is full: free some space and start again", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// A free port was chosen several times and taken by another program each time.
    #[error(
        "{server} found its port {port} taken again and again: start it again when the machine is less busy"
    )]
    PortTaken {
        /// The server.
        server: &'static str,
        /// The port tried last.
        port: u16,
    },
    /// The cluster was made by another major version than any that is installed.
    #[error(
        "{} was made by PostgreSQL {major}, which is not installed with TimescaleDB: install it or choose another data directory",
        data_dir.display()
    )]
    OtherMajor {
        /// The data directory.
        data_dir: PathBuf,
        /// The major version that made it.
        major: String,
    },
    /// The server ended before it was ready.
    #[error("{server} ended while starting: {reason}; its log is {}", log.display())]
    EndedEarly {
        /// The server.
        server: &'static str,
        /// The last thing that it said.
        reason: String,
        /// Its log file.
        log: PathBuf,
    },
    /// The server is there but not ready in time, or not gone in time.
    #[error("{server} was not {awaited} after {seconds} s: read its log {}", log.display())]
    TimedOut {
        /// The server.
        server: &'static str,
        /// `ready` or `gone`.
        awaited: &'static str,
        /// How long it was given.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
    },
    /// A program that prepares the server failed.
    #[error("{program} failed: {reason}")]
    StepFailed {
        /// The program.
        program: &'static str,
        /// The last thing that it said.
        reason: String,
    },
    /// The operating system refused a file or process operation.
    #[error("could not {action} {}: {}", path.display(), source.kind())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ServerError {
    /// Names the operation and the path of an I/O error; a full disk becomes its own variant.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned() }
            }
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// Why a server ended: its log often tells of a full disk in words only.
    pub(crate) fn ended_early(server: &'static str, log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if text.contains("No space left on device") || text.contains("no space left on device") {
            return Self::DiskFull { path: log.to_owned() };
        }
        Self::EndedEarly { server, reason: last_complaint(&text), log: log.to_owned() }
    }
}

/// The last line that says what is wrong, else the last line.
pub(crate) fn last_complaint(output: &str) -> String {
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    let complains = |line: &&str| {
        ["FATAL", "[FTL]", "PANIC", "ERROR", "error:"].iter().any(|word| line.contains(word))
    };
    lines().find(complains).or_else(|| lines().next()).unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: &str) {
        assert_eq!(last_complaint(output), expected);
    }

    #[test]
    fn the_last_complaint_is_found_among_other_lines() {
        check("LOG: start\nFATAL: no room\nLOG: down\n", "FATAL: no room");
        check("one\ntwo\n\n", "two");
        check("", "it said nothing");
    }

    #[test]
    fn a_full_disk_is_told_from_other_io_errors() {
        let path = Path::new("/data");
        let full = ServerError::io("write", path)(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(full, ServerError::DiskFull { .. }));
        let denied =
            ServerError::io("write", path)(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(denied.to_string(), "could not write /data: permission denied");
    }
}
