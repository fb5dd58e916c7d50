//! One camera's own thread: connects, feeds the decoder it borrowed, notices silence, and starts over after a
//! pause. Nothing it waits for is shared with another camera.

use super::CaptureDeps;
use super::address::Address;
use super::backoff::Backoff;
use super::decoders::Lent;
use super::error::{CaptureError, Failure, Reason};
use super::gate::{Admission, Demand, Gate, UnitFacts};
use super::gop::{AccessUnit, StreamFormat};
use super::gst::decode::{Deliver, Feed};
use super::gst::receive::Receiver;
use super::intake::{Intake, Next};
use super::lookout::{Glimpse, Lookout};
use super::status::{CameraChange, StatusBoard};
use crate::config::CameraConfig;
use crate::health::Reporter;
use crate::motion::Motion;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;

/// A camera that stays away is complained about once, and then this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Waiting, it says so often that it is alive.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// What lives as long as the camera is configured.
pub(super) struct CameraThread {
    pub(super) config: CameraConfig,
    pub(super) address: Address,
    pub(super) deps: CaptureDeps,
    pub(super) intake: Arc<Intake>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) lookout: Arc<Lookout>,
    pub(super) reporter: Reporter,
    /// The newest change that the channel had no room for.
    pub(super) untold: Option<CameraChange>,
    pub(super) complained: Option<(Reason, Instant)>,
}

/// What lives as long as one connection.
struct Run {
    gate: Gate,
    demand: Demand,
    cursor: u64,
    first_unit: Option<Instant>,
    last_unit: Instant,
    format: Option<StreamFormat>,
    stream: Option<Lent>,
    still: Option<Still>,
    silence: DecoderSilence,
}

/// A decoder borrowed for one key frame.
struct Still {
    lent: Lent,
    out: Arc<AtomicBool>,
}

/// Since when nothing has come out of the decoder although something went in.
#[derive(Default)]
struct DecoderSilence {
    since: Option<Instant>,
    decoded_then: u64,
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
        let mut run = Run::new(self.intake.begin());
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
                .wait(run.cursor, run.demand, look_again, || run.has_room());
            self.reporter.alive();
            run.return_used_still();
            let outcome = match next {
                Next::Stop => return None,
                Next::Ended(failure) => Err(failure),
                Next::Quiet(demand) if demand != run.demand => {
                    run.set_demand(demand);
                    Ok(())
                }
                Next::Quiet(_) => self.judge_silence(&run, deadline),
                Next::Unit {
                    number,
                    unit,
                    demand,
                } => {
                    run.set_demand(demand);
                    self.take(&mut run, number, &unit)
                }
            };
            if let Err(failure) = outcome {
                break failure;
            }
        };
        if failure.reason == Reason::Decode {
            run.discard_decoders();
        }
        let ran = run
            .first_unit
            .map_or(Duration::ZERO, |first| first.elapsed());
        Some((failure, ran))
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
    fn take(&mut self, run: &mut Run, number: u64, unit: &AccessUnit) -> Result<(), Failure> {
        let now = self.deps.time.now();
        let uptime = Duration::from_nanos(now.boottime_ns);
        let overtaken = number - run.cursor;
        run.cursor = number + 1;
        run.last_unit = Instant::now();
        if overtaken > 0 && run.demand == Demand::All {
            self.board.skipped(overtaken);
            run.gate.broken();
        }
        self.board.received(uptime);
        self.reporter.progressed();
        self.note_format(run, unit.format);

        let facts = UnitFacts {
            key: unit.key,
            bytes: unit.len_bytes(),
            waited: Duration::from_nanos(now.boottime_ns.saturating_sub(unit.time.boottime_ns)),
        };
        match run.gate.admit(run.demand, facts) {
            Admission::Skip => {}
            Admission::SkipLate => self.board.skipped(1),
            Admission::DecodeStill => self.decode_still(run, unit)?,
            Admission::Decode => self.decode(run, std::slice::from_ref(unit))?,
            Admission::DecodeFromKey => match self.intake.group_up_to(number) {
                Some(group) => self.decode(run, &group)?,
                None => {
                    self.board.skipped(1);
                    run.gate.broken();
                }
            },
        }
        self.judge_decoder(run)
    }

    fn note_format(&mut self, run: &mut Run, format: StreamFormat) {
        if run.format == Some(format) {
            return;
        }
        run.first_unit.get_or_insert_with(Instant::now);
        run.format = Some(format);
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

    fn decode(&self, run: &mut Run, units: &[AccessUnit]) -> Result<(), Failure> {
        let Some(newest) = units.last() else {
            return Ok(());
        };
        let codec = newest.format.codec;
        if run
            .stream
            .as_ref()
            .is_some_and(|lent| lent.codec() != codec)
        {
            run.stream = None;
        }
        if run.stream.is_none() {
            run.stream = Some(self.borrow(newest, Feed::Stream, Arc::default())?);
        }
        if let Some(lent) = &run.stream {
            units.iter().for_each(|unit| lent.push(unit));
            run.silence.fed(self.board.frames_decoded());
        }
        Ok(())
    }

    fn decode_still(&self, run: &mut Run, unit: &AccessUnit) -> Result<(), Failure> {
        let out = Arc::new(AtomicBool::new(false));
        let lent = self.borrow(unit, Feed::Stills, Arc::clone(&out))?;
        lent.push(unit);
        run.still = Some(Still { lent, out });
        run.silence.fed(self.board.frames_decoded());
        Ok(())
    }

    fn borrow(&self, unit: &AccessUnit, feed: Feed, out: Arc<AtomicBool>) -> Result<Lent, Failure> {
        let deliver = self.deliver(out);
        self.deps
            .decoders
            .lend(unit.format.codec, feed, self.config.id, deliver)
            .map_err(|error| Failure::new(Reason::Decode, error.to_string()))
    }

    /// What a decoder does with a picture of this camera, on the decoder's thread.
    fn deliver(&self, out: Arc<AtomicBool>) -> Deliver {
        let (lookout, board) = (Arc::clone(&self.lookout), Arc::clone(&self.board));
        let (intake, time) = (Arc::clone(&self.intake), self.deps.time.clone());
        Box::new(move |result| {
            match result {
                Ok(frame) => {
                    let motion = Motion::default();
                    lookout.show(Glimpse { frame, motion });
                    board.decoded(time.clocks().boottime());
                }
                Err(problem) => intake.end(Failure::new(Reason::Decode, problem)),
            }
            out.store(true, Ordering::Release);
            intake.ring_bell();
        })
    }

    /// A decoder that swallows everything and gives nothing is a broken stream.
    fn judge_decoder(&self, run: &mut Run) -> Result<(), Failure> {
        let silent = run.silence.lasts(self.board.frames_decoded());
        if silent < self.deps.policy.silence {
            return Ok(());
        }
        let detail = format!("no picture came out of it for {} s", silent.as_secs());
        Err(Failure::new(Reason::Decode, detail))
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
    fn new(cursor: u64) -> Self {
        Self {
            gate: Gate::new(),
            demand: Demand::Nothing,
            cursor,
            first_unit: None,
            last_unit: Instant::now(),
            format: None,
            stream: None,
            still: None,
            silence: DecoderSilence::default(),
        }
    }

    fn set_demand(&mut self, demand: Demand) {
        if demand != self.demand {
            self.demand = demand;
            self.silence = DecoderSilence::default();
            if demand != Demand::All {
                self.stream = None;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.stream.as_ref().is_none_or(Lent::has_room)
    }

    fn return_used_still(&mut self) {
        if self
            .still
            .as_ref()
            .is_some_and(|still| still.out.load(Ordering::Acquire))
        {
            self.still = None;
        }
    }

    fn discard_decoders(&mut self) {
        if let Some(lent) = self.stream.take() {
            lent.discard();
        }
        if let Some(still) = self.still.take() {
            still.lent.discard();
        }
    }
}

impl DecoderSilence {
    fn fed(&mut self, decoded: u64) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.decoded_then = decoded;
        }
    }

    fn lasts(&mut self, decoded: u64) -> Duration {
        if decoded != self.decoded_then {
            self.since = None;
        }
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

fn set_up_failure(error: &CaptureError) -> Failure {
    Failure::new(Reason::Connect, error.to_string())
}
