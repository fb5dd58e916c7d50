//! From tracks to events: what is worth telling the customer, once, and for as long as it lasts; and how many there
//! were. Pure; time comes with the frame.
//!
//! An [`object::Object`] is whatever a track was confirmed of, for as long as it is there. Without zones and lines it
//! makes an event at once; with them, when it first does what one of them asks for ([`deeds`]). The event tells of
//! itself every few seconds while its object moves and ever more rarely while it stands, at once when the object does
//! something more, and closes when the object is gone. Occupied zones ([`occupancy`]) and a camera that no longer sees
//! ([`blind`]) are events of their own. [`counts`] counts all objects, told of or not.

mod blind;
mod clock;
mod counts;
mod deeds;
pub mod filter;
mod follow;
pub mod ids;
pub mod line;
mod object;
mod occupancy;
mod path;
pub mod scene;
pub mod schedule;
pub mod shot;
mod story;
pub mod timing;
pub mod zone;

pub use ids::NewEventId;
pub use scene::CameraRules;

use crate::geometry;
use crate::geometry::polygon::Point;
use crate::sight::SightChange;
use crate::track::{TrackId, TrackState};
use blind::Blind;
use clock::monotonic;
use counts::Counts;
use deeds::{Deed, Rule, deeds};
use line::Way;
use object::Object;
use occupancy::Occupancy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use story::Story;
use timing::CoolDown;
use wire::record::{CountRecord, EventRecord, EventState};
use wire::{CameraId, EventId, RecordTime};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RulesConfig {
    /// Shortest time between two revisions of an event in which nothing happened.
    pub update_every: Duration,
    /// Longest time between two revisions of an object that stands and is seen.
    pub update_still_every: Duration,
    /// A moving object is gone when looks have missed it for so long.
    pub gone_after: Duration,
    /// Longest time one that stood is waited for; within it, twice as long as it had stood.
    pub still_gone_after: Duration,
    /// A look stands for the time since the look before it, but for no more than this: the camera may have been dark.
    pub longest_look: Duration,
    /// A moving object is given up when nobody has looked for so long.
    pub dark_after: Duration,
    /// Longest time one that stood is waited for by a dark camera; within it, twenty times as long as it had stood.
    pub dark_still_after: Duration,
    /// Least overlap (IoU) of a new track with where an object was last seen, to be the same object.
    pub same_place_iou: f32,
    /// A box that overlaps its first place by at least this has not moved.
    pub still_iou: f32,
    /// What has not moved for so long stands.
    pub standing_after: Duration,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            update_every: Duration::from_secs(5),
            update_still_every: Duration::from_secs(600),
            gone_after: Duration::from_secs(3),
            still_gone_after: Duration::from_secs(600),
            longest_look: Duration::from_secs(10),
            dark_after: Duration::from_secs(20),
            dark_still_after: Duration::from_secs(6 * 3600),
            same_place_iou: 0.4,
            still_iou: 0.6,
            standing_after: Duration::from_secs(5),
        }
    }
}

impl RulesConfig {
    /// For a camera that may be looked at this rarely while nothing moves: it is not dark for that.
    pub fn glancing_every(glance: Duration) -> Self {
        let default = Self::default();
        Self {
            longest_look: glance.max(default.longest_look),
            dark_after: (glance * 2).max(default.dark_after),
            ..default
        }
    }
}

/// What there is to tell, in order.
#[derive(Debug, Default)]
pub struct News {
    pub events: Vec<EventRecord>,
    pub counts: Vec<CountRecord>,
}

/// What the looks so far found: how soon another one is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Followed {
    Nothing,
    /// Objects that stand where they stood.
    Standing,
    /// Something moves, or may be something.
    Moving,
}

/// The objects, events and counts of one camera.
pub struct Rules {
    config: RulesConfig,
    scene: CameraRules,
    camera: CameraId,
    new_id: NewEventId,
    objects: Vec<Object>,
    objects_total: u64,
    /// Tracks that are not confirmed yet: where each was first, and how high its box was.
    newborn: BTreeMap<TrackId, (Point, f32)>,
    zone_cool_downs: Vec<CoolDown>,
    line_cool_downs: Vec<CoolDown>,
    occupancies: Vec<Occupancy>,
    blind: Blind,
    counts: Counts,
    /// When somebody last looked, and when somebody did who could see.
    looked_at: Option<Duration>,
    watched_at: Option<Duration>,
    opened_total: u64,
}

impl Rules {
    pub fn new(
        config: RulesConfig,
        scene: CameraRules,
        camera: CameraId,
        new_id: NewEventId,
    ) -> Self {
        Self {
            zone_cool_downs: vec![CoolDown::default(); scene.zones.len()],
            line_cool_downs: vec![CoolDown::default(); scene.lines.len()],
            occupancies: scene.zones.iter().map(|_| Occupancy::default()).collect(),
            config,
            scene,
            camera,
            new_id,
            objects: Vec::new(),
            objects_total: 0,
            newborn: BTreeMap::new(),
            blind: Blind::default(),
            counts: Counts::new(),
            looked_at: None,
            watched_at: None,
            opened_total: 0,
        }
    }

    /// Takes the tracks of one frame; `aspect` is its width by its height.
    pub fn update(&mut self, time: &RecordTime, aspect: f32, tracks: &[TrackState]) -> News {
        let mut news = News {
            counts: self.counts.frame(time, self.camera, &self.scene),
            ..News::default()
        };
        self.note_newborn(tracks);
        let owners = follow::owners(&self.objects, tracks, self.config.same_place_iou);
        let mut is_seen = vec![false; self.objects.len()];
        for (track, owner) in tracks.iter().zip(owners) {
            let index = match owner {
                Some(index) => index,
                None if track.confirmed && track.detection.is_some() => {
                    is_seen.push(false);
                    self.begin(track, time, aspect)
                }
                None => continue,
            };
            is_seen[index] = true;
            self.objects[index].seen(track, time, &self.config);
            news.events.extend(self.tell_deeds(index, time, aspect));
        }
        self.watched(time, &is_seen);
        let (config, unwatched) = (self.config, self.unwatched(time));
        let gone = self.close_where(time, |object| {
            object.is_gone(&config) || object.is_given_up(unwatched(object), &config)
        });
        news.events.extend(gone);
        news.events.extend(self.look_at_zones(time));
        news
    }

    /// Lets time pass without a frame: what nobody looks at for long comes to an end, and so do minutes.
    pub fn without_frame(&mut self, time: &RecordTime) -> News {
        let (config, unwatched) = (self.config, self.unwatched(time));
        let mut events = self.close_where(time, |object| {
            object.is_given_up(unwatched(object), &config)
        });
        let watched_at = self.watched_at.unwrap_or_default();
        if monotonic(time).saturating_sub(watched_at) > config.dark_after {
            self.newborn.clear();
            events.extend(self.close_zones(time));
        }
        News {
            events,
            counts: self.counts.without_frame(time, self.camera, &self.scene),
        }
    }

    /// The camera stopped or began again to see. While it does not, objects from before are not missed.
    pub fn sight(&mut self, time: &RecordTime, change: SightChange) -> Option<EventRecord> {
        let record = self
            .blind
            .change(change, time, self.camera, &mut self.new_id)?;
        self.opened_total += u64::from(record.state == EventState::Opened);
        Some(record)
    }

    /// The agent stops: closes everything but the event of a blind camera, which nothing says is over.
    pub fn close_all(&mut self, time: &RecordTime) -> News {
        let mut events = self.close_where(time, |_| true);
        events.extend(self.close_zones(time));
        events.extend(self.blind.leave(time, self.camera));
        News {
            events,
            counts: self.counts.tell(time, self.camera, &self.scene),
        }
    }

    /// The open event a track belongs to.
    pub fn event_of(&self, track: TrackId) -> Option<EventId> {
        let object = self.objects.iter().find(|object| object.track == track)?;
        object.story.as_ref().map(|story| story.id)
    }

    /// Open events of zones that are too full, and how many are in each now.
    pub fn occupied(&self) -> impl Iterator<Item = (EventId, u32)> {
        self.occupancies.iter().filter_map(Occupancy::event)
    }

    pub fn followed(&self) -> Followed {
        let is_at_rest =
            |object: &Object| self.is_out_of_sight(object) || object.is_standing(&self.config);
        if !self.newborn.is_empty() || !self.objects.iter().all(is_at_rest) {
            Followed::Moving
        } else if self.objects.is_empty() {
            Followed::Nothing
        } else {
            Followed::Standing
        }
    }

    pub fn open_count(&self) -> usize {
        let told = self.objects.iter().filter(|object| object.story.is_some());
        told.count() + self.occupied().count() + usize::from(self.blind.event().is_some())
    }

    pub fn opened_total(&self) -> u64 {
        self.opened_total
    }

    /// An object may cross a line before its track is believed.
    fn note_newborn(&mut self, tracks: &[TrackState]) {
        let is_newborn = |track: &&TrackState| !track.confirmed;
        let places: BTreeMap<_, _> = tracks
            .iter()
            .filter(is_newborn)
            .map(|track| {
                (
                    track.id,
                    (geometry::standing_point(&track.rect), track.rect.h),
                )
            })
            .collect();
        let lives = |id: &TrackId| tracks.iter().any(|track| track.id == *id);
        self.newborn.retain(|id, _| lives(id));
        for (id, place) in places {
            self.newborn.entry(id).or_insert(place);
        }
    }

    fn begin(&mut self, track: &TrackState, time: &RecordTime, aspect: f32) -> usize {
        self.objects_total += 1;
        let mut object = Object::new(self.objects_total, track, &self.scene, time);
        if let Some((place, height)) = self.newborn.remove(&track.id) {
            let lines = object.ways.iter_mut().zip(&self.scene.lines);
            for (way, line) in lines {
                *way = Way::beginning(line, place, height, aspect);
            }
        }
        self.objects.push(object);
        self.objects.len() - 1
    }

    /// What an object did by the look that just saw it, and what is due to be told of it anyway.
    fn tell_deeds(&mut self, index: usize, time: &RecordTime, aspect: f32) -> Option<EventRecord> {
        let now = monotonic(time);
        let object = &mut self.objects[index];
        self.newborn.remove(&object.track);
        let deeds = deeds(object, &self.scene, &mut self.counts, time, aspect);
        let state = if object.story.is_some() {
            if deeds.is_empty() && !object.is_due(now, &self.config) {
                return None;
            }
            EventState::Updated
        } else {
            let may_open = |deed: &Deed| {
                let cool_down = match deed.rule {
                    Rule::Entry(zone) | Rule::Loitering(zone) => self.zone_cool_downs[zone],
                    Rule::Crossing(line) => self.line_cool_downs[line],
                };
                cool_down.is_over(now)
            };
            if !self.scene.every_object && !deeds.iter().any(may_open) {
                return None;
            }
            object.story = Some(Story::new((self.new_id)(), time));
            self.opened_total += 1;
            for deed in &deeds {
                match deed.rule {
                    Rule::Entry(zone) | Rule::Loitering(zone) => {
                        let timing = &self.scene.zones[zone].timing;
                        self.zone_cool_downs[zone].begin_if_over(now, timing);
                    }
                    Rule::Crossing(line) => {
                        let timing = &self.scene.lines[line].timing;
                        self.line_cool_downs[line].begin_if_over(now, timing);
                    }
                }
            }
            EventState::Opened
        };
        for Deed { reason, rule } in deeds {
            object.told(rule);
            if let Some(story) = &mut object.story {
                story.because(reason);
            }
        }
        object.tell(state, time, self.camera, &self.scene)
    }

    /// Somebody looked: those it did not find are missed. A camera that does not see what it ought to may still see
    /// something; only what is of that view can be missed in it.
    fn watched(&mut self, time: &RecordTime, is_seen: &[bool]) {
        let now = monotonic(time);
        let since = now.saturating_sub(self.looked_at.unwrap_or(now));
        let step = since.min(self.config.longest_look);
        self.looked_at = Some(now);
        let blind_since = self.blind.since();
        if blind_since.is_none() {
            self.watched_at = Some(now);
        }
        for (object, is_seen) in self.objects.iter_mut().zip(is_seen) {
            if !is_seen && blind_since.is_none_or(|lost| object.last_seen >= lost) {
                object.missed(step);
            }
        }
    }

    /// It was there before the camera stopped to see.
    fn is_out_of_sight(&self, object: &Object) -> bool {
        self.blind
            .since()
            .is_some_and(|lost| object.last_seen < lost)
    }

    /// For how long nobody could have seen an object.
    fn unwatched(&self, time: &RecordTime) -> impl Fn(&Object) -> Duration + use<> {
        let now = monotonic(time);
        let watched_at = self.watched_at.unwrap_or_default();
        move |object| now.saturating_sub(watched_at.max(object.last_seen))
    }

    /// How full the zones are now.
    fn look_at_zones(&mut self, time: &RecordTime) -> Vec<EventRecord> {
        let mut told = Vec::new();
        let config = &self.config;
        for (index, zone) in self.scene.zones.iter().enumerate() {
            let is_in =
                |object: &&Object| object.stays[index].is_inside() && object.is_here(config);
            let inside: Vec<&Object> = self.objects.iter().filter(is_in).collect();
            let mut by_class: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
            for object in &inside {
                *by_class.entry(&object.class).or_default() += 1;
            }
            for (class, count) in by_class {
                self.counts.are_in(index, class, count);
            }
            let means = (self.camera, config, &mut self.new_id);
            told.extend(self.occupancies[index].look(zone, &inside, time, means));
        }
        let is_opened = |record: &&EventRecord| record.state == EventState::Opened;
        self.opened_total += told.iter().filter(is_opened).count() as u64;
        told
    }

    fn close_zones(&mut self, time: &RecordTime) -> Vec<EventRecord> {
        let zones = self.occupancies.iter_mut().zip(&self.scene.zones);
        zones
            .filter_map(|(occupancy, zone)| occupancy.close(zone, time, self.camera))
            .collect()
    }

    fn close_where(
        &mut self,
        time: &RecordTime,
        is_over: impl Fn(&Object) -> bool,
    ) -> Vec<EventRecord> {
        let (camera, scene) = (self.camera, &self.scene);
        self.objects
            .extract_if(.., |object| is_over(object))
            .filter_map(|mut object| object.tell(EventState::Closed, time, camera, scene))
            .collect()
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rules({}, {} open)", self.camera, self.open_count())
    }
}

#[cfg(test)]
mod tests;
