//! What customers are told of: a banner on every page while it concerns them, and a page of all of it.

use super::PortalState;
use super::layout::{self, Tab};
use super::problem::Problem;
use super::visit::Visit;
use crate::auth::session::Session;
use crate::notice;
use crate::store::{NoticeKind, NoticeRow};
use axum::extract::State;
use maud::{Markup, html};

/// Most that the page shows, newest first.
const SHOWN: u32 = 100;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
) -> Result<Markup, Problem> {
    let all = state.store.notices_of(session.scope, SHOWN).await?;
    let (current, past): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|row| row.is_current(visit.now));
    let words = visit.words();
    let body = html! {
        h1 { (words.notices) }
        section {
            h2 { (words.notices_current) }
            @if current.is_empty() { p.empty { (words.no_notices_current) } }
            @for row in &current { (article(&visit, row)) }
        }
        section {
            h2 { (words.notices_past) }
            @if past.is_empty() { p.empty { (words.no_notices_past) } }
            @for row in &past { (article(&visit, row)) }
        }
    };
    Ok(layout::page(&visit, Tab::Notices, words.notices, &body))
}

/// On every page of those it concerns.
pub(super) fn banner(visit: &Visit) -> Markup {
    let words = visit.words();
    html! {
        @if !visit.notices.is_empty() {
            aside.banners aria-label=(words.notices) {
                @for row in visit.notices.iter() {
                    p.banner.urgent[row.kind == NoticeKind::Incident] {
                        (icon(row)) " "
                        b { (kind(visit, row)) }
                        span.tabular { (time(visit, row)) }
                        span { (first_line(notice::what(row, visit.lang))) }
                        a href={ "/notices#" (row.id) } { (words.notice_more) }
                    }
                }
            }
        }
    }
}

fn article(visit: &Visit, row: &NoticeRow) -> Markup {
    let words = visit.words();
    html! {
        article.sheet.notice-entry #(row.id) {
            h3 {
                (icon(row)) " " (kind(visit, row))
                @if row.cancelled_us.is_some() { " " span.mark-wait { (words.notice_cancelled) } }
                @if row.closed_us.is_some() { " " span.mark-good { (layout::icon_good()) (words.notice_closed) } }
            }
            dl.facts {
                div { dt { (words.notice_when) } dd.tabular { (time(visit, row)) } }
                div {
                    dt { @if row.kind == NoticeKind::Incident { (words.notice_what) } @else { (words.notice_impact) } }
                    dd {
                        @for (number, line) in notice::what(row, visit.lang).lines().enumerate() {
                            @if number > 0 { br; }
                            (line)
                        }
                    }
                }
                @if let Some(why) = &row.urgent_why {
                    div { dt { (words.notice_why) } dd { (why) } }
                }
                div { dt { (words.notice_told) } dd.tabular { (visit.to_minute(row.created_us)) } }
            }
        }
    }
}

fn kind(visit: &Visit, row: &NoticeRow) -> &'static str {
    let words = visit.words();
    match (row.kind, &row.urgent_why) {
        (NoticeKind::Incident, _) => words.incident,
        (NoticeKind::Maintenance, Some(_)) => words.maintenance_urgent,
        (NoticeKind::Maintenance, None) => words.maintenance,
    }
}

fn icon(row: &NoticeRow) -> Markup {
    match row.kind {
        NoticeKind::Incident => layout::icon_bad(),
        NoticeKind::Maintenance => layout::icon_pending(),
    }
}

fn time(visit: &Visit, row: &NoticeRow) -> String {
    let from = visit.to_minute(row.from_us);
    match row.to_us.or(row.closed_us) {
        Some(to) if visit.date_of(to) == visit.date_of(row.from_us) => {
            format!("{from} 〜 {}", visit.minute(to))
        }
        Some(to) => format!("{from} 〜 {}", visit.to_minute(to)),
        None => visit.lang.since(&from),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
