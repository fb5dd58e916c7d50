//! The Security page: the nineteen clauses of the white paper, each with its promise and with what this receiver can show
//! for it at this moment.
//!
//! One function per clause, in `security/evidence.rs`, says what there is to show. What was never done, or what this
//! receiver does not keep, is said so: a page of evidence that claims more than it knows is worth nothing.

mod evidence;

use super::PortalState;
use super::layout::{self, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::{Clause, SecurityWords, clauses};
use crate::auth::session::Session;
use crate::store::{AccountKind, AccountRow, SecurityFacts};
use axum::extract::State;
use evidence::{Item, Mark};
use maud::{Markup, html};

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
) -> Result<Markup, Problem> {
    let facts = state.store.security_facts(session.scope).await?;
    let users = state.accounts(AccountKind::Customer);
    let user = users.account(&session.login_id).await?;
    let shown = Shown {
        visit: &visit,
        facts: &facts,
        session: &session,
        user: user.as_ref(),
        region: state.region.as_deref(),
    };
    Ok(page(&shown))
}

/// What evidence is taken from.
struct Shown<'a> {
    visit: &'a Visit,
    facts: &'a SecurityFacts,
    session: &'a Session,
    user: Option<&'a AccountRow>,
    /// Where the store says that it is.
    region: Option<&'a str>,
}

fn page(shown: &Shown<'_>) -> Markup {
    let visit = shown.visit;
    let words = SecurityWords::of(visit.lang);
    let body = html! {
        div.section-head { h1 { (words.security) } }
        p { (words.intro) }
        p.hint { (visit.lang.evidence_read_at(&visit.full(visit.now))) }
        ol.clauses {
            @for (clause, evidence) in clauses(visit.lang).iter().zip(evidence::ALL) {
                (section(shown, clause, &evidence(shown)))
            }
        }
    };
    layout::page(visit, Tab::Security, words.security, &body)
}

fn section(shown: &Shown<'_>, clause: &Clause, items: &[Item]) -> Markup {
    let words = SecurityWords::of(shown.visit.lang);
    html! {
        li.sheet.clause id={ "clause-" (clause.number) } {
            h2 { span.clause-number.tabular { (clause.number) } " " (clause.title) }
            p { (clause.promise) }
            h3 { (words.evidence) }
            ul.evidence-list {
                @for item in items {
                    li class=(item.mark.class()) {
                        @match item.mark {
                            Mark::Good => (layout::icon_good()),
                            Mark::Bad => (layout::icon_bad()),
                            Mark::NotYet => (layout::icon_pending()),
                        }
                        span {
                            (item.text)
                            @if let Some((address, word)) = &item.link { " " a href=(address) { (word) } }
                        }
                    }
                }
            }
        }
    }
}
