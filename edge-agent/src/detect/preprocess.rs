//! From a frame to the network's input tensor. Pure.
//!
//! Samples the frame's planes straight at the input's size: colours are mixed for the sampled pixels alone, and no
//! full-size RGB picture is ever made. The sampling is OpenCV's `INTER_LINEAR` for 8-bit pictures, in its own fixed-point
//! arithmetic (11-bit weights), because that is what networks are trained and measured with. Differences to it stay
//! within one level of 255. Colours are mixed **before** they are blended, as there: noisy night pictures hold many
//! colours outside RGB, and where these are cut matters to what an 8-bit network sees.

pub use super::mosaic::Scale;

use super::model::{ColorOrder, Input, Layout};
use super::mosaic::{Rect, Tile};
use crate::color::YuvToRgb;
use crate::frame::{Frame, PixelFormat};

/// Makes input tensors; keeps its buffers and the sampling plan of the last picture size.
#[derive(Debug)]
pub struct Preprocessor {
    input: Input,
    /// `[1, 3, H, W]` or `[1, H, W, 3]`, as the description says.
    tensor: Vec<f32>,
    plan: Option<Plan>,
    mixed: [MixedRow; 2],
}

/// Where each pixel of the input is sampled, for one picture size, pixel format and choice of parts.
#[derive(Debug)]
struct Plan {
    of: (u32, u32, PixelFormat),
    tiles: Vec<(Tile, TilePlan)>,
}

/// The samples of one tile.
#[derive(Debug)]
struct TilePlan {
    columns: Vec<Tap>,
    rows: Vec<Tap>,
}

/// Two neighbours and the weight of the second, in 1/2048.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tap {
    first: usize,
    second: usize,
    weight: i32,
}

const WEIGHT_ONE: i32 = 2048;

impl Preprocessor {
    pub fn new(input: Input) -> Self {
        let tensor = vec![0.0; input.width as usize * input.height as usize * 3];
        Self {
            input,
            tensor,
            plan: None,
            mixed: Default::default(),
        }
    }

    /// The tensor of this frame, and how large the picture is in it.
    pub fn run(&mut self, frame: &Frame) -> (&[f32], Scale) {
        let whole = Tile::whole(&self.input, (frame.width, frame.height));
        (self.run_tiles(frame, &[whole]), whole.scale)
    }

    /// The tensor of these parts of the frame, each where its tile says; padding between them.
    pub fn run_tiles(&mut self, frame: &Frame, tiles: &[Tile]) -> &[f32] {
        let of = (frame.width, frame.height, frame.format);
        let plan = match self.plan.take() {
            Some(plan) if plan.is_for(of, tiles) => plan,
            _ => {
                self.fill_with_padding();
                Plan::new(of, tiles)
            }
        };
        for (tile, samples) in &plan.tiles {
            for mixed in &mut self.mixed {
                mixed.row = None;
            }
            self.sample(frame, tile, samples);
        }
        self.plan = Some(plan);
        &self.tensor
    }

    /// Writes a tile's rows into the tensor. Rows of the frame are mixed across first, which two neighbouring rows of
    /// the input may share, and then down.
    fn sample(&mut self, frame: &Frame, tile: &Tile, samples: &TilePlan) {
        let mut mixed = std::mem::take(&mut self.mixed);
        for (y, down) in samples.rows.iter().enumerate() {
            // What was below may be above now.
            if mixed[0].row != Some(down.first) {
                mixed.swap(0, 1);
            }
            for (mixed, row) in mixed.iter_mut().zip([down.first, down.second]) {
                if mixed.row != Some(row) {
                    mixed.fill(frame, row, &samples.columns);
                }
            }
            self.write_row(tile.x as usize, tile.y as usize + y, down.weight, &mixed);
        }
        self.mixed = mixed;
    }

    /// Mixes two rows down and normalises the result into the tensor.
    fn write_row(&mut self, x: usize, y: usize, weight: i32, [above, below]: &[MixedRow; 2]) {
        let (offsets, step) = self.channels(y);
        let source = channel_sources(self.input.color_order);
        for channel in 0..3 {
            let (mean, inverse) = (self.input.mean[channel], 1.0 / self.input.std[channel]);
            let above = &above.levels[source[channel]];
            let below = &below.levels[source[channel]];
            let out = self.tensor[offsets[channel] + x * step..]
                .iter_mut()
                .step_by(step);
            for (out, (above, below)) in out.zip(above.iter().zip(below)) {
                let above = ((WEIGHT_ONE - weight) * above) >> 16;
                let below = (weight * below) >> 16;
                *out = (((above + below + 2) >> 2) as f32 - mean) * inverse;
            }
        }
    }

    fn fill_with_padding(&mut self) {
        let input = &self.input;
        let value =
            |channel: usize| (f32::from(input.pad) - input.mean[channel]) / input.std[channel];
        let values = [value(0), value(1), value(2)];
        for y in 0..self.input.height as usize {
            let (offsets, step) = self.channels(y);
            for x in 0..self.input.width as usize {
                for channel in 0..3 {
                    self.tensor[offsets[channel] + x * step] = values[channel];
                }
            }
        }
    }

    /// Where row `y` of each channel starts in the tensor, and how far its pixels are apart.
    fn channels(&self, y: usize) -> ([usize; 3], usize) {
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        match self.input.layout {
            Layout::Nchw => ([0, 1, 2].map(|channel| (channel * height + y) * width), 1),
            Layout::Nhwc => ([0, 1, 2].map(|channel| y * width * 3 + channel), 3),
        }
    }
}

impl Plan {
    fn new(of: (u32, u32, PixelFormat), tiles: &[Tile]) -> Self {
        let samples = |tile: &Tile| {
            let Rect {
                x,
                y,
                width,
                height,
            } = tile.source;
            TilePlan {
                columns: taps(tile.width as usize, x as usize, width as usize),
                rows: taps(tile.height as usize, y as usize, height as usize),
            }
        };
        Self {
            of,
            tiles: tiles.iter().map(|tile| (*tile, samples(tile))).collect(),
        }
    }

    fn is_for(&self, of: (u32, u32, PixelFormat), tiles: &[Tile]) -> bool {
        self.of == of && self.tiles.iter().map(|(tile, _)| tile).eq(tiles)
    }
}

/// `count` sampling positions spread over the `source` pixels from `start` on, pixel centres at half integers, as
/// `cv::resize` does. Nothing outside of them is sampled.
fn taps(count: usize, start: usize, source: usize) -> Vec<Tap> {
    let step = source as f64 / count as f64;
    let last = source - 1;
    (0..count)
        .map(|index| {
            let position = ((index as f64 + 0.5) * step - 0.5).max(0.0);
            let first = (position.floor() as usize).min(last);
            let fraction = if first == last {
                0.0
            } else {
                position - first as f64
            };
            Tap {
                first: start + first,
                second: start + (first + 1).min(last),
                weight: (fraction * f64::from(WEIGHT_ONE)).round_ties_even() as i32,
            }
        })
        .collect()
}

/// One row of a frame, mixed across at the input's columns: red, green and blue, in 1/128 of a level (the fixed-point
/// steps of `cv::resize`).
#[derive(Debug, Default)]
struct MixedRow {
    row: Option<usize>,
    levels: [Vec<i32>; 3],
}

impl MixedRow {
    fn fill(&mut self, frame: &Frame, row: usize, columns: &[Tap]) {
        self.row = Some(row);
        let width = frame.width as usize;
        match frame.format {
            PixelFormat::I420 => {
                let convert = YuvToRgb::new(frame.color);
                // A chroma sample stands for its four luma pixels: this is how the pictures are made that networks are
                // measured with.
                let luma = frame.row(0, row, width);
                let u = frame.row(1, row / 2, width.div_ceil(2));
                let v = frame.row(2, row / 2, width.div_ceil(2));
                self.mix(columns, |x| convert.levels(luma[x], u[x / 2], v[x / 2]));
            }
            PixelFormat::Rgb => {
                let pixels = frame.row(0, row, width * 3);
                self.mix(columns, |x| {
                    [pixels[x * 3], pixels[x * 3 + 1], pixels[x * 3 + 2]]
                });
            }
        }
    }

    #[inline]
    fn mix(&mut self, columns: &[Tap], pixel: impl Fn(usize) -> [u8; 3]) {
        for levels in &mut self.levels {
            levels.resize(columns.len(), 0);
        }
        let [red, green, blue] = &mut self.levels;
        let out = red.iter_mut().zip(green).zip(blue);
        for (across, ((red, green), blue)) in columns.iter().zip(out) {
            let (first, second) = (pixel(across.first), pixel(across.second));
            let mix = |channel: usize| {
                let first = i32::from(first[channel]) * (WEIGHT_ONE - across.weight);
                (first + i32::from(second[channel]) * across.weight) >> 4
            };
            (*red, *green, *blue) = (mix(0), mix(1), mix(2));
        }
    }
}

/// Which of red, green, blue goes into each channel of the tensor.
fn channel_sources(order: ColorOrder) -> [usize; 3] {
    match order {
        ColorOrder::Rgb => [0, 1, 2],
        ColorOrder::Bgr => [2, 1, 0],
    }
}
