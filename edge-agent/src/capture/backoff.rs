//! How long to wait before the next attempt. Pure: the randomness comes from the caller.
//!
//! Jitter, because twenty cameras behind one switch come back at the same moment and must not all ask at once.

use std::time::Duration;

/// When a camera is given up for now, and when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Shortest wait.
    pub first: Duration,
    /// Longest wait: so late at most a camera that works again is noticed.
    pub most: Duration,
    /// A stream that ran this long was well: the next wait is a short one again.
    pub well_after: Duration,
    /// Without data for this long a stream counts as dead.
    pub silence: Duration,
    /// A camera that has not begun to play by then is given up.
    pub connect: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(15),
            well_after: Duration::from_secs(30),
            silence: Duration::from_secs(5),
            connect: Duration::from_secs(10),
        }
    }
}

/// Counts the attempts of one camera.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    attempt: u32,
}

impl Backoff {
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, attempt: 0 }
    }

    /// The wait after a stream that ran for `ran` ended. `random` lies in 0..1.
    pub fn next_wait(&mut self, ran: Duration, random: f64) -> Duration {
        if ran >= self.policy.well_after {
            self.attempt = 0;
        }
        let wait = wait(&self.policy, self.attempt, random);
        self.attempt = self.attempt.saturating_add(1);
        wait
    }
}

/// Attempt 0 waits between `first` and twice `first`, each further one doubles both bounds, none exceeds `most`.
fn wait(policy: &RetryPolicy, attempt: u32, random: f64) -> Duration {
    let doubled = |times: u32| {
        let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
        policy.first.saturating_mul(factor).min(policy.most)
    };
    let ceiling = doubled(attempt.saturating_add(1));
    // At the upper end the two bounds meet; half of it keeps cameras apart there too.
    let floor = doubled(attempt)
        .min((ceiling / 2).max(policy.first))
        .min(ceiling);
    floor + (ceiling - floor).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: &mut Backoff, ran_seconds: u64, random: f64) -> f64 {
        backoff
            .next_wait(Duration::from_secs(ran_seconds), random)
            .as_secs_f64()
    }

    #[test]
    fn waits_double_up_to_the_most() {
        let mut low = Backoff::new(RetryPolicy::default());
        let mut high = low.clone();
        let lows: Vec<f64> = (0..7).map(|_| seconds(&mut low, 0, 0.0)).collect();
        let highs: Vec<f64> = (0..7).map(|_| seconds(&mut high, 0, 1.0)).collect();
        assert_eq!(lows, [1.0, 2.0, 4.0, 7.5, 7.5, 7.5, 7.5]);
        assert_eq!(highs, [2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]);
    }

    #[test]
    fn a_stream_that_ran_well_starts_over() {
        let mut backoff = Backoff::new(RetryPolicy::default());
        for _ in 0..5 {
            seconds(&mut backoff, 29, 0.5);
        }
        assert_eq!(seconds(&mut backoff, 30, 0.0), 1.0);
        assert_eq!(seconds(&mut backoff, 0, 0.0), 2.0);
    }

    #[test]
    fn no_attempt_is_too_many() {
        let mut backoff = Backoff {
            policy: RetryPolicy::default(),
            attempt: u32::MAX,
        };
        assert_eq!(seconds(&mut backoff, 0, 1.0), 15.0);
        assert_eq!(seconds(&mut backoff, 0, 0.0), 7.5);
    }

    proptest::proptest! {
        #[test]
        fn every_wait_lies_between_first_and_most(attempt: u32, random in 0.0..1.0) {
            let policy = RetryPolicy::default();
            let wait = wait(&policy, attempt, random);
            proptest::prop_assert!(wait >= policy.first && wait <= policy.most);
        }
    }
}
