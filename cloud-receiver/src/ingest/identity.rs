//! Who is on the other end: the device id out of a client certificate.
//!
//! TLS has verified the certificate before anybody asks here. Identity comes from its subject alternative name
//! and from nowhere else: not from the subject, a client id or a payload.

use rustls::pki_types::CertificateDer;
use wire::DeviceId;
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

/// The device that the first certificate of a verified chain names.
pub fn device_of(chain: &[CertificateDer<'_>]) -> Result<DeviceId, IdentityError> {
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
    let mut devices = names.value.general_names.iter().filter_map(device_named);
    match (devices.next(), devices.next()) {
        (Some(device), None) => Ok(device),
        (Some(_), Some(_)) => Err(IdentityError::Ambiguous),
        (None, _) => Err(IdentityError::NoDevice),
    }
}

fn device_named(name: &GeneralName<'_>) -> Option<DeviceId> {
    match name {
        GeneralName::URI(uri) => wire::enroll::device_from_uri(uri),
        _ => None,
    }
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
            assert_eq!(device_of(&[certificate(uris)]), expected, "{uris:?}");
        }
    }

    #[test]
    fn no_certificate_and_no_sense_are_told_apart() {
        assert_eq!(device_of(&[]), Err(IdentityError::NoCertificate));
        let nonsense = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(device_of(&[nonsense]), Err(IdentityError::Unreadable));
    }
}
