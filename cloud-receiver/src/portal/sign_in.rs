//! Signing in and out, at either door.

use super::PortalState;
use super::account::BEFORE_COOKIE;
use super::cookies;
use super::guard::form_query;
use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::{ClientAddress, Visit, Who};
use crate::auth::login::{Attempt, Outcome, known_browser_cookie_name};
use crate::auth::session::{self, Token};
use crate::store::{AccountKind, Beside};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

/// How the page was come to.
#[derive(Debug, Default, Deserialize)]
pub struct Arrival {
    /// Where to go after signing in.
    #[serde(default)]
    next: String,
    /// The session ran out.
    ended: Option<String>,
    /// The user signed out.
    bye: Option<String>,
}

#[derive(Deserialize)]
pub struct Entry {
    #[serde(default)]
    login_id: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

pub async fn form(visit: Visit, Query(arrival): Query<Arrival>) -> Markup {
    let words = visit.words();
    let notice = if arrival.bye.is_some() {
        Some((Notice::Good, words.signed_out.to_owned()))
    } else if arrival.ended.is_some() {
        Some((Notice::Bad, words.session_ended.to_owned()))
    } else {
        None
    };
    page(&visit, "", &arrival.next, notice)
}

pub async fn submit(
    State(state): State<PortalState>,
    visit: Visit,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let door = visit.door;
    let accounts = state.accounts(door.kind);
    let login_id = entry.login_id.trim();
    let attempt = Attempt {
        login_id,
        password: &entry.password,
        address,
        known_browser: cookies::find(&headers, known_browser_cookie_name(door.kind)),
    };
    let refused = |status: StatusCode, text: String| {
        let page = page(&visit, login_id, &entry.next, Some((Notice::Bad, text)));
        (status, page).into_response()
    };
    match state.login.sign_in(&*accounts, attempt, visit.now).await? {
        Outcome::In {
            token,
            known_browser,
            before,
        } => {
            // A session planted in this browser before, or left open in it, ends here.
            if let Some(old) = cookies::find(&headers, session::cookie_name(door.kind)) {
                accounts
                    .delete_session(Token::from_cookie(old).hash())
                    .await?;
            }
            let mut set = vec![session::cookie(door.kind, &token), known_browser];
            if door.kind == AccountKind::Customer {
                set.push(super::account::before_cookie(before.last_sign_in_us));
            }
            let way_back = door.way_back(&entry.next);
            let next = match before.beside {
                Beside::None if before.must_change_password => door.password.to_owned(),
                Beside::None => way_back.to_owned(),
                Beside::SetUp | Beside::Wanted => {
                    format!(
                        "{}?{}",
                        door.second_factor,
                        form_query(&[("next", way_back)])
                    )
                }
            };
            Ok((set_cookies(set), Redirect::to(&next)).into_response())
        }
        Outcome::Wrong => Ok(refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            visit.words().sign_in_wrong.to_owned(),
        )),
        Outcome::Wait { seconds } => Ok(refused(
            StatusCode::TOO_MANY_REQUESTS,
            visit.lang.wait_before_next_try(seconds),
        )),
    }
}

pub async fn sign_out(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let door = visit.door;
    if let Some(token) = cookies::find(&headers, session::cookie_name(door.kind)) {
        let hash = Token::from_cookie(token).hash();
        let accounts = state.accounts(door.kind);
        accounts.sign_out(&who.login_id, hash, visit.now).await?;
    }
    tracing::info!(user = %who.login_id, kind = ?door.kind, "{} signed out", who.login_id);
    let mut set = vec![session::ended_cookie(door.kind)];
    if door.kind == AccountKind::Customer {
        set.push(format!(
            "{BEFORE_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        ));
    }
    let bye = Redirect::to(&format!("{}?bye=1", door.sign_in));
    Ok((set_cookies(set), bye).into_response())
}

pub(super) fn set_cookies(values: Vec<String>) -> AppendHeaders<Vec<(header::HeaderName, String)>> {
    let headers = values.into_iter().map(|value| (header::SET_COOKIE, value));
    AppendHeaders(headers.collect())
}

fn page(visit: &Visit, login_id: &str, next: &str, notice: Option<(Notice, String)>) -> Markup {
    let words = visit.words();
    let (title, help) = match visit.door.kind {
        AccountKind::Customer => (words.sign_in_title, words.sign_in_help),
        AccountKind::Operator => (words.operator_sign_in, words.operator_sign_in_help),
    };
    let wrong = matches!(notice, Some((Notice::Bad, _)));
    let body = html! {
        div.narrow {
            h1 { (title) }
            @if let Some((kind, text)) = &notice { (layout::notice(*kind, text)) }
            form.sheet method="post" action=(visit.door.sign_in) {
                input type="hidden" name="next" value=(next);
                div.field {
                    label for="login_id" { (words.login_id) }
                    input #login_id name="login_id" value=(login_id) autocomplete="username" autocapitalize="none"
                        spellcheck="false" maxlength="128" required autofocus[login_id.is_empty()];
                }
                div.field {
                    label for="password" { (words.password) }
                    input #password type="password" name="password" autocomplete="current-password" maxlength="512"
                        required autofocus[!login_id.is_empty()] aria-invalid=[wrong.then_some("true")];
                }
                button.primary type="submit" { (words.sign_in) }
            }
            p.hint { (help) }
        }
    };
    layout::page(visit, Tab::None, title, &body)
}
