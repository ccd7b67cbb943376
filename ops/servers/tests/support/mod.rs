//! Running a supervisor in a process of its own, so that it can be killed.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Names the data directory to the re-executed test binary.
pub(crate) const DATA_DIR: &str = "SUPERVISOR_DATA_DIR";

/// What the supervisor prints when its server is up.
pub(crate) const UP: &str = "supervisor is up";

/// Starts this test binary again, with only that ignored test, and returns when its server is up.
pub(crate) fn supervisor(test: &str, data_dir: &Path) -> io::Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DATA_DIR, data_dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    for line in BufReader::new(output).lines() {
        if line?.contains(UP) {
            return Ok(child);
        }
    }
    Err(io::Error::other("the supervisor ended before its server was up"))
}
