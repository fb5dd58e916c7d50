//! One camera's own thread: connects, shows the gate what arrives, has decoded what the gate wishes, notices silence,
//! and starts over after a pause. Nothing it waits for is shared with another camera.

use super::CaptureDeps;
use super::address::Address;
use super::backoff::Backoff;
use super::decoding::Decoding;
use super::error::{CaptureError, Failure, Reason};
use super::eyes::Eyes;
use super::gate::{Gate, UnitFacts};
use super::gop::{AccessUnit, Codec, StreamFormat};
use super::gst::receive::Receiver;
use super::h264::SliceReader;
use super::intake::{Intake, Next};
use super::lookout::Lookout;
use super::status::{CameraChange, StatusBoard};
use crate::config::CameraConfig;
use crate::health::Reporter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;

/// A camera that stays away is complained about once, and then this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Waiting, it says so often that it is alive.
const ALIVE_EVERY: Duration = Duration::from_millis(500);
/// A picture that somebody waits for and that was shown so long ago is shown again.
const SHOW_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What lives as long as the camera is configured.
pub(super) struct CameraThread {
    pub(super) config: CameraConfig,
    pub(super) address: Address,
    pub(super) deps: CaptureDeps,
    pub(super) intake: Arc<Intake>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) lookout: Arc<Lookout>,
    pub(super) eyes: Arc<Eyes>,
    pub(super) gate: Gate,
    /// Of what the gate has learned.
    pub(super) format: Option<StreamFormat>,
    pub(super) reporter: Reporter,
    /// The newest change that the channel had no room for.
    pub(super) untold: Option<CameraChange>,
    pub(super) complained: Option<(Reason, Instant)>,
}

/// What lives as long as one connection.
struct Run {
    cursor: u64,
    first_unit: Option<Instant>,
    last_unit: Instant,
    newest: Duration,
    reported: Instant,
    format: Option<StreamFormat>,
    slices: SliceReader,
    decoding: Decoding,
}

impl CameraThread {
    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let mut backoff = Backoff::new(self.deps.policy);
        loop {
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| self.attempt()));
            let (failure, ran) = match outcome {
                Ok(None) => break,
                Ok(Some(ended)) => ended,
                // The next attempt shares nothing with this one but what its locks keep whole.
                Err(_) => (
                    Failure::new(Reason::Decode, "a defect of the agent; see the log"),
                    began.elapsed(),
                ),
            };
            let wait = backoff.next_wait(ran, rand::random());
            self.report(&failure, wait);
            if self.pause(wait) {
                break;
            }
            self.board.reconnecting();
        }
        self.reporter.stopped();
        self.intake.done();
    }

    /// Sleeps for `wait`; `true` if it is told to stop meanwhile.
    fn pause(&self, wait: Duration) -> bool {
        let mut left = wait;
        while !left.is_zero() {
            let step = left.min(ALIVE_EVERY);
            if self.intake.wait_for_stop(step) {
                return true;
            }
            self.reporter.alive();
            left -= step;
        }
        self.intake.wait_for_stop(Duration::ZERO)
    }

    /// One connection from beginning to end: why it ended and how long data came. `None` when told to stop.
    fn attempt(&mut self) -> Option<(Failure, Duration)> {
        let mut run = Run::new(self.intake.begin(), self.decoding());
        self.gate.interrupted();
        let receiver = Receiver::start(
            &self.config,
            &self.address,
            self.deps.policy.connect,
            &self.deps.time,
            &self.intake,
        );
        let _receiver = match receiver {
            Ok(receiver) => receiver,
            Err(error) => return Some((set_up_failure(&error), Duration::ZERO)),
        };
        let failure = loop {
            self.tell();
            let deadline = self.deadline(&run);
            let look_again = deadline.min(Instant::now() + ALIVE_EVERY);
            let next = self
                .intake
                .wait(run.cursor, look_again, || run.decoding.wants());
            self.reporter.alive();
            let outcome = match next {
                Next::Stop => return None,
                Next::Ended(failure) => Err(failure),
                Next::Quiet => self.judge_silence(&run, deadline),
                Next::Unit { number, unit } => {
                    self.take(&mut run, number, &unit);
                    Ok(())
                }
                Next::Feed {
                    number,
                    unit,
                    newest,
                } => run.decoding.feed(number, &unit, newest),
            };
            let outcome = outcome.and_then(|()| self.steer(&mut run));
            if let Err(failure) = outcome {
                break failure;
            }
        };
        if failure.reason == Reason::Decode {
            run.decoding.discard();
        }
        let ran = run
            .first_unit
            .map_or(Duration::ZERO, |first| first.elapsed());
        Some((failure, ran))
    }

    fn decoding(&self) -> Decoding {
        Decoding::new(
            self.config.id,
            self.deps.clone(),
            Arc::clone(&self.intake),
            Arc::clone(&self.board),
            Arc::clone(&self.lookout),
            Arc::clone(&self.eyes),
        )
    }

    /// Until when something has to arrive.
    fn deadline(&self, run: &Run) -> Instant {
        match run.first_unit {
            Some(_) => run.last_unit + self.deps.policy.silence,
            None => run.last_unit + self.deps.policy.connect,
        }
    }

    fn judge_silence(&self, run: &Run, deadline: Instant) -> Result<(), Failure> {
        if Instant::now() < deadline {
            return Ok(());
        }
        let seconds = run.last_unit.elapsed().as_secs();
        if run.first_unit.is_some() || self.intake.is_playing() {
            let detail = format!("{} is silent for {seconds} s", self.address);
            Err(Failure::new(Reason::Timeout, detail))
        } else {
            let detail = format!("{} does not answer within {seconds} s", self.address);
            Err(Failure::new(Reason::Connect, detail))
        }
    }

    /// One encoded picture has come.
    fn take(&mut self, run: &mut Run, number: u64, unit: &AccessUnit) {
        if number > run.cursor {
            // The ring was too small for what came while this thread did something else.
            self.board.skipped(number - run.cursor);
            self.gate.interrupted();
        }
        run.cursor = number + 1;
        run.last_unit = Instant::now();
        run.newest = unit.taken_at();
        self.board.received(unit.taken_at());
        self.reporter.progressed();
        self.note_format(run, unit.format);

        let slice = match unit.format.codec {
            Codec::H264 => run.slices.read((*unit.bytes).as_ref()),
            Codec::H265 => None,
        };
        self.gate.arrived(UnitFacts {
            number,
            at: unit.taken_at(),
            key: unit.key,
            bytes: unit.len_bytes(),
            slice,
        });
        run.decoding.arrived(number, unit);
    }

    /// Tells the gate what was seen and wanted meanwhile, and decoding what the gate wishes.
    fn steer(&mut self, run: &mut Run) -> Result<(), Failure> {
        while let Some(seen) = self.intake.next_seen() {
            self.gate.saw(seen.verdict);
            run.decoding.saw(seen);
        }
        self.gate.attend(self.wanted_until(run));
        if run.reported.elapsed() >= ALIVE_EVERY {
            run.reported = Instant::now();
            self.board.gate(self.gate.report());
        }
        run.decoding.follow(self.gate.wish())
    }

    /// Until when everything is wanted, whether or not something moves.
    fn wanted_until(&self, run: &Run) -> Duration {
        let attention = self.lookout.attention();
        let (mut wanted, shown) = self.eyes.wanted_and_shown();
        let is_long_ago = shown.is_none_or(|shown| shown + SHOW_AGAIN_AFTER < run.newest);
        let is_asked = attention.at_once && is_long_ago
            || attention.is_overdue(run.newest, shown) && !self.eyes.expects_key();
        if wanted.is_none() && is_asked && run.first_unit.is_some() {
            self.eyes.want(run.newest);
            wanted = Some(run.newest);
        }
        // One more than the picture itself: it is still to come.
        let until = wanted.map_or(Duration::ZERO, |from| from + Duration::from_nanos(1));
        attention.hold_until.max(until)
    }

    fn note_format(&mut self, run: &mut Run, format: StreamFormat) {
        if run.format == Some(format) {
            return;
        }
        run.first_unit.get_or_insert_with(Instant::now);
        run.format = Some(format);
        if self
            .format
            .replace(format)
            .is_some_and(|other| other != format)
        {
            self.gate.another_format();
        }
        let now = self.deps.time.now();
        if let Some(change) = self.board.running(format, now) {
            let (name, codec) = (&self.config.name, format.codec.as_str());
            let (width, height) = (format.width, format.height);
            tracing::info!(
                camera.id = %self.config.id, camera.codec = codec, camera.width = width, camera.height = height,
                "camera \"{name}\" is running: {codec} {width}x{height}"
            );
            self.untold = Some(change);
        }
        self.complained = None;
    }

    fn report(&mut self, failure: &Failure, wait: Duration) {
        let now = self.deps.time.now();
        self.reporter.failed(failure);
        if let Some(change) = self.board.failed(failure, now) {
            self.untold = Some(change);
        }
        self.tell();
        let (name, reason) = (&self.config.name, failure.reason);
        let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let recently = self
            .complained
            .is_some_and(|(before, when)| before == reason && when.elapsed() < COMPLAIN_EVERY);
        if recently {
            tracing::debug!(camera.id = %self.config.id, camera.reason = %reason, retry_ms,
                "camera \"{name}\": {failure}; next attempt in {retry_ms} ms");
        } else {
            self.complained = Some((reason, Instant::now()));
            tracing::warn!(camera.id = %self.config.id, camera.reason = %reason, retry_ms,
                "camera \"{name}\": {failure}; next attempt in {retry_ms} ms, and so on until it is back");
        }
    }

    /// Passes the newest change on as soon as there is room; older ones that nobody took are overtaken by it.
    fn tell(&mut self) {
        if let Some(change) = self.untold.take()
            && let Err(TrySendError::Full(change)) = self.deps.changes.try_send(change)
        {
            self.untold = Some(change);
        }
    }
}

impl Run {
    fn new(cursor: u64, decoding: Decoding) -> Self {
        Self {
            cursor,
            first_unit: None,
            last_unit: Instant::now(),
            newest: Duration::ZERO,
            reported: Instant::now(),
            format: None,
            slices: SliceReader::default(),
            decoding,
        }
    }
}

fn set_up_failure(error: &CaptureError) -> Failure {
    Failure::new(Reason::Connect, error.to_string())
}
