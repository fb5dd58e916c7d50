//! From a frame to the network's input tensor. Pure.
//!
//! Samples each plane of the frame straight at the input's size: no full-size RGB picture is ever made. The
//! sampling is OpenCV's `INTER_LINEAR` for 8-bit pictures, in its own fixed-point arithmetic (11-bit weights), because
//! that is what networks are trained and measured with. Differences to it stay within one level of 255.

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
    /// Levels of one row by plane, before colours are mixed.
    rows: [Vec<u8>; 3],
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
    /// Rows the picture has within the input.
    height: usize,
    /// Columns and rows of planes at full size.
    full: [Vec<Tap>; 2],
    /// The same for chroma planes of half the size.
    half: [Vec<Tap>; 2],
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
            rows: Default::default(),
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
        let mut rows = std::mem::take(&mut self.rows);
        for y in 0..plan.height {
            for (index, row) in rows.iter_mut().enumerate() {
                let (taps, len) = match index {
                    0 => (&plan.full, full),
                    _ => (&plan.half, half),
                };
                let down = taps[1][y];
                let above = frame.row(index, down.first, len);
                let below = frame.row(index, down.second, len);
                row.clear();
                row.extend(taps[0].iter().map(|across| {
                    blend(*across, down.weight, |at| (above[at], below[at]))
                }));
            }
            let [luma, u, v] = &rows;
            self.write_row(
                y,
                std::iter::zip(luma, std::iter::zip(u, v))
                    .map(|(luma, (u, v))| convert.rgb(*luma, *u, *v)),
            );
        }
        self.rows = rows;
    }

    fn sample_rgb(&mut self, frame: &Frame, plan: &Plan) {
        let len = frame.width as usize * 3;
        for y in 0..plan.height {
            let down = plan.full[1][y];
            let above = frame.row(0, down.first, len);
            let below = frame.row(0, down.second, len);
            self.write_row(
                y,
                plan.full[0].iter().map(|across| {
                    [0, 1, 2].map(|channel| {
                        let level = blend(*across, down.weight, |at| {
                            (above[at * 3 + channel], below[at * 3 + channel])
                        });
                        f32::from(level)
                    })
                }),
            );
        }
    }

    /// Normalises one row of red, green and blue levels into the tensor.
    fn write_row(&mut self, y: usize, pixels: impl Iterator<Item = [f32; 3]>) {
        let (offsets, step) = self.channels(y);
        let (mean, inverse) = (self.input.mean, self.input.std.map(|std| 1.0 / std));
        let source = channel_sources(self.input.color_order);
        for (x, rgb) in pixels.enumerate() {
            for channel in 0..3 {
                self.tensor[offsets[channel] + x * step] =
                    (rgb[source[channel]] - mean[channel]) * inverse[channel];
            }
        }
    }

    fn fill_with_padding(&mut self) {
        let input = &self.input;
        let value = |channel: usize| {
            (f32::from(input.pad) - input.mean[channel]) / input.std[channel]
        };
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
            Layout::Nchw => (
                [0, 1, 2].map(|channel| (channel * height + y) * width),
                1,
            ),
            Layout::Nhwc => ([0, 1, 2].map(|channel| y * width * 3 + channel), 3),
        }
    }
}

impl Plan {
    fn new(input: &Input, of: (u32, u32, PixelFormat)) -> Self {
        let (picture_width, picture_height, _) = of;
        let (scale, width, height) = place(input, picture_width, picture_height);
        // Source pixels per input pixel.
        let step = [
            f64::from(picture_width) / width as f64,
            f64::from(picture_height) / height as f64,
        ];
        Self {
            of,
            scale,
            height,
            full: [
                taps(width, step[0], picture_width as usize),
                taps(height, step[1], picture_height as usize),
            ],
            // Chroma is taken to lie in the middle of its four luma pixels. H.264 puts it half a luma pixel further
            // left, which is a tenth of an input pixel at 1080p.
            half: [
                taps(width, step[0] / 2.0, picture_width.div_ceil(2) as usize),
                taps(height, step[1] / 2.0, picture_height.div_ceil(2) as usize),
            ],
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
            let side = |length: u32| ((f64::from(length) * ratio).round_ties_even() as usize).max(1);
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

/// `count` sampling positions `step` source pixels apart, pixel centres at half integers, as `cv::resize` does.
fn taps(count: usize, step: f64, source: usize) -> Vec<Tap> {
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

/// Two-way blend of four neighbours in the fixed-point steps of `cv::resize`; `at` gives the levels above and below.
#[inline]
fn blend(across: Tap, down_weight: i32, at: impl Fn(usize) -> (u8, u8)) -> u8 {
    let (above_first, below_first) = at(across.first);
    let (above_second, below_second) = at(across.second);
    let mix = |first: u8, second: u8| {
        i32::from(first) * (WEIGHT_ONE - across.weight) + i32::from(second) * across.weight
    };
    let above = ((WEIGHT_ONE - down_weight) * (mix(above_first, above_second) >> 4)) >> 16;
    let below = (down_weight * (mix(below_first, below_second) >> 4)) >> 16;
    ((above + below + 2) >> 2) as u8
}

/// Which of red, green, blue goes into each channel of the tensor.
fn channel_sources(order: ColorOrder) -> [usize; 3] {
    match order {
        ColorOrder::Rgb => [0, 1, 2],
        ColorOrder::Bgr => [2, 1, 0],
    }
}
