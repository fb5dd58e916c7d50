//! From tracks to events: what is worth telling the customer, once, and for as long as it lasts. Pure; time comes with
//! the frame.
//!
//! An event opens in the frame that confirms a track, tells of itself every few seconds while its object moves and ever
//! more rarely while it stands, and closes when the object has been gone for a while. How long is "a while" depends on
//! how long the object had stood: a parked car that the detector misses for a minute, or that a bus hides, is still the
//! same event when it is seen again at the same place. So an event outlives its track and may take on another.

mod path;
pub mod shot;

use crate::geometry;
use crate::track::{TrackId, TrackState};
use path::Path;
use std::sync::Arc;
use std::time::Duration;
use wire::record::{EventRecord, EventState, NormBox};
use wire::{CameraId, EventId, RecordTime, UtcMicros};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RulesConfig {
    /// Shortest time between two revisions of an event.
    pub update_every: Duration,
    /// Longest time between two revisions of an object that stands and is seen.
    pub update_still_every: Duration,
    /// A moving object is gone when it was not seen for so long.
    pub gone_after: Duration,
    /// Longest time one that stood is waited for; within it, twice as long as it had stood.
    pub still_gone_after: Duration,
    /// Least overlap (IoU) of a new track with where an event's object was last seen, to be the same object.
    pub same_place_iou: f32,
    /// A box that overlaps its first place by at least this has not moved.
    pub still_iou: f32,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            update_every: Duration::from_secs(5),
            update_still_every: Duration::from_secs(600),
            gone_after: Duration::from_secs(3),
            still_gone_after: Duration::from_secs(600),
            same_place_iou: 0.4,
            still_iou: 0.6,
        }
    }
}

/// Makes ids of events; handed in so that the rules stay a function of their inputs.
pub type NewEventId = Box<dyn FnMut() -> EventId + Send>;

/// The events of one camera.
pub struct Rules {
    config: RulesConfig,
    camera: CameraId,
    new_id: NewEventId,
    open: Vec<OpenEvent>,
    opened_total: u64,
}

#[derive(Debug)]
struct OpenEvent {
    id: EventId,
    revision: u32,
    track: TrackId,
    class: Arc<str>,
    best_score: f32,
    rect: NormBox,
    path: Path,
    opened_at_us: UtcMicros,
    last_seen_at_us: UtcMicros,
    /// When this boot began, by the clock that the times above were told in.
    utc_at_boot_us: i64,
    last_seen: Duration,
    last_told: Duration,
    /// Where it stands, and since when.
    place: NormBox,
    place_since: Duration,
}

impl Rules {
    pub fn new(config: RulesConfig, camera: CameraId, new_id: NewEventId) -> Self {
        Self {
            config,
            camera,
            new_id,
            open: Vec::new(),
            opened_total: 0,
        }
    }

    /// Takes the tracks of one frame; returns what is to be told, in order.
    pub fn update(&mut self, time: &RecordTime, tracks: &[TrackState]) -> Vec<EventRecord> {
        let (now, config, camera) = (monotonic(time), self.config, self.camera);
        let mut told = Vec::new();
        let seen = |track: &&TrackState| track.confirmed && track.detection.is_some();
        for track in tracks.iter().filter(seen) {
            if let Some(event) = self.event_for(track, tracks, now) {
                event.seen(track, time, &config);
                if now.saturating_sub(event.last_told) >= event.interval(&config) {
                    told.push(event.tell(EventState::Updated, time, camera));
                }
            } else {
                told.push(self.open(track, time));
            }
        }
        told.extend(self.close_gone(time));
        told
    }

    /// Lets time pass without a frame, so that events of a camera that went dark come to an end.
    pub fn close_gone(&mut self, time: &RecordTime) -> Vec<EventRecord> {
        let now = monotonic(time);
        let config = self.config;
        self.close_where(time, |event| {
            now.saturating_sub(event.last_seen) > event.patience(&config)
        })
    }

    /// Closes everything: the camera is removed or the agent stops.
    pub fn close_all(&mut self, time: &RecordTime) -> Vec<EventRecord> {
        self.close_where(time, |_| true)
    }

    /// The open event a track belongs to.
    pub fn event_of(&self, track: TrackId) -> Option<EventId> {
        let event = self.open.iter().find(|event| event.track == track)?;
        Some(event.id)
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    pub fn opened_total(&self) -> u64 {
        self.opened_total
    }

    /// The event of this track; or one whose object was last seen here and is followed by no other track, which then
    /// goes on with this one.
    fn event_for(
        &mut self,
        track: &TrackState,
        tracks: &[TrackState],
        now: Duration,
    ) -> Option<&mut OpenEvent> {
        if let Some(index) = self.open.iter().position(|event| event.track == track.id) {
            return self.open.get_mut(index);
        }
        let config = self.config;
        let followed = |event: &OpenEvent| {
            let mut seen = tracks.iter().filter(|other| other.detection.is_some());
            seen.any(|other| other.id == event.track)
        };
        let overlap = |event: &OpenEvent| geometry::iou(&event.rect, &track.rect);
        self.open
            .iter_mut()
            .filter(|event| event.class == track.class && !followed(event))
            .filter(|event| now.saturating_sub(event.last_seen) <= event.patience(&config))
            .filter(|event| overlap(event) >= config.same_place_iou)
            .max_by(|a, b| overlap(a).total_cmp(&overlap(b)))
    }

    fn open(&mut self, track: &TrackState, time: &RecordTime) -> EventRecord {
        let now = monotonic(time);
        let mut event = OpenEvent {
            id: (self.new_id)(),
            revision: 0,
            track: track.id,
            class: track.class.clone(),
            best_score: track.score,
            rect: track.rect,
            path: Path::default(),
            opened_at_us: time.captured_at_us,
            last_seen_at_us: time.captured_at_us,
            utc_at_boot_us: utc_at_boot_us(time),
            last_seen: now,
            last_told: now,
            place: track.rect,
            place_since: now,
        };
        event.seen(track, time, &self.config);
        let record = event.tell(EventState::Opened, time, self.camera);
        self.open.push(event);
        self.opened_total += 1;
        record
    }

    fn close_where(
        &mut self,
        time: &RecordTime,
        is_over: impl Fn(&OpenEvent) -> bool,
    ) -> Vec<EventRecord> {
        let camera = self.camera;
        self.open
            .extract_if(.., |event| is_over(event))
            .map(|mut event| event.tell(EventState::Closed, time, camera))
            .collect()
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rules({}, {} open)", self.camera, self.open.len())
    }
}

impl OpenEvent {
    fn seen(&mut self, track: &TrackState, time: &RecordTime, config: &RulesConfig) {
        self.follow_clock(time);
        let now = monotonic(time);
        self.track = track.id;
        self.class = track.class.clone();
        self.best_score = self.best_score.max(track.score);
        self.rect = track.rect;
        self.last_seen = now;
        self.last_seen_at_us = time.captured_at_us;
        if geometry::iou(&self.place, &track.rect) < config.still_iou {
            self.place = track.rect;
            self.place_since = now;
        }
        let (x, y) = geometry::bottom_center(&track.rect);
        self.path.push(time.captured_at_us, x, y);
    }

    /// All times of a record are on the clock of that record. So when the clock was set since the last one, as by the
    /// first sync after a boot in 1970, the event's earlier times go with it.
    fn follow_clock(&mut self, time: &RecordTime) {
        let set_by_us = utc_at_boot_us(time).saturating_sub(self.utc_at_boot_us);
        if set_by_us.abs() < CLOCK_SET_US {
            return;
        }
        self.utc_at_boot_us += set_by_us;
        self.opened_at_us = self.opened_at_us.plus_us(set_by_us);
        self.last_seen_at_us = self.last_seen_at_us.plus_us(set_by_us);
        self.path.shift_us(set_by_us);
    }

    /// How long it had stood when it was last seen.
    fn stood(&self) -> Duration {
        self.last_seen.saturating_sub(self.place_since)
    }

    fn patience(&self, config: &RulesConfig) -> Duration {
        (self.stood() * 2).clamp(config.gone_after, config.still_gone_after)
    }

    fn interval(&self, config: &RulesConfig) -> Duration {
        (self.stood() / 2).clamp(config.update_every, config.update_still_every)
    }

    fn tell(&mut self, state: EventState, time: &RecordTime, camera: CameraId) -> EventRecord {
        self.follow_clock(time);
        self.revision += 1;
        self.last_told = monotonic(time);
        EventRecord {
            id: self.id,
            revision: self.revision,
            state,
            camera,
            class: self.class.to_string(),
            score: self.best_score,
            opened_at_us: self.opened_at_us,
            last_seen_at_us: self.last_seen_at_us,
            closed_at_us: (state == EventState::Closed).then_some(time.captured_at_us),
            track: self.track.0,
            rect: geometry::rounded(&self.rect),
            path: self.path.points(),
            zones: Vec::new(),
            reasons: Vec::new(),
            media: Vec::new(),
        }
    }
}

/// Less than this is the clock's ordinary steering, or the moment between reading two clocks.
const CLOCK_SET_US: i64 = 100_000;

fn utc_at_boot_us(time: &RecordTime) -> i64 {
    let boottime_us = i64::try_from(time.boottime_ns / 1000).unwrap_or(i64::MAX);
    time.captured_at_us.0.saturating_sub(boottime_us)
}

/// Intervals are taken from the clock that never jumps.
fn monotonic(time: &RecordTime) -> Duration {
    Duration::from_nanos(time.boottime_ns)
}

#[cfg(test)]
mod tests;
