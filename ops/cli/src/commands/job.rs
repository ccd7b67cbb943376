//! `obsqra job` and `obsqra dead`: looking at the jobs that processes share, and deciding about one.

use anyhow::{Context, Result, bail};
use obsqra_store::job::{self, JobFilter, JobRecord, JobState};
use obsqra_store::{Role, Store};
use obsqra_types::JobId;
use serde_json::{Value, json};

use crate::args::{DeadAction, JobAction, JobListArgs};
use crate::config::Settings;
use crate::instance::Instance;

pub(super) async fn run(settings: Settings, action: JobAction) -> Result<()> {
    let instance = Instance::open_database(&settings).await?;
    let done = act(&instance, action).await;
    instance.close().await?;
    done
}

pub(super) async fn run_dead(settings: Settings, action: DeadAction) -> Result<()> {
    let instance = Instance::open_database(&settings).await?;
    let done = act_on_dead(&instance, action).await;
    instance.close().await?;
    done
}

async fn act(instance: &Instance, action: JobAction) -> Result<()> {
    let store = instance.store_as(Role::Writer).await?;
    match action {
        JobAction::List { list, state } => {
            let state = state
                .and_then(|name| JobState::NAMES.into_iter().find(|known| *known == name.as_str()));
            print_list(&store, list, state).await
        }
        JobAction::Cancel { id } => {
            match job::ask_cancel(&store, id).await? {
                JobState::Cancelled => println!("job {id} is cancelled"),
                _ => println!("job {id} runs: its process is told within a third of its lease"),
            }
            Ok(())
        }
    }
}

async fn act_on_dead(instance: &Instance, action: DeadAction) -> Result<()> {
    let store = instance.store_as(Role::Writer).await?;
    match action {
        DeadAction::List(list) => print_list(&store, list, Some("dead")).await,
        DeadAction::Show { id, json } => show(&store, id, json).await,
        DeadAction::Retry { id } => {
            dead(&store, id).await?;
            job::retry_dead(&store, id).await?;
            println!("job {id} is queued again");
            Ok(())
        }
        DeadAction::Drop { id } => {
            dead(&store, id).await?;
            job::drop_dead(&store, id).await?;
            println!("job {id} is given up");
            Ok(())
        }
    }
}

/// The job, which must be dead: another state is told with what can be done then.
async fn dead(store: &Store, id: JobId) -> Result<JobRecord> {
    let found = job::get(store, id).await?.with_context(|| {
        format!("there is no job {id}: `obsqra dead list` shows those there are")
    })?;
    if found.state != JobState::Dead {
        bail!("job {id} is {}, not dead: `obsqra job list` shows it", found.state.name());
    }
    Ok(found)
}

async fn print_list(store: &Store, list: JobListArgs, state: Option<&'static str>) -> Result<()> {
    let filter = JobFilter { kind: list.kind, state, before: list.before };
    let jobs = job::list(store, &filter, list.limit).await?;
    if list.json {
        let jobs: Vec<Value> = jobs.iter().map(object).collect();
        println!("{}", serde_json::to_string_pretty(&jobs)?);
        return Ok(());
    }
    if jobs.is_empty() {
        println!("there are none");
    }
    for job in &jobs {
        println!("{}", line(job));
    }
    if u32::try_from(jobs.len()).is_ok_and(|shown| shown == list.limit)
        && let Some(last) = jobs.last()
    {
        println!("there may be more: --before {}", last.id);
    }
    Ok(())
}

async fn show(store: &Store, id: JobId, json: bool) -> Result<()> {
    let job = dead(store, id).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&object(&job))?);
        return Ok(());
    }
    println!("{}", line(&job));
    println!("enqueued  {}", job.created_at.to_rfc3339());
    println!("set aside {}", job.updated_at.to_rfc3339());
    if let Some(traceparent) = &job.traceparent {
        println!("trace     {}", plain(traceparent));
    }
    println!("payload   version {}: {}", job.payload_version, job.payload);
    Ok(())
}

fn line(job: &JobRecord) -> String {
    let why = job.last_error.as_deref().map_or_else(String::new, |why| format!(": {}", plain(why)));
    let by = job.holder.as_deref().map_or_else(String::new, |by| format!(" by {}", plain(by)));
    format!(
        "{} {} {} {}{by}, {} of {} attempts{why}",
        job.id,
        job.kind,
        plain(&job.key),
        job.state.name(),
        job.attempts,
        job.max_attempts,
    )
}

/// Text from elsewhere, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn object(job: &JobRecord) -> Value {
    let (not_before, lease_until) = match job.state {
        JobState::Queued { not_before } => (Some(not_before), None),
        JobState::Leased { until } => (None, Some(until)),
        JobState::Done | JobState::Dead | JobState::Cancelled => (None, None),
    };
    json!({
        "id": job.id.0,
        "kind": job.kind.as_str(),
        "key": job.key,
        "state": job.state.name(),
        "priority": job.priority,
        "attempts": job.attempts,
        "maxAttempts": job.max_attempts,
        "notBefore": not_before.map(|at| at.to_rfc3339()),
        "leaseUntil": lease_until.map(|at| at.to_rfc3339()),
        "holder": job.holder,
        "token": job.token.0,
        "cancelRequested": job.cancel_requested,
        "lastError": job.last_error,
        "traceparent": job.traceparent,
        "payloadVersion": job.payload_version,
        "payload": job.payload,
        "createdAt": job.created_at.to_rfc3339(),
        "updatedAt": job.updated_at.to_rfc3339(),
    })
}
