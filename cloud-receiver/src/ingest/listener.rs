//! Accepts TLS connections, bounded in number and in the time a handshake may take.

use super::crowd::Crowd;
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

/// How many connections a listener holds at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Further ones wait in the operating system's queue.
    pub connections: usize,
    /// Of one address; further ones are closed at once.
    pub per_address: usize,
}

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
    bounds: Bounds,
    tasks: TaskTracker,
    stop: CancellationToken,
    serve: S,
) where
    S: Fn(Accepted) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let acceptor = TlsAcceptor::from(tls);
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let crowd = Crowd::new(bounds.per_address);
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
        let Some(place) = crowd.enter(peer.ip()) else {
            tracing::debug!(%peer, "an address has more connections than one may hold");
            continue;
        };
        // Receipts are small and must not wait for company.
        let _ = stream.set_nodelay(true);
        let handshake = acceptor.accept(stream);
        let serve = serve.clone();
        tasks.spawn(async move {
            let _held = (permit, place);
            match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => serve(Accepted { stream, peer }).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::soon;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpSocket;
    use tokio_rustls::TlsConnector;

    /// TLS for a listener, and for those who trust it.
    fn tls() -> (Arc<rustls::ServerConfig>, TlsConnector) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), TlsConnector::from(Arc::new(client)))
    }

    async fn from(address: &str, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(address.parse().unwrap(), 0))
            .unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn one_address_cannot_hold_all_connections() {
        let (server, client) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let bounds = Bounds {
            connections: 8,
            per_address: 2,
        };
        // Served for as long as the other side stays.
        let serve = |mut accepted: Accepted| async move {
            let _ = accepted.stream.read(&mut [0]).await;
        };
        let tasks = TaskTracker::new();
        let running = run(listener, server, bounds, tasks, stop.clone(), serve);
        let running = tokio::spawn(running);
        let enter = async |address: &str| {
            let name = ServerName::try_from("localhost").unwrap();
            client.connect(name, from(address, to).await).await
        };
        let first = soon("one", enter("127.0.0.1")).await.unwrap();
        let second = soon("two", enter("127.0.0.1")).await.unwrap();
        assert!(soon("three", enter("127.0.0.1")).await.is_err());
        assert!(soon("another address", enter("127.0.0.2")).await.is_ok());
        drop(first);
        let again = async {
            while enter("127.0.0.1").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        soon("a place that was left", again).await;
        drop(second);
        stop.cancel();
        running.await.unwrap();
    }
}
