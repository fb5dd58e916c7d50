//! One camera's analysis behind the detector: tracks, events, and which pictures to make. Pure but for the frames it
//! holds by reference.
//!
//! The agent and `edge-agent replay` use this same type, so that a case from the field is had again as it was.

use crate::config::{CameraConfig, Config};
use crate::detect::{Detection, Thresholds};
use crate::event::shot::{self, Last, Shot, ShotConfig, Shots};
use crate::event::{CameraRules, Followed, NewEventId, News, Rules, RulesConfig};
use crate::frame::Frame;
use crate::geometry;
use crate::media::sharpness::sharpness;
use crate::sight::SightChange;
use crate::track::{TrackState, Tracker, TrackerConfig};
use std::time::Duration;
use wire::record::{Body, EventState, MediaClass, ObjectBox};
use wire::{CameraId, EventId, Record, RecordTime};

/// A frame and what was found in it.
#[derive(Clone, Debug)]
pub struct Picture {
    pub frame: Frame,
    pub boxes: Vec<ObjectBox>,
}

/// A picture that should be made.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub class: MediaClass,
    pub event: Option<EventId>,
    pub quality: f32,
    pub picture: Picture,
}

/// What a camera's watch is set up with.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    pub camera: CameraId,
    /// Between two periodic pictures; zero turns them off.
    pub periodic: Duration,
    /// The camera is looked at at least this often.
    pub glance: Duration,
    pub rules: CameraRules,
}

impl WatchConfig {
    pub fn new(camera: &CameraConfig, config: &Config) -> Self {
        Self {
            camera: camera.id,
            periodic: Duration::from_secs(camera.periodic_picture_seconds.into()),
            glance: Duration::from_secs(config.analysis.glance_seconds.into()),
            rules: CameraRules::new(camera, config),
        }
    }

    /// A camera without zones, lines and masks, looked at as often as by default.
    pub fn plain(camera: CameraId, periodic: Duration) -> Self {
        Self {
            camera,
            periodic,
            glance: Duration::from_secs(Config::default().analysis.glance_seconds.into()),
            rules: CameraRules::default(),
        }
    }
}

/// Ids in order of time: the receiver's indexes then grow at their end, and a commit of many touches few pages.
pub fn fresh_event_ids() -> NewEventId {
    Box::new(|| EventId(uuid::Uuid::now_v7()))
}

/// What a frame led to.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In the order in which they are to be kept.
    pub records: Vec<Record>,
    pub wanted: Vec<Wanted>,
    /// Events that closed without the media worker ever having had room for a picture of them.
    pub events_without_picture: u64,
    /// What is published as found in this frame: each object where its track is, and sure detections that no track has yet.
    pub boxes: Vec<ObjectBox>,
    /// All tracks that live, confirmed or not, seen or not.
    pub tracks: Vec<TrackState>,
    /// Of a change of sight: the event that tells of it, for the pictures of before and after.
    pub sight_event: Option<EventId>,
}

/// Follows one camera from frame to frame.
#[derive(Debug)]
pub struct Watch {
    thresholds: Thresholds,
    tracker: Tracker,
    scene: CameraRules,
    rules: Rules,
    shots: Shots<Picture>,
    periodic: Periodic,
}

/// When the next periodic picture is due.
#[derive(Debug)]
struct Periodic {
    /// Zero: never.
    every: Duration,
    next_at: Option<Duration>,
    /// The media worker has had no room for it since.
    refused_since: Option<Duration>,
}

impl Watch {
    /// `new_id` is [`fresh_event_ids`], or for a replay [`crate::event::ids::seeded`]: the same frames then lead to the
    /// same findings, to the bit.
    pub fn new(config: WatchConfig, thresholds: Thresholds, new_id: NewEventId) -> Self {
        let rules = RulesConfig::glancing_every(config.glance);
        Self {
            thresholds,
            tracker: Tracker::new(TrackerConfig::default(), thresholds),
            scene: config.rules.clone(),
            rules: Rules::new(rules, config.rules, config.camera, new_id),
            shots: Shots::new(ShotConfig::default()),
            periodic: Periodic {
                every: config.periodic,
                next_at: None,
                refused_since: None,
            },
        }
    }

    /// Takes the detections of the camera's next frame.
    pub fn frame(&mut self, frame: &Frame, detections: &[Detection]) -> Findings {
        let now = monotonic(&frame.time);
        let unmasked = |found: &&Detection| !self.scene.ignores(&found.class, &found.rect);
        let detections: Vec<Detection> = detections.iter().filter(unmasked).cloned().collect();
        let detections = detections.as_slice();
        let tracks = self.tracker.update(now, detections);
        let aspect = frame.width as f32 / frame.height.max(1) as f32;
        let news = self.rules.update(&frame.time, aspect, &tracks);
        let boxes = published(detections, &tracks, self.thresholds, &self.rules);
        let picture = || Picture {
            frame: frame.clone(),
            boxes: boxes.clone(),
        };

        let mut wanted = Vec::new();
        if self.periodic.is_due(now) {
            wanted.push(Wanted {
                class: MediaClass::Periodic,
                event: None,
                quality: 0.0,
                picture: picture(),
            });
        }
        for track in &tracks {
            let seen = track.confirmed && track.detection.is_some();
            if seen && let Some(event) = self.rules.event_of(track.id) {
                let size = (frame.width, frame.height);
                let sharp = sharpness(frame, &track.rect);
                let quality = shot::quality(track.score, &track.rect, size, sharp);
                let shot = self.shots.offer(now, event, quality, picture);
                wanted.extend(shot.map(Wanted::from));
            }
        }
        for (event, count) in self.rules.occupied() {
            let quality = crowd_quality(count);
            let shot = self.shots.offer(now, event, quality, picture);
            wanted.extend(shot.map(Wanted::from));
        }
        wanted.extend(self.shots.due(now).into_iter().map(Wanted::from));
        let ended = self.findings_of(&frame.time, news);
        wanted.extend(ended.wanted);
        Findings {
            wanted,
            boxes,
            tracks,
            ..ended
        }
    }

    /// Lets time pass for a camera that gives no frames.
    pub fn without_frame(&mut self, time: &RecordTime) -> Findings {
        let news = self.rules.without_frame(time);
        let mut findings = self.findings_of(time, news);
        let due = self.shots.due(monotonic(time));
        findings.wanted.extend(due.into_iter().map(Wanted::from));
        findings
    }

    /// The camera stopped or began again to see. Its pictures of before and after are the caller's.
    pub fn camera_sight(&mut self, time: &RecordTime, change: SightChange) -> Findings {
        let event = self.rules.sight(time, change);
        Findings {
            sight_event: event.as_ref().map(|event| event.id),
            ..self.findings_of(
                time,
                News {
                    events: Vec::from_iter(event),
                    ..News::default()
                },
            )
        }
    }

    /// The agent stops: ends all events but that of a blind camera.
    pub fn finish(&mut self, time: &RecordTime) -> Findings {
        let news = self.rules.close_all(time);
        self.findings_of(time, news)
    }

    /// What the looks so far found. While something moves, looks are wanted as often as can be; while something stands,
    /// every other second; else the glances are enough.
    pub fn followed(&self) -> Followed {
        self.rules.followed()
    }

    /// Nothing that is followed is uncertain, now and within `ahead`: a look may be left out.
    pub fn is_calm(&self, ahead: Duration) -> bool {
        self.tracker.calm(ahead)
    }

    /// The media worker had no room: the picture is offered again soon. Returns whether it is missed for good, because
    /// its event is over or the next periodic picture is due.
    pub fn refused(&mut self, now: Duration, wanted: Wanted) -> bool {
        match wanted.event {
            Some(event) => self.shots.refused(
                now,
                Shot {
                    event,
                    quality: wanted.quality,
                    taken_at: monotonic(&wanted.picture.frame.time),
                    picture: wanted.picture,
                },
            ),
            None => self.periodic.refused(now),
        }
    }

    /// The media worker has taken it.
    pub fn taken(&mut self, class: MediaClass) {
        if class == MediaClass::Periodic {
            self.periodic.refused_since = None;
        }
    }

    /// Forgets the tracks but not the events: those find their objects again, or end.
    pub fn start_afresh(&mut self) {
        self.tracker.forget();
    }

    pub fn events_open(&self) -> usize {
        self.rules.open_count()
    }

    pub fn events_total(&self) -> u64 {
        self.rules.opened_total()
    }

    fn findings_of(&mut self, time: &RecordTime, news: News) -> Findings {
        let mut findings = Findings::default();
        for event in &news.events {
            if event.state != EventState::Closed {
                continue;
            }
            match self.shots.closed(event.id) {
                Last::Send(shot) => findings.wanted.push(shot.into()),
                Last::Missed => findings.events_without_picture += 1,
                Last::Nothing => {}
            }
        }
        findings.records = records(time, news);
        findings
    }
}

/// What is drawn over the picture: each object that this look found, once, and where its track is, which is nearer to the truth
/// than the detection. A track that the look missed is left out although it may be shown as going on for a moment: the record
/// says what was found in this very picture. An object that is not believed yet is in the picture all the same.
fn published(
    detections: &[Detection],
    tracks: &[TrackState],
    thresholds: Thresholds,
    rules: &Rules,
) -> Vec<ObjectBox> {
    /// A detection that overlaps a box of its class by more than this is the same object once more.
    const ONCE_MORE: f32 = 0.5;
    let score_of = |track: &TrackState| detections.get(track.detection?).map(|found| found.score);
    let is_sure = |score: f32| score >= thresholds.score;
    let publish = |track: &TrackState| {
        let score = score_of(track)?;
        (track.confirmed || is_sure(score)).then(|| ObjectBox {
            class: track.class.to_string(),
            score: geometry::round4(score),
            rect: geometry::rounded(&track.rect),
            track: track.confirmed.then_some(track.id.0),
            event: rules.event_of(track.id),
        })
    };
    let mut boxes: Vec<ObjectBox> = tracks.iter().filter_map(publish).collect();
    for (index, found) in detections.iter().enumerate() {
        let is_taken = tracks.iter().any(|track| track.detection == Some(index));
        let is_same = |known: &ObjectBox| {
            *known.class == *found.class && geometry::iou(&known.rect, &found.rect) > ONCE_MORE
        };
        if !is_taken && is_sure(found.score) && !boxes.iter().any(is_same) {
            boxes.push(ObjectBox {
                class: found.class.to_string(),
                score: geometry::round4(found.score),
                rect: geometry::rounded(&found.rect),
                track: None,
                event: None,
            });
        }
    }
    boxes
}

impl From<Shot<Picture>> for Wanted {
    fn from(shot: Shot<Picture>) -> Self {
        Self {
            class: MediaClass::Snapshot,
            event: Some(shot.event),
            quality: geometry::round4(shot.quality),
            picture: shot.picture,
        }
    }
}

impl Periodic {
    fn is_due(&mut self, now: Duration) -> bool {
        if self.every.is_zero() || self.next_at.is_some_and(|next_at| now < next_at) {
            return false;
        }
        self.next_at = Some(now + self.every);
        true
    }

    /// Asks again in a second. A whole interval without room is one picture missed.
    fn refused(&mut self, now: Duration) -> bool {
        self.next_at = Some(now + Duration::from_secs(1));
        let since = *self.refused_since.get_or_insert(now);
        let missed = now.saturating_sub(since) >= self.every;
        if missed {
            self.refused_since = Some(now);
        }
        missed
    }
}

/// Of a zone that is too full: the more there are in it, the better the picture. Grows so that the shot of a fifth more
/// of them is worth another one.
fn crowd_quality(count: u32) -> f32 {
    let count = count as f32;
    count / (count + 100.0)
}

fn records(time: &RecordTime, news: News) -> Vec<Record> {
    let events = news.events.into_iter().map(Body::Event);
    let bodies = events.chain(news.counts.into_iter().map(Body::Count));
    bodies.map(|body| Record::new(*time, body)).collect()
}

/// Intervals are taken from the clock that never jumps.
fn monotonic(time: &RecordTime) -> Duration {
    Duration::from_nanos(time.boottime_ns)
}

#[cfg(test)]
mod tests;
