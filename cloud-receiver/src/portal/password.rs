//! Changing the own password; the only page there is while the issued one is still in use.

use super::PortalState;
use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::{ClientAddress, Visit, Who};
use super::words::{DeskWords, Words};
use crate::auth::login::{ChangeOutcome, PasswordChange};
use crate::auth::password::Weakness;
use crate::auth::session;
use crate::store::AccountKind;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Entry {
    #[serde(default)]
    current: String,
    #[serde(default)]
    new: String,
    #[serde(default)]
    repeated: String,
}

/// Which field to look at again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Current,
    New,
    Repeated,
}

pub async fn form(visit: Visit, who: Who) -> Markup {
    page(&visit, &who, None)
}

pub async fn submit(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
    ClientAddress(address): ClientAddress,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let words = visit.words();
    let change = PasswordChange {
        current: &entry.current,
        new: &entry.new,
        repeated: &entry.repeated,
        address,
        is_proven: who.is_proven,
    };
    let outcome = state
        .login
        .change_password(
            &*state.accounts(visit.door.kind),
            &who.login_id,
            change,
            visit.now,
        )
        .await?;
    let (wrong, text) = match outcome {
        ChangeOutcome::Changed {
            token,
            known_browser,
        } => {
            let cookies = std::iter::once(session::cookie(visit.door.kind, &token))
                .chain(known_browser)
                .map(|cookie| (header::SET_COOKIE, cookie));
            let cookies = AppendHeaders(cookies.collect::<Vec<_>>());
            return Ok((cookies, Redirect::to(visit.door.password_changed)).into_response());
        }
        ChangeOutcome::WrongCurrent => (Wrong::Current, words.wrong_current.to_owned()),
        ChangeOutcome::NotRepeated => (Wrong::Repeated, words.not_repeated.to_owned()),
        ChangeOutcome::Weak(weakness) => (Wrong::New, weakness_text(words, weakness).to_owned()),
        ChangeOutcome::Wait { seconds } => {
            let text = visit.lang.wait_before_next_try(seconds);
            let page = page(&visit, &who, Some((Wrong::Current, text)));
            return Ok((StatusCode::TOO_MANY_REQUESTS, page).into_response());
        }
    };
    let page = page(&visit, &who, Some((wrong, text)));
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

fn weakness_text(words: &Words, weakness: Weakness) -> &'static str {
    match weakness {
        Weakness::TooShort => words.weak_short,
        Weakness::TooLong => words.weak_long,
        Weakness::Unchanged => words.weak_unchanged,
        Weakness::LikeLoginId => words.weak_login_id,
        Weakness::Common => words.weak_common,
    }
}

fn page(visit: &Visit, who: &Who, refused: Option<(Wrong, String)>) -> Markup {
    let words = visit.words();
    let title = if who.must_change_password {
        words.must_change
    } else {
        words.change_password
    };
    let invalid = |field: Wrong| {
        refused
            .as_ref()
            .is_some_and(|(wrong, _)| *wrong == field)
            .then_some("true")
    };
    let body = html! {
        div.narrow {
            h1 { (title) }
            @if who.must_change_password { p { (words.must_change_text) } }
            @if let Some((_, text)) = &refused { (layout::notice(Notice::Bad, text)) }
            form.sheet method="post" action=(visit.door.password) {
                // Tells password managers whose password this is.
                input type="text" name="login_id" value=(who.login_id) autocomplete="username" hidden readonly;
                div.field {
                    label for="current" { (words.current_password) }
                    input #current type="password" name="current" autocomplete="current-password" maxlength="512"
                        required aria-invalid=[invalid(Wrong::Current)];
                }
                div.field {
                    label for="new" { (words.new_password) }
                    input #new type="password" name="new" autocomplete="new-password" minlength="12" maxlength="512"
                        required aria-describedby="rules" aria-invalid=[invalid(Wrong::New)];
                    p.hint #rules { (words.password_rules) }
                }
                div.field {
                    label for="repeated" { (words.repeat_password) }
                    input #repeated type="password" name="repeated" autocomplete="new-password" minlength="12"
                        maxlength="512" required aria-invalid=[invalid(Wrong::Repeated)];
                }
                button.primary type="submit" { (words.change_password_action) }
            }
            // Customers sign out on their account page, once they may go there.
            @if who.is_in() && visit.door.kind == AccountKind::Operator {
                p.deeds {
                    a.button href=(visit.door.second_factor) { (words.factor_manage) }
                    a.button href="/operator/operators" { (DeskWords::of(visit.lang).operators) }
                }
            }
            @if who.must_change_password || visit.door.kind == AccountKind::Operator {
                form method="post" action=(visit.door.sign_out) { button.quiet type="submit" { (words.sign_out) } }
            }
        }
    };
    layout::page(visit, Tab::Account, title, &body)
}
