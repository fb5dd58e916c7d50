//! The holidays of Japan, reckoned from the law. Pure.
//!
//! 国民の祝日に関する法律 (Act No. 178 of 1948) as it stands since 2020: article 2 names the days, article 3 (2) moves one
//! that falls on a Sunday to the next day that is none (振替休日), article 3 (3) makes a day between two of them a holiday
//! too (国民の休日). For the Olympic Games, three days of 2020 and of 2021 were moved by Act No. 33 of 2015. The equinoxes
//! are published by the observatory in February of the year before; the approximation used here (海上保安庁水路部 暦計算研究
//! 会編, 新こよみ便利帳, 1991) is right for 1980 to 2099.
//!
//! Holds for 2020 to 2099, or until the law changes: then `extra_holidays` of a schedule helps until the next release.

use jiff::civil::{Date, Weekday};

/// Whether offices and schools are closed by law on this day.
pub fn is_holiday(day: Date) -> bool {
    is_national(day) || is_substitute(day) || is_between(day)
}

/// Article 2: the days that have a name.
fn is_national(day: Date) -> bool {
    let (year, month, day_of_month) = (day.year(), day.month(), day.day());
    let moved = MOVED.iter().find(|(moved_in, _)| *moved_in == year);
    if let Some((_, days)) = moved
        && matches!(month, 7 | 8 | 10)
    {
        return days.contains(&(month, day_of_month));
    }
    match (month, day_of_month) {
        (1, 1) | (2, 11) | (2, 23) | (4, 29) | (5, 3..=5) | (8, 11) | (11, 3) | (11, 23) => true,
        (1, _) | (10, _) => is_monday(day, 2),
        (7, _) => is_monday(day, 3),
        (3, day_of_month) => i32::from(day_of_month) == equinox(year, 20.8431),
        (9, day_of_month) => is_monday(day, 3) || i32::from(day_of_month) == equinox(year, 23.2488),
        _ => false,
    }
}

/// By year, month and day of Marine Day, Sports Day and Mountain Day.
const MOVED: [(i16, [(i8, i8); 3]); 2] = [
    (2020, [(7, 23), (7, 24), (8, 10)]),
    (2021, [(7, 22), (7, 23), (8, 8)]),
];

/// Article 3 (2): the first day after a named day on a Sunday that has no name itself.
fn is_substitute(day: Date) -> bool {
    if is_national(day) {
        return false;
    }
    let mut before = day;
    while let Ok(yesterday) = before.yesterday()
        && is_national(yesterday)
    {
        if yesterday.weekday() == Weekday::Sunday {
            return true;
        }
        before = yesterday;
    }
    false
}

/// Article 3 (3).
fn is_between(day: Date) -> bool {
    let is_named = |day: Result<Date, _>| day.is_ok_and(is_national);
    is_named(day.yesterday()) && is_named(day.tomorrow())
}

/// Whether it is the `nth` Monday of its month.
fn is_monday(day: Date, nth: i8) -> bool {
    day.weekday() == Weekday::Monday && (day.day() - 1) / 7 == nth - 1
}

/// Day of the month of an equinox; `in_1980` is when it fell in that year, in days of its month in Japan's time.
fn equinox(year: i16, in_1980: f64) -> i32 {
    /// By how much a year is longer than 365 days.
    const LONGER: f64 = 0.242_194;
    let years = i32::from(year) - 1980;
    (in_1980 + LONGER * f64::from(years)).floor() as i32 - years.div_euclid(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    /// As published by the Cabinet Office (内閣府「国民の祝日について」), substitutes and days between included.
    const PUBLISHED: [(i16, &str); 8] = [
        (
            2020,
            "1/1 1/13 2/11 2/23 2/24 3/20 4/29 5/3 5/4 5/5 5/6 7/23 7/24 8/10 9/21 9/22 11/3 11/23",
        ),
        (
            2021,
            "1/1 1/11 2/11 2/23 3/20 4/29 5/3 5/4 5/5 7/22 7/23 8/8 8/9 9/20 9/23 11/3 11/23",
        ),
        (
            2022,
            "1/1 1/10 2/11 2/23 3/21 4/29 5/3 5/4 5/5 7/18 8/11 9/19 9/23 10/10 11/3 11/23",
        ),
        (
            2023,
            "1/1 1/2 1/9 2/11 2/23 3/21 4/29 5/3 5/4 5/5 7/17 8/11 9/18 9/23 10/9 11/3 11/23",
        ),
        (
            2024,
            "1/1 1/8 2/11 2/12 2/23 3/20 4/29 5/3 5/4 5/5 5/6 7/15 8/11 8/12 9/16 9/22 9/23 10/14 11/3 11/4 11/23",
        ),
        (
            2025,
            "1/1 1/13 2/11 2/23 2/24 3/20 4/29 5/3 5/4 5/5 5/6 7/21 8/11 9/15 9/23 10/13 11/3 11/23 11/24",
        ),
        (
            2026,
            "1/1 1/12 2/11 2/23 3/20 4/29 5/3 5/4 5/5 5/6 7/20 8/11 9/21 9/22 9/23 10/12 11/3 11/23",
        ),
        (
            2027,
            "1/1 1/11 2/11 2/23 3/21 3/22 4/29 5/3 5/4 5/5 7/19 8/11 9/20 9/23 10/11 11/3 11/23",
        ),
    ];

    #[test]
    fn the_published_days() {
        for (year, published) in PUBLISHED {
            let found: Vec<String> = date(year, 1, 1)
                .series(jiff::Span::new().days(1))
                .take_while(|day| day.year() == year)
                .filter(|day| is_holiday(*day))
                .map(|day| format!("{}/{}", day.month(), day.day()))
                .collect();
            assert_eq!(found.join(" "), published, "{year}");
        }
    }

    #[test]
    fn equinoxes_far_ahead() {
        // 国立天文台, 暦要項 and its table of the years to come.
        for (year, spring, autumn) in [(2028, 20, 22), (2030, 20, 23), (2044, 20, 22)] {
            assert_eq!(equinox(year, 20.8431), spring, "{year}");
            assert_eq!(equinox(year, 23.2488), autumn, "{year}");
        }
    }
}
