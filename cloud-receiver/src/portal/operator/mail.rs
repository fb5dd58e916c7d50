//! Mail that the receiver sends: what waits, what could not be sent and why, and offering it again. As the command `mail`.
//!
//! What is written to users of events is a customer's matter: of these letters only the recipient is shown.

use super::form::{field, office, words};
use crate::auth::session::OperatorSession;
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{MailBook, MailChoice, MailRow};
use axum::extract::{Form, Path, Query, State};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

const NEWEST: u32 = 50;

#[derive(Debug, Default, Deserialize)]
pub struct Arrival {
    offered: Option<String>,
}

pub async fn list(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Query(arrival): Query<Arrival>,
) -> Result<Markup, Problem> {
    let store = office(&state, &session)?.store;
    let lost = store.mail(MailChoice::GivenUp).await?;
    let waiting = store.mail(MailChoice::Waiting).await?;
    let newest = store.mail(MailChoice::Newest(NEWEST)).await?;
    let w = words(&visit);
    let is_calm = lost.is_empty() && waiting.is_empty();
    let body = html! {
        h1 { (w.mail) }
        @if arrival.offered.is_some() { (layout::notice(Notice::Good, w.mail_offered)) }
        @if is_calm { (layout::notice(Notice::Good, w.mail_none)) }
        @else {
            form.deeds method="post" action="/operator/mail/retry" {
                button name="all" value="1" { (w.mail_retry_all) }
            }
        }
        (section(&visit, w.mail_given_up, &lost, true))
        (section(&visit, w.mail_waiting, &waiting, true))
        (section(&visit, w.mail_newest, &newest, false))
    };
    Ok(layout::page(&visit, Tab::Receiver, w.mail, &body))
}

fn section(visit: &Visit, title: &str, rows: &[MailRow], offers: bool) -> Markup {
    html! {
        @if !rows.is_empty() {
            section.sheet {
                h2 { (title) }
                (table(visit, rows, offers))
            }
        }
    }
}

/// The proof of sending; also of one notice.
pub(super) fn table(visit: &Visit, rows: &[MailRow], offers: bool) -> Markup {
    let w = words(visit);
    html! {
        div.wide-table tabindex="0" {
            table.audit {
                thead {
                    tr {
                        th scope="col" { (w.number) }
                        th scope="col" { (w.mail_to) }
                        th scope="col" { (w.mail_kind) }
                        th scope="col" { (w.mail_state) }
                    }
                }
                tbody { @for row in rows { (line(visit, row, offers)) } }
            }
        }
    }
}

fn line(visit: &Visit, row: &MailRow, offers: bool) -> Markup {
    let w = words(visit);
    html! {
        tr {
            td.tabular { a href={ "/operator/mail/" (row.no) } { (row.no) } " " (visit.short(row.created_us)) }
            td { (row.letter.to) }
            td { (w.mail_kind(&row.kind)) }
            td {
                (outcome(visit, row))
                @if offers {
                    form method="post" action="/operator/mail/retry" {
                        button name="number" value=(row.no) { (w.mail_retry) }
                    }
                }
            }
        }
    }
}

/// What became of a message, with the server's own words.
fn outcome(visit: &Visit, row: &MailRow) -> Markup {
    let w = words(visit);
    let said = match row.taken_us {
        Some(_) => row.outcome.answer.as_deref(),
        None => row.outcome.problem.as_deref(),
    };
    html! {
        @match (row.taken_us, row.given_up_us) {
            (Some(at), _) => { span.mark-good { (layout::icon_good()) (w.mail_taken) } " " span.tabular { (visit.full(at)) } },
            (None, Some(at)) => { span.mark-bad { (layout::icon_bad()) (w.mail_given_up) } " " span.tabular { (visit.full(at)) } },
            (None, None) => {
                span.mark-wait { (layout::icon_pending()) (w.mail_waiting) }
                @if row.attempts > 0 { " " span.tabular { (w.mail_next) " " (visit.short(row.due_us)) } }
            },
        }
        @if let Some(by) = &row.taken_by { " " span.code { (by) } }
        @if let Some(said) = said { div.hint.code { (said) } }
    }
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(number): Path<String>,
) -> Result<Markup, Problem> {
    let number: u64 = number.parse().map_err(|_| Problem::NotFound)?;
    // What the database cannot count to is no message.
    let number = i64::try_from(number).map_err(|_| Problem::NotFound)?;
    let store = office(&state, &session)?.store;
    let row = store
        .mail(MailChoice::One(number.cast_unsigned()))
        .await?
        .pop();
    let row = row.ok_or(Problem::NotFound)?;
    let w = words(&visit);
    let is_ours = matches!(row.kind.as_str(), "notice" | "alert");
    let body = html! {
        p { a.more href="/operator/mail" { (w.mail) } }
        h1 { (w.mail) " " (row.no) }
        section.sheet {
            dl.facts {
                div { dt { (w.mail_to) } dd { (row.letter.to) } }
                div { dt { (w.mail_kind) } dd { (w.mail_kind(&row.kind)) } }
                @if is_ours { div { dt { (w.mail_subject) } dd { (row.letter.subject) } } }
                div { dt { (w.made) } dd.tabular { (visit.full(row.created_us)) } }
                div { dt { (w.mail_attempts) } dd.tabular { (row.attempts) } }
                div { dt { (w.mail_state) } dd { (outcome(&visit, &row)) } }
                div { dt { "Message-ID" } dd.code { (row.id) } }
            }
            @if is_ours { pre.letter { (row.letter.text) } } @else { p.hint { (w.mail_kept) } }
        }
    };
    Ok(layout::page(&visit, Tab::Receiver, w.mail, &body))
}

/// As `mail retry` does.
pub async fn retry(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Redirect, Problem> {
    let store = office(&state, &session)?.store;
    let numbers = if field(&fields, "all").is_empty() {
        let number: u32 = field(&fields, "number")
            .parse()
            .map_err(|_| Problem::BadRequest)?;
        vec![u64::from(number)]
    } else {
        let mut rows = store.mail(MailChoice::GivenUp).await?;
        rows.extend(store.mail(MailChoice::Waiting).await?);
        rows.iter().map(|row| row.no).collect()
    };
    store.retry_mail(numbers, visit.now).await?;
    Ok(Redirect::to("/operator/mail?offered=1"))
}
