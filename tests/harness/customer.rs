//! A customer's browser without the window: signs in to the portal over HTTPS and reads pages.

use crate::receiver::{Account, Receiver};
use anyhow::{Context, Result, bail};
use reqwest::header::{ACCEPT_LANGUAGE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use reqwest::{Client, Response, StatusCode, redirect};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Customer {
    client: Client,
    base: String,
    cookies: String,
}

/// An HTTPS client that trusts this receiver's CA and nobody else, and follows no redirect by itself.
pub fn client(receiver: &Receiver) -> Result<Client> {
    // Fails only if a provider was installed before, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = std::fs::read(receiver.ca_file()).context("reading the receiver's CA")?;
    let ca = reqwest::Certificate::from_pem(&pem)?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("ja"));
    Ok(Client::builder()
        .tls_certs_only([ca])
        .redirect(redirect::Policy::none())
        .default_headers(headers)
        .timeout(Duration::from_secs(20))
        .build()?)
}

impl Customer {
    /// Signs in as a person would: the form's answer is a redirect and a cookie.
    pub async fn sign_in(receiver: &Receiver, account: &Account) -> Result<Self> {
        let client = client(receiver)?;
        let base = receiver.portal_url();
        let form = format!(
            "login_id={}&password={}",
            form_encoded(&account.login_id),
            form_encoded(&account.password)
        );
        let response = client
            .post(format!("{base}/sign-in"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", &base)
            .body(form)
            .send()
            .await?;
        if !response.status().is_redirection() {
            bail!("signing in was answered with {}", response.status());
        }
        let cookies: Vec<_> = response
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
            .collect();
        Ok(Self {
            client,
            base,
            cookies: cookies.join("; "),
        })
    }

    /// As a browser sends them.
    pub fn cookies(&self) -> &str {
        &self.cookies
    }

    pub async fn get(&self, path: &str) -> Result<Response> {
        let request = self.client.get(format!("{}{path}", self.base));
        Ok(request.header(COOKIE, &self.cookies).send().await?)
    }

    /// Sends a form of a page of ours.
    pub async fn post(&self, path: &str, form: &str) -> Result<Response> {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request
            .header(COOKIE, &self.cookies)
            .header("origin", &self.base)
            .header("content-type", "application/x-www-form-urlencoded");
        Ok(request.body(form.to_owned()).send().await?)
    }

    /// The same with any method, and nothing in it.
    pub async fn send(&self, method: &str, path: &str) -> Result<Response> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = request
            .header(COOKIE, &self.cookies)
            .header("origin", &self.base)
            .header("content-type", "application/x-www-form-urlencoded");
        Ok(request.send().await?)
    }

    /// With more headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.header(COOKIE, &self.cookies);
        let with = |request: reqwest::RequestBuilder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        Ok(headers.iter().fold(request, with).send().await?)
    }

    /// Like [`Customer::get`], for an answer that does not end by itself.
    pub async fn stream(&self, path: &str) -> Result<Response> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.timeout(Duration::from_secs(24 * 3600));
        Ok(request.header(COOKIE, &self.cookies).send().await?)
    }

    /// The text of a page that must be there.
    pub async fn page(&self, path: &str) -> Result<String> {
        let response = self.get(path).await?;
        if response.status() != StatusCode::OK {
            bail!("{path} was answered with {}", response.status());
        }
        Ok(response.text().await?)
    }

    /// Paths of all pictures that a page shows.
    pub async fn pictures(&self, path: &str) -> Result<Vec<String>> {
        let page = self.page(path).await?;
        let mut pictures: Vec<_> = page
            .split('"')
            .filter(|text| text.starts_with("/media/"))
            .map(String::from)
            .collect();
        pictures.dedup();
        Ok(pictures)
    }
}

pub(crate) fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
