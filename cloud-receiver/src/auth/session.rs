//! Sessions: a random token in a cookie, its hash in the store, and the only maker of a [`ContractScope`].
//!
//! The cookie is `__Host-` (this host only, over TLS only), not readable by scripts, and `SameSite=Lax`: a link to
//! an event in a mail opens it signed in, while a form posted from elsewhere arrives without it. A new token is
//! drawn at every sign-in and at every change of password, so a token planted before is worth nothing.

use crate::store::{Accounts, ContractScope, Result, SessionRow};
use data_encoding::BASE64URL_NOPAD;
use std::fmt;
use wire::{Sha256, UtcMicros};

pub const COOKIE: &str = "__Host-session";

const SECOND_US: i64 = 1_000_000;
/// A session ends when nobody opened a page with it for this long.
pub const IDLE_LIMIT_SECONDS: i64 = 12 * 3600;
/// A session ends this long after sign-in, whatever happens.
pub const ABSOLUTE_LIMIT_SECONDS: i64 = 14 * 24 * 3600;
/// How exactly the last use is kept: one write a minute for each session at most.
const TOUCH_EVERY_SECONDS: i64 = 60;

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

/// A signed-in browser.
#[derive(Clone, Debug)]
pub struct Session {
    pub scope: ContractScope,
    pub login_id: String,
    pub contract_name: String,
    pub token_hash: Sha256,
    pub created_us: UtcMicros,
    pub must_change_password: bool,
}

/// Why a session is looked up: only a person who opens pages keeps it alive, a page that updates itself does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Page,
    Background,
}

/// The session of a token, if there is one and it has not run out.
pub async fn resume(
    accounts: &(impl Accounts + ?Sized),
    token_hash: Sha256,
    use_of_it: Use,
    now: UtcMicros,
) -> Result<Option<Session>> {
    let Some(row) = accounts.session(token_hash).await? else {
        return Ok(None);
    };
    if has_run_out(&row, now) {
        accounts.delete_session(token_hash).await?;
        return Ok(None);
    }
    let unused_us = now.since_us(row.last_used_us);
    if use_of_it == Use::Page && unused_us >= TOUCH_EVERY_SECONDS * SECOND_US {
        accounts.touch_session(token_hash, now).await?;
    }
    Ok(Some(Session {
        scope: ContractScope::of_session(row.contract),
        login_id: row.login_id,
        contract_name: row.contract_name,
        token_hash: row.token_hash,
        created_us: row.created_us,
        must_change_password: row.must_change_password,
    }))
}

/// Starts a session with a new token.
pub async fn begin(
    accounts: &(impl Accounts + ?Sized),
    login_id: &str,
    now: UtcMicros,
) -> Result<Token> {
    let token = Token::generate();
    accounts.create_session(login_id, token.hash(), now).await?;
    Ok(token)
}

fn has_run_out(row: &SessionRow, now: UtcMicros) -> bool {
    now.since_us(row.last_used_us) >= IDLE_LIMIT_SECONDS * SECOND_US
        || now.since_us(row.created_us) >= ABSOLUTE_LIMIT_SECONDS * SECOND_US
}

/// The `Set-Cookie` value that starts a session in the browser.
pub fn cookie(token: &Token) -> String {
    format!(
        "{COOKIE}={}; Path=/; Max-Age={ABSOLUTE_LIMIT_SECONDS}; Secure; HttpOnly; SameSite=Lax",
        token.as_str()
    )
}

/// The `Set-Cookie` value that ends it.
pub fn ended_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
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
            contract: wire::ContractId(Uuid::nil()),
            contract_name: "A".into(),
            created_us: UtcMicros(created * SECOND_US),
            last_used_us: UtcMicros(used * SECOND_US),
            must_change_password: false,
        };
        let now = UtcMicros(100 * 24 * 3600 * SECOND_US);
        let now_seconds = now.0 / SECOND_US;
        let fresh = now_seconds - 60;
        assert!(!has_run_out(&row(fresh, fresh), now));
        assert!(has_run_out(
            &row(
                now_seconds - IDLE_LIMIT_SECONDS,
                now_seconds - IDLE_LIMIT_SECONDS
            ),
            now
        ));
        assert!(has_run_out(
            &row(now_seconds - ABSOLUTE_LIMIT_SECONDS, fresh),
            now
        ));
    }

    #[test]
    fn tokens_are_long_and_never_shown() {
        let token = Token::generate();
        assert_eq!(token.as_str().len(), 43);
        assert_ne!(token, Token::generate());
        assert_eq!(format!("{token:?}"), "Token(***)");
        let cookie = cookie(&token);
        for part in ["__Host-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(part), "{part}");
        }
        assert!(!cookie.contains("Domain"));
    }
}
