//! Whether too many are in a zone at a time: an event of the zone, not of any of them. Pure.
//!
//! It opens when that many are in the zone for some looks in a row, tells the most there were so far, and closes when
//! there were fewer for some seconds: one who steps out and in again does not end it.

use super::clock::{ToldIn, monotonic};
use super::object::Object;
use super::story::{Story, Subject, reason};
use super::timing::CoolDown;
use super::zone::Zone;
use super::{NewEventId, RulesConfig};
use crate::geometry::polygon;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::record::{EventRecord, EventState, Reason};
use wire::{CameraId, EventId, RecordTime, UtcMicros};

/// So long there must be fewer before it is over.
const LINGER: Duration = Duration::from_secs(5);

/// One zone's.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    /// Looks in a row that found enough.
    looks: u32,
    fewer_since: Option<Duration>,
    cool_down: CoolDown,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    story: Story,
    told_in: ToldIn,
    opened_at: Duration,
    class: Arc<str>,
    score: f32,
    /// The most so far, and how many of them were told.
    most: u32,
    told: u32,
    now: u32,
    last_seen_at_us: UtcMicros,
}

impl Occupancy {
    /// Takes those that are in the zone now; returns what is to be told.
    pub(super) fn look(
        &mut self,
        zone: &Zone,
        inside: &[&Object],
        time: &RecordTime,
        (camera, config, new_id): (CameraId, &RulesConfig, &mut NewEventId),
    ) -> Option<EventRecord> {
        let limit = zone.occupancy?;
        let now = monotonic(time);
        let count = u32::try_from(inside.len()).unwrap_or(u32::MAX);
        let is_enough = count >= limit && zone.timing.is_on(time.captured_at_us);
        self.looks = if is_enough { self.looks + 1 } else { 0 };
        let Some(open) = &mut self.open else {
            if self.looks < zone.inertia_looks || !self.cool_down.is_over(now) {
                return None;
            }
            self.cool_down.begin_if_over(now, &zone.timing);
            let open = Open::new(zone, inside, time, new_id());
            let open = self.open.insert(open);
            return Some(open.tell(EventState::Opened, zone, time, camera));
        };
        open.now = count;
        if is_enough {
            self.fewer_since = None;
            open.saw(inside, time);
            return open
                .is_due(now, config)
                .then(|| open.tell(EventState::Updated, zone, time, camera));
        }
        let fewer_since = *self.fewer_since.get_or_insert(now);
        if now.saturating_sub(fewer_since) < LINGER {
            return None;
        }
        self.close(zone, time, camera)
    }

    pub(super) fn close(
        &mut self,
        zone: &Zone,
        time: &RecordTime,
        camera: CameraId,
    ) -> Option<EventRecord> {
        (self.looks, self.fewer_since) = (0, None);
        let mut open = self.open.take()?;
        Some(open.tell(EventState::Closed, zone, time, camera))
    }

    /// The open event, and how many are in the zone now.
    pub(super) fn event(&self) -> Option<(EventId, u32)> {
        let open = self.open.as_ref()?;
        Some((open.story.id, open.now))
    }
}

impl Open {
    fn new(zone: &Zone, inside: &[&Object], time: &RecordTime, id: EventId) -> Self {
        let mut story = Story::new(id, time);
        story.because(Reason {
            name: Some(zone.name.clone()),
            ..reason("occupancy", time)
        });
        let mut open = Self {
            story,
            told_in: ToldIn::new(time),
            opened_at: monotonic(time),
            class: most_frequent(inside),
            score: 0.0,
            most: 0,
            told: 0,
            now: 0,
            last_seen_at_us: time.captured_at_us,
        };
        open.saw(inside, time);
        open
    }

    fn saw(&mut self, inside: &[&Object], time: &RecordTime) {
        self.follow_clock(time);
        self.now = u32::try_from(inside.len()).unwrap_or(u32::MAX);
        self.most = self.most.max(self.now);
        self.last_seen_at_us = time.captured_at_us;
        let scores = inside.iter().map(|object| object.best_score);
        self.score = scores.fold(self.score, f32::max);
    }

    /// Soon when there are more than were told, else ever more rarely.
    fn is_due(&self, now: Duration, config: &RulesConfig) -> bool {
        let lasted = now.saturating_sub(self.opened_at);
        let every = match self.most > self.told {
            true => config.update_every,
            false => (lasted / 2).clamp(config.update_every, config.update_still_every),
        };
        now.saturating_sub(self.story.last_told) >= every
    }

    fn tell(
        &mut self,
        state: EventState,
        zone: &Zone,
        time: &RecordTime,
        camera: CameraId,
    ) -> EventRecord {
        self.follow_clock(time);
        self.told = self.most;
        if let Some(reason) = self.story.last_reason() {
            reason.count = Some(self.most);
        }
        let subject = Subject {
            camera,
            class: &self.class,
            score: self.score,
            last_seen_at_us: self.last_seen_at_us,
            track: 0,
            rect: polygon::bounds(&zone.points),
            path: Vec::new(),
            zones: vec![zone.name.clone()],
        };
        self.story.tell(state, time, subject)
    }

    fn follow_clock(&mut self, time: &RecordTime) {
        let set_by_us = self.told_in.set_by_us(time);
        self.story.shift_us(set_by_us);
        self.last_seen_at_us = self.last_seen_at_us.plus_us(set_by_us);
    }
}

/// What most of them are; of equals the first by name.
fn most_frequent(inside: &[&Object]) -> Arc<str> {
    let mut counts: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
    for object in inside {
        *counts.entry(&object.class).or_default() += 1;
    }
    let most = counts.iter().rev().max_by_key(|(_, count)| **count);
    most.map_or_else(|| Arc::from(""), |(class, _)| Arc::clone(class))
}
