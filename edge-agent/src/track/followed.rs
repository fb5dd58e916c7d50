//! One object that is followed: what is known of it, and how long it is waited for. Pure.

use super::motion::Motion;
use super::{TrackId, TrackState, TrackerConfig};
use crate::detect::Detection;
use crate::geometry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::record::NormBox;

/// Slower than this, in sizes a second, an object stands: the noise of a detector on a parked car is less than half of it.
const STANDS: f32 = 0.4;
/// A step of time so long that the noise in the rate of what stands would become a distance.
const LONG_STEP: Duration = Duration::from_secs(1);
/// Found within this of the expected place, in sizes, an object is well predicted.
const SMALL_SURPRISE: f32 = 0.25;

#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub id: TrackId,
    pub class: Arc<str>,
    /// Where it is expected, or, once it was found in this look, where it is.
    pub rect: NormBox,
    /// Which of this look's detections it is.
    pub detection: Option<usize>,
    pub motion: Motion,
    /// Sum of scores by class.
    votes: BTreeMap<Arc<str>, f32>,
    score: f32,
    confirmed: bool,
    /// Looks that found it.
    hits: u32,
    /// Looks since then that did not.
    missed: u32,
    /// How far from the expected place it was found lately, in sizes.
    surprise: f32,
    first_seen: Duration,
    last_seen: Duration,
}

impl Followed {
    pub fn new(id: TrackId, at: Duration, index: usize, found: &Detection) -> Self {
        Self {
            id,
            class: found.class.clone(),
            rect: found.rect,
            detection: Some(index),
            motion: Motion::new(&found.rect),
            votes: BTreeMap::from([(found.class.clone(), found.score)]),
            score: found.score,
            confirmed: false,
            hits: 1,
            missed: 0,
            surprise: 0.0,
            first_seen: at,
            last_seen: at,
        }
    }

    /// Goes on to the next look, `step` later: where will it be?
    pub fn expect(&mut self, step: Duration) {
        if self.detection.take().is_none() {
            self.motion.coast();
        }
        self.go_on(step);
    }

    pub fn found(&mut self, at: Duration, index: usize, found: &Detection, config: &TrackerConfig) {
        self.surprise = (self.surprise + self.motion.correct(&found.rect)) / 2.0;
        self.rect = self.motion.rect();
        self.score = found.score;
        self.detection = Some(index);
        self.last_seen = at;
        self.hits += 1;
        self.missed = 0;
        let slow = self.hits >= 2 && at.saturating_sub(self.first_seen) >= config.confirm_span;
        self.confirmed |= self.hits >= config.confirm_hits || slow;
        self.vote(found);
    }

    /// The look is over. Returns whether the object is still waited for.
    pub fn waited_for(&mut self, at: Duration, config: &TrackerConfig) -> bool {
        if self.detection.is_some() {
            return true;
        }
        self.missed += 1;
        let (looks, time) = match (self.confirmed, self.stands()) {
            (false, _) => (1, config.coast_unconfirmed),
            (true, false) => (config.coast_looks, config.coast),
            (true, true) => (config.coast_looks, config.coast_standing),
        };
        self.missed < looks || self.unseen(at) <= time
    }

    /// Whether it may be looked for at all: after a long pause nobody knows who is who, but what stood may stand there yet.
    pub fn recognisable(&self, at: Duration, config: &TrackerConfig) -> bool {
        let pause = match self.stands() {
            true => config.pause_standing,
            false => config.pause,
        };
        self.unseen(at) <= pause
    }

    /// As it will be `step` after the last look if nobody looks.
    pub fn later(&self, step: Duration) -> Self {
        let mut later = self.clone();
        if !step.is_zero() {
            later.detection = None;
            later.go_on(step);
        }
        later
    }

    /// Certain enough to be looked at less often: believed, found in this look, and that where it was expected.
    pub fn is_steady(&self) -> bool {
        self.confirmed && self.missed == 0 && self.hits >= 3 && self.surprise <= SMALL_SURPRISE
    }

    pub fn state(&self, at: Duration) -> TrackState {
        TrackState {
            id: self.id,
            class: self.class.clone(),
            score: self.score,
            rect: geometry::clipped(&self.rect),
            detection: self.detection,
            confirmed: self.confirmed,
            unseen: self.unseen(at),
            missed: self.missed,
            speed: self.motion.speed(),
            steady: self.is_steady(),
        }
    }

    fn go_on(&mut self, step: Duration) {
        if step >= LONG_STEP && self.stands() {
            self.motion.halt();
        }
        self.motion.predict(step.as_secs_f32());
        self.rect = self.motion.rect();
    }

    fn stands(&self) -> bool {
        self.motion.speed() < STANDS
    }

    fn unseen(&self, at: Duration) -> Duration {
        at.saturating_sub(self.last_seen)
    }

    fn vote(&mut self, found: &Detection) {
        *self.votes.entry(found.class.clone()).or_default() += found.score;
        let lead = self.votes.get(&self.class).copied().unwrap_or_default();
        let best = self.votes.iter().max_by(|a, b| a.1.total_cmp(b.1));
        if let Some((class, votes)) = best
            && *votes > lead
        {
            self.class = class.clone();
        }
    }
}
