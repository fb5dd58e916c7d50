//! The claim code: the installer's one-time ticket that binds a device to a contract and a site.
//!
//! It carries a secret of 128 bits and the first 128 bits of the SHA-256 of the receiver's CA certificate, so
//! that a device never tells the secret to an impostor. The text is Crockford base32 (no I, L, O, U) in groups
//! of five, with 16 bits of checksum, so that a typing mistake is told apart from a code that was used already.

use crate::digest::Sha256;
use data_encoding::{Encoding, Specification};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

const SECRET_LEN: usize = 16;
const FINGERPRINT_LEN: usize = 16;
const CHECKSUM_LEN: usize = 2;
const GROUP_LEN: usize = 5;

static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    spec.translate.from.push_str("abcdefghjkmnpqrstvwxyzIiLlOo");
    spec.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ111100");
    spec.ignore.push_str("- \t\r\n");
    spec.encoding().expect("the specification is valid")
});

/// `Display` writes the code; `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimCode {
    pub secret: [u8; SECRET_LEN],
    pub fingerprint: Fingerprint,
}

/// First 128 bits of the SHA-256 of a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; FINGERPRINT_LEN]);

impl Fingerprint {
    pub fn of_certificate(der: &[u8]) -> Self {
        let digest = Sha256::of(der);
        Self(
            digest.0[..FINGERPRINT_LEN]
                .try_into()
                .expect("a digest is longer than a fingerprint"),
        )
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl ClaimCode {
    /// What the receiver stores and looks up instead of the secret.
    pub fn secret_hash(&self) -> Sha256 {
        Sha256::of(&self.secret)
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest = Sha256::of(body);
    [digest.0[0], digest.0[1]]
}

impl fmt::Display for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [&self.secret[..], &self.fingerprint.0[..]].concat();
        bytes.extend_from_slice(&checksum(&bytes));
        let text = CROCKFORD.encode(&bytes);
        for (index, symbol) in text.chars().enumerate() {
            if index > 0 && index % GROUP_LEN == 0 {
                f.write_str("-")?;
            }
            write!(f, "{symbol}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimCode(***, {})", self.fingerprint)
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClaimCodeError {
    #[error("this is not a whole claim code: it has 11 groups of 5 letters and digits")]
    Shape,
    #[error("the claim code is mistyped: its checksum does not fit")]
    Mistyped,
}

impl FromStr for ClaimCode {
    type Err = ClaimCodeError;

    /// Takes lower case, missing or extra dashes and spaces, O for 0 and I or L for 1.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = CROCKFORD
            .decode(text.as_bytes())
            .map_err(|_| ClaimCodeError::Shape)?;
        if bytes.len() != SECRET_LEN + FINGERPRINT_LEN + CHECKSUM_LEN {
            return Err(ClaimCodeError::Shape);
        }
        let (body, sum) = bytes.split_at(SECRET_LEN + FINGERPRINT_LEN);
        if sum != checksum(body) {
            return Err(ClaimCodeError::Mistyped);
        }
        let (secret, fingerprint) = body.split_at(SECRET_LEN);
        Ok(Self {
            secret: secret.try_into().expect("split at the secret's length"),
            fingerprint: Fingerprint(fingerprint.try_into().expect("the rest is the fingerprint")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ClaimCode {
        ClaimCode {
            secret: [0xa5; 16],
            fingerprint: Fingerprint::of_certificate(b"certificate"),
        }
    }

    #[test]
    fn what_is_printed_can_be_typed_back_sloppily() {
        let text = sample().to_string();
        assert_eq!(text.parse(), Ok(sample()));
        let sloppy = text.to_lowercase().replace('-', " ").replace('0', "o");
        assert_eq!(format!("  {sloppy}\n").parse(), Ok(sample()));
    }

    #[test]
    fn a_wrong_symbol_is_called_mistyped_and_a_short_code_is_called_short() {
        let text = sample().to_string();
        let swapped = if text.starts_with('Z') { "Y" } else { "Z" };
        let mistyped = format!("{swapped}{}", &text[1..]);
        assert_eq!(mistyped.parse::<ClaimCode>(), Err(ClaimCodeError::Mistyped));
        assert_eq!(text[..20].parse::<ClaimCode>(), Err(ClaimCodeError::Shape));
        assert_eq!("".parse::<ClaimCode>(), Err(ClaimCodeError::Shape));
    }

    #[test]
    fn debug_hides_the_secret() {
        assert!(!format!("{:?}", sample()).contains("a5a5"));
    }
}
