//! Business days: Monday to Friday, without national holidays and, where it is agreed, without the year-end closing.

use crate::holidays::is_holiday;
use jiff::civil::{Date, Weekday};

/// The days on which somebody is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusinessDays {
    /// Whether 29 December to 3 January are none (年末年始休業): the days on which the offices of the state are closed
    /// (行政機関の休日に関する法律, Act No. 91 of 1988, article 1), which most companies follow.
    pub closed_at_year_end: bool,
}

impl BusinessDays {
    pub fn is_open(self, day: Date) -> bool {
        let is_weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
        let is_closed = self.closed_at_year_end && is_year_end(day);
        !(is_weekend || is_closed || is_holiday(day))
    }

    /// The `count`th business day after a day; with 0, the day itself, whatever it is. `None` beyond the calendar.
    pub fn after(self, day: Date, count: u32) -> Option<Date> {
        let mut day = day;
        for _ in 0..count {
            day = day.tomorrow().ok()?;
            while !self.is_open(day) {
                day = day.tomorrow().ok()?;
            }
        }
        Some(day)
    }

    /// How many business days lie after `from`, up to and with `to`; 0 where `to` is not later.
    pub fn between(self, from: Date, to: Date) -> u32 {
        let mut count = 0;
        let mut day = from;
        while day < to
            && let Ok(next) = day.tomorrow()
        {
            day = next;
            count += u32::from(self.is_open(day));
        }
        count
    }
}

fn is_year_end(day: Date) -> bool {
    matches!((day.month(), day.day()), (12, 29..=31) | (1, 1..=3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;

    const OPEN_AT_YEAR_END: BusinessDays = BusinessDays {
        closed_at_year_end: false,
    };
    const CLOSED_AT_YEAR_END: BusinessDays = BusinessDays {
        closed_at_year_end: true,
    };

    #[test]
    fn the_third_business_day_by_the_published_calendar() {
        // (day, third business day after it, the same with the year-end closing)
        let days = [
            // Before the four days of the Olympic summer of 2020, which were moved.
            ((2020, 7, 22), (2020, 7, 29), (2020, 7, 29)),
            ((2021, 7, 21), (2021, 7, 28), (2021, 7, 28)),
            // 2021-08-08 is a Sunday and a holiday: the 9th is its substitute.
            ((2021, 8, 6), (2021, 8, 12), (2021, 8, 12)),
            // The five days of September 2026, of which the 22nd lies between two holidays.
            ((2026, 9, 18), (2026, 9, 28), (2026, 9, 28)),
            // Golden Week with a substitute on the 6th.
            ((2025, 5, 2), (2025, 5, 9), (2025, 5, 9)),
            // Over the year's end.
            ((2026, 12, 28), (2026, 12, 31), (2027, 1, 6)),
            ((2027, 3, 31), (2027, 4, 5), (2027, 4, 5)),
        ];
        for (from, open, closed) in days {
            let day = |(year, month, day)| date(year, month, day);
            assert_eq!(
                OPEN_AT_YEAR_END.after(day(from), 3),
                Some(day(open)),
                "{from:?}"
            );
            assert_eq!(
                CLOSED_AT_YEAR_END.after(day(from), 3),
                Some(day(closed)),
                "{from:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn after_and_between_are_inverse_and_in_order(
            days in 0_i32..28_000, count in 0_u32..40, closed_at_year_end: bool
        ) {
            let calendar = BusinessDays { closed_at_year_end };
            let from = date(2020, 1, 1).saturating_add(jiff::Span::new().days(days));
            let to = calendar.after(from, count).expect("within the calendar");
            prop_assert_eq!(calendar.between(from, to), count);
            prop_assert!(count == 0 || calendar.is_open(to));
            // One more is later, and one day earlier is one fewer.
            prop_assert!(calendar.after(from, count + 1).expect("within") > to);
            if count > 0 {
                let yesterday = to.yesterday().expect("within");
                prop_assert_eq!(calendar.between(from, yesterday), count - 1);
            }
            // Nobody waits longer than the longest run of closed days (eleven) for each of them.
            let longest = i32::try_from(count).expect("small") * 12;
            prop_assert!(to <= from.saturating_add(jiff::Span::new().days(longest)));
        }
    }
}
