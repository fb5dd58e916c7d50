//! From a frame to the network's input tensor. Pure.
//!
//! Samples the frame's planes straight at the input's size: colours are mixed for the sampled pixels alone, and no
//! full-size RGB picture is ever made. The sampling is OpenCV's `INTER_LINEAR` for 8-bit pictures, in its own fixed-point
//! arithmetic (11-bit weights), because that is what networks are trained and measured with. Differences to it stay
//! within one level of 255. Colours are mixed **before** they are blended, as there: noisy night pictures hold many
//! colours outside RGB, and where these are cut matters to what an 8-bit network sees.

use super::model::{ColorOrder, Fit, Input, Layout};
use crate::color::YuvToRgb;
use crate::frame::{Frame, PixelFormat};

/// Makes input tensors; keeps its buffers and the sampling plan of the last picture size.
#[derive(Debug)]
pub struct Preprocessor {
    input: Input,
    /// `[1, 3, H, W]` or `[1, H, W, 3]`, as the description says.
    tensor: Vec<f32>,
    plan: Option<Plan>,
}

/// Pixels of the input for one pixel of the picture, by axis: boxes are divided by it to get back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub x: f32,
    pub y: f32,
}

/// Where each pixel of the input is sampled, for one picture size and pixel format.
#[derive(Debug)]
struct Plan {
    of: (u32, u32, PixelFormat),
    scale: Scale,
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
        }
    }

    /// The tensor of this frame, and how large the picture is in it.
    pub fn run(&mut self, frame: &Frame) -> (&[f32], Scale) {
        let wanted = (frame.width, frame.height, frame.format);
        let plan = match self.plan.take() {
            Some(plan) if plan.of == wanted => plan,
            _ => {
                self.fill_with_padding();
                Plan::new(&self.input, wanted)
            }
        };
        match frame.format {
            PixelFormat::I420 => self.sample_i420(frame, &plan),
            PixelFormat::Rgb => self.sample_rgb(frame, &plan),
        }
        let scale = plan.scale;
        self.plan = Some(plan);
        (&self.tensor, scale)
    }

    fn sample_i420(&mut self, frame: &Frame, plan: &Plan) {
        let convert = YuvToRgb::new(frame.color);
        let (full, half) = (frame.width as usize, frame.width.div_ceil(2) as usize);
        for (y, down) in plan.rows.iter().enumerate() {
            // A chroma sample stands for its four luma pixels: this is how the pictures are made that networks are
            // measured with.
            let planes = |row: usize| {
                let chroma = row / 2;
                (
                    frame.row(0, row, full),
                    frame.row(1, chroma, half),
                    frame.row(2, chroma, half),
                )
            };
            let (above, below) = (planes(down.first), planes(down.second));
            let pixel = |(luma, u, v): (&[u8], &[u8], &[u8]), x: usize| {
                convert.levels(luma[x], u[x / 2], v[x / 2])
            };
            let pixels = plan.columns.iter().map(|across| {
                blend(
                    *across,
                    down.weight,
                    [pixel(above, across.first), pixel(above, across.second)],
                    [pixel(below, across.first), pixel(below, across.second)],
                )
            });
            self.write_row(y, pixels);
        }
    }

    fn sample_rgb(&mut self, frame: &Frame, plan: &Plan) {
        let len = frame.width as usize * 3;
        for (y, down) in plan.rows.iter().enumerate() {
            let above = frame.row(0, down.first, len);
            let below = frame.row(0, down.second, len);
            let pixel = |row: &[u8], x: usize| [row[x * 3], row[x * 3 + 1], row[x * 3 + 2]];
            let pixels = plan.columns.iter().map(|across| {
                blend(
                    *across,
                    down.weight,
                    [pixel(above, across.first), pixel(above, across.second)],
                    [pixel(below, across.first), pixel(below, across.second)],
                )
            });
            self.write_row(y, pixels);
        }
    }

    /// Normalises one row of red, green and blue levels into the tensor.
    fn write_row(&mut self, y: usize, pixels: impl Iterator<Item = [u8; 3]>) {
        let (offsets, step) = self.channels(y);
        let (mean, inverse) = (self.input.mean, self.input.std.map(|std| 1.0 / std));
        let source = channel_sources(self.input.color_order);
        for (x, rgb) in pixels.enumerate() {
            for channel in 0..3 {
                self.tensor[offsets[channel] + x * step] =
                    (f32::from(rgb[source[channel]]) - mean[channel]) * inverse[channel];
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
    fn new(input: &Input, of: (u32, u32, PixelFormat)) -> Self {
        let (picture_width, picture_height, _) = of;
        let (scale, width, height) = place(input, picture_width, picture_height);
        Self {
            of,
            scale,
            columns: taps(width, picture_width as usize),
            rows: taps(height, picture_height as usize),
        }
    }
}

/// How a picture lies in the input: its scale, and its width and height there.
fn place(input: &Input, width: u32, height: u32) -> (Scale, usize, usize) {
    let ratio = [
        f64::from(input.width) / f64::from(width),
        f64::from(input.height) / f64::from(height),
    ];
    match input.fit {
        Fit::Stretch => (
            Scale {
                x: ratio[0] as f32,
                y: ratio[1] as f32,
            },
            input.width as usize,
            input.height as usize,
        ),
        Fit::Letterbox => {
            let ratio = ratio[0].min(ratio[1]);
            let side =
                |length: u32| ((f64::from(length) * ratio).round_ties_even() as usize).max(1);
            (
                Scale {
                    x: ratio as f32,
                    y: ratio as f32,
                },
                side(width),
                side(height),
            )
        }
    }
}

/// `count` sampling positions spread over `source` pixels, pixel centres at half integers, as `cv::resize` does.
fn taps(count: usize, source: usize) -> Vec<Tap> {
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
                first,
                second: (first + 1).min(last),
                weight: (fraction * f64::from(WEIGHT_ONE)).round_ties_even() as i32,
            }
        })
        .collect()
}

/// Two-way blend of four neighbouring pixels in the fixed-point steps of `cv::resize`.
#[inline]
fn blend(across: Tap, down_weight: i32, above: [[u8; 3]; 2], below: [[u8; 3]; 2]) -> [u8; 3] {
    let mix = |[first, second]: [[u8; 3]; 2], channel: usize| {
        i32::from(first[channel]) * (WEIGHT_ONE - across.weight)
            + i32::from(second[channel]) * across.weight
    };
    [0, 1, 2].map(|channel| {
        let above = ((WEIGHT_ONE - down_weight) * (mix(above, channel) >> 4)) >> 16;
        let below = (down_weight * (mix(below, channel) >> 4)) >> 16;
        ((above + below + 2) >> 2) as u8
    })
}

/// Which of red, green, blue goes into each channel of the tensor.
fn channel_sources(order: ColorOrder) -> [usize; 3] {
    match order {
        ColorOrder::Rgb => [0, 1, 2],
        ColorOrder::Bgr => [2, 1, 0],
    }
}
