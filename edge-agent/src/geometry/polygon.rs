//! Polygons and lines on a picture: what lies inside, and what crosses what. Pure.
//!
//! Corners in order, the last joined to the first. Signs are those of a picture, whose second axis points down: a turn
//! to the right, as seen by whoever walks along, is positive.

use wire::record::NormBox;

pub type Point = [f32; 2];

/// Whether the point lies inside, by the even-odd rule (Shimrat, CACM 1962): a ray to the right meets the outline an odd
/// number of times.
pub fn contains(polygon: &[Point], [x, y]: Point) -> bool {
    let mut inside = false;
    for ([ax, ay], [bx, by]) in edges(polygon) {
        if (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax) {
            inside = !inside;
        }
    }
    inside
}

/// Area by the shoelace formula, whichever way round the corners go.
pub fn area(polygon: &[Point]) -> f32 {
    let doubled: f32 = edges(polygon)
        .map(|([ax, ay], [bx, by])| ax * by - bx * ay)
        .sum();
    doubled.abs() / 2.0
}

/// The smallest box around it.
pub fn bounds(polygon: &[Point]) -> NormBox {
    let of = |axis: usize| {
        let values = polygon.iter().map(move |point| point[axis]);
        values.fold((1.0_f32, 0.0_f32), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let ((left, right), (top, bottom)) = (of(0), of(1));
    super::from_corners(left, top, right, bottom)
}

/// Whether two edges meet that are not neighbours, or neighbours fold back onto each other.
pub fn crosses_itself(polygon: &[Point]) -> bool {
    let edges: Vec<(Point, Point)> = edges(polygon).collect();
    let count = edges.len();
    (0..count).any(|first| {
        (first + 1..count).any(|second| {
            let ((a, b), (c, d)) = (edges[first], edges[second]);
            if second == first + 1 {
                folds_back(a, b, d)
            } else if first == 0 && second == count - 1 {
                folds_back(c, d, b)
            } else {
                meet(a, b, c, d)
            }
        })
    })
}

/// On which side of the way from `a` to `b` a point lies: positive to the right, negative to the left, as twice the
/// area of the triangle.
pub fn side(a: Point, b: Point, point: Point) -> f32 {
    (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])
}

/// Whether the stretches `a`-`b` and `c`-`d` have a point in common.
pub fn meet(a: Point, b: Point, c: Point, d: Point) -> bool {
    let (ac, ad) = (side(a, b, c), side(a, b, d));
    let (ca, cb) = (side(c, d, a), side(c, d, b));
    if ac * ad < 0.0 && ca * cb < 0.0 {
        return true;
    }
    (ac == 0.0 && is_between(a, b, c))
        || (ad == 0.0 && is_between(a, b, d))
        || (ca == 0.0 && is_between(c, d, a))
        || (cb == 0.0 && is_between(c, d, b))
}

/// Whether a point on the line through `a` and `b` lies on the stretch between them.
fn is_between(a: Point, b: Point, point: Point) -> bool {
    (0..2).all(|axis| {
        let (low, high) = (a[axis].min(b[axis]), a[axis].max(b[axis]));
        (low..=high).contains(&point[axis])
    })
}

/// Whether the way from `a` over `b` to `c` goes back along itself.
fn folds_back(a: Point, b: Point, c: Point) -> bool {
    let ahead = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]);
    side(a, b, c) == 0.0 && ahead < 0.0
}

fn edges(polygon: &[Point]) -> impl Iterator<Item = (Point, Point)> {
    let next = polygon.iter().cycle().skip(1);
    polygon.iter().copied().zip(next.copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    const L: [Point; 6] = [
        [0.1, 0.1],
        [0.3, 0.1],
        [0.3, 0.7],
        [0.9, 0.7],
        [0.9, 0.9],
        [0.1, 0.9],
    ];

    #[test]
    fn what_lies_in_an_l() {
        for (point, inside) in [
            ([0.2, 0.2], true),
            ([0.5, 0.8], true),
            ([0.5, 0.5], false),
            ([0.95, 0.8], false),
            ([0.2, 0.95], false),
            ([0.2, 0.7], true),
        ] {
            assert_eq!(contains(&L, point), inside, "{point:?}");
            let reversed: Vec<Point> = L.iter().rev().copied().collect();
            assert_eq!(contains(&reversed, point), inside, "{point:?} reversed");
        }
        assert!((area(&L) - 0.28).abs() < 1e-6);
        let bounds = bounds(&L);
        assert!((bounds.w - 0.8).abs() < 1e-6 && (bounds.y - 0.1).abs() < 1e-6);
    }

    #[test]
    fn what_crosses_itself() {
        let bow_tie = [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]];
        let spike = [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [0.5, 0.0], [0.5, 1.0]];
        let touching = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.0], [0.0, 1.0]];
        let flat = [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]];
        for (polygon, crosses) in [
            (&L[..], false),
            (&bow_tie[..], true),
            (&spike[..], true),
            (&touching[..], true),
            (&flat[..], true),
            (&[[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [0.5, 1.0]][..], false),
        ] {
            assert_eq!(crosses_itself(polygon), crosses, "{polygon:?}");
        }
    }

    #[test]
    fn the_right_of_an_arrow_to_the_right_is_below_it() {
        let (from, to) = ([0.0, 0.5], [1.0, 0.5]);
        assert!(side(from, to, [0.5, 0.9]) > 0.0);
        assert!(side(from, to, [0.5, 0.1]) < 0.0);
        assert!(meet(from, to, [0.5, 0.1], [0.5, 0.9]));
        assert!(!meet(from, to, [0.5, 0.1], [0.5, 0.4]));
        assert!(!meet([0.0, 0.5], [0.3, 0.5], [0.5, 0.1], [0.5, 0.9]));
    }
}
