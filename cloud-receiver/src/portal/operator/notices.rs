//! Notices to customers: what was told, with the proof of sending for each recipient, and how one ends.

use super::form::{self, office, words};
use crate::auth::session::OperatorSession;
use crate::notice::{self, Letters};
use crate::office::{Office, notices};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::{DeskWords, Lang};
use crate::store::{ContractDetail, NoticeBook, NoticeKind, NoticeRow};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use std::collections::BTreeSet;
use uuid::Uuid;

pub async fn list(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let (w, all) = (words(&visit), visit.words());
    let mut rows = office(&state, &session)?.store.notices().await?;
    rows.reverse();
    let body = html! {
        h1 { (all.notices) }
        p.deeds {
            a.button href="/operator/notices/maintenance" { (w.notice_maintenance) }
            a.button href="/operator/notices/incident" { (w.notice_incident) }
            a.more href="/operator/mail" { (w.mail) }
            a.more href="/operator/letters" { (DeskWords::of(visit.lang).letters) }
        }
        @if rows.is_empty() { div.empty { h2 { (w.notice_none) } } }
        ul.devices {
            @for row in &rows {
                li.sheet {
                    div.section-head {
                        h2 { a href={ "/operator/notices/" (row.id) } { (kind(&visit, row)) } }
                        (mark(&visit, row))
                    }
                    dl.facts { (facts(&visit, row)) }
                }
            }
        }
    };
    Ok(layout::page(&visit, Tab::Notices, all.notices, &body))
}

fn kind(visit: &Visit, row: &NoticeRow) -> &'static str {
    let words = visit.words();
    match (row.kind, &row.urgent_why) {
        (NoticeKind::Incident, _) => words.incident,
        (NoticeKind::Maintenance, None) => words.maintenance,
        (NoticeKind::Maintenance, Some(_)) => words.maintenance_urgent,
    }
}

fn mark(visit: &Visit, row: &NoticeRow) -> Markup {
    let (w, words) = (words(visit), visit.words());
    let is_current = row.is_current(visit.now);
    html! {
        @if row.cancelled_us.is_some() { span.mark-wait { (layout::icon_stopped()) (words.notice_cancelled) } }
        @else if row.closed_us.is_some() { span.mark-good { (layout::icon_good()) (words.notice_closed) } }
        @else if is_current && row.kind == NoticeKind::Incident { span.mark-bad { (layout::icon_bad()) (w.notice_open) } }
        @else if is_current { span.mark-wait { (layout::icon_pending()) (w.notice_planned) } }
        @else { span.hint { (w.notice_past) } }
    }
}

fn facts(visit: &Visit, row: &NoticeRow) -> Markup {
    let words = visit.words();
    html! {
        div {
            dt { (words.notice_when) }
            dd.tabular { (visit.to_minute(row.from_us)) @if let Some(to) = row.to_us { "〜" (visit.to_minute(to)) } }
        }
        div {
            dt { (if row.kind == NoticeKind::Incident { words.notice_what } else { words.notice_impact }) }
            dd { (notice::what(row, visit.lang)) }
        }
        @if let Some(why) = &row.urgent_why { div { dt { (words.notice_why) } dd { (why) } } }
        div { dt { (words.notice_told) } dd.tabular { (visit.full(row.created_us)) } }
    }
}

async fn found(office: &Office, id: &str) -> Result<NoticeRow, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let rows = office.store.notices().await?;
    rows.into_iter()
        .find(|row| row.id == id)
        .ok_or(Problem::NotFound)
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    let row = found(&office, &id).await?;
    let ids = office.store.notice_contracts(row.id).await?;
    let contracts = notice::in_full(&office.store, &ids).await?;
    let mail = office.store.notice_mail(row.id).await?;
    let taken = mail.iter().filter(|mail| mail.taken_us.is_some()).count();
    let lost = mail
        .iter()
        .filter(|mail| mail.given_up_us.is_some())
        .count();
    let (without, _): (Vec<_>, Vec<_>) = contracts
        .iter()
        .cloned()
        .partition(|contract| !mail.iter().any(|mail| mail.contract == Some(contract.id)));
    let (w, words) = (words(&visit), visit.words());
    let body = html! {
        p { a.more href="/operator/notices" { (words.notices) } }
        div.section-head { h1 { (kind(&visit, &row)) } (mark(&visit, &row)) }
        section.sheet {
            dl.facts {
                (facts(&visit, &row))
                div { dt { (w.notice_concerns) } dd { (names(&contracts)) } }
            }
            @if row.is_current(visit.now) {
                p { a.button href={ "/operator/notices/" (row.id) "/end" } { (end_word(&visit, &row)) } }
            }
        }
        (unreached(&visit, &without))
        section.sheet {
            h2 { (w.notice_proof) }
            p.tabular { (visit.lang.mail_outcomes(taken, lost, mail.len() - taken - lost)) }
            @if !mail.is_empty() { (super::mail::table(&visit, &mail, false)) }
        }
    };
    Ok(layout::page(
        &visit,
        Tab::Notices,
        kind(&visit, &row),
        &body,
    ))
}

fn names(contracts: &[ContractDetail]) -> String {
    let names: Vec<_> = contracts.iter().map(|it| it.name.as_str()).collect();
    names.join(" · ")
}

fn end_word(visit: &Visit, row: &NoticeRow) -> &'static str {
    match row.kind {
        NoticeKind::Maintenance => words(visit).notice_cancel,
        NoticeKind::Incident => words(visit).notice_close,
    }
}

pub(super) fn unreached(visit: &Visit, contracts: &[ContractDetail]) -> Markup {
    html! {
        @if !contracts.is_empty() {
            (layout::notice(Notice::Bad, &format!("{}: {}", words(visit).notice_unreached, names(contracts))))
        }
    }
}

/// What would go out: the recipients, and the letter in each language.
pub(super) fn letters(
    visit: &Visit,
    office: &Office,
    row: &NoticeRow,
    occasion: notice::Occasion,
    contracts: &[ContractDetail],
) -> Result<(Letters, Markup), Problem> {
    let letters = notices::letters(&office.config, row, occasion, contracts, visit.now)?;
    let w = words(visit);
    let to: BTreeSet<_> = letters
        .mail
        .iter()
        .map(|mail| mail.letter.to.as_str())
        .collect();
    let shown = html! {
        (layout::notice(Notice::Wait, w.notice_previewed))
        (unreached(visit, &letters.unreached))
        section.sheet {
            h2 { (w.notice_recipients) }
            p.tabular { (visit.lang.recipients(letters.mail.len())) }
            p.hint { @for address in to { (address) " " } }
            p { (w.notice_concerns) ": " (names(contracts)) }
        }
        div.columns {
            @for (lang, title) in [(Lang::Ja, w.notice_letter_ja), (Lang::En, w.notice_letter_en)] {
                @let (subject, text) = in_language(office, row, occasion, contracts, lang, visit)?;
                section.sheet {
                    h2 { (title) }
                    p lang=(lang.code()) { b { (subject) } }
                    pre.letter lang=(lang.code()) { (text) }
                }
            }
        }
    };
    Ok((letters, shown))
}

/// As a contract in this language reads it; where there is none, as the first would.
fn in_language(
    office: &Office,
    row: &NoticeRow,
    occasion: notice::Occasion,
    contracts: &[ContractDetail],
    lang: Lang,
    visit: &Visit,
) -> Result<(String, String), Problem> {
    let fits = |contract: &&ContractDetail| notice::language(contract) == lang;
    let contract = contracts.iter().find(fits).or(contracts.first());
    let mut contract = contract.ok_or(Problem::NotFound)?.clone();
    lang.code().clone_into(&mut contract.terms.language);
    let templates = notice::Templates::load(&office.config.letters());
    let templates = templates.map_err(crate::office::Error::from)?;
    let sender = notice::Sender::of(&office.config);
    notice::written(&templates, &sender, row, occasion, &contract, visit.now)
        .map_err(|error| Problem::internal(format!("{error:#}")))
}

/// The page that asks whether a notice is over, with the letters of it.
pub async fn ask_end(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let row = found(&office, &id).await?;
    let title = end_word(&visit, &row);
    let ended = notices::ended(&office.store, row, visit.now, visit.now).await;
    let ended = match form::told(&visit, ended)? {
        Ok(ended) => ended,
        Err(why) => return Ok(refused(&visit, &why)),
    };
    let row = &ended.row;
    let (_, shown) = letters(&visit, &office, row, ended.occasion, &ended.contracts)?;
    let body = html! {
        p { a.more href={ "/operator/notices/" (row.id) } { (kind(&visit, row)) } }
        h1 { (title) }
        (shown)
        form.deeds method="post" action={ "/operator/notices/" (row.id) "/end" } {
            button.primary type="submit" { (words(&visit).notice_send) }
            a.button href={ "/operator/notices/" (row.id) } { (visit.words().leave_it) }
        }
    };
    Ok(layout::page(&visit, Tab::Notices, title, &body).into_response())
}

/// As `notice cancel` and `notice close` do, with effect of now.
pub async fn end(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let row = found(&office, &id).await?;
    let ended = notices::ended(&office.store, row, visit.now, visit.now).await;
    let ended = match form::told(&visit, ended)? {
        Ok(ended) => ended,
        Err(why) => return Ok(refused(&visit, &why)),
    };
    let (letters, _) = letters(
        &visit,
        &office,
        &ended.row,
        ended.occasion,
        &ended.contracts,
    )?;
    notices::end(&office.store, &ended, &letters).await?;
    Ok(Redirect::to(&format!("/operator/notices/{}", ended.row.id)).into_response())
}

fn refused(visit: &Visit, why: &str) -> Response {
    let title = visit.words().notices;
    let body = html! {
        h1 { (title) }
        (form::complaint(Some(why)))
        p { a.button href="/operator/notices" { (visit.words().go_on) } }
    };
    let page = layout::page(visit, Tab::Notices, title, &body);
    (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
}
