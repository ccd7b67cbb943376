//! Where a command writes: a file that appears whole or not at all, or standard output.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Has `fill` write the output. A file is written beside its place and renamed once it is whole and on
/// disk.
pub(in crate::commands) async fn write(
    path: Option<&Path>,
    fill: impl AsyncFnOnce(&mut (dyn Write + Send)) -> Result<()>,
) -> Result<()> {
    let Some(path) = path else {
        let mut out = BufWriter::new(std::io::stdout());
        fill(&mut out).await?;
        return out.flush().context("standard output");
    };
    let draft = Draft::beside(path);
    let named = || format!("cannot write {}", path.display());
    let mut out = BufWriter::new(File::create(&draft.path).with_context(named)?);
    fill(&mut out).await?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all()).with_context(named)?;
    fs::rename(&draft.path, path).with_context(named)
}

/// A file that is removed unless it was renamed.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn beside(path: &Path) -> Self {
        let mut name = OsString::from(path);
        name.push(format!(".{}.partial", std::process::id()));
        Self { path: name.into() }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(file = %self.path.display(), %error, "left behind");
            }
            _ => {}
        }
    }
}
