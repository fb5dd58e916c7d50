//! `POST /device/v1/enroll`: mounted on the portal's listener, the only one that asks for no client certificate.

use super::ApiError;
use super::patience::in_time;
use super::server::Peer;
use crate::enroll::{EnrollError, Enroller};
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::post;
use axum::{Json, Router};
use std::sync::Arc;
use wire::enroll::{EnrollRequest, EnrollResponse};

/// A request has a certificate request and little more.
const REQUEST_BYTES: usize = 64 * 1024;

pub fn router(enroller: Arc<Enroller>) -> Router {
    Router::new()
        .route("/device/v1/enroll", post(enroll))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(from_fn(in_time))
        .with_state(enroller)
}

async fn enroll(
    State(enroller): State<Arc<Enroller>>,
    Extension(peer): Extension<Peer>,
    Json(request): Json<EnrollRequest>,
) -> Result<Json<EnrollResponse>, ApiError> {
    let outcome = enroller.enroll(&request, peer.address.ip()).await;
    outcome.map(Json).map_err(|error| {
        let status = match &error {
            EnrollError::Store(cause) => return ApiError::unavailable(cause),
            EnrollError::Unknown => StatusCode::FORBIDDEN,
            EnrollError::Used | EnrollError::Expired => StatusCode::GONE,
            EnrollError::DeviceKnown => StatusCode::CONFLICT,
            EnrollError::BadRequest(_) => StatusCode::BAD_REQUEST,
            EnrollError::Throttled => StatusCode::TOO_MANY_REQUESTS,
        };
        ApiError::new(status, error.code(), error.to_string())
    })
}
