//! The download: what a customer's devices recorded in a time, as they signed it, to keep and to check elsewhere.
//!
//! It is streamed as it is made. If it cannot be finished, the connection breaks: a browser then says that the download
//! failed, and nobody takes half a file for a whole one.

mod resume;

use super::PortalState;
use super::problem::Problem;
use super::timeline::Asked;
use super::visit::Visit;
use crate::auth::session::Session;
use crate::evidence::export::{EvidenceStore, ExportError, Sources, Wanted, for_customer};
use crate::store::{Actor, ContractScope, Note};
use async_trait::async_trait;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use maud::{Markup, html};
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::{EventId, UtcMicros};

/// Exports being made at the same time; each reads the disk as fast as its reader takes it.
pub const EXPORTS_AT_ONCE: usize = 4;
/// Pieces between the maker and the network.
const PIECES: usize = 4;
/// Around an event, so that what was recorded with it is in the file too.
const AROUND_EVENT_US: i64 = 10_000_000;

pub use resume::Made;

/// Where exports come from.
#[async_trait]
pub trait Exports: Send + Sync {
    /// Writes one; ends early when nobody reads any more.
    async fn write(
        &self,
        scope: ContractScope,
        wanted: &Wanted,
        out: mpsc::Sender<Bytes>,
    ) -> Result<(), ExportError>;
}

#[async_trait]
impl<S: EvidenceStore> Exports for Sources<S> {
    async fn write(
        &self,
        scope: ContractScope,
        wanted: &Wanted,
        out: mpsc::Sender<Bytes>,
    ) -> Result<(), ExportError> {
        for_customer(self, scope, wanted, out).await.map(drop)
    }
}

/// Of the time, the site and the camera that the timeline shows.
pub async fn of_time(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let filter = asked.filter(&visit);
    let from = filter.from_us.unwrap_or(visit.midnight_today());
    let to = filter.to_us.unwrap_or(visit.end_of(visit.today()));
    let wanted = Wanted {
        made_at: visit.now,
        from,
        to,
        site: filter.site,
        device: None,
        camera: filter.camera,
    };
    send(&state, &visit, &session, &headers, wanted).await
}

/// Of one event.
pub async fn of_event(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: EventId = id.parse().map_err(|_| Problem::NotFound)?;
    let event = state.store.event(session.scope, id).await?;
    let event = event.ok_or(Problem::NotFound)?;
    let row = &event.row;
    let until = row.closed_at_us.unwrap_or(row.last_seen_at_us);
    let wanted = Wanted {
        made_at: visit.now,
        from: row.opened_at_us.plus_us(-AROUND_EVENT_US),
        to: until.max(row.opened_at_us).plus_us(AROUND_EVENT_US),
        site: None,
        device: Some(event.device),
        camera: Some(row.camera),
    };
    send(&state, &visit, &session, &headers, wanted).await
}

async fn send(
    state: &PortalState,
    visit: &Visit,
    session: &Session,
    headers: &HeaderMap,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let turn = Arc::clone(&state.export_turns).try_acquire_owned();
    let turn = turn.map_err(|_| Problem::Busy)?;
    tracing::info!(
        user = %session.login_id, export.from = %wanted.from, export.to = %wanted.to,
        "{} downloads an export", session.login_id
    );
    let (exports, scope) = (Arc::clone(&state.exports), session.scope);
    let asked = resume::Asked::of(headers, &state.exports_made, scope, wanted);
    let whole = asked.measure(&exports, scope).await;
    let whole = whole.map_err(|error| why_nothing(&error))?;
    let (status, mut head, range) = asked.answer(whole.as_ref(), &state.exports_made, scope);
    let name = file_name(visit, asked.wanted.from);
    let (out, pieces) = mpsc::channel(PIECES);
    let wanted = asked.wanted;
    let note = Note::new("export.download")
        .of(scope.contract())
        .with("from_us", wanted.from.0)
        .with("to_us", wanted.to.0)
        .with("site", wanted.site.map(|id| id.to_string()))
        .with("device", wanted.device.map(|id| id.to_string()))
        .with("camera", wanted.camera.map(|id| id.to_string()));
    let actor = Actor::User(session.login_id.clone());
    state.store.note(actor, note, visit.now).await?;
    let task = tokio::spawn(async move {
        let _turn = turn;
        exports.write(scope, &wanted, out).await
    });
    head.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/zip"),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        head.insert(header::CONTENT_DISPOSITION, value);
    }
    let body = resume::body(pieces, task, range, whole);
    Ok((status, head, body).into_response())
}

/// caas-20261122-1405.zip
fn file_name(visit: &Visit, from: UtcMicros) -> String {
    let minute: String = visit
        .minute(from)
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    let day: String = visit.date_of(from).to_string().replace('-', "");
    format!("caas-{day}-{minute}.zip")
}

fn why_nothing(error: &ExportError) -> Problem {
    match error {
        ExportError::NothingThere | ExportError::EmptyRange => Problem::NotFound,
        error => Problem::internal(error),
    }
}

/// The button, with what it is and how to check it.
pub(super) fn offer(visit: &Visit, address: &str, label: &str) -> Markup {
    html! {
        div.export {
            a.button href=(address) download { (label) }
            p.hint { (visit.words().export_hint) }
        }
    }
}
