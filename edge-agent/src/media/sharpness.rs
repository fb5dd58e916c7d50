//! How sharp a part of a frame is: the variance of the Laplacian of its luma (Pech-Pacheco et al., "Diatom autofocusing
//! in brightfield microscopy", ICPR 2000). Pure.

use crate::frame::{Frame, PixelFormat};
use wire::record::NormBox;

/// Most pixels looked at along a side: what a box costs does not grow with its size.
const MOST_SAMPLES: usize = 96;

/// 0 for a plain area or one of less than three pixels; some hundreds for a sharp object.
pub fn sharpness(frame: &Frame, rect: &NormBox) -> f32 {
    let columns = samples(rect.x, rect.w, frame.width as usize);
    let rows = samples(rect.y, rect.h, frame.height as usize);
    // RGB frames come from picture files: green is near enough to luma.
    let (len, step, offset) = match frame.format {
        PixelFormat::I420 => (frame.width as usize, 1, 0),
        PixelFormat::Rgb => (frame.width as usize * 3, 3, 1),
    };
    let (mut count, mut sum, mut squares) = (0.0_f32, 0.0_f32, 0.0_f32);
    for y in rows {
        let above = frame.row(0, y - 1, len);
        let row = frame.row(0, y, len);
        let below = frame.row(0, y + 1, len);
        for x in columns.clone() {
            let level = |row: &[u8], x: usize| f32::from(row[x * step + offset]);
            let laplacian =
                level(above, x) + level(below, x) + level(row, x - 1) + level(row, x + 1)
                    - 4.0 * level(row, x);
            count += 1.0;
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    if count == 0.0 {
        return 0.0;
    }
    (squares / count - (sum / count).powi(2)).max(0.0)
}

/// Positions along one side that have neighbours on both sides.
fn samples(from: f32, length: f32, size: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
    let at = |fraction: f32| (fraction.clamp(0.0, 1.0) * size as f32) as usize;
    let first = at(from).max(1);
    let end = at(from + length).min(size.saturating_sub(1)).max(first);
    let step = (end - first).div_ceil(MOST_SAMPLES).max(1);
    (first..end).step_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

    fn frame(level: impl Fn(usize, usize) -> u8) -> Frame {
        const SIDE: usize = 120;
        let time = RecordTime {
            captured_at_us: UtcMicros(1),
            boot_id: BootId(uuid::Uuid::nil()),
            boottime_ns: 1,
            clock: ClockStamp::UNSYNCED,
        };
        let rgb = (0..SIDE * SIDE)
            .flat_map(|at| [level(at % SIDE, at / SIDE); 3])
            .collect();
        Frame::from_rgb(
            CameraId(uuid::Uuid::nil()),
            time,
            SIDE as u32,
            SIDE as u32,
            rgb,
        )
    }

    fn rect(x: f32, y: f32, w: f32, h: f32) -> NormBox {
        NormBox { x, y, w, h }
    }

    #[test]
    fn edges_are_sharper_than_slopes_and_slopes_than_nothing() {
        let whole = rect(0.0, 0.0, 1.0, 1.0);
        let plain = sharpness(&frame(|_, _| 90), &whole);
        let slope = sharpness(&frame(|x, _| (x * 2) as u8), &whole);
        let edges = sharpness(
            &frame(|x, y| if (x / 8 + y / 8) % 2 == 0 { 40 } else { 200 }),
            &whole,
        );
        assert_eq!((plain, slope), (0.0, 0.0));
        assert!(edges > 1000.0, "{edges}");
    }

    #[test]
    fn boxes_at_and_beyond_the_edge_are_no_danger() {
        let frame = frame(|x, y| (x * y) as u8);
        for rect in [
            rect(-0.5, -0.5, 3.0, 3.0),
            rect(0.999, 0.999, 0.001, 0.001),
            rect(1.0, 1.0, 0.0, 0.0),
            rect(0.5, 0.5, 0.0, 0.0),
        ] {
            assert!(sharpness(&frame, &rect).is_finite());
        }
    }
}
