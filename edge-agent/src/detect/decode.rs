//! From output tensors to boxes: score cut, decoding by family, non-maximum suppression. Pure.
//!
//! Each family has its file; they agree on one contract: boxes in pixels of the network's **input**, everything at or
//! above the wanted score. [`super::mosaic`] turns these into boxes of the picture.

mod boxes_scores;
mod gfl;
mod yolox;

use super::model::{Description, Output};
use super::mosaic::{self, Rect, Scale, Tile};

/// A box with the network's own label. Corners in pixels, of the input or of the picture as the context says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelBox {
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
    pub score: f32,
    /// Index into the description's labels.
    pub label: u16,
}

impl LabelBox {
    fn is_number(&self) -> bool {
        let Self {
            x1,
            y1,
            x2,
            y2,
            score,
            ..
        } = *self;
        [x1, y1, x2, y2, score].into_iter().all(f32::is_finite)
    }
}

/// Most boxes that enter the suppression and most that leave it: what a crowd may cost.
const MOST_CANDIDATES: usize = 1000;
const MOST_BOXES: usize = 300;

/// Boxes of the picture, best first, from the tensors of [`Description::outputs`] in that order, where the picture lies
/// in the upper left corner of the input.
///
/// Each tensor must have the number of values its shape says: the caller has checked it.
pub fn decode(
    description: &Description,
    tensors: &[&[f32]],
    scale: Scale,
    picture: (u32, u32),
    min_score: f32,
) -> Vec<LabelBox> {
    let whole = Tile {
        source: Rect {
            x: 0,
            y: 0,
            width: picture.0,
            height: picture.1,
        },
        x: 0,
        y: 0,
        width: description.input.width,
        height: description.input.height,
        scale,
    };
    let found = candidates(description, tensors, min_score);
    suppress(
        mosaic::to_picture(&[whole], picture, found),
        description.thresholds.nms_iou,
    )
}

/// Every box at or above the score, in pixels of the input, many for one object.
pub(super) fn candidates(
    description: &Description,
    tensors: &[&[f32]],
    min_score: f32,
) -> Vec<LabelBox> {
    let labels = description.labels.len();
    let mut found = match &description.output {
        Output::Gfl { strides, bins, .. } => gfl::decode(
            &description.input,
            strides,
            *bins as usize,
            labels,
            tensors,
            min_score,
        ),
        Output::Yolox { strides, .. } => {
            yolox::decode(&description.input, strides, labels, tensors[0], min_score)
        }
        Output::BoxesScores { format, units, .. } => boxes_scores::decode(
            &description.input,
            (*format, *units),
            labels,
            tensors[0],
            tensors[1],
            min_score,
        ),
    };
    // A network that is damaged may give anything, and what is no number compares with nothing.
    found.retain(LabelBox::is_number);
    found
}

/// Greedy non-maximum suppression, label by label: of two that overlap by more than `most_iou` the worse goes.
pub(super) fn suppress(mut candidates: Vec<LabelBox>, most_iou: f32) -> Vec<LabelBox> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MOST_CANDIDATES);
    let mut kept: Vec<LabelBox> = Vec::new();
    for candidate in candidates {
        let covered = kept
            .iter()
            .any(|better| better.label == candidate.label && iou(better, &candidate) > most_iou);
        if !covered {
            kept.push(candidate);
        }
        if kept.len() == MOST_BOXES {
            break;
        }
    }
    kept
}

fn iou(a: &LabelBox, b: &LabelBox) -> f32 {
    let area = |one: &LabelBox| (one.x2 - one.x1).max(0.0) * (one.y2 - one.y1).max(0.0);
    let shared =
        (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0) * (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    shared / (area(a) + area(b) - shared + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_no_box() {
        for text in [
            include_str!("../../../models/nanodet-g-416-int8/model.toml"),
            include_str!("../../../models/yolox-nano-416/model.toml"),
        ] {
            let network = Description::parse(text).expect("a shipped description");
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let tensors: Vec<Vec<f32>> = network
                    .outputs()
                    .iter()
                    .map(|(_, shape)| vec![value; shape.iter().product::<i64>() as usize])
                    .collect();
                let tensors: Vec<&[f32]> = tensors.iter().map(Vec::as_slice).collect();
                let found = candidates(&network, &tensors, 0.3);
                assert_eq!(found, [], "{} of {value}", network.name);
            }
        }
    }
}
