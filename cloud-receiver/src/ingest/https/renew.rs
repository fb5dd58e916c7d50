//! `POST /device/v1/renew`: a new certificate for the device of the connection, and for nobody else.

use super::{ApiError, Device, DeviceApi};
use crate::clock::now;
use crate::renew::RenewError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use wire::renew::{RenewRequest, RenewResponse};

/// A request has a certificate request and little more.
pub(super) const REQUEST_BYTES: usize = 64 * 1024;

pub(super) async fn renew(
    State(api): State<DeviceApi>,
    device: Device,
    Json(request): Json<RenewRequest>,
) -> Result<Json<RenewResponse>, ApiError> {
    let renewed = api.renewals.renew(&device.presented, &request, now());
    renewed.map(Json).map_err(|error| {
        let status = match &error {
            RenewError::BadRequest(_) => StatusCode::BAD_REQUEST,
            RenewError::TooOften => StatusCode::TOO_MANY_REQUESTS,
        };
        ApiError::new(status, error.code(), error.to_string())
    })
}
