//! How it is with the certificate for browsers: until when it is good, and what hinders the next. Kept beside it, so that the
//! commands, which run by themselves, can tell, and so that a receiver that is restarted again and again does not ask an
//! authority each time.

use super::public::Pair;
use crate::keys::{KeysError, replace};
use serde::{Deserialize, Serialize};
use std::path::Path;
use wire::UtcMicros;

const FILE: &str = "portal.standing.json";
/// After a first failure; the pause doubles with each, up to the longest. An authority like Let's Encrypt lets somebody fail
/// five times an hour.
const FIRST_PAUSE_US: i64 = 120_000_000;
const LONGEST_PAUSE_US: i64 = 6 * 3600 * 1_000_000;
/// A pair of files is not replaced in one moment, and a server may be away for a minute: that need not wake anybody.
const PATIENCE_US: i64 = 600_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// File or authority, as the configuration names it.
    pub source: String,
    /// Of the certificate that is shown; absent: browsers are shown the receiver's own.
    pub not_before_us: Option<UtcMicros>,
    pub not_after_us: Option<UtcMicros>,
    /// Why there is no newer one.
    pub problem: Option<String>,
    pub problem_since_us: Option<UtcMicros>,
    /// Failures in a row.
    pub failures: u32,
    /// Before this no other attempt is made.
    pub next_us: Option<UtcMicros>,
    /// The operator was written to, and was not told yet that it is well again.
    pub told: bool,
}

impl Standing {
    /// `None`: there is none, or none that can be read.
    pub fn load(dir: &Path) -> Option<Self> {
        let text = std::fs::read(dir.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub fn save(&self, dir: &Path) -> Result<(), KeysError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        replace(&dir.join(FILE), &text)
    }

    pub fn shows(&mut self, pair: &Pair) {
        (self.not_before_us, self.not_after_us) =
            (Some(pair.not_before_us), Some(pair.not_after_us));
    }

    pub fn is_well(&mut self) {
        self.problem = None;
        self.problem_since_us = None;
        self.failures = 0;
        self.next_us = None;
    }

    /// Answers whether that is news.
    pub fn fails(&mut self, problem: String, at: UtcMicros) -> bool {
        let pause_us = FIRST_PAUSE_US << self.failures.min(16);
        self.next_us = Some(at.plus_us(pause_us.min(LONGEST_PAUSE_US)));
        self.failures = self.failures.saturating_add(1);
        self.problem_since_us.get_or_insert(at);
        let before = self.problem.replace(problem);
        before != self.problem
    }

    /// Whether somebody has to do something: browsers are shown the receiver's own in its place, or it has less than a quarter of
    /// its life left, and should have been renewed at a third.
    pub fn needs_hand(&self, at: UtcMicros) -> bool {
        match (self.not_before_us, self.not_after_us) {
            (Some(from), Some(to)) => to.since_us(at) < to.since_us(from) / 4,
            _ => true,
        }
    }

    /// Whether the operator is to be written to now.
    pub fn is_to_be_told(&self, at: UtcMicros) -> bool {
        let is_old = self
            .problem_since_us
            .is_none_or(|since| at.since_us(since) >= PATIENCE_US);
        !self.told && is_old && self.needs_hand(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOUR_US: i64 = 3600 * 1_000_000;

    #[test]
    fn failures_are_far_between_and_told_well_before_the_end() {
        let start = UtcMicros(1_000_000 * HOUR_US);
        let mut standing = Standing {
            not_before_us: Some(start),
            not_after_us: Some(start.plus_us(90 * 24 * HOUR_US)),
            ..Standing::default()
        };
        let mut at = start.plus_us(60 * 24 * HOUR_US);
        let mut within_an_hour = 0;
        let begun = at;
        while !standing.is_to_be_told(at) {
            standing.fails("no".into(), at);
            within_an_hour += u32::from(at.since_us(begun) <= HOUR_US);
            at = standing.next_us.unwrap();
        }
        assert_eq!(within_an_hour, 5);
        let left = standing.not_after_us.unwrap().since_us(at);
        assert!(left > 22 * 24 * HOUR_US, "told with three weeks left");
        assert!(standing.failures < 50, "{}", standing.failures);
        standing.is_well();
        assert_eq!((standing.failures, standing.next_us), (0, None));
    }

    #[test]
    fn it_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Standing::load(dir.path()), None);
        let mut standing = Standing::default();
        assert!(standing.fails("no".into(), UtcMicros(5)));
        assert!(standing.needs_hand(UtcMicros(5)));
        assert!(!standing.is_to_be_told(UtcMicros(5)), "it may pass");
        standing.save(dir.path()).unwrap();
        assert_eq!(Standing::load(dir.path()), Some(standing));
    }
}
