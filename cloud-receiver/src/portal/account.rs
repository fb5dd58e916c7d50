//! The user's own account: when it was used, the password, and other browsers that are signed in.

use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::thousands;
use super::{PortalState, cookies};
use crate::auth::session::Session;
use crate::store::{AccountKind, Beside, SessionListing};
use axum::extract::{Form, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use wire::{Sha256, UtcMicros};

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
        Some("one=1") => Some(words.session_is_ended),
        _ => None,
    };
    let users = state.accounts(AccountKind::Customer);
    let user = users.account(&session.login_id).await?;
    let user = user.ok_or(Problem::NotFound)?;
    let history = History {
        previous_us: previous_sign_in(&headers),
        failed: user.failed_sign_ins,
    };
    let own = Own {
        session,
        history,
        has_factor: user.beside == Beside::SetUp,
        browsers: users.sessions(&user.login_id).await?,
    };
    Ok(page(&visit, &own, done))
}

/// What is to be ended, by the hash of its token.
#[derive(Deserialize)]
pub struct Ended {
    #[serde(default)]
    session: String,
}

pub async fn end_session(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Form(ended): Form<Ended>,
) -> Result<Redirect, Problem> {
    let hash: Sha256 = ended.session.parse().map_err(|_| Problem::BadRequest)?;
    let users = state.accounts(AccountKind::Customer);
    let found = users
        .end_session(&session.login_id, hash, visit.now)
        .await?;
    if !found {
        return Err(Problem::NotFound);
    }
    Ok(Redirect::to("/account?one=1"))
}

/// All that the page shows.
struct Own {
    session: Session,
    history: History,
    has_factor: bool,
    browsers: Vec<SessionListing>,
}

pub async fn end_other_sessions(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
) -> Result<Redirect, Problem> {
    state
        .accounts(AccountKind::Customer)
        .delete_other_sessions(&session.login_id, session.token_hash, visit.now)
        .await?;
    Ok(Redirect::to("/account?ended=1"))
}

fn page(visit: &Visit, own: &Own, done: Option<&str>) -> Markup {
    let words = visit.words();
    let Own {
        session, history, ..
    } = own;
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
                h2 { (words.second_factor) }
                p.state-line {
                    @if own.has_factor { span.mark-good { (layout::icon_good()) (words.factor_on) } }
                    @else { span { (words.factor_off) } }
                }
                p { a.button href="/second-factor" { (words.factor_manage) } }
            }
            section.sheet {
                h2 { (words.notify) }
                p { (words.notify_text) }
                p { a.button href="/account/notifications" { (words.notify_change) } }
            }
            section.sheet {
                h2 { (words.sessions) }
                (browsers(visit, own))
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

fn browsers(visit: &Visit, own: &Own) -> Markup {
    let words = visit.words();
    html! {
        ul.browsers {
            @for browser in &own.browsers {
                li {
                    span.tabular { (words.signed_in_at) " " (visit.short(browser.created_us)) }
                    span.hint.tabular { (words.last_used) " " (layout::age(visit, browser.last_used_us)) }
                    @if browser.token_hash == own.session.token_hash {
                        span.mark-good { (layout::icon_good()) (words.this_browser) }
                    } @else {
                        form method="post" action="/account/end-session" {
                            input type="hidden" name="session" value=(browser.token_hash);
                            button type="submit" { (words.end_session) }
                        }
                    }
                }
            }
        }
    }
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
