//! Revoking a device: asked for on a page of its own, done as `device revoke` does it.

use crate::auth::session::OperatorSession;
use crate::portal::PortalState;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{Actor, DeviceListing};
use axum::extract::{Path, State};
use axum::response::Redirect;
use maud::Markup;

async fn found(state: &PortalState, device: &str) -> Result<DeviceListing, Problem> {
    let listing = super::report_of(state, device).await?.listing;
    match listing.revoked_us {
        None => Ok(listing),
        Some(_) => Err(Problem::NotFound),
    }
}

pub async fn ask(
    State(state): State<PortalState>,
    visit: Visit,
    _: OperatorSession,
    Path(device): Path<String>,
) -> Result<Markup, Problem> {
    let words = visit.words();
    let listing = found(&state, &device).await?;
    let id = listing.device.to_string();
    let facts = [
        (words.site, &*listing.site),
        (words.contract, &*listing.contract),
        (words.device, &*id),
    ];
    let title = words.revoke_device;
    let address = format!("/operator/devices/{id}/revoke");
    let body = super::question(
        &visit,
        title,
        &facts,
        words.revoke_device_text,
        &address,
        super::DEVICES,
    );
    Ok(layout::page(&visit, Tab::Devices, title, &body))
}

pub async fn act(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(device): Path<String>,
) -> Result<Redirect, Problem> {
    let device = found(&state, &device).await?.device;
    let desk = state.store.acting(Actor::Operator(session.login_id));
    desk.revoke(device, visit.now).await?;
    Ok(Redirect::to(&format!("{}#device-{device}", super::DEVICES)))
}
