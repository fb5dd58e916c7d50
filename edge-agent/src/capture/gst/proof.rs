//! A decoder's examination: a film of two seconds that comes with the program, whose pictures are known.
//!
//! Drivers that are installed but broken are common: no device, no right to open it, green pictures, pictures that
//! never come. So nothing is believed but pictures, and they come through the very pipeline that is used afterwards.
//!
//! The films were made once with `x264enc` and `x265enc` from `videotestsrc pattern=gradient`: 24 pictures of 320 x 240,
//! black above and white below, a key frame every 12, each with a delimiter in front.

use super::choice::NOBODY;
use super::decode::{Decoder, Feed};
use crate::capture::gop::Codec;
use crate::frame::Frame;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const H264: &[u8] = include_bytes!("proof/gradient.h264");
const H265: &[u8] = include_bytes!("proof/gradient.h265");
const SIZE: (u32, u32) = (320, 240);
/// Between two pictures.
const STEP: Duration = Duration::from_millis(100);
/// Longest wait for a picture: drivers that load firmware take a second for their first one.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many pictures have to come of a stream's 24 without it having ended; decoders may keep 16 back by the standards
/// (H.264 A.3.1, H.265 A.4.2: the size of the decoded picture buffer).
const WANTED: usize = 6;

/// Whether `decoder` decodes as it is going to be used; otherwise what is wrong, for people.
pub(super) fn prove(decoder: &Decoder) -> Result<(), String> {
    let units = units(decoder.codec);
    let (gives, given) = channel();
    let lent = decoder.lend_to(
        NOBODY,
        Box::new(move |picture| {
            // Pictures beyond those that are wanted find nobody waiting.
            let _ = gives.send(picture);
        }),
    );
    lent.map_err(|error| error.to_string())?;
    let outcome = match decoder.feed {
        Feed::Stream => {
            for (index, unit) in units.iter().enumerate() {
                decoder.push_bytes(unit.bytes, unit.key, STEP * index as u32);
            }
            expect(&given, WANTED)
        }
        // Each key frame must come out before anything follows it.
        Feed::Stills => {
            let mut keys = units.iter().filter(|unit| unit.key).zip(0_u32..);
            keys.try_for_each(|(unit, index)| {
                decoder.push_bytes(unit.bytes, true, STEP * index);
                expect(&given, 1)
            })
        }
    };
    decoder.take_back();
    outcome
}

fn expect(given: &Receiver<Result<Frame, String>>, wanted: usize) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    for number in 0..wanted {
        let patience = deadline.saturating_duration_since(Instant::now());
        match given.recv_timeout(patience) {
            Ok(frame) => check(&frame?)?,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = PATIENCE.as_secs();
                return Err(format!(
                    "gave {number} pictures of {wanted} within {seconds} s"
                ));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("gave up".into()),
        }
    }
    Ok(())
}

/// The size and the content that went in.
fn check(frame: &Frame) -> Result<(), String> {
    if (frame.width, frame.height) != SIZE {
        let (width, height) = (frame.width, frame.height);
        return Err(format!("gave pictures of {width}x{height}, not 320x240"));
    }
    let mean = |plane: usize, y: usize, wide: usize| {
        let row = frame.row(plane, y, wide);
        row.iter().map(|value| u32::from(*value)).sum::<u32>() / wide as u32
    };
    let (top, bottom) = (mean(0, 10, 320), mean(0, 229, 320));
    let (u, v) = (mean(1, 60, 160), mean(2, 60, 160));
    let is_gradient = top < 50 && bottom > 200 && u.abs_diff(128) < 8 && v.abs_diff(128) < 8;
    if is_gradient {
        Ok(())
    } else {
        Err(format!(
            "gave wrong pictures: luma {top} above and {bottom} below, chroma {u} and {v}"
        ))
    }
}

/// One encoded picture of the film.
pub(super) struct Unit {
    pub(super) bytes: &'static [u8],
    pub(super) key: bool,
}

pub(super) fn units(codec: Codec) -> Vec<Unit> {
    // Start code and header of the access unit delimiter (H.264 7.3.2.4, H.265 7.3.2.5).
    let (film, delimiter): (&'static [u8], &[u8]) = match codec {
        Codec::H264 => (H264, &[0, 0, 0, 1, 0x09]),
        Codec::H265 => (H265, &[0, 0, 0, 1, 0x46, 0x01]),
    };
    let mut starts: Vec<usize> = film
        .windows(delimiter.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == delimiter).then_some(at))
        .collect();
    // The first one's parameter sets may stand before its delimiter.
    starts[0] = 0;
    let ends = starts.iter().copied().skip(1).chain([film.len()]);
    let pairs = std::iter::zip(starts.clone(), ends).enumerate();
    pairs
        .map(|(index, (start, end))| Unit {
            bytes: &film[start..end],
            key: index % 12 == 0,
        })
        .collect()
}
