//! The brightness of a picture at about 160 cells along its longer side, and how much fine detail it has: what motion and
//! a camera's sight are judged by, at a thousandth of what a look costs. Pure.
//!
//! It runs on every decoded picture of every camera, so rows are only ever added to rows: byte by byte into 16-bit column
//! sums, which compilers turn into vector instructions. Not more than [`ROWS`] rows of a cell are read; they are spread over
//! it, and their mean is as good against noise as the rest of the chain needs.

use crate::frame::{Frame, PixelFormat};

/// Cells along the longer side of a picture, about: a walker at the far end of a street is still two cells wide.
pub const WIDTH: usize = 160;

/// Rows of a cell that are read, at most. Steps between pixels are cut at [`STEEPEST`], so that the squares of so many fit
/// into 16 bits.
const ROWS: usize = 4;
const STEEPEST: u8 = 127;
/// Pixels, as part of a cell, over which a step is measured: two at 1080p, four at 4K. What is finer than that, no lens
/// draws and no encoder keeps.
const STEPS_A_CELL: usize = 6;
/// Cells along the side of a patch of which fine detail is judged: large enough that noise is about the same in all of them.
const PATCH: usize = 4;

/// Mean luma of the cells of a picture, `[height, width]`, top row first. Cells are of one size to within a pixel: cell `x`
/// spans the fractions `x / width ..= (x + 1) / width` of the picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SmallLuma {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
    /// How steep the sharpest tenth of the picture is, in grey levels from one pixel to (nearly) the next, without what
    /// noise alone does to the calmest parts. A lens out of focus takes this away first; so does darkness, and a reader
    /// has to compare it with the contrast of `pixels`.
    pub detail: f32,
}

impl SmallLuma {
    /// Of an I420 or RGB frame of any size; one smaller than [`WIDTH`] keeps its own.
    pub fn of(frame: &Frame) -> Self {
        let (wide, high) = (frame.width as usize, frame.height as usize);
        let longer = wide.max(high);
        let cells = |side: usize| {
            if longer <= WIDTH {
                side
            } else {
                (side * WIDTH / longer).max(1)
            }
        };
        let (width, height) = (cells(wide), cells(high));
        if width * height == 0 {
            return Self::default();
        }
        let columns: Vec<usize> = (0..=width).map(|x| x * wide / width).collect();
        let mut scan = Scan::new(frame, wide.div_ceil(width));
        let mut pixels = Vec::with_capacity(width * height);
        let mut patches = Vec::with_capacity(width.div_ceil(PATCH) * height.div_ceil(PATCH));
        for y in 0..height {
            let rows = scan.add(y * high / height, (y + 1) * high / height);
            scan.cells(&columns, rows, &mut pixels);
            scan.patches(&columns, rows, y.is_multiple_of(PATCH), &mut patches);
        }
        Self {
            width,
            height,
            pixels,
            detail: detail(&patches),
        }
    }
}

/// Column sums over the rows of one row of cells.
struct Scan<'a> {
    frame: &'a Frame,
    bytes_a_pixel: usize,
    /// Bytes between the two pixels of a step.
    lag: usize,
    sums: Vec<u16>,
    squares: Vec<u16>,
}

impl<'a> Scan<'a> {
    fn new(frame: &'a Frame, cell: usize) -> Self {
        let bytes_a_pixel = match frame.format {
            PixelFormat::I420 => 1,
            PixelFormat::Rgb => 3,
        };
        let bytes = frame.width as usize * bytes_a_pixel;
        let lag = (cell / STEPS_A_CELL).max(1) * bytes_a_pixel;
        Self {
            frame,
            bytes_a_pixel,
            lag,
            sums: vec![0; bytes],
            squares: vec![0; bytes.saturating_sub(lag)],
        }
    }

    /// Adds up rows `top..bottom`, at most [`ROWS`] of them; gives how many.
    fn add(&mut self, top: usize, bottom: usize) -> usize {
        self.sums.fill(0);
        self.squares.fill(0);
        let rows = (bottom - top).min(ROWS);
        for index in 0..rows {
            let y = top + (2 * index + 1) * (bottom - top) / (2 * rows);
            let row = self.frame.row(0, y, self.sums.len());
            for (sum, byte) in self.sums.iter_mut().zip(row) {
                *sum += u16::from(*byte);
            }
            let further = row.get(self.lag..).unwrap_or_default();
            for ((square, near), far) in self.squares.iter_mut().zip(row).zip(further) {
                let step = u16::from(near.abs_diff(*far).min(STEEPEST));
                *square += step * step;
            }
        }
        rows
    }

    /// Mean luma of each cell, rounded.
    fn cells(&self, columns: &[usize], rows: usize, pixels: &mut Vec<u8>) {
        let per_pixel = self.bytes_a_pixel;
        pixels.extend(columns.windows(2).map(|edge| {
            let bytes = &self.sums[edge[0] * per_pixel..edge[1] * per_pixel];
            let count = ((edge[1] - edge[0]) * rows) as u32;
            let mean = |sum: u32| (sum + count / 2) / count;
            let luma = if per_pixel == 1 {
                mean(bytes.iter().map(|sum| u32::from(*sum)).sum())
            } else {
                mean(bytes.chunks_exact(3).map(luma_of_rgb).sum())
            };
            luma as u8
        }));
    }

    /// Adds to the patches that this row of cells goes through; `begins` them first. For RGB of all three colours: they blur
    /// together.
    fn patches(&self, columns: &[usize], rows: usize, begins: bool, patches: &mut Vec<Patch>) {
        let last = columns.len() - 1;
        let across = last.div_ceil(PATCH);
        if begins {
            patches.resize(patches.len() + across, Patch::default());
        }
        let first = patches.len() - across;
        for (x, patch) in (0..last).step_by(PATCH).zip(&mut patches[first..]) {
            let end = columns[(x + PATCH).min(last)] * self.bytes_a_pixel;
            let start = columns[x] * self.bytes_a_pixel;
            let squares = &self.squares[start..end.min(self.squares.len()).max(start)];
            patch.squares += squares.iter().map(|one| u32::from(*one)).sum::<u32>();
            patch.count += (squares.len() * rows) as u32;
        }
    }
}

/// Sum of the squared steps in a part of the picture, and how many they are.
#[derive(Clone, Copy, Debug, Default)]
struct Patch {
    squares: u32,
    count: u32,
}

/// BT.601 weights in 256ths, of sums.
fn luma_of_rgb(sums: &[u16]) -> u32 {
    (77 * u32::from(sums[0]) + 150 * u32::from(sums[1]) + 29 * u32::from(sums[2])) >> 8
}

/// What the sharpest tenth has more than the calmest fifth, as a step in grey levels. Noise is everywhere and leaves both
/// sides of the difference; edges are where things are.
fn detail(patches: &[Patch]) -> f32 {
    let measured = patches.iter().filter(|patch| patch.count > 0);
    let mut steepness: Vec<f32> = measured
        .map(|patch| patch.squares as f32 / patch.count as f32)
        .collect();
    let count = steepness.len();
    if count == 0 {
        return 0.0;
    }
    let (_, calm, rest) = steepness.select_nth_unstable_by(count / 5, f32::total_cmp);
    let calm = *calm;
    let sharpest = (count / 10).max(1).min(rest.len());
    if sharpest == 0 {
        return 0.0;
    }
    let from = rest.len() - sharpest;
    rest.select_nth_unstable_by(from, f32::total_cmp);
    let sharp = rest[from..].iter().sum::<f32>() / sharpest as f32;
    // Even pure noise is uneven from patch to patch.
    (sharp - 1.3 * calm).max(0.0).sqrt()
}

#[cfg(test)]
pub(crate) mod scenes;
#[cfg(test)]
mod tests;
