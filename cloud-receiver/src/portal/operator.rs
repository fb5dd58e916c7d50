//! The operator's page: how every device is, and "picture now" for each camera.
//!
//! It shows what devices say of themselves, and no customer's data: no picture, no event. An order for a picture is
//! a signed command like any other; the picture goes to the customer, and the operator learns what came of the order.

pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod contracts;
pub(super) mod deliveries;
pub(super) mod ending;
pub(super) mod erasures;
pub(super) mod files;
mod form;
pub(super) mod heads;
pub(super) mod holds;
pub(super) mod keys;
pub(super) mod letters;
pub(super) mod mail;
pub(super) mod notice_form;
pub(super) mod notices;
pub(super) mod operators;
pub(super) mod places;
pub(super) mod receiver;
pub(super) mod revoke;
pub(super) mod start;
pub(super) mod terms;
pub(super) mod users;

/// Where devices are shown.
const DEVICES: &str = "/operator/devices";

use super::PortalState;
use super::condition::DEVICE_SILENT_AFTER_SECONDS;
use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::thousands;
use crate::auth::session::OperatorSession;
use crate::ca::Certificate;
use crate::order::{self, Outcome, PICTURE_WITHIN_SECONDS};
use crate::store::{
    Actor, CommandState, DeviceListing, DeviceReport, MissingBlobs, ReportedCamera,
};
use axum::extract::{Path, Query, State};
use axum::http::HeaderName;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use wire::heartbeat::Heartbeat;
use wire::{CameraId, ClockState, CommandId, DeviceId, UtcMicros};

/// While an answer is awaited the page comes again after this many seconds.
const LOOK_AGAIN_SECONDS: u32 = 2;

/// How the page was come to.
#[derive(Debug, Default, Deserialize)]
pub struct Arrival {
    /// A command that was just given, and the camera it is for.
    #[serde(default)]
    asked: String,
    #[serde(default)]
    camera: String,
    /// The password was changed.
    changed: Option<String>,
}

/// The device that an address names.
async fn report_of(state: &PortalState, device: &str) -> Result<DeviceReport, Problem> {
    let device: DeviceId = device.parse().map_err(|_| Problem::NotFound)?;
    let reports = state.store.reports().await?;
    let mut reports = reports.into_iter();
    let found = reports.find(|report| report.listing.device == device);
    found.ok_or(Problem::NotFound)
}

/// Above a page about one device: the way back, and which it is.
fn way_back(visit: &Visit, device: &DeviceListing) -> Markup {
    html! {
        p { a href=(DEVICES) { (visit.words().devices) } " · " (device.site) " (" (device.contract) ")" }
    }
}

/// An order whose outcome is shown beside its camera.
struct Order {
    camera: CameraId,
    outcome: Outcome,
    detail: Option<String>,
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    _: OperatorSession,
    Query(arrival): Query<Arrival>,
) -> Result<Response, Problem> {
    let reports = state.store.reports().await?;
    let missing = state.store.missing_blobs().await?;
    let order = match (arrival.asked.parse(), arrival.camera.parse()) {
        (Ok(command), Ok(camera)) => given_order(&state, visit.now, command, camera).await?,
        _ => None,
    };
    let page = page(&visit, &reports, &missing, order.as_ref());
    Ok(match &order {
        Some(order) if order.outcome == Outcome::Waiting => {
            let refresh = HeaderName::from_static("refresh");
            ([(refresh, LOOK_AGAIN_SECONDS.to_string())], page).into_response()
        }
        _ => page.into_response(),
    })
}

async fn given_order(
    state: &PortalState,
    now: UtcMicros,
    command: CommandId,
    camera: CameraId,
) -> Result<Option<Order>, Problem> {
    let found: Option<CommandState> = state.store.command(command).await?;
    Ok(found.map(|state| Order {
        camera,
        outcome: Outcome::of(&state, now),
        detail: state.detail,
    }))
}

/// Orders a picture, as `cloud-receiver device picture` does.
pub async fn picture_now(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path((device, camera)): Path<(String, String)>,
) -> Result<Redirect, Problem> {
    let device: DeviceId = device.parse().map_err(|_| Problem::NotFound)?;
    let camera: CameraId = camera.parse().map_err(|_| Problem::NotFound)?;
    let reports = state.store.reports().await?;
    let is_there = reports.iter().any(|report| {
        report.listing.device == device
            && report.listing.revoked_us.is_none()
            && report.cameras.iter().any(|known| known.camera == camera)
    });
    if !is_there {
        return Err(Problem::NotFound);
    }
    let command = order::picture_now(device, camera, visit.now, PICTURE_WITHIN_SECONDS);
    let desk = state
        .store
        .acting(Actor::Operator(session.login_id.clone()));
    desk.add_command(&command).await?;
    tracing::info!(
        user = %session.login_id, device.id = %device, camera.id = %camera, command = %command.id,
        "{} asked for a picture of camera {camera}", session.login_id
    );
    let address = format!(
        "{}?asked={}&camera={camera}#camera-{camera}",
        DEVICES, command.id
    );
    Ok(Redirect::to(&address))
}

fn page(
    visit: &Visit,
    reports: &[DeviceReport],
    missing: &[MissingBlobs],
    order: Option<&Order>,
) -> Markup {
    let words = visit.words();
    let in_use = || reports.iter().filter(|r| r.listing.revoked_us.is_none());
    let silent = in_use()
        .filter(|report| is_silent(report, visit.now))
        .count();
    let heard = in_use().count() - silent;
    let body = html! {
        h1 { (words.devices) }
        p { a.more href="/operator/alerts" { (form::words(visit).alerts) } }
        @if reports.is_empty() {
            div.empty { h2 { (words.no_devices) } p { (words.no_devices_hint) } }
        } @else {
            p.state-line {
                @if heard > 0 { span.mark-good { (layout::icon_good()) (visit.lang.devices_heard(heard)) } }
                @if silent > 0 { span.mark-bad { (layout::icon_bad()) (visit.lang.devices_silent(silent)) } }
            }
            @if !missing.is_empty() { (layout::notice(Notice::Bad, words.pictures_gone_hint)) }
            ul.devices {
                @for report in reports {
                    (device(visit, report, missing.iter().find(|gone| gone.device == report.listing.device), order))
                }
            }
        }
    };
    layout::page(visit, Tab::Devices, words.devices, &body)
}

fn is_silent(report: &DeviceReport, now: UtcMicros) -> bool {
    let limit_us = DEVICE_SILENT_AFTER_SECONDS * 1_000_000;
    let heard = report.listing.heard_us;
    heard.is_none_or(|at| now.since_us(at) > limit_us)
}

fn device(
    visit: &Visit,
    report: &DeviceReport,
    gone: Option<&MissingBlobs>,
    order: Option<&Order>,
) -> Markup {
    let words = visit.words();
    let listing = &report.listing;
    let revoked = listing.revoked_us.is_some();
    html! {
        li.sheet.device id={ "device-" (listing.device) } data-device=(listing.device) {
            div.section-head {
                h2 { (listing.site) " " span.device-contract { (listing.contract) } }
                @if revoked {
                    span.mark-wait { (layout::icon_pending()) (words.revoked) }
                } @else if is_silent(report, visit.now) {
                    span.mark-bad { (layout::icon_bad()) (words.not_responding) }
                } @else {
                    span.mark-good { (layout::icon_good()) (words.normal) }
                }
            }
            (facts(visit, report, gone))
            p.deeds {
                a.more href={ "/operator/devices/" (listing.device) "/deliveries" } { (words.deliveries) }
                a.more href={ "/operator/devices/" (listing.device) "/files" } { (visit.lang.device_files().title) }
                @if !revoked {
                    a.more href={ "/operator/devices/" (listing.device) "/revoke" } { (words.revoke_device) }
                }
            }
            h3 { (words.cameras) }
            @if report.cameras.is_empty() { p.hint { (words.no_cameras_of_device) } }
            @else {
                ul.device-cameras {
                    @for known in &report.cameras {
                        (camera(visit, listing.device, known, revoked, order.filter(|o| o.camera == known.camera)))
                    }
                }
            }
        }
    }
}

fn facts(visit: &Visit, report: &DeviceReport, gone: Option<&MissingBlobs>) -> Markup {
    let words = visit.words();
    let (listing, heartbeat) = (&report.listing, report.heartbeat.as_ref());
    let version = heartbeat.map_or(&listing.agent_version, |said| &said.agent_version);
    html! {
        dl.facts {
            div {
                dt { (words.last_heard) }
                dd {
                    @match listing.heard_us {
                        Some(at) => { span.tabular { (visit.full(at)) } " (" (layout::age(visit, at)) ")" }
                        None => (words.never_heard),
                    }
                }
            }
            div { dt { (words.clock) } dd { (clock(visit, heartbeat)) } }
            div { dt { (words.spool_pending) } dd.tabular { (pending(visit, heartbeat)) } }
            div { dt { (words.rejected_records) } dd { (count_of_faults(listing.rejected)) } }
            div { dt { (words.broken_links) } dd { (count_of_faults(listing.broken_links)) } }
            div {
                dt { (words.pictures_gone) }
                dd {
                    (count_of_faults(gone.map_or(0, |gone| gone.count)))
                    @if let Some(gone) = gone {
                        " " span.hint.tabular { (visit.lang.since(&visit.short(gone.since_us))) }
                    }
                }
            }
            div { dt { (words.certificate) } dd { (certificate(visit, &listing.certificate)) } }
            div { dt { (words.agent_version) } dd.tabular { (version) } }
            div { dt { (words.device) } dd.code { (listing.device) } }
        }
    }
}

fn certificate(visit: &Visit, certificate: &Certificate) -> Markup {
    let words = visit.words();
    html! {
        span.tabular { (visit.full(certificate.not_after_us)) }
        @if certificate.is_expired(visit.now) {
            " " span.mark-bad { (layout::icon_bad()) (words.certificate_expired) }
        } @else if certificate.is_overdue(visit.now) {
            " " span.mark-wait { (layout::icon_pending()) (words.certificate_overdue) }
        }
    }
}

/// A page that asks before something is done that cannot be undone.
fn question(
    visit: &Visit,
    title: &str,
    facts: &[(&str, &str)],
    meaning: &str,
    action: &str,
    back: &str,
) -> Markup {
    html! {
        div.narrow {
            h1 { (title) }
            div.sheet {
                dl.facts { @for (name, fact) in facts { div { dt { (name) } dd { (fact) } } } }
                p { (meaning) }
            }
            form.deeds method="post" action=(action) {
                button.primary type="submit" { (title) }
                a.button href=(back) { (visit.words().leave_it) }
            }
        }
    }
}

/// None is well; any is something to look into.
fn count_of_faults(count: u64) -> Markup {
    html! {
        @if count == 0 { span.tabular { "0" } }
        @else { span.mark-bad.tabular { (layout::icon_bad()) (thousands(count)) } }
    }
}

fn clock(visit: &Visit, heartbeat: Option<&Heartbeat>) -> Markup {
    let words = visit.words();
    let Some(stamp) = heartbeat.map(|said| said.clock) else {
        return html! { (words.not_known) };
    };
    let offset_ms = stamp.offset_us / 1000;
    html! {
        @match stamp.state {
            ClockState::Synced => span.mark-good { (layout::icon_good()) (words.clock_synced) },
            ClockState::Holdover => span.mark-wait { (layout::icon_pending()) (words.clock_held) },
            ClockState::Unsynced | ClockState::Unknown => {
                span.mark-bad { (layout::icon_bad()) (words.clock_unsynced) }
            }
        }
        " " span.tabular.whole { (visit.lang.offset_of(offset_ms)) }
        @if let Some(error) = stamp.error_us {
            " " span.tabular.whole { (visit.lang.clock_within(error.div_ceil(1000))) }
        }
    }
}

fn pending(visit: &Visit, heartbeat: Option<&Heartbeat>) -> Markup {
    let Some(spool) = heartbeat.map(|said| &said.spool) else {
        return html! { (visit.words().not_known) };
    };
    html! {
        (visit.lang.pending(spool.pending_records, spool.pending_blobs))
        @if spool.parked_records > 0 {
            " " span.mark-bad { (layout::icon_bad()) (visit.lang.parked(spool.parked_records)) }
        }
    }
}

fn camera(
    visit: &Visit,
    device: DeviceId,
    known: &ReportedCamera,
    revoked: bool,
    order: Option<&Order>,
) -> Markup {
    let words = visit.words();
    let id = known.camera;
    let action = format!("/operator/devices/{device}/cameras/{id}/picture");
    html! {
        li.device-camera id={ "camera-" (id) } {
            div.device-camera-name {
                b { (known.name) }
                (state(visit, known))
            }
            @if !revoked {
                form method="post" action=(action) {
                    button type="submit" aria-label=(visit.lang.picture_now_of(&known.name)) { (words.picture_now) }
                }
            }
            @if let Some(order) = order { (told(visit, order)) }
        }
    }
}

/// As the device last said, with since when.
fn state(visit: &Visit, known: &ReportedCamera) -> Markup {
    let words = visit.words();
    let since = visit.lang.since(&visit.short(known.since_us));
    html! {
        @match known.state.as_str() {
            "running" => span.mark-good { (layout::icon_good()) (words.normal) },
            "retrying" => {
                span.mark-bad { (layout::icon_bad()) (words.not_responding) }
                @if let Some(reason) = &known.reason { span { (words.camera_reason(reason)) } }
            }
            _ => span.mark-wait { (layout::icon_pending()) (words.starting) },
        }
        span.hint.tabular { (since) }
    }
}

fn told(visit: &Visit, order: &Order) -> Markup {
    let words = visit.words();
    let (kind, text) = match order.outcome {
        Outcome::Waiting => (Notice::Wait, words.picture_waiting),
        Outcome::Done => (Notice::Good, words.picture_done),
        Outcome::Failed => (Notice::Bad, words.picture_failed),
        Outcome::Refused => (Notice::Bad, words.picture_refused),
        Outcome::Unanswered => (Notice::Bad, words.picture_unanswered),
        Outcome::NeverSent => (Notice::Bad, words.picture_never_sent),
    };
    let text = match order.detail.as_deref() {
        Some(detail) if kind == Notice::Bad && !detail.is_empty() => format!("{text} ({detail})"),
        _ => text.to_owned(),
    };
    layout::notice(kind, &text)
}
