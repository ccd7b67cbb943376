//! `obsqra log`: verifying and showing entries.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use obsqra_events::{Entry, Message, MessageContext};
use obsqra_store::log::{self, Verdict};
use obsqra_store::{Role, Store};
use obsqra_types::Seq;
use serde_json::{Value, json};

use crate::args::LogAction;
use crate::config::Settings;
use crate::instance::Instance;
use crate::progress::Pass;

pub(super) async fn run(settings: Settings, action: LogAction) -> Result<ExitCode> {
    let instance = Instance::open_database(&settings).await?;
    let mut options = obsqra_store::StoreOptions::new(Role::Reader);
    options.statement_timeout = None;
    let done = match instance.store(options).await {
        Ok(store) => act(&store, action).await,
        Err(error) => Err(error),
    };
    instance.close().await?;
    done
}

async fn act(store: &Store, action: LogAction) -> Result<ExitCode> {
    match action {
        LogAction::Verify { from } => verify(store, Seq(from)).await,
        LogAction::Show { seq } => {
            let entry = log::entry(store, Seq(seq)).await?;
            let entry = entry.with_context(|| format!("the log has no entry {seq}"))?;
            println!("{}", serde_json::to_string_pretty(&shown(&entry)?)?);
            Ok(ExitCode::SUCCESS)
        }
        LogAction::Head => {
            let head = log::head(store).await?;
            println!("{} {}", head.seq, head.hash);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn verify(store: &Store, from: Seq) -> Result<ExitCode> {
    let head = log::head(store).await?;
    if from > head.seq.next() || from == Seq::BEFORE_FIRST {
        bail!("the log has entries 1 to {}: it cannot be verified from {from}", head.seq);
    }
    let pass = Pass::new();
    let report = log::verify(store, from, |done, of| pass.at(done, of)).await;
    pass.end();
    let report = report?;
    match report.verdict {
        Verdict::Intact => {
            println!(
                "{} entries intact, up to {} with hash {}",
                report.entries, report.last.seq, report.last.hash
            );
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Broken { seq, problem } => {
            println!("{} entries intact, then entry {seq}: {problem}", report.entries);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn shown(entry: &Entry) -> Result<Value> {
    let fact = entry.draft.fact()?;
    let body = Message::new(entry, &fact, &MessageContext::default())
        .map(|message| serde_json::from_slice::<Value>(&message.body))
        .transpose()?;
    Ok(json!({
        "seq": entry.seq.to_string(),
        "kind": entry.draft.kind.name(),
        "recordedAt": entry.recorded_at.0,
        "contentHash": entry.draft.content_hash.to_string(),
        "hash": entry.hash.to_string(),
        "message": body,
        "fact": format!("{fact:?}"),
    }))
}
