//! How fast the line is, learned from answers: how much may be on its way at a time, and how long silence is no sign
//! of a dead line.
//!
//! A line of 64 kbit/s takes half a minute for one large batch, and whatever is queued behind it waits, pings and
//! answers too. So no more is sent ahead than the line takes in two seconds, and of what must be sent at once, such
//! as one large batch, the line is given the time it needs. One guess, shared by all connections to the receiver:
//! when a connection falls silent it is cut to a quarter, so that a line that became slow is not taken for a dead
//! one again and again.

use std::sync::Mutex;
use std::time::Duration;

/// Bytes a second. The first guess errs on the slow side; a fast line is found out within a few answers.
const FIRST: f64 = 64.0 * 1024.0;
const SLOWEST: f64 = 2.0 * 1024.0;
const FASTEST: f64 = 4.0 * 1024.0 * 1024.0;
/// So much of the line's time may be on its way.
const AHEAD: Duration = Duration::from_secs(2);
const LEAST_AHEAD_BYTES: usize = 16 * 1024;
/// What an idle line may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shared; cheap to ask.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Line>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Line { rate: FIRST }))
    }
}

impl Pace {
    /// How many bytes may be on their way at a time.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.line().ahead_bytes()
    }

    /// How long an answer may take behind so many bytes.
    pub(super) fn patience(&self, bytes: usize) -> Duration {
        self.line().patience(bytes)
    }

    /// The last of `bytes` that were on their way was answered after `took`.
    pub(super) fn answered(&self, bytes: usize, took: Duration) {
        self.change(|line| line.answered(bytes, took));
    }

    /// A connection fell silent.
    pub(super) fn fell_silent(&self) {
        self.change(Line::fell_silent);
    }

    fn line(&self) -> Line {
        *self.0.lock().expect("it is only copied under the lock")
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.0.lock().expect("plain arithmetic under the lock"));
    }
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Bytes a second.
    rate: f64,
}

impl Line {
    fn ahead_bytes(self) -> usize {
        ((self.rate * AHEAD.as_secs_f64()) as usize).max(LEAST_AHEAD_BYTES)
    }

    fn patience(self, bytes: usize) -> Duration {
        // Twice what it should take: other connections share the line.
        PATIENCE.max(Duration::from_secs_f64(2.0 * bytes as f64 / self.rate))
    }

    fn answered(&mut self, bytes: usize, took: Duration) {
        let seen = bytes as f64 / took.as_secs_f64().max(0.001);
        // Little on its way says how long the way is, not how wide: then only a faster line is learned from it.
        let is_full = bytes >= self.ahead_bytes() / 2;
        if seen > self.rate || is_full {
            self.rate = (0.5 * self.rate + 0.5 * seen).clamp(SLOWEST, FASTEST);
        }
    }

    fn fell_silent(&mut self) {
        self.rate = (self.rate / 4.0).max(SLOWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that takes so many bytes a second, asked for `count` full windows.
    fn learn(line: &mut Line, rate: f64, latency: Duration, count: usize) {
        for _ in 0..count {
            let bytes = line.ahead_bytes();
            let took = Duration::from_secs_f64(bytes as f64 / rate) + latency;
            line.answered(bytes, took);
        }
    }

    #[test]
    fn a_slow_line_gets_little_ahead_and_much_time() {
        let mut line = Line { rate: FIRST };
        learn(&mut line, 8_000.0, Duration::from_millis(100), 20);
        assert_eq!(line.ahead_bytes(), LEAST_AHEAD_BYTES);
        // The largest batch takes 33 s on it.
        assert!(line.patience(256 * 1024) > Duration::from_secs(33));
        assert_eq!(line.patience(0), PATIENCE);
    }

    #[test]
    fn a_fast_line_is_filled_though_its_way_is_long() {
        let mut line = Line { rate: FIRST };
        learn(&mut line, 2_500_000.0, Duration::from_millis(600), 30);
        let in_flight = 2_500_000.0 * 0.6;
        assert!(line.ahead_bytes() as f64 > in_flight, "{line:?}");
        assert_eq!(line.patience(line.ahead_bytes()), PATIENCE);
    }

    #[test]
    fn small_messages_on_a_long_way_are_no_sign_of_a_slow_line() {
        let mut line = Line { rate: FIRST };
        for _ in 0..100 {
            line.answered(300, Duration::from_millis(900));
        }
        assert!((line.rate - FIRST).abs() < f64::EPSILON);
    }

    #[test]
    fn silence_makes_it_careful_within_bounds() {
        let mut line = Line { rate: FASTEST };
        for _ in 0..100 {
            line.fell_silent();
        }
        assert!((line.rate - SLOWEST).abs() < f64::EPSILON);
        line.answered(usize::MAX / 2, Duration::ZERO);
        assert!(line.rate <= FASTEST);
    }
}
