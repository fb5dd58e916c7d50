//! What goes wrong, as a page in the visitor's language.
//!
//! A handler answers with a [`Problem`]; `guard::around` draws it, because it knows the language. The cause is
//! logged there, once, and never shown.

use super::layout::{self, Tab};
use super::visit::Visit;
use super::words::OfficeWords;
use crate::auth::login::LoginError;
use crate::office::Refusal;
use crate::store::StoreError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Problem {
    NotFound,
    /// It may have been here: of its contract, records were deleted as agreed.
    NotFoundAnyMore,
    /// A form that another site may have sent.
    Forbidden,
    BadRequest,
    Unauthorized,
    /// As many as may be are at it already.
    Busy,
    /// What an operator asked for is not done, and no form is there to say so on.
    Refused(Box<Refusal>),
    Internal(Arc<str>),
}

impl Problem {
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string().into())
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NotFoundAnyMore => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(_) => StatusCode::CONFLICT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The problem that an error answer of the framework stands for.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Self::NotFound,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            status if status.is_client_error() => Self::BadRequest,
            status => Self::internal(format!("answered {status} without saying why")),
        }
    }

    pub fn page(&self, visit: &Visit) -> Markup {
        let words = visit.words();
        let (title, text) = match self {
            Self::NotFound => (words.not_found, words.not_found_text.into()),
            Self::NotFoundAnyMore => (words.event_not_found, words.event_not_found_text.into()),
            Self::Forbidden => (words.forbidden, words.forbidden_text.into()),
            Self::BadRequest => (words.bad_request, words.bad_request_text.into()),
            Self::Unauthorized => (words.sign_in_title, words.session_ended.into()),
            Self::Busy => (words.busy, words.busy_text.into()),
            Self::Refused(refusal) => {
                let title = OfficeWords::of(visit.lang).refused_title;
                (title, Cow::Owned(visit.lang.refused(refusal, visit)))
            }
            Self::Internal(_) => (words.failed, words.failed_text.into()),
        };
        let body = html! {
            div.problem {
                p.problem-code.tabular aria-hidden="true" { (self.status().as_u16()) }
                h1 { (title) }
                p { (text) }
                p { a.button href=(visit.door.home) { (words.back_to_overview) } }
            }
        };
        layout::page(visit, Tab::None, title, &body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(_) => Self::NotFound,
            StoreError::Conflict(conflict) => Self::Refused(Box::new(conflict.into())),
            error => Self::internal(error),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        Self::internal(error)
    }
}

pub async fn not_found() -> Problem {
    Problem::NotFound
}

/// Kept by the browser beforehand, and shown when the receiver cannot be reached.
pub async fn offline(visit: Visit) -> Markup {
    let words = visit.words();
    let body = html! {
        div.problem data-offline {
            p.problem-code aria-hidden="true" { (layout::icon_offline()) }
            h1 { (words.offline) }
            p { (words.offline_text) }
            p { a.button href="/" { (words.try_again) } }
        }
    };
    layout::page(&visit, Tab::None, words.offline, &body)
}
