//! Chance that can be had again: every random choice of a test comes from a seed that a failure prints.

use super::Size;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::time::Duration;

/// Set to the seed of a failure to have it again.
const VARIABLE: &str = "FAULT_SEED";

#[derive(Debug)]
pub struct Chance {
    seed: u64,
    generator: StdRng,
    test: &'static str,
}

impl Chance {
    /// From the environment's seed; else the test's own in a short run, so that a red one is the change's fault and
    /// not the day's, and a fresh one in a long run, which is there to find what nobody thought of.
    pub fn new(test: &'static str) -> Self {
        let given = std::env::var(VARIABLE)
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| match Size::from_env() {
            Size::Short => own_seed(test),
            Size::Long => rand::random(),
        });
        Self {
            seed,
            generator: StdRng::seed_from_u64(seed),
            test,
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.generator.random_range(range)
    }

    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).expect("short");
        Duration::from_micros(self.number(us(range.start)..us(range.end)))
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.number(0..from.len() as u64);
        &from[usize::try_from(index).expect("an index")]
    }
}

/// FNV-1a of its name (draft-eastlake-fnv).
fn own_seed(test: &str) -> u64 {
    test.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Drop for Chance {
    fn drop(&mut self) {
        // An error that is returned unwinds nothing: so it is said in any case, and the test runner shows it when
        // the test failed.
        eprintln!(
            "{}: {VARIABLE}={} has the same choices again",
            self.test, self.seed
        );
    }
}
