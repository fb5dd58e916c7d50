//! TLS of the three listeners: version 1.2 or later, rustls on ring; the one place where its settings are made.
//!
//! All listeners present the same certificate - only browsers may be shown another, see `tls/public.rs` -, signed by the
//! receiver's own CA and followed by it, so that an enrolling device can compare the CA with the fingerprint in its claim code; while a CA before it is trusted, by that
//! one too and the bridge between them. It is renewed while serving, when less than a third of its life is left; nothing
//! has to be restarted. Another CA is taken up at the next start.

pub mod public;
pub mod standing;

use crate::ca::{Ca, CaError, Leaf, is_renewal_due};
use crate::keys::{KeysError, create_private_dir, replace};
use public::{CHALLENGE_ALPN, Choice, PublicCertificate};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use wire::UtcMicros;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("TLS: no verifier for device certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// The listeners' certificate, kept below the data folder.
#[derive(Debug)]
pub struct ServerCertificate {
    dir: PathBuf,
    hosts: Vec<String>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ServerCertificate {
    /// Loads the certificate, or issues one where there is none, it is due, or it is for other hosts or of another CA.
    pub fn open(dir: &Path, hosts: &[String], ca: &Ca, at: UtcMicros) -> Result<Self, TlsError> {
        create_private_dir(dir)?;
        let loaded = load(dir, hosts).filter(|(certificate, _)| {
            !is_renewal_due(certificate, at) && ca.has_issued(certificate)
        });
        let key = match loaded {
            // A crash between the two writes leaves a pair that does not fit: then a new one is issued.
            Some((certificate, key)) => {
                certified(certificate, key, ca).or_else(|_| issue(dir, hosts, ca, at))?
            }
            None => issue(dir, hosts, ca, at)?,
        };
        Ok(Self {
            dir: dir.to_owned(),
            hosts: hosts.to_vec(),
            current: RwLock::new(Arc::new(key)),
        })
    }

    /// To be called now and then: renews when due. New connections see the new certificate.
    pub fn renew_if_due(&self, ca: &Ca, at: UtcMicros) -> Result<bool, TlsError> {
        let due = is_renewal_due(&self.now().cert[0], at);
        if due {
            let key = Arc::new(issue(&self.dir, &self.hosts, ca, at)?);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = key;
        }
        Ok(due)
    }

    fn now(&self) -> Arc<CertifiedKey> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

/// For browsers and for enrolling devices.
pub fn portal(
    own: Arc<ServerCertificate>,
    public: Arc<PublicCertificate>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Choice { own, public }));
    config.alpn_protocols = [b"h2".as_slice(), b"http/1.1", CHALLENGE_ALPN]
        .map(<[u8]>::to_vec)
        .to_vec();
    Ok(Arc::new(config))
}

/// Whether the other end is an authority that has seen the answer to its challenge by now: nothing is served to it.
pub fn is_challenge(connection: &rustls::ServerConnection) -> bool {
    connection.alpn_protocol() == Some(CHALLENGE_ALPN)
}

/// For enrolled devices: no handshake without a certificate of ours.
pub fn devices(
    certificate: Arc<ServerCertificate>,
    ca: &Ca,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in ca.trusted() {
        roots.add(authority.clone())?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // A resumed session skips the look at the certificate, which may have expired since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// For a look at what a running receiver of these keys presents, whichever of the CAs it has taken up.
pub fn onlooker(ca: &Ca) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in ca.trusted() {
        roots.add(authority.clone())?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // As an enrolling device it is shown the receiver's own certificate, whatever browsers are shown.
    config.alpn_protocols = [wire::enroll::ALPN, b"h2"].map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key.pem";
const HOSTS: &str = "server.hosts";

fn load(dir: &Path, hosts: &[String]) -> Option<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
    let for_hosts = std::fs::read_to_string(dir.join(HOSTS)).ok()?;
    if for_hosts != hosts.join("\n") {
        return None;
    }
    let certificate = CertificateDer::from_pem_file(dir.join(CERTIFICATE)).ok()?;
    let key = PrivateKeyDer::from_pem_file(dir.join(KEY)).ok()?;
    Some((certificate, key))
}

fn issue(dir: &Path, hosts: &[String], ca: &Ca, at: UtcMicros) -> Result<CertifiedKey, TlsError> {
    let leaf: Leaf = ca.issue_server(hosts, at)?;
    replace(&dir.join(KEY), leaf.key_pem.as_bytes())?;
    replace(&dir.join(CERTIFICATE), leaf.certificate_pem.as_bytes())?;
    replace(&dir.join(HOSTS), hosts.join("\n").as_bytes())?;
    tracing::info!(
        hosts = hosts.join(", "),
        "issued a certificate for the listeners"
    );
    certified(leaf.certificate, leaf.key, ca)
}

/// Refuses a certificate and a key that do not belong together.
fn certified(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    ca: &Ca,
) -> Result<CertifiedKey, TlsError> {
    let mut chain = vec![certificate];
    chain.extend(ca.chain());
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use std::time::Duration;

    #[test]
    fn kept_while_fresh_and_renewed_when_due_or_for_other_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, _) = Ca::create().unwrap();
        let now = crate::clock::now();
        let hosts = ["localhost".to_owned()];
        let open =
            |hosts: &[String], at| ServerCertificate::open(dir.path(), hosts, &ca, at).unwrap();
        let first = open(&hosts, now).now().cert.clone();
        assert_eq!(first.len(), 2, "the CA follows, for enrolling devices");
        assert_eq!(open(&hosts, now).now().cert, first);
        let other = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let second = open(&other, now);
        assert_ne!(second.now().cert, first);
        let later = now.plus_us(70 * 24 * 3600 * 1_000_000);
        assert!(!second.renew_if_due(&ca, now).unwrap());
        assert!(second.renew_if_due(&ca, later).unwrap());
        assert!(!second.renew_if_due(&ca, later).unwrap());
    }

    /// Whether somebody who trusts this CA alone verifies what a listener of `serving` shows.
    fn is_verified_by(trusted: &Ca, serving: &Ca) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let now = crate::clock::now();
        let hosts = ["localhost".to_owned()];
        let certificate = ServerCertificate::open(dir.path(), &hosts, serving, now).unwrap();
        let chain = certificate.now().cert.clone();
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate_der().clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let seconds = Duration::from_micros(now.0.unsigned_abs());
        let verdict = verifier.unwrap().verify_server_cert(
            &chain[0],
            &chain[1..],
            &ServerName::try_from("localhost").unwrap(),
            &[],
            UnixTime::since_unix_epoch(seconds),
        );
        verdict.is_ok()
    }

    #[test]
    fn until_it_is_retired_whoever_knows_one_of_two_cas_verifies_the_listeners() {
        let (old, _) = Ca::create().unwrap();
        let (new, key) = old.succeed(crate::clock::now()).unwrap();
        let retired = Ca::load(new.certificate_pem(), &key).unwrap();
        let (foreign, _) = Ca::create().unwrap();
        assert!(is_verified_by(&old, &old));
        assert!(!is_verified_by(&new, &old));
        assert!(is_verified_by(&old, &new));
        assert!(is_verified_by(&new, &new));
        assert!(!is_verified_by(&old, &retired));
        assert!(is_verified_by(&new, &retired));
        assert!(!is_verified_by(&foreign, &new));
    }

    #[test]
    fn a_certificate_of_the_ca_before_is_not_served_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (old, _) = Ca::create().unwrap();
        let now = crate::clock::now();
        let (new, _) = old.succeed(now).unwrap();
        let hosts = ["localhost".to_owned()];
        let open = |ca| ServerCertificate::open(dir.path(), &hosts, ca, now).unwrap();
        let first = open(&old).now().cert[0].clone();
        let second = open(&new).now().cert[0].clone();
        assert_ne!(first, second);
        assert!(new.has_issued(&second));
        assert_eq!(open(&new).now().cert[0], second);
    }
}
