//! Renewing devices' certificates: over mutual TLS, under the same enrollment, for the key that the device made anew.
//!
//! Nothing is written here. A certificate counts once its device has shown it, and the one before stays good until
//! it expires: whatever is interrupted on the way leaves the device with one that works.

use crate::ca::Ca;
use crate::ingest::identity::Presented;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::renew::{RenewRequest, RenewResponse};
use wire::{DeviceId, UtcMicros};

/// Certificates that one device may draw within [`WINDOW`]: many attempts that fail half-way, and no flood.
const MOST: u32 = 30;
const WINDOW: Duration = Duration::from_secs(3600);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RenewError {
    #[error("the request is not well formed: {0}")]
    BadRequest(&'static str),
    #[error("this device renews its certificate too often; it has to wait an hour")]
    TooOften,
}

impl RenewError {
    pub fn code(&self) -> &'static str {
        match self {
            RenewError::BadRequest(_) => "bad_request",
            RenewError::TooOften => "throttled",
        }
    }
}

/// Shared by all connections.
pub struct Renewals {
    ca: Arc<Ca>,
    life: Duration,
    drawn: Mutex<HashMap<DeviceId, (Instant, u32)>>,
}

impl std::fmt::Debug for Renewals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewals")
    }
}

impl Renewals {
    /// `life` is that of the certificates.
    pub fn new(ca: Arc<Ca>, life: Duration) -> Self {
        Self {
            ca,
            life,
            drawn: Mutex::default(),
        }
    }

    /// For a device that was admitted with the certificate `presented`.
    pub fn renew(
        &self,
        presented: &Presented,
        request: &RenewRequest,
        at: UtcMicros,
    ) -> Result<RenewResponse, RenewError> {
        if !self.may_draw(presented.device, Instant::now()) {
            return Err(RenewError::TooOften);
        }
        let enrollment = presented.certificate.enrollment;
        let issued = self.ca.issue_device(
            &request.csr_pem,
            presented.device,
            enrollment,
            self.life,
            at,
        );
        let (certificate_pem, certificate) = issued
            .map_err(|_| RenewError::BadRequest("the certificate request cannot be signed"))?;
        tracing::info!(
            device.id = %presented.device, certificate.serial = %certificate.serial,
            "device {} draws a new certificate", presented.device
        );
        Ok(RenewResponse {
            certificate_pem,
            ca_pem: self.ca.certificate_pem().to_owned(),
            receiver_time_us: at,
        })
    }

    fn may_draw(&self, device: DeviceId, at: Instant) -> bool {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is in here has a certificate of ours: there are no more than devices.
        drawn.retain(|_, (since, _)| at.duration_since(*since) < WINDOW);
        let (_, count) = drawn.entry(device).or_insert((at, 0));
        *count += 1;
        *count <= MOST
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ca::Certificate;
    use crate::ingest::identity;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use wire::EnrollmentId;

    fn request(csr_pem: String) -> RenewRequest {
        RenewRequest {
            csr_pem,
            agent_version: "0.1.0".into(),
        }
    }

    fn csr() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn a_device_gets_its_own_name_and_enrollment_again_and_no_flood_of_them() {
        let (ca, _) = Ca::create().unwrap();
        let renewals = Renewals::new(Arc::new(ca), Duration::from_secs(120));
        let presented = Presented {
            device: DeviceId(uuid::Uuid::from_u128(1)),
            certificate: Certificate {
                enrollment: EnrollmentId(uuid::Uuid::from_u128(2)),
                ..Certificate::default()
            },
        };
        let now = crate::clock::now();
        let answer = renewals.renew(&presented, &request(csr()), now).unwrap();
        let der = CertificateDer::from_pem_slice(answer.certificate_pem.as_bytes()).unwrap();
        let got = identity::presented(&[der]).unwrap();
        assert_eq!(got.device, presented.device);
        let enrollment = presented.certificate.enrollment;
        assert_eq!(got.certificate.enrollment, enrollment);
        assert!(!got.certificate.is_expired(now.plus_us(119_000_000)));
        assert!(got.certificate.is_expired(now.plus_us(121_000_000)));

        let nonsense = renewals.renew(&presented, &request("x".into()), now);
        assert!(matches!(nonsense, Err(RenewError::BadRequest(_))));
        let csr = csr();
        let again = || renewals.renew(&presented, &request(csr.clone()), now);
        let answers: Vec<_> = (2..MOST + 2).map(|_| again()).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 28);
        assert_eq!(again().unwrap_err(), RenewError::TooOften);
        let other = Presented {
            device: DeviceId(uuid::Uuid::from_u128(3)),
            ..presented
        };
        assert!(renewals.renew(&other, &request(csr), now).is_ok());
    }
}
