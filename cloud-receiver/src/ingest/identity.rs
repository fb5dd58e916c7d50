//! Who is on the other end: the device id out of a client certificate.
//!
//! TLS has verified the certificate before anybody asks here. Identity comes from its subject alternative name
//! and from nowhere else: not from the subject, a client id or a payload.

use crate::ca::{Certificate, Serial};
use rustls::pki_types::CertificateDer;
use wire::{DeviceId, EnrollmentId, UtcMicros};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    #[error("the client showed no certificate")]
    NoCertificate,
    #[error("the client's certificate cannot be read")]
    Unreadable,
    #[error("the client's certificate names no device; enroll the device again")]
    NoDevice,
    #[error("the client's certificate names more than one device")]
    Ambiguous,
}

/// Whose certificate a connection showed, and which of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    pub device: DeviceId,
    pub certificate: Certificate,
}

/// What the first certificate of a verified chain says.
pub fn presented(chain: &[CertificateDer<'_>]) -> Result<Presented, IdentityError> {
    let leaf = chain.first().ok_or(IdentityError::NoCertificate)?;
    let (rest, certificate) =
        X509Certificate::from_der(leaf).map_err(|_| IdentityError::Unreadable)?;
    if !rest.is_empty() {
        return Err(IdentityError::Unreadable);
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| IdentityError::Unreadable)?
        .ok_or(IdentityError::NoDevice)?;
    let uris = || names.value.general_names.iter().filter_map(uri);
    let mut devices = uris().filter_map(wire::enroll::device_from_uri);
    let device = match (devices.next(), devices.next()) {
        (Some(device), None) => device,
        (Some(_), Some(_)) => return Err(IdentityError::Ambiguous),
        (None, _) => return Err(IdentityError::NoDevice),
    };
    // One without: it belongs to no enrollment that is on file.
    let enrollment = uris().find_map(wire::enroll::enrollment_from_uri);
    let validity = certificate.validity();
    let time =
        |at: x509_parser::time::ASN1Time| UtcMicros(at.timestamp().saturating_mul(1_000_000));
    Ok(Presented {
        device,
        certificate: Certificate {
            enrollment: enrollment.unwrap_or(EnrollmentId(uuid::Uuid::nil())),
            serial: serial(certificate.raw_serial()),
            not_before_us: time(validity.not_before),
            not_after_us: time(validity.not_after),
        },
    })
}

fn uri<'a>(name: &'a GeneralName<'_>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    }
}

/// Ours have 16 bytes; of a longer one the end, which is all that is shown of it.
fn serial(bytes: &[u8]) -> Serial {
    let low = bytes.iter().rev().take(16).rev();
    Serial(low.fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};
    use uuid::Uuid;

    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["not-an-identity".to_owned()]).expect("names");
        for uri in uris {
            let uri = (*uri).try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        let key = KeyPair::generate().expect("key");
        params.self_signed(&key).expect("signed").into()
    }

    #[test]
    fn a_device_is_named_by_exactly_one_uri() {
        let (one, other) = (DeviceId(Uuid::from_u128(1)), DeviceId(Uuid::from_u128(2)));
        let uri = wire::enroll::device_uri(one);
        let second = wire::enroll::device_uri(other);
        let elsewhere = "https://example.org/";
        let cases: [(&[&str], _); 4] = [
            (&[&uri, elsewhere], Ok(one)),
            (&[elsewhere], Err(IdentityError::NoDevice)),
            (&[], Err(IdentityError::NoDevice)),
            (&[&uri, &second], Err(IdentityError::Ambiguous)),
        ];
        for (uris, expected) in cases {
            let device = presented(&[certificate(uris)]).map(|presented| presented.device);
            assert_eq!(device, expected, "{uris:?}");
        }
    }

    #[test]
    fn no_certificate_and_no_sense_are_told_apart() {
        assert_eq!(presented(&[]), Err(IdentityError::NoCertificate));
        let nonsense = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(presented(&[nonsense]), Err(IdentityError::Unreadable));
    }
}
