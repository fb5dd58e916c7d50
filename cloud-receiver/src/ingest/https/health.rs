//! `GET /healthz`: whether the receiver can do its work, for monitors and load balancers. 200 where it can, 503 where
//! not, and in both cases which half of it: `{"records": "ok", "blobs": "ok"}`.
//!
//! Anybody may ask, so it says no more than that: causes are in the log and in `cloud-receiver status`. It commits,
//! through the writer, because a database that can be read and not written takes nothing in; at most once a second,
//! whoever asks.

use crate::blob::Blobs;
use crate::store::sqlite::SqliteStore;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// An answer is good for so long.
const FRESH: Duration = Duration::from_secs(1);
/// A writer that does not answer by then does not work.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Serialize)]
struct Health {
    records: &'static str,
    blobs: &'static str,
}

impl Health {
    fn is_good(self) -> bool {
        self.records == OK && self.blobs == OK
    }
}

const OK: &str = "ok";
const FAILING: &str = "failing";

#[derive(Clone)]
struct Probe {
    store: SqliteStore,
    blobs: Arc<Blobs>,
    latest: Arc<Mutex<Option<(Instant, Health)>>>,
}

pub fn router(store: SqliteStore, blobs: Arc<Blobs>) -> Router {
    let probe = Probe {
        store,
        blobs,
        latest: Arc::default(),
    };
    Router::new().route("/healthz", get(show)).with_state(probe)
}

async fn show(State(probe): State<Probe>) -> Response {
    let health = probe.look().await;
    let status = if health.is_good() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Json(health)).into_response()
}

impl Probe {
    async fn look(&self) -> Health {
        // Whoever else asks meanwhile waits for this answer, and takes it.
        let mut latest = self.latest.lock().await;
        if let Some((at, health)) = *latest
            && at.elapsed() < FRESH
        {
            return health;
        }
        let records = tokio::time::timeout(PATIENCE, self.store.probe()).await;
        let blobs = tokio::time::timeout(PATIENCE, self.blobs.probe()).await;
        let word = |is_good| if is_good { OK } else { FAILING };
        let health = Health {
            records: word(matches!(records, Ok(Ok(())))),
            blobs: word(matches!(blobs, Ok(Ok(())))),
        };
        *latest = Some((Instant::now(), health));
        health
    }
}
