//! Issuing accounts: what the commands and the operators' area do alike.

use super::password::{self, HashError};
use crate::store::{ContractBook, Result, StoreError};
use wire::ContractId;

const LOGIN_ID_CHARS: usize = 64;

/// A login ID can be read aloud, typed anywhere, and stands in addresses without being written otherwise: 1 to 64 letters,
/// digits, dots, dashes, underscores or @.
pub fn is_login_id(text: &str) -> bool {
    let sane = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    (1..=LOGIN_ID_CHARS).contains(&text.len()) && text.chars().all(sane)
}

/// Whether an issued password of the contract must be changed at the first sign-in.
pub async fn must_change_issued(
    store: &(impl ContractBook + ?Sized),
    contract: ContractId,
) -> Result<bool> {
    let detail = store.contract(contract).await?;
    let terms = detail.ok_or(StoreError::Missing("contract"))?.terms;
    Ok(!terms.keeps_issued_passwords)
}

/// A password as it is issued: shown once, and kept as its hash.
pub struct Issued {
    pub password: String,
    pub hash: String,
}

impl Issued {
    pub fn draw() -> std::result::Result<Self, HashError> {
        let password = password::generate();
        let hash = password::hash(&password)?;
        Ok(Self { password, hash })
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_ids_are_plain() {
        for good in ["tanaka", "a", "t.tanaka-01_x@example.jp", &"x".repeat(64)] {
            assert!(is_login_id(good), "{good}");
        }
        for bad in ["", "田中", "a b", "a/b", "a\0code", &"x".repeat(65)] {
            assert!(!is_login_id(bad), "{bad}");
        }
    }
}
