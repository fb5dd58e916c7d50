//! Polygons made into cells, once for each size of picture.

/// For each cell whether its centre lies outside of all `masks` (even-odd rule), rows first.
pub(super) fn open_cells(masks: &[Vec<[f32; 2]>], width: usize, height: usize) -> Vec<bool> {
    let centre = |index: usize, count: usize| (index as f32 + 0.5) / count as f32;
    let cells = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    cells
        .map(|(x, y)| {
            let (x, y) = (centre(x, width), centre(y, height));
            !masks.iter().any(|mask| contains(mask, x, y))
        })
        .collect()
}

/// Counts the sides that a ray to the right crosses.
fn contains(polygon: &[[f32; 2]], x: f32, y: f32) -> bool {
    let before = polygon.iter().cycle().skip(polygon.len().saturating_sub(1));
    polygon
        .iter()
        .zip(before)
        .filter(|([x1, y1], [x2, y2])| {
            (*y1 > y) != (*y2 > y) && x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
        })
        .count()
        % 2
        == 1
}
