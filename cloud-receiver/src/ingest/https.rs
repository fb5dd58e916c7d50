//! The device HTTPS listener: blobs, and everything else where MQTT is blocked.
//!
//! Every request belongs to the device of the connection's certificate; no path or body can name another.

mod blobs;
mod commands;
mod enroll;
mod error;
mod health;
mod patience;
mod renew;
mod server;

pub use enroll::router as enroll_router;
pub use error::ApiError;
pub use health::router as health_router;
pub use server::{Peer, serve};

use super::identity::Presented;
use super::intake::{Delivered, Intake};
use crate::blob::Blobs;
use crate::clock::now;
use crate::renew::Renewals;
use crate::store::{DeviceRow, StoreError};
use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use wire::SigningKey;
use wire::batch::MAX_BATCH_BYTES;
use wire::heartbeat::Heartbeat;

/// Largest heartbeat that is read.
const HEARTBEAT_BYTES: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub struct DeviceApi {
    pub intake: Intake,
    pub blobs: Arc<Blobs>,
    pub command_key: Arc<SigningKey>,
    /// Ends long polls when the receiver stops.
    pub stop: CancellationToken,
    pub handed_out: Arc<commands::HandedOut>,
    pub renewals: Arc<Renewals>,
}

impl DeviceApi {
    pub fn new(
        intake: Intake,
        blobs: Arc<Blobs>,
        command_key: Arc<SigningKey>,
        renewals: Arc<Renewals>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            intake,
            blobs,
            command_key,
            stop,
            handed_out: Arc::default(),
            renewals,
        }
    }
}

pub fn router(api: DeviceApi) -> Router {
    Router::new()
        .route(
            "/device/v1/batch",
            // One more than a batch may have, so that one too large is refused by code and not by the server.
            post(batch)
                .layer(DefaultBodyLimit::max(MAX_BATCH_BYTES + 1))
                .layer(from_fn(patience::in_time)),
        )
        .route(
            "/device/v1/heartbeat",
            post(heartbeat)
                .layer(DefaultBodyLimit::max(HEARTBEAT_BYTES))
                .layer(from_fn(patience::in_time)),
        )
        .route("/device/v1/commands", get(commands::list))
        .route("/device/v1/time", get(time))
        .route(
            "/device/v1/renew",
            post(renew::renew)
                .layer(DefaultBodyLimit::max(renew::REQUEST_BYTES))
                .layer(from_fn(patience::in_time)),
        )
        .route(
            "/device/v1/blobs/{sha256}",
            put(blobs::put).head(blobs::head),
        )
        .with_state(api)
}

/// The admitted device of the connection.
struct Device {
    row: DeviceRow,
    presented: Presented,
}

impl FromRequestParts<DeviceApi> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &DeviceApi) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>();
        let presented = peer.and_then(|peer| peer.presented).ok_or_else(|| {
            ApiError::new(
                StatusCode::FORBIDDEN,
                "no_device",
                "the certificate names no device",
            )
        })?;
        let row = admitted(api, &presented).await?;
        Ok(Device { row, presented })
    }
}

/// To be asked when a request begins, and again before anything of a long one is kept or given out: a revoked
/// device may have a request open for as long as it likes.
async fn admitted(api: &DeviceApi, presented: &Presented) -> Result<DeviceRow, ApiError> {
    let refused = |code, message| ApiError::new(StatusCode::FORBIDDEN, code, message);
    // TLS looked at this when the connection was made, which may be long ago.
    if presented.certificate.is_expired(now()) {
        return Err(refused(
            "certificate_expired",
            "the certificate of this device has expired; enroll it again with a claim code",
        ));
    }
    api.intake
        .admit(presented)
        .await?
        .map_err(|turned| refused(turned.code(), turned.message()))
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace(_) => ApiError::no_space(error),
            error => ApiError::unavailable(error),
        }
    }
}

async fn batch(
    State(api): State<DeviceApi>,
    device: Device,
    body: Bytes,
) -> Result<Response, ApiError> {
    let device = admitted(&api, &device.presented).await?;
    match api.intake.batch(&device, body.into()).await? {
        Delivered::Receipt(receipt) => Ok(Json(receipt).into_response()),
        Delivered::Unreadable(code) => Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            code,
            "these bytes are not a batch; sending them again will not help",
        )),
    }
}

async fn heartbeat(
    State(api): State<DeviceApi>,
    Device { row: device, .. }: Device,
    Json(heartbeat): Json<Heartbeat>,
) -> Result<StatusCode, ApiError> {
    api.intake
        .store()
        .heard(device.device, Some(&heartbeat), now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn time(_: Device) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "receiver_time_us": now() }))
}

#[cfg(test)]
mod tests;
