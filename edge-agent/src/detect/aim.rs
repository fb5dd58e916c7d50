//! Where to look in a picture: all of it while everything in it is large enough for the network, otherwise at the parts
//! where something moves or is followed, enlarged; and at all of it again from time to time. Pure.
//!
//! What was measured for the figures below stands in `docs/where-to-look.md`.

use super::mosaic::{self, MAX_SCALE, MOST_PARTS};
use std::time::Duration;
use wire::record::NormBox;

/// From this length of its longer side on, in pixels of the network's input, an object is seen well enough.
const ENOUGH_PX: f64 = 48.0;
/// Parts have to enlarge at least so much over the whole picture: below it, seeing all is worth more.
const LEAST_GAIN: f64 = 1.25;
/// Kept free around what is looked for, in shares of its longer side: what it came from and what it may grow into.
const MARGIN: f32 = 0.5;
/// Smallest side of a part, in shares of the input's, at the largest scale.
const LEAST_SIDE: f64 = 0.25;
/// While parts are looked at, the whole picture is looked at so often.
pub const WHOLE_EVERY: Duration = Duration::from_secs(2);

/// Chooses for one camera. Times are of one clock that does not go back.
#[derive(Clone, Debug)]
pub struct Aim {
    /// Width and height of the network's input.
    input: (u32, u32),
    whole_at: Option<Duration>,
}

impl Aim {
    /// `input` is [`super::Detector::input_size`].
    pub fn new(input: (u32, u32)) -> Self {
        Self {
            input,
            whole_at: None,
        }
    }

    /// The parts for [`super::Detector::detect`] for the picture taken `at`; none means the whole picture. Every
    /// region and every track lies within one of them, or the whole picture is looked at.
    pub fn parts(
        &mut self,
        at: Duration,
        picture: (u32, u32),
        motion: &[NormBox],
        tracks: &[NormBox],
    ) -> Vec<NormBox> {
        let whole_is_due = self
            .whole_at
            .is_none_or(|before| at.saturating_sub(before) >= WHOLE_EVERY);
        let parts = match whole_is_due {
            true => Vec::new(),
            false => parts(picture, self.input, motion, tracks),
        };
        if parts.is_empty() {
            self.whole_at = Some(at);
        }
        parts
    }
}

/// The same without memory: where to look for what moves and what is followed, and nothing else.
pub fn parts(
    picture: (u32, u32),
    input: (u32, u32),
    motion: &[NormBox],
    tracks: &[NormBox],
) -> Vec<NormBox> {
    let sides = (f64::from(picture.0), f64::from(picture.1));
    let whole_scale = (f64::from(input.0) / sides.0).min(f64::from(input.1) / sides.1);
    let longer_side = |one: &NormBox| (f64::from(one.w) * sides.0).max(f64::from(one.h) * sides.1);
    let subjects = || tracks.iter().chain(motion);
    let smallest = subjects().map(longer_side).fold(f64::INFINITY, f64::min);
    if whole_scale >= MAX_SCALE || smallest * whole_scale >= ENOUGH_PX {
        return Vec::new();
    }
    let least = LEAST_SIDE * f64::from(input.0.min(input.1)) / MAX_SCALE;
    let least = ((least / sides.0) as f32, (least / sides.1) as f32);
    let windows = subjects().map(|one| {
        let margin = longer_side(one) as f32 * MARGIN;
        let margin = (margin / picture.0 as f32, margin / picture.1 as f32);
        window(
            one,
            (
                (one.w + 2.0 * margin.0).max(least.0),
                (one.h + 2.0 * margin.1).max(least.1),
            ),
        )
    });
    let mut parts = joined(windows.collect());
    if let [one] = parts.as_mut_slice() {
        *one = shaped(one, picture, input);
    }
    let gains = |scale: f64| scale >= whole_scale * LEAST_GAIN;
    let is_worth_it = parts.len() <= MOST_PARTS
        && mosaic::packed_scale(input, picture, &parts).is_some_and(gains);
    if is_worth_it { parts } else { Vec::new() }
}

/// So large a window around the middle of `one`, moved into the picture; fractions.
fn window(one: &NormBox, (w, h): (f32, f32)) -> NormBox {
    let (w, h) = (w.min(1.0), h.min(1.0));
    NormBox {
        x: (one.x + one.w / 2.0 - w / 2.0).clamp(0.0, 1.0 - w),
        y: (one.y + one.h / 2.0 - h / 2.0).clamp(0.0, 1.0 - h),
        w,
        h,
    }
}

/// Windows that overlap become one, until none do: nothing is looked at twice, and nothing lies on an edge between two.
fn joined(mut windows: Vec<NormBox>) -> Vec<NormBox> {
    let mut parts: Vec<NormBox> = Vec::new();
    while let Some(mut window) = windows.pop() {
        while let Some(index) = parts.iter().position(|part| touch(part, &window)) {
            window = around(&parts.swap_remove(index), &window);
        }
        parts.push(window);
    }
    parts
}

fn touch(a: &NormBox, b: &NormBox) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

fn around(a: &NormBox, b: &NormBox) -> NormBox {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    NormBox {
        x,
        y,
        w: (a.x + a.w).max(b.x + b.w) - x,
        h: (a.y + a.h).max(b.y + b.h) - y,
    }
}

/// A part that has the input for itself takes all of it: its surroundings cost nothing more.
fn shaped(part: &NormBox, picture: (u32, u32), input: (u32, u32)) -> NormBox {
    let sides = (picture.0 as f32, picture.1 as f32);
    let input = (input.0 as f32, input.1 as f32);
    let scale = (input.0 / (part.w * sides.0))
        .min(input.1 / (part.h * sides.1))
        .min(MAX_SCALE as f32);
    window(
        part,
        (
            (input.0 / scale / sides.0).max(part.w),
            (input.1 / scale / sides.1).max(part.h),
        ),
    )
}
