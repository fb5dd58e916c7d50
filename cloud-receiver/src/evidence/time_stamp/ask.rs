//! The request to an authority: RFC 3161 section 3.4, the protocol over HTTP.
//!
//! What is asked is a hash, and the answer is signed; so plain `http`, which most authorities offer, gives nothing
//! away and nothing up. With `https` the server is verified against the public authorities and the configured ones.

use super::Authorities;
use anyhow::{Context, bail, ensure};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer with a long chain of certificates has about 10 KiB.
const MOST_BYTES: usize = 256 * 1024;

pub(super) async fn ask(
    url: &str,
    request: Vec<u8>,
    authorities: Option<&Authorities>,
) -> anyhow::Result<Vec<u8>> {
    let response = client(authorities)?
        .post(url)
        .header(CONTENT_TYPE, "application/timestamp-query")
        .body(request)
        .send()
        .await
        .with_context(|| format!("the time-stamp authority {url} cannot be asked"))?;
    body(response)
        .await
        .with_context(|| format!("the answer of the time-stamp authority {url}"))
}

fn client(authorities: Option<&Authorities>) -> anyhow::Result<Client> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in authorities
        .map(Authorities::certificates)
        .unwrap_or_default()
    {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        // A request that was sent on would come as a GET without its body.
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("cloud-receiver/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("setting up HTTP")
}

async fn body(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get("location");
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        bail!("it sends on to {to} ({status}): set that address");
    }
    ensure!(
        status.is_success(),
        "it says {status}: is the address right?"
    );
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("nothing")
        .to_owned();
    ensure!(
        kind.starts_with("application/timestamp-reply"),
        "it is {kind}, no time stamp (application/timestamp-reply): is the address right?"
    );
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.context("reading it")? {
        ensure!(
            bytes.len() + piece.len() <= MOST_BYTES,
            "it is larger than {MOST_BYTES} bytes"
        );
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
