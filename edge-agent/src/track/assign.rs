//! Who gets what, so that the sum is best: the assignment problem (Kuhn 1955; Munkres 1957). Pure.

/// Pairs (row, column) with the largest total of `likeness`, none of them below `least`.
///
/// `likeness` lies in 0..=1, `least` above 0. Cost grows with the cube of the smaller side: trivial for the few dozen objects of a frame.
pub fn best_pairs(
    rows: usize,
    columns: usize,
    least: f32,
    likeness: impl Fn(usize, usize) -> f32,
) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    // The solver wants a column for every row: lay the shorter side down as rows.
    let turned = rows > columns;
    let (short, long) = if turned {
        (columns, rows)
    } else {
        (rows, columns)
    };
    let value = |at: usize| match turned {
        true => likeness(at % long, at / long),
        false => likeness(at / long, at % long),
    };
    // A pair that may not be costs as much as leaving both alone, so that it never displaces one that may.
    let cost: Vec<f32> = (0..short * long)
        .map(value)
        .map(|likeness| {
            if likeness >= least {
                1.0 - likeness
            } else {
                FORBIDDEN
            }
        })
        .collect();
    cheapest(short, long, &cost)
        .into_iter()
        .filter(|(row, column)| cost[row * long + column] < FORBIDDEN)
        .map(|(row, column)| if turned { (column, row) } else { (row, column) })
        .collect()
}

const FORBIDDEN: f32 = 1.0;

/// A column for every row at the least total cost, `rows <= columns`; shortest augmenting paths with potentials
/// (Jonker and Volgenant 1987).
fn cheapest(rows: usize, columns: usize, cost: &[f32]) -> Vec<(usize, usize)> {
    // Index 0 of columns stands for "none yet"; rows and columns count from 1 inside.
    let mut row_potential = vec![0.0_f32; rows + 1];
    let mut column_potential = vec![0.0_f32; columns + 1];
    let mut row_of = vec![0_usize; columns + 1];
    for row in 1..=rows {
        let mut came_from = vec![0_usize; columns + 1];
        let mut reach = vec![f32::INFINITY; columns + 1];
        let mut done = vec![false; columns + 1];
        row_of[0] = row;
        let mut column = 0;
        while row_of[column] != 0 {
            done[column] = true;
            let from = row_of[column];
            let (mut step, mut nearest) = (f32::INFINITY, 0);
            for next in 1..=columns {
                if done[next] {
                    continue;
                }
                let edge = cost[(from - 1) * columns + next - 1]
                    - row_potential[from]
                    - column_potential[next];
                if edge < reach[next] {
                    reach[next] = edge;
                    came_from[next] = column;
                }
                if reach[next] < step {
                    step = reach[next];
                    nearest = next;
                }
            }
            for next in 0..=columns {
                if done[next] {
                    row_potential[row_of[next]] += step;
                    column_potential[next] -= step;
                } else {
                    reach[next] -= step;
                }
            }
            column = nearest;
        }
        while column != 0 {
            let before = came_from[column];
            row_of[column] = row_of[before];
            column = before;
        }
    }
    (1..=columns)
        .filter(|column| row_of[*column] != 0)
        .map(|column| (row_of[column] - 1, column - 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(table: &[&[f32]], least: f32) -> Vec<(usize, usize)> {
        let columns = table.first().map_or(0, |row| row.len());
        let mut pairs = best_pairs(table.len(), columns, least, |r, c| table[r][c]);
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn the_sum_counts_and_not_the_first_best() {
        // Greedy would take 0.9 and leave the second row with nothing.
        assert_eq!(pairs(&[&[0.9, 0.8], &[0.7, 0.1]], 0.2), [(0, 1), (1, 0)]);
        assert_eq!(pairs(&[&[0.9, 0.1], &[0.8, 0.1]], 0.2), [(0, 0)]);
        assert_eq!(pairs(&[&[0.3], &[0.5], &[0.4]], 0.2), [(1, 0)]);
        assert_eq!(pairs(&[], 0.2), []);
        assert_eq!(pairs(&[&[0.1, 0.0]], 0.2), []);
    }

    /// The best total by trying everything.
    fn exhaustive(table: &[Vec<f32>], row: usize, used: u32, least: f32) -> f32 {
        if row == table.len() {
            return 0.0;
        }
        let skip = exhaustive(table, row + 1, used, least);
        (0..table[row].len())
            .filter(|column| used & (1 << column) == 0 && table[row][*column] >= least)
            .map(|column| {
                table[row][column] + exhaustive(table, row + 1, used | (1 << column), least)
            })
            .fold(skip, f32::max)
    }

    proptest! {
        #[test]
        fn no_other_assignment_is_better(
            columns in 1_usize..6,
            values in prop::collection::vec(0_u8..=20, 36),
            rows in 1_usize..6,
        ) {
            let table: Vec<Vec<f32>> = (0..rows)
                .map(|row| (0..columns).map(|c| f32::from(values[row * 6 + c]) / 20.0).collect())
                .collect();
            let found = best_pairs(rows, columns, 0.2, |r, c| table[r][c]);
            let total: f32 = found.iter().map(|(r, c)| table[*r][*c]).sum();
            prop_assert!((total - exhaustive(&table, 0, 0, 0.2)).abs() < 1e-4);
            let mut seen = std::collections::BTreeSet::new();
            for (row, column) in found {
                prop_assert!(seen.insert((0, row)) && seen.insert((1, column)));
            }
        }
    }
}
