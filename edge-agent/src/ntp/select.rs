//! Whom to believe about the time: interval intersection (Marzullo; RFC 5905 section 11.2.1). Pure.
//!
//! Each server's answer is an interval in which the true offset lies if that server is honest. The smallest
//! number of liars is looked for that makes the rest agree; those left must be a majority. The result spans every
//! point on which so many agree, so that its bound holds whoever of them lies.

/// One server's answer: the true offset lies in `offset_us` plus or minus `error_us`, if it is honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub offset_us: i64,
    pub error_us: u64,
}

impl Interval {
    fn low(self) -> i64 {
        self.offset_us.saturating_sub_unsigned(self.error_us)
    }

    fn high(self) -> i64 {
        self.offset_us.saturating_add_unsigned(self.error_us)
    }

    pub fn overlaps(self, other: Interval) -> bool {
        self.low() <= other.high() && other.low() <= self.high()
    }
}

/// Fewest servers that have to agree: one voice alone is not evidence.
pub const QUORUM: usize = 2;

/// What a majority agrees on; `None` where none does.
pub fn select(answers: &[Interval]) -> Option<Interval> {
    let majority = answers.len() / 2 + 1;
    (QUORUM.max(majority)..=answers.len())
        .rev()
        .find_map(|agreeing| span_of(answers, agreeing))
}

/// From the lowest to the highest point that at least `agreeing` intervals hold.
fn span_of(answers: &[Interval], agreeing: usize) -> Option<Interval> {
    let holders = |point: i64| {
        answers
            .iter()
            .filter(|answer| answer.low() <= point && point <= answer.high())
            .count()
    };
    // The extremes of such a span are always ends of intervals.
    let low = answers
        .iter()
        .map(|answer| answer.low())
        .filter(|point| holders(*point) >= agreeing)
        .min()?;
    let high = answers
        .iter()
        .map(|answer| answer.high())
        .filter(|point| holders(*point) >= agreeing)
        .max()?;
    let width = high.abs_diff(low);
    Some(Interval {
        offset_us: low.saturating_add_unsigned(width / 2),
        error_us: width - width / 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(answers: &[(i64, u64)], expected: Option<(i64, u64)>) {
        let answers: Vec<Interval> = answers
            .iter()
            .map(|&(offset_us, error_us)| Interval {
                offset_us,
                error_us,
            })
            .collect();
        let selected = select(&answers).map(|found| (found.offset_us, found.error_us));
        assert_eq!(selected, expected, "{answers:?}");
    }

    #[test]
    fn a_liar_among_three_is_outvoted() {
        check(&[(0, 10), (4, 10), (9_000_000, 10)], Some((2, 8)));
        check(&[(-86_400_000_000, 10), (0, 10), (4, 10)], Some((2, 8)));
    }

    #[test]
    fn all_agreeing_narrow_the_bound() {
        check(&[(0, 100), (50, 100), (-50, 100)], Some((0, 50)));
    }

    #[test]
    fn without_a_majority_nobody_is_believed() {
        check(&[], None);
        check(&[(0, 10)], None);
        check(&[(0, 10), (1000, 10)], None);
        check(&[(0, 10), (1000, 10), (2000, 10)], None);
        // Two against two.
        check(&[(0, 10), (1, 10), (1000, 10), (1001, 10)], None);
    }

    #[test]
    fn where_one_bridges_two_that_differ_the_bound_covers_both() {
        check(&[(0, 1000), (-900, 50), (900, 50)], Some((0, 950)));
    }

    #[test]
    fn extremes_do_not_overflow() {
        check(
            &[(i64::MIN, u64::MAX), (i64::MAX, u64::MAX)],
            Some((-1, 1 << 63)),
        );
    }

    proptest! {
        /// The promise: while more than half tell the truth, the truth lies within the bound.
        #[test]
        fn the_truth_is_never_missed(
            truth in -1_000_000i64..1_000_000,
            honest in proptest::collection::vec((-1000i64..1000, 0u64..1000), 2..6),
            liars in proptest::collection::vec((any::<i32>(), 0u64..100_000), 0..5),
        ) {
            prop_assume!(liars.len() < honest.len());
            let honest = honest.iter().map(|&(shift, slack)| Interval {
                offset_us: truth + shift,
                error_us: shift.unsigned_abs() + slack,
            });
            let liars = liars.iter().map(|&(offset, error_us)| Interval {
                offset_us: i64::from(offset),
                error_us,
            });
            let answers: Vec<Interval> = honest.chain(liars).collect();
            let found = select(&answers).expect("a majority agrees on the truth");
            prop_assert!(found.low() <= truth && truth <= found.high());
        }
    }
}
