//! The master key, and which one it is: a database says by an id which master key wraps its contracts' keys.

use super::{KEY_LEN, SecretKey};
use ring::hkdf;
use std::fmt;

const ID_LEN: usize = 16;

/// Tells one master key from another, and tells nothing of the key itself (HKDF-SHA256, RFC 5869).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(into = "String")]
pub struct MasterId(pub [u8; ID_LEN]);

impl MasterId {
    pub fn of(key: &SecretKey) -> Self {
        let mut bytes = [0; KEY_LEN];
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key.expose())
            .expand(&[b"caas/master-id/v1"], hkdf::HKDF_SHA256)
            .and_then(|derived| derived.fill(&mut bytes))
            .expect("32 bytes are within what HKDF gives");
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&bytes[..ID_LEN]);
        Self(id)
    }
}

impl fmt::Display for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl From<MasterId> for String {
    fn from(id: MasterId) -> Self {
        id.to_string()
    }
}

/// The master keys on disk: one, and between two steps of `key rotate` the one that takes its place as well. The
/// database says which of them it is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKeys {
    current: SecretKey,
    next: Option<SecretKey>,
}

impl MasterKeys {
    pub fn new(current: SecretKey, next: Option<SecretKey>) -> Self {
        Self { current, next }
    }

    pub fn current(&self) -> &SecretKey {
        &self.current
    }

    /// Left over from a rotation that did not come to its end.
    pub fn next(&self) -> Option<&SecretKey> {
        self.next.as_ref()
    }

    pub fn find(&self, id: MasterId) -> Option<&SecretKey> {
        let mut keys = std::iter::once(&self.current).chain(&self.next);
        keys.find(|key| MasterId::of(key) == id)
    }
}

impl From<SecretKey> for MasterKeys {
    fn from(key: SecretKey) -> Self {
        Self::new(key, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_id_whichever_of_the_two_it_is() {
        let [one, two, three] = [1, 2, 3].map(|byte| SecretKey::from_bytes([byte; KEY_LEN]));
        let keys = MasterKeys::new(one.clone(), Some(two.clone()));
        assert_eq!(keys.find(MasterId::of(&one)), Some(&one));
        assert_eq!(keys.find(MasterId::of(&two)), Some(&two));
        assert_eq!(keys.find(MasterId::of(&three)), None);
        // It stands in databases: it must never change.
        assert_eq!(
            MasterId::of(&one).to_string(),
            "10d172b0b78b13d3ebbb307cade302c1"
        );
    }
}
