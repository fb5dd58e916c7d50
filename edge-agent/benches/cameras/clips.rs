//! The clips that the benchmark's cameras play: made from Debian's film when they are first needed, then kept in
//! `.cache/bench/` under a name that changes with whatever they are made of.

use crate::scene::{CLIP_FPS, Cut, FILM_HEIGHT, FILM_WIDTH, GOP_FRAMES, Kind, Noise, Stage, Yuv};
use anyhow::{Context, Result, bail};
use edge_agent::capture::replay::Replay;
use edge_agent::frame::Frame;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::path::{Path, PathBuf};
use wire::{CameraId, RecordTime, Sha256};

/// Raised when clips are made in another way than before.
const RECIPE: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Constant quality.
    Vbr,
    /// Constant bit rate of [`CBR_KBIT`].
    Cbr,
}

const CBR_KBIT: u32 = 2000;
const QUANTIZER: u32 = 23;

impl Rate {
    pub fn name(self) -> &'static str {
        match self {
            Rate::Vbr => "vbr",
            Rate::Cbr => "cbr",
        }
    }

    /// One thread: with several, x264's rate control depends on how they are scheduled.
    fn encoder(self) -> String {
        let rate = match self {
            Rate::Vbr => format!("pass=qual quantizer={QUANTIZER}"),
            Rate::Cbr => format!("pass=cbr bitrate={CBR_KBIT}"),
        };
        format!(
            "x264enc tune=zerolatency speed-preset=superfast {rate} key-int-max={GOP_FRAMES} threads=1 \
             option-string=scenecut=0"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clip {
    pub kind: Kind,
    /// 720 or 1080; 16:9.
    pub height: usize,
    pub rate: Rate,
}

impl Clip {
    pub fn name(self) -> String {
        format!("{}-{}p-{}", self.kind.name(), self.height, self.rate.name())
    }
}

/// Where the film lies and where clips are kept.
pub struct Library {
    film: PathBuf,
    folder: PathBuf,
    key: String,
    stage: Option<Stage>,
}

impl Library {
    pub fn open(film: &Path, folder: &Path) -> Result<Self> {
        let bytes = std::fs::read(film).with_context(|| {
            format!("no film at {}; run scripts/setup.sh bench", film.display())
        })?;
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            film: film.to_owned(),
            folder: folder.to_owned(),
            key: Sha256::of(&bytes).to_string(),
            stage: None,
        })
    }

    /// The clip's file, made now if it is not there.
    pub fn get(&mut self, clip: Clip) -> Result<PathBuf> {
        let made_of = format!("{RECIPE} {} {clip:?} {}", self.key, clip.rate.encoder());
        let digest = Sha256::of(made_of.as_bytes()).to_string();
        let path = self
            .folder
            .join(format!("{}-{}.mkv", clip.name(), &digest[..12]));
        if !path.exists() {
            eprintln!("making {} (once)", path.display());
            let unfinished = path.with_extension("part");
            let stage = self.stage()?;
            encode(stage, &stage.script(clip.kind)?, clip, &unfinished)?;
            std::fs::rename(&unfinished, &path)?;
        }
        Ok(path)
    }

    /// Half a gigabyte, so it is not kept while anything is measured.
    pub fn forget_film(&mut self) {
        self.stage = None;
    }

    fn stage(&mut self) -> Result<&Stage> {
        if self.stage.is_none() {
            self.stage = Some(Stage::new(read_film(&self.film)?));
        }
        Ok(self.stage.as_ref().expect("it was just put there"))
    }
}

fn read_film(path: &Path) -> Result<Vec<Yuv>> {
    let mut film = Vec::new();
    for frame in Replay::open(path, CameraId(uuid::Uuid::nil()), RecordTime::BEGINNING)? {
        film.push(without_padding(&frame?)?);
    }
    if film.is_empty() {
        bail!("{} has no pictures", path.display());
    }
    Ok(film)
}

/// A first frame of `file`, to look at again and again.
pub fn first_frame(file: &Path) -> Result<Frame> {
    Replay::open(file, CameraId(uuid::Uuid::nil()), RecordTime::BEGINNING)?
        .next_frame()?
        .with_context(|| format!("{} has no pictures", file.display()))
}

fn without_padding(frame: &Frame) -> Result<Yuv> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    if (width, height) != (FILM_WIDTH, FILM_HEIGHT) {
        bail!(
            "the film is {width}x{height}, not {FILM_WIDTH}x{FILM_HEIGHT}: it is not Debian's vtest.avi"
        );
    }
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for (plane, width, height) in [
        (0, width, height),
        (1, width / 2, height / 2),
        (2, width / 2, height / 2),
    ] {
        for y in 0..height {
            bytes.extend_from_slice(frame.row(plane, y, width));
        }
    }
    Ok(Yuv {
        width,
        height,
        bytes,
    })
}

/// Two clips of one script differ in their noise no more than in their coding: the seed is the picture's height.
fn encode(stage: &Stage, script: &[Cut], clip: Clip, file: &Path) -> Result<()> {
    let description = format!(
        "appsrc name=source format=time block=true max-buffers=8 max-bytes=0 ! {} ! h264parse ! matroskamux ! \
         filesink name=file",
        clip.rate.encoder()
    );
    let pipeline = gst::parse::launch(&description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("several elements make a pipeline"))?;
    let by_name = |name: &str| pipeline.by_name(name).context("the line names it");
    by_name("file")?.set_property("location", file.to_str().context("a path in UTF-8")?);
    let source = by_name("source")?
        .downcast::<gst_app::AppSrc>()
        .map_err(|_| anyhow::anyhow!("the source is an appsrc"))?;
    source.set_caps(Some(
        &gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", i32::try_from(clip.height * 16 / 9)?)
            .field("height", i32::try_from(clip.height)?)
            .field("framerate", gst::Fraction::new(CLIP_FPS as i32, 1))
            .build(),
    ));
    pipeline.set_state(gst::State::Playing)?;
    let fed = feed(&source, stage, script, clip.height);
    let bus = pipeline.bus().context("every pipeline has a bus")?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = fed.and_then(|()| {
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(600), &ends)
            .context("the encoder does not come to an end")
    });
    pipeline.set_state(gst::State::Null)?;
    match end?.view() {
        gst::MessageView::Error(error) => bail!("{}: {}", clip.name(), error.error()),
        _ => Ok(()),
    }
}

fn feed(source: &gst_app::AppSrc, stage: &Stage, script: &[Cut], height: usize) -> Result<()> {
    let mut noise = Noise::new(height as u64);
    let step = gst::ClockTime::SECOND / CLIP_FPS as u64;
    let mut at = gst::ClockTime::ZERO;
    for cut in script {
        for index in 0..cut.frames {
            let mut picture = stage.picture(&cut.shot, index, height);
            noise.add(&mut picture);
            let mut buffer = gst::Buffer::from_mut_slice(picture.bytes);
            let writable = buffer.make_mut();
            writable.set_pts(at);
            writable.set_duration(step);
            source
                .push_buffer(buffer)
                .map_err(|error| anyhow::anyhow!("the encoder takes no more pictures: {error}"))?;
            at += step;
        }
    }
    source
        .end_of_stream()
        .map(drop)
        .map_err(|error| anyhow::anyhow!("the encoder does not end: {error}"))
}
