//! Jobs: work that any process may do, in any order, shared through one table.
//!
//! A holder writes under the token of its lease, in the transaction of the job's effect: whoever is not the
//! newest holder is refused, and the effect with it. What may happen to a job is decided by [`Job::step`] alone;
//! the statements here lock a row, ask it, and store the answer. Times are the database's.

mod backoff;
mod enqueue;
mod lease;
mod look;
mod row;
mod settle;
mod step;

pub use backoff::Backoff;
pub use enqueue::{Enqueued, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, NewJob, enqueue};
pub use lease::{
    Kinds, Lapse, LeasedJob, MAX_LEASED_AT_ONCE, Renewal, lease, next_due, renew, take_back,
};
pub use look::{Counts, JobFilter, JobRecord, MAX_LISTED, counts, get, list};
pub use settle::{
    Ended, MAX_PRUNED, ask_cancel, complete, drop_dead, fail, prune, reject, release, retry_dead,
};
pub use step::{Job, JobEvent, JobState, MAX_REASON_CHARS, Refusal};
