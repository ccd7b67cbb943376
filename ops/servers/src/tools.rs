//! Where the servers' programs are, and whether they are new enough.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ServerError;

const NATS_MINIMUM: &str = "2.15.1";
const TIMESCALEDB_MINIMUM: &str = "2.19.0";

/// The places that programs are looked for in; the default is where `ops/install` puts them.
#[derive(Debug, Clone)]
pub struct ToolPaths {
    /// Holds one directory for each PostgreSQL major version, each with `bin` and `lib`.
    pub postgres: PathBuf,
    /// Holds one directory for each PostgreSQL major version, each with `extension`.
    pub postgres_share: PathBuf,
    /// Directories that may hold `nats-server`, best first.
    pub nats: Vec<PathBuf>,
}

impl Default for ToolPaths {
    fn default() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        Self {
            postgres: PathBuf::from("/usr/lib/postgresql"),
            postgres_share: PathBuf::from("/usr/share/postgresql"),
            nats: [PathBuf::from("/usr/local/lib/obsqra")]
                .into_iter()
                .chain(env::split_paths(&path))
                .collect(),
        }
    }
}

/// One installed PostgreSQL that has TimescaleDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostgresTools {
    major: u32,
    bin: PathBuf,
}

impl PostgresTools {
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

impl ToolPaths {
    /// The newest PostgreSQL with TimescaleDB, or the one of the major version that made a cluster.
    pub(crate) fn postgres(&self, major: Option<u32>) -> Option<PostgresTools> {
        let entries = fs::read_dir(&self.postgres).ok()?;
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|found| major.is_none_or(|major| major == *found))
            .filter_map(|found| self.postgres_of(found))
            .max_by_key(|tools| tools.major)
    }

    fn postgres_of(&self, major: u32) -> Option<PostgresTools> {
        let home = self.postgres.join(major.to_string());
        let control =
            self.postgres_share.join(major.to_string()).join("extension/timescaledb.control");
        let version = default_version(&fs::read_to_string(control).ok()?)?;
        let complete =
            ["postgres", "initdb", "psql"].iter().all(|name| home.join("bin").join(name).exists())
                && home.join("lib").join(format!("timescaledb-{version}.so")).exists()
                && at_least(&version, TIMESCALEDB_MINIMUM);
        complete.then(|| PostgresTools { major, bin: home.join("bin") })
    }

    /// The first nats-server that is new enough.
    pub(crate) fn nats(&self) -> Result<PathBuf, ServerError> {
        let mut too_old = None;
        for program in
            self.nats.iter().map(|dir| dir.join("nats-server")).filter(|path| path.exists())
        {
            match nats_version(&program) {
                Some(version) if at_least(&version, NATS_MINIMUM) => return Ok(program),
                Some(found) => too_old = Some(found),
                None => {}
            }
        }
        Err(match too_old {
            Some(found) => {
                ServerError::ToolTooOld { tool: "nats-server", found, minimum: NATS_MINIMUM }
            }
            None => {
                ServerError::MissingTool { tool: format!("nats-server {NATS_MINIMUM} or newer") }
            }
        })
    }
}

pub(crate) fn missing_postgres() -> ServerError {
    ServerError::MissingTool {
        tool: format!("PostgreSQL with TimescaleDB {TIMESCALEDB_MINIMUM} or newer"),
    }
}

/// A command with nothing inherited but a search path: no secrets of the parent, one language.
pub(crate) fn bare_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .current_dir("/");
    command
}

fn nats_version(program: &Path) -> Option<String> {
    let output = bare_command(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().strip_prefix("nats-server: v")?.to_owned())
}

fn default_version(control: &str) -> Option<String> {
    let line = control.lines().find(|line| line.starts_with("default_version"))?;
    Some(line.split('\'').nth(1)?.to_owned())
}

/// Compares dotted numbers; a part that is not a number counts as 0.
fn at_least(version: &str, minimum: &str) -> bool {
    let parts = |text: &str| {
        text.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>()
    };
    parts(version) >= parts(minimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(at_least("2.19.3", "2.19.0"));
        assert!(at_least("2.100.0", "2.19.0"));
        assert!(!at_least("2.9.10", "2.15.1"));
    }

    #[test]
    fn the_version_is_read_from_the_control_file() {
        let control = "# comment\ndefault_version = '2.19.3'\nmodule_pathname = '$libdir/timescaledb-2.19.3'\n";
        assert_eq!(default_version(control).as_deref(), Some("2.19.3"));
        assert_eq!(default_version("comment = 'none'\n"), None);
    }

    #[test]
    fn the_newest_complete_installation_is_chosen() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let paths = ToolPaths {
            postgres: dir.path().join("lib"),
            postgres_share: dir.path().join("share"),
            nats: vec![],
        };
        assert_eq!(paths.postgres(None), None);
        install(&paths, 9, "2.19.3")?;
        install(&paths, 15, "2.20.0")?;
        install(&paths, 17, "2.11.0")?;
        assert_eq!(paths.postgres(None).map(|tools| tools.major), Some(15));
        assert_eq!(paths.postgres(Some(9)).map(|tools| tools.major), Some(9));
        assert_eq!(paths.postgres(Some(17)), None);
        Ok(())
    }

    fn install(paths: &ToolPaths, major: u32, timescaledb: &str) -> std::io::Result<()> {
        let home = paths.postgres.join(major.to_string());
        let extension = paths.postgres_share.join(major.to_string()).join("extension");
        for dir in [&home.join("bin"), &home.join("lib"), &extension] {
            fs::create_dir_all(dir)?;
        }
        for program in ["postgres", "initdb", "psql"] {
            fs::write(home.join("bin").join(program), "")?;
        }
        fs::write(home.join("lib").join(format!("timescaledb-{timescaledb}.so")), "")?;
        fs::write(
            extension.join("timescaledb.control"),
            format!("default_version = '{timescaledb}'\n"),
        )
    }
}
