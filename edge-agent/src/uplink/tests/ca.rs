//! Certificates for tests, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use wire::DeviceId;
use wire::enroll::device_uri;

/// A receiver's CA.
pub(super) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    pub(super) certificate_pem: String,
    pub(super) key: KeyPair,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("a CA"),
        }
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// `valid`: first and last year.
    pub(super) fn leaf(&self, names: &[&str], valid: (i32, i32)) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        params.not_before = rcgen::date_time_ymd(valid.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(valid.1, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Leaf {
            der: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key,
        }
    }

    /// A device's certificate for the key of a request, under this name.
    pub(super) fn sign(&self, csr_pem: &str, device: DeviceId, valid: (i32, i32)) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).expect("a request");
        let mut params = CertificateParams::default();
        let uri = device_uri(device).try_into().expect("ASCII");
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(valid.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(valid.1, 12, 31);
        request.params = params;
        request.signed_by(&self.issuer).expect("signed").pem()
    }

    /// Mutual TLS when `clients` is there; presents the leaf and the CA.
    pub(super) fn server(&self, leaf: &Leaf, clients: Option<&Ca>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3");
        let builder = match clients {
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.der()).expect("a CA");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .expect("a verifier");
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivatePkcs8KeyDer::from(leaf.key.serialize_der());
        let chain = vec![leaf.der.clone(), self.der()];
        builder
            .with_single_cert(chain, PrivateKeyDer::from(key))
            .expect("key fits certificate")
    }
}
