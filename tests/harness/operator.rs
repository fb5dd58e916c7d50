//! An operator's browser without the window: comes in by the operators' door as a person does, with a second factor
//! set up at the first sign-in.

use crate::customer::{client, form_encoded};
use crate::receiver::Receiver;
use anyhow::{Context, Result, bail};
use cloud_receiver::auth::totp::{Secret, step_at};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, Response, StatusCode};
use std::collections::BTreeMap;
use wire::UtcMicros;

const SECOND_FACTOR: &str = "/operator/second-factor";
/// In place of the issued one, which must be changed.
pub const PASSWORD: &str = "a lantern in the orchard";

#[derive(Debug)]
pub struct Operator {
    client: Client,
    base: String,
    cookies: BTreeMap<String, String>,
    pub secret: Secret,
}

/// What an authenticator app shows now.
pub fn code(secret: &Secret) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let micros = since.map_or(0, |since| since.as_micros());
    let now = UtcMicros(i64::try_from(micros).unwrap_or(i64::MAX));
    secret.code(step_at(now))
}

/// The secret that the page of the second factor shows to be typed.
pub fn secret_on(page: &str) -> Result<Secret> {
    let text = page.split("id=\"secret\">").nth(1);
    let text = text.and_then(|rest| rest.split('<').next());
    Secret::from_base32(text.context("the page shows no secret")?).context("no secret")
}

impl Operator {
    /// The first sign-in of the operator that `init` made.
    pub async fn first_sign_in(receiver: &Receiver) -> Result<Self> {
        let word = |key: &str| receiver.operator[key].as_str().map(str::to_owned);
        let login_id = word("operator_login_id").context("init printed no login ID")?;
        let issued = word("operator_password").context("init printed no password")?;
        let mut operator = Self {
            client: client(receiver)?,
            base: receiver.portal_url(),
            cookies: BTreeMap::new(),
            secret: Secret::from_bytes([0; 20]),
        };
        let form = [("login_id", &*login_id), ("password", &*issued)];
        operator.post("/operator/sign-in", &form).await?;
        operator
            .post(&format!("{SECOND_FACTOR}/begin"), &[])
            .await?;
        operator.secret = secret_on(&operator.page(SECOND_FACTOR).await?)?;
        let code = code(&operator.secret);
        let confirm = format!("{SECOND_FACTOR}/confirm");
        let form = [("password", &*issued), ("code", &code)];
        operator.post(&confirm, &form).await?;
        let form = [
            ("current", &*issued),
            ("new", PASSWORD),
            ("repeated", PASSWORD),
        ];
        operator.post("/operator/password", &form).await?;
        operator.page("/operator").await?;
        Ok(operator)
    }

    pub async fn get(&self, path: &str) -> Result<Response> {
        let request = self.client.get(format!("{}{path}", self.base));
        Ok(request.header(COOKIE, self.cookies()).send().await?)
    }

    /// The text of a page that must be there.
    pub async fn page(&self, path: &str) -> Result<String> {
        let response = self.get(path).await?;
        if response.status() != StatusCode::OK {
            bail!("{path} was answered with {}", response.status());
        }
        Ok(response.text().await?)
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Result<Response> {
        let pairs = form
            .iter()
            .map(|(key, value)| format!("{key}={}", form_encoded(value)));
        let response = self
            .client
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", &self.base)
            .header(COOKIE, self.cookies())
            .body(pairs.collect::<Vec<_>>().join("&"))
            .send()
            .await?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }

    /// As a browser sends them.
    pub fn cookies(&self) -> String {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }
}
