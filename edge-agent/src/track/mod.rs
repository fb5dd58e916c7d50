//! Follows objects from frame to frame: detections in, tracks with stable ids out. Pure; time comes with the frame.
//!
//! Tracking by detection in the manner of ByteTrack (Zhang et al., ECCV 2022, arXiv:2110.06864): first the sure
//! detections are given to the tracks by overlap with where each track is expected, then the unsure ones to the tracks
//! that are left, so that a half-hidden person is followed and noise never starts a track. Expectation is a
//! constant-velocity Kalman filter as in SORT (Bewley et al., ICIP 2016, arXiv:1602.00763) over real seconds: frame rates
//! change with load. What is left over is compared once more with boxes blown up ("buffered IoU", Yang et al., WACV
//! 2023, arXiv:2211.14317), for what moves by more than its own size between two looks. A track that is not seen coasts.
//!
//! The three parts are apart so that each can be deepened alone: [`assign`] knows nothing of boxes, [`motion`] nothing of
//! tracks (OC-SORT's re-update after an occlusion belongs there), and the stages stand in [`Tracker::update`].

pub mod assign;
pub mod motion;

use crate::detect::{Detection, Thresholds};
use crate::geometry;
use motion::Motion;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wire::record::NormBox;

/// One object followed over frames. Local to one run of a camera; never used twice in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u64);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackerConfig {
    /// So many looks must have found an object before it is believed ...
    pub confirm_hits: u32,
    /// ... or two of them, if they are at least this far apart: a slow camera need not wait for a third.
    pub confirm_span: Duration,
    /// A confirmed track that is not seen coasts for so long.
    pub coast: Duration,
    /// An unconfirmed one for so long.
    pub coast_unconfirmed: Duration,
    /// Least overlap (IoU) of a sure detection with the expected box.
    pub min_iou: f32,
    /// Least overlap of an unsure one, which may be part of the background.
    pub min_iou_unsure: f32,
    /// Least overlap of blown-up boxes, where nothing else was found.
    pub min_iou_buffered: f32,
    /// A detection this much above the score that is believed may start a track: following is cheap, a false track is an
    /// event.
    pub start_margin: f32,
    /// By how much of its size a box is blown up on each side for that.
    pub buffer: f32,
    /// Least overlap that lets a detection of another class belong to the same object.
    pub min_iou_other_class: f32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            confirm_hits: 3,
            confirm_span: Duration::from_millis(500),
            coast: Duration::from_millis(2000),
            coast_unconfirmed: Duration::from_millis(450),
            min_iou: 0.2,
            min_iou_unsure: 0.5,
            min_iou_buffered: 0.2,
            buffer: 0.4,
            start_margin: 0.1,
            min_iou_other_class: 0.6,
        }
    }
}

/// What is known of a track after a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackState {
    pub id: TrackId,
    /// By the sum of scores over all frames.
    pub class: Arc<str>,
    /// Of the last detection.
    pub score: f32,
    /// The detection's box if it was seen in this frame, else where it is expected.
    pub rect: NormBox,
    /// Which of the frame's detections it is, if it was seen.
    pub detection: Option<usize>,
    pub confirmed: bool,
    /// How long it has not been seen; zero if seen in this frame.
    pub unseen: Duration,
}

/// Follows the objects of one camera.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    thresholds: Thresholds,
    tracks: Vec<Track>,
    next_id: u64,
    last_update: Option<Duration>,
}

#[derive(Debug)]
struct Track {
    id: TrackId,
    motion: Motion,
    votes: BTreeMap<Arc<str>, f32>,
    class: Arc<str>,
    score: f32,
    rect: NormBox,
    detection: Option<usize>,
    confirmed: bool,
    hits: u32,
    first_seen: Duration,
    last_seen: Duration,
}

impl Tracker {
    pub fn new(config: TrackerConfig, thresholds: Thresholds) -> Self {
        Self {
            config,
            thresholds,
            tracks: Vec::new(),
            next_id: 1,
            last_update: None,
        }
    }

    /// Takes the detections of one frame; `at` is the frame's monotonic time. Returns all tracks that live.
    pub fn update(&mut self, at: Duration, detections: &[Detection]) -> Vec<TrackState> {
        let step = at.saturating_sub(self.last_update.unwrap_or(at));
        self.last_update = Some(at);
        // After a pause in the frames nobody knows who is who: better a new track than a wrong one.
        let coast = self.config.coast;
        self.tracks
            .retain(|track| at.saturating_sub(track.last_seen) <= coast);
        for track in &mut self.tracks {
            track.expect(step);
        }

        let (sure, unsure): (Vec<usize>, Vec<usize>) = (0..detections.len())
            .filter(|index| detections[*index].score >= self.thresholds.follow)
            .partition(|index| detections[*index].score >= self.thresholds.score);
        let mut round = Round::new(self, detections, at);
        let config = round.tracker.config;
        round.give(&sure, config.min_iou, |track, found| {
            same_class_iou(track, found)
        });
        round.give(&unsure, config.min_iou_unsure, |track, found| {
            same_class_iou(track, found)
        });
        round.give(&sure, config.min_iou_buffered, |track, found| {
            if track.class != found.class {
                return 0.0;
            }
            let blown_up = |rect: &NormBox| geometry::blown_up(rect, config.buffer);
            geometry::iou(&blown_up(&track.rect), &blown_up(&found.rect))
        });
        round.give(&sure, config.min_iou_other_class, |track, found| {
            geometry::iou(&track.rect, &found.rect)
        });
        let left = round.left(&sure);
        let start_from = self.thresholds.score + config.start_margin;
        for index in left {
            if detections[index].score >= start_from {
                self.start(at, index, &detections[index]);
            }
        }

        let config = &self.config;
        self.tracks.retain(|track| {
            let patience = match track.confirmed {
                true => config.coast,
                false => config.coast_unconfirmed,
            };
            at.saturating_sub(track.last_seen) <= patience
        });
        self.tracks.iter().map(|track| track.state(at)).collect()
    }

    /// Starts afresh; ids go on counting.
    pub fn forget(&mut self) {
        self.tracks.clear();
        self.last_update = None;
    }

    fn start(&mut self, at: Duration, index: usize, found: &Detection) {
        self.tracks.push(Track {
            id: TrackId(self.next_id),
            motion: Motion::new(&found.rect),
            votes: BTreeMap::from([(found.class.clone(), found.score)]),
            class: found.class.clone(),
            score: found.score,
            rect: found.rect,
            detection: Some(index),
            confirmed: false,
            hits: 1,
            first_seen: at,
            last_seen: at,
        });
        self.next_id += 1;
    }
}

/// The hand-out of one frame's detections: what is taken is not offered again.
struct Round<'a> {
    tracker: &'a mut Tracker,
    detections: &'a [Detection],
    taken: Vec<bool>,
    at: Duration,
}

impl<'a> Round<'a> {
    fn new(tracker: &'a mut Tracker, detections: &'a [Detection], at: Duration) -> Self {
        Self {
            taken: vec![false; detections.len()],
            tracker,
            detections,
            at,
        }
    }

    /// One stage: gives detections that are left to tracks that are left, so that the sum of `likeness` is largest;
    /// no pair below `least`.
    fn give(
        &mut self,
        offered: &[usize],
        least: f32,
        likeness: impl Fn(&Track, &Detection) -> f32,
    ) {
        let offered = self.left(offered);
        let waiting: Vec<usize> = (0..self.tracker.tracks.len())
            .filter(|index| self.tracker.tracks[*index].detection.is_none())
            .collect();
        let pairs = assign::best_pairs(waiting.len(), offered.len(), least, |row, column| {
            likeness(
                &self.tracker.tracks[waiting[row]],
                &self.detections[offered[column]],
            )
        });
        for (row, column) in pairs {
            let index = offered[column];
            self.taken[index] = true;
            self.tracker.tracks[waiting[row]].found(
                self.at,
                index,
                &self.detections[index],
                &self.tracker.config,
            );
        }
    }

    fn left(&self, offered: &[usize]) -> Vec<usize> {
        let free = |index: &usize| !self.taken[*index];
        offered.iter().copied().filter(free).collect()
    }
}

impl Track {
    fn expect(&mut self, step: Duration) {
        if self.detection.take().is_none() {
            self.motion.coast();
        }
        self.motion.predict(step.as_secs_f32());
        self.rect = self.motion.rect();
    }

    fn found(&mut self, at: Duration, index: usize, found: &Detection, config: &TrackerConfig) {
        self.motion.correct(&found.rect);
        self.rect = found.rect;
        self.score = found.score;
        self.detection = Some(index);
        self.last_seen = at;
        self.hits += 1;
        let slow = self.hits >= 2 && at.saturating_sub(self.first_seen) >= config.confirm_span;
        self.confirmed |= self.hits >= config.confirm_hits || slow;
        self.vote(found);
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

    fn state(&self, at: Duration) -> TrackState {
        TrackState {
            id: self.id,
            class: self.class.clone(),
            score: self.score,
            rect: geometry::clipped(&self.rect),
            detection: self.detection,
            confirmed: self.confirmed,
            unseen: at.saturating_sub(self.last_seen),
        }
    }
}

fn same_class_iou(track: &Track, found: &Detection) -> f32 {
    if track.class == found.class {
        geometry::iou(&track.rect, &found.rect)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
