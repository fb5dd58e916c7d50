//! The timeline: events from new to old, grouped by hour, with what is missing in its place between them, and above
//! them the whole day in one strip.

mod asked;
mod counts;
mod filter;
mod gap;
mod strip;

use super::PortalState;
use super::export;
use super::gaps::{self, Gap};
use super::layout::{self, Tab};
use super::picture::Absence;
use super::problem::Problem;
use super::reasons;
use super::thumbnail;
use super::visit::Visit;
use crate::auth::session::Session;
use crate::store::{
    ContractScope, Direction, EventCursor, EventFilter, EventRow, StoreError, TimeKnown, Window,
};
pub(super) use asked::Asked;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use counts::Counts;
pub(super) use filter::Choices;
use jiff::ToSpan;
use maud::{Markup, html};
use strip::Strip;
use wire::{EventId, UtcMicros};

/// Events on one page.
const PAGE_EVENTS: u32 = 48;
/// Gaps on one page. A camera that flaps for weeks must not push everything else away.
const PAGE_GAPS: usize = 60;
/// How far back gaps are looked for where no older event follows.
const GAPS_WITHOUT_EVENTS_DAYS: i32 = 31;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let store = &state.store;
    let filter = asked.filter(&visit);
    let wanted = PAGE_EVENTS + 1;
    let (from, older) = (asked.cursor(), Direction::Older);
    let (found, sites, classes, tags) = tokio::try_join!(
        store.find(session.scope, &filter, from, older, wanted),
        store.overview(session.scope, visit.midnight_today()),
        store.classes(session.scope),
        store.tags(session.scope),
    )?;
    let (mut events, searched_to) = (found.events, found.searched_to);
    let is_more = events.len() > PAGE_EVENTS as usize;
    events.truncate(PAGE_EVENTS as usize);
    let reach = Reach::of(&visit, &asked, &filter, &events, is_more, searched_to);
    let window = strip::window(&visit, &filter);
    let (gaps, strip, counts, deleted) = tokio::try_join!(
        gaps_of(&state, session.scope, &visit, &filter, reach.window()),
        Strip::read(&state, session.scope, &visit, &filter),
        Counts::read(&state, session.scope, &visit, &filter, window),
        state.store.records_before(session.scope),
    )?;
    // Of the list, or of the strip above it.
    let deleted = deleted.filter(|before| reach.from_us < *before || window.from_us < *before);
    let mut gaps: Vec<Gap> = gaps.into_iter().filter(|gap| reach.holds(gap)).collect();
    let hidden_gaps = gaps.len().saturating_sub(PAGE_GAPS);
    gaps.truncate(PAGE_GAPS);
    let found = Found {
        events,
        is_more,
        searched_to,
        gaps,
        hidden_gaps,
        strip,
        counts,
        deleted,
    };
    let choices = Choices {
        sites,
        classes,
        tags,
    };
    Ok(page(&visit, &asked, &choices, &found))
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
    let detail = detail.ok_or(Problem::NotFound)?;
    let row = detail.row;
    if !is_wanted(&asked.filter(&visit), &row, &detail.tags) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(hour_group(&visit, &asked, &[Item::Event(&row)]).into_response())
}

/// The strip alone, for a page that updates itself.
pub async fn strip(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let filter = asked.filter(&visit);
    let strip = Strip::read(&state, session.scope, &visit, &filter).await?;
    Ok(strip.draw(&visit, &asked))
}

/// The gaps that touch a window. Read by whole days, because within a day they are merged.
async fn gaps_of(
    state: &PortalState,
    scope: ContractScope,
    visit: &Visit,
    filter: &EventFilter,
    window: Window,
) -> Result<Vec<Gap>, StoreError> {
    let days = Window {
        from_us: visit.start_of(visit.date_of(window.from_us)),
        to_us: visit.end_of(visit.date_of(window.to_us)),
    };
    let missing = state.store.missing(scope, filter, days).await?;
    let touches = |gap: &Gap| gap.from_us < window.to_us && gap.to_us >= window.from_us;
    let mut gaps = gaps::tell(&missing, visit);
    gaps.retain(touches);
    Ok(gaps)
}

/// Which stretch of time the list of one page tells of: so that a gap stands on one page, once.
struct Reach {
    from_us: UtcMicros,
    /// The next page begins with this very moment.
    is_more: bool,
    to_us: UtcMicros,
    /// There is a page before.
    is_continued: bool,
}

impl Reach {
    fn of(
        visit: &Visit,
        asked: &Asked,
        filter: &EventFilter,
        events: &[EventRow],
        is_more: bool,
        searched_to: Option<EventCursor>,
    ) -> Self {
        let last = events.last().map(|event| event.opened_at_us);
        let (last, is_more) = match searched_to {
            Some(at) => (Some(at.opened_at_us), true),
            None => (last, is_more),
        };
        let to_us = match asked.cursor() {
            Some(cursor) => cursor.opened_at_us.plus_us(1),
            None => filter.to_us.unwrap_or(visit.now.plus_us(1)),
        };
        let long_before = visit
            .date_of(to_us)
            .saturating_sub(GAPS_WITHOUT_EVENTS_DAYS.days());
        let from_us = match (last, filter.from_us) {
            (Some(last), _) if is_more => last,
            (_, Some(from)) => from,
            (last, None) => {
                let before = visit.start_of(long_before);
                last.map_or(before, |last| last.min(before))
            }
        };
        Self {
            from_us,
            is_more,
            to_us,
            is_continued: asked.cursor().is_some(),
        }
    }

    fn window(&self) -> Window {
        Window {
            from_us: self.from_us,
            to_us: self.to_us,
        }
    }

    /// One that ends after the filter's time stands at the top; after the page's, on the page before.
    fn holds(&self, gap: &Gap) -> bool {
        let at = gap.at();
        if self.is_continued && at >= self.to_us {
            false
        } else if self.is_more {
            at > self.from_us
        } else {
            at >= self.from_us
        }
    }
}

/// What one page shows.
#[derive(Debug)]
pub(super) struct Found {
    pub events: Vec<EventRow>,
    pub is_more: bool,
    /// Where the search gave up.
    pub searched_to: Option<EventCursor>,
    pub gaps: Vec<Gap>,
    /// Gaps that found no place on the page.
    pub hidden_gaps: usize,
    pub strip: Strip,
    pub counts: Counts,
    /// Before then records were deleted as agreed, and the page reaches so far back.
    pub deleted: Option<UtcMicros>,
}

/// Nothing is said of what happened then: not that nothing did.
pub(super) fn deleted_before(visit: &Visit, before: UtcMicros) -> String {
    let date = visit.date(visit.date_of(before));
    visit.lang.records_deleted_before(&date)
}

/// What the store would say of the filter and this event.
fn is_wanted(filter: &EventFilter, row: &EventRow, tags: &[String]) -> bool {
    let percent = (row.score * 100.0).round();
    filter.site.is_none_or(|site| site == row.site)
        && filter.camera.is_none_or(|camera| camera == row.camera)
        && filter
            .class
            .as_ref()
            .is_none_or(|class| *class == row.class)
        && filter.tag.as_ref().is_none_or(|tag| tags.contains(tag))
        && filter
            .least_score_percent
            .is_none_or(|least| percent >= f32::from(least))
        && filter.from_us.is_none_or(|from| row.opened_at_us >= from)
        && filter.to_us.is_none_or(|to| row.opened_at_us < to)
}

pub(super) fn page(visit: &Visit, asked: &Asked, choices: &Choices, found: &Found) -> Markup {
    let words = visit.words();
    // New events belong at the top of the first page only.
    let is_live = asked.before.is_empty() && asked.day().is_none_or(|day| day == visit.today());
    let is_empty = found.events.is_empty() && found.gaps.is_empty() && found.searched_to.is_none();
    let items = items(&found.events, &found.gaps);
    let body = html! {
        div.section-head {
            h1 { (words.events) }
            @if is_live { p.live { span.live-dot {} (words.live) } }
        }
        (filter::form(visit, asked, choices))
        (filter::days(visit, asked))
        @if asked.before.is_empty() {
            div.strip data-part="strip" data-strip[is_live] data-query=(asked.query()) {
                (found.strip.draw(visit, asked))
            }
            @if asked.filter(visit).least_score_percent.is_some() { p.hint { (visit.words().strip_all_scores) } }
            (found.counts.draw(visit))
        }
        @if let Some(before) = found.deleted { p.hint { (deleted_before(visit, before)) } }
        @if is_live { (live_list(visit, &items, asked, None)) } @else { (groups(visit, asked, &items)) }
        @if is_empty { (nothing_found(visit, asked)) }
        @if asked.before.is_empty() && !is_empty {
            (export::offer(visit, &asked.export_link(), words.export_time))
        }
        @if found.hidden_gaps > 0 { p.hint { (visit.lang.more_gaps(found.hidden_gaps)) } }
        @if let Some(at) = found.searched_to { (searched_to(visit, asked, at)) }
        nav.pages {
            @if !asked.before.is_empty() {
                a.button href=(asked.link(|a| a.before.clear())) { (words.newest) }
            }
            @if let (true, Some(last)) = (found.is_more, found.events.last()) {
                a.button rel="next" href=(asked.link(|a| a.before = format!("{}_{}", last.opened_at_us, last.id))) {
                    (words.older)
                }
            }
        }
    };
    layout::page(visit, Tab::Events, words.events, &body)
}

/// A list of events that new ones slide into. `most` says how many may stand in it.
pub(super) fn list(visit: &Visit, events: &[EventRow], most: usize) -> Markup {
    live_list(visit, &items(events, &[]), &Asked::default(), Some(most))
}

/// `asked` says which events belong into it.
fn live_list(visit: &Visit, items: &[Item<'_>], asked: &Asked, most: Option<usize>) -> Markup {
    html! {
        div.timeline data-part="events" data-events data-query=(asked.query()) data-most=[most] {
            @if items.is_empty() && most.is_some() {
                div.empty data-empty {
                    h3 { (visit.words().no_events_ever) }
                    p { (visit.words().no_events_ever_hint) }
                }
            }
            (groups(visit, asked, items))
        }
    }
}

/// A rare combination: how far was read, and the way on.
fn searched_to(visit: &Visit, asked: &Asked, at: EventCursor) -> Markup {
    let next = asked.link(|a| a.before = format!("{}_{}", at.opened_at_us, at.id));
    html! {
        p.searched-to {
            span { (visit.lang.searched_back_to(&visit.short(at.opened_at_us))) }
            " " a.button rel="next" href=(next) { (visit.words().search_on) }
        }
    }
}

/// What stands in the list.
enum Item<'a> {
    Event(&'a EventRow),
    Gap(&'a Gap),
}

impl Item<'_> {
    fn at(&self) -> UtcMicros {
        match self {
            Item::Event(event) => event.opened_at_us,
            Item::Gap(gap) => gap.at(),
        }
    }
}

/// Events and gaps, from new to old.
fn items<'a>(events: &'a [EventRow], gaps: &'a [Gap]) -> Vec<Item<'a>> {
    let events = events.iter().map(Item::Event);
    let mut items: Vec<Item<'a>> = gaps.iter().map(Item::Gap).chain(events).collect();
    // Stable: events stay in the store's order.
    items.sort_by_key(|item| std::cmp::Reverse(item.at()));
    items
}

fn groups(visit: &Visit, asked: &Asked, items: &[Item<'_>]) -> Markup {
    html! {
        @for group in items.chunk_by(|one, other| visit.hour_key(one.at()) == visit.hour_key(other.at())) {
            (hour_group(visit, asked, group))
        }
    }
}

/// What happened in one hour. Never empty.
fn hour_group(visit: &Visit, asked: &Asked, items: &[Item<'_>]) -> Markup {
    let Some(first) = items.first() else {
        return Markup::default();
    };
    let at = first.at();
    let day = visit.date_of(at);
    html! {
        section.hour data-hour=(visit.hour_key(at)) {
            h3 {
                @if day == visit.today() { (visit.words().today) } @else { (visit.short_date(day)) }
                " " span.tabular { (visit.hour(at)) }
            }
            ol.cards {
                @for item in items {
                    @match item {
                        Item::Event(row) => (event_card(visit, asked, row)),
                        Item::Gap(gap) => (gap::card(visit, gap)),
                    }
                }
            }
        }
    }
}

fn event_card(visit: &Visit, asked: &Asked, row: &EventRow) -> Markup {
    let words = visit.words();
    let of_camera = reasons::is_of_camera(row);
    let title = reasons::title(visit, row);
    html! {
        li.card.of-camera[of_camera] data-event=(row.id) data-opened=(row.opened_at_us) {
            a href=(asked.event_link(row.id)) {
                @match row.snapshot.picture() {
                    Some(picture) => (thumbnail::around_object(picture, row.id, &title)),
                    None => span.thumbnail.waiting { (Absence::of(row, visit.now).short(words)) },
                }
                span.card-text {
                    span.card-class {
                        @if of_camera { (layout::icon_bad()) }
                        (reasons::subject(visit, row))
                    }
                    span.card-time.tabular {
                        time datetime=(visit.machine(row.opened_at_us)) title=(visit.full(row.opened_at_us)) {
                            (visit.time(row.opened_at_us))
                        }
                    }
                    span.card-place { (row.camera_name) " · " (row.site_name) }
                    (reasons::on_card(visit, row))
                    span.card-duration {
                        @if let Some((at, clear)) = reasons::clear(row) {
                            (reasons::clear_mark(visit, clear))
                            " " time.tabular datetime=(visit.machine(at)) { (visit.time(at)) }
                        } @else {
                            @match row.closed_at_us {
                                Some(closed) => (visit.lang.duration(seconds_between(row.opened_at_us, closed))),
                                None => span.ongoing { (words.ongoing) },
                            }
                        }
                        @if let TimeKnown::AsSaid | TimeKnown::ByArrival = row.time_known {
                            " " span.mark-wait { (layout::icon_pending()) (words.time_uncertain) }
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

fn nothing_found(visit: &Visit, asked: &Asked) -> Markup {
    let words = visit.words();
    let (title, hint) = if asked.is_narrowed() || !asked.before.is_empty() {
        (words.no_events, words.no_events_hint)
    } else {
        (words.no_events_ever, words.no_events_ever_hint)
    };
    html! { div.empty data-empty { h2 { (title) } p { (hint) } } }
}
