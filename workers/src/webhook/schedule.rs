//! When a delivery is tried again: the schedule that Standard Webhooks suggests, with jitter.

use std::time::Duration;

/// Waits after the first try and each further one, in seconds: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
const WAITS: [u64; 9] =
    [5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 14 * 3_600, 20 * 3_600, 24 * 3_600];

/// Tries of one message, the first included.
pub const MAX_ATTEMPTS: u32 = WAITS.len() as u32 + 1;

/// The wait after an attempt that failed, counted from 1; `None` after the last. `jitter`, from 0 to 1, takes up to
/// a tenth off, so that what failed together does not come back together.
#[must_use]
pub fn wait_after(attempt: u32, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    let wait = Duration::from_secs(*WAITS.get(index)?);
    Some(wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_the_specifications_and_ends() {
        let waits: Vec<u64> = (1..)
            .map_while(|attempt| wait_after(attempt, 0.0))
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(waits, WAITS);
        assert_eq!(waits.len() + 1, MAX_ATTEMPTS as usize);
        assert_eq!(wait_after(0, 0.0), None);
        assert_eq!(wait_after(MAX_ATTEMPTS, 0.0), None);
    }

    #[test]
    fn jitter_takes_a_tenth_at_most() {
        assert_eq!(wait_after(2, 1.0), Some(Duration::from_secs(270)));
        assert_eq!(wait_after(2, 7.0), wait_after(2, 1.0));
        assert_eq!(wait_after(2, -1.0), wait_after(2, 0.0));
    }
}
