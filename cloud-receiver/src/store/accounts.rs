//! Accounts and sessions of the two kinds of people who sign in: customers' users, and operators.
//!
//! Both kinds sign in by the same rules, so there is one trait; but each has rows of its own, and a book of one kind
//! never reads the rows of the other. A session of a customer therefore cannot open what is the operator's, nor the
//! reverse, whatever cookie it is sent in.

use super::Result;
use async_trait::async_trait;
use std::sync::Arc;
use wire::{ContractId, Sha256, UtcMicros};

/// Who an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// A user of one contract.
    Customer,
    /// Somebody who runs the receiver.
    Operator,
}

/// What sign-in needs to know of an account.
#[derive(Clone, Debug)]
pub struct AccountRow {
    pub login_id: String,
    pub password_hash: String,
    pub must_change_password: bool,
    pub last_sign_in_us: Option<UtcMicros>,
    pub failed_sign_ins: u64,
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Customer {
        contract: ContractId,
        contract_name: String,
    },
    Operator,
}

/// A signed-in browser. The token itself is never stored, its hash is.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub token_hash: Sha256,
    pub login_id: String,
    pub holder: Holder,
    pub created_us: UtcMicros,
    pub last_used_us: UtcMicros,
    pub must_change_password: bool,
}

/// The accounts of each kind.
pub trait AccountBooks: Send + Sync {
    fn accounts(&self, kind: AccountKind) -> Arc<dyn Accounts>;
}

/// Accounts of one kind, and their sessions.
#[async_trait]
pub trait Accounts: Send + Sync {
    fn kind(&self) -> AccountKind;
    async fn account(&self, login_id: &str) -> Result<Option<AccountRow>>;
    async fn set_password(
        &self,
        login_id: &str,
        password_hash: &str,
        must_change: bool,
    ) -> Result<()>;
    async fn record_sign_in(&self, login_id: &str, at: UtcMicros, succeeded: bool) -> Result<()>;
    async fn create_session(&self, login_id: &str, token_hash: Sha256, at: UtcMicros)
    -> Result<()>;
    async fn session(&self, token_hash: Sha256) -> Result<Option<SessionRow>>;
    async fn touch_session(&self, token_hash: Sha256, at: UtcMicros) -> Result<()>;
    async fn delete_session(&self, token_hash: Sha256) -> Result<()>;
    /// Ends every session of an account but the one given.
    async fn delete_other_sessions(&self, login_id: &str, keep: Sha256) -> Result<()>;
}
