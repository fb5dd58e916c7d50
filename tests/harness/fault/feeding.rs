//! Made-up events with pictures, put into a real spool, each told before and after.
//!
//! Runs inside the feeder. Events come from a seed; the pictures are small real JPEGs that no two are alike of.

use super::Said;
use edge_agent::clock::TimeSource;
use edge_agent::sink::Sink;
use edge_agent::spool::SpoolHandle;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;
use wire::record::{CameraStateRecord, EventRecord, EventState, MediaRecord, NormBox};
use wire::{Body, CameraId, EventId, MediaClass, Record, Sha256};

/// How much to put, and how fast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Comes back when it is done.
    pub order: u64,
    /// How many events.
    pub events: u64,
    /// Events a second; 0: as fast as the spool takes them.
    pub per_second: u32,
    /// Each so-manieth event has a picture; 0: none has.
    pub picture_every: u64,
    /// Size of a picture, about.
    pub picture_bytes: usize,
    pub class: MediaClass,
    /// Events that wait for the spool at the same time.
    pub at_once: usize,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            order: 0,
            events: 100,
            per_second: 0,
            picture_every: 5,
            picture_bytes: 20_000,
            class: MediaClass::Snapshot,
            at_once: 16,
        }
    }
}

#[derive(Debug)]
pub struct Feeding {
    spool: SpoolHandle,
    time: TimeSource,
    random: Mutex<StdRng>,
    cameras: Vec<CameraId>,
    jpeg: Vec<u8>,
}

impl Feeding {
    /// Cameras are the same for every start of the same seed.
    pub fn new(spool: SpoolHandle, time: TimeSource, seed: u64, cameras: usize) -> Self {
        let mut fixed = StdRng::seed_from_u64(seed);
        let cameras = (0..cameras.max(1))
            .map(|_| CameraId(uuid_from(&mut fixed)))
            .collect();
        // Events are others at every start: the same ones again would be repeats, not new facts.
        let epoch = spool.epoch().0;
        Self {
            spool,
            time,
            random: Mutex::new(StdRng::seed_from_u64(seed ^ epoch)),
            cameras,
            jpeg: small_jpeg(),
        }
    }

    /// Puts everything; returns how many records the spool accepted.
    pub async fn run(&self, feed: &Feed) -> u64 {
        let mut kept = 0;
        for (index, camera) in self.cameras.iter().enumerate() {
            kept +=
                u64::from(put(self.spool.clone(), self.camera_state(*camera, index), None).await);
        }
        let pace = match feed.per_second {
            0 => Duration::from_nanos(1),
            per_second => Duration::from_secs(1) / per_second,
        };
        let mut ticks = tokio::time::interval(pace);
        let mut running = JoinSet::new();
        for number in 1..=feed.events {
            if feed.per_second > 0 {
                ticks.tick().await;
            }
            while running.len() >= feed.at_once.max(1) {
                kept += joined(running.join_next().await);
            }
            for (record, bytes) in self.event(feed, number) {
                running.spawn(put(self.spool.clone(), record, bytes));
            }
        }
        while !running.is_empty() {
            kept += joined(running.join_next().await);
        }
        kept
    }

    fn camera_state(&self, camera: CameraId, index: usize) -> Record {
        let body = Body::CameraState(CameraStateRecord {
            camera,
            name: format!("camera {}", index + 1),
            state: "running".into(),
            reason: None,
            width: Some(1280),
            height: Some(720),
            codec: Some("H.264".into()),
        });
        Record::new(self.time.now(), body)
    }

    /// The event, and its picture if it has one.
    fn event(&self, feed: &Feed, number: u64) -> Vec<(Record, Option<Vec<u8>>)> {
        let mut random = self
            .random
            .lock()
            .expect("numbers are only drawn under the lock");
        let now = self.time.now();
        let camera = self.cameras[random.random_range(0..self.cameras.len())];
        let id = EventId(uuid_from(&mut *random));
        let rect = NormBox {
            x: 0.4,
            y: 0.4,
            w: 0.1,
            h: 0.3,
        };
        let event = Body::Event(EventRecord {
            id,
            revision: 1,
            state: EventState::Closed,
            camera,
            class: "person".into(),
            score: 0.9,
            opened_at_us: now.captured_at_us,
            last_seen_at_us: now.captured_at_us,
            closed_at_us: Some(now.captured_at_us),
            track: number,
            rect,
            path: Vec::new(),
            zones: Vec::new(),
            reasons: Vec::new(),
            media: Vec::new(),
        });
        let mut all = vec![(Record::new(now, event), None)];
        if feed.picture_every > 0 && number.is_multiple_of(feed.picture_every) {
            // What follows a JPEG's end is ignored by whoever shows it, and makes it unlike any other.
            let mut bytes = self.jpeg.clone();
            let mut tail = vec![0; feed.picture_bytes.saturating_sub(bytes.len()).max(16)];
            random.fill_bytes(&mut tail);
            bytes.extend_from_slice(&tail);
            let media = Body::Media(MediaRecord {
                sha256: Sha256::of(&bytes),
                class: feed.class,
                bytes: bytes.len() as u64,
                content_type: "image/jpeg".into(),
                camera,
                width: 64,
                height: 48,
                event: (feed.class == MediaClass::Snapshot).then_some(id),
                command: None,
                boxes: Vec::new(),
                quality: 1.0,
                masked: false,
                moment: None,
            });
            all.push((Record::new(now, media), Some(bytes)));
        }
        all
    }
}

fn joined(one: Option<Result<bool, tokio::task::JoinError>>) -> u64 {
    u64::from(one.is_some_and(|kept| kept.is_ok_and(|kept| kept)))
}

/// Whether the spool has accepted it.
async fn put(spool: SpoolHandle, record: Record, bytes: Option<Vec<u8>>) -> bool {
    let json = record.to_json();
    let hash = Sha256::of(&json);
    let bytes_in_all = (json.len() + bytes.as_ref().map_or(0, Vec::len)) as u64;
    let blob = bytes.as_ref().map(|bytes| Sha256::of(bytes));
    Said::Trying { record: hash, blob }.say();
    let outcome = match (record, bytes) {
        (
            Record {
                time,
                body: Body::Media(media),
                ..
            },
            Some(bytes),
        ) => {
            let putting = move || spool.put_media(time, media, bytes);
            tokio::task::spawn_blocking(putting)
                .await
                .expect("the spool does not panic")
        }
        (record, _) => spool.put_durable(record).await,
    };
    match outcome {
        Ok(()) => {
            Said::Kept {
                record: hash,
                blob,
                bytes: bytes_in_all,
            }
            .say();
            true
        }
        Err(error) => {
            let why = error.to_string();
            Said::Refused { record: hash, why }.say();
            false
        }
    }
}

fn uuid_from(random: &mut impl Rng) -> Uuid {
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn small_jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_fn(64, 48, |x, y| {
        image::Rgb([(x * 4) as u8, (y * 5) as u8, 90])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .expect("a small picture can be coded");
    bytes.into_inner()
}
