//! What a device or a browser is told when something goes wrong: a sentence for it, the cause for the log.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use wire::enroll::Refusal;

/// When to come again. Devices spread themselves over a back-off of their own beyond it.
const RETRY_AFTER_SECONDS: u32 = 5;

/// A refusal with its HTTP status. The cause is logged where the answer is made, and never sent.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    refusal: Refusal,
    cause: Option<String>,
    /// Boxed, because an error should not weigh more than what it stands for.
    header: Option<Box<(HeaderName, String)>>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            refusal: Refusal {
                code: code.to_owned(),
                message: message.into(),
            },
            cause: None,
            header: None,
        }
    }

    /// A header that the answer carries as well.
    pub fn with_header(mut self, name: HeaderName, value: String) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// Something is wrong here, not there: the same request may succeed later. Devices keep what they have on any
    /// status but 400, 413 and 422, which say that the bytes themselves are wrong.
    pub fn unavailable(cause: impl std::fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the receiver cannot do this now; try again later",
            )
        }
        .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS.to_string())
    }

    /// As [`ApiError::unavailable`], because a disk here is full.
    pub fn no_space(cause: impl std::fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "no_space",
                "the receiver has no room for this now; try again later",
            )
        }
        .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(cause, "a request could not be served");
        }
        let body = (self.status, Json(self.refusal));
        match self.header {
            Some(header) => ([*header], body).into_response(),
            None => body.into_response(),
        }
    }
}
