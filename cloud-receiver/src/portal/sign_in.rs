//! Signing in and out.

use super::PortalState;
use super::account::BEFORE_COOKIE;
use super::cookies;
use super::guard::local_path;
use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::{ClientAddress, Visit};
use crate::auth::login::{Attempt, KNOWN_BROWSER_COOKIE, Outcome};
use crate::auth::session::{self, Session};
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
    let login_id = entry.login_id.trim();
    let attempt = Attempt {
        login_id,
        password: &entry.password,
        address,
        known_browser: cookies::find(&headers, KNOWN_BROWSER_COOKIE),
    };
    let refused = |status: StatusCode, text: String| {
        let page = page(&visit, login_id, &entry.next, Some((Notice::Bad, text)));
        (status, page).into_response()
    };
    match state
        .login
        .sign_in(&*state.store, attempt, visit.now)
        .await?
    {
        Outcome::In {
            token,
            known_browser,
            before,
        } => {
            // A session planted in this browser before, or left open in it, ends here.
            if let Some(old) = cookies::find(&headers, session::COOKIE) {
                let old = session::Token::from_cookie(old);
                state.store.delete_session(old.hash()).await?;
            }
            let cookies = AppendHeaders([
                (header::SET_COOKIE, session::cookie(&token)),
                (header::SET_COOKIE, known_browser),
                (
                    header::SET_COOKIE,
                    super::account::before_cookie(before.last_sign_in_us),
                ),
            ]);
            let next = if before.must_change_password {
                "/password"
            } else {
                local_path(&entry.next)
            };
            Ok((cookies, Redirect::to(next)).into_response())
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
    session: Session,
) -> Result<Response, Problem> {
    state.store.delete_session(session.token_hash).await?;
    tracing::info!(user = %session.login_id, "{} signed out", session.login_id);
    let cookies = AppendHeaders([
        (header::SET_COOKIE, session::ended_cookie()),
        (
            header::SET_COOKIE,
            format!("{BEFORE_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"),
        ),
    ]);
    Ok((cookies, Redirect::to("/sign-in?bye=1")).into_response())
}

fn page(visit: &Visit, login_id: &str, next: &str, notice: Option<(Notice, String)>) -> Markup {
    let words = visit.words();
    let wrong = matches!(notice, Some((Notice::Bad, _)));
    let body = html! {
        div.narrow {
            h1 { (words.sign_in_title) }
            @if let Some((kind, text)) = &notice { (layout::notice(*kind, text)) }
            form.sheet method="post" action="/sign-in" {
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
            p.hint { (words.sign_in_help) }
        }
    };
    layout::page(visit, Tab::None, words.sign_in_title, &body)
}
