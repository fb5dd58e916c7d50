//! Decodes a video file picture by picture, in order, losing none: the reader sets the pace.

use super::{element, picture, refused, require};
use crate::capture::error::CaptureError;
use crate::frame::Frame;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wire::{CameraId, RecordTime};

/// How often a waiting reader looks whether the decoder failed.
const LOOK_FOR_ERRORS: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Decoded pictures ahead of the reader; when there are so many, the decoder waits.
const PICTURES_AHEAD: u32 = 4;

#[derive(Debug)]
pub struct FileDecoder {
    path: PathBuf,
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    has_video: Arc<AtomicBool>,
    /// Time of the picture before, for files that do not time every one.
    last: Option<Duration>,
}

/// One picture of a file, not yet anybody's frame.
#[derive(Debug)]
pub struct FilePicture {
    sample: gst::Sample,
    /// From the beginning of the file.
    pub at: Duration,
}

impl FilePicture {
    pub fn into_frame(self, camera: CameraId, time: RecordTime) -> Result<Frame, &'static str> {
        picture::frame(&self.sample, camera, time)
    }
}

impl FileDecoder {
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let location = path
            .to_str()
            .ok_or_else(|| file_error(path, "its name is not UTF-8"))?;
        if !path.is_file() {
            return Err(file_error(path, "there is no such file"));
        }
        let build = refused("file");
        let source = element("filesrc")?
            .property("location", location)
            .build()
            .map_err(&build)?;
        let decoder = element("decodebin")?
            .property("force-sw-decoders", true)
            .build()
            .map_err(&build)?;
        let convert = element("videoconvert")?.build().map_err(&build)?;
        require("appsink")?;
        let sink = gst_app::AppSink::builder()
            .caps(
                &gst::Caps::builder("video/x-raw")
                    .field("format", "I420")
                    .build(),
            )
            .sync(false)
            .max_buffers(PICTURES_AHEAD)
            .build();
        picture::accept_padded_pictures(&sink);

        let pipeline = gst::Pipeline::new();
        pipeline
            .add_many([&source, &decoder, &convert, sink.upcast_ref()])
            .map_err(&build)?;
        source.link(&decoder).map_err(&build)?;
        convert.link(&sink).map_err(&build)?;
        let has_video = Arc::new(AtomicBool::new(false));
        link_first_video(&decoder, &convert, &has_video);
        let decoder = Self {
            path: path.to_owned(),
            pipeline,
            sink,
            has_video,
            last: None,
        };
        decoder
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| decoder.failure())?;
        Ok(decoder)
    }

    /// The next picture; `None` at the end of the file.
    pub fn next_picture(&mut self) -> Result<Option<FilePicture>, CaptureError> {
        loop {
            if let Some(sample) = self.sink.try_pull_sample(LOOK_FOR_ERRORS) {
                let at = self.time_of(&sample);
                self.last = Some(at);
                return Ok(Some(FilePicture { sample, at }));
            }
            let bus = self.pipeline.bus().expect("every pipeline has a bus");
            if bus
                .peek()
                .is_some_and(|message| message.type_() == gst::MessageType::Error)
                || !self.sink.is_eos() && self.ended_without_video()
            {
                return Err(self.failure());
            }
            if self.sink.is_eos() {
                return Ok(None);
            }
            bus.pop();
        }
    }

    fn time_of(&self, sample: &gst::Sample) -> Duration {
        let buffer = sample.buffer();
        let running = buffer.and_then(|buffer| buffer.pts()).and_then(|pts| {
            sample
                .segment()
                .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
                .and_then(|segment| segment.to_running_time(pts))
        });
        match (running, self.last) {
            (Some(time), _) => time.into(),
            (None, Some(last)) => {
                last + buffer
                    .and_then(|buffer| buffer.duration())
                    .map_or(Duration::from_millis(1), Duration::from)
            }
            (None, None) => Duration::ZERO,
        }
    }

    /// Everything was found out about the file and there is nothing to see in it.
    fn ended_without_video(&self) -> bool {
        !self.has_video.load(Ordering::Acquire)
            && self.pipeline.current_state() == gst::State::Playing
    }

    fn failure(&self) -> CaptureError {
        let bus = self.pipeline.bus().expect("every pipeline has a bus");
        let problem = bus
            .pop_filtered(&[gst::MessageType::Error])
            .and_then(|message| match message.view() {
                gst::MessageView::Error(error) => Some(error.error().to_string()),
                _ => None,
            })
            .unwrap_or_else(|| "there is no video in it".into());
        file_error(&self.path, problem)
    }
}

impl Drop for FileDecoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn link_first_video(decoder: &gst::Element, convert: &gst::Element, linked: &Arc<AtomicBool>) {
    let (convert, linked) = (convert.downgrade(), Arc::clone(linked));
    decoder.connect_pad_added(move |_, pad| {
        let is_video = pad
            .current_caps()
            .and_then(|caps| {
                caps.structure(0)
                    .map(|s| s.name().starts_with("video/x-raw"))
            })
            .unwrap_or(false);
        let Some(target) = convert
            .upgrade()
            .and_then(|convert| convert.static_pad("sink"))
        else {
            return;
        };
        if is_video && !target.is_linked() && pad.link(&target).is_ok() {
            linked.store(true, Ordering::Release);
        }
    });
}

fn file_error(path: &Path, problem: impl Into<String>) -> CaptureError {
    CaptureError::File {
        path: path.to_owned(),
        problem: problem.into(),
    }
}
