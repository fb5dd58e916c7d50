//! Times as people read and write them: in the contracts' time zone, and by the second.

use crate::portal::when::DEFAULT_ZONE;
use anyhow::{Context, bail};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use wire::UtcMicros;

/// The zone that times are told in.
pub fn zone() -> TimeZone {
    TimeZone::get(DEFAULT_ZONE).expect("the time zones are built in")
}

pub const ZONE: &str = DEFAULT_ZONE;

fn zoned(at: UtcMicros) -> Zoned {
    let end = if at.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_microsecond(at.0)
        .unwrap_or(end)
        .to_zoned(zone())
}

/// 2026-11-22 14:05:12
pub fn time(at: UtcMicros) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// 2026-11-22 14:00, for the beginning of an hour.
pub fn minute(at: UtcMicros) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M").to_string()
}

/// 20261122-140512, for names of files.
pub fn in_name(at: UtcMicros) -> String {
    zoned(at).strftime("%Y%m%d-%H%M%S").to_string()
}

/// 2026-11-22T05:05:12Z, for programs.
pub fn utc(at: UtcMicros) -> String {
    let end = if at.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_microsecond(at.0)
        .unwrap_or(end)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Reads a day, a local time, or a time with its own offset. A day is its first instant.
pub fn parse(text: &str) -> anyhow::Result<UtcMicros> {
    let at = if let Ok(instant) = text.parse::<Timestamp>() {
        instant
    } else if let Ok(local) = text.parse::<DateTime>() {
        local
            .to_zoned(zone())
            .context("this time does not exist")?
            .timestamp()
    } else if let Ok(day) = text.parse::<Date>() {
        day.to_zoned(zone())
            .context("this day does not exist")?
            .timestamp()
    } else {
        bail!(
            "\"{text}\" is no time; write 2026-11-22, 2026-11-22T14:30 ({ZONE}) or 2026-11-22T05:30:00Z"
        );
    };
    Ok(UtcMicros(at.as_microsecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_and_times_are_local_unless_they_say_otherwise() {
        let midnight = parse("2026-11-22").unwrap();
        assert_eq!(utc(midnight), "2026-11-21T15:00:00Z");
        assert_eq!(parse("2026-11-22T00:00").unwrap(), midnight);
        assert_eq!(parse("2026-11-22 00:00:00").unwrap(), midnight);
        assert_eq!(parse("2026-11-21T15:00:00Z").unwrap(), midnight);
        assert_eq!(time(midnight), "2026-11-22 00:00:00");
        assert!(
            parse("yesterday")
                .unwrap_err()
                .to_string()
                .contains("2026-11-22T14:30")
        );
    }
}
