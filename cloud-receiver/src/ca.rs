//! The receiver's own certificate authority: it signs the listeners' certificates and those of devices.
//!
//! It can be succeeded by a new one. From then on the new one signs everything, and the key of the one before is no
//! longer needed: a **bridge**, the new CA's key signed once by the old one, lets whoever knows only the old CA verify
//! the listeners (RFC 4210, section 4.4, calls it NewWithOld). Devices' certificates of the old CA stay good until it is
//! retired.
//!
//! Only this file and `acme/keys.rs` import rcgen. Keys are ECDSA P-256: the curve that every TLS library and every TPM knows.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use wire::claim::Fingerprint;
use wire::{DeviceId, EnrollmentId, UtcMicros};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

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
    #[error("the receiver's CA certificate or key is no PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error(
        "the receiver's CA certificate is not one certificate, or three after \"ca rotate\", that belong together; \
         restore it from your copy"
    )]
    Bundle,
    #[error(
        "the receiver's CA key does not belong to its certificate; restore both from the same copy"
    )]
    Key,
    #[error(
        "{0:?} is neither a host name nor an IP address; write it without brackets and without a port"
    )]
    Host(String),
}

#[derive(Debug)]
pub struct Ca {
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    before: Option<Before>,
}

/// The authority before this one, while it is still trusted.
#[derive(Debug)]
pub struct Before {
    certificate: CertificateDer<'static>,
    /// The present authority's key, signed by the one before.
    bridge: CertificateDer<'static>,
    /// Of both, in this order: bridge, certificate.
    pem: String,
}

impl Before {
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&self.certificate)
    }

    /// When it was succeeded.
    pub fn since(&self) -> Result<UtcMicros, CaError> {
        Ok(validity(&self.bridge)?.0.plus_us(micros(BACK)))
    }

    pub fn not_after(&self) -> Result<UtcMicros, CaError> {
        Ok(validity(&self.certificate)?.1)
    }
}

/// A listener's certificate with its key.
#[derive(Debug)]
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub certificate_pem: String,
    pub key_pem: String,
}

/// A certificate's serial number, never the same twice: 95 random bits (RFC 5280, section 4.1.2.2, wants it to be
/// unique), then the beginning of the CA's fingerprint. So wherever a serial is kept it says of which CA it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Serial(pub u128);

impl Serial {
    fn draw(ca: Fingerprint) -> Self {
        // RFC 5280 wants it positive and at most 20 bytes; the second highest bit keeps all 16 of ours.
        let random = (u128::from_be_bytes(crate::seal::random()) >> 1) | 1 << 126;
        Self(random & !u128::from(u32::MAX) | u128::from(mark(ca)))
    }

    /// Whether the certificate of this serial is of this CA. A receiver's CAs never have the same mark.
    pub fn is_of(self, ca: Fingerprint) -> bool {
        self.0 & u128::from(u32::MAX) == u128::from(mark(ca))
    }
}

fn mark(ca: Fingerprint) -> u32 {
    let [a, b, c, d, ..] = ca.0;
    u32::from_be_bytes([a, b, c, d])
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
        let mut params = ca_params();
        set_validity(&mut params, crate::clock::now(), CA_DAYS);
        let certificate = params.self_signed(&key)?;
        let key_pem = key.serialize_pem();
        Ok((Self::load(&certificate.pem(), &key_pem)?, key_pem))
    }

    /// Makes the authority that comes after this one; like [`Ca::create`].
    pub fn succeed(&self, at: UtcMicros) -> Result<(Self, String), CaError> {
        let (next, key_pem) = loop {
            let (next, key_pem) = Self::create()?;
            if mark(next.fingerprint()) != mark(self.fingerprint()) {
                break (next, key_pem);
            }
        };
        let mut params = ca_params();
        params.use_authority_key_identifier_extension = true;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let (_, end) = validity(&self.certificate_der)?;
        params.not_before = epoch + since_1970(at) - BACK;
        params.not_after = epoch + since_1970(end);
        // Issuer and subject have one name: by the serial it is told from the certificate that signs itself.
        let serial = Serial::draw(self.fingerprint());
        params.serial_number = Some(serial.0.to_be_bytes().to_vec().into());
        let bridge = params.signed_by(next.issuer.key(), &self.issuer)?;
        let all = [
            next.certificate_pem.as_str(),
            &bridge.pem(),
            &self.certificate_pem,
        ];
        Ok((Self::load(&all.concat(), &key_pem)?, key_pem))
    }

    /// `certificates_pem`: its own, and while the CA before is trusted the bridge and the certificate of that one.
    /// Of several keys the one counts that belongs to it.
    pub fn load(certificates_pem: &str, keys_pem: &str) -> Result<Self, CaError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates_pem.as_bytes())
            .collect::<Result<_, _>>()?;
        let texts: Vec<&str> = certificates_pem.split_inclusive(END).collect();
        let (own, before) = match certificates.as_slice() {
            [own] => (own, None),
            [own, bridge, certificate] => {
                let before = Before {
                    certificate: certificate.clone(),
                    bridge: bridge.clone(),
                    pem: lines(&texts[1..3]),
                };
                (own, Some(before))
            }
            _ => return Err(CaError::Bundle),
        };
        if let Some(before) = &before
            && (public_key(&before.bridge)? != public_key(own)?
                || !is_signed_by(&before.bridge, &before.certificate))
        {
            return Err(CaError::Bundle);
        }
        Ok(Self {
            certificate_pem: lines(&texts[..1]),
            certificate_der: own.clone(),
            issuer: Issuer::from_ca_cert_der(own, key_of(own, keys_pem)?)?,
            before,
        })
    }

    /// What devices trust, PEM: this authority and no other. Whoever is told has a certificate of it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// All that [`Ca::load`] wants beside the key.
    pub fn certificates_pem(&self) -> String {
        let before = self.before.as_ref().map_or("", |before| &before.pem);
        format!("{}{before}", self.certificate_pem)
    }

    /// For the one place that stores it.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate_der
    }

    pub fn before(&self) -> Option<&Before> {
        self.before.as_ref()
    }

    pub fn not_after(&self) -> Result<UtcMicros, CaError> {
        Ok(validity(&self.certificate_der)?.1)
    }

    /// The authorities whose certificates devices may show.
    pub fn trusted(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        let before = self.before.as_ref().map(|before| &before.certificate);
        std::iter::once(&self.certificate_der).chain(before)
    }

    /// What listeners show after their own certificate: for devices that know only the CA before, and for claim codes,
    /// which name one of the two.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let before = self.before.iter();
        let mut chain: Vec<_> = before
            .flat_map(|before| [before.bridge.clone(), before.certificate.clone()])
            .collect();
        chain.push(self.certificate_der.clone());
        chain
    }

    pub fn has_issued(&self, certificate: &CertificateDer<'_>) -> bool {
        is_signed_by(certificate, &self.certificate_der)
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
        let serial = Serial::draw(self.fingerprint());
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
    let Ok((from, to)) = validity(certificate) else {
        return true;
    };
    to.since_us(at) < to.since_us(from) / 3
}

const END: &str = "-----END CERTIFICATE-----";

/// PEM texts as they are kept: nothing around them, one after the other.
fn lines(texts: &[&str]) -> String {
    texts
        .iter()
        .map(|text| format!("{}\n", text.trim()))
        .collect()
}

fn key_of(certificate: &CertificateDer<'_>, keys_pem: &str) -> Result<KeyPair, CaError> {
    let wanted = public_key(certificate)?;
    for key in PrivateKeyDer::pem_slice_iter(keys_pem.as_bytes()) {
        let key = KeyPair::try_from(&key?)?;
        if key.der_bytes() == wanted {
            return Ok(key);
        }
    }
    Err(CaError::Key)
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CaError> {
    let (_, parsed) =
        X509Certificate::from_der(certificate.as_ref()).map_err(|_| CaError::Bundle)?;
    Ok(parsed)
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, CaError> {
    let parsed = parsed(certificate)?;
    Ok(parsed.public_key().subject_public_key.data.to_vec())
}

/// From when until when.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(UtcMicros, UtcMicros), CaError> {
    let parsed = parsed(certificate)?;
    let validity = parsed.validity();
    let time = |at: ASN1Time| UtcMicros(at.timestamp().saturating_mul(1_000_000));
    Ok((time(validity.not_before), time(validity.not_after)))
}

fn is_signed_by(certificate: &CertificateDer<'_>, ca: &CertificateDer<'_>) -> bool {
    let (Ok(certificate), Ok(ca)) = (parsed(certificate), parsed(ca)) else {
        return false;
    };
    certificate.verify_signature(Some(ca.public_key())).is_ok()
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("receiver CA");
    // The bridge does not count against it: issuer and subject have one name (RFC 5280, section 4.2.1.9).
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
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
    fn a_ca_that_succeeds_another_signs_alone_and_names_the_one_before() {
        let (old, _) = Ca::create().unwrap();
        let now = crate::clock::now();
        let (new, key) = old.succeed(now).unwrap();
        let before = new.before().unwrap();
        assert_eq!(before.fingerprint(), old.fingerprint());
        assert_eq!(before.since().unwrap().0, now.0 / 1_000_000 * 1_000_000);
        assert_eq!(before.not_after().unwrap(), old.not_after().unwrap());
        assert_eq!(new.chain().len(), 3);
        assert_eq!(new.trusted().count(), 2);
        assert!(!new.certificate_pem().contains(&before.pem));

        let key_pair = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key_pair);
        let csr = csr.unwrap().pem().unwrap();
        let device = DeviceId(uuid::Uuid::from_u128(5));
        let enrollment = EnrollmentId(uuid::Uuid::from_u128(6));
        let (pem, issued) = new
            .issue_device(&csr, device, enrollment, DAY, now)
            .unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert!(new.has_issued(&der) && !old.has_issued(&der));
        assert!(issued.serial.is_of(new.fingerprint()));
        assert!(!issued.serial.is_of(old.fingerprint()));

        let retired = Ca::load(new.certificate_pem(), &key).unwrap();
        assert!(retired.before().is_none());
        assert_eq!(retired.chain(), [new.certificate_der().clone()]);
        let (third, _) = retired.succeed(now).unwrap();
        let third_before = third.before().unwrap();
        assert_eq!(third_before.fingerprint(), new.fingerprint());
    }

    #[test]
    fn of_several_keys_the_one_counts_that_belongs_and_what_does_not_belong_together_is_refused() {
        let (old, old_key) = Ca::create().unwrap();
        let (new, new_key) = old.succeed(crate::clock::now()).unwrap();
        let both = format!("{new_key}{old_key}");
        let load = |pem: &str| Ca::load(pem, &both).map(|ca| ca.fingerprint());
        assert_eq!(load(old.certificate_pem()).unwrap(), old.fingerprint());
        let all = new.certificates_pem();
        assert_eq!(load(&all).unwrap(), new.fingerprint());
        assert_eq!(
            Ca::load(&all, &both).unwrap().certificates_pem(),
            all,
            "what is loaded is what was written"
        );
        let wrong_key = Ca::load(&all, &old_key);
        assert!(matches!(wrong_key, Err(CaError::Key)));

        let (foreign, _) = Ca::create().unwrap();
        let [own, bridge, before] = all
            .split_inclusive(END)
            .take(3)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        for pem in [
            String::new(),
            [own, before].concat(),
            [own, before, bridge].concat(),
            [own, bridge, foreign.certificate_pem()].concat(),
            [foreign.certificate_pem(), bridge, before].concat(),
        ] {
            assert!(matches!(load(&pem), Err(CaError::Bundle)), "{pem}");
        }
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
