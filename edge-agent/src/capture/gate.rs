//! Which encoded pictures are worth decoding: decided before any decoder is asked. Pure.
//!
//! Decoding is what a camera costs. The gate sees only what is known without it (key frame or not, encoded size,
//! how long the unit has waited) and what the scheduler wants, and keeps the one rule that no choice may break: a
//! picture that refers to others is decoded only if everything since its key frame was.

use serde::Serialize;
use std::time::Duration;

/// What the scheduler wants of a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    Nothing,
    /// One picture each group, through a decoder shared with other cameras.
    KeyFrames,
    #[default]
    All,
}

/// What is known of an encoded picture without decoding it.
#[derive(Clone, Copy, Debug)]
pub struct UnitFacts {
    pub key: bool,
    /// Encoded size: where little moves, pictures between key frames are small.
    pub bytes: usize,
    /// Since it arrived.
    pub waited: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Skip,
    /// Too old to be worth it; so is everything up to the next key frame. Counted.
    SkipLate,
    /// A key frame by itself.
    DecodeStill,
    Decode,
    /// This one and, before it, everything since its key frame, which was skipped.
    DecodeFromKey,
}

/// A decoder that cannot keep up would show an ever older past: beyond this, it goes on at the next key frame.
const LATE_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// Nothing was asked for; the units since the key frame may still be in the ring.
    Unasked,
    /// Everything since the key frame was decoded.
    Whole,
    /// A unit is missing: only a key frame helps.
    Broken,
}

/// One camera's gate. Today it lets through everything that is asked for.
#[derive(Debug)]
pub struct Gate {
    chain: Chain,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    pub fn new() -> Self {
        Self {
            chain: Chain::Unasked,
        }
    }

    /// Decides on the next unit in stream order.
    pub fn admit(&mut self, demand: Demand, unit: UnitFacts) -> Admission {
        match demand {
            Demand::Nothing => {
                self.chain = Chain::Unasked;
                Admission::Skip
            }
            Demand::KeyFrames => {
                self.chain = Chain::Unasked;
                if unit.key {
                    Admission::DecodeStill
                } else {
                    Admission::Skip
                }
            }
            Demand::All => self.admit_any(unit),
        }
    }

    /// A unit that was admitted, or one before it, did not reach the decoder.
    pub fn broken(&mut self) {
        self.chain = Chain::Broken;
    }

    fn admit_any(&mut self, unit: UnitFacts) -> Admission {
        let before = self.chain;
        self.chain = Chain::Whole;
        match before {
            _ if unit.key => Admission::Decode,
            Chain::Unasked => Admission::DecodeFromKey,
            Chain::Whole if unit.waited <= LATE_AFTER => Admission::Decode,
            Chain::Whole | Chain::Broken => {
                self.chain = Chain::Broken;
                Admission::SkipLate
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Admission::*;

    fn unit(key: bool) -> UnitFacts {
        UnitFacts {
            key,
            bytes: 1000,
            waited: Duration::from_millis(20),
        }
    }

    fn late(key: bool) -> UnitFacts {
        UnitFacts {
            waited: Duration::from_secs(2),
            ..unit(key)
        }
    }

    fn check(steps: &[(Demand, UnitFacts, Admission)]) {
        let mut gate = Gate::new();
        for (step, (demand, facts, expected)) in steps.iter().enumerate() {
            assert_eq!(gate.admit(*demand, *facts), *expected, "step {step}");
        }
    }

    #[test]
    fn everything_asked_for_is_let_through() {
        check(&[
            (Demand::All, unit(true), Decode),
            (Demand::All, unit(false), Decode),
            (Demand::All, unit(false), Decode),
            (Demand::All, unit(true), Decode),
        ]);
    }

    #[test]
    fn key_frames_alone_or_nothing() {
        check(&[
            (Demand::KeyFrames, unit(true), DecodeStill),
            (Demand::KeyFrames, unit(false), Skip),
            (Demand::Nothing, unit(true), Skip),
            (Demand::Nothing, unit(false), Skip),
        ]);
    }

    #[test]
    fn asked_in_mid_group_it_catches_up_from_the_key_frame() {
        check(&[
            (Demand::Nothing, unit(true), Skip),
            (Demand::All, unit(false), DecodeFromKey),
            (Demand::All, unit(false), Decode),
        ]);
    }

    #[test]
    fn what_comes_too_late_is_skipped_up_to_the_next_key_frame() {
        check(&[
            (Demand::All, unit(true), Decode),
            (Demand::All, late(false), SkipLate),
            (Demand::All, unit(false), SkipLate),
            (Demand::All, late(true), Decode),
            (Demand::All, unit(false), Decode),
        ]);
    }

    #[test]
    fn a_broken_chain_waits_for_a_key_frame() {
        let mut gate = Gate::new();
        assert_eq!(gate.admit(Demand::All, unit(false)), DecodeFromKey);
        gate.broken();
        assert_eq!(gate.admit(Demand::All, unit(false)), SkipLate);
        assert_eq!(gate.admit(Demand::All, unit(true)), Decode);
    }
}
