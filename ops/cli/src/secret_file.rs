//! A file that only its owner may read.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Writes the file anew, in one step: a reader sees the old or the new text.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}
