//! What is signed with keys of our own on the way to an authority's certificate: the request for it, and the answers to its
//! challenges.

use anyhow::Context;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A new key, PEM, and the request for a certificate of it (PKCS#10, DER).
pub(super) fn request(names: &[String]) -> anyhow::Result<(String, Vec<u8>)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let request = params(names)?.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

/// A certificate that is good for nothing but to be looked at (RFC 8737, section 3).
pub(super) fn answer(name: &str, digest: &[u8]) -> anyhow::Result<Arc<CertifiedKey>> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params(&[name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key)?;
    // Unchecked: that nobody else takes it for a certificate is the very purpose of its critical extension.
    Ok(Arc::new(CertifiedKey::new(
        vec![certificate.der().clone()],
        key,
    )))
}

fn params(names: &[String]) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.to_vec())
        .with_context(|| format!("names of hosts: {}", names.join(", ")))?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}
