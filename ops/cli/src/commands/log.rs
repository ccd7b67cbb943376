//! `obsqra log`: verifying, proving, exporting and showing entries.

mod export;
pub(super) mod out;
mod prove;
mod verify;

use std::process::ExitCode;

use anyhow::{Context, Result};
use obsqra_events::{Entry, Message, MessageContext};
use obsqra_store::log;
use obsqra_store::{Role, Store};
use obsqra_types::Seq;
use serde_json::{Value, json};

use crate::args::LogAction;
use crate::config::Settings;
use crate::instance::Instance;
use crate::problem;

pub(crate) use prove::check as check_proof;

pub(super) async fn run(settings: Settings, action: LogAction) -> Result<ExitCode> {
    let verification = match &action {
        LogAction::Verify(args) => match verify::Against::prepare(&settings, args) {
            Ok(against) => Some(against),
            Err(error) => return Ok(wrong_use(&error)),
        },
        _ => None,
    };
    let instance = Instance::open_database(&settings).await?;
    let mut options = obsqra_store::StoreOptions::new(Role::Reader);
    options.statement_timeout = None;
    let done = match instance.store(options).await {
        Ok(store) => act(&store, action, verification).await,
        Err(error) => Err(error),
    };
    instance.close().await?;
    done
}

async fn act(
    store: &Store,
    action: LogAction,
    against: Option<verify::Against>,
) -> Result<ExitCode> {
    match action {
        LogAction::Verify(args) => return verify::run(store, &args, against).await,
        LogAction::Prove { seq, out, checkpoint } => {
            let proof = prove::prove(store, Seq(seq), checkpoint.map(Seq)).await?;
            out::write(out.as_deref(), async |file| Ok(file.write_all(proof.as_bytes())?)).await?;
        }
        // Dealt with before there are settings.
        LogAction::CheckProof { file, key } => return Ok(check_proof(&file, &key)),
        LogAction::Export { from, to, out } => {
            let range = export::Range::of(store, Seq(from), to.map(Seq)).await?;
            out::write(out.as_deref(), async |file| export::write(store, range, file).await)
                .await?;
        }
        LogAction::Show { seq } => {
            let entry = log::entry(store, Seq(seq)).await?;
            let entry = entry.with_context(|| format!("the log has no entry {seq}"))?;
            println!("{}", serde_json::to_string_pretty(&shown(&entry)?)?);
        }
        LogAction::Head => {
            let head = log::head(store).await?;
            println!("{} {}", head.seq, head.hash);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The command was called wrongly: the sentence, and the code for it.
pub(super) fn wrong_use(error: &anyhow::Error) -> ExitCode {
    eprintln!("obsqra: {}", problem::sentence(error));
    ExitCode::from(crate::WRONG_USE)
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
