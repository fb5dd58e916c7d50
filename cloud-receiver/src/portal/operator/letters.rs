//! The texts of letters to customers: read, edited with a preview, and put back as they were delivered.

use super::form::{self, field, office};
use crate::auth::session::OperatorSession;
use crate::notice::Template;
use crate::office::letters::{self, Letter, Which};
use crate::portal::PortalState;
use crate::portal::layout::{self, Notice, Tab};
use crate::portal::problem::Problem;
use crate::portal::visit::Visit;
use crate::portal::words::{DeskWords, Lang};
use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

const ADDRESS: &str = "/operator/letters";
/// Far more than a letter has.
pub const FORM_LIMIT_BYTES: usize = 128 * 1024;

type Fields = Vec<(String, String)>;

fn words(visit: &Visit) -> &'static DeskWords {
    DeskWords::of(visit.lang)
}

fn address(which: Which) -> String {
    format!("{ADDRESS}/{}", which.name())
}

fn kind(w: &DeskWords, template: Template) -> &'static str {
    match template {
        Template::Maintenance => w.letter_maintenance,
        Template::MaintenanceUrgent => w.letter_maintenance_urgent,
        Template::MaintenanceCancelled => w.letter_maintenance_cancelled,
        Template::Incident => w.letter_incident,
        Template::IncidentClosed => w.letter_incident_closed,
    }
}

fn language(visit: &Visit, lang: Lang) -> &'static str {
    let w = form::words(visit);
    match lang {
        Lang::Ja => w.japanese,
        Lang::En => w.english,
    }
}

fn title(visit: &Visit, which: Which) -> String {
    let kind = kind(words(visit), which.template);
    match visit.lang {
        Lang::Ja => format!("{kind}（{}）", language(visit, which.lang)),
        Lang::En => format!("{kind} ({})", language(visit, which.lang)),
    }
}

/// What the word between the braces stands for.
fn meaning(w: &DeskWords, name: &str) -> &'static str {
    match name {
        "contract" => w.field_contract,
        "from" => w.field_from,
        "to" => w.field_to,
        "closed" => w.field_closed,
        "what" => w.field_what,
        "why" => w.field_why,
        "operator" => w.field_operator,
        "contact" => w.field_contact,
        _ => w.field_portal,
    }
}

pub async fn list(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
) -> Result<Markup, Problem> {
    let (office, w) = (office(&state, &session)?, words(&visit));
    let read = |which| letters::read(&office.config, which);
    let all: Vec<Letter> = Which::all()
        .map(read)
        .collect::<anyhow::Result<_>>()
        .map_err(crate::office::Error::from)?;
    let body = html! {
        (form::back("/operator/notices", visit.words().notices))
        h1 { (w.letters) }
        p { (w.letters_hint) }
        section.sheet {
            ul.browsers {
                @for letter in &all {
                    li {
                        b { (title(&visit, letter.which)) }
                        (standing(&visit, letter))
                        a.button href=(address(letter.which)) aria-label={ (w.letter_edit) ": " (title(&visit, letter.which)) } { (w.letter_edit) }
                    }
                }
            }
        }
    };
    Ok(layout::page(&visit, Tab::Notices, w.letters, &body))
}

fn standing(visit: &Visit, letter: &Letter) -> Markup {
    let w = words(visit);
    html! {
        @if letter.fault.is_some() { span.mark-bad { (layout::icon_bad()) (w.letter_wrong) } }
        @else if letter.is_own { span.mark-good { (layout::icon_good()) (w.letter_own) } }
        @else { span.hint { (w.letter_built_in) } }
    }
}

fn found(name: &str) -> Result<Which, Problem> {
    Which::parse(name).ok_or(Problem::NotFound)
}

#[derive(Debug, Default, Deserialize)]
pub struct Arrival {
    saved: Option<String>,
    reset: Option<String>,
}

pub async fn show(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(name): Path<String>,
    Query(arrival): Query<Arrival>,
) -> Result<Markup, Problem> {
    let (office, which) = (office(&state, &session)?, found(&name)?);
    let letter = letters::read(&office.config, which).map_err(crate::office::Error::from)?;
    let w = words(&visit);
    let told = match (&arrival.saved, &arrival.reset) {
        (Some(_), _) => Some((Notice::Good, w.letter_saved.to_owned())),
        (_, Some(_)) => Some((Notice::Good, w.letter_was_reset.to_owned())),
        _ => None,
    };
    let fault = letter.fault.as_ref();
    let told = fault
        .map(|fault| (Notice::Bad, visit.lang.fault(fault)))
        .or(told);
    Ok(page(&visit, &letter, &letter.source, told))
}

/// Shows it with sample contents, saves it, or puts the text as delivered in its place.
pub async fn act(
    State(state): State<PortalState>,
    visit: Visit,
    session: OperatorSession,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let (office, which) = (office(&state, &session)?, found(&name)?);
    let (store, config, at) = (&office.store, &office.config, visit.now);
    let letter = letters::read(config, which).map_err(crate::office::Error::from)?;
    let source = field(&fields, "text");
    let again = |why: String| {
        let page = page(&visit, &letter, source, Some((Notice::Bad, why)));
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let done = match field(&fields, "step") {
        "edit" => return Ok(page(&visit, &letter, source, None).into_response()),
        "preview" => match form::told(&visit, letters::preview(config, which, source, at))? {
            Ok(shown) => return Ok(previewed(&visit, which, source, &shown).into_response()),
            Err(why) => return again(why),
        },
        "ask-reset" => return Ok(ask_reset(&visit, which).into_response()),
        "save" => letters::save(store, config, which, source, at)
            .await
            .map(|()| "saved"),
        "reset" => letters::reset(store, config, which, at)
            .await
            .map(|_| "reset"),
        _ => return Err(Problem::BadRequest),
    };
    match form::told(&visit, done)? {
        Ok(what) => Ok(Redirect::to(&format!("{}?{what}=1", address(which))).into_response()),
        Err(why) => again(why),
    }
}

fn page(visit: &Visit, letter: &Letter, source: &str, told: Option<(Notice, String)>) -> Markup {
    let (w, which) = (words(visit), letter.which);
    let title = title(visit, which);
    let needed = which.template.needed();
    let body = html! {
        (form::back(ADDRESS, w.letters))
        div.section-head { h1 { (title) } (standing(visit, letter)) }
        @if let Some((kind, text)) = &told { (layout::notice(*kind, text)) }
        div.columns {
            form.sheet method="post" action=(address(which)) {
                div.field {
                    label for="text" { (w.letter_text) }
                    textarea #text name="text" rows="18" lang=(which.lang.code()) spellcheck="true" { "\n" (source) }
                }
                p.deeds { button.primary name="step" value="preview" { (w.letter_preview) } }
            }
            section.sheet {
                h2 { (w.letter_fields) }
                dl.facts {
                    @for name in which.template.names() {
                        div {
                            dt.code { "{{" (name) "}}" }
                            dd { (meaning(w, name)) @if needed.contains(name) { " " span.hint { "(" (w.letter_needed) ")" } } }
                        }
                    }
                }
            }
        }
        @if letter.is_own {
            form method="post" action=(address(which)) { button name="step" value="ask-reset" { (w.letter_reset) } }
        }
    };
    layout::page(visit, Tab::Notices, &title, &body)
}

fn previewed(visit: &Visit, which: Which, source: &str, shown: &(String, String)) -> Markup {
    let w = words(visit);
    let (subject, text) = shown;
    let body = html! {
        h1 { (title(visit, which)) }
        (layout::notice(Notice::Wait, w.letter_previewed))
        section.sheet {
            h2 { (w.letter_preview) }
            p lang=(which.lang.code()) { b { (subject) } }
            pre.letter lang=(which.lang.code()) { (text) }
        }
        form.deeds method="post" action=(address(which)) {
            input type="hidden" name="text" value=(source);
            button.primary name="step" value="save" { (form::words(visit).save) }
            button name="step" value="edit" { (w.letter_again) }
        }
    };
    layout::page(visit, Tab::Notices, w.letter_preview, &body)
}

fn ask_reset(visit: &Visit, which: Which) -> Markup {
    let w = words(visit);
    let body = html! {
        div.narrow {
            h1 { (w.letter_reset) }
            div.sheet { h2 { (title(visit, which)) } p { (w.letter_reset_text) } }
            form.deeds method="post" action=(address(which)) {
                button.grave name="step" value="reset" { (w.letter_reset) }
                a.button href=(address(which)) { (visit.words().leave_it) }
            }
        }
    };
    layout::page(visit, Tab::Notices, w.letter_reset, &body)
}
