//! The receiver's own certificate authority: it signs the listeners' certificates and those of devices.
//!
//! The only file that imports rcgen. Keys are ECDSA P-256: the curve that every TLS library and every TPM knows.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use wire::claim::Fingerprint;
use wire::{DeviceId, EnrollmentId, UtcMicros};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Life of a listener's certificate; a device's is configured.
const LISTENER_DAYS: u32 = 90;
const CA_DAYS: u32 = 20 * 365;
/// How far listeners' certificates reach back, for devices whose clocks are behind.
const BACK: Duration = DAY;
/// Devices' certificates are judged by receivers only, whose clocks agree.
const DEVICE_BACK: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("the receiver's CA: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the receiver's CA certificate is no PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
}

#[derive(Debug)]
pub struct Ca {
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A listener's certificate with its key.
#[derive(Debug)]
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub certificate_pem: String,
    pub key_pem: String,
}

/// A certificate's serial number: 127 random bits, never the same twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Serial(pub u128);

impl Serial {
    fn draw() -> Self {
        // RFC 5280 wants it positive and at most 20 bytes; the second highest bit keeps all 16 of ours.
        Self((u128::from_be_bytes(crate::seal::random()) >> 1) | 1 << 126)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What matters of a device's certificate beside whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// It counts for this enrollment of its device only.
    pub enrollment: EnrollmentId,
    pub serial: Serial,
    pub not_before_us: UtcMicros,
    pub not_after_us: UtcMicros,
}

impl Default for Certificate {
    /// One that was never issued: it has expired for ever.
    fn default() -> Self {
        Self {
            enrollment: EnrollmentId(uuid::Uuid::nil()),
            serial: Serial::default(),
            not_before_us: UtcMicros(0),
            not_after_us: UtcMicros(0),
        }
    }
}

impl Certificate {
    pub fn is_expired(&self, at: UtcMicros) -> bool {
        at > self.not_after_us
    }

    /// A quarter of its life is left, and it should have been renewed at a third.
    pub fn is_overdue(&self, at: UtcMicros) -> bool {
        let life_us = self.not_after_us.since_us(self.not_before_us);
        self.not_after_us.since_us(at) < life_us / 4
    }
}

impl Ca {
    /// Makes a new authority; returns its key in PEM for the one place that stores it.
    pub fn create() -> Result<(Self, String), CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named("receiver CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, crate::clock::now(), CA_DAYS);
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        Ok((Self::load(&certificate.pem(), &key_pem)?, key_pem))
    }

    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            certificate_der: CertificateDer::from_pem_slice(certificate_pem.as_bytes())?,
            issuer: Issuer::from_ca_cert_pem(certificate_pem, key)?,
        })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate_der
    }

    /// What claim codes carry.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&self.certificate_der)
    }

    /// A certificate for the listeners under these names.
    pub fn issue_server(&self, hosts: &[String], at: UtcMicros) -> Result<Leaf, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf_params("receiver", ExtendedKeyUsagePurpose::ServerAuth);
        set_validity(&mut params, at, LISTENER_DAYS);
        params.subject_alt_names = hosts
            .iter()
            .map(|host| name_of_host(host))
            .collect::<Result<_, _>>()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key_pem = key.serialize_pem();
        Ok(Leaf {
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::from_pem_slice(key_pem.as_bytes())?,
            certificate_pem: certificate.pem(),
            key_pem,
        })
    }

    /// A device's certificate, PEM. Of its request only the public key counts: the names are ours to give.
    pub fn issue_device(
        &self,
        csr_pem: &str,
        device: DeviceId,
        enrollment: EnrollmentId,
        life: Duration,
        at: UtcMicros,
    ) -> Result<(String, Certificate), CaError> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem)?;
        let mut params = leaf_params(&device.to_string(), ExtendedKeyUsagePurpose::ClientAuth);
        let names = [
            wire::enroll::device_uri(device),
            wire::enroll::enrollment_uri(enrollment),
        ];
        for name in names {
            let name = SanType::URI(Ia5String::try_from(name)?);
            params.subject_alt_names.push(name);
        }
        let serial = Serial::draw();
        params.serial_number = Some(serial.0.to_be_bytes().to_vec().into());
        // Certificates count in seconds.
        let at = UtcMicros(at.0 - at.0.rem_euclid(1_000_000));
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_1970(at) - DEVICE_BACK;
        params.not_after = epoch + since_1970(at) + life;
        request.params = params;
        let certificate = Certificate {
            enrollment,
            serial,
            not_before_us: at.plus_us(-micros(DEVICE_BACK)),
            not_after_us: at.plus_us(micros(life)),
        };
        Ok((request.signed_by(&self.issuer)?.pem(), certificate))
    }
}

/// Whether two thirds of a certificate's life are over. One that cannot be read is due as well.
pub fn is_renewal_due(certificate: &CertificateDer<'_>, at: UtcMicros) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return true;
    };
    let validity = parsed.validity();
    let (from, to) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let left = to - at.0 / 1_000_000;
    left < (to - from) / 3
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn leaf_params(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn set_validity(params: &mut CertificateParams, at: UtcMicros, days: u32) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(at) - BACK;
    params.not_after = epoch + since_1970(at) + DAY * days;
}

fn since_1970(at: UtcMicros) -> Duration {
    Duration::from_micros(at.0.max(0).unsigned_abs())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn name_of_host(host: &str) -> Result<SanType, CaError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let name = Ia5String::try_from(host).map_err(|_| CaError::Host(host.to_owned()))?;
    let sane =
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == ':');
    sane.then_some(SanType::DnsName(name))
        .ok_or_else(|| CaError::Host(host.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_device_certificate_carries_our_names_and_the_devices_key() {
        let (ca, _) = Ca::create().unwrap();
        let key = KeyPair::generate().unwrap();
        // The request asks for a foreign name and for the right to sign others.
        let mut asked = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let csr = asked.serialize_request(&key).unwrap().pem().unwrap();
        let device = DeviceId(uuid::Uuid::from_u128(5));
        let enrollment = EnrollmentId(uuid::Uuid::from_u128(6));
        let (pem, issued) = ca
            .issue_device(&csr, device, enrollment, DAY * 90, crate::clock::now())
            .unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let presented = crate::ingest::identity::presented(std::slice::from_ref(&der)).unwrap();
        assert_eq!(presented.device, device);
        assert_eq!(presented.certificate, issued);
        assert_eq!(issued.enrollment, enrollment);
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!parsed.is_ca());
        assert!(!pem.contains("evil"));
        let (_, ca_parsed) = x509_parser::parse_x509_certificate(ca.certificate_der()).unwrap();
        assert!(
            parsed
                .verify_signature(Some(ca_parsed.public_key()))
                .is_ok()
        );
    }

    #[test]
    fn renewal_is_due_when_less_than_a_third_is_left() {
        let (ca, _) = Ca::create().unwrap();
        let now = crate::clock::now();
        let leaf = ca
            .issue_server(&["localhost".into(), "127.0.0.1".into()], now)
            .unwrap();
        let after_days = |days: i64| now.plus_us(days * 24 * 3600 * 1_000_000);
        assert!(!is_renewal_due(&leaf.certificate, now));
        assert!(!is_renewal_due(&leaf.certificate, after_days(58)));
        assert!(is_renewal_due(&leaf.certificate, after_days(61)));
        assert!(ca.issue_server(&["a b".into()], now).is_err());
    }
}
