//! What changing the receiver's secrets asks of the store.

use super::Result;
use crate::seal::SecretKey;
use async_trait::async_trait;
use serde::Serialize;
use wire::UtcMicros;

/// Claim codes that can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OpenClaims {
    pub count: u64,
    /// When the last of them expires; absent where there is none.
    pub until_us: Option<UtcMicros>,
}

#[async_trait]
pub trait KeyBook: Send + Sync {
    /// Unwraps every contract's key, so that whatever becomes of the master key, this process goes on with them.
    async fn hold_keys(&self) -> Result<()>;
    /// Wraps every contract's key under `next`, all in one commit, and reads each of them back: how many there are.
    /// Where that was done before, nothing changes.
    async fn rewrap(&self, next: &SecretKey) -> Result<u64>;
    /// Brings every commit home and empties the log beside the database, in which keys stand as they were wrapped
    /// before. `false`: somebody read for too long; later commits do it.
    async fn empty_log(&self) -> Result<bool>;
    /// Whether the database is under the master key that this program started with.
    async fn is_under_our_key(&self) -> Result<bool>;
    /// Of those that were made before a moment.
    async fn open_claims(&self, made_before: UtcMicros, at: UtcMicros) -> Result<OpenClaims>;
}
