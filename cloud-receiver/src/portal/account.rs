//! The user's own account: when it was used, the password, and other browsers that are signed in.

use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::thousands;
use super::{PortalState, cookies};
use crate::auth::session::Session;
use crate::store::UserRow;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use wire::UtcMicros;

/// Carries what the account looked like before this sign-in. Told to its own user only; nothing is decided by it.
pub const BEFORE_COOKIE: &str = "__Host-before";

/// The account's history as it stood at sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    pub signed_in_us: Option<UtcMicros>,
    pub failed: u64,
}

pub fn before_cookie(user: &UserRow) -> String {
    let last = user.last_sign_in_us.map_or(0, |at| at.0);
    format!(
        "{BEFORE_COOKIE}={last}.{}; Path=/; Secure; HttpOnly; SameSite=Lax",
        user.failed_sign_ins
    )
}

fn before(headers: &HeaderMap) -> Option<Before> {
    let (last, failed) = cookies::find(headers, BEFORE_COOKIE)?.split_once('.')?;
    let last: i64 = last.parse().ok()?;
    Some(Before {
        signed_in_us: (last > 0).then_some(UtcMicros(last)),
        failed: failed.parse().ok()?,
    })
}

pub async fn show(
    visit: Visit,
    session: Session,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Markup {
    let words = visit.words();
    let done = match query.as_deref() {
        Some("changed=1") => Some(words.password_changed),
        Some("ended=1") => Some(words.others_ended),
        _ => None,
    };
    page(&visit, &session, before(&headers), done)
}

pub async fn end_other_sessions(
    State(state): State<PortalState>,
    session: Session,
) -> Result<Redirect, Problem> {
    state
        .store
        .delete_other_sessions(&session.login_id, session.token_hash)
        .await?;
    Ok(Redirect::to("/account?ended=1"))
}

fn page(visit: &Visit, session: &Session, before: Option<Before>, done: Option<&str>) -> Markup {
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
                    @if let Some(before) = before {
                        div {
                            dt { (words.previous_sign_in) }
                            dd.tabular {
                                @match before.signed_in_us {
                                    Some(at) => (visit.full(at)),
                                    None => (words.first_sign_in),
                                }
                            }
                        }
                        div {
                            dt { (words.failed_since) }
                            dd.tabular { (thousands(before.failed)) }
                        }
                    }
                }
                @if before.is_some_and(|before| before.failed > 0) {
                    (layout::notice(Notice::Bad, words.failed_hint))
                }
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
            before(&headers)
        };
        let told = Before { signed_in_us: Some(UtcMicros(5)), failed: 2 };
        assert_eq!(read("__Host-before=5.2"), Some(told));
        assert_eq!(read("__Host-before=0.0").map(|b| b.signed_in_us), Some(None));
        assert_eq!(read("__Host-before=x"), None);
        assert_eq!(read("lang=ja"), None);
    }
}
