//! Whose certificates are believed: those that the operator, or whoever checks, names in a file.

use crate::config;
use anyhow::{Context, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::path::Path;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};
use wire::UtcMicros;

/// id-kp-timeStamping, 1.3.6.1.5.5.7.3.8, as the content of its DER.
const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

/// Certificates of authorities, each the end of a chain that is believed.
#[derive(Clone, Debug)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Authorities {
    /// Those of a PEM file with one certificate or more.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let pem = std::fs::read(path)
            .with_context(|| format!("reading the authority's certificate {}", path.display()))?;
        Self::from_pem(&pem).with_context(|| format!("{}", path.display()))
    }

    /// Those of the configuration; `None` if it names none.
    pub fn configured(heads: &config::Heads) -> anyhow::Result<Option<Self>> {
        let path = &heads.time_stamps_ca_file;
        (!path.as_os_str().is_empty())
            .then(|| Self::read(path).context("heads.time_stamps_ca_file"))
            .transpose()
    }

    fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .context("this is no PEM")?;
        ensure!(
            !certificates.is_empty(),
            "there is no certificate in it: it must be PEM, with BEGIN CERTIFICATE"
        );
        let anchors = certificates
            .iter()
            .map(|certificate| Ok(webpki::anchor_from_trusted_cert(certificate)?.to_owned()))
            .collect::<Result<_, webpki::Error>>()
            .context("a certificate in it cannot be read")?;
        Ok(Self {
            certificates,
            anchors,
        })
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Whether a chain leads from the certificate to one of these, all of it good at `at` and for time stamps.
    pub(super) fn vouch_for(
        &self,
        certificate: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        at: UtcMicros,
    ) -> Result<(), webpki::Error> {
        let at = Duration::from_micros(at.0.try_into().unwrap_or(0));
        // That the certificate itself names the usage is judged already; one above it may be silent of usages.
        let usage = KeyUsage::required_if_present(TIME_STAMPING);
        certificate
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                others,
                UnixTime::since_unix_epoch(at),
                usage,
                None,
                None,
            )
            .map(|_| ())
    }
}
