//! Which operating-system account a server runs as.
//!
//! PostgreSQL refuses to run as root. Under root it runs as `postgres`, who must be able to enter every
//! directory above the cluster; anyone else runs it as themselves.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::ServerError;
use crate::tools::bare_command;

/// The account that runs PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Account {
    /// The one that this process has.
    Own,
    /// The user `postgres`.
    Postgres { uid: u32, gid: u32 },
}

impl Account {
    pub(crate) fn for_postgres() -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let id = |flag| numeric_id(flag).ok_or(ServerError::MissingAccount);
        Ok(Self::Postgres { uid: id("-u")?, gid: id("-g")? })
    }

    /// A bare command that runs as this account.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = bare_command(program);
        if let Self::Postgres { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Hands a file or directory to this account.
    pub(crate) fn give(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Self::Own => Ok(()),
            Self::Postgres { uid, gid } => chown(path, Some(uid), Some(gid))
                .map_err(ServerError::io("change the owner of", path)),
        }
    }

    /// Names the first directory on the way that this account cannot enter.
    pub(crate) fn require_reach(self, directory: &Path) -> Result<(), ServerError> {
        if matches!(self, Self::Own) || self.enters(directory)? {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = directory.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            if !self.enters(ancestor)? {
                return Err(ServerError::Unreachable { directory: ancestor.to_owned() });
            }
        }
        Ok(())
    }

    fn enters(self, directory: &Path) -> Result<bool, ServerError> {
        let status = self
            .command("test")
            .arg("-x")
            .arg(directory)
            .status()
            .map_err(ServerError::io("check", directory))?;
        Ok(status.success())
    }
}

fn numeric_id(flag: &str) -> Option<u32> {
    let output = bare_command("id").args([flag, "postgres"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
