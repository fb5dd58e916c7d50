//! The device's side of its TLS certificate: the key and the request for one, and what one says.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use std::time::Duration;
use wire::enroll::device_from_uri;
use wire::{DeviceId, UtcMicros};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A new TLS key: ECDSA P-256, which every TLS library and every TPM knows.
pub(crate) fn new_tls_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

/// PKCS#10, PEM. The receiver sets the names in the certificate; this one is for people who look at requests.
pub(crate) fn signing_request(key: &KeyPair, device: DeviceId) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, device.to_string());
    params.serialize_request(key)?.pem()
}

const UNREADABLE: &str = "its certificate cannot be read";

/// Whether a certificate is for this key and this device; else what is wrong with it.
pub(crate) fn fits(
    certificate_pem: &str,
    key: &KeyPair,
    device: DeviceId,
) -> Result<(), &'static str> {
    let pem = pem(certificate_pem).ok_or(UNREADABLE)?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| UNREADABLE)?;
    if certificate.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
        return Err("its certificate is for another key");
    }
    let names = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let is_ours = names
        .iter()
        .any(|name| matches!(name, GeneralName::URI(uri) if device_from_uri(uri) == Some(device)));
    if is_ours {
        Ok(())
    } else {
        Err("its certificate names another device")
    }
}

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from_us: UtcMicros,
    pub until_us: UtcMicros,
}

impl Validity {
    /// `None` where there is no certificate in it.
    pub fn of(certificate_pem: &str) -> Option<Self> {
        let pem = pem(certificate_pem)?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
        let validity = certificate.validity();
        let time =
            |at: x509_parser::time::ASN1Time| UtcMicros(at.timestamp().saturating_mul(1_000_000));
        Some(Self {
            from_us: time(validity.not_before),
            until_us: time(validity.not_after),
        })
    }

    pub fn life(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.until_us.since_us(self.from_us)).unwrap_or(0))
    }

    /// How much is left; nothing once it is over.
    pub fn left(&self, now: UtcMicros) -> Duration {
        Duration::from_micros(u64::try_from(self.until_us.since_us(now)).unwrap_or(0))
    }

    /// A third is left. Devices that were enrolled on one day renew spread over a thirtieth of the life: `share`,
    /// from 0 to 1, is this device's place in it.
    pub fn is_due(&self, now: UtcMicros, share: f64) -> bool {
        let third = self.life() / 3;
        self.left(now) <= third.saturating_sub((self.life() / 30).mul_f64(share.clamp(0.0, 1.0)))
    }
}

fn pem(text: &str) -> Option<Pem> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).ok()?;
    Some(pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_request_is_one_that_a_receiver_can_read() {
        let key = new_tls_key().expect("generated");
        let pem = signing_request(&key, DeviceId(Uuid::from_u128(7))).expect("made");
        let read = rcgen::CertificateSigningRequestParams::from_pem(&pem).expect("readable");
        assert_eq!(read.public_key.der_bytes(), key.der_bytes());
    }

    #[test]
    fn renewal_is_due_at_a_third_or_a_little_later() {
        const DAY_US: i64 = 24 * 3600 * 1_000_000;
        let validity = Validity {
            from_us: UtcMicros(0),
            until_us: UtcMicros(90 * DAY_US),
        };
        let after = |days: i64| UtcMicros(days * DAY_US);
        assert!(!validity.is_due(after(59), 0.0));
        assert!(validity.is_due(after(60), 0.0));
        assert!(!validity.is_due(after(62), 1.0));
        assert!(validity.is_due(after(63), 1.0));
        assert!(validity.is_due(after(500), 1.0));
        assert_eq!(validity.left(after(91)), Duration::ZERO);
        assert!(!validity.is_due(after(-400), 0.0));
    }

    #[test]
    fn nonsense_has_no_validity() {
        assert_eq!(Validity::of("x"), None);
        let key = new_tls_key().expect("generated");
        let made = CertificateParams::default()
            .self_signed(&key)
            .expect("signed");
        let validity = Validity::of(&made.pem()).expect("a certificate");
        assert!(validity.from_us < validity.until_us);
    }
}
