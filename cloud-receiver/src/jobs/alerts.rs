//! Watches for devices and cameras that fall silent and clocks that are off, and tells of it once: when it begins, and when
//! it is over.
//!
//! The operator is told of everything. The customer's contacts are told of silence, in their words, because only somebody on the
//! site can look at a plug; of a clock they are not, because times are corrected and there is nothing for them to do.
//! Everything that begins or ends within a minute and a half is one message to each.

use crate::clock::now;
use crate::config::Config;
use crate::notice::{Sender, as_html, in_full, language};
use crate::portal::when::When;
use crate::portal::words::Lang;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    AlertBook, AlertKind, AlertRow, ContractDetail, Letter, MailKind, NewMail, Watched,
};
use crate::watch;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::{ContractId, UtcMicros};

const EVERY: Duration = Duration::from_secs(15);
/// A turn that comes so late means that the machine slept: nobody was listening.
const ASLEEP_US: i64 = 180_000_000;
/// Lines of one message.
const LINES: usize = 100;

pub async fn run(store: SqliteStore, config: Config, stop: CancellationToken) {
    let mut listening = now();
    let mut last = listening;
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        let at = now();
        if at.since_us(last) > ASLEEP_US {
            listening = at;
        }
        last = at;
        if let Err(error) = turn(&store, &config, listening, at).await {
            tracing::error!("devices cannot be watched: {error:#}; it is tried again");
        }
    }
}

/// Judges everything, then tells what is due.
async fn turn(
    store: &SqliteStore,
    config: &Config,
    listening: UtcMicros,
    at: UtcMicros,
) -> anyhow::Result<()> {
    let watched = store.watched().await?;
    let ids: BTreeSet<ContractId> = watched.iter().map(|device| device.contract).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let contracts: BTreeMap<ContractId, ContractDetail> = in_full(store, &ids)
        .await?
        .into_iter()
        // Of a contract whose period is over nobody waits for pictures.
        .filter(|contract| contract.until_us.is_none_or(|until| at < until))
        .map(|contract| (contract.id, contract))
        .collect();
    let judged: Vec<_> = watched
        .iter()
        .filter_map(|device| {
            let terms = &contracts.get(&device.contract)?.terms;
            let judged = watch::judge(device, terms, listening, at);
            Some((device.contract, judged))
        })
        .collect();
    let live = store.live_alerts(at).await?;
    store
        .step_alerts(watch::steps(&judged, &live, at), at)
        .await?;

    let live = store.live_alerts(at).await?;
    let (begun, ended) = watch::to_tell(&live, at);
    if begun.is_empty() && ended.is_empty() {
        return Ok(());
    }
    let mut mail = to_operator(config, &watched, &contracts, &begun, &ended, at);
    for contract in contracts.values() {
        mail.extend(to_contacts(config, &watched, contract, &begun, &ended, at));
    }
    let (begun, ended): (Vec<_>, Vec<_>) = (numbers(&begun), numbers(&ended));
    tracing::warn!(
        "{} alerts began and {} ended: {} messages",
        begun.len(),
        ended.len(),
        mail.len()
    );
    store.alerts_told(begun, ended, mail, at).await?;
    Ok(())
}

fn numbers(alerts: &[&AlertRow]) -> Vec<u64> {
    alerts.iter().map(|alert| alert.no).collect()
}

fn to_operator(
    config: &Config,
    watched: &[Watched],
    contracts: &BTreeMap<ContractId, ContractDetail>,
    begun: &[&AlertRow],
    ended: &[&AlertRow],
    at: UtcMicros,
) -> Vec<NewMail> {
    let when = when(Lang::Ja, crate::portal::when::DEFAULT_ZONE, at);
    let line = |alert: &&AlertRow, over: bool| {
        let contract = contracts.get(&alert.contract);
        let name = contract.map_or("", |contract| contract.name.as_str());
        let words = sentence(watched, alert, over, &when)?;
        Some(format!(
            "{name}: {words}\n  {} {}",
            alert.matter.kind.word(),
            alert.matter.device
        ))
    };
    let Some((subject, text)) = written(&when, begun, ended, line) else {
        return Vec::new();
    };
    let text = format!("{text}\n{}/operator\n", config.portal_url());
    let mail = |to: &String| NewMail {
        contract: None,
        kind: MailKind::Alert,
        about: None,
        letter: Letter {
            to: to.clone(),
            subject: subject.clone(),
            html: Some(as_html(Lang::Ja, &text)),
            text: text.clone(),
            ..Letter::default()
        },
    };
    config.alerts.mail_to.iter().map(mail).collect()
}

fn to_contacts(
    config: &Config,
    watched: &[Watched],
    contract: &ContractDetail,
    begun: &[&AlertRow],
    ended: &[&AlertRow],
    at: UtcMicros,
) -> Vec<NewMail> {
    let own = |alerts: &[&'_ AlertRow]| -> Vec<AlertRow> {
        let concerns = |alert: &&&AlertRow| {
            alert.contract == contract.id && alert.matter.kind != AlertKind::ClockOff
        };
        alerts
            .iter()
            .filter(concerns)
            .map(|alert| (*alert).clone())
            .collect()
    };
    let (begun, ended) = (own(begun), own(ended));
    let lang = language(contract);
    let when = when(lang, &contract.terms.zone, at);
    let line = |alert: &&AlertRow, over: bool| sentence(watched, alert, over, &when);
    let (begun, ended): (Vec<_>, Vec<_>) = (begun.iter().collect(), ended.iter().collect());
    let Some((subject, text)) = written(&when, &begun, &ended, line) else {
        return Vec::new();
    };
    let sender = Sender::of(config);
    let text = format!(
        "{}\n\n{text}\n{}/\n\n{}\n{}\n",
        contract.name, sender.portal, sender.name, sender.contact
    );
    let mail = |to: &String| NewMail {
        contract: Some(contract.id),
        kind: MailKind::Alert,
        about: None,
        letter: Letter {
            to: to.clone(),
            subject: subject.clone(),
            html: Some(as_html(lang, &text)),
            text: text.clone(),
            ..Letter::default()
        },
    };
    contract.terms.contacts.iter().map(mail).collect()
}

fn when(lang: Lang, zone: &str, at: UtcMicros) -> When {
    When {
        lang,
        zone: TimeZone::get(zone).unwrap_or(TimeZone::UTC),
        now: at,
    }
}

/// Subject and lines; nothing where there is nothing to say.
fn written(
    when: &When,
    begun: &[&AlertRow],
    ended: &[&AlertRow],
    line: impl Fn(&&AlertRow, bool) -> Option<String>,
) -> Option<(String, String)> {
    let begins = begun.iter().filter_map(|alert| line(alert, false));
    let begins: Vec<String> = begins.collect();
    let ends: Vec<String> = ended.iter().filter_map(|alert| line(alert, true)).collect();
    if begins.is_empty() && ends.is_empty() {
        return None;
    }
    let subject = when.lang.alert_subject(begins.len(), ends.len());
    let all: Vec<_> = begins.into_iter().chain(ends).collect();
    let mut text = all[..all.len().min(LINES)].join("\n") + "\n";
    if all.len() > LINES {
        text += &format!("{}\n", when.lang.and_more(all.len() - LINES));
    }
    Some((subject, text))
}

/// In the customer's words; nothing of what is no longer there.
fn sentence(watched: &[Watched], alert: &AlertRow, over: bool, when: &When) -> Option<String> {
    let device = watched
        .iter()
        .find(|device| device.device == alert.matter.device)?;
    let names: Vec<&str> = device
        .cameras
        .iter()
        .map(|camera| camera.name.as_str())
        .collect();
    let site = device.site_name.as_str();
    let since = when.short(alert.since_us);
    let lang = when.lang;
    Some(match (alert.matter.kind, over) {
        (AlertKind::DeviceSilent, false) => lang.device_at_silent_since(site, &names, &since),
        (AlertKind::DeviceSilent, true) => lang.device_well_again(site, &names),
        (AlertKind::ClockOff, false) => lang.clock_off_since(site, &names, &since),
        (AlertKind::ClockOff, true) => lang.clock_right_again(site, &names),
        (AlertKind::CameraSilent, over) => {
            let camera = device
                .cameras
                .iter()
                .find(|camera| Some(camera.camera) == alert.matter.camera)?;
            if over {
                lang.camera_well_again(&camera.name)
            } else {
                lang.no_pictures_since(&camera.name, &since)
            }
        }
    })
}
