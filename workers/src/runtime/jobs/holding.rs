//! The leases of a process's jobs, renewed together every third of their time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use obsqra_store::Store;
use obsqra_store::job::{self, LeasedJob, Renewal};
use obsqra_types::{JobId, JobToken};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

type Map = BTreeMap<JobId, (JobToken, CancellationToken)>;

/// The jobs that this process holds. Dropping it ends the renewals.
#[derive(Debug)]
pub(super) struct Holding {
    held: Arc<Mutex<Map>>,
    _renewal: AbortOnDropHandle<()>,
}

/// One held job. Dropping it ends its renewals; the lease is not given back.
#[derive(Debug)]
pub(super) struct Held {
    id: JobId,
    token: JobToken,
    held: Arc<Mutex<Map>>,
    /// Cancelled when the job is lost to another process or somebody wants it not to be done.
    pub(super) cancel: CancellationToken,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        // One that was lost may be held again by now, under another token.
        if held.get(&self.id).is_some_and(|(token, _)| *token == self.token) {
            held.remove(&self.id);
        }
    }
}

impl Holding {
    pub(super) fn start(store: &Store, holder: &str, ttl: Duration) -> Self {
        let held = Arc::new(Mutex::new(Map::new()));
        let renewal = renew(store.clone(), holder.to_owned(), ttl, Arc::clone(&held));
        Self { held, _renewal: AbortOnDropHandle::new(tokio::spawn(renewal)) }
    }

    /// Renews a job's lease from now on.
    pub(super) fn hold(&self, job: &LeasedJob) -> Held {
        let cancel = CancellationToken::new();
        lock(&self.held).insert(job.id, (job.token, cancel.clone()));
        Held { id: job.id, token: job.token, held: Arc::clone(&self.held), cancel }
    }
}

/// The map is whole after every statement on it, a panic in between or not.
fn lock(held: &Mutex<Map>) -> MutexGuard<'_, Map> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn renew(store: Store, holder: String, ttl: Duration, held: Arc<Mutex<Map>>) {
    loop {
        tokio::time::sleep(ttl / 3).await;
        let tokens: BTreeMap<JobId, JobToken> =
            lock(&held).iter().map(|(id, (token, _))| (*id, *token)).collect();
        if tokens.is_empty() {
            continue;
        }
        match job::renew(&store, &tokens, (&holder, ttl)).await {
            Ok(renewals) => renewals.into_iter().for_each(|(id, found)| {
                if found != Renewal::Renewed {
                    tell(&held, (id, tokens.get(&id).copied()), found);
                }
            }),
            // The database may be back before the leases run out; if not, the tokens tell.
            Err(error) => tracing::warn!(%error, "leases of jobs not renewed"),
        }
    }
}

/// Tells the handler of a job; one that has ended, or was taken again meanwhile, is not told.
fn tell(held: &Mutex<Map>, (id, asked): (JobId, Option<JobToken>), found: Renewal) {
    let held = lock(held);
    let Some((token, cancel)) = held.get(&id) else { return };
    if asked != Some(*token) || cancel.is_cancelled() {
        return;
    }
    // A job that this process has just ended may look lost: what its end comes to says whether it was.
    let is_lost = found == Renewal::Lost;
    tracing::info!(job = %id, is_lost, "the result of a job is not wanted any more");
    cancel.cancel();
}
