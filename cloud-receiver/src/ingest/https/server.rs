//! HTTP/1.1 and HTTP/2 on an accepted TLS connection; ends it in good order when the receiver stops.

use super::super::identity::{Presented, presented};
use super::super::listener::Accepted;
use axum::Router;
use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A peer that does not finish sending a request's head by then is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stop waits for answers in flight, and for a peer to agree to the end: a phone that sleeps never does. What is
/// cut is asked for again, downloads from where they broke.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);

/// Requests at the same time on one HTTP/2 connection, and what each may send before it is read. Together they fit
/// the connection's window: an upload that waits its turn, unread, never blocks one that has it.
const STREAMS: u32 = 32;
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// Who is at the other end; every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// What the client certificate says, where the listener asks for one.
    pub presented: Option<Presented>,
}

/// Serves one connection until it ends, or until `stop`: then requests in flight are answered for a few seconds more.
pub async fn serve(accepted: Accepted, router: Router, stop: CancellationToken) {
    let (_, tls) = accepted.stream.get_ref();
    let peer = Peer {
        address: accepted.peer,
        presented: presented(tls.peer_certificates().unwrap_or_default()).ok(),
    };
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        request
            .extensions_mut()
            .insert(axum::extract::ConnectInfo(peer.address));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAMS * STREAM_WINDOW_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(accepted.stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GOODBYE_WITHIN, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "a connection broke");
    }
}
