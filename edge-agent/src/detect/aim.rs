//! Where to look in a picture: all of it while everything in it is large enough for the network, otherwise at the parts
//! where something moves or is followed, enlarged; and at all of it as well from time to time. Pure.
//!
//! What was measured for the figures below stands in `docs/where-to-look.md`.

use super::mosaic::{self, MAX_SCALE, MOST_PARTS};
use std::time::Duration;
use wire::record::NormBox;

/// What decides between the whole picture and parts of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// From this length of its longer side on, in pixels of the network's input, an object is seen well enough.
    pub enough_px: f64,
    /// Parts have to enlarge at least so much over the whole picture, for each inference that they cost: below it, seeing
    /// all is worth more.
    pub least_gain: f64,
    /// Kept free around what is looked for, in shares of its longer side: what it came from and may grow into.
    pub margin: f32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enough_px: 32.0,
            least_gain: 1.25,
            margin: 0.5,
        }
    }
}

/// Smallest side of a part, in shares of the input's, at the largest scale.
const LEAST_SIDE: f64 = 0.25;
/// What is so many times smaller in the whole picture is lost sight of in a look at that alone.
const LOST_FROM: f64 = 2.0;
/// While parts are looked at, the whole picture is looked at so often.
pub const WHOLE_EVERY: Duration = Duration::from_secs(2);

const WHOLE: NormBox = NormBox {
    x: 0.0,
    y: 0.0,
    w: 1.0,
    h: 1.0,
};

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
    /// region and every track lies within one of them. When the whole picture is due it is one more part where
    /// much would be lost sight of without the others, and otherwise looked at alone.
    pub fn parts(
        &mut self,
        at: Duration,
        picture: (u32, u32),
        motion: &[NormBox],
        tracks: &[NormBox],
    ) -> Vec<NormBox> {
        let mut parts = parts(&Limits::default(), picture, self.input, motion, tracks);
        let whole_is_due = self
            .whole_at
            .is_none_or(|before| at.saturating_sub(before) >= WHOLE_EVERY);
        if whole_is_due && !parts.is_empty() {
            let (_, scale) = mosaic::packed(self.input, picture, &parts);
            let gain = scale / whole_scale(picture, self.input);
            match gain >= LOST_FROM {
                true => parts.push(WHOLE),
                false => parts.clear(),
            }
        }
        if whole_is_due || parts.is_empty() {
            self.whole_at = Some(at);
        }
        parts
    }
}

/// The same without memory: where to look for what moves and what is followed, and nothing else.
pub fn parts(
    limits: &Limits,
    picture: (u32, u32),
    input: (u32, u32),
    motion: &[NormBox],
    tracks: &[NormBox],
) -> Vec<NormBox> {
    let sides = (f64::from(picture.0), f64::from(picture.1));
    let whole_scale = whole_scale(picture, input);
    let longer_side = |one: &NormBox| (f64::from(one.w) * sides.0).max(f64::from(one.h) * sides.1);
    let subjects = || tracks.iter().chain(motion);
    let smallest = subjects().map(longer_side).fold(f64::INFINITY, f64::min);
    if whole_scale >= MAX_SCALE || smallest * whole_scale >= limits.enough_px {
        return Vec::new();
    }
    let least = LEAST_SIDE * f64::from(input.0.min(input.1)) / MAX_SCALE;
    let least = ((least / sides.0) as f32, (least / sides.1) as f32);
    let windows = subjects().map(|one| {
        let margin = longer_side(one) as f32 * limits.margin;
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
    let (inputs, scale) = mosaic::packed(input, picture, &parts);
    let is_worth_it =
        parts.len() < MOST_PARTS && scale >= whole_scale * limits.least_gain * inputs as f64;
    if is_worth_it { parts } else { Vec::new() }
}

/// Pixels of the input for one of the picture, when all of it is looked at.
fn whole_scale(picture: (u32, u32), input: (u32, u32)) -> f64 {
    let across = f64::from(input.0) / f64::from(picture.0);
    across.min(f64::from(input.1) / f64::from(picture.1))
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

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: (u32, u32) = (416, 416);
    const UHD: (u32, u32) = (3840, 2160);

    /// In pixels of the picture.
    fn at(picture: (u32, u32), [x, y, w, h]: [f32; 4]) -> NormBox {
        let (width, height) = (picture.0 as f32, picture.1 as f32);
        NormBox {
            x: x / width,
            y: y / height,
            w: w / width,
            h: h / height,
        }
    }

    /// How many parts; 0 for the whole picture.
    fn check(picture: (u32, u32), subjects: &[[f32; 4]], expected: usize) {
        let subjects: Vec<NormBox> = subjects.iter().map(|one| at(picture, *one)).collect();
        for (motion, tracks) in [(&subjects[..], &[][..]), (&[], &subjects)] {
            let parts = parts(&Limits::default(), picture, INPUT, motion, tracks);
            assert_eq!(parts.len(), expected, "{picture:?} {subjects:?}");
            for part in &parts {
                let inside = part.x >= 0.0 && part.y >= 0.0;
                assert!(inside && part.x + part.w < 1.001 && part.y + part.h < 1.001);
            }
            let lies_in = |one: &NormBox, part: &NormBox| {
                crate::geometry::overlap(one, part) > crate::geometry::area(one) * 0.999
            };
            let is_seen = |one: &NormBox| parts.iter().any(|part| lies_in(one, part));
            assert!(expected == 0 || subjects.iter().all(is_seen), "{parts:?}");
        }
    }

    #[test]
    fn small_things_in_large_pictures_are_looked_at_closely() {
        // Nothing to look for.
        check(UHD, &[], 0);
        // A person 100 pixels high is 11 in the input; one of 500 is 54.
        check(UHD, &[[1000.0, 1000.0, 40.0, 100.0]], 1);
        check(UHD, &[[1000.0, 1000.0, 200.0, 500.0]], 0);
        check((768, 576), &[[100.0, 100.0, 40.0, 100.0]], 0);
        check((320, 240), &[[100.0, 100.0, 4.0, 10.0]], 0);
        check((2560, 720), &[[100.0, 100.0, 40.0, 100.0]], 1);
        // Far apart; near each other; at the edges.
        check(
            UHD,
            &[[100.0, 100.0, 40.0, 100.0], [3000.0, 2000.0, 40.0, 100.0]],
            2,
        );
        check(
            UHD,
            &[[100.0, 100.0, 40.0, 100.0], [160.0, 100.0, 40.0, 100.0]],
            1,
        );
        check(
            UHD,
            &[[0.0, 0.0, 40.0, 100.0], [3800.0, 2060.0, 40.0, 100.0]],
            2,
        );
        // Together in one input they gain enough; where it takes two inputs, one look at all is better.
        check(
            (832, 832),
            &[[0.0, 0.0, 60.0, 60.0], [772.0, 772.0, 60.0, 60.0]],
            2,
        );
        check(
            (832, 832),
            &[
                [0.0, 0.0, 60.0, 300.0],
                [500.0, 500.0, 300.0, 60.0],
                [700.0, 0.0, 20.0, 20.0],
            ],
            0,
        );
        // From edge to edge: nothing would be gained.
        check(
            UHD,
            &[[0.0, 0.0, 3840.0, 2160.0], [9.0, 9.0, 40.0, 100.0]],
            0,
        );
    }

    #[test]
    fn a_single_part_takes_the_room_that_it_has_anyway() {
        let subject = at(UHD, [1000.0, 1000.0, 40.0, 100.0]);
        let found = parts(&Limits::default(), UHD, INPUT, &[subject], &[]);
        let (w, h) = (found[0].w * 3840.0, found[0].h * 2160.0);
        assert!(
            (w - 416.0).abs() < 1.0 && (h - 416.0).abs() < 1.0,
            "{w} x {h}"
        );
    }

    #[test]
    fn the_whole_picture_is_looked_at_again_and_again() {
        let mut aim = Aim::new(INPUT);
        let subject = [at(UHD, [1000.0, 1000.0, 40.0, 100.0])];
        let mut whole = Vec::new();
        for tenths in 0..50 {
            let parts = aim.parts(Duration::from_millis(tenths * 100), UHD, &subject, &[]);
            assert!(parts.iter().any(|part| part.w < 0.5), "{tenths}");
            if parts.contains(&WHOLE) {
                whole.push(tenths);
            }
        }
        assert_eq!(whole, [0, 20, 40]);
        // Where parts gain little, the whole picture takes their place when it is due.
        let (mut aim, vga) = (Aim::new(INPUT), (640, 480));
        let small = [at(vga, [100.0, 100.0, 12.0, 40.0])];
        assert!(aim.parts(Duration::ZERO, vga, &small, &[]).is_empty());
        let next = aim.parts(Duration::from_secs(1), vga, &small, &[]);
        assert!(next.len() == 1 && !next.contains(&WHOLE), "{next:?}");
        // A look at all of it for want of anything else counts too.
        let mut aim = Aim::new(INPUT);
        assert!(aim.parts(Duration::from_secs(5), UHD, &[], &[]).is_empty());
        let next = aim.parts(Duration::from_millis(6900), UHD, &subject, &[]);
        assert!(!next.contains(&WHOLE));
    }
}
