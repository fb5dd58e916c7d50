//! Who did what, the newest first: what the command `audit list` says.

use crate::auth::session::OperatorSession;
use crate::portal::PortalState;
use crate::portal::guard::form_query;
use crate::portal::layout::{self, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::store::{Actor, AuditFilter, AuditRow, ContractRow};
use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

const PAGE: u32 = 50;
/// Kinds of actors that can be chosen, and beginnings of actions.
const ACTORS: [&str; 5] = ["user", "operator", "console", "system", "device"];
const ACTIONS: [&str; 10] = [
    "sign_in", "sign_out", "picture", "event", "export", "user", "operator", "contract", "device",
    "command",
];

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    contract: String,
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    before: String,
}

/// An entry with its sealed part, where the key is still there.
struct Entry {
    row: AuditRow,
    personal: Map<String, Value>,
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Query(asked): Query<Asked>,
) -> Result<Markup, Problem> {
    let desk = state.store.acting(Actor::Operator(session.login_id));
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let filter = AuditFilter {
        contract: asked.contract.parse().ok(),
        actor: given(&asked.actor),
        action: given(&asked.action),
    };
    let before = asked.before.parse().ok();
    let mut entries = Vec::new();
    for row in desk.audit_newest(&filter, before, PAGE).await? {
        let personal = desk.audit_personal(&row).await?.unwrap_or_default();
        entries.push(Entry { row, personal });
    }
    let contracts = desk.contracts().await?;
    Ok(page(&visit, &asked, &contracts, &entries))
}

fn page(visit: &Visit, asked: &Asked, contracts: &[ContractRow], entries: &[Entry]) -> Markup {
    let words = visit.words();
    let oldest = entries.last().map(|entry| entry.row.no);
    let more = oldest.filter(|no| *no > 1 && entries.len() == PAGE as usize);
    let body = html! {
        h1 { (words.audit_log) }
        (filter(visit, asked, contracts))
        @if entries.is_empty() { div.empty { h2 { (words.audit_nothing) } } }
        @else {
            div.sheet.wide-table tabindex="0" {
                table.audit {
                    thead {
                        tr {
                            th scope="col" { (words.audit_when) }
                            th scope="col" { (words.audit_who) }
                            th scope="col" { (words.audit_what) }
                            th scope="col" { (words.audit_whom) }
                        }
                    }
                    tbody { @for entry in entries { (line(visit, entry, contracts)) } }
                }
            }
        }
        @if let Some(no) = more {
            @let query = form_query(&[
                ("contract", &*asked.contract), ("actor", &*asked.actor), ("action", &*asked.action),
                ("before", &*no.to_string()),
            ]);
            p { a.button href={ "/operator/audit?" (query) } { (words.audit_older) } }
        }
        p.hint { (words.audit_hint) " " code { "cloud-receiver audit verify --against" } }
    };
    layout::page(visit, Tab::Audit, words.audit_log, &body)
}

fn filter(visit: &Visit, asked: &Asked, contracts: &[ContractRow]) -> Markup {
    let words = visit.words();
    html! {
        form.sheet.audit-filter method="get" action="/operator/audit" {
            div.field {
                label for="contract" { (words.contract) }
                select #contract name="contract" {
                    option value="" { (words.all) }
                    @for contract in contracts {
                        option value=(contract.id) selected[asked.contract == contract.id.to_string()] { (contract.name) }
                    }
                }
            }
            div.field {
                label for="actor" { (words.audit_who) }
                select #actor name="actor" {
                    option value="" { (words.all) }
                    @for actor in ACTORS { option value=(actor) selected[asked.actor == actor] { (words.actor(actor)) } }
                }
            }
            div.field {
                label for="action" { (words.audit_what) }
                select #action name="action" {
                    option value="" { (words.all) }
                    @for action in ACTIONS { option value=(action) selected[asked.action == action] { (action) } }
                }
            }
            button.primary type="submit" { (words.filter_apply) }
        }
    }
}

fn line(visit: &Visit, entry: &Entry, contracts: &[ContractRow]) -> Markup {
    let words = visit.words();
    let Entry { row, personal } = entry;
    let word = |key: &str| personal.get(key).and_then(Value::as_str);
    let name = row.actor_name.as_deref().or_else(|| word("user"));
    let contract = row
        .contract
        .and_then(|id| contracts.iter().find(|known| known.id == id));
    html! {
        tr {
            td.tabular { (visit.full(row.at_us)) }
            td { (words.actor(&row.actor)) @if let Some(name) = name { " " b { (name) } } }
            td { code { (row.action) } }
            td {
                @if let Some(contract) = contract { (contract.name) " " }
                @if let Some(subject) = row.subject.as_deref().or_else(|| word("login_id")) { span.code { (subject) } }
                @if let Some(address) = word("address") { " " span.hint { (address) } }
                @if row.detail != "{}" { " " span.hint { (row.detail) } }
            }
        }
    }
}
