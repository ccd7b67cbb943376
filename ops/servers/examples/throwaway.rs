//! Runs a command with a throwaway PostgreSQL at hand and ends with the command's exit code.
//!
//! `cargo run -p obsqra-servers --example throwaway -- [--durable] COMMAND [ARGUMENT...]` gives the command
//! `OBSQRA_TEST_DATABASE_URL`, the superuser's URL of a cluster that is removed afterwards. With `--durable` the
//! cluster syncs what it commits, for what is measured.

use std::error::Error;
use std::process::ExitCode;

use obsqra_servers::{Durability, PostgresOptions, PrivatePostgres, scratch_dir};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: u8 = 2;
const FAILED: u8 = 1;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let durability = match arguments.next_if(|argument| argument == "--durable") {
        Some(_) => Durability::Full,
        None => Durability::Throwaway,
    };
    let Some(program) = arguments.next() else {
        eprintln!("usage: throwaway [--durable] COMMAND [ARGUMENT...]");
        return ExitCode::from(USAGE);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    match run(command, durability).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("throwaway: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// A signal ends the wait, and the command with it, so that the server is always stopped.
async fn run(mut command: Command, durability: Durability) -> Result<u8, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let dir = scratch_dir()?;
    let server = PrivatePostgres::start(PostgresOptions::new(dir.path(), durability)).await?;
    command.env("OBSQRA_TEST_DATABASE_URL", server.urls().admin.expose()).kill_on_drop(true);
    let outcome = match command.spawn() {
        Ok(mut child) => tokio::select! {
            status = child.wait() => status.map(|status| status.code()),
            _ = terminate.recv() => Ok(None),
            _ = interrupt.recv() => Ok(None),
        },
        Err(error) => Err(error),
    };
    server.stop().await?;
    Ok(outcome?.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}
