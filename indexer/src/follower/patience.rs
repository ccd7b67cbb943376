//! How long trouble is borne: waiting where time helps, a few tries where it may, not at all where
//! nothing does.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::IndexError;
use crate::source::Remedy;

/// What was borne since something last went well.
pub(super) struct Patience {
    attempts: u32,
    first_wait: Duration,
    failures: u32,
    unusable: u32,
}

const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Patience {
    pub(super) fn new(attempts: u32, first_wait: Duration) -> Self {
        Self { attempts, first_wait, failures: 0, unusable: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.unusable = 0;
    }

    pub(super) async fn bear(
        &mut self,
        error: IndexError,
        shutdown: &CancellationToken,
    ) -> Result<(), IndexError> {
        self.failures += 1;
        let asked = match error.remedy() {
            Remedy::None => return Err(error),
            Remedy::RetryBounded => {
                self.unusable += 1;
                if self.unusable >= self.attempts {
                    return Err(error);
                }
                None
            }
            Remedy::Wait(asked) => asked,
        };
        let wait = self.backoff().max(asked.unwrap_or_default()).min(LONGEST_WAIT);
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "following interrupted, trying again");
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }

    /// Doubles with each failure up to the longest wait, then a random part of a quarter off, so that
    /// several followers do not come back at once.
    fn backoff(&self) -> Duration {
        let doubled = self.first_wait * 2u32.saturating_pow(self.failures.clamp(1, 8) - 1);
        doubled.min(LONGEST_WAIT).mul_f64(rand::random_range(0.75..=1.0))
    }
}
