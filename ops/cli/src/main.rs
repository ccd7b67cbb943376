//! `obsqra`: the one binary. Roles are subcommands; this package alone reads the environment, sets up
//! telemetry and puts the parts together.

mod adoption;
mod args;
mod checkpoint_key;
mod commands;
mod config;
mod instance;
mod problem;
mod progress;
mod roles;
mod secret_file;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Entries and rows are many small values that live as long as a batch: with the system's allocator they take
/// almost half of the time of folding.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The command failed: something it met, not how it was called.
const FAILED: u8 = 1;
/// The command was called wrongly.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            let code = if message.use_stderr() { WRONG_USE } else { 0 };
            // Printing can only fail when the terminal is gone, and then nobody reads the reason.
            return if message.print().is_ok() {
                ExitCode::from(code)
            } else {
                ExitCode::from(FAILED)
            };
        }
    };
    match &args.command {
        args::Command::Log { action: args::LogAction::CheckProof { file, key } } => {
            return commands::check_proof(file, key);
        }
        args::Command::Block { action: args::BlockAction::Verify { file } } => {
            return commands::verify_block(file);
        }
        _ => {}
    }
    let settings = match config::Settings::load(&args) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("obsqra: {}", problem::sentence(&problem));
            return ExitCode::from(WRONG_USE);
        }
    };
    telemetry::start(settings.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("obsqra: cannot start: {problem}");
            return ExitCode::from(FAILED);
        }
    };
    runtime.spawn(telemetry::upkeep());
    match runtime.block_on(commands::run(args.command, settings)) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("obsqra: {}", problem::sentence(&problem));
            ExitCode::from(FAILED)
        }
    }
}
