//! From a camera's RTSP address to encoded pictures. One pipeline per camera and attempt:
//! rtspsrc ! depay ! parse ! appsink of access units (byte-stream, parameter sets before every key frame).

use super::{element, refused, require};
use crate::capture::address::Address;
use crate::capture::error::{CaptureError, Failure, Reason};
use crate::capture::gop::{AccessUnit, Codec, StreamFormat};
use crate::capture::intake::Intake;
use crate::clock::TimeSource;
use crate::config::{CameraConfig, Transport};
use gio::prelude::TlsBackendExt;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Reordering time of RTP packets: TCP keeps their order by itself.
const UDP_LATENCY_MS: u32 = 200;

/// A running receive pipeline. Dropping it tears everything down and waits for its threads.
#[derive(Debug)]
pub(crate) struct Receiver {
    pipeline: gst::Pipeline,
}

/// What GStreamer's threads found out, so that an error can be told by its cause.
#[derive(Debug, Default)]
struct Clues {
    video_accepted: AtomicBool,
    certificate_refused: AtomicBool,
    connection_lost: AtomicBool,
    /// Encodings of video that the camera offered and we cannot decode.
    undecodable: Mutex<Vec<String>>,
}

/// All that GStreamer's threads need.
#[derive(Debug)]
struct Shared {
    intake: Arc<Intake>,
    time: TimeSource,
    address: Address,
    clues: Clues,
}

impl Receiver {
    /// Starts connecting; everything else reaches `intake`.
    pub(crate) fn start(
        config: &CameraConfig,
        address: &Address,
        connect_within: Duration,
        time: &TimeSource,
        intake: &Arc<Intake>,
    ) -> Result<Self, CaptureError> {
        let shared = Arc::new(Shared {
            intake: Arc::clone(intake),
            time: time.clone(),
            address: address.clone(),
            clues: Clues::default(),
        });
        let pipeline = gst::Pipeline::new();
        let source = source(config, address, connect_within)?;
        pipeline.add(&source).map_err(refused("receive"))?;
        choose_video(&source, &shared);
        attach_video(&source, &pipeline, &shared)?;
        watch_bus(&pipeline, &shared);
        let receiver = Self { pipeline };
        // A failure is on the bus as well, with its cause.
        let _ = receiver.pipeline.set_state(gst::State::Playing);
        Ok(receiver)
    }
}

/// Whether RTSPS is possible and the camera's CA file, if it has one, holds certificates: told at the start.
pub(crate) fn check_trust(config: &CameraConfig, address: &Address) -> Result<(), CaptureError> {
    if address.tls && !gio::TlsBackend::default().supports_tls() {
        return Err(CaptureError::MissingElement {
            element: "TLS for RTSPS",
            package: "glib-networking",
        });
    }
    match &config.ca_file {
        Some(path) if address.tls => trust(&config.name, path).map(|_| ()),
        _ => Ok(()),
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

fn source(
    config: &CameraConfig,
    address: &Address,
    connect_within: Duration,
) -> Result<gst::Element, CaptureError> {
    let (protocols, latency_ms) = match config.transport {
        Transport::Tcp => ("tcp", 0),
        Transport::Udp => ("udp", UDP_LATENCY_MS),
    };
    let connect_us = u64::try_from(connect_within.as_micros()).unwrap_or(u64::MAX);
    let mut builder = element("rtspsrc")?
        .property("location", address.location())
        .property_from_str("protocols", protocols)
        .property("latency", latency_ms)
        .property("drop-on-latency", config.transport == Transport::Udp)
        .property("tcp-timeout", connect_us)
        // The camera's own thread watches for silence, whatever the transport.
        .property("timeout", 0_u64)
        .property("user-agent", "edge-agent");
    if let Some(login) = &address.login {
        builder = builder
            .property("user-id", &login.user)
            .property("user-pw", login.password.expose());
    }
    if let (true, Some(path)) = (address.tls, &config.ca_file) {
        builder = builder.property("tls-database", trust(&config.name, path)?);
    }
    builder.build().map_err(refused("receive"))
}

/// The certificates a camera's own may be signed with; without a file, those of the system.
fn trust(camera: &str, path: &Path) -> Result<gio::TlsDatabase, CaptureError> {
    let refuse = |problem: String| CaptureError::CaFile {
        camera: camera.into(),
        path: path.to_owned(),
        problem,
    };
    let absolute = std::path::absolute(path).map_err(|error| refuse(error.to_string()))?;
    gio::TlsFileDatabase::new(absolute)
        .map(|database| database.upcast())
        .map_err(|error| refuse(error.message().to_owned()))
}

/// Only the first video track that we can decode is asked of the camera: neither sound nor metadata.
fn choose_video(source: &gst::Element, shared: &Arc<Shared>) {
    let chooser = Arc::clone(shared);
    source.connect("select-stream", false, move |values| {
        let caps = values
            .get(2)
            .and_then(|value| value.get::<gst::Caps>().ok());
        let accepted = caps.is_some_and(|caps| chooser.accepts(&caps));
        Some(accepted.to_value())
    });
    let refuser = Arc::clone(shared);
    source.connect("accept-certificate", false, move |_| {
        refuser
            .clues
            .certificate_refused
            .store(true, Ordering::Release);
        Some(false.to_value())
    });
}

fn attach_video(
    source: &gst::Element,
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
) -> Result<(), CaptureError> {
    for name in [
        "rtph264depay",
        "rtph265depay",
        "h264parse",
        "h265parse",
        "appsink",
    ] {
        require(name)?;
    }
    let (pipeline, shared) = (pipeline.downgrade(), Arc::clone(shared));
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = pipeline.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(codec) = rtp_codec(&caps) else {
            return;
        };
        if attach(&pipeline, pad, codec, &shared).is_err() {
            let detail = "the receive pipeline could not be completed";
            shared.intake.end(Failure::new(Reason::Decode, detail));
        }
    });
    Ok(())
}

fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    codec: Codec,
    shared: &Arc<Shared>,
) -> Result<(), gst::glib::BoolError> {
    let (depay, parse, name) = match codec {
        Codec::H264 => ("rtph264depay", "h264parse", "video/x-h264"),
        Codec::H265 => ("rtph265depay", "h265parse", "video/x-h265"),
    };
    let depay = gst::ElementFactory::make(depay).build()?;
    // Whole pictures already here, so that nothing behind waits for the next one to know where this one ends.
    let whole = gst::ElementFactory::make("capsfilter")
        .property("caps", access_unit_caps(name))
        .build()?;
    let parse = gst::ElementFactory::make(parse)
        .property("config-interval", -1)
        .build()?;
    let sink = gst_app::AppSink::builder()
        .caps(&access_unit_caps(name))
        .sync(false)
        .build();
    collect(&sink, codec, shared);
    let chain = [&depay, &whole, &parse, sink.upcast_ref()];
    pipeline.add_many(chain)?;
    gst::Element::link_many(chain)?;
    for element in chain {
        element.sync_state_with_parent()?;
    }
    let target = depay
        .static_pad("sink")
        .expect("depayloaders have a sink pad");
    pad.link(&target)
        .map_err(|_| gst::glib::bool_error!("the camera's pad does not link"))?;
    Ok(())
}

/// The callback does three things: it stamps the time, keeps the unit, and rings the bell.
fn collect(sink: &gst_app::AppSink, codec: Codec, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let mut known: Option<(gst::Caps, StreamFormat)> = None;
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let time = shared.time.now();
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let format = format_of(&sample, codec, &mut known);
                if let Some(unit) = access_unit(&sample, time, format) {
                    shared.intake.push(unit);
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
}

fn access_unit(
    sample: &gst::Sample,
    time: wire::RecordTime,
    format: StreamFormat,
) -> Option<AccessUnit> {
    let buffer = sample.buffer_owned()?;
    let pts = buffer.pts().map(Duration::from);
    let alone = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let bytes = buffer.into_mapped_buffer_readable().ok()?;
    let key = alone && format.codec.begins(&bytes);
    Some(AccessUnit {
        time,
        pts,
        key,
        format,
        bytes: Arc::new(bytes),
    })
}

/// Caps are compared before they are read: they change once a run, if at all.
fn format_of(
    sample: &gst::Sample,
    codec: Codec,
    known: &mut Option<(gst::Caps, StreamFormat)>,
) -> StreamFormat {
    let caps = sample.caps();
    match (&known, caps) {
        (Some((same, format)), Some(caps)) if same.as_ptr() == caps.as_mut_ptr() => *format,
        _ => {
            let side = |name| {
                caps.and_then(|caps| caps.structure(0)?.get::<i32>(name).ok())
                    .and_then(|pixels| u32::try_from(pixels).ok())
                    .unwrap_or(0)
            };
            let format = StreamFormat {
                codec,
                width: side("width"),
                height: side("height"),
            };
            *known = caps.map(|caps| (caps.to_owned(), format));
            format
        }
    }
}

pub(super) fn access_unit_caps(name: &str) -> gst::Caps {
    gst::Caps::builder(name)
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .build()
}

fn rtp_codec(caps: &gst::Caps) -> Option<Codec> {
    match caps.structure(0)?.get::<&str>("encoding-name").ok()? {
        "H264" => Some(Codec::H264),
        "H265" => Some(Codec::H265),
        _ => None,
    }
}

/// Messages are judged on the thread that sends them, and none is kept: a queue of them would grow.
fn watch_bus(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let bus = pipeline.bus().expect("every pipeline has a bus");
    let shared = Arc::clone(shared);
    bus.set_sync_handler(move |_, message| {
        use gst::MessageView;
        match message.view() {
            MessageView::Error(error) => shared.intake.end(shared.failure(error)),
            MessageView::Eos(_) => shared.intake.end(shared.end_of_stream()),
            MessageView::Warning(warning) => shared.heed(&warning.error()),
            MessageView::Progress(progress) => {
                let (kind, code, _) = progress.get();
                if kind == gst::ProgressType::Complete && code == "open" {
                    shared.intake.playing();
                }
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

impl Shared {
    fn accepts(&self, caps: &gst::Caps) -> bool {
        let Some(structure) = caps.structure(0) else {
            return false;
        };
        if structure.get::<&str>("media").ok() != Some("video") {
            return false;
        }
        if rtp_codec(caps).is_some() {
            return !self.clues.video_accepted.swap(true, Ordering::AcqRel);
        }
        let name = structure.get::<String>("encoding-name").unwrap_or_default();
        self.undecodable().push(name);
        false
    }

    fn undecodable(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.clues
            .undecodable
            .lock()
            .expect("a list of names cannot be left half changed")
    }

    fn heed(&self, warning: &gst::glib::Error) {
        if warning.matches(gst::ResourceError::Read) {
            self.clues.connection_lost.store(true, Ordering::Release);
        }
    }

    /// A closed connection looks like the end of the stream, but for a warning before it.
    fn end_of_stream(&self) -> Failure {
        if self.clues.connection_lost.load(Ordering::Acquire) {
            Failure::new(Reason::Connect, "the camera closed the connection")
        } else {
            Failure::new(Reason::Eos, "")
        }
    }

    fn failure(&self, message: &gst::message::Error) -> Failure {
        let error = message.error();
        let status: Option<u32> = message
            .details()
            .and_then(|details| details.get("rtsp-status-code").ok());
        let unauthorized =
            matches!(status, Some(401 | 403)) || error.matches(gst::ResourceError::NotAuthorized);
        if unauthorized {
            return Failure::new(Reason::Auth, format!("refused by {}", self.address));
        }
        if self.clues.certificate_refused.load(Ordering::Acquire) {
            let detail = format!(
                "the certificate of {} is not signed by the configured CA or is for another host",
                self.address
            );
            return Failure::new(Reason::Connect, detail);
        }
        let offered = self.undecodable().join(", ");
        if !offered.is_empty() && !self.clues.video_accepted.load(Ordering::Acquire) {
            let detail = format!("the camera offers {offered}; set it to H.264 or H.265");
            return Failure::new(Reason::Decode, detail);
        }
        let said = self.address.redact(error.message());
        let detail = match status {
            Some(404) => format!(
                "{} has no stream of that name; check the path in its url",
                self.address
            ),
            Some(status) => format!("{} answers {status}: {said}", self.address),
            // GStreamer says "could not open resource" to a name that does not exist as to a cable that is out.
            None if error.matches(gst::ResourceError::OpenReadWrite) => format!(
                "{} is not reachable; check address, cable and power",
                self.address
            ),
            None => format!("{}: {said}", self.address),
        };
        let of_stream = error.kind::<gst::StreamError>().is_some();
        Failure::new(
            if of_stream {
                Reason::Decode
            } else {
                Reason::Connect
            },
            detail,
        )
    }
}
