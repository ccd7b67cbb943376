//! `obsqra checkpoint key`: the public key that this instance's checkpoints are checked with.

use anyhow::{Context, Result};

use crate::checkpoint_key;
use crate::config::Settings;

pub(super) fn key(settings: &Settings, new: bool) -> Result<()> {
    if new {
        checkpoint_key::make_new(settings)?;
    }
    let key = checkpoint_key::public(settings)?.with_context(|| {
        format!(
            "there is no key in {}: it is made when the log is first signed, or with --new",
            checkpoint_key::file(settings).display()
        )
    })?;
    println!("{key}");
    Ok(())
}
