//! How long the disk lasts. Pure: samples in, a day out.
//!
//! The forecast is a line through what was used in the last fourteen days (least squares), because a site's week has busy days
//! and quiet ones. It is made from what is used, not from what is free, so that somebody else's file on the same disk does not
//! look like our growth; but it ends where the disk is full, whoever filled it.

use serde::Serialize;
use wire::UtcMicros;

const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// What the line is laid through.
pub const WINDOW_US: i64 = 14 * DAY_US;
/// Less says nothing about a day.
const LEAST_SPAN_US: i64 = DAY_US;
/// The operator is told when so little time is left, ...
const SOON_US: i64 = 30 * DAY_US;
/// ... and again, ...
const URGENT_US: i64 = 7 * DAY_US;
/// ... whatever the line says when less than this share is free, ...
const SOON_FREE: f64 = 0.15;
/// ... and again. At 5 % pictures are refused: see `disk.rs`.
const URGENT_FREE: f64 = 0.08;
/// All is well again only with so much more of either, so that nobody is told twice a day.
const MARGIN: f64 = 1.2;

/// How full it was at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    pub at_us: UtcMicros,
    pub database_bytes: u64,
    pub objects_bytes: u64,
    /// Of the disk, as the receiver may use it.
    pub free_bytes: u64,
    pub total_bytes: u64,
    pub records: u64,
}

impl Sample {
    pub fn used_bytes(&self) -> u64 {
        self.database_bytes + self.objects_bytes
    }

    fn free_share(&self) -> f64 {
        self.free_bytes as f64 / self.total_bytes.max(1) as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "forecast")]
pub enum Forecast {
    /// There is less than a day to judge by.
    TooEarly,
    /// What is held does not grow.
    Steady,
    Growing {
        bytes_per_day: u64,
        /// When no room is left.
        full_us: UtcMicros,
    },
}

/// What the operator has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Fine,
    /// Room for a month at most.
    Soon,
    /// For a week at most.
    Urgent,
    /// Pictures are refused.
    Full,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Soon => "soon",
            Self::Urgent => "urgent",
            Self::Full => "full",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Fine, Self::Soon, Self::Urgent, Self::Full]
            .into_iter()
            .find(|level| level.word() == word)
    }
}

/// `samples` in order of time; those before the window are left out.
pub fn forecast(samples: &[Sample]) -> Forecast {
    let Some(last) = samples.last() else {
        return Forecast::TooEarly;
    };
    let from = samples.partition_point(|sample| last.at_us.since_us(sample.at_us) > WINDOW_US);
    let window = &samples[from..];
    if last.at_us.since_us(window[0].at_us) < LEAST_SPAN_US {
        return Forecast::TooEarly;
    }
    let bytes_per_day = slope(window);
    // Less than a page an hour is the database breathing.
    if bytes_per_day < 100_000.0 {
        return Forecast::Steady;
    }
    let days_left = last.free_bytes as f64 / bytes_per_day;
    // Ten thousand years are enough.
    let left_us = (days_left * DAY_US as f64).min(3.0e17) as i64;
    Forecast::Growing {
        bytes_per_day: bytes_per_day as u64,
        full_us: last.at_us.plus_us(left_us),
    }
}

/// Bytes a day of the line with the least squares.
fn slope(window: &[Sample]) -> f64 {
    let base = window[0];
    let days = |sample: &Sample| sample.at_us.since_us(base.at_us) as f64 / DAY_US as f64;
    let grown = |sample: &Sample| sample.used_bytes() as f64 - base.used_bytes() as f64;
    let count = window.len() as f64;
    let mean_x = window.iter().map(days).sum::<f64>() / count;
    let mean_y = window.iter().map(grown).sum::<f64>() / count;
    let (mut up, mut down) = (0.0, 0.0);
    for sample in window {
        let x = days(sample) - mean_x;
        up += x * (grown(sample) - mean_y);
        down += x * x;
    }
    if down > 0.0 { up / down } else { 0.0 }
}

/// `before`: what was last told, so that a level ends later than it begins.
pub fn level(last: &Sample, forecast: Forecast, has_room: bool, before: Level) -> Level {
    if !has_room {
        return Level::Full;
    }
    let left_us = match forecast {
        Forecast::Growing { full_us, .. } => full_us.since_us(last.at_us) as f64,
        _ => f64::INFINITY,
    };
    let free = last.free_share();
    let is = |level: Level, us: i64, share: f64| {
        let margin = if before >= level { MARGIN } else { 1.0 };
        left_us < us as f64 * margin || free < share * margin
    };
    if is(Level::Urgent, URGENT_US, URGENT_FREE) {
        Level::Urgent
    } else if is(Level::Soon, SOON_US, SOON_FREE) {
        Level::Soon
    } else {
        Level::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn sample(hour: i64, used: u64) -> Sample {
        Sample {
            at_us: UtcMicros(hour * DAY_US / 24),
            database_bytes: used / 4,
            objects_bytes: used - used / 4,
            free_bytes: (1000 * GB).saturating_sub(used),
            total_bytes: 1000 * GB,
            records: 0,
        }
    }

    fn days_left(samples: &[Sample]) -> f64 {
        let last = samples.last().expect("samples");
        match forecast(samples) {
            Forecast::Growing { full_us, .. } => {
                full_us.since_us(last.at_us) as f64 / DAY_US as f64
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_disk_that_fills_evenly_is_full_on_its_day() {
        let samples: Vec<_> = (0..24 * 20)
            .map(|hour| sample(hour, hour as u64 * GB / 2))
            .collect();
        // 12 GB a day; 239.5 GB are used.
        assert!(
            (days_left(&samples) - 760.5 / 12.0).abs() < 0.1,
            "{}",
            days_left(&samples)
        );
    }

    #[test]
    fn quiet_nights_and_an_old_jump_do_not_bend_the_line() {
        let used = |hour: i64| {
            let (day, of_day) = (hour / 24, (hour % 24).clamp(8, 18) - 8);
            // A migration of 300 GB lies before the window.
            let jump = if day >= 5 { 300 } else { 0 };
            (jump + day as u64 * 10 + of_day as u64) * GB
        };
        let samples: Vec<_> = (0..24 * 30).map(|hour| sample(hour, used(hour))).collect();
        let expected = (1000.0 - 600.0) / 10.0;
        assert!(
            (days_left(&samples) / expected - 1.0).abs() < 0.05,
            "{}",
            days_left(&samples)
        );
    }

    #[test]
    fn nothing_is_said_too_early_or_of_what_stands_still() {
        assert_eq!(forecast(&[]), Forecast::TooEarly);
        let hours = |count: i64, used: fn(i64) -> u64| -> Vec<Sample> {
            (0..count).map(|hour| sample(hour, used(hour))).collect()
        };
        assert_eq!(
            forecast(&hours(24, |hour| hour as u64 * GB)),
            Forecast::TooEarly
        );
        assert_eq!(forecast(&hours(48, |_| 5 * GB)), Forecast::Steady);
        assert_eq!(
            forecast(&hours(48, |hour| (100 - hour as u64) * GB)),
            Forecast::Steady
        );
    }

    #[test]
    fn levels_come_in_order_and_end_later_than_they_begin() {
        let with_days = |days: i64| Forecast::Growing {
            bytes_per_day: GB,
            full_us: UtcMicros(days * DAY_US),
        };
        let roomy = sample(0, 0);
        let told = |days, before| level(&roomy, with_days(days), true, before);
        assert_eq!(told(31, Level::Fine), Level::Fine);
        assert_eq!(told(29, Level::Fine), Level::Soon);
        assert_eq!(told(31, Level::Soon), Level::Soon, "no to and fro");
        assert_eq!(told(37, Level::Soon), Level::Fine);
        assert_eq!(told(6, Level::Soon), Level::Urgent);
        assert_eq!(told(8, Level::Urgent), Level::Urgent);
        assert_eq!(told(9, Level::Urgent), Level::Soon);
        assert_eq!(
            level(&roomy, Forecast::Steady, false, Level::Fine),
            Level::Full
        );
        let narrow = sample(0, 900 * GB);
        assert_eq!(
            level(&narrow, Forecast::Steady, true, Level::Fine),
            Level::Soon
        );
        let narrower = sample(0, 930 * GB);
        assert_eq!(
            level(&narrower, Forecast::TooEarly, true, Level::Fine),
            Level::Urgent
        );
    }
}
