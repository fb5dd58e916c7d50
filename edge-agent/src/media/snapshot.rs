//! From a frame to the bytes of a JPEG, with everything private filled first. Pure.
//!
//! Masks are filled in the full-size picture, opaque, before anything is encoded: what a mask covers leaves this
//! module as one colour. A pixel that a mask touches at all is filled whole.
//!
//! Colour is kept at half the resolution, as cameras send it (4:2:0): more would be made up.

use crate::color::YuvToRgb;
use crate::error::{ErrorKind, Kind};
use crate::frame::{Frame, PixelFormat};
use jpeg_encoder::{ColorType, Encoder, EncodingError, SamplingFactor};

pub const CONTENT_TYPE: &str = "image/jpeg";
/// Of 100. Above 85 files grow faster than what one sees.
const JPEG_QUALITY: u8 = 85;
/// Dark grey: seen to be a mask, unlike a dead camera's black.
const MASK_LEVEL: u8 = 40;

/// A polygon in fractions of the picture; where it crosses itself the even-odd rule decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask(pub Vec<[f32; 2]>);

#[derive(Debug, thiserror::Error)]
#[error("a picture of {width} x {height} cannot be encoded: {source}")]
pub struct SnapshotError {
    width: u32,
    height: u32,
    source: EncodingError,
}

impl Kind for SnapshotError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Permanent
    }
}

/// The frame as JPEG, masks filled.
pub fn jpeg(frame: &Frame, masks: &[Mask]) -> Result<Vec<u8>, SnapshotError> {
    let mut rgb = rgb(frame);
    for mask in masks {
        fill(&mut rgb, frame.width as usize, frame.height as usize, mask);
    }
    let refused = |source| SnapshotError {
        width: frame.width,
        height: frame.height,
        source,
    };
    // The format holds sides of 16 bits (ITU-T T.81, B.2.2); zero is refused by the encoder.
    let side = |side: u32| u16::try_from(side).unwrap_or(0);
    // A twentieth of the raw picture is a generous guess.
    let mut bytes = Vec::with_capacity(rgb.len() / 20);
    let mut encoder = Encoder::new(&mut bytes, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(&rgb, side(frame.width), side(frame.height), ColorType::Rgb)
        .map_err(refused)?;
    Ok(bytes)
}

/// Interleaved rows `[H, W, 3]`.
fn rgb(frame: &Frame) -> Vec<u8> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let mut rgb = vec![0; width * height * 3];
    let convert = YuvToRgb::new(frame.color);
    for (y, out) in rgb.chunks_exact_mut((width * 3).max(1)).enumerate() {
        match frame.format {
            PixelFormat::Rgb => out.copy_from_slice(frame.row(0, y, width * 3)),
            PixelFormat::I420 => {
                let luma = frame.row(0, y, width);
                let u = frame.row(1, y / 2, width.div_ceil(2));
                let v = frame.row(2, y / 2, width.div_ceil(2));
                for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&convert.levels(luma[x], u[x / 2], v[x / 2]));
                }
            }
        }
    }
    rgb
}

/// Fills the polygon, and every pixel its outline touches.
fn fill(rgb: &mut [u8], width: usize, height: usize, mask: &Mask) {
    let corners: Vec<[f32; 2]> = mask
        .0
        .iter()
        .map(|[x, y]| [x * width as f32, y * height as f32])
        .collect();
    for (y, row) in rgb.chunks_exact_mut(width * 3).enumerate() {
        for (from, to) in spans(&corners, y as f32) {
            let from = (from.floor().max(0.0) as usize).min(width);
            let to = (to.ceil().max(0.0) as usize).min(width);
            if from < to {
                row[from * 3..to * 3].fill(MASK_LEVEL);
            }
        }
    }
}

/// Columns of the pixel row from `top` to `top + 1` that the polygon covers or touches.
fn spans(corners: &[[f32; 2]], top: f32) -> Vec<(f32, f32)> {
    // Inside along a few lines through the row, and along every edge as far as it lies in the row.
    const LINES: [f32; 3] = [0.001, 0.5, 0.999];
    let mut spans: Vec<(f32, f32)> = LINES
        .iter()
        .flat_map(|line| inside(corners, top + line))
        .collect();
    for (from, to) in edges(corners) {
        let (upper, lower) = if from[1] <= to[1] {
            (from, to)
        } else {
            (to, from)
        };
        if lower[1] < top || upper[1] > top + 1.0 {
            continue;
        }
        let at = |y: f32| match lower[1] - upper[1] {
            0.0 => upper[0],
            rise => upper[0] + (lower[0] - upper[0]) * (y - upper[1]) / rise,
        };
        let (a, b) = if upper[1] == lower[1] {
            (upper[0], lower[0])
        } else {
            (at(upper[1].max(top)), at(lower[1].min(top + 1.0)))
        };
        spans.push((a.min(b), a.max(b)));
    }
    spans
}

/// Where the horizontal line at `y` runs inside the polygon (even-odd rule).
fn inside(corners: &[[f32; 2]], y: f32) -> Vec<(f32, f32)> {
    let mut crossings: Vec<f32> = edges(corners)
        .filter(|(from, to)| (from[1] <= y) != (to[1] <= y))
        .map(|(from, to)| from[0] + (to[0] - from[0]) * (y - from[1]) / (to[1] - from[1]))
        .collect();
    crossings.sort_by(f32::total_cmp);
    crossings
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect()
}

fn edges(corners: &[[f32; 2]]) -> impl Iterator<Item = ([f32; 2], [f32; 2])> {
    let next = corners.iter().cycle().skip(1);
    corners.iter().zip(next).map(|(from, to)| (*from, *to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::{ColorSpace, Plane};
    use std::sync::Arc;
    use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

    const SIZE: usize = 64;

    fn time() -> RecordTime {
        RecordTime {
            captured_at_us: UtcMicros(1),
            boot_id: BootId(uuid::Uuid::nil()),
            boottime_ns: 1,
            clock: ClockStamp::UNSYNCED,
        }
    }

    fn white() -> Frame {
        let rgb = vec![255; SIZE * SIZE * 3];
        Frame::from_rgb(
            CameraId(uuid::Uuid::nil()),
            time(),
            SIZE as u32,
            SIZE as u32,
            rgb,
        )
    }

    /// Columns of row `y` that are filled.
    fn filled(mask: &[[f32; 2]], y: usize) -> Vec<usize> {
        let mut rgb = rgb(&white());
        fill(&mut rgb, SIZE, SIZE, &Mask(mask.to_vec()));
        let row = &rgb[y * SIZE * 3..][..SIZE * 3];
        (0..SIZE)
            .filter(|x| row[x * 3..][..3] == [MASK_LEVEL; 3])
            .collect()
    }

    #[test]
    fn a_rectangle_covers_its_pixels_and_those_it_touches() {
        let mask = [[0.25, 0.25], [0.51, 0.25], [0.51, 0.5], [0.25, 0.5]];
        assert_eq!(filled(&mask, 20), (16..33).collect::<Vec<_>>());
        assert!(filled(&mask, 14).is_empty());
        assert!(filled(&mask, 34).is_empty());
    }

    #[test]
    fn what_lies_beyond_the_picture_is_cut_and_the_rest_filled() {
        let mask = [[-1.0, -1.0], [2.0, -1.0], [2.0, 2.0], [-1.0, 2.0]];
        for y in [0, SIZE / 2, SIZE - 1] {
            assert_eq!(filled(&mask, y).len(), SIZE);
        }
    }

    #[test]
    fn even_odd_leaves_the_hole_of_a_polygon_that_crosses_itself() {
        // A square drawn once outside and once inside, joined by a line.
        let mask = [
            [0.0, 0.0],
            [1.0, 0.0],
            [1.0, 1.0],
            [0.0, 1.0],
            [0.0, 0.0],
            [0.25, 0.25],
            [0.75, 0.25],
            [0.75, 0.75],
            [0.25, 0.75],
            [0.25, 0.25],
        ];
        let row = filled(&mask, 40);
        assert!(row.contains(&5) && row.contains(&60) && !row.contains(&30));
    }

    #[test]
    fn thin_and_degenerate_masks_still_cover() {
        assert!(filled(&[[0.0, 0.5], [1.0, 0.5]], 32).len() == SIZE);
        assert!(filled(&[], 3).is_empty());
        let thin = [[0.1, 0.1], [0.9, 0.9], [0.9, 0.901]];
        for y in 8..56 {
            assert!(!filled(&thin, y).is_empty(), "row {y}");
        }
    }

    #[test]
    fn a_jpeg_shows_no_pixel_of_what_is_masked() {
        let mask = Mask(vec![[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]);
        let bytes = jpeg(&white(), &[mask]).unwrap();
        let back = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert!(back.get_pixel(10, 10)[0] > 240);
        for (x, y) in [(34, 1), (40, 40), (63, 63)] {
            assert!(back.get_pixel(x, y)[0].abs_diff(MASK_LEVEL) < 8, "{x} {y}");
        }
    }

    #[test]
    fn odd_sizes_and_strides_of_planes_are_read_right() {
        // 5 x 3, red (BT.601 full: 76, 85, 255), stride 8.
        let (luma, u, v) = (vec![76; 24], vec![85; 16], vec![255; 16]);
        let frame = Frame {
            camera: CameraId(uuid::Uuid::nil()),
            time: time(),
            width: 5,
            height: 3,
            format: PixelFormat::I420,
            color: ColorSpace::Bt601Full,
            planes: [(0, 8), (24, 8), (40, 8)].map(|(offset, stride)| Plane { offset, stride }),
            bytes: Arc::new([luma, u, v].concat()),
        };
        let rgb = rgb(&frame);
        assert_eq!(rgb.len(), 45);
        for pixel in rgb.chunks_exact(3) {
            assert!(pixel[0] > 250 && pixel[1] < 5 && pixel[2] < 5, "{pixel:?}");
        }
        assert!(jpeg(&frame, &[]).is_ok());
    }

    #[test]
    fn a_picture_without_a_size_or_too_large_for_the_format_is_an_error() {
        for (width, height) in [(0, 0), (65_536, 1)] {
            let rgb = vec![0; width as usize * height as usize * 3];
            let frame = Frame::from_rgb(CameraId(uuid::Uuid::nil()), time(), width, height, rgb);
            let error = jpeg(&frame, &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("{width} x {height}")), "{error}");
        }
    }
}
