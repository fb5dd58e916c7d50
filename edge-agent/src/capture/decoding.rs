//! Has decoded what a camera's gate wishes, with borrowed decoders: key frames one by one through a shared one, or
//! everything through one of its own while it has its turn.
//!
//! What led up to a movement is decoded from memory, as fast as the machine can and as vision takes it: a glimpse that
//! was not taken yet holds decoding up, for a bounded time. Back in the present nothing waits, and what comes too late
//! is left out up to the next key frame, and counted. A picture that refers to others is decoded only if everything
//! since its key frame was.

use super::CaptureDeps;
use super::decoders::Lent;
use super::error::{CaptureError, Failure, Reason};
use super::eyes::{Eyes, Look, OLDEST_PAST, Seen};
use super::gate::Wish;
use super::gop::AccessUnit;
use super::gst::decode::Deliver;
use super::intake::Intake;
use super::lookout::{Attention, Glimpse, Lookout};
use super::status::StatusBoard;
use crate::frame::Frame;
use pace::Pace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stills::{Still, Untold};
use wire::CameraId;

mod pace;
mod stills;

/// How a picture that came out of a decoder is looked at.
type LookAt = fn(&Eyes, Frame, &Attention) -> Look;

pub(super) struct Decoding {
    camera: CameraId,
    deps: CaptureDeps,
    intake: Arc<Intake>,
    board: Arc<StatusBoard>,
    lookout: Arc<Lookout>,
    eyes: Arc<Eyes>,
    wish: Wish,
    /// The past that was wished for and is, or was, decoded.
    begun: Option<u64>,
    stream: Option<Stream>,
    /// A key frame that waits for a decoder.
    next_still: Option<AccessUnit>,
    still: Option<Still>,
    /// The last encoded key frame in which the camera saw what it ought to.
    good: Option<AccessUnit>,
    untold: Option<Untold>,
    /// A key frame in which something moves, until it is known whether what led up to it is shown.
    held_back: Option<Glimpse>,
    /// Decodes the picture from before that a change of sight is told with.
    before: Option<Still>,
    /// Newest unit that has arrived, and when.
    newest: Option<(u64, Duration)>,
    silence: DecoderSilence,
}

/// A decoder of everything, and where it is.
struct Stream {
    lent: Lent,
    /// The next unit that goes in, and the one since which nothing was left out.
    cursor: u64,
    whole_from: u64,
    /// Nothing went in yet.
    is_fresh: bool,
    chain: Chain,
    pace: Pace,
}

/// Whether the next unit can be decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// Everything since the key frame taken then went in.
    Whole(Duration),
    /// Something was left out because nobody wished for it; it may still be in the ring.
    Unwished,
    /// A unit is missing: only a key frame helps.
    Broken,
}

/// Since when nothing has come out of the decoder although something went in.
#[derive(Default)]
struct DecoderSilence {
    since: Option<Instant>,
    decoded_then: u64,
}

impl Decoding {
    pub(super) fn new(
        camera: CameraId,
        deps: CaptureDeps,
        intake: Arc<Intake>,
        board: Arc<StatusBoard>,
        lookout: Arc<Lookout>,
        eyes: Arc<Eyes>,
    ) -> Self {
        Self {
            camera,
            deps,
            intake,
            board,
            lookout,
            eyes,
            wish: Wish::Nothing,
            begun: None,
            stream: None,
            next_still: None,
            still: None,
            good: None,
            untold: None,
            held_back: None,
            before: None,
            newest: None,
            silence: DecoderSilence::default(),
        }
    }

    /// The next unit that could go into the decoder now.
    pub(super) fn wants(&self) -> Option<u64> {
        let stream = self.stream.as_ref()?;
        let may = stream.lent.has_room() && !stream.pace.is_held();
        may.then_some(stream.cursor)
    }

    /// A unit has arrived. A key frame is wanted by itself unless everything is decoded anyway.
    pub(super) fn arrived(&mut self, number: u64, unit: &AccessUnit) {
        self.newest = Some((number, unit.taken_at()));
        if !unit.key || self.wish == Wish::Nothing {
            return;
        }
        if self.wish != Wish::KeyFrames {
            self.board.turn(self.stream.is_some());
        }
        if self.stream.is_none() && self.next_still.replace(unit.clone()).is_some() {
            self.board.skipped(1);
        }
    }

    /// Something was seen in a decoded picture.
    pub(super) fn saw(&mut self, seen: Seen) {
        if let Some((change, after)) = seen.sight {
            self.tell_sight(change, after);
        }
        self.held_back = seen.held_back.or(self.held_back.take());
        if seen.is_good {
            self.good = self.intake.key_taken_by(seen.verdict.at);
        }
    }

    /// Does what can be done now for `wish`.
    pub(super) fn follow(&mut self, wish: Wish) -> Result<(), Failure> {
        self.wish = wish;
        self.return_used();
        if let Some(stream) = &mut self.stream
            && stream.pace.answered(self.lookout.is_taken())
        {
            self.eyes.is_live();
        }
        match wish {
            Wish::Nothing | Wish::KeyFrames => {
                self.begun = None;
                self.end_stream();
            }
            Wish::Openings(_) | Wish::Everything => self.begin_if_granted(None)?,
            Wish::From(from) => self.begin_if_granted(Some(from))?,
        }
        self.show_held_back();
        let reading = self.stream.as_ref().map(|stream| stream.cursor);
        self.intake.hold(reading);
        self.decode_still()?;
        self.decode_before()?;
        self.deps.decoders.tidy();
        self.judge_silence()
    }

    /// Unit `number` goes into the decoder, or is left out; `newest` is when the newest was taken.
    pub(super) fn feed(
        &mut self,
        number: u64,
        unit: &AccessUnit,
        newest: Duration,
    ) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let is_fresh = std::mem::take(&mut stream.is_fresh);
        if number > stream.cursor {
            // The ring has lost them.
            self.board.skipped(number - stream.cursor);
            stream.chain = Chain::Broken;
            stream.cursor = number;
        }
        if stream.lent.codec() != unit.format.codec {
            if !self.begin(number)? {
                self.leave_out(Chain::Broken);
            }
            return Ok(());
        }
        if unit.key && !is_fresh && !self.next_turn() {
            return Ok(());
        }
        let behind = newest.saturating_sub(unit.taken_at());
        if self.is_left_behind(number, behind) {
            return Ok(());
        }
        match (self.chain(), self.wish) {
            _ if unit.key => self.push(unit, behind),
            (Chain::Whole(key), Wish::Openings(span)) if unit.taken_at() >= key + span => {
                self.leave_out(Chain::Unwished);
            }
            (Chain::Whole(_), _) => self.push(unit, behind),
            (Chain::Unwished, Wish::Openings(_)) => self.leave_out(Chain::Unwished),
            (Chain::Unwished, _) => {
                if let Some(key) = self.intake.key_up_to(number) {
                    self.begin(key)?;
                } else {
                    self.leave_out(Chain::Broken);
                }
            }
            (Chain::Broken, _) => {
                self.board.skipped(1);
                self.leave_out(Chain::Broken);
            }
        }
        Ok(())
    }

    /// Takes everything apart: a decoder may be in any state.
    pub(super) fn discard(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.lent.discard();
        }
        for still in [self.still.take(), self.before.take()]
            .into_iter()
            .flatten()
        {
            still.lent.discard();
        }
    }

    /// Begins to decode everything, or once more from further back, if the camera has or gets its turn.
    fn begin_if_granted(&mut self, from: Option<u64>) -> Result<(), Failure> {
        let is_new = from.is_some() && from != self.begun;
        let Some((newest, newest_at)) = self.newest else {
            return Ok(());
        };
        match (&self.stream, from) {
            (Some(_), _) if !is_new => return Ok(()),
            (Some(stream), Some(from)) if stream.has_decoded_since(from) => {
                self.begun = Some(from);
                return Ok(());
            }
            _ => {}
        }
        let last_key = self.intake.key_up_to(newest);
        let past = from.filter(|_| is_new);
        let begin = past.filter(|from| {
            let unit = self.intake.unit(*from);
            unit.is_some_and(|unit| unit.taken_at() + OLDEST_PAST >= newest_at)
        });
        let Some(begin) = begin.or(last_key) else {
            return Ok(());
        };
        if self.stream.is_none() && !self.ask() {
            return Ok(());
        }
        if self.begin(begin)? {
            self.begun = from;
        }
        Ok(())
    }

    /// Unless it comes again, behind what led up to it.
    fn show_held_back(&mut self) {
        let gives_up_past = |glimpse: &Glimpse| {
            let at = Duration::from_nanos(glimpse.frame.time.boottime_ns);
            self.eyes.gives_up_past(at)
        };
        if let Some(glimpse) = self.held_back.take().filter(gives_up_past) {
            self.lookout.show(glimpse);
        }
    }

    /// Decodes from key frame `number` on; `false` if it is gone.
    fn begin(&mut self, number: u64) -> Result<bool, Failure> {
        let Some(key) = self.intake.unit(number).filter(|unit| unit.key) else {
            return Ok(false);
        };
        // What is still inside of a decoder is decoded anew.
        (self.stream, self.still, self.next_still) = (None, None, None);
        self.silence = DecoderSilence::default();
        let newest = self.newest.map_or(key.taken_at(), |(_, at)| at);
        let pace = Pace::beginning(newest.saturating_sub(key.taken_at()));
        self.eyes.begin_at(key.taken_at(), pace.is_replay());
        let lent = self
            .deps
            .decoders
            .lend_stream(
                key.format.codec,
                self.camera,
                self.deliver(Arc::default(), Eyes::look),
            )
            .map_err(cannot_decode)?;
        self.stream = Some(Stream {
            lent,
            cursor: number,
            whole_from: number,
            is_fresh: true,
            chain: Chain::Unwished,
            pace,
        });
        Ok(true)
    }

    fn chain(&self) -> Chain {
        self.stream
            .as_ref()
            .map_or(Chain::Broken, |stream| stream.chain)
    }

    fn push(&mut self, unit: &AccessUnit, behind: Duration) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if unit.key {
            if !matches!(stream.chain, Chain::Whole(_)) {
                stream.whole_from = stream.cursor;
            }
            stream.chain = Chain::Whole(unit.taken_at());
            self.eyes.expect_key(unit.taken_at());
        }
        // Before it goes in: it may come out at once.
        self.silence.fed(self.board.frames_decoded());
        stream.lent.push(unit);
        stream.cursor += 1;
        if !stream.pace.is_live() {
            self.board.caught_up();
        }
        if stream.pace.reached(behind, self.lookout.is_taken()) {
            self.eyes.is_live_after(unit.taken_at());
        }
    }

    fn leave_out(&mut self, chain: Chain) {
        if let Some(stream) = &mut self.stream {
            stream.chain = chain;
            stream.cursor += 1;
        }
    }

    /// Whether decoding is too late for this unit, and goes on at a later key frame.
    fn is_left_behind(&mut self, number: u64, behind: Duration) -> bool {
        let (Some(stream), Some((newest, _))) = (&mut self.stream, self.newest) else {
            return false;
        };
        if !stream.pace.is_too_late(behind) {
            return false;
        }
        if stream.pace.is_live() {
            let now = self.deps.time.clocks().boottime();
            self.deps.decoders.turns().late(now);
        }
        match self.intake.key_up_to(newest).filter(|key| *key > number) {
            Some(key) => {
                self.board.skipped(key - number);
                stream.cursor = key;
                stream.chain = Chain::Broken;
                stream.pace.hurry(behind);
                self.eyes.is_live();
                true
            }
            None => false,
        }
    }

    /// Whether the camera may decode the group that begins now; otherwise it goes on with key frames alone.
    fn next_turn(&mut self) -> bool {
        if self.ask() {
            return true;
        }
        self.stream = None;
        self.next_still = self.newest.and_then(|(newest, _)| {
            let key = self.intake.key_up_to(newest)?;
            self.intake.unit(key)
        });
        false
    }

    fn ask(&self) -> bool {
        let now = self.deps.time.clocks().boottime();
        self.deps.decoders.turns().ask(self.camera, now)
    }

    fn end_stream(&mut self) {
        if self.stream.take().is_some() {
            self.silence = DecoderSilence::default();
        }
        self.deps.decoders.turns().leave(self.camera);
    }

    /// What a decoder does with a picture of this camera, on the decoder's thread.
    fn deliver(&self, out: Arc<AtomicBool>, look: LookAt) -> Deliver {
        let (lookout, board) = (Arc::clone(&self.lookout), Arc::clone(&self.board));
        let (intake, time) = (Arc::clone(&self.intake), self.deps.time.clone());
        let eyes = Arc::clone(&self.eyes);
        Box::new(move |result| {
            out.store(true, Ordering::Release);
            match result {
                Ok(frame) => {
                    board.decoded(time.clocks().boottime());
                    let look = look(&eyes, frame, &lookout.attention());
                    match look.show {
                        Some(glimpse) if look.catching_up => lookout.show_next(glimpse),
                        Some(glimpse) => lookout.show(glimpse),
                        None => {}
                    }
                    match look.seen {
                        Some(seen) => intake.saw(seen),
                        None => intake.ring_bell(),
                    }
                }
                Err(problem) => intake.end(Failure::new(Reason::Decode, problem)),
            }
        })
    }

    /// A decoder that swallows everything and gives nothing is a broken stream.
    fn judge_silence(&mut self) -> Result<(), Failure> {
        let silent = self.silence.lasts(self.board.frames_decoded());
        if silent < self.deps.policy.silence {
            return Ok(());
        }
        let detail = format!("no picture came out of it for {} s", silent.as_secs());
        let stream = self.stream.as_ref().map(|stream| &stream.lent);
        if let Some(lent) = stream.or(self.still.as_ref().map(|still| &still.lent)) {
            lent.was_silent(&detail);
        }
        Err(Failure::new(Reason::Decode, detail))
    }
}

impl Stream {
    /// Everything since unit `from` went in, as far as it has arrived.
    fn has_decoded_since(&self, from: u64) -> bool {
        matches!(self.chain, Chain::Whole(_)) && self.whole_from <= from && from < self.cursor
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.intake.hold(None);
        self.deps.decoders.turns().leave(self.camera);
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

fn cannot_decode(error: CaptureError) -> Failure {
    Failure::new(Reason::Decode, error.to_string())
}
