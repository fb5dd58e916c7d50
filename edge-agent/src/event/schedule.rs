//! Whether a schedule is on at a moment. Pure; time comes with the frame.
//!
//! It is read on the clock on the wall: where a zone sets its clocks forward or back, a span from 1:00 to 3:00 is on
//! while the wall says 1:00 to 3:00, be that one hour or three.

use crate::config::{Holidays, ScheduleConfig, SpanConfig, TimeOfDay, Weekday};
use calendar::is_holiday;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use wire::UtcMicros;

#[derive(Clone, Debug)]
pub struct Schedule {
    time_zone: TimeZone,
    japanese_holidays: bool,
    extra_holidays: BTreeSet<Date>,
    spans: Vec<SpanConfig>,
}

impl Schedule {
    pub fn new(config: &ScheduleConfig) -> Self {
        Self {
            time_zone: config.time_zone.0.clone(),
            japanese_holidays: config.japanese_holidays,
            extra_holidays: config.extra_holidays.iter().copied().collect(),
            spans: config.spans.clone(),
        }
    }

    pub fn is_on(&self, at: UtcMicros) -> bool {
        let Ok(at) = Timestamp::from_microsecond(at.0) else {
            return false;
        };
        let local = self.time_zone.to_datetime(at);
        let minute = u16::try_from(i16::from(local.hour()) * 60 + i16::from(local.minute()));
        let time = TimeOfDay(minute.unwrap_or_default());
        self.spans
            .iter()
            .any(|span| self.covers(span, local.date(), time))
    }

    fn covers(&self, span: &SpanConfig, today: Date, time: TimeOfDay) -> bool {
        if span.from < span.to {
            return (span.from..span.to).contains(&time) && self.begins_on(span, today);
        }
        (time >= span.from && self.begins_on(span, today))
            || (time < span.to && today.yesterday().is_ok_and(|day| self.begins_on(span, day)))
    }

    fn begins_on(&self, span: &SpanConfig, day: Date) -> bool {
        let mut weekday = weekday(day);
        if span.holidays != Holidays::Ignore {
            let is_holiday = self.is_holiday(day);
            match span.holidays {
                Holidays::Except if is_holiday => return false,
                Holidays::Only if !is_holiday => return false,
                Holidays::AsSunday if is_holiday => weekday = Weekday::Sun,
                _ => {}
            }
        }
        span.days.is_empty() || span.days.contains(&weekday)
    }

    fn is_holiday(&self, day: Date) -> bool {
        self.extra_holidays.contains(&day) || (self.japanese_holidays && is_holiday(day))
    }
}

fn weekday(day: Date) -> Weekday {
    use jiff::civil::Weekday as Civil;
    match day.weekday() {
        Civil::Monday => Weekday::Mon,
        Civil::Tuesday => Weekday::Tue,
        Civil::Wednesday => Weekday::Wed,
        Civil::Thursday => Weekday::Thu,
        Civil::Friday => Weekday::Fri,
        Civil::Saturday => Weekday::Sat,
        Civil::Sunday => Weekday::Sun,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A schedule from the lines of its `[[schedule]]`.
    fn schedule(lines: &str) -> Schedule {
        Schedule::new(&toml::from_str(lines).unwrap())
    }

    fn check(schedule: &Schedule, cases: &[(&str, bool)]) {
        for (at, is_on) in cases {
            let at_us = at.parse::<Timestamp>().unwrap().as_microsecond();
            assert_eq!(schedule.is_on(UtcMicros(at_us)), *is_on, "{at}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let schedule =
            schedule("[[span]]\ndays = [\"fri\", \"sat\"]\nfrom = \"22:00\"\nto = \"6:00\"");
        check(
            &schedule,
            &[
                ("2026-11-20T21:59+09:00", false),
                ("2026-11-20T22:00+09:00", true),
                ("2026-11-21T05:59+09:00", true),
                ("2026-11-21T06:00+09:00", false),
                ("2026-11-22T05:59+09:00", true),
                ("2026-11-22T22:00+09:00", false),
                ("2026-11-20T05:00+09:00", false),
            ],
        );
    }

    #[test]
    fn spans_add_up_and_a_bare_one_is_a_whole_day() {
        let schedule = schedule(
            "[[span]]\ndays = [\"mon\"]\n[[span]]\nfrom = \"12:00\"\nto = \"13:00\"\n[[span]]\nfrom = \"23:00\"\nto = \"24:00\"",
        );
        check(
            &schedule,
            &[
                ("2026-11-23T00:00+09:00", true),
                ("2026-11-23T23:59:59+09:00", true),
                ("2026-11-24T00:00+09:00", false),
                ("2026-11-24T12:59+09:00", true),
                ("2026-11-24T23:30+09:00", true),
                ("2026-11-25T00:00+09:00", false),
            ],
        );
    }

    #[test]
    fn holidays() {
        // 2026-11-03 is a Tuesday and 文化の日; 2026-12-30 is a Wednesday.
        let on = |holidays: &str, days: &str| {
            schedule(&format!(
                "extra_holidays = [\"2026-12-30\"]\n[[span]]\ndays = [{days}]\nholidays = \"{holidays}\""
            ))
        };
        let (holiday, own, workday) = (
            "2026-11-03T10:00+09:00",
            "2026-12-30T10:00+09:00",
            "2026-11-04T10:00+09:00",
        );
        let weekdays = "\"tue\", \"wed\"";
        for (holidays, days, expected) in [
            ("ignore", weekdays, [true, true, true]),
            ("except", weekdays, [false, false, true]),
            ("only", "", [true, true, false]),
            ("only", "\"tue\"", [true, false, false]),
            ("as_sunday", weekdays, [false, false, true]),
            ("as_sunday", "\"sun\"", [true, true, false]),
        ] {
            let cases = [holiday, own, workday];
            let cases: Vec<_> = cases.into_iter().zip(expected).collect();
            check(&on(holidays, days), &cases);
        }
        let own_alone = schedule(
            "japanese_holidays = false\nextra_holidays = [\"2026-12-30\"]\n[[span]]\nholidays = \"only\"",
        );
        check(&own_alone, &[(holiday, false), (own, true)]);
    }

    #[test]
    fn the_clock_on_the_wall_counts_where_it_is_set_forward_and_back() {
        let berlin =
            |span: &str| schedule(&format!("time_zone = \"Europe/Berlin\"\n[[span]]\n{span}"));
        let night = berlin("from = \"1:00\"\nto = \"3:00\"");
        check(
            &night,
            &[
                // Forward on 2026-03-29: 1:59 is followed by 3:00.
                ("2026-03-29T00:59Z", true),
                ("2026-03-29T01:00Z", false),
                // Back on 2026-10-25: 2:00 to 2:59 comes twice.
                ("2026-10-24T22:59Z", false),
                ("2026-10-24T23:00Z", true),
                ("2026-10-25T00:30Z", true),
                ("2026-10-25T01:59Z", true),
                ("2026-10-25T02:00Z", false),
            ],
        );
        check(
            &berlin("from = \"2:15\"\nto = \"2:45\""),
            &[("2026-03-29T01:15Z", false), ("2026-10-25T00:30Z", true)],
        );
    }
}
