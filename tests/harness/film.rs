//! A film that is encoded once and then only played: four cameras in a loop cost hardly more than one. One that is
//! encoded already is played as it is.
//!
//! The encoder runs as fast as it can in the background and players may start at once: they wait for the frames
//! that are not there yet. The first frame is a key frame and nothing refers across one, so that the end joins
//! the beginning.

use anyhow::{Context, Result, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

impl FromStr for Codec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "h264" => Ok(Self::H264),
            "h265" => Ok(Self::H265),
            _ => bail!("\"{text}\" is no codec; use h264 or h265"),
        }
    }
}

/// How a film is to be encoded.
#[derive(Clone, Debug)]
pub struct FilmOptions {
    pub file: PathBuf,
    pub codec: Codec,
    /// Width and height; by default the file's own.
    pub size: Option<(u32, u32)>,
    /// Frames a second; by default the file's own.
    pub fps: Option<u32>,
    pub gop_seconds: f32,
    /// Constant bit rate; by default constant quality.
    pub bitrate_kbit: Option<u32>,
    /// Only the first so many frames of the file.
    pub frames: Option<usize>,
    /// The file (Matroska) holds what is to be played, in `codec`; of all above, `frames` alone still counts.
    pub as_encoded: bool,
}

impl FilmOptions {
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            codec: Codec::H264,
            size: None,
            fps: None,
            gop_seconds: 2.0,
            bitrate_kbit: None,
            frames: None,
            as_encoded: false,
        }
    }
}

/// Writes a film of moving shapes, 320x240, 15 frames a second: for tests that need any film at all.
pub fn write_test_card(path: &Path, frames: u32) -> Result<()> {
    gst::init()?;
    let description = format!(
        "videotestsrc num-buffers={frames} pattern=smpte75 horizontal-speed=2 ! \
         video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! \
         x264enc speed-preset=superfast ! matroskamux ! filesink name=file"
    );
    let pipeline = gst::parse::launch(&description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("several elements make a pipeline"))?;
    let file = pipeline.by_name("file").context("the line names a file")?;
    file.set_property("location", path_text(path)?);
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().expect("every pipeline has a bus");
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    pipeline.set_state(gst::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => bail!("no test card: {}", error.error()),
        _ => bail!("no test card within a minute"),
    }
}

/// One encoded frame (access unit, byte-stream); its bytes are shared, not copied, by all who play it.
#[derive(Clone, Debug)]
pub struct Unit {
    pub buffer: gst::Buffer,
    pub key: bool,
}

/// An encoded film, possibly still growing.
pub struct Film {
    pub codec: Codec,
    shared: Arc<Shared>,
    encoder: gst::Pipeline,
}

#[derive(Default)]
struct Shared {
    reel: Mutex<Reel>,
    grown: Condvar,
}

#[derive(Default)]
struct Reel {
    units: Vec<Unit>,
    frame_duration: Option<Duration>,
    end: Option<Result<(), String>>,
}

impl Film {
    /// Starts encoding; returns as soon as the first frame is there.
    pub fn encode(options: &FilmOptions) -> Result<Arc<Self>> {
        gst::init()?;
        if !options.file.is_file() {
            bail!("no film at {}", options.file.display());
        }
        let shared = Arc::new(Shared::default());
        let pipeline = match options.as_encoded {
            true => reading_pipeline,
            false => encoding_pipeline,
        };
        let encoder = pipeline(options, &shared)
            .with_context(|| format!("cannot encode {}", options.file.display()))?;
        encoder.set_state(gst::State::Playing)?;
        let film = Arc::new(Self {
            codec: options.codec,
            shared,
            encoder,
        });
        film.unit(0)
            .with_context(|| format!("cannot encode {}", options.file.display()))?
            .with_context(|| format!("{} has no pictures", options.file.display()))?;
        Ok(film)
    }

    /// Frame `index`, waiting until it is encoded; `None` past the end of the film.
    pub fn unit(&self, index: usize) -> Result<Option<Unit>> {
        let reel = self
            .shared
            .grown
            .wait_while(self.lock(), |reel| {
                reel.units.len() <= index && reel.end.is_none()
            })
            .expect("no one panics holding the reel");
        match (reel.units.get(index), &reel.end) {
            (Some(unit), _) => Ok(Some(unit.clone())),
            (None, Some(Err(error))) => bail!("the encoder failed: {error}"),
            (None, _) => Ok(None),
        }
    }

    /// Number of frames, once the whole film is encoded.
    pub fn len_when_complete(&self) -> Option<usize> {
        let reel = self.lock();
        reel.end.is_some().then_some(reel.units.len())
    }

    /// Waits for the whole film and returns its number of frames.
    pub fn wait_complete(&self) -> usize {
        self.shared
            .grown
            .wait_while(self.lock(), |reel| reel.end.is_none())
            .expect("no one panics holding the reel")
            .units
            .len()
    }

    /// The last key frame not after `index`, of those that are encoded already.
    pub fn key_at_or_before(&self, index: usize) -> usize {
        let reel = self.lock();
        let end = (index + 1).min(reel.units.len());
        reel.units[..end]
            .iter()
            .rposition(|unit| unit.key)
            .unwrap_or(0)
    }

    /// From one frame to the next.
    pub fn frame_duration(&self) -> Duration {
        self.lock()
            .frame_duration
            .unwrap_or(Duration::from_millis(100))
    }

    fn lock(&self) -> MutexGuard<'_, Reel> {
        self.shared
            .reel
            .lock()
            .expect("no one panics holding the reel")
    }
}

impl Drop for Film {
    fn drop(&mut self) {
        let _ = self.encoder.set_state(gst::State::Null);
    }
}

impl fmt::Debug for Film {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Film({:?}, {} frames)",
            self.codec,
            self.lock().units.len()
        )
    }
}

/// What the file holds, taken out of its container and cut into access units.
fn reading_pipeline(options: &FilmOptions, shared: &Arc<Shared>) -> Result<gst::Pipeline> {
    let codec = match options.codec {
        Codec::H264 => "h264",
        Codec::H265 => "h265",
    };
    let description = format!(
        "filesrc name=file ! matroskademux ! {codec}parse ! \
         video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
    );
    let pipeline = gst::parse::launch(&description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("several elements make a pipeline"))?;
    let file = pipeline.by_name("file").context("the line names a file")?;
    file.set_property("location", path_text(&options.file)?);
    collect_units(&named_sink(&pipeline)?, options.frames, shared);
    report_errors(&pipeline, shared);
    Ok(pipeline)
}

/// filesrc ! decodebin, and behind it, once it is known what the film is, rate, size, encoder and appsink.
fn encoding_pipeline(options: &FilmOptions, shared: &Arc<Shared>) -> Result<gst::Pipeline> {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc")
        .property("location", path_text(&options.file)?)
        .build()?;
    let decoder = gst::ElementFactory::make("decodebin").build()?;
    pipeline.add_many([&source, &decoder])?;
    source.link(&decoder)?;

    let weak = pipeline.downgrade();
    let (options, tail_shared) = (options.clone(), Arc::clone(shared));
    decoder.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        if let Err(error) = attach_encoder(&pipeline, pad, &options, &tail_shared) {
            finish(&tail_shared, Err(error.to_string()));
        }
    });

    report_errors(&pipeline, shared);
    Ok(pipeline)
}

fn report_errors(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let bus = pipeline.bus().expect("every pipeline has a bus");
    let shared = Arc::clone(shared);
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            finish(&shared, Err(error.error().to_string()));
        }
        gst::BusSyncReply::Drop
    });
}

fn named_sink(bin: &impl IsA<gst::Bin>) -> Result<gst_app::AppSink> {
    bin.by_name("sink")
        .and_then(|sink| sink.downcast::<gst_app::AppSink>().ok())
        .context("the description names an appsink")
}

fn attach_encoder(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    options: &FilmOptions,
    shared: &Arc<Shared>,
) -> Result<()> {
    let caps = pad.current_caps().context("a decoded pad has caps")?;
    let structure = caps.structure(0).context("caps have a structure")?;
    if !structure.name().starts_with("video/x-raw") {
        return Ok(());
    }
    let own_rate = structure
        .get::<gst::Fraction>("framerate")
        .ok()
        .filter(|rate| rate.numer() > 0)
        .unwrap_or(gst::Fraction::new(25, 1));
    let rate = options
        .fps
        .map_or(own_rate, |fps| gst::Fraction::new(fps.cast_signed(), 1));
    let description = encoder_description(options, rate);
    let tail = gst::parse::bin_from_description(&description, true)?;
    collect_units(&named_sink(&tail)?, options.frames, shared);
    pipeline.add(&tail)?;
    tail.sync_state_with_parent()?;
    pad.link(&tail.static_pad("sink").context("the bin has a sink pad")?)?;
    Ok(())
}

fn encoder_description(options: &FilmOptions, rate: gst::Fraction) -> String {
    let frames_per_gop = (f64::from(rate.numer()) / f64::from(rate.denom())
        * f64::from(options.gop_seconds))
    .round()
    .max(1.0);
    let size = options.size.map_or(String::new(), |(width, height)| {
        format!(",width={width},height={height},pixel-aspect-ratio=1/1")
    });
    let raw = format!(
        "videorate ! videoscale add-borders=true ! videoconvert ! \
         video/x-raw,format=I420,framerate={}/{}{size}",
        rate.numer(),
        rate.denom()
    );
    let encoder = match (options.codec, options.bitrate_kbit) {
        (Codec::H264, None) => format!(
            "x264enc tune=zerolatency speed-preset=superfast pass=qual quantizer=23 option-string=sliced-threads=0 key-int-max={frames_per_gop} ! h264parse ! video/x-h264"
        ),
        (Codec::H264, Some(kbit)) => format!(
            "x264enc tune=zerolatency speed-preset=superfast bitrate={kbit} option-string=sliced-threads=0 key-int-max={frames_per_gop} ! h264parse ! video/x-h264"
        ),
        (Codec::H265, None) => format!(
            "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={frames_per_gop} option-string=crf=25:open-gop=0:log-level=none ! h265parse ! video/x-h265"
        ),
        (Codec::H265, Some(kbit)) => format!(
            "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbit} key-int-max={frames_per_gop} option-string=open-gop=0:log-level=none ! h265parse ! video/x-h265"
        ),
    };
    format!(
        "{raw} ! {encoder},stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
    )
}

fn collect_units(sink: &gst_app::AppSink, most: Option<usize>, shared: &Arc<Shared>) {
    let (on_sample, on_end) = (Arc::clone(shared), Arc::clone(shared));
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
                let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                let mut reel = lock(&on_sample);
                if reel.frame_duration.is_none() {
                    reel.frame_duration = sample.caps().and_then(frame_duration);
                }
                if most.is_some_and(|most| reel.units.len() >= most) {
                    drop(reel);
                    finish(&on_sample, Ok(()));
                    return Err(gst::FlowError::Eos);
                }
                reel.units.push(Unit { buffer, key });
                on_sample.grown.notify_all();
                Ok(gst::FlowSuccess::Ok)
            })
            .eos(move |_| finish(&on_end, Ok(())))
            .build(),
    );
}

fn frame_duration(caps: &gst::CapsRef) -> Option<Duration> {
    let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
    (rate.numer() > 0)
        .then(|| Duration::from_secs_f64(f64::from(rate.denom()) / f64::from(rate.numer())))
}

fn finish(shared: &Shared, end: Result<(), String>) {
    lock(shared).end.get_or_insert(end);
    shared.grown.notify_all();
}

fn lock(shared: &Shared) -> MutexGuard<'_, Reel> {
    shared.reel.lock().expect("no one panics holding the reel")
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}
