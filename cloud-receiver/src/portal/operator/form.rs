//! What the operators' forms share: fields, what was refused, and the contract's name typed before something is destroyed.

use crate::auth::session::OperatorSession;
use crate::evidence::local;
use crate::notice::Faulty;
use crate::office::{self, Office, Refusal};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::OfficeWords;
use crate::store::{Actor, ContractBook, ContractDetail, StoreError};
use jiff::civil::Date;
use maud::{Markup, html};
use wire::{ContractId, UtcMicros};

/// The office, in the name of whoever is signed in.
pub(super) fn office(state: &PortalState, session: &OperatorSession) -> Result<Office, Problem> {
    let office = state.office.as_ref().ok_or(Problem::NotFound)?;
    Ok(office.by(Actor::Operator(session.login_id.clone())))
}

pub(super) async fn contract(office: &Office, id: &str) -> Result<ContractDetail, Problem> {
    let id: ContractId = id.parse().map_err(|_| Problem::NotFound)?;
    office.store.contract(id).await?.ok_or(Problem::NotFound)
}

impl From<office::Error> for Problem {
    fn from(error: office::Error) -> Self {
        match error {
            office::Error::Refused(refusal) => Self::Refused(Box::new(refusal)),
            office::Error::Store(error) => error.into(),
            office::Error::Failed(error) => match refusal_in(&error) {
                Some(refusal) => Self::Refused(Box::new(refusal)),
                None => Self::internal(format!("{error:#}")),
            },
        }
    }
}

/// What stood against it, however much was said around it on the way.
fn refusal_in(error: &anyhow::Error) -> Option<Refusal> {
    if let Some(StoreError::Conflict(conflict)) = error.downcast_ref() {
        return Some(conflict.clone().into());
    }
    let faulty: Option<&Faulty> = error.downcast_ref();
    faulty.map(|faulty| faulty.clone().into())
}

/// Why it was refused, in the operator's language, for the page it was asked on; anything else that went wrong is a problem.
pub(super) fn told<T>(
    visit: &Visit,
    outcome: Result<T, impl Into<office::Error>>,
) -> Result<Result<T, String>, Problem> {
    let error = match outcome {
        Ok(done) => return Ok(Ok(done)),
        Err(error) => error.into(),
    };
    match Problem::from(error) {
        Problem::Refused(refusal) => Ok(Err(says(visit, &refusal))),
        other => Err(other),
    }
}

pub(super) fn says(visit: &Visit, refusal: &Refusal) -> String {
    visit.lang.refused(refusal, visit)
}

pub(super) fn words(visit: &Visit) -> &'static OfficeWords {
    OfficeWords::of(visit.lang)
}

pub(super) fn complaint(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { (layout::notice(Notice::Bad, text)) } }
}

/// One line of text.
pub(super) fn text(name: &str, label: &str, value: &str, hint: Option<&str>) -> Markup {
    input("text", name, label, value, hint)
}

pub(super) fn input(
    kind: &str,
    name: &str,
    label: &str,
    value: &str,
    hint: Option<&str>,
) -> Markup {
    let described = hint.map(|_| format!("{name}-hint"));
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) type=(kind) name=(name) value=(value) autocomplete="off" aria-describedby=[described.as_deref()];
            @if let (Some(hint), Some(id)) = (hint, &described) { p.hint id=(id) { (hint) } }
        }
    }
}

pub(super) fn area(name: &str, label: &str, value: &str, hint: Option<&str>) -> Markup {
    let described = hint.map(|_| format!("{name}-hint"));
    html! {
        div.field {
            label for=(name) { (label) }
            textarea id=(name) name=(name) rows="4" aria-describedby=[described.as_deref()] { (value) }
            @if let (Some(hint), Some(id)) = (hint, &described) { p.hint id=(id) { (hint) } }
        }
    }
}

pub(super) fn tick(name: &str, label: &str, is_on: bool) -> Markup {
    html! { label.box { input type="checkbox" name=(name) value="1" checked[is_on]; span { (label) } } }
}

/// Asks for the contract's name; `id` where a page asks more than once.
pub(super) fn name_to_type(visit: &Visit, id: &str, name: &str) -> Markup {
    html! {
        div.field {
            label for=(id) { (words(visit).type_name) }
            input id=(id) name="typed" autocomplete="off" spellcheck="false" required
                aria-describedby={ (id) "-hint" };
            p.hint id={ (id) "-hint" } { (name) }
        }
    }
}

pub(super) fn is_named(typed: &str, name: &str) -> bool {
    typed.trim() == name.trim()
}

/// A local time as a browser's field gives it; absent where the field was left empty.
pub(super) fn time(visit: &Visit, text: &str) -> Result<Option<UtcMicros>, String> {
    match text.trim() {
        "" => Ok(None),
        text => local::parse(text)
            .map(Some)
            .map_err(|_| words(visit).refused_time.to_owned()),
    }
}

pub(super) fn day(visit: &Visit, text: &str) -> Result<Date, String> {
    let day = text.trim().parse();
    day.map_err(|_| words(visit).refused_day.to_owned())
}

/// The first of what a form sent under a name.
pub(super) fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found = fields.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value.as_str())
}

/// The way back to where something stands.
pub(super) fn back(address: &str, word: &str) -> Markup {
    html! { p { a.more href=(address) { (word) } } }
}
