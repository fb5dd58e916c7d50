//! The timeline: events from new to old, grouped by hour, filtered by a form whose result is a link.

use super::guard::form_query;
use super::layout::{self, Tab};
use super::picture::Absence;
use super::problem::Problem;
use super::thumbnail;
use super::visit::Visit;
use super::{PortalState, when::When};
use crate::auth::session::Session;
use crate::store::{EventCursor, EventFilter, EventRow, SiteOverview};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::ToSpan;
use jiff::civil::{Date, Time};
use maud::{Markup, html};
use serde::Deserialize;
use wire::{EventId, UtcMicros};

/// Events on one page.
const PAGE_EVENTS: u32 = 48;

/// The filter as the form and the links write it. A value that cannot be read counts as not given: an old
/// bookmark should show too much rather than an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Asked {
    #[serde(default)]
    site: String,
    #[serde(default)]
    camera: String,
    #[serde(default)]
    class: String,
    /// `2026-11-22`
    #[serde(default)]
    day: String,
    /// `14:00`; of the day, or of today.
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    /// Keyset: `<opened_at_us>_<event id>` of the last event of the page before.
    #[serde(default)]
    before: String,
}

impl Asked {
    fn day(&self) -> Option<Date> {
        self.day.parse().ok()
    }

    fn filter(&self, when: &When) -> EventFilter {
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
        }
    }

    fn cursor(&self) -> Option<EventCursor> {
        let (opened_at_us, id) = self.before.split_once('_')?;
        Some(EventCursor {
            opened_at_us: UtcMicros(opened_at_us.parse().ok()?),
            id: id.parse().ok()?,
        })
    }

    fn is_narrowed(&self) -> bool {
        let conditions = [
            &self.site,
            &self.camera,
            &self.class,
            &self.day,
            &self.from,
            &self.to,
        ];
        conditions.iter().any(|text| !text.is_empty())
    }

    /// The link to the same filter with one thing changed.
    fn link(&self, change: impl FnOnce(&mut Asked)) -> String {
        let mut asked = self.clone();
        change(&mut asked);
        let query = asked.query();
        if query.is_empty() {
            "/events".to_owned()
        } else {
            format!("/events?{query}")
        }
    }

    fn query(&self) -> String {
        let pairs: Vec<(&str, &str)> = [
            ("site", self.site.as_str()),
            ("camera", &self.camera),
            ("class", &self.class),
            ("day", &self.day),
            ("from", &self.from),
            ("to", &self.to),
            ("before", &self.before),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
        form_query(&pairs)
    }
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let store = &state.store;
    let filter = asked.filter(&visit);
    let (mut events, sites, classes) = tokio::try_join!(
        store.events(session.scope, &filter, asked.cursor(), PAGE_EVENTS + 1),
        store.overview(session.scope, visit.midnight_today()),
        store.classes(session.scope),
    )?;
    let is_more = events.len() > PAGE_EVENTS as usize;
    events.truncate(PAGE_EVENTS as usize);
    let choices = Choices { sites, classes };
    Ok(page(&visit, &asked, &choices, &events, is_more))
}

/// One event as a list shows it, in its hour; nothing if it is not what the page asks for.
pub async fn card(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let id: EventId = id.parse().map_err(|_| Problem::NotFound)?;
    let detail = state.store.event(session.scope, id).await?;
    let row = detail.ok_or(Problem::NotFound)?.row;
    if !is_wanted(&asked.filter(&visit), &row) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(hour_group(&visit, &[&row]).into_response())
}

/// What the store would say of the filter and this event.
fn is_wanted(filter: &EventFilter, row: &EventRow) -> bool {
    filter.site.is_none_or(|site| site == row.site)
        && filter.camera.is_none_or(|camera| camera == row.camera)
        && filter
            .class
            .as_ref()
            .is_none_or(|class| *class == row.class)
        && filter.from_us.is_none_or(|from| row.opened_at_us >= from)
        && filter.to_us.is_none_or(|to| row.opened_at_us < to)
}

/// What the filter offers.
#[derive(Debug)]
pub(super) struct Choices {
    pub sites: Vec<SiteOverview>,
    pub classes: Vec<String>,
}

pub(super) fn page(
    visit: &Visit,
    asked: &Asked,
    choices: &Choices,
    events: &[EventRow],
    is_more: bool,
) -> Markup {
    let words = visit.words();
    // New events belong at the top of the first page only.
    let is_live = asked.before.is_empty() && asked.day().is_none_or(|day| day == visit.today());
    let body = html! {
        div.section-head {
            h1 { (words.events) }
            @if is_live { p.live { span.live-dot {} (words.live) } }
        }
        (filter_form(visit, asked, choices))
        (day_navigation(visit, asked))
        @if events.is_empty() && !is_live {
            (nothing_found(visit, asked))
        } @else if is_live {
            (list(visit, events, &asked.query(), None))
            @if events.is_empty() { (nothing_found(visit, asked)) }
        } @else {
            (groups(visit, events))
        }
        nav.pages {
            @if !asked.before.is_empty() {
                a.button href=(asked.link(|a| a.before.clear())) { (words.newest) }
            }
            @if let (true, Some(last)) = (is_more, events.last()) {
                a.button rel="next" href=(asked.link(|a| a.before = format!("{}_{}", last.opened_at_us, last.id))) {
                    (words.older)
                }
            }
        }
    };
    layout::page(visit, Tab::Events, words.events, &body)
}

/// A list that new events slide into. `query` says which belong; `most` how many may stand in it.
pub(super) fn list(visit: &Visit, events: &[EventRow], query: &str, most: Option<usize>) -> Markup {
    html! {
        div.timeline data-part="events" data-events data-query=(query) data-most=[most] {
            @if events.is_empty() && most.is_some() {
                div.empty data-empty {
                    h3 { (visit.words().no_events_ever) }
                    p { (visit.words().no_events_ever_hint) }
                }
            }
            (groups(visit, events))
        }
    }
}

fn groups(visit: &Visit, events: &[EventRow]) -> Markup {
    let rows: Vec<&EventRow> = events.iter().collect();
    html! {
        @for group in rows.chunk_by(|one, other| {
            visit.hour_key(one.opened_at_us) == visit.hour_key(other.opened_at_us)
        }) { (hour_group(visit, group)) }
    }
}

/// The events of one hour. Never empty.
fn hour_group(visit: &Visit, rows: &[&EventRow]) -> Markup {
    let Some(first) = rows.first() else {
        return Markup::default();
    };
    let at = first.opened_at_us;
    let day = visit.date_of(at);
    html! {
        section.hour data-hour=(visit.hour_key(at)) {
            h3 {
                @if day == visit.today() { (visit.words().today) } @else { (visit.short_date(day)) }
                " " span.tabular { (visit.hour(at)) }
            }
            ol.cards { @for row in rows { (event_card(visit, row)) } }
        }
    }
}

fn event_card(visit: &Visit, row: &EventRow) -> Markup {
    let words = visit.words();
    let class = words.class_name(&row.class);
    let title = visit.lang.event_title(class, &row.camera_name);
    html! {
        li.card data-event=(row.id) data-opened=(row.opened_at_us) {
            a href={ "/events/" (row.id) } {
                @match row.snapshot.picture() {
                    Some(picture) => (thumbnail::around_object(picture, row.id, &title)),
                    None => span.thumbnail.waiting { (Absence::of(row, visit.now).words(words)) },
                }
                span.card-text {
                    span.card-class { (class) }
                    span.card-time.tabular {
                        time datetime=(visit.machine(row.opened_at_us)) title=(visit.full(row.opened_at_us)) {
                            (visit.time(row.opened_at_us))
                        }
                    }
                    span.card-place { (row.camera_name) " · " (row.site_name) }
                    span.card-duration {
                        @match row.closed_at_us {
                            Some(closed) => (visit.lang.duration(seconds_between(row.opened_at_us, closed))),
                            None => span.ongoing { (words.ongoing) },
                        }
                    }
                }
            }
        }
    }
}

/// Whole seconds, at least one: whatever was seen was there for a moment.
pub(super) fn seconds_between(from: UtcMicros, to: UtcMicros) -> i64 {
    (to.since_us(from) / 1_000_000).max(1)
}

fn filter_form(visit: &Visit, asked: &Asked, choices: &Choices) -> Markup {
    let words = visit.words();
    let many_sites = choices.sites.len() > 1;
    let chosen = chosen_words(visit, asked, choices);
    html! {
        details.filter {
            summary { (words.filter) @if !chosen.is_empty() { span.chosen { (chosen) } } }
            form method="get" action="/events" {
                div.field {
                    label for="site" { (words.site) }
                    select #site name="site" {
                        option value="" { (words.all) }
                        @for site in &choices.sites {
                            option value=(site.site) selected[asked.site == site.site.to_string()] { (site.name) }
                        }
                    }
                }
                div.field {
                    label for="camera" { (words.camera) }
                    select #camera name="camera" {
                        option value="" { (words.all) }
                        @for (site, camera) in choices.sites.iter().flat_map(|s| s.cameras.iter().map(move |c| (s, c))) {
                            option value=(camera.camera) selected[asked.camera == camera.camera.to_string()] {
                                (camera.name) @if many_sites { " (" (site.name) ")" }
                            }
                        }
                    }
                }
                div.field {
                    label for="class" { (words.class) }
                    select #class name="class" {
                        option value="" { (words.all) }
                        @for class in &choices.classes {
                            option value=(class) selected[asked.class == *class] { (words.class_name(class)) }
                        }
                    }
                }
                div.field {
                    label for="day" { (words.day) }
                    input #day type="date" name="day" value=(asked.day);
                }
                div.field {
                    label for="from" { (words.from) }
                    input #from type="time" name="from" value=(asked.from);
                }
                div.field {
                    label for="to" { (words.to) }
                    input #to type="time" name="to" value=(asked.to);
                }
                div.actions {
                    button.primary type="submit" { (words.filter_apply) }
                    @if asked.is_narrowed() { a.button href="/events" { (words.filter_clear) } }
                }
            }
        }
    }
}

/// What is filtered by, in words: 「正門 · 人物 · 09:00〜」.
fn chosen_words(visit: &Visit, asked: &Asked, choices: &Choices) -> String {
    let site = choices
        .sites
        .iter()
        .find(|site| asked.site == site.site.to_string());
    let camera = choices
        .sites
        .iter()
        .flat_map(|site| &site.cameras)
        .find(|camera| asked.camera == camera.camera.to_string());
    let class = Some(asked.class.as_str()).filter(|class| !class.is_empty());
    let times = Some(format!("{}〜{}", asked.from, asked.to)).filter(|times| times != "〜");
    [
        site.map(|site| site.name.clone()),
        camera.map(|camera| camera.name.clone()),
        class.map(|class| visit.words().class_name(class).to_owned()),
        asked.day().map(|day| visit.short_date(day)),
        times,
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" · ")
}

fn day_navigation(visit: &Visit, asked: &Asked) -> Markup {
    let words = visit.words();
    let chosen = asked.day();
    let shown = chosen.unwrap_or_else(|| visit.today());
    let to_day = |day: Option<Date>| {
        asked.link(|a| {
            a.before.clear();
            a.day = day.map(|day| day.to_string()).unwrap_or_default();
        })
    };
    let previous = shown.saturating_sub(1.day());
    let next = shown.saturating_add(1.day());
    html! {
        nav.days aria-label=(words.day) {
            a.button href=(to_day(Some(previous))) title=(words.previous_day) {
                (layout::icon_older()) span { (visit.short_date(previous)) }
            }
            @match chosen {
                Some(day) => {
                    strong { (visit.short_date(day)) }
                    a.button href=(to_day(None)) { (words.all_days) }
                }
                None => strong { (words.all_days) },
            }
            @if chosen.is_some() && next <= visit.today() {
                a.button href=(to_day(Some(next))) title=(words.next_day) {
                    span { (visit.short_date(next)) } (layout::icon_newer())
                }
            } @else if chosen.is_none() {
                a.button href=(to_day(Some(shown))) { (words.today) }
            }
        }
    }
}

fn nothing_found(visit: &Visit, asked: &Asked) -> Markup {
    let words = visit.words();
    let (title, hint) = if asked.is_narrowed() || !asked.before.is_empty() {
        (words.no_events, words.no_events_hint)
    } else {
        (words.no_events_ever, words.no_events_ever_hint)
    };
    html! { div.empty data-empty { h2 { (title) } p { (hint) } } }
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
