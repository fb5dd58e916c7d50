//! What an operator does to a customer's account: add it, issue a new password, take the second factor away, remove it.
//! As the commands do, and each but the first is asked for on a page of its own.

use super::{contracts, form};
use crate::auth::issue::{Issued, is_login_id, must_change_issued};
use crate::auth::session::OperatorSession;
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::{Words, thousands};
use crate::store::{AccountKind, AccountListing, Actor, StoreError};
use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use wire::{ContractId, Sha256};

/// What is done to an account, each at an address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    ResetPassword,
    ResetSecondFactor,
    Remove,
}

impl Deed {
    pub(super) const ALL: [Self; 3] = [Self::ResetPassword, Self::ResetSecondFactor, Self::Remove];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset-password",
            Self::ResetSecondFactor => "reset-second-factor",
            Self::Remove => "remove",
        }
    }

    fn word(self, words: &Words) -> &'static str {
        match self {
            Self::ResetPassword => words.reissue_password,
            Self::ResetSecondFactor => words.reset_second_factor,
            Self::Remove => words.remove_user,
        }
    }

    fn meaning(self, words: &Words) -> &'static str {
        match self {
            Self::ResetPassword => words.reissue_password_text,
            Self::ResetSecondFactor => words.reset_second_factor_text,
            Self::Remove => words.remove_user_text,
        }
    }
}

/// One account in the list of a contract.
pub(super) fn row(visit: &Visit, user: &AccountListing) -> Markup {
    let words = visit.words();
    let deeds = Deed::ALL
        .into_iter()
        .filter(|deed| *deed != Deed::ResetSecondFactor || user.has_second_factor);
    html! {
        li.account {
            h3 { (user.login_id) }
            (facts(visit, user))
            p.deeds {
                @for deed in deeds {
                    a.button href={ "/operator/users/" (user.login_id) "/" (deed.path()) } { (deed.word(words)) }
                }
            }
        }
    }
}

/// What is known of an account, of either kind.
pub(super) fn facts(visit: &Visit, user: &AccountListing) -> Markup {
    let words = visit.words();
    html! {
            dl.facts {
                div {
                    dt { (words.last_sign_in) }
                    dd.tabular {
                        @match user.last_sign_in_us { Some(at) => (visit.full(at)), None => (words.never_signed_in) }
                    }
                }
                div { dt { (words.failed_sign_ins) } dd.tabular { (thousands(user.failed_sign_ins)) } }
                div {
                    dt { (words.second_factor) }
                    dd { (if user.has_second_factor { words.factor_on } else { words.factor_off }) }
                }
                div { dt { (words.sessions) } dd.tabular { (thousands(user.sessions)) } }
                @if user.must_change_password { div { dt { (words.password) } dd { (words.has_issued_password) } } }
            }
    }
}

pub(super) fn add_form(visit: &Visit, contract: ContractId, typed: &str) -> Markup {
    let words = visit.words();
    html! {
        h3 { (words.add_user) }
        form method="post" action={ "/operator/contracts/" (contract) "/users" } {
            (login_id_field(visit, typed))
            button.primary type="submit" { (words.add_user) }
        }
    }
}

/// `typed`: one that was refused.
pub(super) fn login_id_field(visit: &Visit, typed: &str) -> Markup {
    let words = visit.words();
    html! {
        div.field {
            label for="login_id" { (words.login_id) }
            input #login_id name="login_id" value=(typed) autocomplete="off" autocapitalize="none" spellcheck="false"
                maxlength="64" required aria-describedby="login-id-rules" aria-invalid=[(!typed.is_empty()).then_some("true")];
            p.hint #login-id-rules { (words.login_id_rules) }
        }
    }
}

#[derive(Deserialize)]
pub struct Entry {
    #[serde(default)]
    login_id: String,
}

pub async fn add(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(contract): Path<String>,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let words = visit.words();
    let whole = contracts::whole(&state, &session, &contract).await?;
    let login_id = entry.login_id.trim();
    let refused = |text: &str| {
        let page = contracts::page(&visit, &whole, Some((text, login_id)));
        (StatusCode::UNPROCESSABLE_ENTITY, page).into_response()
    };
    if !is_login_id(login_id) {
        return Ok(refused(words.login_id_rules));
    }
    let id = whole.detail.id;
    let desk = state.store.acting(Actor::Operator(session.login_id));
    let must_change = must_change_issued(&*desk, id).await?;
    let issued = draw().await?;
    let added = desk.add_user(login_id, id, &issued.hash, must_change, visit.now);
    match added.await {
        Ok(()) => Ok(issued_page(&visit, id, login_id, &issued, must_change).into_response()),
        Err(StoreError::Exists(_)) => Ok(refused(words.login_id_taken)),
        Err(error) => form::told(&visit, Err::<Response, _>(error))
            .map(|told| told.unwrap_or_else(|why| refused(&why))),
    }
}

/// Off the threads that serve others: hashing takes its time.
async fn draw() -> Result<Issued, Problem> {
    let drawn = tokio::task::spawn_blocking(Issued::draw).await;
    drawn.map_err(Problem::internal)?.map_err(Problem::internal)
}

async fn found(
    state: &PortalState,
    session: &OperatorSession,
    login_id: &str,
) -> Result<(ContractId, AccountListing), Problem> {
    let desk = state
        .store
        .acting(Actor::Operator(session.login_id.clone()));
    let listed = desk.accounts(AccountKind::Customer).list(None).await?;
    let user = listed.into_iter().find(|user| user.login_id == login_id);
    let user = user.ok_or(Problem::NotFound)?;
    Ok((user.contract.ok_or(Problem::NotFound)?, user))
}

/// The page that asks.
pub async fn ask(
    deed: Deed,
    state: PortalState,
    visit: Visit,
    session: OperatorSession,
    login_id: String,
) -> Result<Markup, Problem> {
    let (contract, user) = found(&state, &session, &login_id).await?;
    let words = visit.words();
    let title = deed.word(words);
    let name = user.contract_name.unwrap_or_default();
    let address = format!("/operator/users/{login_id}/{}", deed.path());
    let back = format!("/operator/contracts/{contract}#users");
    let body = super::question(
        &visit,
        title,
        &[(words.login_id, &*login_id), (words.contract, &*name)],
        deed.meaning(words),
        &address,
        &back,
    );
    Ok(layout::page(&visit, Tab::Contracts, title, &body))
}

/// Done as it was asked for.
pub async fn act(
    deed: Deed,
    state: PortalState,
    visit: Visit,
    session: OperatorSession,
    login_id: String,
) -> Result<Response, Problem> {
    let (contract, _) = found(&state, &session, &login_id).await?;
    let desk = state.store.acting(Actor::Operator(session.login_id));
    let book = desk.accounts(AccountKind::Customer);
    match deed {
        Deed::ResetPassword => {
            let must_change = must_change_issued(&*desk, contract).await?;
            let issued = draw().await?;
            book.reset_password(&login_id, &issued.hash, must_change, visit.now)
                .await?;
            let page = issued_page(&visit, contract, &login_id, &issued, must_change);
            return Ok(page.into_response());
        }
        Deed::ResetSecondFactor => {
            book.remove_second_factor(&login_id, Sha256::ZERO, visit.now)
                .await?;
        }
        Deed::Remove => book.remove(&login_id, visit.now).await?,
    }
    Ok(Redirect::to(&format!("/operator/contracts/{contract}#users")).into_response())
}

fn issued_page(
    visit: &Visit,
    contract: ContractId,
    login_id: &str,
    issued: &Issued,
    must_change: bool,
) -> Markup {
    let words = visit.words();
    let back = format!("/operator/contracts/{contract}#users");
    let hint = must_change.then_some(words.must_change_text);
    issued_sheet(
        visit,
        Tab::Contracts,
        &back,
        login_id,
        issued,
        words.shown_once,
        hint,
    )
}

/// Shown in this answer and never again.
pub(super) fn issued_sheet(
    visit: &Visit,
    tab: Tab,
    back: &str,
    login_id: &str,
    issued: &Issued,
    shown_once: &str,
    hint: Option<&str>,
) -> Markup {
    let words = visit.words();
    let body = html! {
        h1 { (words.issued_title) }
        div.sheet {
            (layout::notice(Notice::Wait, shown_once))
            dl.facts {
                div { dt { (words.login_id) } dd.code { (login_id) } }
                div { dt { (words.password) } dd.code #issued { (issued.password) } }
            }
            @if let Some(hint) = hint { p.hint { (hint) } }
        }
        p { a.button href=(back) { (words.go_on) } }
    };
    layout::page(visit, tab, words.issued_title, &body)
}
