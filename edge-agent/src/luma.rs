//! The brightness of a picture at about 160 pixels width, and how much fine detail it has: what motion and a camera's
//! sight are judged by, at a thousandth of what a look costs. Pure.

use crate::frame::{Frame, PixelFormat};

/// Cells across a picture, about: a walker at the far end of a street is still two cells wide.
pub const WIDTH: usize = 160;

/// Mean luma of the cells of a picture, `[height, width]`, top row first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SmallLuma {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
    /// Mean absolute difference of horizontally neighbouring full-size pixels: falls when a lens is out of focus.
    pub detail: f32,
}

impl SmallLuma {
    /// Of an I420 or RGB frame of any size; one smaller than [`WIDTH`] keeps its own.
    pub fn of(frame: &Frame) -> Self {
        let (wide, high) = (frame.width as usize, frame.height as usize);
        let cell = wide.div_ceil(WIDTH).max(1);
        let (width, height) = (wide.div_ceil(cell), high.div_ceil(cell));
        let bytes_a_pixel = match frame.format {
            PixelFormat::I420 => 1,
            PixelFormat::Rgb => 3,
        };
        let mut sums = vec![(0_u32, 0_u32); width * height];
        let (mut steps, mut pairs) = (0_u64, 0_u64);
        // Every second row of a cell tells as much as all of them.
        for y in (0..high).step_by(2) {
            let row = frame.row(0, y, wide * bytes_a_pixel);
            // Green stands for luma: it is most of it.
            let value = |x: usize| row[x * bytes_a_pixel + bytes_a_pixel / 2];
            for x in (0..wide).step_by(2) {
                let (sum, count) = &mut sums[y / cell * width + x / cell];
                *sum += u32::from(value(x));
                *count += 1;
                if x + 1 < wide {
                    steps += u64::from(value(x).abs_diff(value(x + 1)));
                    pairs += 1;
                }
            }
        }
        let mean = |(sum, count): (u32, u32)| (sum / count.max(1)) as u8;
        Self {
            width,
            height,
            pixels: sums.into_iter().map(mean).collect(),
            detail: steps as f32 / pairs.max(1) as f32,
        }
    }
}
