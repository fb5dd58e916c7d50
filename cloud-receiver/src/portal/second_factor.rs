//! The second step of signing in, and setting it up: for both doors. Customers may, operators must.

use super::PortalState;
use super::account::before_cookie;
use super::guard::form_query;
use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::qr;
use super::sign_in::set_cookies;
use super::visit::{ClientAddress, Visit, Who};
use crate::auth::login::{CodeOutcome, ConfirmOutcome};
use crate::auth::second_factor::SecondFactor;
use crate::auth::session::{self, Pending};
use crate::store::{AccountKind, Accounts, Actor, Beside};
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

/// As the app shows it above the code.
const ISSUER: &str = "CaaS";

#[derive(Debug, Default, Deserialize)]
pub struct Arrival {
    #[serde(default)]
    next: String,
    removed: Option<String>,
}

#[derive(Deserialize)]
pub struct Entry {
    /// Where one is set up.
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

/// What the page is about now.
enum Step {
    /// The second step of signing in.
    Code,
    /// To begin, or not to.
    Off,
    /// Begun: the app is to be given this.
    Scan(SecondFactor),
    On {
        may_remove: bool,
    },
}

async fn step(
    accounts: &dyn Accounts,
    state: &PortalState,
    who: &Who,
    kind: AccountKind,
) -> Result<Step, Problem> {
    if who.pending == Pending::Code {
        return Ok(Step::Code);
    }
    let account = accounts.account(&who.login_id).await?;
    let account = account.ok_or(Problem::NotFound)?;
    if account.beside == Beside::SetUp {
        let may_remove = match (kind, who.contract) {
            (AccountKind::Customer, Some(contract)) => {
                let detail = state.store.contract(contract).await?;
                detail.is_some_and(|detail| !detail.terms.needs_second_factor)
            }
            _ => false,
        };
        return Ok(Step::On { may_remove });
    }
    Ok(match accounts.second_factor(&who.login_id).await? {
        Some(begun) => Step::Scan(begun),
        None => Step::Off,
    })
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
    Query(arrival): Query<Arrival>,
) -> Result<Markup, Problem> {
    let accounts = state.accounts(visit.door.kind);
    let step = step(&*accounts, &state, &who, visit.door.kind).await?;
    let told = arrival
        .removed
        .map(|_| visit.words().factor_removed.to_owned());
    let told = told.map(|text| (Notice::Good, text));
    Ok(page(&visit, &who, &step, &arrival.next, told))
}

/// A code, after the password.
pub async fn enter(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
    ClientAddress(address): ClientAddress,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let door = visit.door;
    if who.pending != Pending::Code {
        return Ok(Redirect::to(door.second_factor).into_response());
    }
    let accounts = state.accounts(door.kind);
    let outcome = state
        .login
        .enter_code(&*accounts, &who.login_id, &entry.code, address, visit.now)
        .await?;
    let (status, text) = match outcome {
        CodeOutcome::In { token, before } => {
            accounts.delete_session(who.token_hash).await?;
            let mut set = vec![session::cookie(door.kind, &token)];
            if door.kind == AccountKind::Customer {
                set.push(before_cookie(before.last_sign_in_us));
            }
            let next = if before.must_change_password {
                door.password
            } else {
                door.way_back(&entry.next)
            };
            return Ok((set_cookies(set), Redirect::to(next)).into_response());
        }
        CodeOutcome::Wrong => (
            StatusCode::UNPROCESSABLE_ENTITY,
            visit.words().code_wrong.to_owned(),
        ),
        CodeOutcome::Wait { seconds } => (
            StatusCode::TOO_MANY_REQUESTS,
            visit.lang.wait_before_next_try(seconds),
        ),
    };
    let told = Some((Notice::Bad, text));
    let page = page(&visit, &who, &Step::Code, &entry.next, told);
    Ok((status, page).into_response())
}

/// Draws a secret. One that was drawn before and not confirmed is replaced.
pub async fn begin(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
) -> Result<Redirect, Problem> {
    let accounts = state.accounts(visit.door.kind);
    let account = accounts.account(&who.login_id).await?;
    if account.is_some_and(|account| account.beside != Beside::SetUp) {
        accounts
            .begin_second_factor(&who.login_id, &SecondFactor::begin())
            .await?;
    }
    Ok(Redirect::to(visit.door.second_factor))
}

/// The app has the secret: from now on it counts. The recovery codes are shown in this answer and never again.
pub async fn confirm(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
    ClientAddress(address): ClientAddress,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let door = visit.door;
    let accounts = state.accounts(door.kind);
    let step = step(&*accounts, &state, &who, door.kind).await?;
    if !matches!(step, Step::Scan(_)) {
        return Ok(Redirect::to(door.second_factor).into_response());
    }
    let confirmed = state
        .login
        .confirm_factor(
            &*accounts,
            &who.login_id,
            (&entry.password, &entry.code),
            address,
            visit.now,
        )
        .await?;
    let words = visit.words();
    let refused = |status: StatusCode, text: String| {
        let page = page(&visit, &who, &step, &entry.next, Some((Notice::Bad, text)));
        Ok((status, page).into_response())
    };
    const UNFIT: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
    let (token, codes) = match confirmed {
        ConfirmOutcome::Confirmed { token, codes } => (token, codes),
        ConfirmOutcome::WrongPassword => return refused(UNFIT, words.wrong_current.to_owned()),
        ConfirmOutcome::WrongCode => return refused(UNFIT, words.code_wrong.to_owned()),
        ConfirmOutcome::Wait { seconds } => {
            let text = visit.lang.wait_before_next_try(seconds);
            return refused(StatusCode::TOO_MANY_REQUESTS, text);
        }
    };
    accounts.delete_session(who.token_hash).await?;
    let next = if who.must_change_password {
        door.password
    } else {
        door.way_back(&entry.next)
    };
    let set = set_cookies(vec![session::cookie(door.kind, &token)]);
    Ok((set, recovery_page(&visit, &codes, next)).into_response())
}

/// With a code, so that a browser left open is not enough.
pub async fn remove(
    State(state): State<PortalState>,
    visit: Visit,
    who: Who,
    ClientAddress(address): ClientAddress,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let kind = AccountKind::Customer;
    let accounts = state
        .store
        .accounts_by(kind, Actor::User(who.login_id.clone()));
    let step = step(&*accounts, &state, &who, kind).await?;
    if !matches!(step, Step::On { may_remove: true }) {
        return Err(Problem::Forbidden);
    }
    let outcome = state
        .login
        .check_code(&*accounts, &who.login_id, &entry.code, address, visit.now)
        .await?;
    let (status, text) = match outcome {
        None => {
            accounts
                .remove_second_factor(&who.login_id, who.token_hash, visit.now)
                .await?;
            let query = form_query(&[("removed", "1")]);
            return Ok(Redirect::to(&format!("/second-factor?{query}")).into_response());
        }
        Some(0) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            visit.words().code_wrong.to_owned(),
        ),
        Some(seconds) => (
            StatusCode::TOO_MANY_REQUESTS,
            visit.lang.wait_before_next_try(seconds),
        ),
    };
    let told = Some((Notice::Bad, text));
    Ok((status, page(&visit, &who, &step, "", told)).into_response())
}

fn page(
    visit: &Visit,
    who: &Who,
    step: &Step,
    next: &str,
    told: Option<(Notice, String)>,
) -> Markup {
    let words = visit.words();
    let title = match step {
        Step::Code => words.code_title,
        _ => words.second_factor,
    };
    let wrong = matches!(told, Some((Notice::Bad, _)));
    let body = html! {
        div.narrow {
            h1 { (title) }
            @if let Some((kind, text)) = &told { (layout::notice(*kind, text)) }
            @if who.pending == Pending::Enrolment { (layout::notice(Notice::Wait, words.factor_needed)) }
            @match step {
                Step::Code => {
                    (code_form(visit, visit.door.second_factor, words.code_text, next, wrong))
                }
                Step::Off => {
                    p { (words.factor_what) }
                    form.sheet method="post" action={ (visit.door.second_factor) "/begin" } {
                        button.primary type="submit" { (words.factor_begin) }
                    }
                }
                Step::Scan(factor) => {
                    (to_scan(visit, who, factor))
                    (code_form(visit, &format!("{}/confirm", visit.door.second_factor), words.factor_then, next, wrong))
                }
                Step::On { may_remove } => (set_up(visit, *may_remove, wrong)),
            }
            @if who.pending != Pending::Nothing {
                form method="post" action=(visit.door.sign_out) { button.quiet type="submit" { (words.sign_out) } }
            }
        }
    };
    layout::page(visit, Tab::Account, title, &body)
}

fn set_up(visit: &Visit, may_remove: bool, wrong: bool) -> Markup {
    let words = visit.words();
    html! {
        p.state-line { span.mark-good { (layout::icon_good()) (words.factor_on) } }
        @if may_remove {
            (code_form(visit, "/second-factor/remove", words.factor_remove_text, "", wrong))
        } @else {
            p { (match visit.door.kind {
                AccountKind::Customer => words.factor_is_required,
                AccountKind::Operator => words.factor_of_operator,
            }) }
        }
    }
}

fn to_scan(visit: &Visit, who: &Who, factor: &SecondFactor) -> Markup {
    let words = visit.words();
    let secret = factor.secret.to_base32();
    let groups: Vec<&str> = (0..secret.len())
        .step_by(4)
        .map(|at| &secret[at..(at + 4).min(secret.len())])
        .collect();
    html! {
        p { (words.factor_scan) }
        div.sheet {
            (qr::picture(&factor.secret.address(ISSUER, &who.login_id), words.factor_qr))
            p.footer-label { (words.factor_secret) }
            p { code #secret { (groups.join(" ")) } }
        }
    }
}

fn code_form(visit: &Visit, action: &str, text: &str, next: &str, wrong: bool) -> Markup {
    let words = visit.words();
    let is_removal = action.ends_with("/remove");
    let is_set_up = action.ends_with("/confirm");
    html! {
        form.sheet method="post" action=(action) {
            p #about { (text) }
            input type="hidden" name="next" value=(next);
            @if is_set_up {
                div.field {
                    label for="password" { (words.current_password) }
                    input #password type="password" name="password" autocomplete="current-password" maxlength="512"
                        required;
                }
            }
            div.field {
                label for="code" { (words.code) }
                input #code name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false"
                    maxlength="64" required autofocus aria-describedby="about" aria-invalid=[wrong.then_some("true")];
            }
            button.primary type="submit" { (if is_removal { words.factor_remove } else { words.confirm_code }) }
        }
    }
}

fn recovery_page(visit: &Visit, codes: &[String], next: &str) -> Markup {
    let words = visit.words();
    let body = html! {
        div.narrow {
            h1 { (words.recovery_codes) }
            (layout::notice(Notice::Good, words.factor_done))
            p { (words.recovery_text) }
            ul.sheet.recovery { @for code in codes { li { code { (code) } } } }
            p { a.button href=(next) { (words.go_on) } }
        }
    };
    layout::page(visit, Tab::Account, words.recovery_codes, &body)
}
