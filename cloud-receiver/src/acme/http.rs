//! HTTPS to the authority. Its server is verified against the public authorities and the configured one.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// A chain of certificates has about 10 KiB.
const MOST_BYTES: usize = 256 * 1024;

type Request = axum::http::Request<BodyWrapper<Bytes>>;

pub(super) struct Http(Client);

impl Http {
    pub(super) fn new(ca_file: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        if !ca_file.as_os_str().is_empty() {
            let certificate = CertificateDer::from_pem_file(ca_file).with_context(|| {
                format!("portal.certificate.acme.ca_file {}", ca_file.display())
            })?;
            roots.add(certificate)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            // What is signed is signed for one address.
            .redirect(Policy::none())
            .timeout(PATIENCE)
            .user_agent(concat!("cloud-receiver/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("setting up HTTPS")?;
        Ok(Self(client))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let request = axum::http::Request::from_parts(head, body.to_bytes());
            let request = reqwest::Request::try_from(request).map_err(other)?;
            let response = client.execute(request).await.map_err(other)?;
            answered(response).await
        })
    }
}

async fn answered(mut response: Response) -> Result<BytesResponse, Error> {
    let mut head = axum::http::Response::new(());
    *head.status_mut() = response.status();
    *head.headers_mut() = std::mem::take(response.headers_mut());
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(other)? {
        if bytes.len() + piece.len() > MOST_BYTES {
            return Err(Error::Str("an end of the authority's answer"));
        }
        bytes.extend_from_slice(&piece);
    }
    let (parts, ()) = head.into_parts();
    Ok(BytesResponse {
        parts,
        body: Box::new(Bytes::from(bytes)),
    })
}

/// With its causes: what a client says by itself is only that it failed.
fn other(error: reqwest::Error) -> Error {
    Error::Other(format!("{:#}", anyhow::Error::new(error)).into())
}
