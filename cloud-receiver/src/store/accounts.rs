//! Accounts and sessions of the two kinds of people who sign in: customers' users, and operators.
//!
//! Both kinds sign in by the same rules, so there is one trait; but each has rows of its own, and a book of one kind
//! never reads the rows of the other. A session of a customer therefore cannot open what is the operator's, nor the
//! reverse, whatever cookie it is sent in.

use super::{Actor, Result};
use crate::auth::second_factor::SecondFactor;
use async_trait::async_trait;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;
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
    pub beside: Beside,
}

/// What stands beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing, and nothing is asked for.
    None,
    /// Nothing yet, and nobody goes on without it.
    Wanted,
    /// A second factor that is asked for.
    SetUp,
}

/// An account as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountListing {
    pub login_id: String,
    /// Operators belong to none.
    pub contract: Option<ContractId>,
    pub contract_name: Option<String>,
    pub created_us: UtcMicros,
    pub last_sign_in_us: Option<UtcMicros>,
    /// Before the last sign-in and since.
    pub failed_sign_ins: u64,
    /// It still has the password that was issued.
    pub must_change_password: bool,
    pub has_second_factor: bool,
    /// Browsers that are signed in; some of them may have run out.
    pub sessions: u64,
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
    /// When the second factor was shown.
    pub proven_us: Option<UtcMicros>,
    pub must_change_password: bool,
    /// Of its account.
    pub beside: Beside,
}

/// One of an account's browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionListing {
    pub token_hash: Sha256,
    pub created_us: UtcMicros,
    pub last_used_us: UtcMicros,
}

/// A try to sign in to an account that exists.
#[derive(Clone, Copy, Debug)]
pub struct SignIn {
    pub at: UtcMicros,
    pub address: IpAddr,
    pub outcome: SignInOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    Succeeded,
    WrongPassword,
    /// The password was right, and a code is wanted: noted only, as it is neither a success nor a failure yet.
    CodeWanted,
    /// The password was right, the code was not.
    WrongCode,
}

/// The accounts of each kind.
pub trait AccountBooks: Send + Sync {
    fn accounts(&self, kind: AccountKind) -> Arc<dyn Accounts>;
    /// The same for somebody by whose name what is done is noted.
    fn accounts_by(&self, kind: AccountKind, actor: Actor) -> Arc<dyn Accounts>;
    /// Counts up when open streams should ask whether their session is still there.
    fn sessions_changed(&self) -> watch::Receiver<i64>;
}

/// Accounts of one kind, and their sessions. What an operator does to an account, and what its owner does, is noted in the
/// audit log in the same commit.
#[async_trait]
pub trait Accounts: Send + Sync {
    fn kind(&self) -> AccountKind;
    async fn account(&self, login_id: &str) -> Result<Option<AccountRow>>;
    /// By login ID; of one contract or of all.
    async fn list(&self, contract: Option<ContractId>) -> Result<Vec<AccountListing>>;
    /// Its owner chose a new one: every session ends.
    async fn change_password(
        &self,
        login_id: &str,
        password_hash: &str,
        at: UtcMicros,
    ) -> Result<()>;
    /// An operator issues a new one: every session ends.
    async fn reset_password(
        &self,
        login_id: &str,
        password_hash: &str,
        must_change: bool,
        at: UtcMicros,
    ) -> Result<()>;
    /// With its sessions, and all that is known of it. Never the last operator.
    async fn remove(&self, login_id: &str, at: UtcMicros) -> Result<()>;
    async fn record_sign_in(&self, login_id: &str, sign_in: SignIn) -> Result<()>;

    /// `proven`: with the second factor, which opens what the password alone does not.
    async fn create_session(
        &self,
        login_id: &str,
        token_hash: Sha256,
        proven: bool,
        at: UtcMicros,
    ) -> Result<()>;
    async fn session(&self, token_hash: Sha256) -> Result<Option<SessionRow>>;
    /// The newest first.
    async fn sessions(&self, login_id: &str) -> Result<Vec<SessionListing>>;
    async fn touch_session(&self, token_hash: Sha256, at: UtcMicros) -> Result<()>;
    /// It has run out, or another takes its place.
    async fn delete_session(&self, token_hash: Sha256) -> Result<()>;
    /// Its owner leaves.
    async fn sign_out(&self, login_id: &str, token_hash: Sha256, at: UtcMicros) -> Result<()>;
    /// Its owner ends it from another one. `false`: the account has no such session.
    async fn end_session(&self, login_id: &str, token_hash: Sha256, at: UtcMicros) -> Result<bool>;
    /// Ends every session of an account but the one given.
    async fn delete_other_sessions(
        &self,
        login_id: &str,
        keep: Sha256,
        at: UtcMicros,
    ) -> Result<()>;

    /// Also one that is only begun.
    async fn second_factor(&self, login_id: &str) -> Result<Option<SecondFactor>>;
    /// Begins to set one up; it counts once [`Self::confirm_second_factor`] was called. Not where one counts already.
    async fn begin_second_factor(&self, login_id: &str, factor: &SecondFactor) -> Result<()>;
    /// From now on it counts; codes up to `step` are used up. `false`: it was not the one that was begun.
    async fn confirm_second_factor(
        &self,
        login_id: &str,
        factor: &SecondFactor,
        step: i64,
        at: UtcMicros,
    ) -> Result<bool>;
    /// Uses the code of a step. `false`: it, or a later one, was used before.
    async fn use_step(&self, login_id: &str, step: i64) -> Result<bool>;
    /// Puts a factor with one recovery code less in place of the one before. `false`: somebody else was quicker.
    async fn use_recovery_code(
        &self,
        login_id: &str,
        before: &SecondFactor,
        after: &SecondFactor,
        at: UtcMicros,
    ) -> Result<bool>;
    /// The account has none any more; every session but the one given ends. `false`: it had none.
    async fn remove_second_factor(
        &self,
        login_id: &str,
        keep: Sha256,
        at: UtcMicros,
    ) -> Result<bool>;
}
