//! How long to wait before connecting again. Pure: attempt and a random number in, a wait out.
//!
//! After an established session was lost: anything from 0 to 5 s, so that five hundred devices whose receiver
//! restarted do not come back in one instant. After a failed attempt: full jitter, anything from 0 to a ceiling
//! that doubles from 1 s to 30 s. The first attempt after the start waits for nothing.

use std::time::Duration;

const AFTER_LOSS: Duration = Duration::from_secs(5);
const FIRST_CEILING: Duration = Duration::from_secs(1);
const LAST_CEILING: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Failed attempts since the last success.
    failures: u32,
}

impl Backoff {
    /// A session stood and is gone. `random` is uniform in 0 .. 1.
    pub fn after_loss(&mut self, random: f64) -> Duration {
        self.failures = 0;
        AFTER_LOSS.mul_f64(random.clamp(0.0, 1.0))
    }

    /// An attempt failed. `random` is uniform in 0 .. 1.
    pub fn after_failure(&mut self, random: f64) -> Duration {
        let ceiling = FIRST_CEILING
            .saturating_mul(1 << self.failures.min(8))
            .min(LAST_CEILING);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_to_thirty_seconds_and_stay() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<u64> = (0..8)
            .map(|_| backoff.after_failure(1.0).as_secs())
            .collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(
            backoff.after_failure(0.0),
            Duration::ZERO,
            "the jitter is full"
        );
        backoff.reset();
        assert_eq!(backoff.after_failure(1.0).as_secs(), 1);
    }

    #[test]
    fn a_lost_session_comes_back_within_five_seconds() {
        let mut backoff = Backoff::default();
        backoff.after_failure(1.0);
        assert_eq!(backoff.after_loss(1.0), AFTER_LOSS);
        assert_eq!(backoff.after_loss(0.5), AFTER_LOSS / 2);
        assert_eq!(backoff.after_failure(1.0), FIRST_CEILING);
    }

    #[test]
    fn thousands_of_failures_do_not_overflow() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.after_failure(1.0), LAST_CEILING);
    }
}
