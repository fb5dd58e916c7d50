//! After a change of the CA: asks every device that still holds a certificate of the CA before to renew it, so that the
//! change takes as long as the last of them is away, and not as long as a certificate lasts.

use crate::ca::Ca;
use crate::clock::now;
use crate::order;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, DeviceListing, DeviceWrites, OperatorDesk};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::command::{Command, Request};
use wire::{DeviceId, UtcMicros};

/// How long an order stands: whoever is connected within it hears it, and then the next one is made.
const EVERY_SECONDS: i64 = 24 * 3600;

/// Ends by itself where no CA came before.
pub async fn run(store: SqliteStore, ca: Arc<Ca>, stop: CancellationToken) {
    if ca.before().is_none() {
        return;
    }
    loop {
        match order_all(&store, &ca).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(
                "{count} devices hold a certificate of the CA before and are asked to renew it"
            ),
            Err(error) => {
                tracing::error!(%error, "devices could not be asked to renew their certificates: {error}");
            }
        }
        let wait = tokio::time::sleep(Duration::from_secs(EVERY_SECONDS.unsigned_abs()));
        if stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}

/// How many were asked.
async fn order_all(store: &SqliteStore, ca: &Ca) -> crate::store::Result<u64> {
    let mut count = 0;
    for device in store.devices().await? {
        if is_behind(&device, ca, now()) {
            // One contract whose key is damaged must not keep the devices of others behind.
            match order_one(store, device.device).await {
                Ok(()) => count += 1,
                Err(error) => tracing::error!(
                    device.id = %device.device, %error,
                    "device {} cannot be asked to renew its certificate: {error}", device.device
                ),
            }
        }
    }
    Ok(count)
}

/// An order that still stands is not repeated: however often the receiver starts, the device renews once.
async fn order_one(store: &SqliteStore, device: DeviceId) -> crate::store::Result<()> {
    let standing = store.pending_commands(device, now()).await?;
    let is_asked = |command: &Command| command.request == Request::RenewCertificate;
    if !standing.iter().any(is_asked) {
        let command = order::renew_certificate(device, now(), EVERY_SECONDS);
        store.add_command(&command).await?;
    }
    Ok(())
}

/// Whether a device in service has shown no certificate of this CA yet, and has one that would still do.
pub fn is_behind(device: &DeviceListing, ca: &Ca, at: UtcMicros) -> bool {
    device.revoked_us.is_none()
        && !device.certificate.serial.is_of(ca.fingerprint())
        && !device.certificate.is_expired(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use wire::{DeviceId, EnrollmentId};

    #[test]
    fn behind_are_devices_in_service_with_a_good_certificate_of_another_ca() {
        let now = now();
        let (old, _) = Ca::create().unwrap();
        let (new, _) = old.succeed(now).unwrap();
        let device = DeviceId(uuid::Uuid::from_u128(1));
        let csr = {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::default();
            params.serialize_request(&key).unwrap().pem().unwrap()
        };
        let of = |ca: &Ca| {
            let enrollment = EnrollmentId(uuid::Uuid::from_u128(2));
            let life = Duration::from_secs(60);
            let (_, certificate) = ca
                .issue_device(&csr, device, enrollment, life, now)
                .unwrap();
            DeviceListing {
                device,
                contract: "Acme".into(),
                site: "Tokyo".into(),
                agent_version: "0.1.0".into(),
                enrolled_us: now,
                heard_us: None,
                revoked_us: None,
                cameras: Vec::new(),
                rejected: 0,
                broken_links: 0,
                certificate,
            }
        };
        assert!(is_behind(&of(&old), &new, now));
        assert!(!is_behind(&of(&new), &new, now));
        assert!(!is_behind(&of(&old), &new, now.plus_us(61_000_000)));
        let revoked = DeviceListing {
            revoked_us: Some(now),
            ..of(&old)
        };
        assert!(!is_behind(&revoked, &new, now));
    }
}
