//! Films made out of the PETS street film, for tests that need to know what happens when: an empty street with a sensor's
//! noise, people in it, somebody's hand over the lens.

use crate::world::film;
use anyhow::{Context, Result, bail};
use edge_agent::capture::replay::Replay;
use edge_agent::frame::Frame;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::Path;
use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

pub const WIDTH: usize = 768;
pub const HEIGHT: usize = 576;
pub const FPS: usize = 10;
/// Frames of the street film that are kept: in the first of them several people walk about.
const KEPT: usize = 150;
/// How far apart the frames are of which the empty street is the median.
const APART: usize = 12;

/// What is to be seen for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The street without anybody.
    Empty,
    /// The street film from its beginning; it goes on where the last one stopped.
    People,
    /// Something dark before the lens.
    Covered,
}

/// Planes Y, U, V of one picture, without padding.
type Picture = Vec<u8>;

/// Writes a film of these takes, each so many seconds long, as Matroska of high quality.
pub fn write(path: &Path, takes: &[(Shows, usize)]) -> Result<()> {
    let street = street()?;
    let empty = median(&street);
    let covered = vec![38; WIDTH * HEIGHT]
        .into_iter()
        .chain(vec![128; WIDTH * HEIGHT / 2])
        .collect();
    let mut noise = Noise(StdRng::seed_from_u64(7));
    let mut people = street.iter().take(KEPT).cycle();
    let takes = takes
        .iter()
        .flat_map(|(shows, seconds)| vec![*shows; seconds * FPS]);
    let pictures = takes.map(|shows| match shows {
        Shows::Empty => noise.over(&empty),
        Shows::Covered => noise.over(&covered),
        Shows::People => noise.over(people.next().expect("a cycle")),
    });
    encode(path, pictures)
}

/// The first pictures of the street film and, for the median, some of the later ones.
fn street() -> Result<Vec<Picture>> {
    let start = RecordTime {
        captured_at_us: UtcMicros(0),
        boot_id: BootId(uuid::Uuid::nil()),
        boottime_ns: 0,
        clock: ClockStamp::UNSYNCED,
    };
    let frames = Replay::open(&film(), CameraId(uuid::Uuid::nil()), start)?;
    frames
        .enumerate()
        .filter(|(number, _)| *number < KEPT || number % APART == 0)
        .map(|(_, frame)| Ok(planes(&frame?)))
        .collect()
}

fn planes(frame: &Frame) -> Picture {
    let mut picture = Picture::with_capacity(WIDTH * HEIGHT * 3 / 2);
    for (plane, width, height) in [
        (0, WIDTH, HEIGHT),
        (1, WIDTH / 2, HEIGHT / 2),
        (2, WIDTH / 2, HEIGHT / 2),
    ] {
        (0..height).for_each(|y| picture.extend_from_slice(frame.row(plane, y, width)));
    }
    picture
}

/// Nobody stands still long enough to be in most pictures.
fn median(pictures: &[Picture]) -> Picture {
    let some: Vec<&Picture> = pictures
        .iter()
        .step_by(APART)
        .chain(pictures.iter().skip(KEPT))
        .collect();
    let mut values = vec![0; some.len()];
    (0..WIDTH * HEIGHT * 3 / 2)
        .map(|at| {
            values
                .iter_mut()
                .zip(&some)
                .for_each(|(value, picture)| *value = picture[at]);
            *values.select_nth_unstable(some.len() / 2).1
        })
        .collect()
}

/// A sensor's: no two pictures are alike.
struct Noise(StdRng);

impl Noise {
    /// With a standard deviation of about two.
    fn over(&mut self, picture: &Picture) -> Picture {
        let mut noisy = picture.clone();
        let mut random = [0_u8; 4096];
        for luma in noisy[..WIDTH * HEIGHT].chunks_mut(random.len()) {
            self.0.fill_bytes(&mut random);
            for (value, random) in luma.iter_mut().zip(random) {
                // The number of bits set in a random byte: a binomial bell.
                let noise = (random.count_ones() as i32 - 4) * 3 / 2;
                *value = (i32::from(*value) + noise).clamp(0, 255) as u8;
            }
        }
        noisy
    }
}

fn encode(path: &Path, pictures: impl Iterator<Item = Picture>) -> Result<()> {
    gst::init()?;
    let description = format!(
        "appsrc name=pictures format=time caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! \
         x264enc pass=qual quantizer=12 speed-preset=ultrafast ! matroskamux ! filesink name=file"
    );
    let pipeline = gst::parse::launch(&description)?
        .downcast::<gst::Pipeline>()
        .map_err(|_| anyhow::anyhow!("several elements make a pipeline"))?;
    let source = pipeline
        .by_name("pictures")
        .and_then(|source| source.downcast::<gst_app::AppSrc>().ok())
        .context("the line names an appsrc")?;
    source.set_max_buffers(16);
    source.set_block(true);
    let file = pipeline.by_name("file").context("the line names a file")?;
    file.set_property("location", path.to_str().context("a path in UTF-8")?);
    pipeline.set_state(gst::State::Playing)?;
    for (number, picture) in pictures.enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(picture);
        let at = gst::ClockTime::from_mseconds((number * 1000 / FPS) as u64);
        buffer.get_mut().context("a buffer of our own")?.set_pts(at);
        source.push_buffer(buffer)?;
    }
    source.end_of_stream()?;
    let bus = pipeline.bus().context("every pipeline has a bus")?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    pipeline.set_state(gst::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => bail!("no scene: {}", error.error()),
        _ => bail!("no scene within a minute"),
    }
}
