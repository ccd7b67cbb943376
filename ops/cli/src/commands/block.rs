//! `obsqra block`: one block by itself, and what sources were found out about.

mod evidence;
mod verify;

use anyhow::Result;

use crate::args::BlockAction;
use crate::config::Settings;

pub(crate) use verify::verify;

/// What needs the database; [`verify()`] does not.
pub(super) async fn run(settings: Settings, action: BlockAction) -> Result<()> {
    match action {
        // Dealt with before settings are read.
        BlockAction::Verify { .. } => Ok(()),
        BlockAction::Evidence { height, out } => {
            evidence::show(&settings, height, out.as_deref()).await
        }
    }
}
