//! `obsqra attest`: not there yet.
use crate::args::AttestArgs;
use crate::config::Settings;
use anyhow::Result;
use std::process::ExitCode;
pub(super) async fn run(_settings: Settings, _args: AttestArgs) -> Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
