//! A request whose body does not come is given up: whoever sends a byte a minute must not hold a connection and
//! its buffer for ever. Uploads of blobs have limits of their own, because a slow line may take long over them.

use super::ApiError;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// From a request's head to its answer: the largest batch over a line of 64 kbit/s takes half of it.
const WITHIN: Duration = Duration::from_secs(5 * 60);

pub(super) async fn in_time(request: Request, next: Next) -> Response {
    within(WITHIN, request, next).await
}

async fn within(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "the request did not come to its end in time; send it again",
        )
        .into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;
    use axum::routing::post;
    use bytes::Bytes;
    use futures::StreamExt;
    use futures::stream;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let limit = Duration::from_millis(20);
        let router = axum::Router::new()
            .route("/", post(async |body: Bytes| body.len().to_string()))
            .layer(axum::middleware::from_fn(move |request, next| {
                within(limit, request, next)
            }));
        let begun = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"x")) });
        let endless = Body::from_stream(begun.chain(stream::pending()));
        let request = Request::post("/").body(endless).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
