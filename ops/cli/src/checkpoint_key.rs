//! The key that checkpoints are signed with: where it is kept, and when one is made.
//!
//! The secret is 32 bytes as hex digits in a file of mode 0600, the public key stands beside it with the
//! extension `pub`. A key is made up only in the default place and only for a log that nothing was
//! signed of: a log whose key is gone is not to be signed with another one unasked.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use obsqra_events::{PublicKey, SigningKey};
use obsqra_store::{Store, checkpoint};
use rand::RngCore;

use crate::config::Settings;

/// The secret key's file.
pub(crate) fn file(settings: &Settings) -> PathBuf {
    let in_data_dir = || settings.data_dir.join("secrets").join("checkpoint.key");
    settings.checkpoint_key_file.clone().unwrap_or_else(in_data_dir)
}

/// The public key's file.
fn public_file(file: &Path) -> PathBuf {
    file.with_extension("pub")
}

/// The key; one is made where that is safe.
pub(crate) async fn load_or_make(settings: &Settings, store: &Store) -> Result<SigningKey> {
    let file = file(settings);
    if let Some(key) = load(&file)? {
        return Ok(key);
    }
    if settings.checkpoint_key_file.is_some() {
        bail!("checkpoint key file {} is not there", file.display());
    }
    if let Some(last) = checkpoint::last(store).await? {
        bail!(
            "the log was signed with key {} up to {}, and {} is not there: put the key back, or make \
             another one with `obsqra checkpoint key --new`",
            last.signed.key,
            last.seq(),
            file.display()
        );
    }
    make(&file)?;
    load(&file)?.with_context(|| format!("{} is gone again", file.display()))
}

/// The key in the file; `None` where there is none. The public one is written beside it.
fn load(file: &Path) -> Result<Option<SigningKey>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("checkpoint key file {}", file.display()));
        }
    };
    let key: SigningKey =
        text.trim().parse().with_context(|| format!("checkpoint key file {}", file.display()))?;
    let public = format!("{}\n", key.public());
    let beside = public_file(file);
    if fs::read_to_string(&beside).ok().as_ref() != Some(&public)
        && let Err(error) = fs::write(&beside, public)
    {
        // The key may lie in a place that is only read.
        tracing::warn!(file = %beside.display(), %error, "the public key is not written");
    }
    Ok(Some(key))
}

/// Makes a key; one that is there stays as it is, and `false` is returned.
fn make(file: &Path) -> Result<bool> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut secret = [0; 32];
    rand::rng().fill_bytes(&mut secret);
    let draft = file.with_extension(format!("{}.new", std::process::id()));
    let attempt = || -> io::Result<bool> {
        let mut options = OpenOptions::new();
        let mut open = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        open.write_all(text.as_bytes())?;
        open.sync_all()?;
        // A link is made whole or not at all, and never over what is there.
        let linked = fs::hard_link(&draft, file);
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    };
    attempt().with_context(|| format!("cannot write {}", file.display()))
}

/// Makes a key where none is.
pub(crate) fn make_new(settings: &Settings) -> Result<()> {
    let file = file(settings);
    if !make(&file)? {
        bail!("{} is there: move it away first, and keep its public key", file.display());
    }
    Ok(())
}

/// This instance's public key: that of the secret one, or where that one cannot be read, the one that
/// stands beside it.
pub(crate) fn public(settings: &Settings) -> Result<Option<PublicKey>> {
    let file = file(settings);
    let loaded = load(&file);
    if let Ok(Some(key)) = &loaded {
        return Ok(Some(key.public()));
    }
    match read_public(&public_file(&file))?.pop() {
        Some(key) => Ok(Some(key)),
        None => loaded.map(|_| None),
    }
}

/// Keys as they are given on the command line: hex digits, or files with one a line.
pub(crate) fn given(texts: &[String]) -> Result<Vec<PublicKey>> {
    let mut keys = Vec::new();
    for text in texts {
        if let Ok(key) = text.parse() {
            keys.push(key);
            continue;
        }
        let read = read_public(Path::new(text))?;
        if read.is_empty() {
            bail!("`{text}` is neither a public key of 64 hex digits nor a file that holds one");
        }
        keys.extend(read);
    }
    Ok(keys)
}

fn read_public(file: &Path) -> Result<Vec<PublicKey>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("public key file {}", file.display()));
        }
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| line.parse())
        .collect::<Result<_, _>>()
        .with_context(|| format!("public key file {}", file.display()))
}
