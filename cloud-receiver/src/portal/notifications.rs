//! What the user wants to be told of by mail: the own setting, and the two links that mails carry.
//!
//! Nothing is sent to an address before its owner said so, by a link that was mailed there. Every mail can be stopped by its
//! own link, without signing in: a look at the link changes nothing, a button or one POST does (RFC 8058), because
//! mail programs look at links by themselves.

use super::PortalState;
use super::layout::{self, Notice, Tab};
use super::problem::Problem;
use super::visit::Visit;
use super::words::Lang;
use crate::auth::session::Session;
use crate::notice::as_html;
use crate::seal::random;
use crate::store::{
    CameraOverview, Letter, MailKind, NewMail, Question, Rhythm, SiteOverview, SubscriptionRow,
    Wishes,
};
use axum::extract::{Form, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use data_encoding::BASE64URL_NOPAD;
use maud::{Markup, html};
use wire::{Sha256, UtcMicros};

const PAGE: &str = "/account/notifications";
const MINUTE_US: i64 = 60_000_000;
/// How long the question to an address can be answered.
const QUESTION_US: i64 = 24 * 60 * MINUTE_US;
const COOL_DOWNS: [u32; 5] = [5, 10, 30, 60, 240];

/// What can be chosen.
struct Choices {
    sites: Vec<SiteOverview>,
    classes: Vec<String>,
}

impl Choices {
    fn cameras(&self) -> impl Iterator<Item = &CameraOverview> {
        self.sites.iter().flat_map(|site| &site.cameras)
    }
}

async fn choices(
    state: &PortalState,
    visit: &Visit,
    session: &Session,
) -> Result<Choices, Problem> {
    let (sites, classes) = tokio::try_join!(
        state.store.overview(session.scope, visit.midnight_today()),
        state.store.classes(session.scope),
    )?;
    Ok(Choices { sites, classes })
}

pub async fn form(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    RawQuery(query): RawQuery,
) -> Result<Markup, Problem> {
    let row = state
        .store
        .subscription(session.scope, &session.login_id)
        .await?;
    let choices = choices(&state, &visit, &session).await?;
    let words = visit.words();
    let done = match query.as_deref() {
        Some("saved=1") => Some((Notice::Good, words.notify_saved)),
        Some("asked=1") => Some((Notice::Good, words.notify_asked)),
        Some("dropped=1") => Some((Notice::Good, words.notify_dropped)),
        _ => None,
    };
    Ok(page(&visit, row.as_ref(), &choices, done))
}

pub async fn submit(
    State(state): State<PortalState>,
    visit: Visit,
    session: Session,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (store, words) = (&state.store, visit.words());
    let before = store.subscription(session.scope, &session.login_id).await?;
    let has = |name: &str| fields.iter().any(|(key, _)| key == name);
    if has("drop") {
        store
            .drop_subscription(session.scope, &session.login_id, visit.now)
            .await?;
        return Ok(Redirect::to("/account/notifications?dropped=1").into_response());
    }
    let choices = choices(&state, &visit, &session).await?;
    let wishes = match read(&fields, &choices, before.as_ref(), visit.lang) {
        Some(wishes) => wishes,
        None => {
            let wrong = Some((Notice::Bad, words.notify_wrong_address));
            let page = page(&visit, before.as_ref(), &choices, wrong);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let is_confirmed = before.as_ref().is_some_and(|row| {
        row.confirmed_us.is_some()
            && row.stopped_us.is_none()
            && row.wishes.address == wishes.address
    });
    let question = (!is_confirmed).then(|| question(&state, &session, &wishes, visit.now));
    let done = store
        .set_subscription(
            session.scope,
            &session.login_id,
            wishes,
            question,
            visit.now,
        )
        .await?;
    if !done {
        let wrong = Some((Notice::Wait, words.notify_asked_lately));
        let page = page(&visit, before.as_ref(), &choices, wrong);
        return Ok((StatusCode::TOO_MANY_REQUESTS, page).into_response());
    }
    let how = if is_confirmed { "saved" } else { "asked" };
    Ok(Redirect::to(&format!("{PAGE}?{how}=1")).into_response())
}

/// Nothing if the address is none. What is not there to be chosen is not chosen.
fn read(
    fields: &[(String, String)],
    choices: &Choices,
    before: Option<&SubscriptionRow>,
    lang: Lang,
) -> Option<Wishes> {
    let all = |name: &'static str| {
        fields
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let one = |name: &'static str| all(name).next().unwrap_or_default();
    let address = one("address").trim().to_owned();
    if address.len() > 254 || crate::mail::check(&address).is_err() || address.contains(['<', ','])
    {
        return None;
    }
    let hour = |name| one(name).parse().ok().filter(|hour| *hour < 24);
    let cool_down = one("cool_down").parse().ok();
    Some(Wishes {
        address,
        language: Lang::from_code(one("language"))
            .unwrap_or(lang)
            .code()
            .to_owned(),
        classes: all("class")
            .filter(|class| choices.classes.iter().any(|known| known == class))
            .map(str::to_owned)
            .collect(),
        cameras: choices
            .cameras()
            .map(|camera| camera.camera)
            .filter(|id| all("camera").any(|chosen| chosen == id.to_string()))
            .collect(),
        sites: choices
            .sites
            .iter()
            .map(|site| site.site)
            .filter(|id| all("site").any(|chosen| chosen == id.to_string()))
            .collect(),
        from_hour: hour("from_hour").unwrap_or(0),
        to_hour: hour("to_hour").unwrap_or(0),
        cool_down_minutes: cool_down
            .filter(|minutes| COOL_DOWNS.contains(minutes))
            .unwrap_or(COOL_DOWNS[1]),
        rhythm: match one("rhythm") {
            "hourly" => Rhythm::Hourly,
            "daily" => Rhythm::Daily,
            _ => Rhythm::AtOnce,
        },
        // Links of mails that were sent go on working.
        stop_token: before.map_or_else(token, |row| row.wishes.stop_token.clone()),
    })
}

fn token() -> String {
    BASE64URL_NOPAD.encode(&random::<32>())
}

fn question(state: &PortalState, session: &Session, wishes: &Wishes, at: UtcMicros) -> Question {
    let lang = Lang::from_code(&wishes.language).unwrap_or(Lang::Ja);
    let token = token();
    let link = format!("{}/mail/confirm/{token}", state.address);
    let text = lang.notify_question(&link);
    Question {
        token_hash: Sha256::of(token.as_bytes()),
        until_us: at.plus_us(QUESTION_US),
        mail: NewMail {
            contract: Some(session.scope.contract()),
            kind: MailKind::Confirm,
            about: None,
            letter: Letter {
                to: wishes.address.clone(),
                subject: lang.words().notify_question_subject.to_owned(),
                html: Some(as_html(lang, &text)),
                text,
                ..Letter::default()
            },
        },
    }
}

fn page(
    visit: &Visit,
    row: Option<&SubscriptionRow>,
    choices: &Choices,
    done: Option<(Notice, &str)>,
) -> Markup {
    let words = visit.words();
    let usual = Wishes {
        language: visit.lang.code().to_owned(),
        cool_down_minutes: COOL_DOWNS[1],
        ..Wishes::default()
    };
    // Dropped is as if it had never been.
    let row = row.filter(|row| !row.wishes.address.is_empty());
    let wishes = row.map_or(&usual, |row| &row.wishes);
    let state = row.map(|row| match (row.stopped_us, row.confirmed_us) {
        (Some(_), _) => (Notice::Wait, words.notify_is_stopped),
        (None, None) => (Notice::Wait, words.notify_is_asked),
        (None, Some(_)) => (Notice::Good, words.notify_is_on),
    });
    let body = html! {
        div.narrow {
            h1 { (words.notify) }
            @if let Some((kind, text)) = done { (layout::notice(kind, text)) }
            @else if let Some((kind, text)) = state { (layout::notice(kind, text)) }
            p { (words.notify_text) }
            form.sheet method="post" action=(PAGE) {
                div.field {
                    label for="address" { (words.notify_address) }
                    input #address type="email" name="address" value=(wishes.address) maxlength="254" required
                        autocomplete="email" aria-describedby="address-hint";
                    p.hint #address-hint { (words.notify_address_hint) }
                }
                (boxes(words.notify_classes, words.notify_all_hint, "class", choices.classes.iter().map(|class| {
                    (class.clone(), words.class_name(class).to_owned(), wishes.classes.contains(class))
                })))
                (boxes(words.notify_sites, words.notify_all_hint, "site", choices.sites.iter().map(|site| {
                    (site.site.to_string(), site.name.clone(), wishes.sites.contains(&site.site))
                })))
                (boxes(words.notify_cameras, words.notify_all_hint, "camera", choices.cameras().map(|camera| {
                    (camera.camera.to_string(), camera.name.clone(), wishes.cameras.contains(&camera.camera))
                })))
                (hours(visit, wishes))
                (rhythm(visit, wishes))
                button.primary type="submit" { (words.notify_save) }
            }
            @if row.is_some() {
                form method="post" action=(PAGE) {
                    button.quiet type="submit" name="drop" value="1" { (words.notify_drop) }
                }
            }
        }
    };
    layout::page(visit, Tab::Account, words.notify, &body)
}

fn boxes(
    legend: &str,
    hint: &str,
    name: &str,
    choices: impl Iterator<Item = (String, String, bool)>,
) -> Markup {
    let choices: Vec<_> = choices.collect();
    html! {
        @if !choices.is_empty() {
            fieldset.boxes {
                legend { (legend) }
                p.hint { (hint) }
                @for (value, label, chosen) in &choices {
                    label.box { input type="checkbox" name=(name) value=(value) checked[*chosen]; span { (label) } }
                }
            }
        }
    }
}

fn hours(visit: &Visit, wishes: &Wishes) -> Markup {
    let words = visit.words();
    let select = |name: &str, label: &str, chosen: u8| {
        html! {
            div.field {
                label for=(name) { (label) }
                select #(name) name=(name) {
                    @for hour in 0..24_u8 {
                        option value=(hour) selected[hour == chosen] { (format!("{hour:02}:00")) }
                    }
                }
            }
        }
    };
    html! {
        fieldset.boxes {
            legend { (words.notify_hours) }
            p.hint { (words.notify_hours_hint) }
            (select("from_hour", words.notify_from_hour, wishes.from_hour))
            (select("to_hour", words.notify_to_hour, wishes.to_hour))
        }
    }
}

fn rhythm(visit: &Visit, wishes: &Wishes) -> Markup {
    let words = visit.words();
    let rhythms = [
        ("at_once", words.notify_at_once, Rhythm::AtOnce),
        ("hourly", words.notify_hourly, Rhythm::Hourly),
        ("daily", words.notify_daily, Rhythm::Daily),
    ];
    let languages = [("ja", Lang::Ja), ("en", Lang::En)];
    html! {
        div.field {
            label for="rhythm" { (words.notify_rhythm) }
            select #rhythm name="rhythm" {
                @for (value, label, rhythm) in rhythms {
                    option value=(value) selected[wishes.rhythm == rhythm] { (label) }
                }
            }
        }
        div.field {
            label for="cool_down" { (words.notify_cool_down) }
            select #cool_down name="cool_down" {
                @for minutes in COOL_DOWNS {
                    option value=(minutes) selected[wishes.cool_down_minutes == minutes] {
                        (visit.lang.minutes(minutes))
                    }
                }
            }
        }
        div.field {
            label for="mail-language" { (words.notify_language) }
            select #mail-language name="language" {
                @for (value, lang) in languages {
                    option value=(value) lang=(value) selected[wishes.language == value] { (lang.other().words().language_switch) }
                }
            }
        }
    }
}

/// What a link of a mail is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Confirm,
    Stop,
}

async fn follow(
    state: &PortalState,
    visit: &Visit,
    link: Link,
    token: &str,
    sure: bool,
) -> Result<Response, Problem> {
    let hash = Sha256::of(token.as_bytes());
    let known = match link {
        Link::Confirm => state.store.confirm_address(hash, visit.now, sure).await?,
        Link::Stop => state.store.stop_subscription(hash, visit.now, sure).await?,
    };
    let words = visit.words();
    if !known {
        let body = html! { div.narrow { h1 { (words.notify) } (layout::notice(Notice::Bad, words.notify_link_unknown)) } };
        let page = layout::page(visit, Tab::None, words.notify, &body);
        return Ok((StatusCode::NOT_FOUND, page).into_response());
    }
    let (title, text, button, done) = match link {
        Link::Confirm => (
            words.notify_confirm_title,
            words.notify_confirm_text,
            words.notify_confirm_button,
            words.notify_confirmed,
        ),
        Link::Stop => (
            words.notify_stop_title,
            words.notify_stop_text,
            words.notify_stop_button,
            words.notify_stopped,
        ),
    };
    let body = html! {
        div.narrow {
            h1 { (title) }
            @if sure { (layout::notice(Notice::Good, done)) }
            @else {
                p { (text) }
                // To this very address, with its secret.
                form.sheet method="post" { button.primary type="submit" { (button) } }
            }
        }
    };
    Ok(layout::page(visit, Tab::None, title, &body).into_response())
}

pub async fn confirm_page(
    State(state): State<PortalState>,
    visit: Visit,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    follow(&state, &visit, Link::Confirm, &token, false).await
}

pub async fn confirm(
    State(state): State<PortalState>,
    visit: Visit,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    follow(&state, &visit, Link::Confirm, &token, true).await
}

pub async fn stop_page(
    State(state): State<PortalState>,
    visit: Visit,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    follow(&state, &visit, Link::Stop, &token, false).await
}

pub async fn stop(
    State(state): State<PortalState>,
    visit: Visit,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    follow(&state, &visit, Link::Stop, &token, true).await
}
