//! The MQTT 5 endpoint for devices: not a broker, but the one peer that a device's session needs.
//!
//! A device is who its certificate says. It may publish to its own `up/` topics, subscribe to its own `down/`
//! topics, and leave a will on its own `up/offline`; anything else is refused by reason code. A batch is
//! acknowledged and receipted only after its commit. Sessions start clean and leave nothing behind: the device's
//! spool remembers, not we. Receipts and commands go down at QoS 0: a lost receipt is answered by the batch that
//! comes again, a lost command is sent again with the next session.

mod pipeline;
mod protocol;
mod registry;
mod session;

use super::identity::device_of;
use super::intake::Intake;
use super::listener::Accepted;
use crate::clock::now;
use registry::Registry;
use session::Session;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use wire::SigningKey;

#[derive(Clone, Debug)]
pub struct Endpoint {
    intake: Intake,
    command_key: Arc<SigningKey>,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

impl Endpoint {
    pub fn new(intake: Intake, command_key: Arc<SigningKey>, stop: CancellationToken) -> Self {
        Self {
            intake,
            command_key,
            registry: Arc::default(),
            stop,
        }
    }

    /// Sessions that are connected now.
    pub fn connected(&self) -> usize {
        self.registry.len()
    }

    /// Serves one connection until it ends.
    pub async fn serve(self, accepted: Accepted) {
        let (_, tls) = accepted.stream.get_ref();
        let certificate = tls.peer_certificates().and_then(<[_]>::first);
        let Some(device) = certificate.and_then(|certificate| device_of(certificate)) else {
            tracing::warn!(peer = %accepted.peer, "a certificate that names no device was shown");
            return;
        };
        let session = Session::new(self, device, accepted.stream);
        let ended = session.run().await;
        tracing::info!(
            device.id = %device, peer = %accepted.peer, reason = %ended, at_us = now().0,
            "an MQTT connection ended"
        );
    }
}

#[cfg(test)]
mod tests;
