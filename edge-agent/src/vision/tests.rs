//! The worker loop tried with scripted detections and simulated clocks.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::clock::SimClocks;
use crate::detect::{DetectError, Detection, Look, LookTiming};
use crate::health::Health;
use crate::media;
use crate::motion::Motion;
use crate::sink::{Refusal, SinkError};
use std::collections::BTreeMap;
use wire::record::{Body, EventState, MediaRecord, NormBox};
use wire::{RecordTime, UtcMicros};

const THRESHOLDS: Thresholds = Thresholds {
    score: 0.5,
    follow: 0.3,
};

fn camera(number: u128) -> CameraId {
    CameraId(uuid::Uuid::from_u128(number))
}

#[derive(Default)]
struct List {
    records: Mutex<Vec<Record>>,
    media: Mutex<Vec<MediaRecord>>,
}

impl Sink for List {
    fn put(&self, record: Record) -> Result<(), SinkError> {
        lock(&self.records).push(record);
        Ok(())
    }

    fn put_media(&self, _: RecordTime, media: MediaRecord, _: Vec<u8>) -> Result<(), SinkError> {
        lock(&self.media).push(media);
        Ok(())
    }
}

/// A disk that takes no record until it is told to, and whatever else it is asked at once.
#[derive(Default)]
struct StuckDisk {
    takes: AtomicBool,
    list: List,
}

impl Sink for StuckDisk {
    fn put(&self, _: Record) -> Result<(), SinkError> {
        panic!("vision must not wait for a disk");
    }

    fn try_put(&self, record: Record) -> Result<(), Refusal> {
        if self.takes.load(Ordering::Relaxed) {
            self.list.put(record).map_err(Refusal::Lost)
        } else {
            Err(Refusal::NoRoom(Box::new(record)))
        }
    }

    fn put_media(&self, _: RecordTime, _: MediaRecord, _: Vec<u8>) -> Result<(), SinkError> {
        unreachable!("no media worker runs here")
    }

    fn wait_for_room(&self, _: Duration) -> bool {
        self.takes.load(Ordering::Relaxed)
    }
}

impl List {
    fn states(&self, of: CameraId) -> Vec<EventState> {
        let records = lock(&self.records);
        let events = records.iter().filter_map(|record| match &record.body {
            Body::Event(event) if event.camera == of => Some(event.state),
            _ => None,
        });
        events.collect()
    }

    fn gaps(&self) -> u64 {
        let records = lock(&self.records);
        let gaps = records.iter().map(|record| match &record.body {
            Body::Gap(gap) if gap.reason == "media_busy" => gap.count,
            _ => 0,
        });
        gaps.sum()
    }
}

/// Sees a person in every frame of most cameras, who steps to and fro five times a second, so that nobody can foretell where he
/// will be: who can be foretold is looked at half as often. Fails or panics on others.
struct Scripted {
    fails: Option<CameraId>,
    panics: Option<CameraId>,
}

impl Detector for Scripted {
    fn detect(&mut self, frame: &Frame, _: &[NormBox]) -> Result<Look, DetectError> {
        assert_ne!(Some(frame.camera), self.panics, "scripted panic");
        if Some(frame.camera) == self.fails {
            return Err(DetectError::NoClass {
                model: "scripted".into(),
                asked: vec![],
                known: vec![],
            });
        }
        let step = frame.time.boottime_ns / 200_000_000 % 2;
        let person = Detection {
            class: "person".into(),
            score: 0.8,
            rect: NormBox {
                x: 0.4 + 0.05 * step as f32,
                y: 0.3,
                w: 0.1,
                h: 0.4,
            },
        };
        Ok(Look {
            detections: vec![person],
            timing: LookTiming::default(),
        })
    }

    fn thresholds(&self) -> Thresholds {
        THRESHOLDS
    }

    fn model_name(&self) -> &str {
        "scripted"
    }
}

struct Rig {
    clocks: Arc<SimClocks>,
    time: TimeSource,
    sink: Arc<List>,
    vision: Vision,
    media: media::MediaWorker,
    lookouts: BTreeMap<CameraId, Arc<Lookout>>,
    health: Health,
}

impl Rig {
    fn new(cameras: u128, periodic_seconds: u64) -> Self {
        let list = Arc::new(List::default());
        Self::build(cameras, periodic_seconds, list.clone(), list)
    }

    /// Its records go elsewhere than into its own list.
    fn with_sink(cameras: u128, sink: Arc<dyn Sink>) -> Self {
        Self::build(cameras, 0, Arc::new(List::default()), sink)
    }

    fn build(cameras: u128, periodic_seconds: u64, list: Arc<List>, sink: Arc<dyn Sink>) -> Self {
        let clocks = Arc::new(SimClocks::new(UtcMicros(1_700_000_000_000_000)));
        let time = TimeSource::new(clocks.clone());
        let wakeup = Arc::new(Wakeup::default());
        let (queue, media) = media::queue(sink.clone());
        let lookouts: BTreeMap<_, _> = (0..cameras)
            .map(|number| (camera(number), Arc::new(Lookout::new(wakeup.clone()))))
            .collect();
        let inputs = lookouts.iter().map(|(id, lookout)| CameraInput {
            id: *id,
            lookout: lookout.clone(),
            watch: WatchConfig::plain(*id, Duration::from_secs(periodic_seconds)),
            masks: Arc::from([]),
        });
        let outlets = Outlets { sink, media: queue };
        let vision = Vision::new(
            inputs.collect(),
            Pace::new(5.0, 10),
            THRESHOLDS,
            wakeup,
            outlets,
            time.clone(),
        );
        Self {
            clocks,
            time,
            sink: list,
            vision,
            media,
            lookouts,
            health: Health::default(),
        }
    }

    fn show(&self, camera: CameraId) {
        self.show_one(camera, true);
    }

    /// One in which something moves, or one that somebody asked for.
    fn show_one(&self, camera: CameraId, moving: bool) {
        let frame = Frame::from_rgb(camera, self.time.now(), 64, 48, vec![90; 64 * 48 * 3]);
        self.lookouts[&camera].show(Glimpse {
            frame,
            motion: Motion {
                moving,
                share: if moving { 0.1 } else { 0.0 },
                regions: Vec::new(),
            },
            wanted: !moving,
        });
    }

    /// Does what the worker would do now, without waiting.
    fn work(&self, detector: &mut Scripted) -> usize {
        let reporter = self.health.unit("vision-0");
        let mut looks = 0;
        while let Next::Look(claim, glimpse) = self.vision.next_look() {
            self.vision.look(claim.index, &glimpse, detector, &reporter);
            looks += 1;
        }
        self.vision.housekeep();
        looks
    }

    fn make_pictures(&self) {
        let stop = CancellationToken::new();
        stop.cancel();
        let reporter = self.health.unit("media");
        self.media.run(&stop, &reporter);
    }
}

fn well() -> Scripted {
    Scripted {
        fails: None,
        panics: None,
    }
}

#[test]
fn a_person_becomes_an_event_with_a_picture_and_ends_when_the_camera_goes_dark() {
    let rig = Rig::new(1, 0);
    for _ in 0..5 {
        rig.show(camera(0));
        assert_eq!(rig.work(&mut well()), 1);
        rig.clocks.advance(Duration::from_millis(200));
    }
    assert_eq!(rig.sink.states(camera(0)), [EventState::Opened]);
    rig.make_pictures();
    {
        let media = lock(&rig.sink.media);
        assert_eq!((media.len(), media[0].class), (1, MediaClass::Snapshot));
        assert!(media[0].event.is_some() && media[0].quality > 0.0);
        assert_eq!(media[0].boxes[0].class, "person");
        assert_eq!(media[0].boxes[0].track, Some(1));
    }
    rig.clocks.advance(Duration::from_secs(30));
    rig.work(&mut well());
    assert_eq!(
        rig.sink.states(camera(0)),
        [EventState::Opened, EventState::Closed]
    );
    let stats = &rig.vision.stats()[0];
    assert_eq!(
        (stats.frames_analysed, stats.events_open, stats.events_total),
        (5, 0, 1)
    );
}

#[test]
fn no_camera_is_looked_at_more_often_than_configured_and_each_has_its_turn() {
    let rig = Rig::new(3, 0);
    let mut looks = 0;
    // Ten seconds of 25 frames a second from three cameras.
    for _ in 0..250 {
        (0..3).for_each(|number| rig.show(camera(number)));
        looks += rig.work(&mut well());
        rig.clocks.advance(Duration::from_millis(40));
    }
    assert!((150..=153).contains(&looks), "{looks}");
    for stats in rig.vision.stats() {
        assert!((stats.fps_analysed - 5.0).abs() < 0.2, "{stats:?}");
    }
}

#[test]
fn a_frame_that_fails_costs_its_own_camera_one_frame() {
    let rig = Rig::new(2, 0);
    let mut detector = Scripted {
        fails: Some(camera(0)),
        panics: None,
    };
    for _ in 0..5 {
        rig.show(camera(0));
        rig.show(camera(1));
        rig.work(&mut detector);
        rig.clocks.advance(Duration::from_millis(200));
    }
    let stats = rig.vision.stats();
    assert_eq!((stats[0].errors, stats[0].frames_analysed), (5, 0));
    assert_eq!((stats[1].errors, stats[1].frames_analysed), (0, 5));
    assert_eq!(rig.sink.states(camera(1)), [EventState::Opened]);
}

#[test]
fn fault_39_a_panic_gives_the_camera_back_and_the_other_keeps_its_tracks() {
    let rig = Rig::new(2, 0);
    for round in 0..6 {
        rig.show(camera(1));
        if round == 3 {
            rig.show(camera(0));
            let mut detector = Scripted {
                fails: None,
                panics: Some(camera(0)),
            };
            let work = std::panic::AssertUnwindSafe(|| rig.work(&mut detector));
            std::panic::catch_unwind(work).unwrap_err();
        }
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_millis(200));
    }
    assert_eq!(rig.sink.states(camera(1)), [EventState::Opened]);
    rig.show(camera(0));
    assert_eq!(rig.work(&mut well()), 1);
}

#[test]
fn periodic_pictures_come_with_the_first_frame_and_then_on_time() {
    let rig = Rig::new(1, 60);
    for _ in 0..130 {
        rig.show(camera(0));
        rig.work(&mut well());
        rig.make_pictures();
        rig.clocks.advance(Duration::from_secs(1));
    }
    let media = lock(&rig.sink.media);
    let periodic = media.iter().filter(|one| one.class == MediaClass::Periodic);
    assert_eq!(periodic.count(), 3);
}

fn missed(rig: &Rig) -> u64 {
    let stats = rig.vision.stats();
    stats.iter().map(|stats| stats.pictures_missed).sum()
}

#[test]
fn a_burst_beyond_the_media_queue_loses_no_picture() {
    let rig = Rig::new(12, 60);
    // Twelve periodic pictures at once, then twelve events; the media worker makes eight a second.
    for _ in 0..25 {
        (0..12).for_each(|number| rig.show(camera(number)));
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_millis(200));
        rig.make_pictures();
    }
    let media = lock(&rig.sink.media);
    let of_class = |class| media.iter().filter(move |one| one.class == class);
    assert_eq!(of_class(MediaClass::Periodic).count(), 12);
    let events: std::collections::BTreeSet<_> = of_class(MediaClass::Snapshot)
        .filter_map(|one| one.event)
        .collect();
    assert_eq!(events.len(), 12);
    assert_eq!((missed(&rig), rig.sink.gaps()), (0, 0));
}

#[test]
fn what_a_hanging_media_worker_missed_is_counted_once_and_told() {
    let rig = Rig::new(12, 0);
    for _ in 0..25 {
        (0..12).for_each(|number| rig.show(camera(number)));
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_millis(200));
    }
    // Eight events have their picture in the queue; four were refused time and again, but their events live.
    assert_eq!((missed(&rig), rig.sink.gaps()), (0, 0));
    // A dark camera waits longer for what stood.
    rig.clocks.advance(Duration::from_secs(120));
    rig.work(&mut well());
    assert_eq!(missed(&rig), 4);
    rig.clocks.advance(Duration::from_secs(6));
    rig.work(&mut well());
    assert_eq!((missed(&rig), rig.sink.gaps()), (4, 4));
}

#[test]
fn a_dark_cameras_picture_still_goes_when_there_is_room() {
    let rig = Rig::new(12, 0);
    for _ in 0..5 {
        (0..12).for_each(|number| rig.show(camera(number)));
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_millis(200));
    }
    rig.make_pictures();
    assert_eq!(lock(&rig.sink.media).len(), 8);
    // No further frame of any camera, and no event has closed yet.
    rig.clocks.advance(Duration::from_millis(1500));
    rig.work(&mut well());
    rig.make_pictures();
    assert_eq!(lock(&rig.sink.media).len(), 12);
    assert!(rig.sink.states(camera(11)).len() == 1);
}

#[test]
fn a_periodic_picture_is_missed_when_there_was_no_room_for_a_whole_interval() {
    let rig = Rig::new(9, 60);
    for _ in 0..121 {
        (0..9).for_each(|number| rig.show(camera(number)));
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_secs(1));
    }
    // Eight found room at the start and none a minute later; the ninth never did.
    let stats = rig.vision.stats();
    let of_camera: Vec<u64> = stats.iter().map(|stats| stats.pictures_missed).collect();
    assert_eq!(of_camera, [1, 1, 1, 1, 1, 1, 1, 1, 2]);
}

#[test]
fn a_requested_picture_is_answered_with_its_hash() {
    let rig = Rig::new(1, 0);
    let command = CommandId(uuid::Uuid::from_u128(5));
    let mut answer = rig.vision.request_picture(camera(0), command);
    rig.show(camera(0));
    rig.work(&mut well());
    rig.make_pictures();
    let media = lock(&rig.sink.media);
    assert_eq!(answer.try_recv().unwrap(), Ok(media[0].sha256));
    assert_eq!(
        (media[0].class, media[0].command),
        (MediaClass::Requested, Some(command))
    );
}

#[test]
fn a_picture_of_a_still_camera_is_looked_at_when_it_was_asked_for() {
    let rig = Rig::new(1, 0);
    rig.show_one(camera(0), false);
    rig.work(&mut well());
    rig.clocks.advance(Duration::from_secs(1));
    let command = CommandId(uuid::Uuid::from_u128(5));
    let mut answer = rig.vision.request_picture(camera(0), command);
    rig.show_one(camera(0), false);
    rig.work(&mut well());
    rig.make_pictures();
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn a_request_that_cannot_be_served_is_refused_in_words() {
    let rig = Rig::new(1, 0);
    let command = CommandId(uuid::Uuid::from_u128(5));
    let mut unknown = rig.vision.request_picture(camera(99), command);
    assert!(
        unknown
            .try_recv()
            .unwrap()
            .unwrap_err()
            .contains("no camera")
    );
    let mut dark = rig.vision.request_picture(camera(0), command);
    rig.clocks.advance(Duration::from_secs(11));
    rig.work(&mut well());
    assert!(
        dark.try_recv()
            .unwrap()
            .unwrap_err()
            .contains("gave no picture")
    );
    let mut late = rig.vision.request_picture(camera(0), command);
    rig.vision.finish(Duration::ZERO);
    assert!(late.try_recv().unwrap().unwrap_err().contains("stopping"));
    let mut too_late = rig.vision.request_picture(camera(0), command);
    let answer = too_late.try_recv().expect("answered at once");
    assert!(answer.unwrap_err().contains("stopping"));
}

#[test]
fn the_worker_thread_wakes_works_and_stops() {
    let rig = Rig::new(1, 60);
    let stop = CancellationToken::new();
    let reporter = rig.health.unit("vision-0");
    std::thread::scope(|scope| {
        scope.spawn(|| rig.vision.run_worker(&mut well(), &stop, &reporter));
        rig.show(camera(0));
        let deadline = Instant::now() + Duration::from_secs(10);
        while rig.vision.stats()[0].frames_analysed == 0 {
            assert!(Instant::now() < deadline, "the worker did not wake");
            std::thread::yield_now();
        }
        stop.cancel();
    });
    assert!(rig.health.snapshot()["vision-0"].progress > 0);
}

#[test]
fn fault_07_frames_are_looked_at_while_the_disk_takes_nothing_and_the_loss_is_told_when_it_does() {
    let disk = Arc::new(StuckDisk::default());
    let rig = Rig::with_sink(8, disk.clone());
    // People before eight cameras that are dark most of the time: 2,000 events, twice what may wait.
    for second in 0..12_000 {
        if second % 48 < 3 {
            (0..8).for_each(|number| rig.show(camera(number)));
        }
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_secs(1));
    }
    let opened: u64 = rig.vision.stats().iter().map(|one| one.events_total).sum();
    assert!(opened > 1500, "{opened}");
    assert!(disk.list.records.lock().unwrap().is_empty());

    disk.takes.store(true, Ordering::Relaxed);
    rig.clocks.advance(Duration::from_secs(60));
    rig.work(&mut well());
    let records = lock(&disk.list.records);
    let mut known = std::collections::BTreeSet::new();
    let mut lost = 0;
    for record in records.iter() {
        match &record.body {
            Body::Event(event) => drop(known.insert(event.id.0)),
            Body::Gap(gap) if gap.reason == "outage" => lost += gap.count,
            _ => {}
        }
    }
    // Each event is known by its last word, or counted. One of which both words were lost is counted for each.
    assert!(
        known.len() as u64 + lost >= opened,
        "{} + {lost} of {opened}",
        known.len()
    );
    assert!(lost > 0 && known.len() > 900, "{} + {lost}", known.len());
}

#[test]
fn at_the_end_more_pictures_than_the_queue_holds_find_room_while_there_is_time() {
    let rig = Rig::new(12, 0);
    for _ in 0..5 {
        (0..12).for_each(|number| rig.show(camera(number)));
        rig.work(&mut well());
        rig.clocks.advance(Duration::from_millis(200));
    }
    let stop = CancellationToken::new();
    let reporter = rig.health.unit("media");
    std::thread::scope(|scope| {
        scope.spawn(|| rig.media.run(&stop, &reporter));
        rig.vision.finish(Duration::from_secs(20));
        stop.cancel();
    });
    assert_eq!((lock(&rig.sink.media).len(), missed(&rig)), (12, 0));
}
