//! Takes secrets out of what leaves the box for somebody who looks for a fault.
//!
//! Three nets, because each alone has holes: what the configuration calls a login is taken out wherever it stands; every
//! address is cut down to its host; and what looks like a secret goes even if nobody knows whose it is. Rather too much
//! goes than too little.

use crate::config::{CameraConfig, Config};
use crate::telemetry::redact;
use percent_encoding::percent_decode_str;
use serde_json::Value;

const GONE: &str = "***";
/// A shorter login would be found in half of all words; it still does not pass where it stands in an address.
const SHORTEST: usize = 3;
/// What stands before `=` where a login is passed in a path or a query.
const NAMES: [&str; 9] = [
    "password", "passwd", "passwort", "pass", "pwd", "token", "secret", "user", "usr",
];
/// A claim code is so many groups of five signs.
const CLAIM_GROUPS: usize = 11;
const CLAIM_GROUP: usize = 5;

/// What must not leave the box.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    pub fn of(config: &Config) -> Self {
        let mut known: Vec<String> = config.cameras.iter().flat_map(of_camera).collect();
        known.retain(|secret| secret.chars().count() >= SHORTEST);
        // The longest first: one may be the beginning of another.
        known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        known.dedup();
        Self(known)
    }

    pub fn scrub(&self, text: &str) -> String {
        let without_known = self
            .0
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, GONE));
        let text = without_private_keys(&without_known);
        let text = with_short_addresses(&text);
        without_claim_codes(&without_named(&text))
    }

    /// JSON stays JSON: only what stands in texts is touched. What is no JSON is a text.
    pub fn scrub_json(&self, text: &str) -> String {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else {
            return self.scrub(text);
        };
        self.scrub_value(&mut value);
        let pretty = serde_json::to_string_pretty(&value).unwrap_or_else(|_| self.scrub(text));
        pretty + "\n"
    }

    fn scrub_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.scrub(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.scrub_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|item| self.scrub_value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// As it stands in the configuration, and as it is once an address is taken apart.
fn of_camera(camera: &CameraConfig) -> Vec<String> {
    let mut known: Vec<String> = camera.user.iter().cloned().collect();
    known.extend(
        camera
            .password
            .iter()
            .map(|secret| secret.expose().to_owned()),
    );
    let rest = camera
        .url
        .split_once("://")
        .map_or(&*camera.url, |(_, rest)| rest);
    if let Some((login, _)) = rest.rsplit_once('@') {
        let parts = login.split_once(':');
        let parts = parts.map_or(vec![login], |(user, password)| vec![user, password]);
        known.extend(parts.into_iter().flat_map(both_ways));
    }
    let behind = &rest[rest.find(['/', '?']).unwrap_or(rest.len())..];
    for pair in behind.split(['/', '?', '&', ';', '#']) {
        if let Some((name, value)) = pair.split_once('=')
            && NAMES
                .iter()
                .any(|known| name.to_lowercase().ends_with(known))
        {
            known.extend(both_ways(value));
        }
    }
    known
}

fn both_ways(text: &str) -> [String; 2] {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    [text.to_owned(), decoded.into_owned()]
}

/// Of each address only where it leads.
fn with_short_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let scheme = rest[..at].trim_end_matches(is_scheme).len();
        let behind = &rest[at + 3..];
        let length = behind
            .find(|c: char| c.is_whitespace() || "\"'<>)]},".contains(c))
            .unwrap_or(behind.len());
        let end = at + 3 + length;
        out.push_str(&rest[..scheme]);
        out.push_str(&redact(&rest[scheme..end]));
        rest = &rest[end..];
    }
    out + rest
}

/// The value behind a name such as `password=`.
fn without_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, behind) = rest.split_at(at + 1);
        out.push_str(before);
        let name = before[..at]
            .trim_end_matches(['"', '\'', ' '])
            .to_lowercase();
        let is_secret = NAMES.iter().any(|known| name.ends_with(known));
        let behind = if is_secret {
            let value = behind.trim_start_matches(['"', '\'', ' ']);
            out.push_str(&behind[..behind.len() - value.len()]);
            out.push_str(GONE);
            let end = |c: char| c.is_whitespace() || "&;,\"'".contains(c);
            &value[value.find(end).unwrap_or(value.len())..]
        } else {
            behind
        };
        rest = behind;
    }
    out + rest
}

fn without_claim_codes(text: &str) -> String {
    let is_sign = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_sign(c)).unwrap_or(rest.len());
        let (token, behind) = rest.split_at(word);
        out.push_str(if is_claim_code(token) { GONE } else { token });
        let between = behind.find(is_sign).unwrap_or(behind.len());
        out.push_str(&behind[..between]);
        rest = &behind[between..];
    }
    out
}

fn is_claim_code(token: &str) -> bool {
    let groups = token.split('-').filter(|group| group.len() == CLAIM_GROUP);
    groups.count() >= CLAIM_GROUPS
}

fn without_private_keys(text: &str) -> String {
    const BEGIN: &str = "PRIVATE KEY-----";
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_mark = line.contains(BEGIN);
        if is_mark || inside {
            if !inside {
                out.push_str(GONE);
                out.push('\n');
            }
            inside = !(is_mark && line.contains("END "));
        } else {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secrets() -> Secrets {
        let config: Config = toml::from_str(
            r#"
            [[camera]]
            id = "00000000-0000-0000-0000-000000000001"
            name = "gate"
            url = "rtsp://anna:w%40rd-one@10.0.0.12/live?channel=1&token=tok-en7"
            user = "ben-user"
            password = "other secret 2"
            [[camera]]
            id = "00000000-0000-0000-0000-000000000002"
            name = "yard"
            url = "rtsp://10.0.0.13/user=carl_x&password=pass4you&channel=1"
            [[camera]]
            id = "00000000-0000-0000-0000-000000000003"
            name = "hall"
            url = "rtsp://10.0.0.14/live"
            password = "1"
            "#,
        )
        .unwrap();
        Secrets::of(&config)
    }

    #[test]
    fn nothing_of_a_login_passes_in_whatever_form_it_stands() {
        let secrets = secrets();
        let hidden = [
            "anna",
            "w%40rd-one",
            "w@rd-one",
            "tok-en7",
            "ben-user",
            "other secret 2",
            "carl_x",
            "pass4you",
        ];
        for secret in hidden {
            for text in [
                format!("login {secret} was refused"),
                secret.to_owned(),
                format!("rtsp://x:{secret}@10.0.0.9/live says no"),
                format!("url=\"rtsp://10.0.0.9/?token={secret}\""),
                format!("{{\"error\":\"{secret}\"}}"),
            ] {
                for scrubbed in [secrets.scrub(&text), secrets.scrub_json(&text)] {
                    assert!(!scrubbed.contains(secret), "{text} became {scrubbed}");
                }
            }
        }
    }

    #[test]
    fn what_looks_like_a_secret_goes_though_nobody_knows_it() {
        let secrets = secrets();
        let code = ["ABCDE"; 11].join("-");
        for (text, expected) in [
            (
                "at rtsp://u:p@10.0.0.1:554/a?b=c, then",
                "at rtsp://***@10.0.0.1:554, then",
            ),
            (
                "(https://cloud.example:8443/device/v1)",
                "(https://cloud.example:8443)",
            ),
            ("GET /x?Password=abc&y=1", "GET /x?Password=***&y=1"),
            ("db_password = \"abc\" ok", "db_password = \"***\" ok"),
            ("set pwd=abc;", "set pwd=***;"),
            (&*format!("code {code}."), "code ***."),
            (
                "a\n-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\nb",
                "a\n***\nb",
            ),
        ] {
            assert_eq!(secrets.scrub(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let secrets = secrets();
        for text in [
            "2026-11-23T10:00:00Z  INFO camera gate runs: 25 pictures a second, 1920x1080",
            "epoch=12 seq=1 channel=1 bytes=1",
            "device 0193-ab: 日本語 = 1",
            "00000000-0000-0000-0000-000000000001",
            "",
        ] {
            assert_eq!(secrets.scrub(text), text);
        }
        let json = secrets.scrub_json(r#"{"a":[1,"1",null],"b":"x"}"#);
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value, serde_json::json!({"a": [1, "1", null], "b": "x"}));
    }
}
