//! Where a camera is and how to log in, kept apart from each other: what may be shown never holds a secret.
//!
//! User and password leave the URL here and travel only as properties of their own. Some cameras want them in the
//! path or the query, so of an address only scheme, host and port are ever shown.

use super::error::CaptureError;
use crate::config::{CameraConfig, Secret};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::net::Ipv6Addr;
use url::Url;

/// What `redact` puts where a secret or a full address stood.
const HIDDEN: &str = "***";

#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Full URL without user and password. May hold secrets in path and query: for the connection only.
    location: Secret,
    /// `rtsp://host:port`: for people.
    shown: String,
    pub login: Option<Login>,
    pub tls: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

impl Address {
    pub fn of(config: &CameraConfig) -> Result<Self, CaptureError> {
        let refuse = |problem: &str| CaptureError::Address {
            camera: config.name.clone(),
            problem: problem.into(),
        };
        // The parser's own message could repeat the URL, so it is not passed on.
        let mut url = Url::parse(&config.url).map_err(|_| refuse("its url is no URL"))?;
        let tls = match url.scheme() {
            "rtsp" => false,
            "rtsps" => true,
            _ => return Err(refuse("its url starts with neither rtsp:// nor rtsps://")),
        };
        let host = match url.host_str() {
            Some(host) if !host.is_empty() => host.to_owned(),
            _ => return Err(refuse("its url names no host")),
        };
        let login = login(config, &url).map_err(refuse)?;
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| refuse("its url cannot hold a login"))?;
        let port = url.port().unwrap_or(if tls { 322 } else { 554 });
        Ok(Self {
            location: Secret::new(url.as_str()),
            shown: format!("{}://{}:{port}", url.scheme(), bracketed(&host)),
            login,
            tls,
        })
    }

    /// For the connection alone, never for a text.
    pub fn location(&self) -> &str {
        self.location.expose()
    }

    /// `text` without anything secret in it: for messages of foreign libraries.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.replace(self.location(), &self.shown);
        if let Some(login) = &self.login {
            for secret in [login.password.expose(), &login.user] {
                if !secret.is_empty() {
                    text = text.replace(secret, HIDDEN);
                }
            }
        }
        cut_urls(&text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Address({}, login: {})",
            self.shown,
            self.login.is_some()
        )
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(***)")
    }
}

/// The configuration's own user and password win over those in the URL, each by itself.
fn login(config: &CameraConfig, url: &Url) -> Result<Option<Login>, &'static str> {
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| "user or password in its url are not percent-encoded UTF-8")
    };
    let user = match (&config.user, url.username()) {
        (Some(user), _) => Some(user.clone()),
        (None, "") => None,
        (None, encoded) => Some(decode(encoded)?),
    };
    let password = match (&config.password, url.password()) {
        (Some(password), _) => Some(password.clone()),
        (None, None) => None,
        (None, Some(encoded)) => Some(Secret::new(decode(encoded)?)),
    };
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), password) => Ok(Some(Login {
            user,
            password: password.unwrap_or_else(|| Secret::new("")),
        })),
        (None, Some(_)) => Err("it has a password but no user"),
    }
}

fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

/// Cuts every URL in `text` down to scheme, host and port, whoever wrote it there.
fn cut_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ';');
        let (url, behind) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        // A password may hold slashes that nobody encoded: the host comes after the last sign.
        let authority = url.rsplit('@').next().unwrap_or_default();
        out.push_str(authority.split(['/', '?', '#']).next().unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ODD: &str = "p@ss:w/rd#1%&日本";

    fn config(url: &str, user: Option<&str>, password: Option<&str>) -> CameraConfig {
        let mut config: CameraConfig = toml::from_str(
            r#"id = "00000000-0000-0000-0000-000000000001"
               name = "gate"
               url = """#,
        )
        .unwrap();
        config.url = url.into();
        config.user = user.map(String::from);
        config.password = password.map(Secret::new);
        config
    }

    #[test]
    fn logins_are_found_wherever_they_stand() {
        let check = |url: &str, user, password, expected: Option<(&str, &str)>| {
            let address = Address::of(&config(url, user, password)).unwrap();
            let login = address.login.as_ref();
            let found = login.map(|login| (login.user.as_str(), login.password.expose()));
            assert_eq!(found, expected, "{url}");
            assert_eq!(address.location(), "rtsp://10.0.0.12/live?channel=1");
        };
        let plain = "rtsp://10.0.0.12/live?channel=1";
        let encoded =
            "rtsp://an%40na:p%40ss%3Aw%2Frd%231%25%26%E6%97%A5%E6%9C%AC@10.0.0.12/live?channel=1";
        check(plain, None, None, None);
        check(plain, Some("an@na"), Some(ODD), Some(("an@na", ODD)));
        check(plain, Some("an@na"), None, Some(("an@na", "")));
        check(encoded, None, None, Some(("an@na", ODD)));
        check(encoded, Some("ben"), Some("other"), Some(("ben", "other")));
        check(encoded, None, Some("other"), Some(("an@na", "other")));
    }

    #[test]
    fn bad_addresses_are_refused_without_showing_them() {
        for url in [
            "10.0.0.12",
            "http://u:hidden-word@10.0.0.12/",
            "rtsp://:hidden-word@10.0.0.12/",
            "rtsp://u:hidden-word%FF@10.0.0.12/",
            "rtsp://u:hidden-word@[bad/",
        ] {
            let error = Address::of(&config(url, None, None)).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("gate"), "{text}");
            assert!(!text.contains("hidden-word"), "{text}");
        }
    }

    #[test]
    fn nothing_shown_holds_a_secret() {
        let url = "rtsp://anna:hidden-word@10.0.0.12:8554/live?token=hidden-token";
        let address = Address::of(&config(url, None, None)).unwrap();
        assert_eq!(address.to_string(), "rtsp://10.0.0.12:8554");
        let foreign = format!(
            "Could not open {} nor rtsp://other:thing@10.0.0.13/x; hidden-word of anna is wrong",
            address.location()
        );
        let texts = [
            format!("{address:?}"),
            format!("{:?}", address.login),
            address.redact(&foreign),
            address.redact(url),
        ];
        for text in &texts {
            for secret in ["hidden-word", "anna", "hidden-token", "other:thing"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
        assert!(texts[2].contains("rtsp://10.0.0.12:8554"), "{}", texts[2]);
    }

    #[test]
    fn an_ipv6_host_and_default_ports_are_shown_whole() {
        let shown = |url: &str| Address::of(&config(url, None, None)).unwrap().to_string();
        assert_eq!(shown("rtsp://[fe80::1]/s"), "rtsp://[fe80::1]:554");
        assert_eq!(shown("rtsps://cam.example/s"), "rtsps://cam.example:322");
    }
}
