//! The data directory: who holds it, and temporary ones for tests and benchmarks.

use std::fs::{self, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::ServerError;

/// One server's share of the data directory, held until it is dropped.
///
/// The lock ends with the process that holds it, however it ends, and children do not inherit it.
#[derive(Debug)]
pub(crate) struct HeldDataDir {
    path: PathBuf,
    lock: File,
}

impl HeldDataDir {
    /// Makes the directory if it is not there, and takes it for the server of that name.
    pub(crate) fn hold(data_dir: &Path, server: &'static str) -> Result<Self, ServerError> {
        fs::create_dir_all(data_dir).map_err(ServerError::io("create", data_dir))?;
        let path = data_dir.canonicalize().map_err(ServerError::io("open", data_dir))?;
        let lock_path = path.join(format!("{server}.lock"));
        let lock = File::create(&lock_path).map_err(ServerError::io("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => Err(ServerError::AlreadyRunning { data_dir: path }),
            Err(TryLockError::Error(error)) => Err(ServerError::io("lock", &lock_path)(error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The place of a secret, in a directory that only this account can enter.
    pub(crate) fn secret(&self, name: &str) -> Result<PathBuf, ServerError> {
        let dir = self.path.join("secrets");
        make_private_dir(&dir)?;
        Ok(dir.join(name))
    }
}

/// Unlocked in so many words: a child that another thread is just starting holds a copy of the file
/// until it runs its program, and closing ours alone would not end the lock.
impl Drop for HeldDataDir {
    fn drop(&mut self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(data_dir = %self.path.display(), %error, "the lock was not released");
        }
    }
}

/// Makes a directory of mode 0700 unless it is there.
pub(crate) fn make_private_dir(dir: &Path) -> Result<(), ServerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(ServerError::io("create", dir))
}

/// A new temporary data directory, removed when dropped, that the user `postgres` can enter.
pub fn scratch_dir() -> Result<TempDir, ServerError> {
    let parent = std::env::temp_dir();
    tempfile::Builder::new()
        .prefix("obsqra-")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(&parent)
        .map_err(ServerError::io("create a temporary directory in", &parent))
}
