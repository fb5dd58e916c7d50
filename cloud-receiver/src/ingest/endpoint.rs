//! The MQTT 5 endpoint for devices.
//!
//! Not a broker: a device talks to the receiver and to nobody else, so there is nothing to route, retain or
//! remember. What is promised:
//! - who is connected is who the client certificate names, and it reaches its own topics only ([`acl`]);
//! - PUBACK and receipt come after the store's commit, in order, or not at all ([`commit`]);
//! - a refused batch is answered and holds up nobody; a store that fails ends the connection by "server busy", and
//!   lets nobody in by "server unavailable": neither code says anything of the batches, so the device keeps them and
//!   comes again after its back-off;
//! - a receipt is pushed for what was just delivered, never for what was delivered before this connection: a device
//!   sends again what it has no receipt for, at most a window of it, and is answered then. A receipt at connect
//!   would have to speak of every epoch that may be waiting, and would say nothing that the next batch does not;
//! - nothing grows without bound: handshakes, bytes on their way to the commit, bytes to be written;
//! - no session outlives the device's right to it: whatever process revokes it, the session ends.

mod acl;
mod codec;
mod commands;
mod commit;
mod connection;
#[cfg(any(test, fuzzing))]
pub mod feed;
mod outbox;
mod registry;
mod session;

#[cfg(test)]
mod tests;

use crate::store::DeviceWrites;
use registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{SigningKey, UtcMicros};

/// What the endpoint needs. Clones share everything.
#[derive(Clone)]
pub struct EndpointDeps {
    pub store: Arc<dyn DeviceWrites>,
    /// Signs what is pushed on `down/command`.
    pub command_key: Arc<SigningKey>,
    /// The receiver's clock.
    pub now: Arc<dyn Fn() -> UtcMicros + Send + Sync>,
    pub limits: Limits,
}

impl fmt::Debug for EndpointDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointDeps")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time. When all places are taken, the next ones wait in the kernel's queue.
    pub connections: usize,
    /// Of these, how many may not have been let in yet. When all places are taken, the next ones
    /// wait too: after a restart every device comes at once, and none of them should be refused.
    pub handshakes: usize,
    /// From the first byte to the CONNACK.
    pub handshake_timeout: Duration,
    /// For how long a device may take nothing of what is sent to it.
    pub write_stall: Duration,
    /// How often a session looks for commands and revocations, should the store's notice ever fail.
    pub look_every: Duration,
    /// How often a device that only pings is noted as heard.
    pub note_heard_every: Duration,
    /// How long an ending session may take to answer what was committed and to say why it ends.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshakes: 1024,
            handshake_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(30),
            look_every: Duration::from_secs(30),
            note_heard_every: Duration::from_secs(30),
            farewell: Duration::from_secs(3),
        }
    }
}

/// Serves devices until `stop`, then tells every one of them and returns when all sessions have ended. `tls` must
/// ask for a client certificate and verify it.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    endpoint: EndpointDeps,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let registry = Registry::default();
    let places = Places::new(&endpoint.limits);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (tcp, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn the processor.
                tracing::error!(%error, "the MQTT listener cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        connections.spawn(connection::serve(
            tcp,
            acceptor.clone(),
            endpoint.clone(),
            registry.clone(),
            place,
            stop.clone(),
        ));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener, places: &Places) -> std::io::Result<(TcpStream, Place)> {
    let place = places.take().await;
    let (tcp, _) = listener.accept().await?;
    Ok((tcp, place))
}

struct Places {
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

/// What one connection takes up.
struct Place {
    _connection: OwnedSemaphorePermit,
    /// Given back as soon as the device is let in or turned away.
    handshake: OwnedSemaphorePermit,
}

impl Places {
    fn new(limits: &Limits) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
        }
    }

    async fn take(&self) -> Place {
        Place {
            _connection: one_of(&self.connections).await,
            handshake: one_of(&self.handshakes).await,
        }
    }
}

async fn one_of(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .expect("these semaphores are never closed")
}
