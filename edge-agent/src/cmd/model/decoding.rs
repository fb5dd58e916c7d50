//! What a camera costs before anything is looked at: measured by decoding a film that comes with the program.
//!
//! The film is one second of 1080p, 15 pictures a second, the first of them a key frame, 2.3 Mbit/s: a drawn place, five things
//! that move in it, and a sensor's noise. A busy street of the same size and rate costs the same to decode, within a tenth
//! (the benchmark's busy clip, docs/performance.md). It was made with FFmpeg from `mandelbrot` (one picture, blurred by two
//! pixels), parts of it and of `testsrc2` that are moved over it, and `noise=alls=3`, by `libx264 -preset superfast -tune
//! zerolatency -crf 25` with delimiters.

use crate::capture::replay::Replay;
use crate::luma::SmallLuma;
use crate::motion::MotionModel;
use anyhow::{Context, ensure};
use rustix::fs::MemfdFlags;
use serde::Serialize;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;
use wire::{CameraId, RecordTime};

const STREET: &[u8] = include_bytes!("street.h264");
pub(super) const PICTURES: usize = 15;
/// Start code and header of the access unit delimiter (H.264 7.3.2.4).
const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
/// How often the film is played, a short time and a long one: what the long one costs more is free of what it costs to begin.
const SHORT: usize = 2;
const LONG: usize = 10;

/// What the machine has to do to decode one picture and compare it with what the camera usually shows, in milliseconds of one
/// core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct DecodeCost {
    pub(super) key_frame_ms: f64,
    pub(super) other_frame_ms: f64,
}

impl DecodeCost {
    /// In software, on as many threads as the decoder likes: what counts is processor time.
    pub(super) fn measure() -> anyhow::Result<Self> {
        Self::measure_by(play)
    }

    /// `play` plays so many copies of a film in a row and gives the processor time of it.
    fn measure_by(
        mut play: impl FnMut(&[u8], usize) -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Self> {
        let end = unit_starts(STREET).nth(1).unwrap_or(STREET.len());
        let key = &STREET[..end];
        // The first film loads libraries.
        play(key, 1)?;
        // What one more of `times` copies of a film costs.
        let mut per_film_ms = |film: &[u8], times: usize| -> anyhow::Result<f64> {
            let short = play(film, SHORT * times)?;
            let long = play(film, LONG * times)?;
            let more = long.saturating_sub(short);
            Ok(more.as_secs_f64() * 1e3 / (LONG - SHORT) as f64)
        };
        let key_frame_ms = per_film_ms(key, PICTURES)? / PICTURES as f64;
        let film_ms = per_film_ms(STREET, 1)?;
        let others = (PICTURES - 1) as f64;
        Ok(Self {
            key_frame_ms,
            other_frame_ms: ((film_ms - key_frame_ms) / others).max(0.0),
        })
    }
}

/// Plays so many copies of a film in a row; gives the processor time of it.
fn play(film: &[u8], copies: usize) -> anyhow::Result<Duration> {
    let memory = rustix::fs::memfd_create("film", MemfdFlags::CLOEXEC)
        .context("no memory for a film of a few MB")?;
    let mut file = std::fs::File::from(memory);
    (0..copies).try_for_each(|_| file.write_all(film))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());

    let film_units = unit_starts(film).count();
    let before = processor_time();
    let nobody = CameraId(uuid::Uuid::nil());
    let replay = Replay::open(Path::new(&path), nobody, RecordTime::BEGINNING)?;
    let mut motion = MotionModel::new(&[]);
    let mut pictures = 0;
    for frame in replay {
        let luma = SmallLuma::of(&frame?);
        pictures += 1;
        motion.update(Duration::from_secs(1) * pictures / PICTURES as u32, &luma);
    }
    let expected = copies * film_units;
    ensure!(
        pictures as usize == expected,
        "the decoder gave {pictures} pictures of {expected}"
    );
    Ok(processor_time().saturating_sub(before))
}

/// Where each access unit of a film begins.
fn unit_starts(film: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let is_start = |bytes: &&[u8]| bytes.starts_with(&DELIMITER);
    let windows = film.windows(DELIMITER.len()).enumerate();
    windows.filter_map(move |(at, bytes)| is_start(&bytes).then_some(at))
}

/// Of the whole process: decoders have threads of their own.
pub(super) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_film_can_be_decoded_as_often_as_it_is_played() {
        let starts: Vec<usize> = unit_starts(STREET).collect();
        assert_eq!((starts.len(), starts[0]), (PICTURES, 0));
        play(STREET, 2).expect("every picture comes out");
        let key = &STREET[..starts[1]];
        play(key, 3).expect("a key frame is a film of its own");
    }

    #[test]
    fn what_it_costs_to_begin_is_no_part_of_a_picture() {
        let end = unit_starts(STREET).nth(1).expect("it has two pictures");
        // 700 ms to begin, 15 a key frame, 4 any other.
        let cost = DecodeCost::measure_by(|film, copies| {
            let others = if film.len() == end { 0 } else { PICTURES - 1 };
            let copy_ms = 15 + 4 * others;
            Ok(Duration::from_millis((700 + copies * copy_ms) as u64))
        })
        .expect("nothing is played");
        assert_eq!((cost.key_frame_ms, cost.other_frame_ms), (15.0, 4.0));
    }
}
