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
/// What is packed costs no more inferences than this.
pub const MOST_INPUTS: usize = 2;
/// Parts share an input if that leaves them so much of the scale they had before.
const KEPT_SCALE: f64 = 0.75;
/// Pixels of padding between two tiles: what is seen in one must not lean on its neighbour. One cell of the finest map.
const GUTTER: u32 = 8;
/// Small objects gain by being enlarged only so far: beyond it there is nothing more to see in them.
pub const MAX_SCALE: f64 = 1.0;
/// Smallest side of a part, in pixels of the picture.
const MIN_SIDE: u32 = 16;
/// What a fraction made of whole pixels may be off by, in pixels: it is not to take in one more of them.
const ROUNDING: f32 = 0.01;
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

/// How the parts lie in inputs, one inference each: together as long as that costs little of the scale that each would
/// have alone (up to [`MAX_SCALE`]), and never in more than [`MOST_INPUTS`]. The whole picture when there are no parts,
/// or too many.
pub fn pack(input: &Input, picture: (u32, u32), parts: &[NormBox]) -> Vec<Vec<Tile>> {
    if parts.is_empty() || parts.len() > MOST_PARTS {
        return vec![vec![Tile::whole(input, picture)]];
    }
    let place = |group: Group| {
        let places = std::iter::zip(group.sources, group.places);
        places
            .map(|(source, place)| Tile::scaled(source, place, group.scale))
            .collect()
    };
    groups((input.width, input.height), picture, parts)
        .into_iter()
        .map(place)
        .collect()
}

/// How many inputs [`pack`] would fill, and the smallest scale in them, in pixels of the input for one of the picture.
pub fn packed(input: (u32, u32), picture: (u32, u32), parts: &[NormBox]) -> (usize, f64) {
    let groups = groups(input, picture, parts);
    let scale = groups.iter().map(|group| group.scale).fold(1.0, f64::min);
    (groups.len(), scale)
}

/// Parts in one input.
#[derive(Clone, Debug)]
struct Group {
    sources: Vec<Rect>,
    places: Vec<(u32, u32)>,
    scale: f64,
}

/// First fit, the largest part first.
fn groups(input: (u32, u32), picture: (u32, u32), parts: &[NormBox]) -> Vec<Group> {
    let mut sources: Vec<Rect> = parts.iter().map(|part| pixels(part, picture)).collect();
    sources.sort_by_key(|source| {
        std::cmp::Reverse(u64::from(source.width) * u64::from(source.height))
    });
    let mut groups: Vec<Group> = Vec::new();
    for source in sources {
        let alone = arrange(input, vec![source]);
        let together = |group: &Group| arrange(input, [&group.sources[..], &[source]].concat());
        let joined: Vec<Group> = groups.iter().map(together).collect();
        let cheap = |joined: &Group, before: &Group| {
            joined.scale >= before.scale * KEPT_SCALE && joined.scale >= alone.scale * KEPT_SCALE
        };
        let fits = (0..groups.len()).find(|index| cheap(&joined[*index], &groups[*index]));
        let best =
            || (0..groups.len()).max_by(|a, b| joined[*a].scale.total_cmp(&joined[*b].scale));
        match fits.or_else(|| (groups.len() == MOST_INPUTS).then(best).flatten()) {
            Some(index) => groups[index] = joined[index].clone(),
            None => groups.push(alone),
        }
    }
    groups
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
        let first = (from.clamp(0.0, 1.0) * side + ROUNDING).floor() as u32;
        let end = ((from + length).clamp(0.0, 1.0) * side - ROUNDING).ceil() as u32;
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

/// The largest scale at which all parts find room in one input, and where each lies. Shelves, the tallest first:
/// next-fit decreasing height (Coffman, Garey, Johnson and Tarjan, SIAM J. Comput. 9, 1980).
fn arrange((width, height): (u32, u32), sources: Vec<Rect>) -> Group {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sources[*index].height));
    let mut scale = MAX_SCALE;
    for source in &sources {
        scale = scale
            .min(f64::from(width) / f64::from(source.width))
            .min(f64::from(height) / f64::from(source.height));
    }
    loop {
        if let Some(places) = shelves((width, height), &sources, &order, scale) {
            return Group {
                sources,
                places,
                scale,
            };
        }
        // Ends: at last each part is one pixel, and an input has room for all of them.
        scale *= STEP;
    }
}

fn shelves(
    (width, height): (u32, u32),
    sources: &[Rect],
    order: &[usize],
    scale: f64,
) -> Option<Vec<(u32, u32)>> {
    let mut places = vec![(0, 0); sources.len()];
    let (mut x, mut y, mut shelf) = (0, 0, 0);
    for index in order {
        let across = scaled_side(sources[*index].width, scale);
        let down = scaled_side(sources[*index].height, scale);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::model::{ColorOrder, Layout};

    const PICTURE: (u32, u32) = (3840, 2160);

    fn input() -> Input {
        Input {
            name: "images".into(),
            width: 416,
            height: 416,
            layout: Layout::Nchw,
            color_order: ColorOrder::Rgb,
            fit: Fit::Letterbox,
            pad: 114,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    /// In pixels of [`PICTURE`].
    fn part(x: f32, y: f32, w: f32, h: f32) -> NormBox {
        let (width, height) = (PICTURE.0 as f32, PICTURE.1 as f32);
        NormBox {
            x: x / width,
            y: y / height,
            w: w / width,
            h: h / height,
        }
    }

    const ALL: [f32; 4] = [0.0, 0.0, 3840.0, 2160.0];

    #[test]
    fn parts_lie_in_as_few_inputs_as_leaves_them_large() {
        // Parts, and the parts of each input with its scale.
        for (parts, expected) in [
            (vec![], vec![(1, 0.1083)]),
            (vec![[0.0, 0.0, 416.0, 416.0]], vec![(1, 1.0)]),
            // Never enlarged.
            (vec![[9.0, 9.0, 100.0, 100.0]], vec![(1, 1.0)]),
            (vec![[0.0, 0.0, 200.0, 200.0]; 4], vec![(4, 1.0)]),
            (vec![[0.0, 0.0, 832.0, 832.0]; 2], vec![(1, 0.5), (1, 0.5)]),
            // Wide ones lie below each other at no cost.
            (vec![[0.0, 0.0, 832.0, 400.0]; 2], vec![(2, 0.49)]),
            // The whole picture costs one input of its own.
            (
                vec![[0.0, 0.0, 300.0, 200.0], ALL, [900.0, 0.0, 300.0, 200.0]],
                vec![(1, 0.1083), (2, 1.0)],
            ),
            // Too many for what they may cost: all go on, smaller.
            (vec![[0.0, 0.0, 832.0, 832.0]; 3], vec![(1, 0.5), (2, 0.25)]),
            (vec![[0.0, 0.0, 50.0, 50.0]; 17], vec![(1, 0.1083)]),
        ] {
            let boxes: Vec<NormBox> = parts
                .iter()
                .map(|[x, y, w, h]| part(*x, *y, *w, *h))
                .collect();
            let packed = pack(&input(), PICTURE, &boxes);
            assert_eq!(packed.len(), expected.len(), "{parts:?}");
            for (tiles, (count, scale)) in std::iter::zip(&packed, expected) {
                assert_eq!(tiles.len(), count, "{parts:?}");
                let found = f64::from(tiles[0].scale.x);
                assert!((found / scale - 1.0).abs() < 0.05, "{parts:?}: {found}");
                check_tiles(tiles);
            }
        }
    }

    /// Within the input, and a gutter apart.
    fn check_tiles(tiles: &[Tile]) {
        for (index, a) in tiles.iter().enumerate() {
            assert!(a.x + a.width <= 416 && a.y + a.height <= 416, "{a:?}");
            for b in &tiles[index + 1..] {
                let apart = |a: u32, a_side: u32, b: u32, b_side: u32| {
                    a + a_side + GUTTER <= b || b + b_side + GUTTER <= a
                };
                assert!(
                    apart(a.x, a.width, b.x, b.width) || apart(a.y, a.height, b.y, b.height),
                    "{a:?} {b:?}"
                );
            }
        }
    }

    #[test]
    fn boxes_come_back_where_they_are_and_cut_ones_do_not() {
        let parts = [
            part(1000.0, 500.0, 200.0, 200.0),
            part(0.0, 0.0, 200.0, 100.0),
        ];
        let packed = pack(&input(), PICTURE, &parts);
        let [tiles] = packed.as_slice() else {
            panic!("{packed:?}");
        };
        // The larger lies left, the one of the picture's corner right of it behind the gutter.
        assert_eq!((tiles[0].x, tiles[1].x), (0, 208));
        let seen = |x1: f32, y1: f32, x2: f32, y2: f32| {
            let found = LabelBox {
                x1,
                y1,
                x2,
                y2,
                score: 0.9,
                label: 0,
            };
            let back = to_picture(tiles, PICTURE, vec![found]);
            back.first().map(|one| [one.x1, one.y1, one.x2, one.y2])
        };
        assert_eq!(
            seen(50.0, 60.0, 90.0, 160.0),
            Some([1050.0, 560.0, 1090.0, 660.0])
        );
        assert_eq!(
            seen(218.0, 20.0, 238.0, 60.0),
            Some([10.0, 20.0, 30.0, 60.0])
        );
        // At the picture's own edge an object is as it is; at a part's it is cut.
        assert_eq!(seen(208.0, 0.0, 238.0, 60.0), Some([0.0, 0.0, 30.0, 60.0]));
        assert_eq!(seen(0.0, 60.0, 40.0, 160.0), None);
        assert_eq!(seen(50.0, 120.0, 90.0, 199.5), None);
        // Between tiles, across two of them, and in the padding.
        assert_eq!(seen(200.0, 20.0, 208.0, 60.0), None);
        assert_eq!(seen(180.0, 20.0, 230.0, 60.0), None);
        assert_eq!(seen(50.0, 300.0, 90.0, 400.0), None);
    }
}
