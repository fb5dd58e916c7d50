//! Pictures, for those whose contract they belong to.
//!
//! A picture's address is its hash, so it never changes. Its owner's browser may keep it, and nothing between; but it asks each time
//! whether it may still show it: a view is noted, and who is signed out, or whose picture is deleted, sees nothing. Of a
//! picture of another contract nobody learns that it exists.

use super::PortalState;
use super::problem::Problem;
use super::views;
use crate::auth::session::Session;
use crate::blob::Blobs;
use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use wire::{ContractId, DeviceId, Sha256};

/// Where the bytes of pictures are, opened (unsealed) for their contract.
#[async_trait]
pub trait Pictures: Send + Sync {
    async fn picture(
        &self,
        contract: ContractId,
        device: DeviceId,
        sha256: Sha256,
    ) -> Result<Option<Bytes>, PictureError>;
}

#[derive(Debug, thiserror::Error)]
#[error("picture {sha256} could not be read: {cause}")]
pub struct PictureError {
    pub sha256: Sha256,
    pub cause: String,
}

#[async_trait]
impl Pictures for Blobs {
    async fn picture(
        &self,
        contract: ContractId,
        device: DeviceId,
        sha256: Sha256,
    ) -> Result<Option<Bytes>, PictureError> {
        self.get(contract, device, sha256)
            .await
            .map_err(|error| PictureError {
                sha256,
                cause: error.to_string(),
            })
    }
}

/// Pictures that a browser may show. Anything else a device may have sent is offered as a file, never run.
const SHOWN_TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

pub async fn show(
    State(state): State<PortalState>,
    session: Session,
    headers: HeaderMap,
    Path(sha256): Path<String>,
) -> Result<Response, Problem> {
    let sha256: Sha256 = sha256.parse().map_err(|_| Problem::NotFound)?;
    let row = state.store.media(session.scope, sha256).await?;
    let row = row.ok_or(Problem::NotFound)?;
    let name = sha256.to_string();
    let tag = format!("\"{name}\"");
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str())
    {
        views::note(&state, &session, "picture.view", &name).await?;
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let (bytes, noted) = tokio::join!(
        state
            .pictures
            .picture(session.scope.contract(), row.device, sha256),
        views::note(&state, &session, "picture.view", &name),
    );
    noted?;
    let bytes = bytes.map_err(Problem::internal)?;
    let bytes = bytes.ok_or(Problem::NotFound)?;
    let shown = SHOWN_TYPES.iter().find(|known| **known == row.content_type);
    let headers = [
        (
            header::CONTENT_TYPE,
            *shown.unwrap_or(&"application/octet-stream"),
        ),
        (header::CACHE_CONTROL, "private, no-cache"),
        (
            HeaderName::from_static("content-disposition"),
            if shown.is_some() {
                "inline"
            } else {
                "attachment"
            },
        ),
    ];
    Ok((headers, [(header::ETAG, tag)], bytes).into_response())
}
