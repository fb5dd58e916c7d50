//! A decoder by itself: encoded pictures in, frames out. It belongs to no camera; it is lent to one at a time.
//! appsrc ! parse ! the element that [`super::choice`] has chosen ! videoconvert (passes through what is I420 already)
//! ! appsink.

use super::choice::{self, Candidate, Choice};
use super::receive::access_unit_caps;
use super::{element, picture, refused, require};
use crate::capture::arrivals::Arrivals;
use crate::capture::error::CaptureError;
use crate::capture::gop::{AccessUnit, Codec, UnitBytes};
use crate::frame::Frame;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use wire::{CameraId, RecordTime};

/// How a decoder is going to be fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// Every picture of one camera.
    Stream,
    /// Single key frames of many cameras: each is given out at once, whatever order the stream announces.
    Stills,
}

impl Feed {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Stills => "stills",
        }
    }
}

/// Pictures of a stream that may go in, one after the other, before one has to come out: what decoders keep back by the
/// standards, and as many again that were lost on the way.
const MOST_UNANSWERED: u64 = 50;

/// Encoded pictures that wait inside before `has_room` says no.
const MOST_WAITING: u64 = 4;

pub(crate) struct Decoder {
    pub(crate) codec: Codec,
    pub(crate) feed: Feed,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    shared: Arc<Shared>,
    verdict: Verdict,
}

/// What it is made of, and who hears how that does.
#[derive(Clone)]
struct Verdict {
    element: String,
    /// None while it is examined.
    choice: Option<Arc<Choice>>,
    /// One that breaks may say so many times.
    has_failed: Arc<AtomicBool>,
}

/// What comes out of a decoder, on its own thread.
pub(crate) type Deliver = Box<dyn FnMut(Result<Frame, String>) + Send>;

#[derive(Default)]
struct Shared {
    borrower: Mutex<Option<Borrower>>,
    /// Pictures that went in since one came out.
    unanswered: AtomicU64,
}

struct Borrower {
    camera: CameraId,
    deliver: Deliver,
    arrivals: Arrivals,
    /// Time stamp of the last picture that went in.
    last_pts: Option<Duration>,
}

impl Decoder {
    /// One made of the element that serves `camera` best here.
    pub(crate) fn new(codec: Codec, feed: Feed, camera: CameraId) -> Result<Self, CaptureError> {
        super::init()?;
        let choice = choice::of_process(codec, feed);
        Self::made_of(&choice.candidate(camera), codec, feed, Some(choice))
    }

    /// One made of this. `choice` hears how it does.
    pub(super) fn made_of(
        candidate: &Candidate,
        codec: Codec,
        feed: Feed,
        choice: Option<Arc<Choice>>,
    ) -> Result<Self, CaptureError> {
        let (caps, parse, software) = match codec {
            Codec::H264 => ("video/x-h264", "h264parse", "avdec_h264"),
            Codec::H265 => ("video/x-h265", "h265parse", "avdec_h265"),
        };
        let build = refused("decode");
        require("appsrc")?;
        require("appsink")?;
        if !candidate.hardware {
            require(software)?;
        }
        let source = gst_app::AppSrc::builder()
            .caps(&access_unit_caps(caps))
            .format(gst::Format::Time)
            .is_live(true)
            .build();
        source.set_max_bytes(0);
        let parse = element(parse)?.build().map_err(&build)?;
        let decode =
            gst::parse::bin_from_description(&candidate.launch, true).map_err(|error| {
                CaptureError::Pipeline {
                    what: "decode",
                    problem: error.to_string(),
                }
            })?;
        let convert = element("videoconvert")?.build().map_err(&build)?;
        let sink = gst_app::AppSink::builder()
            .caps(
                &gst::Caps::builder("video/x-raw")
                    .field("format", "I420")
                    .build(),
            )
            .sync(false)
            .build();
        picture::accept_padded_pictures(&sink);
        let chain = [
            source.upcast_ref(),
            &parse,
            decode.upcast_ref(),
            &convert,
            sink.upcast_ref(),
        ];
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(chain).map_err(&build)?;
        gst::Element::link_many(chain).map_err(&build)?;
        if feed == Feed::Stills {
            give_out_each_picture_at_once(&source);
        }

        let shared = Arc::new(Shared::default());
        let verdict = Verdict {
            element: candidate.element.clone(),
            choice,
            has_failed: Arc::default(),
        };
        hand_out(&sink, &shared, verdict.clone());
        report_errors(&pipeline, &shared, verdict.clone());
        Ok(Self {
            codec,
            feed,
            pipeline,
            source,
            shared,
            verdict,
        })
    }

    /// From here on everything that comes out is `camera`'s.
    pub(crate) fn lend_to(&self, camera: CameraId, deliver: Deliver) -> Result<(), CaptureError> {
        *self.shared.lock() = Some(Borrower {
            camera,
            deliver,
            arrivals: Arrivals::default(),
            last_pts: None,
        });
        self.pipeline
            .set_state(gst::State::Playing)
            .map(|_| ())
            .map_err(|error| CaptureError::Pipeline {
                what: "decode",
                problem: error.to_string(),
            })
    }

    /// Whether it may be lent to `camera`: what it is made of has not failed too often there, nor everywhere.
    pub(crate) fn serves(&self, camera: CameraId) -> bool {
        let choice = self.verdict.choice.as_ref();
        choice.is_none_or(|choice| choice.serves(&self.verdict.element, camera))
    }

    /// Who feeds it has waited in vain.
    pub(crate) fn was_silent(&self, problem: &str) {
        if let Some(borrower) = &*self.shared.lock() {
            self.verdict.bad(borrower.camera, problem);
        }
    }

    /// Forgets what is inside and frees its memory. One of stills that has nothing inside stays ready; with a picture
    /// inside, that picture would come out as the next borrower's.
    pub(crate) fn take_back(&self) {
        let holds_pictures = self.shared.unanswered.load(Ordering::Acquire) > 0;
        self.judge_silence();
        if self.feed == Feed::Stream || holds_pictures {
            let _ = self.pipeline.set_state(gst::State::Ready);
        }
        *self.shared.lock() = None;
    }

    /// Whether another picture should be pushed now. A caller that waits is woken by what comes out.
    pub(crate) fn has_room(&self) -> bool {
        self.source.current_level_buffers() < MOST_WAITING
    }

    /// Hands over a picture without copying it.
    pub(crate) fn push(&self, unit: &AccessUnit) {
        if let Some(pts) = self.shared.remember(unit.pts, unit.time) {
            self.push_buffer(SharedBytes(Arc::clone(&unit.bytes)), unit.key, pts);
        }
    }

    /// A picture that came from no camera.
    pub(super) fn push_bytes(&self, bytes: &'static [u8], key: bool, pts: Duration) {
        if let Some(pts) = self.shared.remember(Some(pts), RecordTime::BEGINNING) {
            self.push_buffer(bytes, key, pts);
        }
    }

    fn push_buffer(
        &self,
        bytes: impl AsRef<[u8]> + Send + 'static,
        key: bool,
        pts: gst::ClockTime,
    ) {
        let mut buffer = gst::Buffer::from_slice(bytes);
        {
            let buffer = buffer.get_mut().expect("nobody else knows this buffer yet");
            buffer.set_pts(pts);
            if !key {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.shared.unanswered.fetch_add(1, Ordering::AcqRel);
        // Refused only when the decoder failed, which its bus has told.
        let _ = self.source.push_buffer(buffer);
    }

    /// One that swallows everything and gives nothing reports no error.
    fn judge_silence(&self) {
        let unanswered = self.shared.unanswered.swap(0, Ordering::AcqRel);
        if unanswered >= MOST_UNANSWERED {
            self.was_silent(&format!("took {unanswered} pictures and gave none"));
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.judge_silence();
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({}, {:?})", self.verdict.element, self.feed)
    }
}

struct SharedBytes(UnitBytes);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Verdict {
    fn good(&self, camera: CameraId) {
        if let Some(choice) = &self.choice {
            choice.gave_picture(camera);
        }
    }

    /// Once in a decoder's life: whoever used it takes it apart.
    fn bad(&self, camera: CameraId, problem: &str) {
        if let Some(choice) = &self.choice
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            choice.failed(&self.element, camera, problem);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Borrower>> {
        self.borrower
            .lock()
            .expect("nothing panics while it delivers a frame")
    }

    /// Notes when a picture arrived under the time stamp it goes in with.
    fn remember(&self, pts: Option<Duration>, arrived: RecordTime) -> Option<gst::ClockTime> {
        let mut borrower = self.lock();
        let borrower = borrower.as_mut()?;
        let pts = pts.unwrap_or_else(|| {
            let step = Duration::from_millis(1);
            borrower.last_pts.map_or(Duration::ZERO, |last| last + step)
        });
        borrower.last_pts = Some(pts);
        borrower.arrivals.note(pts, arrived);
        gst::ClockTime::try_from(pts).ok()
    }
}

fn hand_out(sink: &gst_app::AppSink, shared: &Arc<Shared>, verdict: Verdict) {
    let shared = Arc::clone(shared);
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let mut borrower = shared.lock();
                shared.unanswered.store(0, Ordering::Release);
                let Some(borrower) = borrower.as_mut() else {
                    return Ok(gst::FlowSuccess::Ok);
                };
                let pts = sample.buffer().and_then(|buffer| buffer.pts());
                if let Some(time) = borrower.arrivals.take(pts.map(Duration::from)) {
                    let frame = picture::frame(&sample, borrower.camera, time);
                    match &frame {
                        Ok(_) => verdict.good(borrower.camera),
                        Err(problem) => verdict.bad(borrower.camera, problem),
                    }
                    (borrower.deliver)(frame.map_err(String::from));
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
}

fn report_errors(pipeline: &gst::Pipeline, shared: &Arc<Shared>, verdict: Verdict) {
    let bus = pipeline.bus().expect("every pipeline has a bus");
    let shared = Arc::clone(shared);
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            let problem = error.error().message().to_owned();
            if let Some(borrower) = shared.lock().as_mut() {
                verdict.bad(borrower.camera, &problem);
                (borrower.deliver)(Err(problem));
            }
        }
        gst::BusSyncReply::Drop
    });
}

/// Marks the segment as one of key frames only: decoders then hold nothing back.
fn give_out_each_picture_at_once(source: &gst_app::AppSrc) {
    let pad = source
        .static_pad("src")
        .expect("every appsrc has a source pad");
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let segment = info.event().and_then(|event| match event.view() {
            gst::EventView::Segment(segment) => Some(segment.segment().clone()),
            _ => None,
        });
        if let Some(mut segment) = segment {
            segment.set_flags(segment.flags() | gst::SegmentFlags::TRICKMODE_KEY_UNITS);
            info.data = Some(gst::PadProbeData::Event(gst::event::Segment::new(&segment)));
        }
        gst::PadProbeReturn::Ok
    });
}
