//! Which encoded pictures are worth decoding: decided before any decoder is asked. Pure.
//!
//! Decoding is what a camera costs. While nothing moves only key frames are decoded, each compared with what the camera
//! usually shows, and between them the gate listens to what is known of a picture without decoding it: its size and,
//! where it can be read, how coarsely it was quantised. Three things open it:
//! - *a signal*: the encoded pictures of the last moment are larger or more complex than they ever are (`baseline`).
//!   Decoding begins at the last key frame, in memory, in which nothing moved yet.
//! - *a key frame* in which something moves: it came since the one before, so decoding begins there.
//! - *somebody*, who follows something or waits for a picture.
//!
//! It closes when for some seconds nothing moved, nothing was signalled and nobody followed anything.
//!
//! A signal is believed as long as it tells of the movements that are seen (`trust`); one that does not is no reason to
//! miss what comes and goes between two key frames: then the beginning of each group is decoded too, so that never
//! more than a second goes unseen. Where key frames are rare, everything is decoded. Which it is, and why, is in the
//! report.

mod baseline;
mod groups;
mod report;
mod trust;

use super::h264::{Slice, SliceType};
use baseline::{Baseline, Pace, Sample};
use groups::Groups;
pub use report::{GateMode, GateReport};
use std::collections::VecDeque;
use std::f32::consts::LN_2;
use std::time::Duration;
use trust::Trust;

/// How a camera's pictures are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Without it everything is decoded.
    pub enabled: bool,
    /// For programs that measure what a part of the work costs: never more than this is decoded.
    pub at_most: Option<AtMost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtMost {
    /// The stream is received, and that is all.
    Nothing,
    KeyFrames,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            at_most: None,
        }
    }
}

/// What is known of an encoded picture without decoding it. Units come in stream order.
#[derive(Clone, Copy, Debug)]
pub struct UnitFacts {
    pub number: u64,
    /// When it arrived, on the boot clock.
    pub at: Duration,
    pub key: bool,
    pub bytes: usize,
    /// Where its header could be read.
    pub slice: Option<Slice>,
}

/// What was seen in a decoded picture.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// When the picture arrived, on the boot clock.
    pub at: Duration,
    pub moving: bool,
}

/// What is to be decoded from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    /// Each key frame by itself.
    KeyFrames,
    /// Of each group so much, by when its pictures arrived.
    Openings(Duration),
    /// Everything.
    Everything,
    /// Everything from this unit on, which is a key frame and may be a past one.
    From(u64),
}

/// Deviation of the last moment, in its own spreads, that is a signal: at five, walkers under a constant bit rate are told
/// of half as often.
const SIGNAL: f32 = 4.0;
/// It stays open so long after the last movement or signal.
const HOLD: Duration = Duration::from_millis(2500);
/// A signal with which nothing was seen to move, or a single picture in which something did, is looked into for so long.
const DOUBT: Duration = Duration::from_secs(1);
/// Key frames further apart are no second look.
const RARE_KEYS: Duration = Duration::from_secs(5);
/// Never more than this goes unseen where the signal cannot be believed.
const LONGEST_UNSEEN: Duration = Duration::from_secs(1);
/// A signal this long before a movement was seen, or this long after, told of it.
const TELLS_WITHIN: Duration = Duration::from_millis(1500);
/// A movement shorter than this need not be told of.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// So many slice headers in turn that can be read, or not, unlike those before, make it another stream.
const EXCEPTIONS_TO_CHANGE: u32 = 8;
/// Pictures that wait to be known as still: those since the last decoded one.
const MOST_UNJUDGED: usize = 512;

/// One camera's gate.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    groups: Groups,
    baseline: Baseline,
    trust: Trust,
    quantiser_known: bool,
    /// So many units in turn were otherwise.
    exceptions: u32,
    /// Pictures not known to be still or moving yet.
    unjudged: VecDeque<Sample>,
    open: Option<Open>,
    last_signal: Option<Duration>,
    last_movement: Option<Duration>,
    hold_until: Duration,
    now: Duration,
    triggers: u64,
}

/// Why and since when everything is decoded.
#[derive(Clone, Copy, Debug)]
struct Open {
    from: u64,
    began: Duration,
    /// First and last picture in which something moved.
    movement: Option<(Duration, Duration)>,
    /// The first of the encoded pictures that told of it.
    signal: Option<Duration>,
}

impl Gate {
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            groups: Groups::default(),
            baseline: Baseline::default(),
            trust: Trust::default(),
            quantiser_known: false,
            exceptions: 0,
            unjudged: VecDeque::new(),
            open: None,
            last_signal: None,
            last_movement: None,
            hold_until: Duration::ZERO,
            now: Duration::ZERO,
            triggers: 0,
        }
    }

    /// The connection was lost: what it learned stays, what it was waiting for does not.
    pub fn interrupted(&mut self) {
        self.groups.interrupted();
        self.baseline.interrupted();
        self.unjudged.clear();
        self.open = None;
        self.last_signal = None;
    }

    /// The stream is another one: what was learned means nothing any more.
    pub fn another_format(&mut self) {
        self.interrupted();
        self.relearn();
    }

    /// The next unit has arrived.
    pub fn arrived(&mut self, unit: UnitFacts) {
        self.now = unit.at;
        if self.groups.arrived(&unit) {
            self.relearn();
        }
        let Some(mut sample) = self.sample(&unit) else {
            return;
        };
        let score = self.baseline.score(&mut sample);
        if self.unjudged.len() == MOST_UNJUDGED {
            self.unjudged.pop_front();
        }
        self.unjudged.push_back(sample);
        if score.is_some_and(|score| score > SIGNAL) {
            self.last_signal = Some(unit.at);
            if let Some(open) = &mut self.open {
                open.signal.get_or_insert(unit.at);
            }
            if self.open.is_none() && self.trust.is_telling() {
                self.open_at(self.groups.before_signal(self.last_movement), true);
            }
        }
    }

    /// A picture was decoded. Verdicts come in the order of time, but for those that are decoded a second time.
    pub fn saw(&mut self, verdict: Verdict) {
        let pace = match self.open {
            Some(_) => Pace::Fast,
            None => Pace::Slow,
        };
        while let Some(sample) = self.unjudged.front()
            && sample.at <= verdict.at
        {
            let sample = *sample;
            self.unjudged.pop_front();
            if !verdict.moving && !self.is_signalled(sample.at, pace) {
                self.baseline.learn(sample, pace);
            }
        }
        self.groups.saw(verdict.at);
        if verdict.moving {
            self.moved(verdict.at);
        } else {
            self.close_if_over(verdict.at);
        }
    }

    /// Until when somebody follows something, or waits for a picture that has not arrived before.
    pub fn attend(&mut self, hold_until: Duration) {
        self.hold_until = hold_until;
        if hold_until > self.now && self.open.is_none() {
            self.open_at(self.groups.last_key(), false);
        }
    }

    pub fn wish(&self) -> Wish {
        match self.config.at_most {
            Some(AtMost::Nothing) => return Wish::Nothing,
            Some(AtMost::KeyFrames) => return Wish::KeyFrames,
            None => {}
        }
        match (self.open, self.mode()) {
            (_, GateMode::Everything | GateMode::Learning) => Wish::Everything,
            (Some(open), _) => Wish::From(open.from),
            (None, GateMode::Sizes | GateMode::Complexity | GateMode::KeyFrames) => Wish::KeyFrames,
            (None, GateMode::KeyFramesAndOpenings) => match self.groups.interval() {
                Some(interval) if interval > LONGEST_UNSEEN + LONGEST_UNSEEN / 4 => {
                    Wish::Openings(interval - LONGEST_UNSEEN)
                }
                _ => Wish::KeyFrames,
            },
        }
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn report(&self) -> GateReport {
        let (told, movements) = self.trust.of();
        GateReport {
            mode: self.mode(),
            why: report::why(
                self.config.enabled,
                self.mode(),
                &report::Known {
                    interval: self.groups.interval(),
                    progress: self.baseline.progress(),
                    quantiser: self.quantiser_known,
                    told,
                    movements,
                },
            ),
            active: self.open.is_some(),
            triggers: self.triggers,
        }
    }

    fn mode(&self) -> GateMode {
        if !self.config.enabled || self.groups.are_rare(self.now, RARE_KEYS) {
            GateMode::Everything
        } else if self.groups.is_all_keys() {
            GateMode::KeyFrames
        } else if !self.baseline.is_learned() {
            GateMode::Learning
        } else if !self.trust.is_telling() {
            GateMode::KeyFramesAndOpenings
        } else if self.quantiser_known {
            GateMode::Complexity
        } else {
            GateMode::Sizes
        }
    }

    /// `None` for key frames, which are looked at anyway.
    fn sample(&mut self, unit: &UnitFacts) -> Option<Sample> {
        if unit.key || !self.is_usual(unit.slice.is_some()) {
            return None;
        }
        let kind = unit.slice.map(|slice| slice.kind);
        Some(Sample {
            at: unit.at,
            position: self.groups.position()?,
            is_b: kind == Some(SliceType::B),
            value: complexity(unit.bytes, unit.slice),
            mean: None,
        })
    }

    /// Whether this unit's quantiser is known or not, like that of the others. One damaged header is an exception; many
    /// in turn are another stream.
    fn is_usual(&mut self, knows: bool) -> bool {
        if knows == self.quantiser_known {
            self.exceptions = 0;
            return true;
        }
        self.exceptions += 1;
        if self.exceptions < EXCEPTIONS_TO_CHANGE {
            return false;
        }
        self.quantiser_known = knows;
        self.relearn();
        true
    }

    fn relearn(&mut self) {
        self.baseline = Baseline::default();
        self.trust = Trust::new(self.quantiser_known);
        self.unjudged.clear();
    }

    fn open_at(&mut self, from: Option<u64>, triggered: bool) {
        let Some(from) = from else {
            return;
        };
        self.triggers += u64::from(triggered);
        self.open = Some(Open {
            from,
            began: self.now,
            movement: None,
            signal: self.last_signal.filter(|signal| *signal + HOLD >= self.now),
        });
    }

    fn moved(&mut self, at: Duration) {
        self.last_movement = Some(at);
        if self.open.is_none() {
            let before = self.groups.before_picture(at);
            self.open_at(before, true);
        }
        if let Some(open) = &mut self.open {
            let (first, last) = open.movement.unwrap_or((at, at));
            open.movement = Some((first.min(at), last.max(at)));
        }
    }

    fn close_if_over(&mut self, at: Duration) {
        let Some(open) = self.open else {
            return;
        };
        // What one picture alone showed was noise, as likely as not.
        let is_sure = open.movement.is_some_and(|(first, last)| first < last);
        let hold = if is_sure { HOLD } else { DOUBT };
        let is_recent = |signal: Duration| at < signal + hold;
        let signalled = self.trust.is_telling() && self.last_signal.is_some_and(is_recent);
        let moved = open.movement.is_some_and(|(_, last)| is_recent(last));
        // Whoever opened it gets to see what there was, even if nothing moved.
        let fresh = at < open.began;
        if fresh || signalled || moved || at < self.hold_until {
            return;
        }
        self.open = None;
        if let Some((first, last)) = open.movement
            && last.saturating_sub(first) >= WORTH_TELLING
            && self.baseline.is_learned()
        {
            let told = |signal: Duration| signal.abs_diff(first) <= TELLS_WITHIN;
            self.trust.movement(open.signal.is_some_and(told));
        }
    }

    /// What was just signalled is not learned as usual before it was looked at.
    fn is_signalled(&self, at: Duration, pace: Pace) -> bool {
        pace == Pace::Slow
            && self.trust.is_telling()
            && self.last_signal.is_some_and(|signal| at <= signal + HOLD)
    }
}

/// The natural logarithm of what rate control calls complexity: bits times the quantiser's step, which doubles every six.
fn complexity(bytes: usize, slice: Option<Slice>) -> f32 {
    let quantiser = slice.map_or(0.0, |slice| f32::from(slice.qp) * LN_2 / 6.0);
    (bytes.max(1) as f32).ln() + quantiser
}

#[cfg(test)]
mod tests;
