//! The measures of the quality bench, tried on films of a few boxes. Here and not beside them, for a bench is a program that
//! `cargo test` does not run.

#[path = "../benches/quality/mot.rs"]
mod mot;

use mot::{Figures, Marked, Marks};
use wire::record::NormBox;

/// Boxes of one frame from (identity, place in tenths).
fn frame(marks: &[(u64, f32)]) -> Marks {
    let mark = |(id, x): &(u64, f32)| Marked {
        id: *id,
        rect: NormBox {
            x: x / 10.0,
            y: 0.4,
            w: 0.1,
            h: 0.2,
        },
    };
    marks.iter().map(mark).collect()
}

fn film(frames: &[&[(u64, f32)]]) -> Vec<Marks> {
    frames.iter().map(|marks| frame(marks)).collect()
}

#[test]
fn what_equals_the_truth_is_perfect() {
    let truth = film(&[&[(1, 1.0), (2, 5.0)], &[(1, 2.0), (2, 4.0)]]);
    let figures = Figures::of(
        &truth,
        &film(&[&[(9, 1.0), (7, 5.0)], &[(9, 2.0), (7, 4.0)]]),
    );
    assert_eq!(
        (figures.paired, figures.switches, figures.identified),
        (4, 0, 4)
    );
    assert_eq!((figures.mota(), figures.idf1()), (1.0, 1.0));
    assert!((figures.motp() - 1.0).abs() < 1e-6);
}

#[test]
fn misses_false_boxes_and_switches_are_counted_apart() {
    // The object is found, missed, found under another name, found; and once something is found that is not there.
    let truth = film(&[&[(1, 1.0)], &[(1, 1.0)], &[(1, 1.0)], &[(1, 1.0)]]);
    let tracks = film(&[&[(5, 1.0)], &[], &[(6, 1.0), (7, 8.0)], &[(6, 1.0)]]);
    let figures = Figures::of(&truth, &tracks);
    assert_eq!((figures.real, figures.found, figures.paired), (4, 4, 3));
    assert_eq!((figures.switches, figures.fragmentations), (1, 1));
    // One miss, one false box, one switch among four.
    assert!((figures.mota() - 0.25).abs() < 1e-9);
    // Track 6 is the object: two boxes of four agree.
    assert_eq!(figures.identified, 2);
    assert!((figures.idf1() - 0.5).abs() < 1e-9);
}

#[test]
fn a_pair_that_still_overlaps_is_kept_though_another_overlaps_more() {
    let truth = film(&[&[(1, 1.0)], &[(1, 1.0)]]);
    let tracks = film(&[&[(5, 1.0)], &[(5, 1.2), (6, 1.0)]]);
    let figures = Figures::of(&truth, &tracks);
    assert_eq!((figures.paired, figures.found, figures.switches), (2, 3, 0));
}

#[test]
fn as_many_pairs_as_possible_before_the_best_one() {
    // The first object overlaps both tracks, the second only the first track, less well than the first object does.
    let truth = film(&[&[(1, 1.0), (2, 0.7)]]);
    let tracks = film(&[&[(5, 1.0), (6, 1.3)]]);
    assert_eq!(Figures::of(&truth, &tracks).paired, 2);
}

#[test]
fn exchanged_names_cost_switches_and_half_of_the_identity() {
    let still: &[_] = &[(1, 1.0), (2, 5.0)];
    let truth = film(&[still; 4]);
    let (before, after): (&[_], &[_]) = (&[(5, 1.0), (6, 5.0)], &[(6, 1.0), (5, 5.0)]);
    let figures = Figures::of(&truth, &film(&[before, before, after, after]));
    assert_eq!((figures.paired, figures.switches), (8, 2));
    assert!((figures.idf1() - 0.5).abs() < 1e-9);
    assert_eq!(figures.fragmentations, 0);
}

#[test]
fn an_empty_film_has_figures_too() {
    let figures = Figures::of(&film(&[&[]]), &film(&[&[]]));
    assert_eq!(
        (
            figures.recall(),
            figures.precision(),
            figures.motp(),
            figures.idf1()
        ),
        (0.0, 0.0, 0.0, 0.0)
    );
}
