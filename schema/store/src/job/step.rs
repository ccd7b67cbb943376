//! What may happen to a job: a pure function from a job and an event to the job after it.
//!
//! The token is the fence, not the clock: a holder that is late and was not replaced may still end its job. That
//! a lease ran out only says that somebody else may take the job back, which then ends the token's right at once.

use chrono::{DateTime, TimeDelta, Utc};
use obsqra_types::JobToken;

/// Longest reason that is kept, in characters.
pub const MAX_REASON_CHARS: usize = 2_000;

/// What counts of a job when something happens to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Where it stands.
    pub state: JobState,
    /// Leases so far that count as an attempt.
    pub attempts: u32,
    /// Attempts after which a failure is the last.
    pub max_attempts: u32,
    /// The newest lease's.
    pub token: JobToken,
    /// Whether somebody asked for it not to be done.
    pub cancel_requested: bool,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobState {
    /// Nobody holds it.
    Queued {
        /// It is not taken before.
        not_before: DateTime<Utc>,
    },
    /// A process holds it.
    Leased {
        /// From then on it may be taken back.
        until: DateTime<Utc>,
    },
    /// Its effect is committed.
    Done,
    /// Set aside, with the reason in `last_error`.
    Dead,
    /// It is not to be done.
    Cancelled,
}

/// What happens to a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobEvent {
    /// A process takes it.
    Lease {
        /// The time.
        now: DateTime<Utc>,
        /// How long the lease runs.
        ttl: TimeDelta,
    },
    /// Its holder is still at work.
    Renew {
        /// The holder's.
        token: JobToken,
        /// The time.
        now: DateTime<Utc>,
        /// How long the lease runs from now.
        ttl: TimeDelta,
    },
    /// Its holder has done it.
    Complete {
        /// The holder's.
        token: JobToken,
    },
    /// An attempt failed; another may succeed.
    Fail {
        /// The holder's.
        token: JobToken,
        /// The time.
        now: DateTime<Utc>,
        /// How long it rests.
        wait: TimeDelta,
        /// Why.
        reason: String,
    },
    /// No attempt will succeed.
    Reject {
        /// The holder's.
        token: JobToken,
        /// Why.
        reason: String,
    },
    /// Its holder gives it back undone, because it stops. That is never the job's own end.
    Release {
        /// The holder's.
        token: JobToken,
        /// The time.
        now: DateTime<Utc>,
    },
    /// Its lease ran out.
    Lapse {
        /// The time.
        now: DateTime<Utc>,
        /// How long it rests.
        wait: TimeDelta,
    },
    /// Somebody wants it not to be done.
    AskCancel,
    /// Somebody wants a dead one tried again.
    RetryDead {
        /// The time.
        now: DateTime<Utc>,
    },
    /// Somebody does not want a dead one any more.
    DropDead,
}

/// Why something cannot happen to a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Who speaks is not the newest holder, or the job was taken back from it.
    #[error("another process holds it, or it was taken back")]
    Stale,
    /// It is not time yet.
    #[error("it is not due yet")]
    NotDue,
    /// The job is not in a state in which this can happen.
    #[error("it is not in a state for that")]
    WrongState,
}

impl Job {
    /// The job after an event.
    ///
    /// # Errors
    /// When the event cannot happen to it; nothing is to be written then.
    pub fn step(self, event: JobEvent) -> Result<Self, Refusal> {
        match event {
            JobEvent::Lease { now, ttl } => self.leased(now, ttl),
            JobEvent::Renew { token, now, ttl } => {
                let job = self.held_by(token)?;
                Ok(Self { state: JobState::Leased { until: now + ttl }, ..job })
            }
            JobEvent::Complete { token } => {
                Ok(Self { state: JobState::Done, last_error: None, ..self.held_by(token)? })
            }
            JobEvent::Fail { token, now, wait, reason } => {
                Ok(self.held_by(token)?.failed(now + wait, &reason))
            }
            JobEvent::Reject { token, reason } => {
                let last_error = Some(shortened(&reason));
                Ok(Self { state: JobState::Dead, last_error, ..self.held_by(token)? })
            }
            JobEvent::Release { token, now } => Ok(self.held_by(token)?.back_in_queue(now)),
            JobEvent::Lapse { now, wait } => self.lapsed(now, wait),
            JobEvent::AskCancel => self.cancel_asked(),
            JobEvent::RetryDead { now } => {
                let state = JobState::Queued { not_before: now };
                Ok(Self { state, attempts: 0, cancel_requested: false, ..self.dead()? })
            }
            JobEvent::DropDead => Ok(Self { state: JobState::Cancelled, ..self.dead()? }),
        }
    }

    fn leased(self, now: DateTime<Utc>, ttl: TimeDelta) -> Result<Self, Refusal> {
        match self.state {
            JobState::Queued { not_before } if not_before <= now => Ok(Self {
                state: JobState::Leased { until: now + ttl },
                attempts: self.attempts.saturating_add(1),
                token: self.token.next(),
                ..self
            }),
            JobState::Queued { .. } => Err(Refusal::NotDue),
            _ => Err(Refusal::WrongState),
        }
    }

    fn held_by(self, token: JobToken) -> Result<Self, Refusal> {
        match self.state {
            JobState::Leased { .. } if self.token == token => Ok(self),
            _ => Err(Refusal::Stale),
        }
    }

    fn dead(self) -> Result<Self, Refusal> {
        match self.state {
            JobState::Dead => Ok(self),
            _ => Err(Refusal::WrongState),
        }
    }

    fn failed(self, not_before: DateTime<Utc>, reason: &str) -> Self {
        let last_error = Some(shortened(reason));
        if self.attempts >= self.max_attempts && !self.cancel_requested {
            return Self { state: JobState::Dead, last_error, ..self };
        }
        Self { last_error, ..self.back_in_queue(not_before) }
    }

    /// A job that nobody wants any more is not taken up again.
    fn back_in_queue(self, not_before: DateTime<Utc>) -> Self {
        let state = if self.cancel_requested {
            JobState::Cancelled
        } else {
            JobState::Queued { not_before }
        };
        Self { state, ..self }
    }

    fn lapsed(self, now: DateTime<Utc>, wait: TimeDelta) -> Result<Self, Refusal> {
        match self.state {
            JobState::Leased { until } if until <= now => {
                let reason =
                    "its process was killed, was stopped or lost the database: the lease ran out";
                Ok(self.failed(now + wait, reason))
            }
            JobState::Leased { .. } => Err(Refusal::NotDue),
            _ => Err(Refusal::WrongState),
        }
    }

    fn cancel_asked(self) -> Result<Self, Refusal> {
        match self.state {
            JobState::Queued { .. } => {
                Ok(Self { state: JobState::Cancelled, cancel_requested: true, ..self })
            }
            JobState::Leased { .. } => Ok(Self { cancel_requested: true, ..self }),
            JobState::Done | JobState::Dead | JobState::Cancelled => Err(Refusal::WrongState),
        }
    }
}

/// What the database can keep of a reason.
fn shortened(reason: &str) -> String {
    reason.chars().filter(|one| *one != '\0').take(MAX_REASON_CHARS).collect()
}

impl JobState {
    /// Every state's name, in the order of their codes.
    pub const NAMES: [&'static str; 5] = ["queued", "leased", "done", "dead", "cancelled"];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Leased { .. } => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}
