//! Sessions: a random token in a cookie, its hash in the store, and the only maker of a [`ContractScope`].
//!
//! The cookie is `__Host-` (this host only, over TLS only) and not readable by scripts. The customers' one is
//! `SameSite=Lax`: a link to an event in a mail opens it signed in, while a form posted from elsewhere arrives
//! without it. The operators' one is `Strict`: nothing leads to their pages from outside. A new token is drawn at
//! every sign-in and at every change of password, so a token planted before is worth nothing.
//!
//! Customers and operators come in by doors of their own: another cookie, another table, another type at the end
//! ([`Session`], [`OperatorSession`]). What one holds is never looked for among the others.

use crate::store::{AccountKind, Accounts, Beside, ContractScope, Holder, Result, SessionRow};
use data_encoding::BASE64URL_NOPAD;
use std::fmt;
use wire::{Sha256, UtcMicros};

const SECOND_US: i64 = 1_000_000;
/// How exactly the last use is kept: one write a minute for each session at most.
const TOUCH_EVERY_SECONDS: i64 = 60;

/// Name of the cookie that carries the token.
pub fn cookie_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Customer => "__Host-session",
        AccountKind::Operator => "__Host-operator-session",
    }
}

/// How long sessions last.
struct Limits {
    /// A session ends when nobody opened a page with it for this long.
    idle_seconds: i64,
    /// A session ends this long after sign-in, whatever happens.
    absolute_seconds: i64,
}

/// A customer's phone stays signed in; whoever sees all contracts' devices signs in every day.
fn limits(kind: AccountKind) -> Limits {
    match kind {
        AccountKind::Customer => Limits {
            idle_seconds: 12 * 3600,
            absolute_seconds: 14 * 24 * 3600,
        },
        AccountKind::Operator => Limits {
            idle_seconds: 3600,
            absolute_seconds: 12 * 3600,
        },
    }
}

/// The password alone opens nothing for longer than this, where a second factor is to follow.
const HALF_OPEN_SECONDS: i64 = 600;

/// What a session still waits for before it opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    Nothing,
    /// A code of the second factor.
    Code,
    /// A second factor is to be set up.
    Enrolment,
}

impl Pending {
    fn of(row: &SessionRow) -> Self {
        match (row.beside, row.proven_us) {
            (Beside::SetUp, None) => Self::Code,
            (Beside::Wanted, _) => Self::Enrolment,
            (Beside::SetUp, Some(_)) | (Beside::None, _) => Self::Nothing,
        }
    }
}

/// 256 random bits, as the cookie carries them. Only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn generate() -> Self {
        let bytes = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new())
            .expect("the operating system's random source answers")
            .expose();
        Self(BASE64URL_NOPAD.encode(&bytes))
    }

    pub fn from_cookie(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A customer's signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    pub scope: ContractScope,
    pub login_id: String,
    pub contract_name: String,
    pub token_hash: Sha256,
    pub created_us: UtcMicros,
    pub is_proven: bool,
    pub pending: Pending,
    pub must_change_password: bool,
}

/// An operator's signed-in browser. It holds no scope: what customers see stays theirs.
#[derive(Clone, Debug)]
pub struct OperatorSession {
    pub login_id: String,
    pub token_hash: Sha256,
    pub is_proven: bool,
    pub pending: Pending,
    pub must_change_password: bool,
}

/// Why a session is looked up: only a person who opens pages keeps it alive, a page that updates itself does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Page,
    Background,
}

/// The customer's session of a token, if there is one and it has not run out.
pub async fn resume(
    accounts: &(impl Accounts + ?Sized),
    token_hash: Sha256,
    use_of_it: Use,
    now: UtcMicros,
) -> Result<Option<Session>> {
    let row = living(accounts, token_hash, use_of_it, now).await?;
    let pending = row.as_ref().map_or(Pending::Nothing, Pending::of);
    Ok(row.and_then(|row| match row.holder {
        Holder::Operator => None,
        Holder::Customer {
            contract,
            contract_name,
        } => Some(Session {
            scope: ContractScope::of_session(contract),
            login_id: row.login_id,
            contract_name,
            token_hash: row.token_hash,
            created_us: row.created_us,
            is_proven: row.proven_us.is_some(),
            pending,
            must_change_password: row.must_change_password,
        }),
    }))
}

/// The operator's session of a token, if there is one and it has not run out.
pub async fn resume_operator(
    accounts: &(impl Accounts + ?Sized),
    token_hash: Sha256,
    use_of_it: Use,
    now: UtcMicros,
) -> Result<Option<OperatorSession>> {
    let row = living(accounts, token_hash, use_of_it, now).await?;
    Ok(row.and_then(|row| match row.holder {
        Holder::Customer { .. } => None,
        Holder::Operator => Some(OperatorSession {
            pending: Pending::of(&row),
            is_proven: row.proven_us.is_some(),
            token_hash: row.token_hash,
            login_id: row.login_id,
            must_change_password: row.must_change_password,
        }),
    }))
}

/// Ends a session that has run out, and notes the use of one that has not.
async fn living(
    accounts: &(impl Accounts + ?Sized),
    token_hash: Sha256,
    use_of_it: Use,
    now: UtcMicros,
) -> Result<Option<SessionRow>> {
    let Some(row) = accounts.session(token_hash).await? else {
        return Ok(None);
    };
    if has_run_out(&row, &limits(accounts.kind()), now) {
        accounts.delete_session(token_hash).await?;
        return Ok(None);
    }
    let unused_us = now.since_us(row.last_used_us);
    if use_of_it == Use::Page && unused_us >= TOUCH_EVERY_SECONDS * SECOND_US {
        accounts.touch_session(token_hash, now).await?;
    }
    Ok(Some(row))
}

/// Starts a session with a new token.
/// `proven`: the second factor was shown.
pub async fn begin(
    accounts: &(impl Accounts + ?Sized),
    login_id: &str,
    proven: bool,
    now: UtcMicros,
) -> Result<Token> {
    let token = Token::generate();
    accounts
        .create_session(login_id, token.hash(), proven, now)
        .await?;
    Ok(token)
}

fn has_run_out(row: &SessionRow, limits: &Limits, now: UtcMicros) -> bool {
    let is_half_open = Pending::of(row) != Pending::Nothing;
    (is_half_open && now.since_us(row.created_us) >= HALF_OPEN_SECONDS * SECOND_US)
        || now.since_us(row.last_used_us) >= limits.idle_seconds * SECOND_US
        || now.since_us(row.created_us) >= limits.absolute_seconds * SECOND_US
}

/// The `Set-Cookie` value that starts a session in the browser.
pub fn cookie(kind: AccountKind, token: &Token) -> String {
    let (name, seconds) = (cookie_name(kind), limits(kind).absolute_seconds);
    format!(
        "{name}={}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite={}",
        token.as_str(),
        same_site(kind)
    )
}

/// The `Set-Cookie` value that ends it.
pub fn ended_cookie(kind: AccountKind) -> String {
    let (name, same_site) = (cookie_name(kind), same_site(kind));
    format!("{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite={same_site}")
}

fn same_site(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Customer => "Lax",
        AccountKind::Operator => "Strict",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn sessions_run_out_by_silence_and_by_age() {
        let row = |created: i64, used: i64| SessionRow {
            token_hash: Sha256::ZERO,
            login_id: "tanaka".into(),
            holder: Holder::Customer {
                contract: wire::ContractId(Uuid::nil()),
                contract_name: "A".into(),
            },
            created_us: UtcMicros(created * SECOND_US),
            last_used_us: UtcMicros(used * SECOND_US),
            proven_us: None,
            must_change_password: false,
            beside: Beside::None,
        };
        let now = UtcMicros(100 * 24 * 3600 * SECOND_US);
        let now_seconds = now.0 / SECOND_US;
        let fresh = now_seconds - 60;
        for kind in [AccountKind::Customer, AccountKind::Operator] {
            let limits = limits(kind);
            assert!(!has_run_out(&row(fresh, fresh), &limits, now));
            let idle = now_seconds - limits.idle_seconds;
            assert!(has_run_out(&row(idle, idle), &limits, now));
            let old = now_seconds - limits.absolute_seconds;
            assert!(has_run_out(&row(old, fresh), &limits, now));
        }
        // With the password alone one has some minutes, whatever one does meanwhile.
        let limits = limits(AccountKind::Customer);
        let half = |created: i64| SessionRow {
            beside: Beside::SetUp,
            ..row(created, now_seconds)
        };
        assert!(!has_run_out(&half(fresh), &limits, now));
        let late = now_seconds - HALF_OPEN_SECONDS;
        assert!(has_run_out(&half(late), &limits, now));
        let proven = SessionRow {
            proven_us: Some(now),
            ..half(late)
        };
        assert!(!has_run_out(&proven, &limits, now));
    }

    #[test]
    fn tokens_are_long_and_never_shown() {
        let token = Token::generate();
        assert_eq!(token.as_str().len(), 43);
        assert_ne!(token, Token::generate());
        assert_eq!(format!("{token:?}"), "Token(***)");
        for kind in [AccountKind::Customer, AccountKind::Operator] {
            let cookie = cookie(kind, &token);
            for part in ["__Host-", "Secure", "HttpOnly", "SameSite=", "Path=/"] {
                assert!(cookie.contains(part), "{part}");
            }
            assert!(!cookie.contains("Domain"));
        }
        assert_ne!(
            cookie_name(AccountKind::Customer),
            cookie_name(AccountKind::Operator)
        );
    }
}
