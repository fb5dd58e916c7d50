//! What is asked of the timeline: the filter as the form and the links write it.

use crate::portal::guard::form_query;
use crate::portal::when::When;
use crate::store::{EventCursor, EventFilter};
use jiff::civil::{Date, Time};
use serde::Deserialize;
use wire::UtcMicros;

/// The filter as the form and the links write it. A value that cannot be read counts as not given: an old
/// bookmark should show too much rather than an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(in crate::portal) struct Asked {
    #[serde(default)]
    pub(super) site: String,
    #[serde(default)]
    pub(super) camera: String,
    #[serde(default)]
    pub(super) class: String,
    /// Of the event, its camera or its site.
    #[serde(default)]
    pub(super) tag: String,
    /// At least so many percent.
    #[serde(default)]
    pub(super) score: String,
    /// `2026-11-22`
    #[serde(default)]
    pub(super) day: String,
    /// `14:00`; of the day, or of today.
    #[serde(default)]
    pub(super) from: String,
    #[serde(default)]
    pub(super) to: String,
    /// Keyset: `<opened_at_us>_<event id>` of the last event of the page before.
    #[serde(default)]
    pub(super) before: String,
}

impl Asked {
    pub(super) fn day(&self) -> Option<Date> {
        self.day.parse().ok()
    }

    pub(in crate::portal) fn filter(&self, when: &When) -> EventFilter {
        let time = |text: &str| text.parse::<Time>().ok();
        let (from, to) = (time(&self.from), time(&self.to));
        let day = self
            .day()
            .or((from.is_some() || to.is_some()).then(|| when.today()));
        let instant = |time: Option<Time>, otherwise: fn(&When, Date) -> UtcMicros| {
            day.map(|day| time.map_or_else(|| otherwise(when, day), |time| when.instant(day, time)))
        };
        EventFilter {
            site: self.site.parse().ok(),
            camera: self.camera.parse().ok(),
            class: Some(self.class.clone()).filter(|class| !class.is_empty()),
            from_us: instant(from, When::start_of),
            to_us: instant(to, When::end_of),
            tag: Some(self.tag.clone()).filter(|tag| !tag.is_empty()),
            least_score_percent: self
                .score
                .parse()
                .ok()
                .filter(|score| (1..=100).contains(score)),
        }
    }

    pub(super) fn cursor(&self) -> Option<EventCursor> {
        let (opened_at_us, id) = self.before.split_once('_')?;
        Some(EventCursor {
            opened_at_us: UtcMicros(opened_at_us.parse().ok()?),
            id: id.parse().ok()?,
        })
    }

    pub(in crate::portal) fn is_narrowed(&self) -> bool {
        let conditions = [
            &self.site,
            &self.camera,
            &self.class,
            &self.tag,
            &self.score,
            &self.day,
            &self.from,
            &self.to,
        ];
        conditions.iter().any(|text| !text.is_empty())
    }

    /// The link to the same filter with one thing changed.
    pub(super) fn link(&self, change: impl FnOnce(&mut Asked)) -> String {
        let mut asked = self.clone();
        change(&mut asked);
        let query = asked.query();
        if query.is_empty() {
            "/events".to_owned()
        } else {
            format!("/events?{query}")
        }
    }

    /// The link to the download of what the strip shows.
    pub(super) fn export_link(&self) -> String {
        let link = self.link(|asked| {
            asked.before.clear();
            asked.class.clear();
            asked.tag.clear();
            asked.score.clear();
        });
        link.replacen("/events", "/export", 1)
    }

    /// Of the page of one of its events: there, neighbours are those of the filter.
    pub(in crate::portal) fn event_link(&self, id: impl std::fmt::Display) -> String {
        let asked = Self {
            before: String::new(),
            ..self.clone()
        };
        match asked.query() {
            query if query.is_empty() => format!("/events/{id}"),
            query => format!("/events/{id}?{query}"),
        }
    }

    /// The list that these events are of.
    pub(in crate::portal) fn list_link(&self) -> String {
        self.link(|asked| asked.before.clear())
    }

    pub(super) fn query(&self) -> String {
        form_query(&[
            ("site", self.site.as_str()),
            ("camera", &self.camera),
            ("class", &self.class),
            ("tag", &self.tag),
            ("score", &self.score),
            ("day", &self.day),
            ("from", &self.from),
            ("to", &self.to),
            ("before", &self.before),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::when::DEFAULT_ZONE;
    use crate::portal::words::Lang;
    use jiff::tz::TimeZone;

    fn when() -> When {
        let now: jiff::Timestamp = "2026-11-22T05:00:00Z".parse().expect("timestamp");
        When {
            lang: Lang::Ja,
            zone: TimeZone::get(DEFAULT_ZONE).expect("bundled"),
            now: UtcMicros(now.as_microsecond()),
        }
    }

    fn micros(text: &str) -> Option<UtcMicros> {
        let at: jiff::Timestamp = text.parse().expect("timestamp");
        Some(UtcMicros(at.as_microsecond()))
    }

    #[test]
    fn a_day_is_a_day_in_japan() {
        let asked = Asked {
            day: "2026-11-21".into(),
            ..Asked::default()
        };
        let filter = asked.filter(&when());
        assert_eq!(filter.from_us, micros("2026-11-20T15:00:00Z"));
        assert_eq!(filter.to_us, micros("2026-11-21T15:00:00Z"));
    }

    #[test]
    fn times_alone_are_of_today() {
        let asked = Asked {
            from: "09:30".into(),
            ..Asked::default()
        };
        let filter = asked.filter(&when());
        assert_eq!(filter.from_us, micros("2026-11-22T00:30:00Z"));
        assert_eq!(filter.to_us, micros("2026-11-22T15:00:00Z"));
    }

    #[test]
    fn nonsense_filters_nothing() {
        let asked = Asked {
            site: "x".into(),
            camera: "../..".into(),
            day: "tomorrow".into(),
            from: "25:99".into(),
            before: "1_2_3".into(),
            ..Asked::default()
        };
        assert_eq!(asked.filter(&when()), EventFilter::default());
        assert_eq!(asked.cursor(), None);
    }

    #[test]
    fn a_link_keeps_the_rest_of_the_filter() {
        let asked = Asked {
            class: "人 & 車".into(),
            day: "2026-11-21".into(),
            ..Asked::default()
        };
        assert_eq!(
            asked.link(|a| a.day.clear()),
            "/events?class=%E4%BA%BA%20%26%20%E8%BB%8A"
        );
        assert_eq!(Asked::default().link(|_| {}), "/events");
    }
}
