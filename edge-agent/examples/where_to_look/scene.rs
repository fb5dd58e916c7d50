//! The film inside larger pictures, and its truth there.

use anyhow::{Context, Result};
use edge_agent::frame::{Frame, Plane};
use edge_agent::geometry;
use std::path::Path;
use std::sync::Arc;
use wire::record::NormBox;

/// A picture with the film somewhere in it, everything else being blurred background.
pub struct Scene {
    pub name: &'static str,
    width: u32,
    height: u32,
    /// Where each copy of the film begins, even.
    at: Vec<(u32, u32)>,
    /// How many pixels each of the film's pixels becomes, by axis.
    zoom: u32,
    /// Three tight planes.
    canvas: Vec<u8>,
}

impl Scene {
    pub fn all(background: &Frame) -> Vec<Self> {
        let (w, h) = (background.width, background.height);
        vec![
            Self::new("film 768x576", (w, h), &[(0, 0)], 1, background),
            Self::new("wide 2560x720", (2560, 720), &[(896, 72)], 1, background),
            Self::new(
                "4K, film doubled",
                (3840, 2160),
                &[(1152, 504)],
                2,
                background,
            ),
            Self::new(
                "4K, film as it is",
                (3840, 2160),
                &[(1536, 792)],
                1,
                background,
            ),
            Self::new(
                "4K, film twice",
                (3840, 2160),
                &[(128, 128), (2944, 1456)],
                1,
                background,
            ),
        ]
    }

    fn new(
        name: &'static str,
        (width, height): (u32, u32),
        at: &[(u32, u32)],
        zoom: u32,
        background: &Frame,
    ) -> Self {
        let mut canvas = Vec::new();
        for (index, divisor) in [(0, 1), (1, 2), (2, 2)] {
            let from = (background.width / divisor, background.height / divisor);
            canvas.extend(blurred(
                background,
                index,
                from,
                (width / divisor, height / divisor),
            ));
        }
        Self {
            name,
            width,
            height,
            at: at.to_vec(),
            zoom,
            canvas,
        }
    }

    /// This frame of the film as this scene's.
    pub fn around(&self, film: &Frame) -> Frame {
        let mut bytes = self.canvas.clone();
        let mut planes = film.planes;
        let mut offset = 0;
        let zoom = self.zoom as usize;
        for (index, divisor) in [(0, 1), (1, 2), (2, 2)] {
            let (stride, rows) = (
                (self.width / divisor) as usize,
                (self.height / divisor) as usize,
            );
            planes[index] = Plane { offset, stride };
            let wide = (film.width / divisor) as usize;
            for (left, top) in &self.at {
                let (left, top) = ((left / divisor) as usize, (top / divisor) as usize);
                for y in 0..(film.height / divisor) as usize * zoom {
                    let row = film.row(index, y / zoom, wide);
                    let out = &mut bytes[offset + (top + y) * stride + left..][..wide * zoom];
                    for (pixels, value) in out.chunks_exact_mut(zoom).zip(row) {
                        pixels.fill(*value);
                    }
                }
            }
            offset += stride * rows;
        }
        Frame {
            width: self.width,
            height: self.height,
            planes,
            bytes: Arc::new(bytes),
            ..film.clone()
        }
    }

    /// A box of the film, corners in its pixels, wherever it is in this scene, in fractions.
    pub fn places(&self, [x1, y1, x2, y2]: [f32; 4]) -> impl Iterator<Item = NormBox> + '_ {
        self.at.iter().map(move |(left, top)| {
            let across = |x: f32| (x * self.zoom as f32 + *left as f32) / self.width as f32;
            let down = |y: f32| (y * self.zoom as f32 + *top as f32) / self.height as f32;
            geometry::from_corners(across(x1), down(y1), across(x2), down(y2))
        })
    }
}

/// One plane of the picture stretched to another size, from means of 32 x 32 samples.
fn blurred(frame: &Frame, plane: usize, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    const CELLS: usize = 24;
    let (wide, high) = (from.0 as usize, from.1 as usize);
    let mut sums = vec![(0_u32, 0_u32); CELLS * CELLS];
    for y in 0..high {
        for (x, value) in frame.row(plane, y, wide).iter().enumerate() {
            let (sum, count) = &mut sums[y * CELLS / high * CELLS + x * CELLS / wide];
            *sum += u32::from(*value);
            *count += 1;
        }
    }
    let mean = |x: usize, y: usize| {
        let (sum, count) = sums[y.min(CELLS - 1) * CELLS + x.min(CELLS - 1)];
        sum as f32 / count.max(1) as f32
    };
    let (wide, high) = (to.0 as usize, to.1 as usize);
    let mut out = Vec::with_capacity(wide * high);
    for y in 0..high {
        let v = y as f32 * CELLS as f32 / high as f32;
        for x in 0..wide {
            let u = x as f32 * CELLS as f32 / wide as f32;
            let (i, j) = (u as usize, v as usize);
            let (a, b) = (u.fract(), v.fract());
            let upper = mean(i, j) * (1.0 - a) + mean(i + 1, j) * a;
            let lower = mean(i, j + 1) * (1.0 - a) + mean(i + 1, j + 1) * a;
            out.push((upper * (1.0 - b) + lower * b) as u8);
        }
    }
    out
}

/// The median of each pixel: the film without its people.
pub fn median(frames: &[Frame]) -> Frame {
    let first = &frames[0];
    let mut bytes = Vec::new();
    let mut planes = first.planes;
    for (index, divisor) in [(0, 1), (1, 2), (2, 2)] {
        let (wide, high) = (
            (first.width / divisor) as usize,
            (first.height / divisor) as usize,
        );
        planes[index] = Plane {
            offset: bytes.len(),
            stride: wide,
        };
        for y in 0..high {
            let rows: Vec<&[u8]> = frames
                .iter()
                .map(|frame| frame.row(index, y, wide))
                .collect();
            bytes.extend((0..wide).map(|x| {
                let mut values: Vec<u8> = rows.iter().map(|row| row[x]).collect();
                values.sort_unstable();
                values[values.len() / 2]
            }));
        }
    }
    Frame {
        planes,
        bytes: Arc::new(bytes),
        ..first.clone()
    }
}

/// People by frame of the film: corners in its pixels.
pub fn read_truth(path: &Path) -> Result<Vec<Vec<[f32; 4]>>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: set TEST_DATA or --truth", path.display()))?;
    let document = roxmltree::Document::parse(&text)?;
    let corners = |node: roxmltree::Node| -> Result<[f32; 4]> {
        let value = |name| -> Result<f32> {
            let text = node.attribute(name);
            Ok(text
                .with_context(|| format!("a box without {name}"))?
                .parse()?)
        };
        let (w, h) = (value("w")? / 2.0, value("h")? / 2.0);
        let (x, y) = (value("xc")?, value("yc")?);
        Ok([x - w, y - h, x + w, y + h])
    };
    let frames = document
        .descendants()
        .filter(|node| node.has_tag_name("frame"));
    frames
        .map(|frame| {
            let boxes = frame.descendants().filter(|node| node.has_tag_name("box"));
            boxes.map(corners).collect()
        })
        .collect()
}
