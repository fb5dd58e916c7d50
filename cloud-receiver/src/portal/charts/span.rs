//! What is asked of the charts: which time, cut into hours, days or weeks, and split by what. Pure.

use crate::portal::guard::form_query;
use crate::portal::when::When;
use crate::store::{EventFilter, SplitBy};
use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use serde::Deserialize;
use wire::UtcMicros;

/// Periods that can be chosen, in days.
pub(super) const PERIODS: [u32; 5] = [1, 7, 30, 90, 365];
/// Bars of one chart; a longer time is cut into coarser ones.
const MOST_BARS: u32 = 400;
const HOUR_US: i64 = 3_600_000_000;

/// As the form and the links write it. What cannot be read counts as not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::portal) struct Asked {
    #[serde(default)]
    pub(super) site: String,
    #[serde(default)]
    pub(super) camera: String,
    #[serde(default)]
    pub(super) class: String,
    /// `hour`, `day`, `week`.
    #[serde(default)]
    pub(super) by: String,
    /// `class`, `camera`.
    #[serde(default)]
    pub(super) split: String,
    /// The last day, `2026-11-22`; today if none.
    #[serde(default)]
    pub(super) until: String,
    #[serde(default)]
    pub(super) days: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Hour,
    Day,
    Week,
}

impl Asked {
    pub(super) fn days(&self) -> u32 {
        let days = self.days.parse().ok();
        days.filter(|days| (1..=731).contains(days)).unwrap_or(30)
    }

    pub(super) fn by(&self) -> By {
        match self.by.as_str() {
            "hour" if self.days() * 24 <= MOST_BARS => By::Hour,
            "week" => By::Week,
            _ if self.days() > MOST_BARS => By::Week,
            "" if self.days() <= 2 => By::Hour,
            _ => By::Day,
        }
    }

    pub(super) fn split(&self) -> SplitBy {
        match self.split.as_str() {
            "camera" => SplitBy::Camera,
            _ => SplitBy::Class,
        }
    }

    pub(super) fn until(&self, when: &When) -> Date {
        self.until.parse().unwrap_or_else(|_| when.today())
    }

    pub(super) fn filter(&self) -> EventFilter {
        EventFilter {
            site: self.site.parse().ok(),
            camera: self.camera.parse().ok(),
            class: Some(self.class.clone()).filter(|class| !class.is_empty()),
            ..EventFilter::default()
        }
    }

    /// Where each bar begins, and where the last one ends. Days are those of the contract's zone, so one in which clocks
    /// change is as long as it is.
    pub(super) fn edges(&self, when: &When) -> Vec<UtcMicros> {
        let last = self.until(when);
        let first = last.saturating_sub((i64::from(self.days()) - 1).days());
        let end = when.end_of(last);
        let mut edges = Vec::new();
        match self.by() {
            By::Hour => {
                let mut at = when.start_of(first);
                while at < end {
                    edges.push(at);
                    at = at.plus_us(HOUR_US);
                }
            }
            By::Day | By::Week => {
                let step = if self.by() == By::Day { 1 } else { 7 };
                let mut day = match self.by() {
                    By::Week => monday_of(first),
                    _ => first,
                };
                while when.start_of(day) < end {
                    edges.push(when.start_of(day));
                    day = day.saturating_add(step.days());
                }
            }
        }
        edges.push(end);
        edges
    }

    pub(super) fn query(&self) -> String {
        form_query(&[
            ("site", self.site.as_str()),
            ("camera", &self.camera),
            ("class", &self.class),
            ("by", &self.by),
            ("split", &self.split),
            ("until", &self.until),
            ("days", &self.days),
        ])
    }
}

/// The Monday that a day's week begins with.
fn monday_of(day: Date) -> Date {
    let after = i64::from(day.weekday().since(Weekday::Monday));
    day.saturating_sub(after.days())
}

/// Whether people mostly do not work then.
pub(super) fn is_day_off(day: Date) -> bool {
    matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) || calendar::is_holiday(day)
}

/// A bar's beginning as a table and a CSV file write it.
pub(super) fn name_of(by: By, when: &When, at: UtcMicros) -> String {
    let date = when.date_of(at);
    match by {
        By::Hour => format!("{date} {}", when.minute(at)),
        By::Day | By::Week => date.to_string(),
    }
}

/// Whether the bar gets a word on the axis.
pub(super) fn is_named(by: By, when: &When, at: UtcMicros, bars: usize) -> bool {
    let date = when.date_of(at);
    let is_midnight = at == when.start_of(date);
    match by {
        By::Hour if bars <= 48 => {
            let hours = when.start_of(date).0.abs_diff(at.0) / HOUR_US.unsigned_abs();
            hours.is_multiple_of(6)
        }
        By::Hour => is_midnight,
        By::Day if bars <= 14 => true,
        By::Day if bars <= 100 => {
            date.weekday() == Weekday::Monday && (bars <= 35 || date.day() <= 7)
        }
        By::Day => date.day() == 1,
        By::Week if bars <= 20 => true,
        By::Week => date.day() <= 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::when::DEFAULT_ZONE;
    use crate::portal::words::Lang;
    use jiff::tz::TimeZone;

    fn when(zone: &str) -> When {
        let now: jiff::Timestamp = "2026-11-22T05:00:00Z".parse().expect("timestamp");
        When {
            lang: Lang::Ja,
            zone: TimeZone::get(zone).expect("bundled"),
            now: UtcMicros(now.as_microsecond()),
        }
    }

    fn asked(by: &str, days: &str) -> Asked {
        Asked {
            by: by.into(),
            days: days.into(),
            ..Asked::default()
        }
    }

    #[test]
    fn weekends_and_national_holidays_are_days_off() {
        let day = |month, day| Date::constant(2026, month, day);
        // A Saturday, a Sunday, Labour Thanksgiving on a Monday, a citizens' holiday between two others on a Tuesday.
        assert!(
            [day(11, 21), day(11, 22), day(11, 23), day(9, 22)]
                .map(is_day_off)
                .iter()
                .all(|off| *off)
        );
        assert!(!is_day_off(day(11, 24)));
    }

    #[test]
    fn weeks_begin_on_monday_and_days_at_midnight() {
        let when = when(DEFAULT_ZONE);
        let names = |asked: Asked| -> Vec<String> {
            let edges = asked.edges(&when);
            edges
                .iter()
                .map(|at| name_of(asked.by(), &when, *at))
                .collect()
        };
        assert_eq!(
            names(asked("week", "7")),
            ["2026-11-16", "2026-11-23"],
            "Sunday 22 November is in the week of the 16th"
        );
        assert_eq!(
            names(asked("day", "2")),
            ["2026-11-21", "2026-11-22", "2026-11-23"]
        );
        let hours = names(asked("hour", "1"));
        assert_eq!((hours.len(), hours[14].as_str()), (25, "2026-11-22 14:00"));
        assert_eq!(asked("hour", "365").by(), By::Day);
    }

    #[test]
    fn a_day_in_which_clocks_change_is_as_long_as_it_is() {
        let mut asked = asked("day", "2");
        asked.until = "2026-10-25".into();
        let edges = asked.edges(&when("Europe/Berlin"));
        let lengths: Vec<i64> = edges
            .windows(2)
            .map(|e| e[1].since_us(e[0]) / HOUR_US)
            .collect();
        assert_eq!(lengths, [24, 25]);
    }
}
