//! Follows objects from look to look: detections in, tracks with stable ids out. Pure; time comes with the frame.
//!
//! Tracking by detection in the manner of ByteTrack (Zhang et al., ECCV 2022, arXiv:2110.06864): first the sure
//! detections are given to the tracks that are like them, then the unsure ones to the tracks that are left, so that a
//! half-hidden person is followed and noise never starts a track. What is left over is compared once more with boxes
//! blown up ("buffered IoU", Yang et al., WACV 2023, arXiv:2211.14317), for what moves by more than its own size between
//! two looks. Where a track is expected comes from a constant-velocity Kalman filter as in SORT (Bewley et al., ICIP
//! 2016, arXiv:1602.00763) over real seconds, for the time between looks changes with load and with what goes on.
//!
//! **Likeness** is overlap (IoU) with the expected box, mixed with how likely the filter holds the detection to be the
//! object. Overlap alone is equal for two who pass each other closely; the filter knows who came from where, and how far
//! he may have come since. On the PETS film, mean of three models, a share of 0.2 to 0.3 takes IDF1 at 2.5 looks a second
//! from 0.76 to 0.81 and more, and changes nothing at 5. Measured there and left out: OC-SORT's re-update after an
//! occlusion (Cao et al., CVPR 2023, arXiv:2203.14360) changed nothing, its momentum brought IDF1 0.02 and cost
//! switches, detections far below `follow` brought false boxes.
//!
//! **Patience** counts in looks and in time: a confirmed track is given up when at least `coast_looks` looks *and*
//! `coast` have not found it, for a look that was never made says nothing. What stands is waited for longer, and is
//! recognised after a longer pause, for it will be where it was: so a parked car keeps its track though it is looked at
//! every ten seconds.
//!
//! **Shown** are confirmed tracks found in the last look, and for 0.25 s more where they are expected
//! ([`TrackState::shown`]), for a detector misses people for a look. At 5 looks a second this one look brings 0.016 recall
//! for 0.013 precision, a third fewer fragments and switches; a second one costs more precision than it brings recall.
//!
//! The parts are apart so that each can be deepened alone: [`assign`] knows nothing of boxes, [`motion`] nothing of
//! tracks, `followed` is one track, and the stages stand in [`Tracker::update`].

pub mod assign;
mod followed;
pub mod motion;
mod round;

use crate::detect::{Detection, Thresholds};
use crate::geometry;
use followed::Followed;
use round::Round;
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
    /// A confirmed track that is not found is waited for over so many looks at least ...
    pub coast_looks: u32,
    /// ... and for so long at least, while it moves ...
    pub coast: Duration,
    /// ... or stands.
    pub coast_standing: Duration,
    /// An unconfirmed one is waited for over one look and for so long.
    pub coast_unconfirmed: Duration,
    /// After a pause as long as this nothing that moved is recognised ...
    pub pause: Duration,
    /// ... and after this nothing that stood.
    pub pause_standing: Duration,
    /// Least likeness of a sure detection.
    pub min_likeness: f32,
    /// Least likeness of an unsure one, which may be part of the background.
    pub min_likeness_unsure: f32,
    /// Least overlap (IoU) of blown-up boxes, where nothing else was found.
    pub min_iou_buffered: f32,
    /// By how much of its size a box is blown up on each side for that.
    pub buffer: f32,
    /// Least overlap that lets a detection of another class belong to the same object.
    pub min_iou_other_class: f32,
    /// A detection this much above the score that is believed may start a track: following is cheap, a false track is an
    /// event.
    pub start_margin: f32,
    /// One that overlaps an object of its class by more than this is that object once more.
    pub max_iou_start: f32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            confirm_hits: 3,
            confirm_span: Duration::from_millis(350),
            coast_looks: 2,
            coast: Duration::from_secs(2),
            coast_standing: Duration::from_secs(6),
            coast_unconfirmed: Duration::from_millis(450),
            pause: Duration::from_secs(5),
            pause_standing: Duration::from_secs(30),
            min_likeness: 0.2,
            min_likeness_unsure: 0.5,
            min_iou_buffered: 0.2,
            buffer: 0.6,
            min_iou_other_class: 0.6,
            start_margin: 0.15,
            max_iou_start: 0.5,
        }
    }
}

/// What is known of a track after a look, or expected between two.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackState {
    pub id: TrackId,
    /// By the sum of scores over all looks.
    pub class: Arc<str>,
    /// Of the last detection.
    pub score: f32,
    /// Where it is: the detection smoothed by what was known before if it was found in this look, else where it is
    /// expected. Nearer to the truth than the detection, whose width changes with every step of a walker.
    pub rect: NormBox,
    /// Which of the look's detections it is, if it was found.
    pub detection: Option<usize>,
    pub confirmed: bool,
    /// How long it has not been found; zero if found in this look.
    pub unseen: Duration,
    /// Looks in a row that did not find it; zero if the last one did.
    pub missed: u32,
    /// In its own sizes a second, across or upright, whichever is more. A walker makes one to three, what stands less than
    /// 0.4.
    pub speed: f32,
    /// Confirmed, found in the last look, and lately always where it was expected: it can be looked at less often.
    pub steady: bool,
}

/// A confirmed track is shown for so long where it is expected, for a detector misses people for a look.
const SHOWN_UNSEEN: Duration = Duration::from_millis(250);

impl TrackState {
    /// Whether it counts as being there: the last look found it, or missed it but for a moment. What is drawn over a picture is
    /// only what was found in it.
    pub fn shown(&self) -> bool {
        self.confirmed && (self.missed == 0 || self.unseen <= SHOWN_UNSEEN)
    }
}

/// Follows the objects of one camera.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    thresholds: Thresholds,
    tracks: Vec<Followed>,
    next_id: u64,
    last_update: Option<Duration>,
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

    /// Takes the detections of one look; `at` is the frame's monotonic time. Returns all tracks that live.
    pub fn update(&mut self, at: Duration, detections: &[Detection]) -> Vec<TrackState> {
        let config = self.config;
        let step = at.saturating_sub(self.last_update.unwrap_or(at));
        self.last_update = Some(at);
        self.tracks.retain(|track| track.recognisable(at, &config));
        for track in &mut self.tracks {
            track.expect(step);
        }

        let (sure, unsure): (Vec<usize>, Vec<usize>) = (0..detections.len())
            .filter(|index| detections[*index].score >= self.thresholds.follow)
            .partition(|index| detections[*index].score >= self.thresholds.score);
        let mut round = Round::new(&mut self.tracks, detections, at, &config);
        round.give(&sure, config.min_likeness, same_class(likeness));
        round.give(&unsure, config.min_likeness_unsure, same_class(likeness));
        let buffered = |track: &Followed, found: &Detection| {
            let blown_up = |rect: &NormBox| geometry::blown_up(rect, config.buffer);
            geometry::iou(&blown_up(&track.rect), &blown_up(&found.rect))
        };
        round.give(&sure, config.min_iou_buffered, same_class(buffered));
        round.give(&sure, config.min_iou_other_class, |track, found| {
            geometry::iou(&track.rect, &found.rect)
        });
        let start_from = self.thresholds.score + config.start_margin;
        let mut strong = sure;
        strong.retain(|index| detections[*index].score >= start_from);
        for index in round.new_objects(&strong, config.max_iou_start) {
            let id = TrackId(self.next_id);
            self.next_id += 1;
            let track = Followed::new(id, at, index, &detections[index]);
            self.tracks.push(track);
        }
        self.tracks
            .retain_mut(|track| track.waited_for(at, &config));
        self.tracks.iter().map(|track| track.state(at)).collect()
    }

    /// Where everything is expected `at` a time after the last look, without looking. Changes nothing.
    pub fn expected(&self, at: Duration) -> Vec<TrackState> {
        let step = at.saturating_sub(self.last_update.unwrap_or(at));
        let later = self.tracks.iter().map(|track| track.later(step));
        later.map(|track| track.state(at)).collect()
    }

    /// Nothing is uncertain: every object is [`steady`](TrackState::steady), and no two are, or will be within `ahead`,
    /// so close that they could be taken for each other. Then a look can be left out at no loss: of 5 looks a second on the
    /// PETS film, where seven people pass each other all the time, one in twelve; of one walker, every other one. An empty
    /// picture is calm.
    pub fn calm(&self, ahead: Duration) -> bool {
        let steady = self.tracks.iter().all(Followed::is_steady);
        let now: Vec<NormBox> = self.tracks.iter().map(|track| track.rect).collect();
        let then = self.tracks.iter().map(|track| track.later(ahead).rect);
        steady && apart(&now) && apart(&then.collect::<Vec<_>>())
    }

    /// Starts afresh; ids go on counting.
    pub fn forget(&mut self) {
        self.tracks.clear();
        self.last_update = None;
    }
}

/// Overlap with where the track is expected, mixed with how likely its filter holds that place.
fn likeness(track: &Followed, found: &Detection) -> f32 {
    const SHARE_OF_FILTER: f32 = 0.3;
    let overlap = geometry::iou(&track.rect, &found.rect);
    (1.0 - SHARE_OF_FILTER) * overlap + SHARE_OF_FILTER * track.motion.likeness(&found.rect)
}

/// Things of different classes are not alike.
fn same_class(
    likeness: impl Fn(&Followed, &Detection) -> f32,
) -> impl Fn(&Followed, &Detection) -> f32 {
    move |track, found| match track.class == found.class {
        true => likeness(track, found),
        false => 0.0,
    }
}

/// No two of the boxes touch.
fn apart(boxes: &[NormBox]) -> bool {
    let others = |(index, rect): (usize, &NormBox)| {
        let mut others = boxes[index + 1..].iter();
        others.all(|other| geometry::overlap(rect, other) <= 0.0)
    };
    boxes.iter().enumerate().all(others)
}

#[cfg(test)]
mod tests;
