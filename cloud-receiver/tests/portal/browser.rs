//! A browser as far as the portal can tell: keeps cookies, follows nothing by itself, sends `Origin` with forms.
//! Whatever it receives, it checks the security headers.

#![allow(clippy::unwrap_used, missing_debug_implementations)]

use super::world::{World, code_of};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use std::collections::BTreeMap;

pub struct Browser {
    client: Client,
    base: String,
    pub cookies: BTreeMap<String, String>,
    pub language: &'static str,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }
}

impl Browser {
    pub fn new(world: &World) -> Self {
        let own = reqwest::Certificate::from_der(&world.certificate).unwrap();
        let client = Client::builder()
            .tls_certs_only([own])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            client,
            base: world.url(""),
            cookies: BTreeMap::new(),
            language: "ja",
        }
    }

    pub async fn signed_in(world: &World, login_id: &str, password: &str) -> Self {
        let mut browser = Self::new(world);
        let answer = browser.sign_in(login_id, password).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        browser
    }

    pub async fn sign_in(&mut self, login_id: &str, password: &str) -> Answer {
        self.post(
            "/sign-in",
            &[("login_id", login_id), ("password", password)],
        )
        .await
    }

    /// At the operators' door; with the code, where it is asked for.
    pub async fn sign_in_as_operator(&mut self, login_id: &str, password: &str) -> Answer {
        let form = [("login_id", login_id), ("password", password)];
        let answer = self.post("/operator/sign-in", &form).await;
        let code = "/operator/second-factor";
        if !answer.location().starts_with(code) {
            return answer;
        }
        // The first one that was not used: tests sign in more often than people.
        for steps in [-1, 0, 1] {
            let answer = self
                .post(code, &[("code", &code_of(login_id, steps))])
                .await;
            if answer.status == StatusCode::SEE_OTHER {
                return answer;
            }
        }
        answer
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, true).await
    }

    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, Some(form), true).await
    }

    pub async fn post_from_nowhere(&mut self, path: &str) -> Answer {
        self.send(Method::POST, path, Some(&[]), false).await
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("accept-language", self.language);
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        request
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        form: Option<&[(&str, &str)]>,
        own_page: bool,
    ) -> Answer {
        let mut request = self.request(method.clone(), path);
        if own_page && method != Method::GET {
            request = request.header("origin", &self.base);
        }
        if let Some(form) = form {
            let pairs: Vec<String> = form
                .iter()
                .map(|(k, v)| format!("{k}={}", encode(v)))
                .collect();
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(pairs.join("&"));
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        check_headers(&format!("{method} {path}"), &headers);
        for cookie in headers.get_all("set-cookie") {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let body = if headers
            .get("content-type")
            .is_some_and(|t| t == "text/event-stream")
        {
            Vec::new()
        } else {
            response.bytes().await.unwrap().to_vec()
        };
        Answer {
            status,
            headers,
            body,
        }
    }
}

pub fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Over TLS only, out of reach of scripts, not sent along from elsewhere; and what opens anything is of this very host.
fn check_cookie(what: &str, cookie: &str) {
    for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite="] {
        assert!(cookie.contains(part), "{what}: {cookie} lacks {part}");
    }
    for part in ["Domain=", "SameSite=None"] {
        assert!(!cookie.contains(part), "{what}: {cookie}");
    }
    let is_choice_of_language = cookie.starts_with("lang=");
    assert!(
        is_choice_of_language || cookie.starts_with("__Host-"),
        "{what}: {cookie}"
    );
}

pub fn check_headers(what: &str, headers: &HeaderMap) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                  connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let expected = [
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000"),
    ];
    for (name, value) in expected {
        let found: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(found, [value], "{what}: {name}");
    }
    assert!(headers.contains_key("cache-control"), "{what}");
    assert!(headers.contains_key("permissions-policy"), "{what}");
    for cookie in headers.get_all("set-cookie") {
        check_cookie(what, cookie.to_str().unwrap());
    }
}
