//! Accounts of those who run the receiver, as `operator` on the command line does: each is listed, added with a password that is
//! shown once, given another, freed of a lost phone, or removed - by its login ID typed, and never the last one.

use super::form::{self, complaint, office};
use super::users::{self, Deed};
use crate::auth::issue::Issued;
use crate::auth::session::OperatorSession;
use crate::office::{Office, operators};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::{DeskWords, Words};
use crate::store::{AccountBooks, AccountKind, AccountListing};
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

const ADDRESS: &str = "/operator/operators";

fn word(deed: Deed, words: &Words, desk: &DeskWords) -> &'static str {
    match deed {
        Deed::ResetPassword => words.reissue_password,
        Deed::ResetSecondFactor => words.reset_second_factor,
        Deed::Remove => desk.operator_remove,
    }
}

fn meaning(deed: Deed, words: &Words, desk: &DeskWords) -> &'static str {
    match deed {
        Deed::ResetPassword => words.reissue_password_text,
        Deed::ResetSecondFactor => desk.operator_factor_text,
        Deed::Remove => desk.operator_remove_text,
    }
}

fn words(visit: &Visit) -> &'static DeskWords {
    DeskWords::of(visit.lang)
}

pub async fn list(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let office = office(&state, &session)?;
    page(&visit, &office, &session, None, "").await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    login_id: String,
}

/// As `operator add` does.
pub async fn add(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let login_id = entry.login_id.trim();
    let added = operators::add(&office.store, login_id, visit.now).await;
    match form::told(&visit, added)? {
        Ok(issued) => Ok(issued_page(&visit, login_id, &issued).into_response()),
        Err(why) => {
            let page = page(&visit, &office, &session, Some(&why), login_id).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn listed(office: &Office) -> Result<Vec<AccountListing>, Problem> {
    let book = office.store.accounts(AccountKind::Operator);
    Ok(book.list(None).await?)
}

/// `typed`: a login ID that was refused.
async fn page(
    visit: &Visit,
    office: &Office,
    session: &OperatorSession,
    why: Option<&str>,
    typed: &str,
) -> Result<Markup, Problem> {
    let (w, all) = (words(visit), visit.words());
    let accounts = listed(office).await?;
    let is_last = accounts.len() == 1;
    let body = html! {
        (form::back(visit.door.password, all.account))
        h1 { (w.operators) }
        (complaint(why))
        p { (w.operators_hint) }
        section.sheet {
            ul.devices {
                @for account in &accounts {
                    (row(visit, account, account.login_id == session.login_id, is_last))
                }
            }
        }
        section.sheet {
            h2 { (w.operator_add) }
            form method="post" action=(ADDRESS) { (users::login_id_field(visit, typed)) button.primary { (w.operator_add) } }
        }
    };
    Ok(layout::page(visit, Tab::Account, w.operators, &body))
}

fn row(visit: &Visit, account: &AccountListing, is_own: bool, is_last: bool) -> Markup {
    let (w, words) = (words(visit), visit.words());
    let fits = |deed: &Deed| match deed {
        Deed::ResetPassword => true,
        Deed::ResetSecondFactor => account.has_second_factor,
        Deed::Remove => !is_last,
    };
    html! {
        li.account {
            h3 { (account.login_id) @if is_own { " " span.hint { "(" (w.operator_you) ")" } } }
            (users::facts(visit, account))
            p.deeds {
                @for deed in Deed::ALL.into_iter().filter(fits) {
                    @let word = word(deed, words, w);
                    a.button href={ (ADDRESS) "/" (account.login_id) "/" (deed.path()) }
                        aria-label={ (word) ": " (account.login_id) } { (word) }
                }
            }
        }
    }
}

async fn found(office: &Office, login_id: &str) -> Result<AccountListing, Problem> {
    let mut accounts = listed(office).await?.into_iter();
    let account = accounts.find(|account| account.login_id == login_id);
    account.ok_or(Problem::NotFound)
}

/// The page that asks.
pub async fn ask(
    deed: Deed,
    state: PortalState,
    visit: Visit,
    session: OperatorSession,
    login_id: String,
) -> Result<Markup, Problem> {
    let account = found(&office(&state, &session)?, &login_id).await?;
    Ok(question(&visit, &session, deed, &account, None))
}

fn question(
    visit: &Visit,
    session: &OperatorSession,
    deed: Deed,
    account: &AccountListing,
    why: Option<&str>,
) -> Markup {
    let (w, all) = (words(visit), visit.words());
    let title = word(deed, all, w);
    let login_id = &account.login_id;
    let removes = deed == Deed::Remove;
    let body = html! {
        div.narrow {
            h1 { (title) }
            (complaint(why))
            div.sheet {
                dl.facts { div { dt { (all.login_id) } dd { (login_id) } } }
                p { (meaning(deed, all, w)) }
                @if *login_id == session.login_id { (layout::notice(Notice::Wait, w.operator_is_you)) }
                form method="post" action={ (ADDRESS) "/" (login_id) "/" (deed.path()) } {
                    @if removes {
                        div.field {
                            label for="typed" { (w.operator_type) }
                            input #typed name="typed" autocomplete="off" autocapitalize="none" spellcheck="false" required;
                        }
                    }
                    p.deeds {
                        button.primary[!removes].grave[removes] { (title) }
                        a.button href=(ADDRESS) { (all.leave_it) }
                    }
                }
            }
        }
    };
    layout::page(visit, Tab::Account, title, &body)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Typed {
    typed: String,
}

/// Done as it was asked for.
pub async fn act(
    deed: Deed,
    state: PortalState,
    visit: Visit,
    session: OperatorSession,
    login_id: String,
    asked: Typed,
) -> Result<Response, Problem> {
    let office = office(&state, &session)?;
    let (store, at) = (&office.store, visit.now);
    let account = found(&office, &login_id).await?;
    let refused = |why: &str| {
        let page = question(&visit, &session, deed, &account, Some(why));
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let done = match deed {
        Deed::ResetPassword => {
            let issued = operators::reset_password(store, &login_id, at).await?;
            return Ok(issued_page(&visit, &login_id, &issued).into_response());
        }
        Deed::ResetSecondFactor => operators::reset_second_factor(store, &login_id, at)
            .await
            .map(|_| ()),
        Deed::Remove if !form::is_named(&asked.typed, &login_id) => {
            return refused(words(&visit).operator_differs);
        }
        Deed::Remove => operators::remove(store, &login_id, at).await,
    };
    match form::told(&visit, done)? {
        Ok(()) => Ok(Redirect::to(ADDRESS).into_response()),
        Err(why) => refused(&why),
    }
}

/// Shown in this answer and never again.
fn issued_page(visit: &Visit, login_id: &str, issued: &Issued) -> Markup {
    let hint = Some(visit.words().must_change_text);
    let w = words(visit);
    users::issued_sheet(
        visit,
        Tab::Account,
        ADDRESS,
        login_id,
        issued,
        w.operator_shown_once,
        hint,
    )
}
