//! One request as a page needs to know it: language, time, address, and who is looking.

use super::door::Door;
use super::problem::Problem;
use super::when::When;
use super::words::{Lang, Words};
use super::{Contact, PortalState, cookies};
use crate::auth::session::{OperatorSession, Pending, Session};
use crate::store::NoticeRow;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use wire::{ContractId, Sha256};

pub const LANG_COOKIE: &str = "lang";
const LANG_COOKIE_SECONDS: u32 = 400 * 24 * 3600;

/// What every page is drawn with. Times are drawn through it, so it derefs to [`When`].
#[derive(Clone, Debug)]
pub struct Visit {
    pub when: When,
    /// Path and query, for the language switch and the way back after sign-in.
    pub address: String,
    pub contact: Arc<Contact>,
    /// Which door the page is behind.
    pub door: &'static Door,
    /// Whose page it is; nobody's on the sign-in page.
    pub who: Option<Who>,
    /// What the contract is to be told of on every page.
    pub notices: Arc<[NoticeRow]>,
}

/// What the frame of a page says of the signed-in user.
#[derive(Clone, Debug)]
pub struct Who {
    pub login_id: String,
    /// Operators belong to none.
    pub contract_name: Option<String>,
    pub contract: Option<ContractId>,
    pub token_hash: Sha256,
    /// The session has shown a second factor.
    pub is_proven: bool,
    /// Until that is done there is only one page.
    pub pending: Pending,
    /// Until the issued password is changed there is only one page.
    pub must_change_password: bool,
}

impl Who {
    /// Past all that has to be done first.
    pub fn is_in(&self) -> bool {
        self.pending == Pending::Nothing && !self.must_change_password
    }
}

impl From<&Session> for Who {
    fn from(session: &Session) -> Self {
        Self {
            login_id: session.login_id.clone(),
            contract_name: Some(session.contract_name.clone()),
            contract: Some(session.scope.contract()),
            token_hash: session.token_hash,
            is_proven: session.is_proven,
            pending: session.pending,
            must_change_password: session.must_change_password,
        }
    }
}

impl From<&OperatorSession> for Who {
    fn from(session: &OperatorSession) -> Self {
        Self {
            login_id: session.login_id.clone(),
            contract_name: None,
            contract: None,
            token_hash: session.token_hash,
            is_proven: session.is_proven,
            pending: session.pending,
            must_change_password: session.must_change_password,
        }
    }
}

impl Visit {
    pub fn new(state: &PortalState, parts: &Parts) -> Self {
        let lang = cookies::find(&parts.headers, LANG_COOKIE)
            .and_then(Lang::from_code)
            .unwrap_or_else(|| {
                let accepted = parts.headers.get(axum::http::header::ACCEPT_LANGUAGE);
                Lang::accepted(accepted.and_then(|v| v.to_str().ok()).unwrap_or(""))
            });
        Self {
            when: When {
                lang,
                zone: state.zone.clone(),
                now: state.now(),
            },
            address: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            contact: Arc::clone(&state.contact),
            door: Door::of_path(parts.uri.path()),
            who: None,
            notices: Arc::default(),
        }
    }

    pub fn words(&self) -> &'static Words {
        self.when.lang.words()
    }

    /// This address in the other language.
    pub fn switch_language(&self) -> String {
        let separator = if self.address.contains('?') { '&' } else { '?' };
        format!(
            "{}{separator}lang={}",
            self.address,
            self.lang.other().code()
        )
    }
}

impl Deref for Visit {
    type Target = When;
    fn deref(&self) -> &When {
        &self.when
    }
}

/// `Set-Cookie` value that keeps a chosen language.
pub fn lang_cookie(lang: Lang) -> String {
    format!(
        "{LANG_COOKIE}={}; Path=/; Max-Age={LANG_COOKIE_SECONDS}; Secure; HttpOnly; SameSite=Lax",
        lang.code()
    )
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Visit>().cloned().ok_or_else(|| {
            Problem::internal("a handler ran outside of guard::around, which makes the visit")
        })
    }
}

/// Put there by `guard::admit`, and by nothing else.
fn admitted<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    let found = parts.extensions.get::<T>().cloned();
    found.ok_or_else(|| Problem::internal("a handler asked for a session of another door"))
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admitted(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OperatorSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admitted(parts)
    }
}

/// For pages that both doors have.
impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        admitted(parts)
    }
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        Ok(Self(address))
    }
}
