//! What of a device has arrived, hour by hour: what the command `audit deliveries` says, for one day.

use super::{report_of, way_back};
use crate::auth::session::OperatorSession;
use crate::evidence::deliveries::{Balance, Difference, Key, Line, balance};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::thousands;
use crate::store::{DeviceReport, EvidenceDevice};
use axum::extract::{Path, Query, State};
use jiff::ToSpan;
use jiff::civil::Date;
use maud::{Markup, html};
use serde::Deserialize;
use wire::{DeviceId, UtcMicros};

/// Differences that are listed; the command lists all.
const MOST_DIFFERENCES: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// `2026-11-22`
    #[serde(default)]
    day: String,
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    _: OperatorSession,
    Path(device): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let report = report_of(&state, &device).await?;
    let device = report.listing.device;
    let day: Date = asked.day.parse().unwrap_or(visit.today());
    let devices = state.store.evidence_devices(None).await?;
    let known = devices.into_iter().find(|known| known.device == device);
    let known = known.ok_or(Problem::NotFound)?;
    let range = (visit.start_of(day), visit.end_of(day));
    let rows = state.store.audit_rows(device, Some(range)).await?;
    // Whether each file is there is asked by the command: it reads the whole disk.
    let balance = balance(&known, &rows, &[], None);
    Ok(page(&visit, &report, &known, &balance, day))
}

fn page(
    visit: &Visit,
    report: &DeviceReport,
    device: &EvidenceDevice,
    balance: &Balance,
    day: Date,
) -> Markup {
    let words = visit.words();
    let body = html! {
        (way_back(visit, &report.listing))
        h1 { (words.deliveries) }
        (days(visit, device.device, day))
        (summary(visit, report, balance))
        @if balance.lines.is_empty() { div.empty { h2 { (words.deliveries_nothing) } } } @else { (table(visit, device, balance)) }
        p.hint { (words.deliveries_hint) " " code { "cloud-receiver audit deliveries --device " (device.device) } }
    };
    layout::page(visit, Tab::Devices, words.deliveries, &body)
}

fn days(visit: &Visit, device: DeviceId, day: Date) -> Markup {
    let words = visit.words();
    let address = |day: Date| format!("/operator/devices/{device}/deliveries?day={day}");
    let (previous, next) = (day.saturating_sub(1.day()), day.saturating_add(1.day()));
    html! {
        nav.days aria-label=(words.day) {
            a.button href=(address(previous)) title=(words.previous_day) {
                (layout::icon_older()) span { (visit.short_date(previous)) }
            }
            strong { (visit.short_date(day)) }
            @if next <= visit.today() {
                a.button href=(address(next)) title=(words.next_day) {
                    span { (visit.short_date(next)) } (layout::icon_newer())
                }
            }
        }
    }
}

/// Does it add up? And what of the whole device is to be known beside.
fn summary(visit: &Visit, report: &DeviceReport, balance: &Balance) -> Markup {
    let words = visit.words();
    let sum = |count: fn(&Line) -> u64| balance.lines.values().map(count).sum::<u64>();
    let spool = report.heartbeat.as_ref().map(|said| &said.spool);
    let holds_some = spool.is_some_and(|spool| spool.pending_records + spool.pending_blobs > 0);
    let refused: u64 = balance
        .refused
        .iter()
        .map(|(_, range, _)| range.last.0 - range.first.0 + 1)
        .sum();
    let count = balance.differences.len();
    let (kind, verdict) = match count {
        0 => (Notice::Good, words.deliveries_add_up.to_owned()),
        _ if holds_some => (Notice::Wait, visit.lang.still_to_come(count)),
        _ => (Notice::Bad, visit.lang.differences(count)),
    };
    html! {
        section.sheet {
            (layout::notice(kind, &verdict))
            dl.facts {
                div { dt { (words.delivered) } dd.tabular { (thousands(sum(|line| line.received))) } }
                @if balance.deleted > 0 {
                    div { dt { (words.deliveries_deleted) } dd.tabular { (thousands(balance.deleted)) } }
                }
                div { dt { (words.gap_on_its_way) } dd.tabular { (thousands(sum(|line| line.awaited))) } }
                div { dt { (words.gap_lost) } dd.tabular { (thousands(sum(|line| line.lost))) } }
                div { dt { (words.rejected_records) } dd.tabular { (thousands(refused)) } }
                div { dt { (words.broken_links) } dd.tabular { (thousands(report.listing.broken_links)) } }
            }
            @if !balance.differences.is_empty() {
                h2 { (words.deliveries_missing) }
                ul.differences {
                    @for difference in balance.differences.iter().take(MOST_DIFFERENCES) {
                        li.code { (told(difference)) }
                    }
                }
            }
        }
    }
}

/// By its key, as the commands and the logs write it.
fn told(difference: &Difference) -> String {
    match difference {
        Difference::MissingRecords { epoch, first, last } => {
            format!("missing records {epoch}-{first} .. {last}")
        }
        Difference::MissingPicture {
            epoch,
            seq,
            sha256,
            class,
            ..
        } => {
            format!("missing picture {epoch}-{seq} ({class}) {sha256}")
        }
        Difference::PictureWithoutFile {
            epoch,
            seq,
            sha256,
            class,
            ..
        } => {
            format!("picture without file {epoch}-{seq} ({class}) {sha256}")
        }
        Difference::Unindexed { epoch, seq } => format!("not in the index {epoch}-{seq}"),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

fn table(visit: &Visit, device: &EvidenceDevice, balance: &Balance) -> Markup {
    let words = visit.words();
    let lines: Vec<(&Key, &Line)> = balance.lines.iter().collect();
    html! {
        div.sheet {
            table.deliveries {
                thead {
                    tr {
                        th scope="col" { (words.camera) " · " (words.class) }
                        th.number scope="col" { (words.delivered) }
                        th.number scope="col" { (words.gap_on_its_way) }
                        th.number scope="col" { (words.gap_lost) }
                    }
                }
                @for hour in lines.chunk_by(|one, other| one.0.hour_us == other.0.hour_us) {
                    tbody {
                        @if let Some((first, _)) = hour.first() {
                            tr { th.hour.tabular colspan="4" scope="rowgroup" { (visit.hour(start_of(first))) } }
                        }
                        @for (key, line) in hour { (row(visit, device, key, line)) }
                    }
                }
            }
        }
    }
}

fn row(visit: &Visit, device: &EvidenceDevice, key: &Key, line: &Line) -> Markup {
    html! {
        tr.faulty[line.awaited > 0 || line.lost > 0] {
            td {
                (camera(visit, device, key)) " " span.code { (key.class) }
                @for (reason, count) in &line.reasons {
                    div.hint { (visit.words().gap_lost) ": " span.code { (reason) " " (thousands(*count)) } }
                }
            }
            td.number.tabular { (thousands(line.received)) }
            td.number.tabular { (thousands(line.awaited)) }
            td.number.tabular { (thousands(line.lost)) }
        }
    }
}

/// Hours begin where the device.s clock said.
fn start_of(key: &Key) -> UtcMicros {
    UtcMicros(key.hour_us)
}

fn camera(visit: &Visit, device: &EvidenceDevice, key: &Key) -> String {
    let Some(camera) = key.camera else {
        return visit.words().whole_device.to_owned();
    };
    let name = device.cameras.iter().find(|(id, _)| *id == camera);
    name.map_or_else(|| camera.to_string(), |(_, name)| name.clone())
}
