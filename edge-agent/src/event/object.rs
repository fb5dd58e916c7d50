//! One object of a camera, from the frame that confirms it until it has been gone for a while, whatever track it has and
//! whether or not an event tells of it. Pure.
//!
//! How long is "a while" depends on how long it had stood, and counts only while somebody looked: what a camera that
//! gave no picture did not show has not left. So a parked car that the detector misses for a minute, that a bus hides or
//! that stands there again after an hour without the camera, is still the same object.

use super::RulesConfig;
use super::clock::{ToldIn, monotonic};
use super::line::Way;
use super::path::Path;
use super::scene::CameraRules;
use super::story::{Story, Subject};
use super::zone::Stay;
use crate::geometry;
use crate::track::{TrackId, TrackState};
use std::sync::Arc;
use std::time::Duration;
use wire::record::{EventRecord, EventState, NormBox};
use wire::{CameraId, RecordTime, UtcMicros};

/// Tracks of an object that are remembered, so that one which comes back finds it.
const MAX_FORMER_TRACKS: usize = 4;

#[derive(Debug)]
pub(super) struct Object {
    /// Its own, never used twice in a run of the camera.
    pub(super) number: u64,
    pub(super) track: TrackId,
    pub(super) former_tracks: Vec<TrackId>,
    pub(super) class: Arc<str>,
    pub(super) best_score: f32,
    pub(super) rect: NormBox,
    path: Path,
    last_seen_at_us: UtcMicros,
    told_in: ToldIn,
    pub(super) last_seen: Duration,
    /// Where it stands, and since when.
    place: NormBox,
    place_since: Duration,
    /// Looks since then that did not find it, and the time they stand for.
    missed_looks: u32,
    missed_for: Duration,
    /// By the camera's zones and lines, in their order.
    pub(super) stays: Vec<Stay>,
    pub(super) ways: Vec<Way>,
    /// Zones that it was in, in the order in which it came to them.
    pub(super) zones: Vec<usize>,
    /// What is told of it, if anything is.
    pub(super) story: Option<Story>,
}

impl Object {
    pub(super) fn new(
        number: u64,
        track: &TrackState,
        scene: &CameraRules,
        time: &RecordTime,
    ) -> Self {
        let now = monotonic(time);
        Self {
            number,
            track: track.id,
            former_tracks: Vec::new(),
            class: track.class.clone(),
            best_score: track.score,
            rect: track.rect,
            path: Path::default(),
            last_seen_at_us: time.captured_at_us,
            told_in: ToldIn::new(time),
            last_seen: now,
            place: track.rect,
            place_since: now,
            missed_looks: 0,
            missed_for: Duration::ZERO,
            stays: vec![Stay::default(); scene.zones.len()],
            ways: vec![Way::default(); scene.lines.len()],
            zones: Vec::new(),
            story: None,
        }
    }

    pub(super) fn seen(&mut self, track: &TrackState, time: &RecordTime, config: &RulesConfig) {
        self.follow_clock(time);
        let now = monotonic(time);
        if self.track != track.id {
            self.former_tracks.retain(|former| *former != track.id);
            self.former_tracks.push(self.track);
            let too_many = self.former_tracks.len().saturating_sub(MAX_FORMER_TRACKS);
            self.former_tracks.drain(..too_many);
            self.track = track.id;
        }
        self.class = track.class.clone();
        self.best_score = self.best_score.max(track.score);
        self.rect = track.rect;
        self.last_seen = now;
        self.last_seen_at_us = time.captured_at_us;
        (self.missed_looks, self.missed_for) = (0, Duration::ZERO);
        if geometry::iou(&self.place, &track.rect) < config.still_iou {
            self.place = track.rect;
            self.place_since = now;
        }
        let (x, y) = geometry::bottom_center(&track.rect);
        self.path.push(time.captured_at_us, x, y);
    }

    /// A look did not find it. `step` is the time that this look stands for.
    pub(super) fn missed(&mut self, step: Duration) {
        self.missed_looks += 1;
        self.missed_for += step;
    }

    /// Whether it is to be counted where it was last seen.
    pub(super) fn is_here(&self, config: &RulesConfig) -> bool {
        self.missed_looks < 2 || self.missed_for <= config.gone_after
    }

    /// Looks say so: more than one, since any detector misses something now and then.
    pub(super) fn is_gone(&self, config: &RulesConfig) -> bool {
        let patience = (self.stood() * 2).clamp(config.gone_after, config.still_gone_after);
        self.missed_looks >= 2 && self.missed_for > patience
    }

    /// Nobody has looked for so long that it is not waited for any more.
    pub(super) fn is_given_up(&self, unwatched: Duration, config: &RulesConfig) -> bool {
        unwatched > (self.stood() * 20).clamp(config.dark_after, config.dark_still_after)
    }

    pub(super) fn is_standing(&self, config: &RulesConfig) -> bool {
        self.stood() >= config.standing_after
    }

    /// How long it had stood when it was last seen.
    fn stood(&self) -> Duration {
        self.last_seen.saturating_sub(self.place_since)
    }

    /// Whether its event is to be told again although nothing happened.
    pub(super) fn is_due(&self, now: Duration, config: &RulesConfig) -> bool {
        let every = (self.stood() / 2).clamp(config.update_every, config.update_still_every);
        self.story
            .as_ref()
            .is_some_and(|story| now.saturating_sub(story.last_told) >= every)
    }

    /// The next revision of its event, if it has one.
    pub(super) fn tell(
        &mut self,
        state: EventState,
        time: &RecordTime,
        camera: CameraId,
        scene: &CameraRules,
    ) -> Option<EventRecord> {
        self.follow_clock(time);
        let name = |zone: &usize| scene.zones[*zone].name.clone();
        let subject = Subject {
            camera,
            class: &self.class,
            score: self.best_score,
            last_seen_at_us: self.last_seen_at_us,
            track: self.track.0,
            rect: self.rect,
            path: self.path.points(),
            zones: self.zones.iter().map(name).collect(),
        };
        let story = self.story.as_mut()?;
        Some(story.tell(state, time, subject))
    }

    fn follow_clock(&mut self, time: &RecordTime) {
        let set_by_us = self.told_in.set_by_us(time);
        if set_by_us == 0 {
            return;
        }
        self.last_seen_at_us = self.last_seen_at_us.plus_us(set_by_us);
        self.path.shift_us(set_by_us);
        if let Some(story) = &mut self.story {
            story.shift_us(set_by_us);
        }
    }
}
