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
    mixed: [MixedRow; 2],
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
            mixed: Default::default(),
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
        for mixed in &mut self.mixed {
            mixed.row = None;
        }
        self.sample(frame, &plan);
        let scale = plan.scale;
        self.plan = Some(plan);
        (&self.tensor, scale)
    }

    /// Writes the picture's rows into the tensor. Rows of the frame are mixed across first, which two neighbouring rows
    /// of the input may share, and then down.
    fn sample(&mut self, frame: &Frame, plan: &Plan) {
        let mut mixed = std::mem::take(&mut self.mixed);
        for (y, down) in plan.rows.iter().enumerate() {
            // What was below may be above now.
            if mixed[0].row != Some(down.first) {
                mixed.swap(0, 1);
            }
            for (mixed, row) in mixed.iter_mut().zip([down.first, down.second]) {
                if mixed.row != Some(row) {
                    mixed.fill(frame, row, &plan.columns);
                }
            }
            self.write_row(y, down.weight, &mixed);
        }
        self.mixed = mixed;
    }

    /// Mixes two rows down and normalises the result into the tensor.
    fn write_row(&mut self, y: usize, weight: i32, [above, below]: &[MixedRow; 2]) {
        let (offsets, step) = self.channels(y);
        let source = channel_sources(self.input.color_order);
        for channel in 0..3 {
            let (mean, inverse) = (self.input.mean[channel], 1.0 / self.input.std[channel]);
            let above = &above.levels[source[channel]];
            let below = &below.levels[source[channel]];
            let out = self.tensor[offsets[channel]..].iter_mut().step_by(step);
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
