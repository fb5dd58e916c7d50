//! Networks that hand out finished boxes beside a table of scores, such as SSD exports.

use super::LabelBox;
use crate::detect::model::{BoxFormat, BoxUnits, Input};

/// `boxes`: `[N, 4]`; `scores`: `[N, labels]`.
pub(super) fn decode(
    input: &Input,
    (format, units): (BoxFormat, BoxUnits),
    labels: usize,
    boxes: &[f32],
    scores: &[f32],
    min_score: f32,
) -> Vec<LabelBox> {
    let (unit_x, unit_y) = match units {
        BoxUnits::Pixels => (1.0, 1.0),
        BoxUnits::Fractions => (input.width as f32, input.height as f32),
    };
    let mut found = Vec::new();
    for (values, scores) in boxes.chunks_exact(4).zip(scores.chunks_exact(labels)) {
        for (label, score) in scores.iter().enumerate() {
            if *score >= min_score {
                let [x1, y1, x2, y2] = corners(format, values);
                found.push(LabelBox {
                    x1: x1 * unit_x,
                    y1: y1 * unit_y,
                    x2: x2 * unit_x,
                    y2: y2 * unit_y,
                    score: *score,
                    label: label as u16,
                });
            }
        }
    }
    found
}

fn corners(format: BoxFormat, v: &[f32]) -> [f32; 4] {
    match format {
        BoxFormat::Xyxy => [v[0], v[1], v[2], v[3]],
        BoxFormat::Yxyx => [v[1], v[0], v[3], v[2]],
        BoxFormat::Cxcywh => [
            v[0] - v[2] / 2.0,
            v[1] - v[3] / 2.0,
            v[0] + v[2] / 2.0,
            v[1] + v[3] / 2.0,
        ],
    }
}
