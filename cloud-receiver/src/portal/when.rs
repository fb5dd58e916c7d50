//! Times as people read them, in the contract's time zone.
//!
//! Three questions: when exactly (`full`), when today or on which day (`clock`, `short`), how long ago (`ago`).
//! Everything is a function of the zone, the language and the present, so that a page can be drawn for any
//! moment.

use super::words::Lang;
use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use wire::UtcMicros;

/// The zone a contract is in when nothing else is said: Japan Standard Time.
pub const DEFAULT_ZONE: &str = "Asia/Tokyo";

const SECOND_US: i64 = 1_000_000;

/// Draws times for one page.
#[derive(Clone, Debug)]
pub struct When {
    pub lang: Lang,
    pub zone: TimeZone,
    pub now: UtcMicros,
}

impl When {
    /// 2026年11月22日(日) 14:05:12 | Sunday 22 November 2026, 14:05:12
    pub fn full(&self, at: UtcMicros) -> String {
        let at = self.zoned(at);
        match self.lang {
            Lang::Ja => format!("{} {}", self.date(at.date()), at.strftime("%H:%M:%S")),
            Lang::En => format!("{}, {}", self.date(at.date()), at.strftime("%H:%M:%S")),
        }
    }

    /// 2026年11月22日(日) 14:05 | Sunday 22 November 2026, 14:05
    pub fn to_minute(&self, at: UtcMicros) -> String {
        let at = self.zoned(at);
        let separator = match self.lang {
            Lang::Ja => " ",
            Lang::En => ", ",
        };
        format!(
            "{}{separator}{}",
            self.date(at.date()),
            at.strftime("%H:%M")
        )
    }

    /// 2026年11月22日(日) | Sunday 22 November 2026
    pub fn date(&self, date: Date) -> String {
        match self.lang {
            Lang::Ja => format!(
                "{}年{}月{}日({})",
                date.year(),
                date.month(),
                date.day(),
                weekday_ja(date.weekday())
            ),
            Lang::En => date.strftime("%A %-d %B %Y").to_string(),
        }
    }

    /// 11月22日(日) | Sun 22 Nov
    pub fn short_date(&self, date: Date) -> String {
        match self.lang {
            Lang::Ja => format!(
                "{}月{}日({})",
                date.month(),
                date.day(),
                weekday_ja(date.weekday())
            ),
            Lang::En => date.strftime("%a %-d %b").to_string(),
        }
    }

    /// 日 | Sun
    pub fn weekday(&self, date: Date) -> String {
        match self.lang {
            Lang::Ja => weekday_ja(date.weekday()).to_owned(),
            Lang::En => date.strftime("%a").to_string(),
        }
    }

    /// 14:05:12
    pub fn time(&self, at: UtcMicros) -> String {
        self.zoned(at).strftime("%H:%M:%S").to_string()
    }

    /// 9:05, where there is little room.
    pub fn short_minute(&self, at: UtcMicros) -> String {
        self.zoned(at).strftime("%-H:%M").to_string()
    }

    /// 14:05
    pub fn minute(&self, at: UtcMicros) -> String {
        self.zoned(at).strftime("%H:%M").to_string()
    }

    /// 10:42 for today, 11月21日(土) 10:42 for another day.
    pub fn short(&self, at: UtcMicros) -> String {
        let at = self.zoned(at);
        let time = at.strftime("%H:%M");
        if at.date() == self.today() {
            time.to_string()
        } else {
            format!("{} {time}", self.short_date(at.date()))
        }
    }

    /// 12秒前 and 5分前 within the hour, then as [`When::short`].
    pub fn ago(&self, at: UtcMicros) -> String {
        let seconds = self.now.since_us(at) / SECOND_US;
        match (self.lang, seconds) {
            (Lang::Ja, ..1) => "たった今".to_owned(),
            (Lang::En, ..1) => "just now".to_owned(),
            (Lang::Ja, 1..60) => format!("{seconds}秒前"),
            (Lang::En, 1..60) => format!("{seconds} s ago"),
            (Lang::Ja, 60..3600) => format!("{}分前", seconds / 60),
            (Lang::En, 60..3600) => format!("{} min ago", seconds / 60),
            _ => self.short(at),
        }
    }

    /// 14時台 | 14:00–14:59: the hour an event is grouped under.
    pub fn hour(&self, at: UtcMicros) -> String {
        let hour = self.zoned(at).hour();
        match self.lang {
            Lang::Ja => format!("{hour}時台"),
            Lang::En => format!("{hour:02}:00–{hour:02}:59"),
        }
    }

    /// Names the hour group of a time within all days: `2026-11-22T14`. Sorts like time.
    pub fn hour_key(&self, at: UtcMicros) -> String {
        self.zoned(at).strftime("%Y-%m-%dT%H").to_string()
    }

    /// For the `datetime` attribute.
    pub fn machine(&self, at: UtcMicros) -> String {
        self.zoned(at).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    pub fn today(&self) -> Date {
        self.zoned(self.now).date()
    }

    pub fn date_of(&self, at: UtcMicros) -> Date {
        self.zoned(at).date()
    }

    pub fn midnight_today(&self) -> UtcMicros {
        self.start_of(self.today())
    }

    pub fn start_of(&self, date: Date) -> UtcMicros {
        self.instant(date, Time::midnight())
    }

    /// The first instant after a day.
    pub fn end_of(&self, date: Date) -> UtcMicros {
        self.start_of(date.saturating_add(1.day()))
    }

    /// A wall-clock time of a day. Where clocks jump, the time after the jump.
    pub fn instant(&self, date: Date, time: Time) -> UtcMicros {
        date.to_datetime(time)
            .to_zoned(self.zone.clone())
            .map(|zoned| UtcMicros(zoned.timestamp().as_microsecond()))
            // Only at the end of the calendar, in the year 9999.
            .unwrap_or(UtcMicros(i64::MAX))
    }

    fn zoned(&self, at: UtcMicros) -> Zoned {
        // A time outside the calendar is a broken record; it is shown as its nearest end.
        let timestamp = Timestamp::from_microsecond(at.0).unwrap_or(if at.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        timestamp.to_zoned(self.zone.clone())
    }
}

fn weekday_ja(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "月",
        Weekday::Tuesday => "火",
        Weekday::Wednesday => "水",
        Weekday::Thursday => "木",
        Weekday::Friday => "金",
        Weekday::Saturday => "土",
        Weekday::Sunday => "日",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMicros {
        let timestamp: Timestamp = text.parse().expect("timestamp");
        UtcMicros(timestamp.as_microsecond())
    }

    fn when(lang: Lang, now: &str) -> When {
        When {
            lang,
            zone: TimeZone::get(DEFAULT_ZONE).expect("bundled"),
            now: at(now),
        }
    }

    #[test]
    fn times_are_shown_in_japan_in_both_languages() {
        let time = at("2026-11-22T05:05:12Z");
        let ja = when(Lang::Ja, "2026-11-22T06:00:00Z");
        assert_eq!(ja.full(time), "2026年11月22日(日) 14:05:12");
        assert_eq!(ja.hour(time), "14時台");
        assert_eq!(ja.hour_key(time), "2026-11-22T14");
        let en = when(Lang::En, "2026-11-22T06:00:00Z");
        assert_eq!(en.full(time), "Sunday 22 November 2026, 14:05:12");
        assert_eq!(en.machine(time), "2026-11-22T14:05:12+09:00");
    }

    #[test]
    fn age_becomes_time_becomes_date() {
        let ja = when(Lang::Ja, "2026-11-22T05:00:00Z");
        let check = |time, expected: &str| assert_eq!(ja.ago(at(time)), expected);
        check("2026-11-22T05:00:00Z", "たった今");
        check("2026-11-22T04:59:48Z", "12秒前");
        check("2026-11-22T04:55:00Z", "5分前");
        check("2026-11-22T01:42:00Z", "10:42");
        check("2026-11-21T01:42:00Z", "11月21日(土) 10:42");
    }

    #[test]
    fn the_day_starts_at_local_midnight() {
        let ja = when(Lang::Ja, "2026-11-21T15:30:00Z");
        assert_eq!(ja.midnight_today(), at("2026-11-21T15:00:00Z"));
        assert_eq!(ja.end_of(ja.today()), at("2026-11-22T15:00:00Z"));
    }

    #[test]
    fn broken_times_do_not_break_the_page() {
        let ja = when(Lang::Ja, "2026-11-22T05:00:00Z");
        for time in [i64::MIN, i64::MAX] {
            assert!(!ja.full(UtcMicros(time)).is_empty());
            assert!(!ja.ago(UtcMicros(time)).is_empty());
        }
    }
}
