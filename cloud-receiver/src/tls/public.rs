//! The certificate that browsers are shown where the receiver has one of a public authority, beside its own.
//!
//! Both are presented by one listener, because devices enroll where browsers come, and an enrolling device believes the
//! receiver's own CA alone. Who asks by a name that the public one is for is shown that; who asks by an address or another
//! name, and who says by ALPN that it enrolls, the receiver's own. So no box, however old, is told to trust the public
//! authorities: whoever got a certificate of one of these for the portal's name could otherwise pose as the receiver.

use super::{ServerCertificate, provider};
use crate::ca::validity;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use wire::UtcMicros;

/// By this name an authority asks for the answer to its challenge (RFC 8737).
pub const CHALLENGE_ALPN: &[u8] = b"acme-tls/1";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PairError {
    #[error("there is no certificate (PEM) in it")]
    NoCertificate,
    #[error("there is no key (PEM) in it, or one under a passphrase: write the key without one")]
    NoKey,
    #[error("certificate and key do not belong together")]
    Mismatch,
    #[error("it cannot be used: {0}")]
    Unusable(String),
    #[error("it expired on {0}: put a new one in its place")]
    Expired(String),
    #[error("it is not good before {0}: check this machine's clock")]
    NotYet(String),
    #[error(
        "it is for none of this receiver's hosts ({0}): get one for the name that browsers use"
    )]
    OtherHosts(String),
}

/// A certificate with its key, fit to be shown.
#[derive(Clone, Debug)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    pub not_before_us: UtcMicros,
    pub not_after_us: UtcMicros,
}

impl Pair {
    /// Refuses what browsers would refuse, as far as that can be told here.
    pub fn parse(
        certificates_pem: &[u8],
        key_pem: &[u8],
        hosts: &[String],
        at: UtcMicros,
    ) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates_pem)
            .collect::<Result<_, _>>()
            .map_err(|_| PairError::NoCertificate)?;
        let leaf = chain.first().ok_or(PairError::NoCertificate)?;
        let (not_before_us, not_after_us) =
            validity(leaf).map_err(|error| PairError::Unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| PairError::NoKey)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PairError::Mismatch,
            other => PairError::Unusable(other.to_string()),
        })?;
        let pair = Self {
            key: Arc::new(key),
            not_before_us,
            not_after_us,
        };
        let day = |at| crate::evidence::local::utc(at);
        if at > not_after_us {
            return Err(PairError::Expired(day(not_after_us)));
        }
        if at < not_before_us {
            return Err(PairError::NotYet(day(not_before_us)));
        }
        if !hosts.iter().any(|host| pair.is_for(host)) {
            return Err(PairError::OtherHosts(hosts.join(", ")));
        }
        Ok(pair)
    }

    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else {
            return false;
        };
        ParsedCertificate::try_from(&self.key.cert[0])
            .is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }

    /// Whether a third of its life is left, or less.
    pub fn is_renewal_due(&self, at: UtcMicros) -> bool {
        crate::ca::is_renewal_due(&self.key.cert[0], at)
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// What is shown now, and the answers that an authority waits for.
#[derive(Debug, Default)]
pub struct PublicCertificate {
    shown: RwLock<Option<Pair>>,
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl PublicCertificate {
    /// New connections see it.
    pub fn show(&self, pair: Pair) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(pair);
    }

    pub fn shown(&self) -> Option<Pair> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }

    /// The answers to challenges, by name; those of before are forgotten.
    pub fn set_challenges(&self, answers: HashMap<String, Arc<CertifiedKey>>) {
        let mut challenges = self
            .challenges
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *challenges = answers;
    }

    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let challenges = self
            .challenges
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.get(&name.to_ascii_lowercase()).cloned()
    }
}

/// Chooses between the receiver's own certificate and the public one.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) own: Arc<ServerCertificate>,
    pub(super) public: Arc<PublicCertificate>,
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offers = |wanted: &[u8]| {
            let mut offered = hello.alpn().into_iter().flatten();
            offered.any(|name| name == wanted)
        };
        let name = hello.server_name();
        if offers(CHALLENGE_ALPN) {
            return self.public.challenge(name?);
        }
        if !offers(wire::enroll::ALPN)
            && let Some(public) = self.public.shown()
            && name.is_some_and(|name| public.is_for(name))
        {
            return Some(public.key);
        }
        Some(self.own.now())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ca::Ca;
    use crate::clock::now;

    const DAY_US: i64 = 24 * 3600 * 1_000_000;

    #[test]
    fn what_browsers_would_refuse_is_refused_and_why_is_said() {
        let (ca, _) = Ca::create().unwrap();
        let hosts = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.into()).collect() };
        let leaf = ca.issue_server(&hosts(&["portal.example"]), now()).unwrap();
        let other = ca.issue_server(&hosts(&["portal.example"]), now()).unwrap();
        let parse = |certificate: &str, key: &str, for_hosts: &[&str], at| {
            Pair::parse(
                certificate.as_bytes(),
                key.as_bytes(),
                &hosts(for_hosts),
                at,
            )
            .map(|pair| pair.is_for("portal.example"))
        };
        let ours = ["192.0.2.7", "portal.example"];
        let (certificate, key) = (&*leaf.certificate_pem, &*leaf.key_pem);
        assert_eq!(parse(certificate, key, &ours, now()), Ok(true));
        assert_eq!(
            parse(certificate, &other.key_pem, &ours, now()),
            Err(PairError::Mismatch)
        );
        assert_eq!(parse("", key, &ours, now()), Err(PairError::NoCertificate));
        assert_eq!(parse(certificate, "", &ours, now()), Err(PairError::NoKey));
        assert!(matches!(
            parse(certificate, key, &["another.example"], now()),
            Err(PairError::OtherHosts(_))
        ));
        let after = now().plus_us(91 * DAY_US);
        assert!(matches!(
            parse(certificate, key, &ours, after),
            Err(PairError::Expired(_))
        ));
        let before = now().plus_us(-2 * DAY_US);
        assert!(matches!(
            parse(certificate, key, &ours, before),
            Err(PairError::NotYet(_))
        ));
    }
}
