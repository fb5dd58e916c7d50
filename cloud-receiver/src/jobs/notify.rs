//! Tells users of events by mail, as they wished.
//!
//! Events are compared with wishes in the order in which they were accepted, from a place that is kept in the database: a
//! restart misses none and tells of none twice. What a user is to be told of waits there too.

use crate::blob::Blobs;
use crate::clock::now;
use crate::config::Config;
use crate::mail::small_picture;
use crate::notice::in_full;
use crate::notify;
use crate::portal::Pictures;
use crate::portal::when::When;
use crate::portal::words::Lang;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    ContractDetail, Letter, MailKind, NewEvent, NewMail, NotifierBook, SubscriptionRow,
};
use data_encoding::BASE64;
use jiff::tz::TimeZone;
use maud::html;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::{ContractId, UtcMicros};

const EVERY: Duration = Duration::from_secs(5);
/// Events that are compared at once.
const AT_ONCE: u32 = 500;
/// Lines of one mail.
const LINES: usize = 30;

pub async fn run(store: SqliteStore, blobs: Arc<Blobs>, config: Config, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        if let Err(error) = turn(&store, &blobs, &config, now()).await {
            tracing::error!("users cannot be told of events: {error:#}; it is tried again");
        }
    }
}

/// Compares what is new, and writes what is due.
pub async fn turn(
    store: &SqliteStore,
    blobs: &Blobs,
    config: &Config,
    at: UtcMicros,
) -> anyhow::Result<()> {
    let subscriptions = store.active_subscriptions().await?;
    let mut ids: Vec<ContractId> = subscriptions.iter().map(|row| row.contract).collect();
    ids.sort_unstable();
    ids.dedup();
    let contracts: BTreeMap<ContractId, ContractDetail> = in_full(store, &ids)
        .await?
        .into_iter()
        .map(|contract| (contract.id, contract))
        .collect();
    loop {
        let events = store.uncompared_events(AT_ONCE).await?;
        let Some(last) = events.last().map(|event| event.no) else {
            break;
        };
        let mut queued = Vec::new();
        for event in &events {
            for subscription in subscriptions
                .iter()
                .filter(|row| row.contract == event.contract)
            {
                let Some(contract) = contracts.get(&event.contract) else {
                    continue;
                };
                let when = when(subscription, contract, at);
                if notify::wants(&subscription.wishes, &when.zone, event) {
                    queued.push(notify::queued(subscription, event, &when));
                }
            }
        }
        store.compared(last, queued).await?;
    }
    for subscription in &subscriptions {
        let Some(contract) = contracts.get(&subscription.contract) else {
            continue;
        };
        if !notify::has_cooled(subscription, at) {
            continue;
        }
        // The others are told all the same; what could not be told waits for the next turn.
        if let Err(error) = tell(store, blobs, config, subscription, contract, at).await {
            tracing::error!(
                contract = %contract.id,
                "a user of contract {} cannot be told of events: {error:#}; it is tried again",
                contract.id
            );
        }
    }
    Ok(())
}

async fn tell(
    store: &SqliteStore,
    blobs: &Blobs,
    config: &Config,
    subscription: &SubscriptionRow,
    contract: &ContractDetail,
    at: UtcMicros,
) -> anyhow::Result<()> {
    let events = store.queued_for(&subscription.login_id, at).await?;
    let Some((last, _)) = events.last() else {
        return Ok(());
    };
    let picture = match &events[..] {
        [(event, _)] if contract.terms.pictures_in_mail => picture(store, blobs, event).await?,
        _ => None,
    };
    let when = when(subscription, contract, at);
    let mut letter = letter(&config.portal_url(), subscription, &when, &events);
    if let (Some(picture), Some(html)) = (picture, &mut letter.html) {
        letter.picture = Some(BASE64.encode(&picture));
        let shown = html! { p { img src="cid:picture" alt="" width="320"; } };
        *html = html.replacen("</ul>", &format!("</ul>{}", shown.into_string()), 1);
    }
    let mail = NewMail {
        contract: Some(contract.id),
        kind: MailKind::Event,
        about: None,
        letter,
    };
    store
        .queue_mailed(&subscription.login_id, last.no, mail, at)
        .await?;
    Ok(())
}

/// One that is damaged or gone is left out: the link shows what there is.
async fn picture(
    store: &SqliteStore,
    blobs: &Blobs,
    event: &NewEvent,
) -> anyhow::Result<Option<Vec<u8>>> {
    let Some((device, sha256)) = store.picture_of_event(event.contract, event.id).await? else {
        return Ok(None);
    };
    let Ok(Some(bytes)) = Pictures::picture(blobs, event.contract, device, sha256).await else {
        return Ok(None);
    };
    Ok(tokio::task::spawn_blocking(move || small_picture(&bytes)).await?)
}

fn when(subscription: &SubscriptionRow, contract: &ContractDetail, at: UtcMicros) -> When {
    When {
        lang: Lang::from_code(&subscription.wishes.language).unwrap_or(Lang::Ja),
        zone: TimeZone::get(&contract.terms.zone).unwrap_or(TimeZone::UTC),
        now: at,
    }
}

fn letter(
    portal: &str,
    subscription: &SubscriptionRow,
    when: &When,
    events: &[(NewEvent, bool)],
) -> Letter {
    let (lang, words) = (when.lang, when.lang.words());
    let title = |event: &NewEvent| {
        let name = words.class_name(&event.class);
        format!("{} {}: {name}", event.site_name, event.camera_name)
    };
    let time = |event: &NewEvent, late: bool| {
        let time = when.to_minute(event.opened_us);
        if late {
            format!("{time} {}", words.mail_late)
        } else {
            time
        }
    };
    let subject = match events {
        [(event, _)] => lang.mail_one_event(&title(event), &when.short(event.opened_us)),
        many => lang.mail_events(many.len()),
    };
    let link = |event: &NewEvent| format!("{portal}/events/{}", event.id);
    let stop = format!("{portal}/mail/stop/{}", subscription.wishes.stop_token);
    let more = events.len().saturating_sub(LINES);
    let shown = &events[..events.len() - more];
    let mut text = String::new();
    for (event, late) in shown {
        let (time, title) = (time(event, *late), title(event));
        text += &format!("{time}\n{title}\n{}\n\n", link(event));
    }
    if more > 0 {
        text += &format!("{}\n{portal}/events\n\n", lang.and_more(more));
    }
    text += &format!("{}\n{stop}\n", words.mail_stop_line);
    let html = html! {
        (maud::DOCTYPE)
        html lang=(lang.code()) {
            head { meta charset="utf-8"; }
            body {
                ul {
                    @for (event, late) in shown {
                        li { (time(event, *late)) br; a href=(link(event)) { (title(event)) } }
                    }
                }
                @if more > 0 { p { a href={ (portal) "/events" } { (lang.and_more(more)) } } }
                p { a href=(stop) { (words.mail_stop_line) } }
            }
        }
    };
    Letter {
        to: subscription.wishes.address.clone(),
        subject,
        text,
        html: Some(html.into_string()),
        picture: None,
        unsubscribe: Some(stop),
    }
}
