//! NanoDet and PicoDet: each side's distance is a distribution over whole strides (Li et al., "Generalized Focal
//! Loss", NeurIPS 2020, arXiv:2006.04388).

use super::LabelBox;
use crate::detect::model::Input;

/// `tensors`: scores `[N, labels]` (sigmoid done) of every stride, then distances `[N, 4 * bins]` of every stride.
pub(super) fn decode(
    input: &Input,
    strides: &[u32],
    bins: usize,
    labels: usize,
    tensors: &[&[f32]],
    min_score: f32,
) -> Vec<LabelBox> {
    let (scores, distances) = tensors.split_at(strides.len());
    let mut found = Vec::new();
    for ((stride, scores), distances) in strides.iter().zip(scores).zip(distances) {
        let columns = input.columns(*stride) as usize;
        let stride = *stride as f32;
        for (cell, scores) in scores.chunks_exact(labels).enumerate() {
            let mut sides = None;
            for (label, score) in scores.iter().enumerate() {
                if *score < min_score {
                    continue;
                }
                let [left, top, right, bottom] = *sides.get_or_insert_with(|| {
                    let sides = &distances[cell * 4 * bins..][..4 * bins];
                    [0, 1, 2, 3].map(|side| expectation(&sides[side * bins..][..bins]) * stride)
                });
                let center_x = ((cell % columns) as f32 + 0.5) * stride;
                let center_y = ((cell / columns) as f32 + 0.5) * stride;
                found.push(LabelBox {
                    x1: center_x - left,
                    y1: center_y - top,
                    x2: center_x + right,
                    y2: center_y + bottom,
                    score: *score,
                    label: label as u16,
                });
            }
        }
    }
    found
}

/// Mean of the bin number under the softmax of `logits`.
fn expectation(logits: &[f32]) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted) = (0.0, 0.0);
    for (bin, logit) in logits.iter().enumerate() {
        let weight = (logit - highest).exp();
        total += weight;
        weighted += weight * bin as f32;
    }
    weighted / total
}
