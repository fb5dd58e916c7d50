//! The only place where TLS client settings are made.
//!
//! Two kinds of connection: a device's, with its own certificate, to a receiver verified against the CA of its
//! enrollment; and the enrollment itself, which has no CA yet and verifies the receiver against the fingerprint
//! in the claim code. The verifier's clock is the floored one of `floor.rs` in both.

use crate::error::{ErrorKind, Kind};
use crate::identity::Enrollment;
use crate::uplink::floor::{FlooredTime, unix_time};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError,
    RootCertStore, SignatureScheme,
};
use std::error::Error as StdError;
use std::sync::Arc;
use wire::UtcMicros;
use wire::claim::Fingerprint;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the {what} from enrollment cannot be read ({detail}): enroll again")]
    Unreadable { what: &'static str, detail: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl Kind for TlsError {
    fn kind(&self) -> ErrorKind {
        match self {
            TlsError::Unreadable { .. } => ErrorKind::Config,
            TlsError::Setup(_) => ErrorKind::Bug,
        }
    }
}

/// Mutual TLS with what enrollment gave. `alpn`: protocols offered, none for MQTT.
pub fn device_config(
    enrollment: &Enrollment,
    time: FlooredTime,
    alpn: &[&[u8]],
) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificate", &enrollment.ca_pem)? {
        roots.add(certificate)?;
    }
    let chain = certificates("device certificate", &enrollment.certificate_pem)?;
    let key = PrivateKeyDer::from_pem_slice(enrollment.tls_key_pem.as_bytes())
        .map_err(|error| unreadable("device key", error))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| unreadable("CA certificate", error))?;
    let verifier = FlooredVerifier {
        inner: verifier,
        time: time.clone(),
    };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(time))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Whether a CA in `ca_pem` signed this device certificate, for a client, and it is good at `now`.
pub fn is_issued_by(ca_pem: &str, certificate_pem: &str, now: UtcMicros) -> Result<bool, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificate", ca_pem)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| unreadable("CA certificate", error))?;
    let chain = certificates("device certificate", certificate_pem)?;
    let verdict = verifier.verify_client_cert(&chain[0], &chain[1..], unix_time(now));
    Ok(verdict.is_ok())
}

/// No client certificate; the receiver must present the certificate that the claim code names, as its own or as
/// the CA that signed its own.
pub fn enrollment_config(
    fingerprint: Fingerprint,
    time: FlooredTime,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = FingerprintVerifier {
        fingerprint,
        provider: provider.clone(),
        time: time.clone(),
    };
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(time))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let offered = HTTP_ALPN.iter().chain([&wire::enroll::ALPN]);
    config.alpn_protocols = offered.map(|name| name.to_vec()).collect();
    Ok(config)
}

/// What HTTPS connections offer.
pub const HTTP_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(what, error))?;
    if found.is_empty() {
        return Err(unreadable(what, "there is none in it"));
    }
    Ok(found)
}

fn unreadable(what: &'static str, detail: impl ToString) -> TlsError {
    TlsError::Unreadable {
        what,
        detail: detail.to_string(),
    }
}

/// The ordinary verifier, but for a clock that may have jumped ahead: what has expired by it alone has not.
#[derive(Debug)]
struct FlooredVerifier {
    inner: Arc<WebPkiServerVerifier>,
    time: FlooredTime,
}

impl ServerCertVerifier for FlooredVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        twice_if_expired(&self.time, now, |now| {
            self.inner.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            )
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn twice_if_expired<T>(
    time: &FlooredTime,
    now: UnixTime,
    verify: impl Fn(UnixTime) -> Result<T, rustls::Error>,
) -> Result<T, rustls::Error> {
    use CertificateError::{Expired, ExpiredContext};
    match verify(now) {
        Err(rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. })) => {
            verify(time.in_doubt().map_or(now, unix_time))
        }
        verdict => verdict,
    }
}

/// The receiver is not the one that the claim code names.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "this is not the receiver that the claim code was made for: no certificate it shows has the code's fingerprint {0}"
)]
pub struct WrongReceiver(pub Fingerprint);

/// Trusts the one certificate that the claim code names: as the receiver's own, or as the issuer of it.
#[derive(Debug)]
struct FingerprintVerifier {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
    time: FlooredTime,
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_named =
            |der: &CertificateDer<'_>| Fingerprint::of_certificate(der) == self.fingerprint;
        if is_named(end_entity) {
            // The very certificate was named: neither a name nor an issuer could add to that.
            return Ok(ServerCertVerified::assertion());
        }
        let anchor = intermediates.iter().find(|der| is_named(der));
        let Some(anchor) = anchor else {
            let wrong = WrongReceiver(self.fingerprint);
            let other = OtherError(Arc::new(wrong));
            return Err(CertificateError::Other(other).into());
        };
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone())?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms;
        twice_if_expired(&self.time, now, |now| {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &roots,
                intermediates,
                now,
                algorithms.all,
            )
        })?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What TLS has to say about a failed connection, wherever in the chain of causes it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsVerdict {
    /// The receiver refuses this device's certificate.
    DeviceRefused,
    /// The receiver says that this device's certificate has expired.
    DeviceExpired,
    /// The receiver's certificate was not accepted, and why.
    ReceiverRefused(String),
    /// The receiver is not the one that the claim code names.
    WrongReceiver,
}

/// Looks for rustls' own error in the causes of `error`.
pub fn verdict(error: &(dyn StdError + 'static)) -> Option<TlsVerdict> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
        // What an I/O error wraps is not its `source` but its `get_ref`.
        if let Some(inner) = current
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            && let Some(found) = verdict(inner)
        {
            return Some(found);
        }
        next = current.source();
    }
    None
}

/// Safe to advise whoever it is that answers: the new code tells the receiver from an impostor.
const CA_CHANGED: &str = "If the receiver's CA was changed while this box was away, the box goes on recording and needs a \
                          new claim code: edge-agent enroll --again";

fn of_tls(error: &rustls::Error) -> Option<TlsVerdict> {
    use AlertDescription as Alert;
    match error {
        rustls::Error::AlertReceived(Alert::CertificateExpired) => Some(TlsVerdict::DeviceExpired),
        rustls::Error::AlertReceived(
            Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::BadCertificate
            // A CA of the same name that did not sign it.
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => Some(TlsVerdict::DeviceRefused),
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.is::<WrongReceiver>() =>
        {
            Some(TlsVerdict::WrongReceiver)
        }
        // A receiver's CAs are of one name: then it is the signature that does not fit.
        rustls::Error::InvalidCertificate(
            why @ (CertificateError::UnknownIssuer | CertificateError::BadSignature),
        ) => Some(TlsVerdict::ReceiverRefused(format!("{why}. {CA_CHANGED}"))),
        rustls::Error::InvalidCertificate(why) => {
            Some(TlsVerdict::ReceiverRefused(why.to_string()))
        }
        _ => None,
    }
}
