//! A device's log and support bundle: asked for, waited for, downloaded. What `device log` and its neighbours do.

use super::{report_of, way_back};
use crate::auth::session::OperatorSession;
use crate::order::{self, FILE_WITHIN_SECONDS, LOG_LINES, Outcome};
use crate::portal::PortalState;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{Actor, DeviceFileRow, DeviceListing};
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use wire::command::Command;
use wire::{CommandId, DeviceId};

/// While something is awaited the page comes again after this many seconds.
const LOOK_AGAIN_SECONDS: u32 = 2;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    _: OperatorSession,
    Path(device): Path<String>,
) -> Result<Response, Problem> {
    let device = report_of(&state, &device).await?.listing;
    let rows = state.store.device_files(device.device).await?;
    let waits = rows.iter().any(|row| is_awaited(&visit, row));
    let page = page(&visit, &device, &rows);
    Ok(if waits {
        let refresh = HeaderName::from_static("refresh");
        ([(refresh, LOOK_AGAIN_SECONDS.to_string())], page).into_response()
    } else {
        page.into_response()
    })
}

/// A file that was named and does not come keeps nobody's page busy for ever.
fn is_awaited(visit: &Visit, row: &DeviceFileRow) -> bool {
    const FILE_PATIENCE_US: i64 = 600 * 1_000_000;
    match &row.file {
        Some(file) => {
            !file.arrived
                && file.expired_us.is_none()
                && visit.now.since_us(file.received_us) < FILE_PATIENCE_US
        }
        None => Outcome::of(&row.state, visit.now) == Outcome::Waiting,
    }
}

pub async fn ask_for_log(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(device): Path<String>,
) -> Result<Redirect, Problem> {
    let device = report_of(&state, &device).await?.listing;
    let command = order::log_excerpt(
        device.device,
        LOG_LINES,
        None,
        visit.now,
        FILE_WITHIN_SECONDS,
    );
    ask(&state, session, &device, &command).await
}

pub async fn ask_for_bundle(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(device): Path<String>,
) -> Result<Redirect, Problem> {
    let device = report_of(&state, &device).await?.listing;
    let command = order::support_bundle(device.device, visit.now, FILE_WITHIN_SECONDS);
    ask(&state, session, &device, &command).await
}

async fn ask(
    state: &PortalState,
    session: OperatorSession,
    device: &DeviceListing,
    command: &Command,
) -> Result<Redirect, Problem> {
    if device.revoked_us.is_some() {
        return Err(Problem::NotFound);
    }
    let desk = state.store.acting(Actor::Operator(session.login_id));
    desk.add_command(command).await?;
    Ok(Redirect::to(&address(device.device)))
}

fn address(device: DeviceId) -> String {
    format!("/operator/devices/{device}/files")
}

/// The bytes, always as a file to be saved: what a device sent is never run by a browser.
pub async fn get(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path((device, command)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let device: DeviceId = device.parse().map_err(|_| Problem::NotFound)?;
    let command: CommandId = command.parse().map_err(|_| Problem::NotFound)?;
    let row = state.store.device_file(device, command).await?;
    let row = row.ok_or(Problem::NotFound)?;
    let file = row.file.as_ref().filter(|file| file.arrived);
    let sha256 = file.ok_or(Problem::NotFound)?.sha256;
    // Noted first: what left cannot be taken back.
    let actor = Actor::Operator(session.login_id);
    state.store.note(actor, row.reading(), visit.now).await?;
    let bytes = state.pictures.picture(row.contract, device, sha256).await;
    let bytes = bytes.map_err(Problem::internal)?.ok_or(Problem::NotFound)?;
    let name = format!("attachment; filename=\"{}\"", row.file_name());
    let name = HeaderValue::from_str(&name).map_err(Problem::internal)?;
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, bytes).into_response())
}

fn page(visit: &Visit, device: &DeviceListing, rows: &[DeviceFileRow]) -> Markup {
    let words = visit.lang.device_files();
    let address = address(device.device);
    let body = html! {
        (way_back(visit, device))
        h1 { (words.title) }
        p { (words.intro) }
        @if device.revoked_us.is_some() { p.hint { (words.revoked) } } @else {
            div.deeds {
                form method="post" action={ (address) "/log" } { button.primary type="submit" { (words.pull_log) } }
                form method="post" action={ (address) "/support-bundle" } { button type="submit" { (words.pull_bundle) } }
            }
        }
        @if rows.is_empty() { div.empty { h2 { (words.nothing) } } } @else { (table(visit, rows)) }
    };
    layout::page(visit, Tab::Devices, words.title, &body)
}

fn table(visit: &Visit, rows: &[DeviceFileRow]) -> Markup {
    let (words, all) = (visit.lang.device_files(), visit.words());
    html! {
        div.sheet {
            table.deliveries {
                thead { tr { th scope="col" { (words.asked) } th scope="col" { (words.state) } } }
                tbody {
                    @for row in rows {
                        @let what = if row.is_log() { words.log } else { words.bundle };
                        tr id={ "file-" (row.state.id) } {
                            td { b { (what) } br; span.tabular.hint { (visit.full(row.asked_us)) } }
                            td { (state(visit, row, what)) }
                        }
                    }
                }
            }
        }
        p.hint { (all.device) " " span.code { (rows[0].device) } }
    }
}

fn state(visit: &Visit, row: &DeviceFileRow, what: &str) -> Markup {
    let words = visit.lang.device_files();
    if let Some(file) = &row.file {
        let address = format!("/operator/devices/{}/file/{}", row.device, row.state.id);
        let label = visit.lang.download_file(what, &visit.full(row.asked_us));
        return html! {
            @if file.expired_us.is_some() { (mark(false, words.expired)) }
            @else if file.arrived {
                a.more href=(address) download=(row.file_name()) aria-label=(label) { (words.download) }
                " " span.tabular { (visit.lang.size(file.bytes)) }
            }
            @else if row.is_overdue(visit.now) { (mark(true, words.overdue)) br; span.hint { (words.overdue_hint) } }
            @else { (mark(false, words.on_the_way)) }
        };
    }
    let (is_bad, text) = match Outcome::of(&row.state, visit.now) {
        Outcome::Waiting => (false, words.waiting),
        Outcome::Done => (true, words.without_file),
        Outcome::Failed => (true, words.failed),
        Outcome::Refused => (true, words.refused),
        Outcome::Unanswered => (true, words.unanswered),
        Outcome::NeverSent => (true, words.never_sent),
    };
    html! {
        (mark(is_bad, text))
        @if let Some(detail) = row.state.detail.as_deref().filter(|_| is_bad) { br; span.hint { (detail) } }
    }
}

/// Sentences, not single words: they may break into lines.
fn mark(is_bad: bool, text: &str) -> Markup {
    html! {
        @if is_bad { span.mark-bad { (layout::icon_bad()) } }
        @else { span.mark-wait { (layout::icon_pending()) } }
        " " span { (text) }
    }
}
