//! What is and what was wrong with devices and cameras for longer than agreed: what the command `alert list` says.

use super::form::{office, words};
use crate::auth::session::OperatorSession;
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{AlertBook, AlertRow, DeviceReport, OperatorDesk};
use axum::extract::State;
use maud::{Markup, html};

/// Of those that are over.
const MOST_PAST: u32 = 100;

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let store = office(&state, &session)?.store;
    let (open, past) = (
        store.open_alerts().await?,
        store.past_alerts(MOST_PAST).await?,
    );
    let reports = store.reports().await?;
    let w = words(&visit);
    let body = html! {
        p { a.more href="/operator/devices" { (visit.words().devices) } }
        h1 { (w.alerts) }
        section.sheet {
            h2 { (w.alerts_open) }
            @if open.is_empty() { (layout::notice(Notice::Good, w.alerts_none_open)) }
            @else { (table(&visit, &open, &reports)) }
        }
        section.sheet {
            h2 { (w.alerts_past) }
            @if past.is_empty() { p.hint { (w.alerts_none_past) } }
            @else { (table(&visit, &past, &reports)) }
        }
    };
    Ok(layout::page(&visit, Tab::Devices, w.alerts, &body))
}

fn table(visit: &Visit, rows: &[AlertRow], reports: &[DeviceReport]) -> Markup {
    let w = words(visit);
    html! {
        div.wide-table tabindex="0" {
            table.audit {
                thead {
                    tr {
                        th scope="col" { (w.since) }
                        th scope="col" { (w.matter) }
                        th scope="col" { (w.place) }
                        th scope="col" { (w.until) }
                        th scope="col" { (w.told) }
                    }
                }
                tbody { @for row in rows { (line(visit, row, reports)) } }
            }
        }
    }
}

fn line(visit: &Visit, row: &AlertRow, reports: &[DeviceReport]) -> Markup {
    let w = words(visit);
    let report = reports
        .iter()
        .find(|report| report.listing.device == row.matter.device);
    let camera = row.matter.camera.and_then(|id| {
        let cameras = &report?.listing.cameras;
        cameras
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, name)| name.as_str())
    });
    html! {
        tr {
            td.tabular { (visit.full(row.since_us)) }
            td {
                @if row.closed_us.is_some() { (w.alert(row.matter.kind)) }
                @else { span.mark-bad { (layout::icon_bad()) (w.alert(row.matter.kind)) } }
            }
            td {
                a href={ "/operator/devices#device-" (row.matter.device) } {
                    @match report { Some(report) => { (report.listing.site) " (" (report.listing.contract) ")" }, None => span.code { (row.matter.device) } }
                }
                @if let Some(camera) = camera { " " (camera) }
            }
            td.tabular {
                @match (row.closed_us, row.good_us) {
                    (Some(at), _) => (visit.full(at)),
                    (None, Some(_)) => (w.well_again),
                    (None, None) => "—",
                }
            }
            td.tabular { @match row.told_us { Some(at) => (visit.full(at)), None => (w.not_told) } }
        }
    }
}
