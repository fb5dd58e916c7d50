//! YOLOX (Ge et al., 2021, arXiv:2107.08430): centre offset, log size, objectness and class scores for each cell.

use super::LabelBox;
use crate::detect::model::Input;

/// `tensor`: `[N, 5 + labels]`, the cells of all strides after each other, row by row.
pub(super) fn decode(
    input: &Input,
    strides: &[u32],
    labels: usize,
    tensor: &[f32],
    min_score: f32,
) -> Vec<LabelBox> {
    let cells = strides.iter().flat_map(|stride| {
        let columns = input.columns(*stride);
        (0..input.cells(*stride)).map(move |cell| {
            let at = ((cell % columns) as f32, (cell / columns) as f32);
            (at, *stride as f32)
        })
    });
    let mut found = Vec::new();
    for (values, ((column, row), stride)) in tensor.chunks_exact(5 + labels).zip(cells) {
        let objectness = values[4];
        if objectness < min_score {
            continue;
        }
        let center_x = (values[0] + column) * stride;
        let center_y = (values[1] + row) * stride;
        let half_width = values[2].exp() * stride / 2.0;
        let half_height = values[3].exp() * stride / 2.0;
        for (label, class_score) in values[5..].iter().enumerate() {
            let score = objectness * class_score;
            if score >= min_score {
                found.push(LabelBox {
                    x1: center_x - half_width,
                    y1: center_y - half_height,
                    x2: center_x + half_width,
                    y2: center_y + half_height,
                    score,
                    label: label as u16,
                });
            }
        }
    }
    found
}
