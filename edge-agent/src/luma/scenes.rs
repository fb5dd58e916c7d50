//! Made pictures for the tests of what is judged by brightness: a street, and what weather, light and people do to it.

use super::SmallLuma;
use crate::frame::{ColorSpace, Frame, PixelFormat, Plane};
use std::sync::{Arc, LazyLock};
use wire::{CameraId, RecordTime};

pub(crate) const WIDE: usize = 640;
pub(crate) const HIGH: usize = 360;

/// Luma of each pixel, `[HIGH, WIDE]`, in grey levels.
#[derive(Clone)]
pub(crate) struct Picture(pub(crate) Vec<f32>);

impl Picture {
    pub(crate) fn flat(value: f32) -> Self {
        Self(vec![value; WIDE * HIGH])
    }

    /// Houses, windows, poles and gravel, another street for each `seed`.
    pub(crate) fn street(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut picture = Self::flat(110.0);
        for size in [160, 80, 40, 20, 10] {
            for _ in 0..4800 / size {
                let (w, h) = (dice.below(size) + 3, dice.below(size) + 3);
                let (x, y) = (dice.below(WIDE), dice.below(HIGH));
                let value = 40.0 + dice.below(150) as f32;
                picture.fill(x, y, w, h, |old| (old + value) / 2.0);
            }
        }
        picture.map(|_, value| value + dice.gauss() * 4.0)
    }

    /// A box whose corners are fractions of the picture, of one grey.
    pub(crate) fn with_box(mut self, [x, y, w, h]: [f32; 4], value: f32) -> Self {
        let across = |share: f32| (share * WIDE as f32) as usize;
        let down = |share: f32| (share * HIGH as f32) as usize;
        self.fill(across(x), down(y), across(w), down(h), |_| value);
        self
    }

    /// Normal noise of `sigma` grey levels, another one for each `seed`.
    pub(crate) fn with_noise(mut self, sigma: f32, seed: u64) -> Self {
        // Drawn once: thousands of pictures are made.
        static NOISE: LazyLock<Vec<f32>> = LazyLock::new(|| {
            let mut dice = Dice::new(1);
            (0..1 << 16).map(|_| dice.gauss()).collect()
        });
        let noise = NOISE.as_slice();
        let mut dice = Dice::new(seed ^ 0x5eed);
        for row in self.0.chunks_mut(WIDE) {
            let from = dice.below(noise.len() - WIDE);
            for (value, noise) in row.iter_mut().zip(&noise[from..]) {
                *value += sigma * noise;
            }
        }
        self
    }

    pub(crate) fn lit(self, gain: f32, offset: f32) -> Self {
        self.map(|_, value| gain * value + offset)
    }

    /// Light of a lamp, `strength` times what is there, fading away from `(x, y)` (fractions).
    pub(crate) fn with_lamp(self, x: f32, y: f32, strength: f32) -> Self {
        self.map(|(px, py), value| {
            let (dx, dy) = (px / WIDE as f32 - x, py / HIGH as f32 - y);
            value * (1.0 + strength * (-(dx * dx + dy * dy) * 30.0).exp())
        })
    }

    /// Cloth over the lens: next to nothing shines through, the middle is a little brighter.
    pub(crate) fn covered(self, value: f32) -> Self {
        self.map(|(x, y), under| {
            let (dx, dy) = (x / WIDE as f32 - 0.5, y / HIGH as f32 - 0.5);
            value * (1.0 - dx * dx - dy * dy) + 0.02 * under
        })
    }

    /// Faint streaks, elsewhere in every picture. At full size rain is a pixel or two wide.
    pub(crate) fn with_rain(mut self, streaks: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        for _ in 0..streaks {
            let (x, y) = (dice.below(WIDE), dice.below(HIGH));
            self.fill(x, y, 1, 24, |old| old + 20.0);
        }
        self
    }

    /// What a lens out of focus makes of it: nearly a Gaussian of `radius` pixels.
    pub(crate) fn blurred(self, radius: usize) -> Self {
        let once = |picture: Self| {
            let rows: Vec<f32> = picture
                .0
                .chunks(WIDE)
                .flat_map(|row| box_mean(row, radius))
                .collect();
            let mut columns = vec![0.0; rows.len()];
            for x in 0..WIDE {
                let column: Vec<f32> = rows[x..].iter().step_by(WIDE).copied().collect();
                for (y, value) in box_mean(&column, radius).into_iter().enumerate() {
                    columns[y * WIDE + x] = value;
                }
            }
            Self(columns)
        };
        once(once(self))
    }

    /// The camera swung round by a part of the picture's width.
    pub(crate) fn turned(&self, other: &Self, share: f32) -> Self {
        let shift = (share * WIDE as f32) as usize;
        let rows = self.0.chunks(WIDE).zip(other.0.chunks(WIDE));
        Self(
            rows.flat_map(|(mine, other)| [&mine[shift..], &other[..shift]].concat())
                .collect(),
        )
    }

    pub(crate) fn map(mut self, mut change: impl FnMut((f32, f32), f32) -> f32) -> Self {
        for (index, value) in self.0.iter_mut().enumerate() {
            let place = ((index % WIDE) as f32, (index / WIDE) as f32);
            *value = change(place, *value);
        }
        self
    }

    pub(crate) fn small(&self) -> SmallLuma {
        let bytes = self.0.iter().map(|value| (value + 0.5) as u8).collect();
        SmallLuma::of(&luma_frame(WIDE, HIGH, WIDE, bytes))
    }

    fn fill(&mut self, x: usize, y: usize, w: usize, h: usize, paint: impl Fn(f32) -> f32) {
        for y in y..(y + h).min(HIGH) {
            for value in &mut self.0[y * WIDE + x..y * WIDE + (x + w).min(WIDE)] {
                *value = paint(*value);
            }
        }
    }
}

fn box_mean(values: &[f32], radius: usize) -> Vec<f32> {
    (0..values.len())
        .map(|at| {
            let window = &values[at.saturating_sub(radius)..(at + radius + 1).min(values.len())];
            window.iter().sum::<f32>() / window.len() as f32
        })
        .collect()
}

/// An I420 frame of which only the luma is there.
pub(crate) fn luma_frame(width: usize, height: usize, stride: usize, luma: Vec<u8>) -> Frame {
    Frame {
        camera: CameraId(uuid::Uuid::nil()),
        time: time(),
        width: width as u32,
        height: height as u32,
        format: PixelFormat::I420,
        color: ColorSpace::Bt709Limited,
        planes: [Plane { offset: 0, stride }; 3],
        bytes: Arc::new(luma),
    }
}

pub(crate) fn time() -> RecordTime {
    RecordTime {
        boottime_ns: 1,
        ..RecordTime::BEGINNING
    }
}

/// Xorshift: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // SplitMix64: seeds side by side must not give numbers side by side.
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// Nearly normal, with a deviation of one.
    fn gauss(&mut self) -> f32 {
        let sum: u32 = self.next().to_le_bytes().into_iter().map(u32::from).sum();
        (sum as f32 - 510.0) / 147.8
    }
}
