//! How long a job rests after a failed attempt: doubling up to a cap, half of it by chance. Randomness comes in
//! as a number, so that a seed gives the same waits again.

use std::time::Duration;

/// The waits between the attempts at a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// Longest wait after the first attempt.
    pub first: Duration,
    /// Longest wait at all.
    pub cap: Duration,
}

impl Backoff {
    /// The longest wait after so many attempts.
    #[must_use]
    pub fn ceiling(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }

    /// The wait after so many attempts: from half of the ceiling to all of it, by a random number. Jobs that
    /// failed together, as when a server was away, do not come back together.
    #[must_use]
    pub fn wait(&self, attempts: u32, random: u64) -> Duration {
        let ceiling = self.ceiling(attempts);
        let half = ceiling / 2;
        let width = u64::try_from((ceiling - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(width.checked_add(1).map_or(random, |width| random % width))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(60) };

    #[test]
    fn waits_double_up_to_the_cap() {
        let ceilings: Vec<u64> = (1..=8).map(|n| BACKOFF.ceiling(n).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(BACKOFF.ceiling(u32::MAX).as_secs(), 60);
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_half_the_ceiling_and_all_of_it(
            first in 0u64..100_000, cap in 0u64..10_000_000, attempts: u32, random: u64,
        ) {
            let backoff = Backoff {
                first: Duration::from_millis(first),
                cap: Duration::from_millis(cap),
            };
            let (wait, ceiling) = (backoff.wait(attempts, random), backoff.ceiling(attempts));
            prop_assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
            prop_assert!(ceiling <= backoff.cap);
            prop_assert_eq!(wait, backoff.wait(attempts, random));
        }
    }
}
