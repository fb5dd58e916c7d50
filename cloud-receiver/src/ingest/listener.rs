//! Accepts TLS connections, bounded in number and in the time a handshake may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A peer that does not finish its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after the operating system had no descriptor left; connections then wait in its queue.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// One accepted connection.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TlsStream<TcpStream>,
    pub peer: SocketAddr,
}

/// Runs until `stop`; every connection is served as a task of `tasks`.
pub async fn run<S, F>(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    connections: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
    serve: S,
) where
    S: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(tls);
    let permits = Arc::new(Semaphore::new(connections));
    loop {
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit.expect("never closed"),
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        // Receipts are small and must not wait for company.
        let _ = stream.set_nodelay(true);
        let handshake = acceptor.accept(stream);
        let serve = serve.clone();
        tasks.spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => serve(Accepted { stream, peer }).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}
