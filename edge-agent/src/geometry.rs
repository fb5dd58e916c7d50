//! Rectangles in fractions of a picture, and what one asks of two of them. Pure.
//!
//! Fractions survive a change of resolution, so everything behind the detector speaks them.

pub mod polygon;

use wire::record::NormBox;

/// The box between two corners, cut to the picture.
pub fn from_corners(x1: f32, y1: f32, x2: f32, y2: f32) -> NormBox {
    let (x1, y1) = (x1.clamp(0.0, 1.0), y1.clamp(0.0, 1.0));
    NormBox {
        x: x1,
        y: y1,
        w: (x2.clamp(0.0, 1.0) - x1).max(0.0),
        h: (y2.clamp(0.0, 1.0) - y1).max(0.0),
    }
}

pub fn area(rect: &NormBox) -> f32 {
    rect.w.max(0.0) * rect.h.max(0.0)
}

/// Area both boxes cover.
pub fn overlap(a: &NormBox, b: &NormBox) -> f32 {
    let w = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
    let h = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
    w.max(0.0) * h.max(0.0)
}

/// Intersection over union, 0..=1. Two empty boxes share nothing.
pub fn iou(a: &NormBox, b: &NormBox) -> f32 {
    let shared = overlap(a, b);
    let union = area(a) + area(b) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

/// Where an object stands: the middle of its lower edge.
pub fn bottom_center(rect: &NormBox) -> (f32, f32) {
    (rect.x + rect.w / 2.0, rect.y + rect.h)
}

/// The same, drawn in from the picture's edges by a hair: who is cut by an edge stands in a zone that reaches to it.
pub fn standing_point(rect: &NormBox) -> polygon::Point {
    const HAIR: f32 = 1e-4;
    let (x, y) = bottom_center(rect);
    [x.clamp(HAIR, 1.0 - HAIR), y.clamp(HAIR, 1.0 - HAIR)]
}

/// The box made larger by `share` of its size on each side; it may reach beyond the picture.
pub fn blown_up(rect: &NormBox, share: f32) -> NormBox {
    NormBox {
        x: rect.x - rect.w * share,
        y: rect.y - rect.h * share,
        w: rect.w * (1.0 + 2.0 * share),
        h: rect.h * (1.0 + 2.0 * share),
    }
}

/// The part within the picture.
pub fn clipped(rect: &NormBox) -> NormBox {
    from_corners(rect.x, rect.y, rect.x + rect.w, rect.y + rect.h)
}

/// To four decimals, a fifth of a pixel at 1080p: what is sent need not be longer.
pub fn rounded(rect: &NormBox) -> NormBox {
    NormBox {
        x: round4(rect.x),
        y: round4(rect.y),
        w: round4(rect.w),
        h: round4(rect.h),
    }
}

pub fn round4(value: f32) -> f32 {
    (value * 10_000.0).round() / 10_000.0
}

/// How many of the picture's edges the box touches. What lies beyond an edge is not seen.
pub fn edges_touched(rect: &NormBox) -> usize {
    const NEAR: f32 = 0.004;
    [
        rect.x <= NEAR,
        rect.y <= NEAR,
        rect.x + rect.w >= 1.0 - NEAR,
        rect.y + rect.h >= 1.0 - NEAR,
    ]
    .into_iter()
    .filter(|touches| *touches)
    .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: f32, y: f32, w: f32, h: f32) -> NormBox {
        NormBox { x, y, w, h }
    }

    #[test]
    fn iou_of_known_pairs() {
        let a = rect(0.0, 0.0, 0.4, 0.4);
        assert!((iou(&a, &a) - 1.0).abs() < 1e-6);
        assert!((iou(&a, &rect(0.2, 0.0, 0.4, 0.4)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(iou(&a, &rect(0.5, 0.5, 0.1, 0.1)), 0.0);
        assert_eq!(
            iou(&rect(0.1, 0.1, 0.0, 0.0), &rect(0.1, 0.1, 0.0, 0.0)),
            0.0
        );
    }

    #[test]
    fn corners_are_cut_to_the_picture() {
        let cut = from_corners(-0.5, 0.25, 0.5, 1.5);
        assert_eq!(cut, rect(0.0, 0.25, 0.5, 0.75));
        assert_eq!(edges_touched(&cut), 2);
        assert_eq!(edges_touched(&rect(0.3, 0.3, 0.2, 0.2)), 0);
        assert_eq!(area(&from_corners(0.6, 0.6, 0.5, 0.5)), 0.0);
    }
}
