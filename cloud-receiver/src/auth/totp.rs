//! One-time codes by time (RFC 6238), as authenticator apps show them: HMAC-SHA-1, six digits, 30 seconds.
//!
//! SHA-1 is what every app reads from a QR code; as the hash of an HMAC over a counter it is not weakened by what is
//! known of its collisions.

use crate::seal::random;
use data_encoding::BASE32_NOPAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::fmt;
use wire::UtcMicros;

const STEP_SECONDS: i64 = 30;
const DIGITS: u32 = 6;
/// As RFC 4226 asks for, and as long as the hash.
const SECRET_BYTES: usize = 20;
/// A code of the step before or after is good too: clocks of telephones differ.
const WINDOW: i64 = 1;

/// What the app and the receiver share. Cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    pub fn generate() -> Self {
        Self(random())
    }

    pub fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// As people type it where no camera is at hand.
    pub fn to_base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    pub fn from_base32(text: &str) -> Option<Self> {
        let plain: String = text.split_whitespace().collect();
        let bytes = BASE32_NOPAD.decode(plain.to_uppercase().as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// What the QR code says. `account` is shown beside the code in the app.
    pub fn address(&self, issuer: &str, account: &str) -> String {
        let (issuer, account) = (encoded(issuer), encoded(account));
        let secret = self.to_base32();
        format!("otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}")
    }

    /// The code of a step.
    pub fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[tag.len() - 1] & 0x0f);
        let [a, b, c, d] = [tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]];
        let number = u32::from_be_bytes([a, b, c, d]) % 10_u32.pow(DIGITS);
        format!("{number:0width$}", width = DIGITS as usize)
    }

    /// Which step a code is of, if it is good now. Whoever uses it must see to it that no step is used twice.
    pub fn step_of(&self, code: &str, now: UtcMicros) -> Option<i64> {
        let middle = step_at(now);
        let same = |step: i64| same_bytes(self.code(step).as_bytes(), code.as_bytes());
        // All are compared, so that the time tells nothing.
        let found = [middle - WINDOW, middle, middle + WINDOW].map(|step| (step, same(step)));
        found.iter().find(|(_, same)| *same).map(|(step, _)| *step)
    }
}

/// The step that a moment is in.
pub fn step_at(now: UtcMicros) -> i64 {
    now.0.div_euclid(STEP_SECONDS * 1_000_000)
}

fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |bits, (a, b)| bits | (a ^ b));
    one.len() == other.len() && differing == 0
}

/// For the path and the query of an address.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
        out
    })
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.to_base32()
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_base32(&text).ok_or("no secret of a second factor")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secret() -> Secret {
        Secret(*b"12345678901234567890")
    }

    fn at(seconds: i64) -> UtcMicros {
        UtcMicros(seconds * 1_000_000)
    }

    /// RFC 6238, appendix B, its SHA-1 rows (there with eight digits), and RFC 4226, appendix D.
    #[test]
    fn the_codes_are_those_of_the_standard() {
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(secret().code(step_at(at(seconds))), code[2..], "{seconds}");
        }
        let counted = ["755224", "287082", "359152", "969429", "338314", "254676"];
        for (step, code) in counted.iter().enumerate() {
            assert_eq!(secret().code(step as i64), *code);
        }
    }

    #[test]
    fn a_code_is_good_in_its_step_and_the_ones_beside_it() {
        let now = at(1_111_111_109);
        let step = step_at(now);
        for (offset, good) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = secret().code(step + offset);
            assert_eq!(secret().step_of(&code, now), good.then_some(step + offset));
        }
        for wrong in ["", "81804", "0081804", "081805", "０８１８０４"] {
            assert_eq!(secret().step_of(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn the_secret_travels_as_apps_read_it_and_is_never_printed() {
        let text = secret().to_base32();
        assert_eq!(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(Secret::from_base32(&text.to_lowercase()), Some(secret()));
        let spaced = "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ";
        assert_eq!(Secret::from_base32(spaced), Some(secret()));
        assert_eq!(Secret::from_base32("GEZD"), None);
        let address = secret().address("CaaS", "甲 01");
        assert!(address.starts_with("otpauth://totp/CaaS:%E7%94%B2%2001?secret=GEZD"));
        assert_eq!(format!("{:?}", secret()), "Secret(***)");
        let json = serde_json::to_string(&secret()).unwrap();
        assert_eq!(serde_json::from_str::<Secret>(&json).unwrap(), secret());
    }
}
