//! What the benchmark's cameras see, as raw pictures: Debian's `vtest.avi` (PETS 2009 S2.L1, a fixed camera, people
//! walking), its empty background, and scenes made of both. Pure: the same script and seed give the same bytes.
//!
//! A clip is a script of cuts. Where nothing is to move, the median of the film is shown; a visit shows the film in a
//! window of the picture during a time in which somebody walks into this window and out of it again, so that people
//! come and go as they do and nobody pops up. Sensor noise lies over all of it, fresh in every frame.

use anyhow::{Result, bail};
use std::ops::Range;

/// Of the film, in pixels and frames a second.
pub const FILM_WIDTH: usize = 768;
pub const FILM_HEIGHT: usize = 576;
const FILM_FPS: usize = 10;
pub const CLIP_FPS: usize = 15;
/// Key frames lie two seconds apart.
pub const GOP_FRAMES: usize = 30;
/// Standard deviation of the noise in luma and chroma, in 8-bit steps: a small sensor by day.
const NOISE_LUMA: f64 = 2.5;
const NOISE_CHROMA: f64 = 1.0;
/// Luma at the sides of a wide picture, where the film has nothing.
const SIDE_LUMA: u8 = 90;
const NEUTRAL_CHROMA: u8 = 128;

/// 8-bit 4:2:0, planes Y, U, V one behind the other, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yuv {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

impl Yuv {
    fn grey(width: usize, height: usize) -> Self {
        let mut bytes = vec![SIDE_LUMA; width * height];
        bytes.resize(width * height * 3 / 2, NEUTRAL_CHROMA);
        Self {
            width,
            height,
            bytes,
        }
    }

    /// Of plane 0 to 2: its width, height and place in the bytes.
    fn plane(&self, index: usize) -> (usize, usize, Range<usize>) {
        let (luma, chroma) = (self.width * self.height, self.width * self.height / 4);
        match index {
            0 => (self.width, self.height, 0..luma),
            _ => {
                let start = luma + (index - 1) * chroma;
                (self.width / 2, self.height / 2, start..start + chroma)
            }
        }
    }
}

/// The film and what it shows when everybody is gone.
pub struct Stage {
    film: Vec<Yuv>,
    background: Yuv,
}

/// A part of the film's picture, in blocks of [`BLOCK`] pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

const BLOCK: usize = 16;
const COLUMNS: usize = FILM_WIDTH / BLOCK;
const ROWS: usize = FILM_HEIGHT / BLOCK;
/// A block has somebody in it when its luma differs so much from the background's, in the mean.
const BLOCK_DIFFERS: u32 = 12;

/// A tenth of the picture, and a quarter: in any larger part of the film somebody is always there.
const SMALL: (usize, usize) = (15, 12);
const LARGE: (usize, usize) = (24, 18);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shot {
    /// Nobody.
    Still,
    /// The film from its beginning.
    Film,
    /// The film from frame `from` on in `window`; nobody around it.
    Visit { window: Window, from: usize },
}

/// `frames` of the clip show `shot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub frames: usize,
    pub shot: Shot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing moves.
    Idle,
    /// Seven or eight people all the time.
    Busy,
    /// Somebody walks through a tenth of the time.
    Mixed,
    /// One visit after another, small and large ones in turns, with a pause between them that a gate closes in.
    Visits,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Idle => "idle",
            Kind::Busy => "busy",
            Kind::Mixed => "mixed",
            Kind::Visits => "visits",
        }
    }
}

impl Stage {
    /// `film` holds pictures of [`FILM_WIDTH`] x [`FILM_HEIGHT`].
    pub fn new(film: Vec<Yuv>) -> Self {
        Self {
            background: median(&film),
            film,
        }
    }

    /// The cuts of a clip; a whole number of GOPs, so that the end joins the beginning.
    pub fn script(&self, kind: Kind) -> Result<Vec<Cut>> {
        let still = |seconds: usize| Cut {
            frames: seconds * CLIP_FPS,
            shot: Shot::Still,
        };
        let mut cuts = Vec::new();
        match kind {
            Kind::Idle => cuts.push(still(40)),
            Kind::Busy => {
                let frames = self.film.len() * CLIP_FPS / FILM_FPS;
                cuts.push(Cut {
                    frames: frames / GOP_FRAMES * GOP_FRAMES,
                    shot: Shot::Film,
                });
            }
            Kind::Mixed => {
                for visit in self.visits(LARGE, 3)? {
                    cuts.push(Cut {
                        frames: visit.frames * 9,
                        shot: Shot::Still,
                    });
                    cuts.push(visit);
                }
            }
            Kind::Visits => {
                let pairs = std::iter::zip(self.visits(SMALL, 6)?, self.visits(LARGE, 6)?);
                cuts.push(still(6));
                for (small, large) in pairs {
                    cuts.extend([small, still(9), large, still(9)]);
                }
            }
        }
        let frames: usize = cuts.iter().map(|cut| cut.frames).sum();
        let missing = frames.next_multiple_of(GOP_FRAMES) - frames;
        if missing > 0 {
            cuts.push(Cut {
                frames: missing,
                shot: Shot::Still,
            });
        }
        Ok(cuts)
    }

    /// Picture `index` of a cut, as large as a camera with `height` rows (16:9) sees it, without noise.
    pub fn picture(&self, shot: &Shot, index: usize, height: usize) -> Yuv {
        let at = |from: usize| (from + index * FILM_FPS / CLIP_FPS).min(self.film.len() - 1);
        let mut canvas = Yuv::grey(height * 16 / 9, height);
        match shot {
            Shot::Still => scale_into(&mut canvas, &self.background),
            Shot::Film => scale_into(&mut canvas, &self.film[at(0)]),
            Shot::Visit { window, from } => {
                let mut picture = self.background.clone();
                paste(&mut picture, &self.film[at(*from)], *window);
                scale_into(&mut canvas, &picture);
            }
        }
        canvas
    }

    /// So many visits to windows of this size (in blocks), no two of them at the same time of the film.
    fn visits(&self, (w, h): (usize, usize), count: usize) -> Result<Vec<Cut>> {
        /// A visit takes so many frames of the film: two to ten seconds.
        const LENGTHS: Range<usize> = 20..100;
        /// So many blocks hold somebody when he is well inside.
        const PRESENT: usize = 4;
        let moving: Vec<Vec<bool>> = self.film.iter().map(|frame| self.moving(frame)).collect();
        let mut taken: Vec<Range<usize>> = Vec::new();
        let mut cuts = Vec::new();
        for y in (0..=ROWS - h).step_by(3) {
            for x in (0..=COLUMNS - w).step_by(4) {
                let window = Window { x, y, w, h };
                let counts: Vec<usize> = moving
                    .iter()
                    .map(|blocks| occupied(blocks, window))
                    .collect();
                for span in spans_between_quiet(&counts) {
                    let peak = counts[span.clone()].iter().max().copied().unwrap_or(0);
                    let is_free = taken
                        .iter()
                        .all(|other| span.end <= other.start || other.end <= span.start);
                    if !LENGTHS.contains(&span.len()) || peak < PRESENT || !is_free {
                        continue;
                    }
                    cuts.push(Cut {
                        frames: span.len() * CLIP_FPS / FILM_FPS,
                        shot: Shot::Visit {
                            window,
                            from: span.start,
                        },
                    });
                    taken.push(span);
                    if cuts.len() == count {
                        return Ok(cuts);
                    }
                }
            }
        }
        bail!(
            "the film shows only {} visits, not {count}: it is not Debian's vtest.avi",
            cuts.len()
        )
    }

    /// By block, row by row: whether somebody is there.
    fn moving(&self, frame: &Yuv) -> Vec<bool> {
        let mut sums = vec![0u32; COLUMNS * ROWS];
        for y in 0..FILM_HEIGHT {
            for x in 0..FILM_WIDTH {
                let at = y * FILM_WIDTH + x;
                sums[y / BLOCK * COLUMNS + x / BLOCK] +=
                    u32::from(frame.bytes[at].abs_diff(self.background.bytes[at]));
            }
        }
        let pixels = (BLOCK * BLOCK) as u32;
        sums.iter()
            .map(|sum| *sum > BLOCK_DIFFERS * pixels)
            .collect()
    }
}

fn occupied(blocks: &[bool], window: Window) -> usize {
    (window.y..window.y + window.h)
        .flat_map(|y| (window.x..window.x + window.w).map(move |x| y * COLUMNS + x))
        .filter(|&block| blocks[block])
        .count()
}

/// Stretches that begin and end with nobody there, and have somebody all the time between.
fn spans_between_quiet(counts: &[usize]) -> Vec<Range<usize>> {
    let quiet: Vec<usize> = (0..counts.len()).filter(|&at| counts[at] == 0).collect();
    quiet
        .windows(2)
        .filter(|pair| pair[1] > pair[0] + 1)
        .map(|pair| pair[0]..pair[1] + 1)
        .collect()
}

/// Each sample's median over the film, of which every tenth frame is enough.
fn median(film: &[Yuv]) -> Yuv {
    let some: Vec<&Yuv> = film.iter().step_by(10).collect();
    let mut bytes = Vec::with_capacity(some[0].bytes.len());
    let mut values = vec![0u8; some.len()];
    for at in 0..some[0].bytes.len() {
        for (value, frame) in std::iter::zip(&mut values, &some) {
            *value = frame.bytes[at];
        }
        let middle = values.len() / 2;
        bytes.push(*values.select_nth_unstable(middle).1);
    }
    Yuv { bytes, ..*some[0] }
}

fn paste(onto: &mut Yuv, from: &Yuv, window: Window) {
    for index in 0..3 {
        let (width, _, place) = onto.plane(index);
        let block = if index == 0 { BLOCK } else { BLOCK / 2 };
        for y in window.y * block..(window.y + window.h) * block {
            let row = place.start + y * width;
            let part = row + window.x * block..row + (window.x + window.w) * block;
            onto.bytes[part.clone()].copy_from_slice(&from.bytes[part]);
        }
    }
}

/// As high as the canvas and in its middle, bilinear.
fn scale_into(canvas: &mut Yuv, picture: &Yuv) {
    for index in 0..3 {
        let (to_width, to_height, to_place) = canvas.plane(index);
        let (width, height, place) = picture.plane(index);
        let source = &picture.bytes[place];
        let scaled_width = to_height * width / height;
        let left = (to_width - scaled_width) / 2;
        let columns: Vec<(usize, usize, u32)> = (0..scaled_width)
            .map(|x| sample(x, scaled_width, width))
            .collect();
        for y in 0..to_height {
            let (top, bottom, down) = sample(y, to_height, height);
            let (above, below) = (&source[top * width..], &source[bottom * width..]);
            let start = to_place.start + y * to_width + left;
            let row = &mut canvas.bytes[start..start + scaled_width];
            for (out, &(x0, x1, right)) in std::iter::zip(row, &columns) {
                let mix =
                    |line: &[u8]| u32::from(line[x0]) * (256 - right) + u32::from(line[x1]) * right;
                let sum = mix(above) * (256 - down) + mix(below) * down;
                *out = ((sum + (1 << 15)) >> 16) as u8;
            }
        }
    }
}

/// For place `at` of `to`: the two samples of `from` it lies between, and how near it is to the second, of 256.
fn sample(at: usize, to: usize, from: usize) -> (usize, usize, u32) {
    let place = ((2 * at + 1) * from * 256 / (2 * to)).saturating_sub(128);
    let first = (place / 256).min(from - 1);
    (first, (first + 1).min(from - 1), (place % 256) as u32)
}

/// Gaussian noise out of a table that every row enters at another place.
pub struct Noise {
    luma: Vec<i8>,
    chroma: Vec<i8>,
    state: u64,
}

impl Noise {
    const TABLE: usize = 1 << 18;

    pub fn new(seed: u64) -> Self {
        let mut noise = Self {
            luma: Vec::new(),
            chroma: Vec::new(),
            state: seed,
        };
        noise.luma = (0..Self::TABLE)
            .map(|_| noise.gaussian(NOISE_LUMA))
            .collect();
        noise.chroma = (0..Self::TABLE)
            .map(|_| noise.gaussian(NOISE_CHROMA))
            .collect();
        noise
    }

    pub fn add(&mut self, picture: &mut Yuv) {
        for index in 0..3 {
            let (width, _, place) = picture.plane(index);
            for row in picture.bytes[place].chunks_exact_mut(width) {
                let start = (self.next() as usize) % (Self::TABLE - width);
                let table = if index == 0 { &self.luma } else { &self.chroma };
                for (value, noise) in std::iter::zip(row, &table[start..start + width]) {
                    *value = value.saturating_add_signed(*noise);
                }
            }
        }
    }

    /// Box and Muller's transform.
    fn gaussian(&mut self, deviation: f64) -> i8 {
        let (a, b) = (self.uniform(), self.uniform());
        let value = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (value * deviation).round().clamp(-100.0, 100.0) as i8
    }

    /// Above 0, up to 1.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): small, and the same on every machine and in every release.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
