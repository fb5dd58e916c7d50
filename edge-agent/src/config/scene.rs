//! What of a camera's picture matters, and when: zones, lines, masks and schedules as an installer writes them.
//!
//! Places are fractions of the picture, so that they survive a change of resolution. Heights of objects are shares of
//! the picture's height, because that is what can be measured with a ruler on the screen. Names are what people on site
//! say, and what stands in records.

use serde::Deserialize;

/// Across and down, in fractions of the picture: 0 is left or top, 1 is right or bottom.
pub type Point = [f32; 2];

/// A part of the ground that matters. Where an object stands is the middle of its box's lower edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZoneConfig {
    pub name: String,
    /// Its corners in order.
    pub points: Vec<Point>,
    /// What counts here; empty: everything that is analysed.
    pub classes: Vec<String>,
    /// An object counts here once its score has been this high.
    pub min_score: Option<f32>,
    /// Height of the object's box, as a share of the picture's height.
    pub min_height: Option<f32>,
    pub max_height: Option<f32>,
    /// Height of the box divided by its width, both in pixels.
    pub min_ratio: Option<f32>,
    pub max_ratio: Option<f32>,
    /// So many looks in a row must find an object inside before it is, and outside before it is not.
    pub inertia_looks: u32,
    /// Coming in makes an event.
    pub event: bool,
    /// Staying this long makes an event; 0: never.
    pub loitering_seconds: u32,
    /// So many at a time make an event of the zone; 0: never.
    pub occupancy: u32,
    /// Makes events only then; always, if unset. Counts are made always.
    pub schedule: Option<String>,
    /// After it opened an event it opens no other for this long.
    pub cool_down_seconds: u32,
}

impl Default for ZoneConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            points: Vec::new(),
            classes: Vec::new(),
            min_score: None,
            min_height: None,
            max_height: None,
            min_ratio: None,
            max_ratio: None,
            inertia_looks: 2,
            event: true,
            loitering_seconds: 0,
            occupancy: 0,
            schedule: None,
            cool_down_seconds: 0,
        }
    }
}

/// An arrow on the ground. Who goes from its left to its right comes `in`, who goes back goes `out`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineConfig {
    pub name: String,
    /// Where the arrow begins and ends. Not a number where the file has none.
    pub from: Point,
    pub to: Point,
    /// As of a zone.
    pub classes: Vec<String>,
    pub min_score: Option<f32>,
    pub min_height: Option<f32>,
    pub max_height: Option<f32>,
    pub min_ratio: Option<f32>,
    pub max_ratio: Option<f32>,
    /// So many looks in a row must find an object clearly beyond the line before it has crossed.
    pub inertia_looks: u32,
    /// Crossing makes an event.
    pub event: bool,
    pub schedule: Option<String>,
    pub cool_down_seconds: u32,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            from: [f32::NAN; 2],
            to: [f32::NAN; 2],
            classes: Vec::new(),
            min_score: None,
            min_height: None,
            max_height: None,
            min_ratio: None,
            max_ratio: None,
            inertia_looks: 1,
            event: true,
            schedule: None,
            cool_down_seconds: 0,
        }
    }
}

/// Where objects are ignored: a poster, a mannequin, the road behind the fence.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectMaskConfig {
    pub points: Vec<Point>,
    /// What is ignored; empty: everything.
    pub classes: Vec<String>,
}

/// Times of the week at which something is on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    pub name: String,
    /// In which it is written.
    pub time_zone: ZoneOfTime,
    /// Whether the national holidays of Japan are holidays here.
    pub japanese_holidays: bool,
    /// Days that are holidays as well: the company's own.
    pub extra_holidays: Vec<jiff::civil::Date>,
    /// It is on while any of them is.
    #[serde(rename = "span")]
    pub spans: Vec<SpanConfig>,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            time_zone: ZoneOfTime::default(),
            japanese_holidays: true,
            extra_holidays: Vec::new(),
            spans: Vec::new(),
        }
    }
}

/// From one time of day to another, on some days. Where `to` is not later than `from`, it ends on the next day; it
/// belongs to the day on which it begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanConfig {
    /// Empty: every day.
    pub days: Vec<Weekday>,
    pub from: TimeOfDay,
    pub to: TimeOfDay,
    pub holidays: Holidays,
}

impl Default for SpanConfig {
    fn default() -> Self {
        Self {
            days: Vec::new(),
            from: TimeOfDay::MIDNIGHT,
            to: TimeOfDay::END_OF_DAY,
            holidays: Holidays::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What a holiday is to a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holidays {
    /// A day like any other.
    #[default]
    Ignore,
    /// Not on holidays.
    Except,
    /// On holidays alone.
    Only,
    /// A holiday is a Sunday.
    AsSunday,
}

/// Hours and minutes of a day, 00:00 to 24:00, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(pub u16);

impl TimeOfDay {
    pub const MIDNIGHT: Self = Self(0);
    pub const END_OF_DAY: Self = Self(24 * 60);
}

impl TryFrom<String> for TimeOfDay {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "it is no time of day";
        let (hours, minutes) = text.split_once(':').ok_or(WRONG)?;
        let number = |digits: &str| {
            let plain = digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let (hours, minutes) = number(hours).zip(number(minutes)).ok_or(WRONG)?;
        let time = Self(hours * 60 + minutes);
        if minutes < 60 && time <= Self::END_OF_DAY {
            Ok(time)
        } else {
            Err(WRONG)
        }
    }
}

/// A time zone by its IANA name, with its rules: the machine's own, or those the agent brings along.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct ZoneOfTime(pub jiff::tz::TimeZone);

impl Default for ZoneOfTime {
    fn default() -> Self {
        let tokyo = jiff::tz::TimeZone::get("Asia/Tokyo");
        // Japan has kept one offset since 1951.
        Self(tokyo.unwrap_or_else(|_| jiff::tz::TimeZone::fixed(jiff::tz::offset(9))))
    }
}

impl TryFrom<String> for ZoneOfTime {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match jiff::tz::TimeZone::get(&name) {
            Ok(zone) => Ok(Self(zone)),
            Err(_) => Err(format!("there is no time zone \"{name}\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box without the system's time zone files still knows all of them.
    #[test]
    fn time_zones_are_brought_along() {
        let bundled = jiff::tz::TimeZoneDatabase::bundled();
        for name in ["Asia/Tokyo", "Europe/Berlin", "America/New_York"] {
            assert!(bundled.get(name).is_ok(), "{name}");
        }
        assert!(ZoneOfTime::try_from("Asia/Tokio".to_string()).is_err());
    }

    #[test]
    fn times_of_day() {
        for (text, minutes) in [
            ("00:00", 0),
            ("8:30", 510),
            ("23:59", 1439),
            ("24:00", 1440),
        ] {
            assert_eq!(
                TimeOfDay::try_from(text.to_string()),
                Ok(TimeOfDay(minutes))
            );
        }
        for text in ["", "8", "24:01", "12:60", "-1:00", "+8:00", "8:000", "8:3a"] {
            assert!(TimeOfDay::try_from(text.to_string()).is_err(), "{text}");
        }
    }
}
