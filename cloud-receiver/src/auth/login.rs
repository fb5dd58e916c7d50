//! Signing in and changing the password.
//!
//! Every failure has one answer and takes the same time: an unknown login ID is checked against a hash of its
//! own, and the answer leaves no earlier than [`FAILURE_TAKES`] after the try came in, whatever the database had
//! to do. So nobody learns from outside which login IDs exist.
//!
//! A browser that signed in to an account gets a cookie that says so: a random word and its HMAC under the stored
//! password hash. It opens nothing; it only tells the owner's browser from a stranger's when somebody guesses
//! passwords (see `throttle.rs`). It needs no table, and a new password voids it.

use super::password::{self, HashError, Hashing, Weakness};
use super::second_factor::SecondFactor;
use super::session::{self, Token};
use super::throttle::{Source, Throttle, Verdict, subscriber};
use crate::store::{AccountKind, AccountRow, Accounts, Beside, SignIn, SignInOutcome, StoreError};
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use wire::UtcMicros;

/// Name of the cookie by which a browser is known. Operators have their own, so that signing in at one door does
/// not make the browser a stranger at the other.
pub fn known_browser_cookie_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Customer => "__Host-known",
        AccountKind::Operator => "__Host-operator-known",
    }
}

const KNOWN_BROWSER_SECONDS: i64 = 400 * 24 * 3600;

/// How long a failed try takes at least.
const FAILURE_TAKES: Duration = Duration::from_millis(300);
/// Longer login IDs are never issued, and need not be remembered.
const LOGIN_ID_MAX_BYTES: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// One try to sign in.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    pub login_id: &'a str,
    pub password: &'a str,
    pub address: IpAddr,
    /// The known-browser cookie, as it came.
    pub known_browser: Option<&'a str>,
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt({} from {})", self.login_id, self.address)
    }
}

#[derive(Debug)]
pub enum Outcome {
    /// The password was right. Where something stands beside it, the session opens nothing before that is done.
    In {
        token: Token,
        /// `Set-Cookie` value by which this browser is known from now on.
        known_browser: String,
        /// The account as it was before this sign-in.
        before: AccountRow,
    },
    /// The one answer for every wrong pair.
    Wrong,
    Wait {
        seconds: i64,
    },
}

/// What sign-in shares between requests.
#[derive(Debug)]
pub struct Login {
    hashing: Hashing,
    throttle: Mutex<Throttle>,
    /// Tries with login IDs that nobody has, since they were last noted.
    unknown: AtomicU64,
}

impl Login {
    pub fn new(hashing: Hashing) -> Self {
        Self {
            hashing,
            throttle: Mutex::default(),
            unknown: AtomicU64::new(0),
        }
    }

    /// Tries with login IDs that nobody has, since the last call: counted, and not kept by name, because what is typed
    /// there is now and then a password.
    pub fn take_unknown(&self) -> u64 {
        self.unknown.swap(0, Ordering::Relaxed)
    }

    /// They could not be noted.
    pub fn give_back_unknown(&self, count: u64) {
        self.unknown.fetch_add(count, Ordering::Relaxed);
    }

    pub async fn sign_in(
        &self,
        accounts: &(impl Accounts + ?Sized),
        attempt: Attempt<'_>,
        now: UtcMicros,
    ) -> Result<Outcome, LoginError> {
        let started = Instant::now();
        if attempt.login_id.len() > LOGIN_ID_MAX_BYTES
            || attempt.password.len() > password::MAX_BYTES
        {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep_until(started + FAILURE_TAKES).await;
            return Ok(Outcome::Wrong);
        }
        let user = accounts.account(attempt.login_id).await?;
        let source = source_of(&attempt, user.as_ref());
        let verdict = self
            .throttle()
            .begin(attempt.login_id, attempt.address, &source, now);
        let slowdown = match verdict {
            Verdict::Wait { seconds } => return Ok(Outcome::Wait { seconds }),
            Verdict::Try { slowdown_seconds } => {
                Duration::from_secs(slowdown_seconds.unsigned_abs())
            }
        };
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        let matches = self.hashing.verify(attempt.password, stored).await?;
        tokio::time::sleep_until(started + slowdown).await;

        match user {
            Some(user) if matches => {
                self.throttle()
                    .succeeded(attempt.login_id, attempt.address, &source);
                let token = session::begin(accounts, &user.login_id, false, now).await?;
                match user.beside {
                    Beside::None => {
                        came_in(accounts, &user.login_id, attempt.address, now).await?;
                    }
                    // Whoever stops here knows the password, and that must not go unseen.
                    Beside::SetUp | Beside::Wanted => {
                        let half = SignIn {
                            at: now,
                            address: attempt.address,
                            outcome: SignInOutcome::CodeWanted,
                        };
                        accounts.record_sign_in(&user.login_id, half).await?;
                    }
                }
                Ok(Outcome::In {
                    token,
                    known_browser: known_browser_cookie(accounts.kind(), &user),
                    before: user,
                })
            }
            user => {
                if let Some(user) = user {
                    let failed = SignIn {
                        at: now,
                        address: attempt.address,
                        outcome: SignInOutcome::WrongPassword,
                    };
                    accounts.record_sign_in(&user.login_id, failed).await?;
                    tracing::warn!(
                        user = %user.login_id, address = %attempt.address,
                        "wrong password for {} from {}", user.login_id, attempt.address
                    );
                } else {
                    self.unknown.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep_until(started + FAILURE_TAKES.max(slowdown)).await;
                Ok(Outcome::Wrong)
            }
        }
    }

    /// The second step: a code of the app, or a recovery code. Tries are slowed down by account wherever they come from,
    /// because whoever comes here knows the password; a right password does not forgive wrong codes.
    pub async fn enter_code(
        &self,
        accounts: &(impl Accounts + ?Sized),
        login_id: &str,
        code: &str,
        address: IpAddr,
        now: UtcMicros,
    ) -> Result<CodeOutcome, LoginError> {
        let started = Instant::now();
        let (key, source) = (code_key(login_id), Source::KnownBrowser("code".into()));
        let verdict = self.throttle().begin(&key, address, &source, now);
        if let Verdict::Wait { seconds } = verdict {
            return Ok(CodeOutcome::Wait { seconds });
        }
        let Some(before) = accounts.account(login_id).await? else {
            return Ok(CodeOutcome::Wrong);
        };
        if code.len() <= CODE_MAX_BYTES && uses_up(accounts, login_id, code, now).await? {
            self.throttle().succeeded(&key, address, &source);
            let token = session::begin(accounts, login_id, true, now).await?;
            came_in(accounts, login_id, address, now).await?;
            return Ok(CodeOutcome::In { token, before });
        }
        note_wrong_code(accounts, login_id, address, now).await?;
        tokio::time::sleep_until(started + FAILURE_TAKES).await;
        Ok(CodeOutcome::Wrong)
    }

    /// Whether a code is good, of somebody who is signed in: `None` yes, else for how many seconds to wait, which may be
    /// none.
    pub async fn check_code(
        &self,
        accounts: &(impl Accounts + ?Sized),
        login_id: &str,
        code: &str,
        address: IpAddr,
        now: UtcMicros,
    ) -> Result<Option<i64>, LoginError> {
        let (key, source) = (code_key(login_id), Source::KnownBrowser("code".into()));
        let verdict = self.throttle().begin(&key, address, &source, now);
        if let Verdict::Wait { seconds } = verdict {
            return Ok(Some(seconds));
        }
        if code.len() <= CODE_MAX_BYTES && uses_up(accounts, login_id, code, now).await? {
            self.throttle().succeeded(&key, address, &source);
            return Ok(None);
        }
        // Somebody at a browser that was left open may be trying: seen like any other wrong code.
        note_wrong_code(accounts, login_id, address, now).await?;
        Ok(Some(0))
    }

    /// The app shows that it has the secret which was begun with: from now on the factor counts. The password is asked again:
    /// with a browser that was left open somebody else could put his own app in the place of the user's, for ever.
    pub async fn confirm_factor(
        &self,
        accounts: &(impl Accounts + ?Sized),
        login_id: &str,
        (password, code): (&str, &str),
        address: IpAddr,
        now: UtcMicros,
    ) -> Result<ConfirmOutcome, LoginError> {
        match self
            .knows_password(accounts, login_id, password, address, now)
            .await?
        {
            Known::Yes => {}
            Known::No => return Ok(ConfirmOutcome::WrongPassword),
            Known::Wait { seconds } => return Ok(ConfirmOutcome::Wait { seconds }),
        }
        let Some(begun) = accounts.second_factor(login_id).await? else {
            return Ok(ConfirmOutcome::WrongCode);
        };
        let Some(step) = begun.secret.step_of(&digits(code), now) else {
            return Ok(ConfirmOutcome::WrongCode);
        };
        let is_sign_in = accounts
            .account(login_id)
            .await?
            .is_some_and(|account| account.beside == Beside::Wanted);
        let (factor, codes) = begun.with_recovery_codes();
        if !accounts
            .confirm_second_factor(login_id, &factor, step, now)
            .await?
        {
            return Ok(ConfirmOutcome::WrongCode);
        }
        let token = session::begin(accounts, login_id, true, now).await?;
        if is_sign_in {
            came_in(accounts, login_id, address, now).await?;
        }
        Ok(ConfirmOutcome::Confirmed { token, codes })
    }

    /// Whether somebody who is signed in knows the own password; tries at it are throttled like sign-ins.
    async fn knows_password(
        &self,
        accounts: &(impl Accounts + ?Sized),
        login_id: &str,
        password: &str,
        address: IpAddr,
        now: UtcMicros,
    ) -> Result<Known, LoginError> {
        let source = Source::Address(subscriber(address));
        let verdict = self.throttle().begin(login_id, address, &source, now);
        if let Verdict::Wait { seconds } = verdict {
            return Ok(Known::Wait { seconds });
        }
        let user = accounts.account(login_id).await?;
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        if password.len() > password::MAX_BYTES || !self.hashing.verify(password, stored).await? {
            return Ok(Known::No);
        }
        self.throttle().succeeded(login_id, address, &source);
        Ok(Known::Yes)
    }

    /// Changes a signed-in user's own password. The current one is asked again, so that a browser left open is
    /// not enough; tries at it are throttled like sign-ins.
    pub async fn change_password(
        &self,
        accounts: &(impl Accounts + ?Sized),
        login_id: &str,
        change: PasswordChange<'_>,
        now: UtcMicros,
    ) -> Result<ChangeOutcome, LoginError> {
        match self
            .knows_password(accounts, login_id, change.current, change.address, now)
            .await?
        {
            Known::Yes => {}
            Known::No => return Ok(ChangeOutcome::WrongCurrent),
            Known::Wait { seconds } => return Ok(ChangeOutcome::Wait { seconds }),
        }
        if change.new != change.repeated {
            return Ok(ChangeOutcome::NotRepeated);
        }
        if let Err(weakness) = password::judge(change.new, change.current, login_id) {
            return Ok(ChangeOutcome::Weak(weakness));
        }
        let hash = self.hashing.hash(change.new).await?;
        accounts.change_password(login_id, &hash, now).await?;
        let token = session::begin(accounts, login_id, change.is_proven, now).await?;
        let known_browser = accounts
            .account(login_id)
            .await?
            .map(|user| known_browser_cookie(accounts.kind(), &user));
        tracing::info!(user = %login_id, "{login_id} changed the own password; other sessions ended");
        Ok(ChangeOutcome::Changed {
            token,
            known_browser,
        })
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        // Counts stay right whatever panicked while they were held.
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy)]
pub struct PasswordChange<'a> {
    pub current: &'a str,
    pub new: &'a str,
    pub repeated: &'a str,
    pub address: IpAddr,
    /// The session in which it is done has shown a second factor; so has the one that takes its place.
    pub is_proven: bool,
}

impl std::fmt::Debug for PasswordChange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordChange(***)")
    }
}

#[derive(Debug)]
pub enum ChangeOutcome {
    /// Every other session of the user has ended; this one goes on under a new token.
    Changed {
        token: Token,
        known_browser: Option<String>,
    },
    WrongCurrent,
    NotRepeated,
    Weak(Weakness),
    Wait {
        seconds: i64,
    },
}

enum Known {
    Yes,
    No,
    Wait { seconds: i64 },
}

/// What came of setting up a second factor.
#[derive(Debug)]
pub enum ConfirmOutcome {
    /// A session that has shown it, and the recovery codes.
    Confirmed {
        token: Token,
        codes: Vec<String>,
    },
    WrongPassword,
    WrongCode,
    Wait {
        seconds: i64,
    },
}

/// What came of a code.
#[derive(Debug)]
pub enum CodeOutcome {
    In {
        token: Token,
        /// The account as it was before this sign-in.
        before: AccountRow,
    },
    Wrong,
    Wait {
        seconds: i64,
    },
}

/// Longer than any code however it is spaced.
const CODE_MAX_BYTES: usize = 64;

/// Where the throttle counts wrong codes: no login ID holds this sign.
fn code_key(login_id: &str) -> String {
    format!("{login_id}\0code")
}

/// As apps show it: in two groups.
fn digits(code: &str) -> String {
    code.chars().filter(|sign| !sign.is_whitespace()).collect()
}

/// Whether the code is good, and was not used before; now it is.
async fn uses_up(
    accounts: &(impl Accounts + ?Sized),
    login_id: &str,
    code: &str,
    now: UtcMicros,
) -> Result<bool, StoreError> {
    let Some(factor) = accounts.second_factor(login_id).await? else {
        return Ok(false);
    };
    if let Some(step) = factor.secret.step_of(&digits(code), now) {
        return accounts.use_step(login_id, step).await;
    }
    let rest: Option<SecondFactor> = factor.without(code);
    match rest {
        Some(rest) => {
            accounts
                .use_recovery_code(login_id, &factor, &rest, now)
                .await
        }
        None => Ok(false),
    }
}

/// It counts as a failed sign-in, and stands in the audit log.
async fn note_wrong_code(
    accounts: &(impl Accounts + ?Sized),
    login_id: &str,
    address: IpAddr,
    now: UtcMicros,
) -> Result<(), LoginError> {
    let failed = SignIn {
        at: now,
        address,
        outcome: SignInOutcome::WrongCode,
    };
    accounts.record_sign_in(login_id, failed).await?;
    tracing::warn!(user = %login_id, %address, "wrong code for {login_id} from {address}");
    Ok(())
}

async fn came_in(
    accounts: &(impl Accounts + ?Sized),
    login_id: &str,
    address: IpAddr,
    now: UtcMicros,
) -> Result<(), StoreError> {
    let succeeded = SignIn {
        at: now,
        address,
        outcome: SignInOutcome::Succeeded,
    };
    accounts.record_sign_in(login_id, succeeded).await?;
    tracing::info!(user = %login_id, kind = ?accounts.kind(), "{login_id} signed in");
    Ok(())
}

fn source_of(attempt: &Attempt<'_>, user: Option<&AccountRow>) -> Source {
    match (attempt.known_browser, user) {
        (Some(cookie), Some(user)) => known_word(cookie, user)
            .map(|word| Source::KnownBrowser(word.to_owned()))
            .unwrap_or(Source::Address(subscriber(attempt.address))),
        _ => Source::Address(subscriber(attempt.address)),
    }
}

fn known_browser_cookie(kind: AccountKind, user: &AccountRow) -> String {
    let word = ring::rand::generate::<[u8; 16]>(&ring::rand::SystemRandom::new())
        .expect("the operating system's random source answers")
        .expose();
    let word = BASE64URL_NOPAD.encode(&word);
    let tag = hmac::sign(&known_key(user), known_message(&word, user).as_bytes());
    format!(
        "{}={word}.{}; Path=/; Max-Age={KNOWN_BROWSER_SECONDS}; Secure; HttpOnly; SameSite=Strict",
        known_browser_cookie_name(kind),
        BASE64URL_NOPAD.encode(tag.as_ref())
    )
}

/// The random word of a cookie that this account's password hash vouches for.
fn known_word<'a>(cookie: &'a str, user: &AccountRow) -> Option<&'a str> {
    let (word, tag) = cookie.split_once('.')?;
    let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
    hmac::verify(&known_key(user), known_message(word, user).as_bytes(), &tag)
        .ok()
        .map(|()| word)
}

fn known_key(user: &AccountRow) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, user.password_hash.as_bytes())
}

fn known_message(word: &str, user: &AccountRow) -> String {
    format!("known-browser\0{}\0{word}", user.login_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(login_id: &str, password_hash: &str) -> AccountRow {
        AccountRow {
            login_id: login_id.into(),
            password_hash: password_hash.into(),
            must_change_password: false,
            last_sign_in_us: None,
            failed_sign_ins: 0,
            beside: Beside::None,
        }
    }

    #[test]
    fn a_browser_is_known_to_its_account_until_the_password_changes() {
        let tanaka = user("tanaka", "hash-1");
        let header = known_browser_cookie(AccountKind::Customer, &tanaka);
        let value = header
            .split_once('=')
            .and_then(|(_, rest)| rest.split(';').next())
            .expect("a value");
        assert!(known_word(value, &tanaka).is_some());
        assert!(known_word(value, &user("suzuki", "hash-1")).is_none());
        assert!(known_word(value, &user("tanaka", "hash-2")).is_none());
        assert!(known_word("forged.AAAA", &tanaka).is_none());
        assert!(known_word("", &tanaka).is_none());
    }
}
