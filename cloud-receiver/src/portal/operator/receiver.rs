//! The receiver itself: how full it is and until when there is room, in which region it is, what was signed and sent out, and
//! its backups.

use super::form::{self, field, office, words};
use super::heads;
use crate::auth::session::OperatorSession;
use crate::capacity::{Forecast, Level};
use crate::office::Office;
use crate::office::backups::{self, Deed, Known, Noted};
use crate::office::capacity::Capacity;
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::{DeskWords, KeyWords, OfficeWords, thousands};
use crate::store::{ContractUsage, HeadsBook};
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use std::time::Duration;

/// Enough for whoever has little; whoever has much sees what there is.
const VIEW_PATIENCE: Duration = Duration::from_secs(1);
const ASKED_PATIENCE: Duration = Duration::from_secs(15);
const GB: u64 = 1_000_000_000;

#[derive(Debug, Default, Deserialize)]
pub struct Arrival {
    /// A backup.
    begun: Option<String>,
    /// Measuring anew was asked for, and goes on.
    measuring: Option<String>,
    /// The number of signed heads that were just asked for; 0: they are not there yet.
    heads: Option<u64>,
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Query(arrival): Query<Arrival>,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    page(&state, &visit, &office, &arrival, None).await
}

async fn page(
    state: &PortalState,
    visit: &Visit,
    office: &Office,
    arrival: &Arrival,
    why: Option<&str>,
) -> Result<Markup, Problem> {
    let w = words(visit);
    let heads_go_out = crate::office::heads::go_out(&office.config);
    let measured = office.capacity(visit.now, VIEW_PATIENCE).await;
    let heads = office.store.heads().await?;
    let known = backups::known(&office.store).await?;
    let body = html! {
        h1 { (w.receiver) }
        (form::complaint(why))
        @if arrival.measuring.is_some() { (layout::notice(Notice::Wait, w.being_measured)) }
        @if arrival.begun.is_some() { (layout::notice(Notice::Good, w.backup_begun)) }
        p.deeds {
            a.more href="/operator/mail" { (w.mail) }
            a.more href="/operator/keys" { (KeyWords::of(visit.lang).keys) }
            a.more href="/operator/operators" { (DeskWords::of(visit.lang).operators) }
        }
        div.columns {
            @match &measured {
                Some(capacity) => (capacity_of(visit, capacity)),
                None => (being_measured(visit)),
            }
            section.sheet #backups { (backups_of(visit, office, &known)) }
        }
        @if let Some(capacity) = &measured { (per_contract(visit, &capacity.contracts)) }
        section.sheet {
            h2 { (w.region) }
            p { @match &state.region { Some(region) => span.code { (region) }, None => (w.region_unknown) } }
        }
        (heads::section(visit, &heads, arrival.heads, heads_go_out))
    };
    Ok(layout::page(visit, Tab::Receiver, w.receiver, &body))
}

pub(super) fn level(w: &OfficeWords, level: Level) -> &'static str {
    match level {
        Level::Fine => w.level_fine,
        Level::Soon => w.level_soon,
        Level::Urgent => w.level_urgent,
        Level::Full => w.level_full,
    }
}

fn gb(bytes: u64) -> String {
    match bytes / GB {
        0 => format!("{} MB", thousands(bytes / 1_000_000)),
        whole => format!("{}.{} GB", thousands(whole), bytes % GB * 10 / GB),
    }
}

/// How much of a whole, as a bar beside its figure.
fn bar(part: u64, whole: u64) -> Markup {
    let percent = part.saturating_mul(1000) / whole.max(1);
    html! {
        svg.share viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.share-all width="1000" height="10" {}
            rect.share-part width=(percent.min(1000)) height="10" {}
        }
    }
}

fn capacity_of(visit: &Visit, capacity: &Capacity) -> Markup {
    let (w, now) = (words(visit), &capacity.now);
    html! {
        section.sheet #capacity {
            div.section-head {
                h2 { (w.capacity) }
                @match capacity.level {
                    Level::Fine => span.mark-good { (layout::icon_good()) (w.level_fine) },
                    other => span.mark-bad { (layout::icon_bad()) (level(w, other)) },
                }
            }
            (as_of(visit, capacity))
            dl.facts {
                div {
                    dt { (w.disk_free) }
                    dd.tabular { (gb(now.free_bytes)) " / " (gb(now.total_bytes)) (bar(now.total_bytes.saturating_sub(now.free_bytes), now.total_bytes)) }
                }
                div { dt { (w.database) } dd.tabular { (gb(now.database_bytes)) } }
                div { dt { (w.objects) } dd.tabular { (gb(now.objects_bytes)) } }
                div { dt { (w.records) } dd.tabular { (thousands(now.records)) } }
                @match capacity.forecast {
                    Forecast::TooEarly => div { dt { (w.growth) } dd { (w.too_early) } },
                    Forecast::Steady => div { dt { (w.growth) } dd { (w.steady) } },
                    Forecast::Growing { bytes_per_day, full_us } => {
                        div { dt { (w.growth) } dd.tabular { (gb(bytes_per_day)) } }
                        div { dt { (w.full_on) } dd.tabular { (visit.date(visit.date_of(full_us))) } }
                    },
                }
            }
        }
    }
}

/// It takes seconds where there is much: a page does not wait for it.
fn being_measured(visit: &Visit) -> Markup {
    let w = words(visit);
    html! {
        section.sheet #capacity {
            h2 { (w.capacity) }
            (layout::notice(Notice::Wait, w.being_measured))
        }
    }
}

fn as_of(visit: &Visit, capacity: &Capacity) -> Markup {
    let w = words(visit);
    let at = capacity.now.at_us;
    html! {
        form.row method="post" action="/operator/receiver/measure" {
            p.hint { (w.measured_at) " " span.tabular { (visit.full(at)) } " (" (layout::age(visit, at)) ")" }
            button { (w.measure_now) }
        }
    }
}

/// Measures anew, because somebody wants to know it as of now.
pub async fn measure(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Redirect, Problem> {
    let office = office(&state, &session)?;
    let is_done = office.measure(visit.now, ASKED_PATIENCE).await;
    let waits = if is_done { "" } else { "?measuring=1" };
    Ok(Redirect::to(&format!("/operator/receiver{waits}#capacity")))
}

fn per_contract(visit: &Visit, contracts: &[ContractUsage]) -> Markup {
    let w = words(visit);
    let size = |of: &ContractUsage| of.records_bytes + of.objects_bytes;
    let most = contracts.iter().map(size).max().unwrap_or(0);
    html! {
        section.sheet {
            h2 { (w.per_contract) }
            div.wide-table tabindex="0" {
                table.plain-table {
                    thead {
                        tr {
                            th scope="col" { (visit.words().contract) }
                            th.number scope="col" { (w.size) }
                            th.number scope="col" { (w.objects) }
                            th.number scope="col" { (w.records) }
                            th.number scope="col" { (w.last_day) }
                        }
                    }
                    tbody {
                        @for of in contracts {
                            tr {
                                th scope="row" { a href={ "/operator/contracts/" (of.contract) } { (of.name) } (bar(size(of), most)) }
                                td.number.tabular { (gb(size(of))) }
                                td.number.tabular { (thousands(of.objects)) }
                                td.number.tabular { (thousands(of.records)) }
                                td.number.tabular { (gb(of.recent_objects_bytes)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn backups_of(visit: &Visit, office: &Office, known: &Known) -> Markup {
    let w = words(visit);
    let is_busy = office.backup_is_under_way();
    html! {
        h2 { (w.backups) }
        @if let Some(failed) = &known.failed {
            (layout::notice(Notice::Bad, w.backup_failed))
            p.hint.code { (failed.problem.as_deref().unwrap_or_default()) }
        }
        @match &known.made {
            None => {
                (layout::notice(Notice::Bad, w.backup_never))
                p { (w.backup_first) }
                p { code { "cloud-receiver backup --out " } }
            },
            Some(made) => {
                dl.facts {
                    div { dt { (w.backup_last) } dd.tabular { (visit.full(made.at_us)) } }
                    div { dt { (w.backup_checked) } dd { (checked(visit, known.checked.as_ref())) } }
                    div { dt { (w.backup_folder) } dd.code { (made.folder.display()) } }
                }
                @if is_busy { (layout::notice(Notice::Wait, w.backup_under_way)) }
                @else {
                    form.deeds method="post" action="/operator/receiver/backup" {
                        button name="deed" value="make" { (w.backup_take) }
                        button name="deed" value="verify" { (w.backup_check) }
                    }
                }
                (generations(visit, office, made))
            },
        }
    }
}

fn checked(visit: &Visit, checked: Option<&Noted>) -> Markup {
    let w = words(visit);
    html! {
        @match checked {
            None => (w.backup_never_checked),
            Some(it) => {
                @if it.problems == 0 { span.mark-good { (layout::icon_good()) (w.backup_good) } }
                @else { span.mark-bad { (layout::icon_bad()) (visit.lang.backup_has_problems(it.problems)) } }
                " " span.tabular { (visit.full(it.at_us)) }
            },
        }
    }
}

/// As `backup list` names them, of the folder that the last one went to.
fn generations(visit: &Visit, office: &Office, made: &Noted) -> Markup {
    let listed = backups::listed(&made.folder, &office.key);
    html! {
        @match listed {
            Err(error) => p.hint { (words(visit).backup_unreadable) " " span.code { (format!("{error:#}")) } },
            Ok(listed) => ul.plain {
                @for generation in listed.iter().rev() {
                    li { span.code { (generation.name) } " " span.hint.tabular { (visit.full(generation.manifest.made_at_us)) } }
                }
            },
        }
    }
}

/// Makes a backup, or checks the newest; the answer does not wait for it.
pub async fn backup(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let deed = match field(&fields, "deed") {
        "make" => Deed::Make,
        "verify" => Deed::Verify,
        _ => return Err(Problem::BadRequest),
    };
    let begun = office.begin_backup(deed).await;
    match form::told(&visit, begun)? {
        Ok(()) => Ok(Redirect::to("/operator/receiver?begun=1#backups").into_response()),
        Err(why) => {
            let page = page(&state, &visit, &office, &Arrival::default(), Some(&why)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}
