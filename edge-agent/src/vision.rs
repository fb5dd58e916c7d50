//! The worker loop: what a camera shows -> detect -> track -> events -> sink, and pictures to the media worker.
//!
//! Which camera is looked at next, and how often each, is decided in [`schedule`]; each is told by its lookout what is wanted
//! of it.
//!
//! Each worker is an OS thread with a detector of its own; any worker serves any camera, one at a time each. Cameras
//! share nothing but the workers: a camera whose frame cannot be analysed is counted and goes on with its next one, and
//! one whose analysis panicked starts afresh while the others keep their tracks. Nothing queues up here: a frame that
//! is not taken in time is overwritten in its slot (loss door 1), a picture the media worker has no room for to the end
//! is counted and recorded (loss door 2), and records that the spool has no room for wait in a bounded room: frames are
//! looked at whatever the disk does.

pub mod gaze;
pub mod replay;
pub mod schedule;
mod stats;
pub mod watch;

pub use stats::CameraVisionStats;

use crate::capture::latest::Wakeup;
use crate::capture::lookout::{Attention, Glimpse, Lookout, SightNews};
use crate::clock::TimeSource;
use crate::config::{AnalysisConfig, CameraConfig, Config};
use crate::detect::{Detector, Thresholds};
use crate::frame::Frame;
use crate::health::Reporter;
use crate::media::snapshot::Mask;
use crate::media::{Done, MediaJob, MediaQueue};
use crate::sight::SightChange;
use crate::sink::{Losses, Sink, WaitingRoom};
use gaze::Gaze;
use schedule::{Choice, Interest, Pace, Schedule};
use stats::Tally;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use watch::{Findings, Picture, Wanted, Watch, WatchConfig, fresh_event_ids};
use wire::record::{MediaClass, ObjectBox};
use wire::{CameraId, CommandId, Record, RecordTime, Sha256, UtcMicros};

/// What vision must know of a camera.
#[derive(Debug)]
pub struct CameraInput {
    pub id: CameraId,
    pub lookout: Arc<Lookout>,
    pub watch: WatchConfig,
    pub masks: Arc<[Mask]>,
}

impl CameraInput {
    pub fn new(camera: &CameraConfig, config: &Config, lookout: Arc<Lookout>) -> Self {
        Self {
            id: camera.id,
            lookout,
            watch: WatchConfig::new(camera, config),
            masks: camera.privacy_masks.iter().cloned().map(Mask).collect(),
        }
    }
}

/// How often cameras are looked at, as it is configured.
pub fn pace(config: &AnalysisConfig) -> Pace {
    Pace::new(config.frames_per_second, config.glance_seconds)
}

/// Where the results go.
pub struct Outlets {
    pub sink: Arc<dyn Sink>,
    pub media: MediaQueue,
}

/// All cameras' analysis. Shared by the workers, the control socket and whoever asks for pictures.
pub struct Vision {
    cameras: Vec<Camera>,
    pace: Pace,
    schedule: Mutex<Schedule>,
    wakeup: Arc<Wakeup>,
    room: WaitingRoom,
    media: MediaQueue,
    losses: Mutex<Losses>,
    time: TimeSource,
    housekept: Mutex<Duration>,
    /// No frame will be looked at any more. Set before the requests are answered for the last time.
    is_finished: AtomicBool,
}

struct Camera {
    id: CameraId,
    lookout: Arc<Lookout>,
    masks: Arc<[Mask]>,
    watch: Mutex<Watch>,
    gaze: Mutex<Gaze>,
    tally: Mutex<Tally>,
    requests: Mutex<Vec<PictureRequest>>,
}

struct PictureRequest {
    command: CommandId,
    asked_at: Duration,
    done: Done,
}

enum Next<'a> {
    Look(Claim<'a>, Glimpse),
    Wait(Duration),
}

/// One camera, taken by one worker. Given back when dropped, by a panic too.
struct Claim<'a> {
    vision: &'a Vision,
    index: usize,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.vision.schedule).give_back(self.index);
        // Its next frame may have come meanwhile, and another worker passed it by.
        self.vision.wakeup.ring();
    }
}

/// So long a worker sleeps at most: then it says that it is alive and looks for things that are due without a frame.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// A picture that was asked for is given up after this.
const PICTURE_PATIENCE: Duration = Duration::from_secs(10);
/// For the pictures of a camera that stopped seeing to find room: it happens seldom, and they have no second chance.
const SIGHT_PATIENCE: Duration = Duration::from_millis(500);
/// The answer to a picture that is asked for too late.
const STOPPING: &str = "the agent is stopping";
/// A camera is dark when it was not looked at for so long, beyond what is usual for it.
const DARK_AFTER: Duration = Duration::from_secs(1);

impl Vision {
    /// `wakeup` is the one that all slots ring; `thresholds` are the detector's.
    pub fn new(
        cameras: Vec<CameraInput>,
        pace: Pace,
        thresholds: Thresholds,
        wakeup: Arc<Wakeup>,
        outlets: Outlets,
        time: TimeSource,
    ) -> Self {
        let cameras: Vec<Camera> = cameras
            .into_iter()
            .map(|input| Camera {
                id: input.id,
                lookout: input.lookout,
                masks: input.masks,
                watch: Mutex::new(Watch::new(input.watch, thresholds, fresh_event_ids())),
                gaze: Mutex::default(),
                tally: Mutex::default(),
                requests: Mutex::default(),
            })
            .collect();
        Self {
            schedule: Mutex::new(Schedule::new(pace, cameras.len())),
            pace,
            cameras,
            wakeup,
            room: WaitingRoom::new(outlets.sink),
            media: outlets.media,
            losses: Mutex::default(),
            time,
            housekept: Mutex::default(),
            is_finished: AtomicBool::new(false),
        }
    }

    /// Works until `stop`. Blocks: give each worker an OS thread and a detector. After a panic it may be called again.
    pub fn run_worker(
        &self,
        detector: &mut dyn Detector,
        stop: &CancellationToken,
        reporter: &Reporter,
    ) {
        while !stop.is_cancelled() {
            match self.next_look() {
                Next::Look(claim, glimpse) => self.look(claim.index, &glimpse, detector, reporter),
                Next::Wait(wait) => {
                    self.wakeup.wait(wait);
                    reporter.progressed();
                }
            }
            self.housekeep();
        }
        reporter.stopped();
    }

    /// After the last worker has stopped: ends all events, gives their pictures their last chance for up to `patience`,
    /// and tells what was lost.
    pub fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let now = self.time.now();
        self.is_finished.store(true, Ordering::SeqCst);
        for camera in &self.cameras {
            let findings = camera.watch().finish(&now);
            self.deliver(camera, findings, deadline);
            for request in std::mem::take(&mut *lock(&camera.requests)) {
                (request.done)(Err(STOPPING.into()));
            }
        }
        self.put_all(lock(&self.losses).drain(&now));
        let left = self
            .room
            .drain(deadline.saturating_duration_since(Instant::now()));
        if left > 0 {
            tracing::error!("{left} records are lost: the spool took none to the end");
        }
    }

    /// The next frame of this camera as a picture. The answer comes when the spool has it, or says why it never will.
    pub fn request_picture(
        &self,
        camera: CameraId,
        command: CommandId,
    ) -> oneshot::Receiver<Result<Sha256, String>> {
        let (answer, receiver) = oneshot::channel();
        // Whoever asked may have gone away: then nobody hears the answer, and that is well.
        let done: Done = Box::new(move |outcome| drop(answer.send(outcome)));
        let Some(camera) = self.cameras.iter().find(|known| known.id == camera) else {
            done(Err(format!("there is no camera {camera} here")));
            return receiver;
        };
        // Under the lock: either `finish` answers it, or it is seen here that nobody would.
        let mut requests = lock(&camera.requests);
        if self.is_finished.load(Ordering::SeqCst) {
            done(Err(STOPPING.into()));
        } else {
            requests.push(PictureRequest {
                command,
                asked_at: self.now(),
                done,
            });
            camera.lookout.attend(Attention {
                at_once: true,
                ..camera.lookout.attention()
            });
        }
        drop(requests);
        receiver
    }

    /// By camera, in the order of the configuration.
    pub fn stats(&self) -> Vec<CameraVisionStats> {
        let now = self.now();
        let one = |(index, camera): (usize, &Camera)| {
            let asked_fps = lock(&self.schedule).asked_fps(index);
            lock(&camera.tally).stats(camera.id, now, asked_fps)
        };
        self.cameras.iter().enumerate().map(one).collect()
    }

    /// The camera that is latest of those that have something to show and are due.
    fn next_look(&self) -> Next<'_> {
        let choice = lock(&self.schedule).choose(self.now(), LONGEST_WAIT, |index| {
            self.cameras[index].lookout.waiting()
        });
        let index = match choice {
            Choice::Look(index) => index,
            Choice::Wait(wait) => return Next::Wait(wait),
        };
        let claim = Claim {
            vision: self,
            index,
        };
        // Another worker may sleep although another camera has something to show too.
        self.wakeup.ring();
        match self.cameras[index].lookout.take() {
            Some(glimpse) => Next::Look(claim, glimpse),
            None => Next::Wait(Duration::ZERO),
        }
    }

    fn look(
        &self,
        index: usize,
        glimpse: &Glimpse,
        detector: &mut dyn Detector,
        reporter: &Reporter,
    ) {
        let camera = &self.cameras[index];
        let frame = &glimpse.frame;
        let parts = lock(&camera.gaze).parts(detector, frame, &glimpse.motion);
        let look = match detector.detect(frame, &parts) {
            Ok(look) => look,
            Err(error) => {
                let tell = lock(&camera.tally).failed(self.now());
                self.looked(index, glimpse, Interest::Nothing);
                reporter.failed(&error);
                if tell {
                    tracing::warn!(
                        camera.id = %camera.id,
                        "a frame of camera {} could not be analysed: {error}", camera.id
                    );
                }
                return;
            }
        };
        let mut watch = camera.watch();
        let findings = watch.frame(frame, &look.detections);
        lock(&camera.tally).looked(self.now(), &look, &findings, &watch);
        let interest = lock(&camera.gaze).saw(&findings, &watch, self.pace.every);
        drop(watch);
        let boxes = findings.boxes.clone();
        self.deliver(camera, findings, Instant::now());
        self.answer_requests(camera, frame, boxes);
        self.looked(index, glimpse, interest);
        reporter.progressed();
    }

    /// Notes what a look found, and tells the camera what is wanted of it from now on.
    fn looked(&self, index: usize, glimpse: &Glimpse, found: Interest) {
        let now = self.now();
        let at = monotonic(&glimpse.frame.time);
        let mut schedule = lock(&self.schedule);
        schedule.done(index, now, at, glimpse.motion.moving, found);
        let attention = schedule.attention(index, now);
        drop(schedule);
        let camera = &self.cameras[index];
        camera.lookout.attend(Attention {
            at_once: !lock(&camera.requests).is_empty(),
            ..attention
        });
    }

    /// Records first: an event is safe before its picture is thought of. Pictures wait for room until `deadline`.
    fn deliver(&self, camera: &Camera, findings: Findings, deadline: Instant) {
        self.put_all(findings.records);
        for wanted in findings.wanted {
            let class = wanted.class;
            let job = MediaJob {
                frame: wanted.picture.frame,
                class,
                event: wanted.event,
                command: None,
                boxes: wanted.picture.boxes,
                quality: wanted.quality,
                masks: camera.masks.clone(),
                moment: None,
                done: None,
            };
            let patience = deadline.saturating_duration_since(Instant::now());
            match self.media.offer_within(job, patience) {
                Ok(()) => camera.watch().taken(class),
                Err(job) => self.refused(camera, *job),
            }
        }
        for _ in 0..findings.events_without_picture {
            self.missed(camera, MediaClass::Snapshot, self.time.now().captured_at_us);
        }
    }

    /// A picture without room waits with its camera, unless it was the last chance.
    fn refused(&self, camera: &Camera, job: MediaJob) {
        let (class, at_us) = (job.class, job.frame.time.captured_at_us);
        let wanted = Wanted {
            class,
            event: job.event,
            quality: job.quality,
            picture: Picture {
                frame: job.frame,
                boxes: job.boxes,
            },
        };
        if camera.watch().refused(self.now(), wanted) {
            self.missed(camera, class, at_us);
        }
    }

    fn missed(&self, camera: &Camera, class: MediaClass, at_us: UtcMicros) {
        let (camera_id, class) = (Some(camera.id), class.as_str());
        lock(&self.losses).add(camera_id, class, "media_busy", at_us, self.now());
        lock(&camera.tally).missed_picture();
    }

    fn answer_requests(&self, camera: &Camera, frame: &Frame, boxes: Vec<ObjectBox>) {
        for request in std::mem::take(&mut *lock(&camera.requests)) {
            let job = MediaJob {
                frame: frame.clone(),
                class: MediaClass::Requested,
                event: None,
                command: Some(request.command),
                boxes: boxes.clone(),
                quality: 0.0,
                masks: camera.masks.clone(),
                moment: None,
                done: Some(request.done),
            };
            // Without room it waits for the next frame, and is given up when its time is over.
            if let Err(refused) = self.media.offer(job)
                && let Some(done) = refused.done
            {
                lock(&camera.requests).push(PictureRequest { done, ..request });
            }
        }
    }

    /// A camera stopped or began again to see: an event of its own, with a picture of before and one of after.
    fn sight_changed(&self, camera: &Camera, news: SightNews) {
        let mut watch = camera.watch();
        let findings = watch.camera_sight(&news.after.time, news.change);
        lock(&camera.tally).events(&watch);
        drop(watch);
        let event = findings.sight_event;
        self.deliver(camera, findings, Instant::now());
        if event.is_none() || news.change == SightChange::Regained {
            return;
        }
        // The picture that shows what is wrong is the event's best one.
        let moments = [
            (Some(news.after), "after", 1.0),
            (news.before, "before", 0.0),
        ];
        for (frame, moment, quality) in moments {
            let Some(frame) = frame else { continue };
            let at_us = frame.time.captured_at_us;
            let job = MediaJob {
                frame,
                class: MediaClass::Snapshot,
                event,
                command: None,
                boxes: Vec::new(),
                quality,
                masks: camera.masks.clone(),
                moment: Some(moment),
                done: None,
            };
            if self.media.offer_within(job, SIGHT_PATIENCE).is_err() {
                self.missed(camera, MediaClass::Snapshot, at_us);
            }
        }
    }

    fn put_all(&self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            self.room.put(record);
        }
    }

    /// What is due without a frame: events of dark cameras end, held pictures go, losses are told.
    fn housekeep(&self) {
        let now = self.now();
        {
            let mut last = lock(&self.housekept);
            if now.saturating_sub(*last) < LONGEST_WAIT {
                return;
            }
            *last = now;
        }
        let time = self.time.now();
        for (index, camera) in self.cameras.iter().enumerate() {
            let usual = lock(&self.schedule).patience(index);
            let dark = lock(&camera.tally).since_last_frame(now) > usual + DARK_AFTER;
            // A camera that another worker looks at is not dark.
            if dark && let Ok(mut watch) = camera.watch.try_lock() {
                let findings = watch.without_frame(&time);
                lock(&camera.tally).events(&watch);
                drop(watch);
                self.deliver(camera, findings, Instant::now());
            }
            camera.give_up_requests(now);
            while let Some(news) = camera.lookout.take_sight() {
                self.sight_changed(camera, news);
            }
        }
        self.put_all(lock(&self.losses).due(&time, now));
        self.room.flush();
    }

    fn now(&self) -> Duration {
        self.time.clocks().boottime()
    }
}

/// Intervals are taken from the clock that never jumps.
fn monotonic(time: &RecordTime) -> Duration {
    Duration::from_nanos(time.boottime_ns)
}

impl Camera {
    /// The camera's tracks and events. A panic may have left them half changed: then they start afresh.
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(|poisoned| {
            self.watch.clear_poison();
            let mut watch = poisoned.into_inner();
            watch.start_afresh();
            watch
        })
    }

    fn give_up_requests(&self, now: Duration) {
        let is_late =
            |request: &mut PictureRequest| now.saturating_sub(request.asked_at) > PICTURE_PATIENCE;
        let late: Vec<PictureRequest> = lock(&self.requests).extract_if(.., is_late).collect();
        for request in late {
            (request.done)(Err(format!(
                "camera {} gave no picture within {} seconds",
                self.id,
                PICTURE_PATIENCE.as_secs()
            )));
        }
    }
}

/// What these locks guard is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Vision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vision({} cameras)", self.cameras.len())
    }
}

impl std::fmt::Debug for Outlets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlets")
    }
}

#[cfg(test)]
mod tests;
