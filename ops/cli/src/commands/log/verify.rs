//! `obsqra log verify`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use obsqra_events::PublicKey;
use obsqra_store::Store;
use obsqra_store::log::{self, FileCheckpoints, Verdict, VerifyOptions, VerifyReport};
use obsqra_types::Seq;
use obsqra_workers::checkpoint::file::CheckpointFile;

use crate::args::VerifyArgs;
use crate::checkpoint_key;
use crate::config::Settings;
use crate::progress::Pass;

/// What the log is held against.
pub(super) struct Against {
    keys: Option<Vec<PublicKey>>,
    file: Option<FileCheckpoints>,
}

impl Against {
    /// Reads the keys and opens the file.
    pub(super) fn prepare(settings: &Settings, args: &VerifyArgs) -> Result<Self> {
        let keys = if args.key.is_empty() {
            checkpoint_key::public(settings)?.map(|key| vec![key])
        } else {
            Some(checkpoint_key::given(&args.key)?)
        };
        let file: Option<FileCheckpoints> = match &args.checkpoints {
            None => None,
            Some(_) if keys.is_none() => {
                bail!("a checkpoint file proves nothing without a key: give one with --key")
            }
            Some(path) => Some(Box::new(CheckpointFile::new(path).read()?)),
        };
        Ok(Self { keys, file })
    }
}

pub(super) async fn run(
    store: &Store,
    args: &VerifyArgs,
    against: Option<Against>,
) -> Result<ExitCode> {
    let head = log::head(store).await?;
    let from = Seq(args.from);
    if from.0 > head.seq.0.saturating_add(1) || from == Seq::BEFORE_FIRST {
        bail!("the log has entries 1 to {}: it cannot be verified from {from}", head.seq);
    }
    let Against { keys, file } = against.context("nothing was prepared")?;
    let options = VerifyOptions { from, keys, file, decode: args.decode };
    let pass = Pass::new();
    let report = log::verify_with(store, options, |done, of| pass.at(done, of)).await;
    pass.end();
    Ok(tell(&report?, args.prefix))
}

fn tell(report: &VerifyReport, prefix: bool) -> ExitCode {
    let (entries, last) = (report.entries, report.last);
    match &report.verdict {
        Verdict::Intact => {
            println!("{entries} entries intact, up to {} with hash {}", last.seq, last.hash);
            println!("{}", checkpoints(report));
            ExitCode::SUCCESS
        }
        Verdict::Broken { seq, problem } => {
            println!("{entries} entries intact, then entry {seq}: {problem}");
            ExitCode::FAILURE
        }
        Verdict::Cut { proven, signed } => {
            println!("{entries} entries intact, up to {} with hash {}", last.seq, last.hash);
            println!("{}", checkpoints(report));
            println!(
                "entries {} to {signed} are missing: checkpoints were signed up to {signed}. The log is a \
                 prefix of what was signed, proven up to {proven}",
                last.seq.next()
            );
            if prefix { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn checkpoints(report: &VerifyReport) -> String {
    let tally = &report.checkpoints;
    if tally.matched == 0 {
        return "no checkpoint among these entries".into();
    }
    let signatures = if tally.signatures {
        "signatures checked"
    } else {
        "signatures not checked, because no key is given"
    };
    format!("{} checkpoints match, the last at {}, {signatures}", tally.matched, tally.proven)
}
