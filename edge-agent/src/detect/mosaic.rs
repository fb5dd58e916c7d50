//! How parts of a picture lie in a network's input: one beside the other with grey between, all at one scale, so that
//! several small regions cost one inference. And the way back, for boxes. Pure.

use super::decode::LabelBox;
use super::model::{Fit, Input};
use wire::record::NormBox;

/// Pixels of the input for one pixel of the picture, by axis: boxes are divided by it to get back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub x: f32,
    pub y: f32,
}

/// Pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A part of the picture and where it lies in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tile {
    pub source: Rect,
    /// Left and upper edge in the input.
    pub x: u32,
    pub y: u32,
    /// Size in the input.
    pub width: u32,
    pub height: u32,
    pub scale: Scale,
}

/// More parts than these are looked at as the whole picture.
pub const MOST_PARTS: usize = 16;
/// Pixels of padding between two tiles: what is seen in one must not lean on its neighbour. One cell of the finest map.
const GUTTER: u32 = 8;
/// Small objects gain by being enlarged only so far: beyond it there is nothing more to see in them.
pub const MAX_SCALE: f64 = 1.0;
/// Smallest side of a part, in pixels of the picture.
const MIN_SIDE: u32 = 16;
/// Each try at a scale is so much smaller than the one before.
const STEP: f64 = 0.97;
/// A box so near to a tile's inner edge, in pixels of the input, is taken for an object that goes on beyond it.
const NEAR_EDGE: f32 = 2.0;

impl Tile {
    /// The whole picture, as the description says that it lies in the input.
    pub fn whole(input: &Input, (width, height): (u32, u32)) -> Self {
        let ratio = [
            f64::from(input.width) / f64::from(width),
            f64::from(input.height) / f64::from(height),
        ];
        let source = Rect {
            x: 0,
            y: 0,
            width,
            height,
        };
        match input.fit {
            Fit::Stretch => Self {
                source,
                x: 0,
                y: 0,
                width: input.width,
                height: input.height,
                scale: Scale {
                    x: ratio[0] as f32,
                    y: ratio[1] as f32,
                },
            },
            Fit::Letterbox => Self::scaled(source, (0, 0), ratio[0].min(ratio[1])),
        }
    }

    fn scaled(source: Rect, (x, y): (u32, u32), ratio: f64) -> Self {
        Self {
            source,
            x,
            y,
            width: scaled_side(source.width, ratio),
            height: scaled_side(source.height, ratio),
            scale: Scale {
                x: ratio as f32,
                y: ratio as f32,
            },
        }
    }

    /// A box of the input, in pixels of the picture, cut to what this tile shows.
    fn to_picture(self, found: &LabelBox) -> LabelBox {
        let source = self.source;
        let (left, top) = (source.x as f32, source.y as f32);
        let (right, bottom) = (left + source.width as f32, top + source.height as f32);
        let across = |x: f32| ((x - self.x as f32) / self.scale.x + left).clamp(left, right);
        let down = |y: f32| ((y - self.y as f32) / self.scale.y + top).clamp(top, bottom);
        LabelBox {
            x1: across(found.x1),
            y1: down(found.y1),
            x2: across(found.x2),
            y2: down(found.y2),
            ..*found
        }
    }

    fn holds(&self, x: f32, y: f32) -> bool {
        let (left, top) = (self.x as f32, self.y as f32);
        (left..left + self.width as f32).contains(&x)
            && (top..top + self.height as f32).contains(&y)
    }

    /// Whether a box of the picture ends where this tile does although the picture goes on.
    fn cuts(&self, found: &LabelBox, (width, height): (u32, u32)) -> bool {
        let source = self.source;
        let (right, bottom) = (source.x + source.width, source.y + source.height);
        let (near_x, near_y) = (NEAR_EDGE / self.scale.x, NEAR_EDGE / self.scale.y);
        (source.x > 0 && found.x1 <= source.x as f32 + near_x)
            || (source.y > 0 && found.y1 <= source.y as f32 + near_y)
            || (right < width && found.x2 >= right as f32 - near_x)
            || (bottom < height && found.y2 >= bottom as f32 - near_y)
    }
}

fn scaled_side(length: u32, ratio: f64) -> u32 {
    ((f64::from(length) * ratio).round_ties_even() as u32).max(1)
}

/// How the parts lie together in one input, at the largest common scale up to [`MAX_SCALE`]; the whole picture when
/// there are none, or too many.
pub fn pack(input: &Input, picture: (u32, u32), parts: &[NormBox]) -> Vec<Tile> {
    if parts.is_empty() || parts.len() > MOST_PARTS {
        return vec![Tile::whole(input, picture)];
    }
    let sources: Vec<Rect> = parts.iter().map(|part| pixels(part, picture)).collect();
    match arrange((input.width, input.height), &sources) {
        Some((ratio, places)) => std::iter::zip(sources, places)
            .map(|(source, place)| Tile::scaled(source, place, ratio))
            .collect(),
        None => vec![Tile::whole(input, picture)],
    }
}

/// The scale that [`pack`] would find, in pixels of the input for one of the picture.
pub fn packed_scale(input: (u32, u32), picture: (u32, u32), parts: &[NormBox]) -> Option<f64> {
    let sources: Vec<Rect> = parts.iter().map(|part| pixels(part, picture)).collect();
    arrange(input, &sources).map(|(ratio, _)| ratio)
}

/// Boxes of the input as boxes of the picture. What lies between tiles belongs to none and goes, and so does what a
/// tile's inner edge has cut: whoever chose the part put what it was chosen for well inside it.
pub fn to_picture(tiles: &[Tile], picture: (u32, u32), found: Vec<LabelBox>) -> Vec<LabelBox> {
    if let [whole] = tiles
        && (whole.source.width, whole.source.height) == picture
    {
        return found.iter().map(|found| whole.to_picture(found)).collect();
    }
    let back = |found: &LabelBox| {
        let center = ((found.x1 + found.x2) / 2.0, (found.y1 + found.y2) / 2.0);
        let tile = tiles.iter().find(|tile| tile.holds(center.0, center.1))?;
        let mapped = tile.to_picture(found);
        (!tile.cuts(&mapped, picture)).then_some(mapped)
    };
    found.iter().filter_map(back).collect()
}

fn pixels(part: &NormBox, (width, height): (u32, u32)) -> Rect {
    let span = |from: f32, length: f32, all: u32| {
        let side = all as f32;
        let first = (from.clamp(0.0, 1.0) * side).floor() as u32;
        let end = ((from + length).clamp(0.0, 1.0) * side).ceil() as u32;
        let least = MIN_SIDE.min(all);
        let first = first.min(all - least);
        (first, end.clamp(first + least, all) - first)
    };
    let (x, width) = span(part.x, part.w, width);
    let (y, height) = span(part.y, part.h, height);
    Rect {
        x,
        y,
        width,
        height,
    }
}

/// The largest scale at which all parts find room, and where each lies. Shelves, the tallest first: next-fit decreasing
/// height (Coffman, Garey, Johnson and Tarjan, SIAM J. Comput. 9, 1980).
fn arrange((width, height): (u32, u32), sources: &[Rect]) -> Option<(f64, Vec<(u32, u32)>)> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sources[*index].height));
    let mut ratio = MAX_SCALE;
    let (widest, tallest) = sources.iter().fold((1, 1), |(w, h), source| {
        (source.width.max(w), source.height.max(h))
    });
    for (room, side) in [(width, widest), (height, tallest)] {
        ratio = ratio.min(f64::from(room) / f64::from(side));
    }
    while ratio > 1e-3 {
        if let Some(places) = shelves((width, height), sources, &order, ratio) {
            return Some((ratio, places));
        }
        ratio *= STEP;
    }
    None
}

fn shelves(
    (width, height): (u32, u32),
    sources: &[Rect],
    order: &[usize],
    ratio: f64,
) -> Option<Vec<(u32, u32)>> {
    let mut places = vec![(0, 0); sources.len()];
    let (mut x, mut y, mut shelf) = (0, 0, 0);
    for index in order {
        let across = scaled_side(sources[*index].width, ratio);
        let down = scaled_side(sources[*index].height, ratio);
        if x > 0 && x + across > width {
            (x, y, shelf) = (0, y + shelf + GUTTER, 0);
        }
        if x + across > width || y + down > height {
            return None;
        }
        places[*index] = (x, y);
        x += across + GUTTER;
        shelf = shelf.max(down);
    }
    Some(places)
}
