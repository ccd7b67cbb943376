//! Values that must not be printed: passwords, tokens, and the URLs that carry them.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rand::RngCore as _;

use crate::ServerError;

const SECRET_BYTES: usize = 24;

/// A password or token; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the secret of that file, or makes one up and stores it there with mode 0600.
    ///
    /// The file is written beside its place and renamed, so that a crash leaves no half of a secret.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, ServerError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Self::generate();
                write_private(path, secret.expose())?;
                Ok(secret)
            }
            Err(error) => Err(ServerError::io("read", path)(error)),
        }
    }

    fn generate() -> Self {
        let mut bytes = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Replaces a file by one of mode 0600.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), ServerError> {
    let partial = path.with_extension("partial");
    // The mode applies only to a file that is made here, so a leftover goes first.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(ServerError::io("remove", &partial)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(ServerError::io("create", &partial))?;
    file.write_all(text.as_bytes()).map_err(ServerError::io("write", &partial))?;
    file.sync_all().map_err(ServerError::io("sync", &partial))?;
    fs::rename(&partial, path).map_err(ServerError::io("replace", path))
}

/// The address of one database as one role; `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    role: &'static str,
    password: Secret,
    port: u16,
    database: String,
}

impl DatabaseUrl {
    pub(crate) fn new(role: &'static str, password: Secret, port: u16, database: &str) -> Self {
        Self { role, password, port, database: database.to_owned() }
    }

    /// `postgres://role:password@127.0.0.1:port/database`.
    pub fn expose(&self) -> String {
        self.format(self.password.expose())
    }

    /// The same role and server, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    fn format(&self, password: &str) -> String {
        let Self { role, port, database, .. } = self;
        format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("hidden"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_kept_private_and_stable() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("token");
        let first = Secret::load_or_create(&path)?;
        assert_eq!(first.expose().len(), 2 * SECRET_BYTES);
        assert_eq!(Secret::load_or_create(&path)?, first);
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_ne!(Secret::load_or_create(&dir.path().join("other"))?, first);
        Ok(())
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret("swordfish".to_owned());
        let url = DatabaseUrl::new("obsqra_read", secret.clone(), 5432, "obsqra");
        assert_eq!(url.expose(), "postgres://obsqra_read:swordfish@127.0.0.1:5432/obsqra");
        assert!(!format!("{url:?} {secret:?}").contains("swordfish"));
    }
}
