//! What was erased and what is being erased, and the certificate of each to read and to keep.

use super::form::{office, words};
use crate::auth::session::OperatorSession;
use crate::portal::PortalState;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::thousands;
use crate::store::{ErasureBook, ErasureRow, Step};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use uuid::Uuid;

pub async fn list(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let w = words(&visit);
    let mut rows = office(&state, &session)?.store.erasures().await?;
    rows.reverse();
    let body = html! {
        p { a.more href="/operator/contracts" { (visit.words().contracts) } }
        h1 { (w.erasures) }
        @if rows.is_empty() { div.empty { h2 { (w.erasures_none) } } }
        ul.devices {
            @for row in &rows {
                li.sheet {
                    div.section-head {
                        h2 { a.code href={ "/operator/erasures/" (row.id) } { (row.contract) } }
                        (mark(&visit, row))
                    }
                    dl.facts { (facts(&visit, row)) }
                }
            }
        }
    };
    Ok(layout::page(&visit, Tab::Contracts, w.erasures, &body))
}

fn mark(visit: &Visit, row: &ErasureRow) -> Markup {
    let w = words(visit);
    html! {
        @if row.step == Step::Done { span.mark-good { (layout::icon_good()) (w.stands_erased) } }
        @else { span.mark-wait { (layout::icon_pending()) (w.step(row.step.as_str())) } }
    }
}

fn facts(visit: &Visit, row: &ErasureRow) -> Markup {
    let w = words(visit);
    let order = &row.certificate.order;
    let reason = match order.reason.as_str() {
        "on_request" => w.on_request,
        "period_over" => w.period_over,
        other => other,
    };
    html! {
        div { dt { (w.begun_on) } dd.tabular { (visit.full(row.began_us)) } }
        @if let Some(at) = row.due_us { div { dt { (w.due_by) } dd.tabular { (visit.full(at)) } } }
        @if let Some(at) = row.finished_us { div { dt { (w.erased_on) } dd.tabular { (visit.full(at)) } } }
        div {
            dt { (w.ordered_by) }
            dd { (visit.words().actor(&order.actor)) @if let Some(name) = &order.actor_name { " " (name) } }
        }
        div { dt { (w.reason) } dd { (reason) @if let Some(why) = &order.why { ": " (why) } } }
    }
}

async fn found(
    state: &PortalState,
    session: &OperatorSession,
    erasure: &str,
) -> Result<ErasureRow, Problem> {
    let id: Uuid = erasure.parse().map_err(|_| Problem::NotFound)?;
    let rows = office(state, session)?.store.erasures().await?;
    let row = rows.into_iter().find(|row| row.id == id);
    row.ok_or(Problem::NotFound)
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(erasure): Path<String>,
) -> Result<Markup, Problem> {
    let w = words(&visit);
    let row = found(&state, &session, &erasure).await?;
    let certificate = &row.certificate;
    let body = html! {
        p { a.more href="/operator/erasures" { (w.erasures) } }
        div.section-head { h1 { (w.certificate) } (mark(&visit, &row)) }
        div.columns {
            section.sheet {
                dl.facts {
                    div { dt { (visit.words().contract) } dd.code { (row.contract) } }
                    (facts(&visit, &row))
                }
                @if row.signed.is_some() {
                    p { a.button href={ "/operator/erasures/" (row.id) "/certificate" } download { (w.certificate_get) } }
                } @else { p.hint { (w.certificate_later) } }
            }
            section.sheet {
                h2 { (w.steps) }
                dl.facts {
                    @for step in &certificate.steps {
                        div { dt { (w.step(&step.step)) } dd.tabular { (visit.full(step.at_us)) } }
                    }
                }
                @if !certificate.devices.is_empty() {
                    h2 { (w.wipes) }
                    dl.facts {
                        @for device in &certificate.devices {
                            @let done = device.outcome == "done";
                            div { dt.code { (device.device) } dd { (if done { w.wipe_done } else { w.wipe_unconfirmed }) } }
                        }
                    }
                }
            }
        }
        (counts(&visit, &row))
    };
    Ok(layout::page(&visit, Tab::Contracts, w.certificate, &body))
}

fn counts(visit: &Visit, row: &ErasureRow) -> Markup {
    let w = words(visit);
    let counts = &row.certificate.counts;
    let some = || counts.iter().filter(|count| count.before > 0);
    html! {
        @if some().next().is_some() {
            div.sheet {
                table.plain-table {
                    thead { tr { th scope="col" { (w.kind) } th.number scope="col" { (w.before) } th.number scope="col" { (w.after) } } }
                    tbody {
                        @for count in some() {
                            tr {
                                th scope="row" { (w.held(visit.words(), &count.kind)) }
                                td.number.tabular { (thousands(count.before)) }
                                td.number.tabular { @if row.step == Step::Done { (thousands(count.after)) } @else { "…" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// As `erase certificate` writes it.
pub async fn certificate(
    State(state): State<PortalState>,
    session: OperatorSession,
    Path(erasure): Path<String>,
) -> Result<Response, Problem> {
    let row = found(&state, &session, &erasure).await?;
    let signed = row.signed.as_ref().ok_or(Problem::NotFound)?;
    let text = serde_json::to_string_pretty(signed).map_err(Problem::internal)? + "\n";
    let name = format!("attachment; filename=\"erasure-{}.json\"", row.id);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, text).into_response())
}
