//! The user's own account: when it was used, the password, and other browsers that are signed in.

use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::thousands;
use super::{PortalState, cookies};
use crate::auth::session::Session;
use crate::store::AccountKind;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use wire::UtcMicros;

/// Carries when the account was used before this sign-in. Told to its own user only; nothing is decided by it.
pub const BEFORE_COOKIE: &str = "__Host-before";

/// The account's history as its user should check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct History {
    /// Absent where this browser cannot say; `Some(None)` at the first sign-in.
    previous_us: Option<Option<UtcMicros>>,
    /// Failed sign-ins since the previous one.
    failed: u64,
}

pub fn before_cookie(previous: Option<UtcMicros>) -> String {
    let previous = previous.map_or(0, |at| at.0);
    format!("{BEFORE_COOKIE}={previous}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

fn previous_sign_in(headers: &HeaderMap) -> Option<Option<UtcMicros>> {
    let at: i64 = cookies::find(headers, BEFORE_COOKIE)?.parse().ok()?;
    Some((at > 0).then_some(UtcMicros(at)))
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Markup, Problem> {
    let words = visit.words();
    let done = match query.as_deref() {
        Some("changed=1") => Some(words.password_changed),
        Some("ended=1") => Some(words.others_ended),
        _ => None,
    };
    let users = state.accounts(AccountKind::Customer);
    let user = users.account(&session.login_id).await?;
    let history = History {
        previous_us: previous_sign_in(&headers),
        failed: user.ok_or(Problem::NotFound)?.failed_sign_ins,
    };
    Ok(page(&visit, &session, history, done))
}

pub async fn end_other_sessions(
    State(state): State<PortalState>,
    session: Session,
) -> Result<Redirect, Problem> {
    state
        .accounts(AccountKind::Customer)
        .delete_other_sessions(&session.login_id, session.token_hash)
        .await?;
    Ok(Redirect::to("/account?ended=1"))
}

fn page(visit: &Visit, session: &Session, history: History, done: Option<&str>) -> Markup {
    let words = visit.words();
    let body = html! {
        h1 { (words.account) }
        @if let Some(text) = done { (layout::notice(Notice::Good, text)) }
        div.columns {
            section.sheet {
                h2 { (words.account_user) }
                dl.facts {
                    div { dt { (words.login_id) } dd { (session.login_id) } }
                    div { dt { (words.contract) } dd { (session.contract_name) } }
                    div { dt { (words.this_sign_in) } dd.tabular { (visit.full(session.created_us)) } }
                    @if let Some(previous) = history.previous_us {
                        div {
                            dt { (words.previous_sign_in) }
                            dd.tabular {
                                @match previous {
                                    Some(at) => (visit.full(at)),
                                    None => (words.first_sign_in),
                                }
                            }
                        }
                    }
                    div {
                        dt { (words.failed_since) }
                        dd.tabular { (thousands(history.failed)) }
                    }
                }
                @if history.failed > 0 { (layout::notice(Notice::Bad, words.failed_hint)) }
            }
            section.sheet {
                h2 { (words.password) }
                p { (words.your_part) }
                p { a.button href="/password" { (words.change_password) } }
            }
            section.sheet {
                h2 { (words.sessions) }
                p { (words.end_others_text) }
                form method="post" action="/account/end-other-sessions" {
                    button type="submit" { (words.end_others) }
                }
                form method="post" action="/sign-out" {
                    button type="submit" { (words.sign_out) }
                }
            }
        }
    };
    layout::page(visit, Tab::Account, words.account, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header};

    #[test]
    fn a_broken_cookie_tells_nothing() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(value));
            previous_sign_in(&headers)
        };
        assert_eq!(read("__Host-before=5"), Some(Some(UtcMicros(5))));
        assert_eq!(read("__Host-before=0"), Some(None));
        assert_eq!(read("__Host-before=x"), None);
        assert_eq!(read("lang=ja"), None);
    }
}
