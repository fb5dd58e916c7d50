//! Pictures, off the vision thread: masks filled, JPEG encoded, handed to the spool.
//!
//! Loss door 2: eight jobs wait at most. A ninth is refused to whoever offers it, who offers it again later or counts it
//! and says so in a gap record; the event it belongs to is untouched. A job holds its frame by reference, so eight jobs hold at most eight
//! frames (25 MB at 1080p).

pub mod sharpness;
pub mod snapshot;

use crate::error::{ErrorKind, Kind};
use crate::frame::Frame;
use crate::health::Reporter;
use crate::sink::{Sink, SinkError, WaitingRoom};
use snapshot::{Mask, SnapshotError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wire::record::{Body, GapRecord, MediaClass, MediaRecord, ObjectBox};
use wire::{CommandId, EventId, Record, Sha256};

/// Jobs that wait at most.
pub const QUEUE_LENGTH: usize = 8;

/// Called once with what became of a picture that somebody waits for.
pub type Done = Box<dyn FnOnce(Result<Sha256, String>) + Send>;

/// One picture to be made of one frame.
pub struct MediaJob {
    pub frame: Frame,
    pub class: MediaClass,
    pub event: Option<EventId>,
    pub command: Option<CommandId>,
    /// Everything found in this frame; kept as data, never drawn.
    pub boxes: Vec<ObjectBox>,
    /// Of several pictures of one event the best is shown.
    pub quality: f32,
    pub masks: Arc<[Mask]>,
    /// Of a camera that stopped seeing: `before` or `after` it did.
    pub moment: Option<&'static str>,
    pub done: Option<Done>,
}

impl std::fmt::Debug for MediaJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MediaJob({} of {:?})", self.class.as_str(), self.frame)
    }
}

/// Where pictures are asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MediaQueue {
    jobs: SyncSender<MediaJob>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    waiting: AtomicU64,
    made: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    busy_us: AtomicU64,
}

/// What the media worker has done since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct MediaStats {
    pub waiting: u64,
    pub made: u64,
    /// The spool did not take it, or the frame could not be encoded.
    pub failed: u64,
    pub bytes: u64,
    /// Mean time of masking, encoding and keeping one picture.
    pub picture_ms: f64,
}

impl MediaQueue {
    /// Takes the job, or gives it back if eight are waiting already.
    pub fn offer(&self, job: MediaJob) -> Result<(), Box<MediaJob>> {
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|refused| {
            self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
            match refused {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => Box::new(job),
            }
        })
    }

    /// Waits for room up to `patience`. For the end, when a picture has no later chance.
    pub fn offer_within(&self, mut job: MediaJob, patience: Duration) -> Result<(), Box<MediaJob>> {
        // The worker says nothing when it takes a job; so rarely is this asked that looking now and then will do.
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let deadline = Instant::now() + patience;
        loop {
            match self.offer(job) {
                Err(refused) if Instant::now() < deadline => job = *refused,
                outcome => return outcome,
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    pub fn stats(&self) -> MediaStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let made = read(&self.counters.made);
        MediaStats {
            waiting: read(&self.counters.waiting),
            made,
            failed: read(&self.counters.failed),
            bytes: read(&self.counters.bytes),
            picture_ms: read(&self.counters.busy_us) as f64 / 1000.0 / made.max(1) as f64,
        }
    }
}

/// The worker's side. Survives a panic of the thread that runs it: `run` may be called again.
pub struct MediaWorker {
    jobs: Mutex<Receiver<MediaJob>>,
    counters: Arc<Counters>,
    sink: Arc<dyn Sink>,
    room: WaitingRoom,
}

impl std::fmt::Debug for MediaWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MediaWorker({:?})", self.counters)
    }
}

#[derive(Debug, thiserror::Error)]
enum MediaError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Kind for MediaError {
    fn kind(&self) -> ErrorKind {
        match self {
            MediaError::Snapshot(error) => error.kind(),
            MediaError::Sink(error) => error.kind(),
        }
    }
}

/// Both sides of the media queue.
pub fn queue(sink: Arc<dyn Sink>) -> (MediaQueue, MediaWorker) {
    let (sender, receiver) = sync_channel(QUEUE_LENGTH);
    let counters = Arc::new(Counters::default());
    (
        MediaQueue {
            jobs: sender,
            counters: counters.clone(),
        },
        MediaWorker {
            jobs: Mutex::new(receiver),
            counters,
            room: WaitingRoom::new(sink.clone()),
            sink,
        },
    )
}

/// So often a worker that waits looks whether to stop, and says that it is alive.
const IDLE: Duration = Duration::from_millis(250);
/// A disk that has written nothing for so long gets no picture: it is counted as lost.
const ROOM_PATIENCE: Duration = Duration::from_secs(30);

impl MediaWorker {
    /// Works until `stop`, then finishes what is waiting. Blocks: give it an OS thread.
    pub fn run(&self, stop: &CancellationToken, reporter: &Reporter) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let wait = if stop.is_cancelled() {
                Duration::ZERO
            } else {
                IDLE
            };
            match jobs.recv_timeout(wait) {
                Ok(job) => self.make(job, reporter),
                Err(RecvTimeoutError::Timeout) if !stop.is_cancelled() => {
                    reporter.progressed();
                }
                Err(_) => break,
            }
            self.room.flush();
            let waiting = self.counters.waiting.load(Ordering::Relaxed);
            reporter.queue_length(waiting);
        }
        reporter.stopped();
    }

    fn make(&self, mut job: MediaJob, reporter: &Reporter) {
        self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
        let started = Instant::now();
        let done = job.done.take();
        let (camera, class) = (job.frame.camera, job.class);
        let time = job.frame.time;
        let outcome = self.keep(job, reporter);
        match &outcome {
            Ok(_) => {
                let busy_us = started.elapsed().as_micros() as u64;
                self.counters.busy_us.fetch_add(busy_us, Ordering::Relaxed);
                self.counters.made.fetch_add(1, Ordering::Relaxed);
                reporter.progressed();
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    camera.id = %camera,
                    media.class = class.as_str(),
                    "a picture of camera {camera} was lost: {error}"
                );
                // What the sink did not take it has counted itself.
                if let MediaError::Snapshot(_) = error {
                    let gap = GapRecord {
                        from_us: time.captured_at_us,
                        to_us: time.captured_at_us,
                        camera: Some(camera),
                        class: class.as_str().to_owned(),
                        count: 1,
                        reason: "media_failed".to_owned(),
                    };
                    self.room.put(Record::new(time, Body::Gap(gap)));
                }
                reporter.failed(error);
            }
        }
        if let Some(done) = done {
            done(outcome.map_err(|error| error.to_string()));
        }
    }

    /// Alive while it waits for the spool; not while the disk is busy with the picture itself.
    fn keep(&self, job: MediaJob, reporter: &Reporter) -> Result<Sha256, MediaError> {
        let bytes = snapshot::jpeg(&job.frame, &job.masks)?;
        let sha256 = Sha256::of(&bytes);
        let media = MediaRecord {
            sha256,
            class: job.class,
            bytes: bytes.len() as u64,
            content_type: snapshot::CONTENT_TYPE.to_owned(),
            camera: job.frame.camera,
            width: job.frame.width,
            height: job.frame.height,
            event: job.event,
            command: job.command,
            boxes: job.boxes,
            quality: job.quality,
            masked: !job.masks.is_empty(),
            moment: job.moment.map(str::to_owned),
        };
        self.counters
            .bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let give_up_at = Instant::now() + ROOM_PATIENCE;
        while !self.sink.wait_for_room(IDLE) && Instant::now() < give_up_at {
            reporter.alive();
        }
        let keeping = self.sink.begin_media(job.frame.time, media, bytes)?;
        loop {
            match keeping.wait(IDLE) {
                Some(outcome) => break outcome?,
                None => reporter.alive(),
            }
        }
        Ok(sha256)
    }
}

#[cfg(test)]
mod tests;
