//! `PUT` and `HEAD /device/v1/blobs/{sha256}`: resumable by offset, idempotent, scoped to the device's contract.

use super::ApiError;
use super::{Device, DeviceApi};
use crate::blob::{Announced, Begun, BlobError, Ended, Owner, Progress};
use crate::clock::now;
use crate::store::DeviceRow;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use std::time::Duration;
use wire::Sha256;

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// An upload in which nothing comes for this long is cut, and kept to be continued.
const IDLE: Duration = Duration::from_secs(30);
/// Of a blob that is here already so much is read away, so that the device sees the answer and no reset.
const DRAINED: u64 = 16 * 1024 * 1024;

pub(super) async fn head(
    State(api): State<DeviceApi>,
    Device { row: device, .. }: Device,
    Path(sha256): Path<String>,
) -> Result<Response, ApiError> {
    let sha256 = parse(&sha256)?;
    Ok(match api.blobs.progress(owner(&device), sha256).await? {
        Progress::Absent => StatusCode::NOT_FOUND.into_response(),
        Progress::Partial(offset) => ([(UPLOAD_OFFSET, offset.to_string())]).into_response(),
        Progress::Complete(length) => ([
            (UPLOAD_OFFSET, length.to_string()),
            (UPLOAD_LENGTH, length.to_string()),
        ],)
            .into_response(),
    })
}

pub(super) async fn put(
    State(api): State<DeviceApi>,
    Device {
        row: device,
        presented,
    }: Device,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let announced = announced(parse(&sha256)?, &headers)?;
    let mut upload = match api.blobs.begin(owner(&device), announced).await? {
        Begun::Upload(upload) => upload,
        Begun::Complete => {
            drain(body).await;
            return Ok(StatusCode::OK.into_response());
        }
    };
    let mut pieces = body.into_data_stream();
    let mut changes = api.intake.store().changes();
    loop {
        // A slow upload may last for hours: it ends with the device's right to it.
        if changes.has_changed().unwrap_or(false) {
            changes.mark_unchanged();
            super::admitted(&api, &presented).await?;
        }
        let piece = match tokio::time::timeout(IDLE, pieces.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
            // Cut: dropping the upload keeps what came.
            Ok(Some(Err(_))) | Err(_) => {
                return Err(ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "upload_cut",
                    "the upload was cut; go on at the offset that HEAD names",
                ));
            }
        };
        upload.write(piece).await?;
    }
    super::admitted(&api, &presented).await?;
    Ok(match upload.end(now()).await? {
        Ended::Stored(true) => StatusCode::CREATED.into_response(),
        Ended::Stored(false) => StatusCode::OK.into_response(),
        Ended::Incomplete(offset) => {
            (StatusCode::ACCEPTED, [(UPLOAD_OFFSET, offset.to_string())]).into_response()
        }
    })
}

fn owner(device: &DeviceRow) -> Owner {
    Owner {
        contract: device.contract,
        device: device.device,
    }
}

fn parse(sha256: &str) -> Result<Sha256, ApiError> {
    // One spelling only, so that a blob has one path.
    let parsed = sha256
        .parse::<Sha256>()
        .ok()
        .filter(|hash| hash.to_string() == sha256);
    parsed.ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "a blob is named by its SHA-256, 64 lower-case hexadecimal digits",
        )
    })
}

fn announced(sha256: Sha256, headers: &HeaderMap) -> Result<Announced, ApiError> {
    let number = |name: &HeaderName| -> Result<Option<u64>, ApiError> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!("{name} is not a number"),
            )
        })
    };
    let length = number(&UPLOAD_LENGTH)?.ok_or_else(|| {
        ApiError::new(
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "Upload-Length is missing",
        )
    })?;
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    Ok(Announced {
        sha256,
        offset: number(&UPLOAD_OFFSET)?.unwrap_or(0),
        length,
        content_type: content_type
            .unwrap_or("application/octet-stream")
            .to_owned(),
    })
}

async fn drain(body: Body) {
    let mut left = DRAINED;
    let mut pieces = body.into_data_stream();
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(IDLE, pieces.next()).await {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            return;
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        let (status, code) = match &error {
            BlobError::TooLarge(..) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            BlobError::TooLong => (StatusCode::UNPROCESSABLE_ENTITY, "wrong_length"),
            BlobError::WrongLength => (StatusCode::UNPROCESSABLE_ENTITY, "wrong_length"),
            BlobError::WrongHash => (StatusCode::UNPROCESSABLE_ENTITY, "wrong_hash"),
            BlobError::WrongOffset(_) => (StatusCode::CONFLICT, "wrong_offset"),
            BlobError::Io(_)
            | BlobError::Objects(_)
            | BlobError::Store(_)
            | BlobError::Seal(_)
            | BlobError::Away(_)
            | BlobError::NoRoom(_)
            | BlobError::Busy => {
                return if error.is_full() {
                    ApiError::no_space(error)
                } else {
                    ApiError::unavailable(error)
                };
            }
        };
        let refused = ApiError::new(status, code, error.to_string());
        match error {
            BlobError::WrongOffset(offset) => {
                refused.with_header(UPLOAD_OFFSET, offset.to_string())
            }
            _ => refused,
        }
    }
}
