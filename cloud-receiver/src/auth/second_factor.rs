//! The second factor of an account: a secret in an authenticator app, and codes on paper for when the app is lost.
//!
//! The secret is kept because codes are computed from it; of the recovery codes only hashes are kept. Each code is good
//! once, and an entry of either kind is tried at a pace that the account sets, not the address it comes from: whoever
//! comes this far knows the password, and could try from many.

use super::password;
use super::totp::Secret;
use serde::{Deserialize, Serialize};
use wire::Sha256;

/// Enough for some years, and they fit on a card.
pub const RECOVERY_CODES: usize = 8;

/// As it is sealed in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    pub secret: Secret,
    /// SHA-256 of the codes that were not used yet. They are random and long: a slow hash would add nothing.
    pub recovery: Vec<Sha256>,
}

impl SecondFactor {
    /// A new secret. There are no recovery codes before the app has proven that it has the secret.
    pub fn begin() -> Self {
        Self {
            secret: Secret::generate(),
            recovery: Vec::new(),
        }
    }

    /// The same secret with new recovery codes, and the codes: to be shown this once.
    #[must_use]
    pub fn with_recovery_codes(self) -> (Self, Vec<String>) {
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| password::generate()).collect();
        let recovery = codes.iter().map(|code| hash_of(code)).collect();
        (Self { recovery, ..self }, codes)
    }

    /// The same without a recovery code, if it is one of those that are left.
    pub fn without(&self, code: &str) -> Option<Self> {
        let hash = hash_of(code);
        let at = self.recovery.iter().position(|left| *left == hash)?;
        let mut rest = self.clone();
        rest.recovery.remove(at);
        Some(rest)
    }
}

/// However it is spaced, and in whichever case it is typed.
fn hash_of(code: &str) -> Sha256 {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    Sha256::of(plain.to_lowercase().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_recovery_code_is_good_once_however_it_is_typed() {
        let (factor, codes) = SecondFactor::begin().with_recovery_codes();
        assert_eq!(codes.len(), RECOVERY_CODES);
        let typed = codes[3].to_uppercase().replace('-', " ");
        let rest = factor.without(&typed).unwrap();
        assert_eq!(rest.recovery.len(), RECOVERY_CODES - 1);
        assert_eq!(rest.without(&codes[3]), None, "it is used up");
        assert!(rest.without(&codes[4]).is_some());
        assert_eq!(factor.without(""), None);
        assert_eq!(SecondFactor::begin().without(""), None);
    }
}
