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
    AlertBook, AlertKind, AlertRow, AlertStep, ContractDetail, Letter, MailKind, NewMail, Watched,
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
    // Where nobody looks any more, silence would count as well, and somebody would be told so.
    let live = store.live_alerts().await?;
    let (live, unwatched): (Vec<_>, Vec<_>) = live
        .into_iter()
        .partition(|alert| contracts.contains_key(&alert.contract));
    let mut steps = watch::steps(&judged, &live, at);
    steps.extend(
        unwatched
            .iter()
            .map(|alert| AlertStep::Forsake { no: alert.no }),
    );
    store.step_alerts(steps, at).await?;

    let live = store.live_alerts().await?;
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
    let in_language = |lang| {
        let when = when(lang, crate::portal::when::DEFAULT_ZONE, at);
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
        written(&when, begun, ended, line)
    };
    // Nobody knows which of the two the operator on duty reads.
    let both = in_language(Lang::Ja).zip(in_language(Lang::En));
    let Some(((subject, text), (subject_en, text_en))) = both else {
        return Vec::new();
    };
    let subject = format!("{subject} / {subject_en}");
    let text = format!("{text}\n{text_en}\n{}/operator\n", config.portal_url());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::{
        Administration, ContractBook, DeviceWrites, MailBook, MailChoice, MailRow, Terms,
    };
    use crate::testing::Receiver;
    use wire::heartbeat::{Heartbeat, SpoolReport};
    use wire::{ClockStamp, ClockState, DeviceId, Epoch};

    const MINUTE_US: i64 = 60_000_000;

    fn heartbeat(at: UtcMicros, offset_us: i64) -> Heartbeat {
        Heartbeat {
            sent_at_us: at,
            epoch: Epoch(1),
            agent_version: "0.1.0".into(),
            uptime_seconds: 1,
            clock: ClockStamp {
                state: ClockState::Synced,
                offset_us,
                error_us: Some(1),
            },
            clock_checked_seconds_ago: None,
            spool: SpoolReport::default(),
            carriage: "mqtt".into(),
            cameras: vec![],
        }
    }

    struct Scene {
        receiver: Receiver,
        config: Config,
        devices: Vec<DeviceId>,
        start: UtcMicros,
    }

    impl Scene {
        async fn new(devices: u128) -> Self {
            let receiver = Receiver::start().await;
            let mut config = receiver.config.clone();
            config.alerts.mail_to = vec!["operator@example.jp".into()];
            let store = &receiver.app.store;
            let contract = store.contracts().await.unwrap().remove(0).id;
            let terms = Terms {
                contacts: vec!["soumu@example.jp".into()],
                ..Terms::default()
            };
            store.set_terms(contract, &terms, now()).await.unwrap();
            let mut enrolled = Vec::new();
            for id in 1..=devices {
                enrolled.push(receiver.device(id).await.id);
            }
            // Its own job would judge by the real time, and tell nobody.
            receiver.app.stop().await;
            Self {
                receiver,
                config,
                devices: enrolled,
                start: now(),
            }
        }

        fn at(&self, minutes: f64) -> UtcMicros {
            self.start.plus_us((minutes * MINUTE_US as f64) as i64)
        }

        /// Everybody speaks; their clocks are off by so much.
        async fn heard(&self, minutes: f64, offset_us: i64) {
            let at = self.at(minutes);
            for device in &self.devices {
                let store = &self.receiver.app.store;
                let heartbeat = heartbeat(at, offset_us);
                store.heard(*device, Some(&heartbeat), at).await.unwrap();
            }
        }

        async fn turn(&self, minutes: f64) {
            let store = &self.receiver.app.store;
            turn(store, &self.config, self.start, self.at(minutes))
                .await
                .unwrap();
        }

        async fn mail(&self) -> Vec<MailRow> {
            let store = &self.receiver.app.store;
            store.mail(MailChoice::Newest(1000)).await.unwrap()
        }
    }

    #[tokio::test]
    async fn clause_19_many_silent_devices_are_one_mail_each_and_one_all_clear() {
        let scene = Scene::new(20).await;
        scene.heard(0.0, 0).await;
        for minutes in [5.0, 9.9] {
            scene.turn(minutes).await;
        }
        assert_eq!(scene.mail().await, []);
        for minutes in [10.5, 11.0, 12.5, 13.0, 60.0] {
            scene.turn(minutes).await;
        }
        let mail = scene.mail().await;
        let to: Vec<_> = mail.iter().map(|row| row.letter.to.as_str()).collect();
        assert_eq!(to, ["operator@example.jp", "soumu@example.jp"]);
        assert_eq!(mail[1].letter.subject, "【異常】20件");
        assert!(mail[1].letter.text.contains("Tokyoの装置から"));
        assert!(mail[1].letter.text.contains("電源とネットワーク"));
        // Back, away for a moment, back: over only after a calm.
        scene.heard(61.0, 0).await;
        for minutes in [61.2, 65.0] {
            scene.turn(minutes).await;
        }
        scene.turn(80.0).await;
        scene.heard(81.0, 0).await;
        for minutes in [81.2, 86.3, 86.9] {
            scene.turn(minutes).await;
        }
        assert_eq!(scene.mail().await.len(), 2);
        scene.heard(88.0, 0).await;
        scene.turn(88.0).await;
        let mail = scene.mail().await;
        assert_eq!(mail.len(), 4);
        assert_eq!(mail[3].letter.subject, "【復旧】20件");
        scene.turn(90.0).await;
        assert_eq!(scene.mail().await.len(), 4);
    }

    #[tokio::test]
    async fn clause_19_a_clock_that_is_off_is_told_to_the_operator_alone() {
        let scene = Scene::new(1).await;
        scene.heard(1.0, -1_000_000).await;
        scene.turn(1.0).await;
        scene.turn(4.0).await;
        assert_eq!(scene.mail().await, [], "within what was agreed");
        scene.heard(5.0, 4_200_000).await;
        scene.turn(5.0).await;
        scene.turn(7.0).await;
        let mail = scene.mail().await;
        assert_eq!(mail.len(), 1);
        assert_eq!(mail[0].letter.to, "operator@example.jp");
        assert!(
            mail[0].letter.text.contains("時計が"),
            "{}",
            mail[0].letter.text
        );
        assert!(mail[0].letter.text.contains("Acme"));
        // Japanese first, then English.
        assert_eq!(mail[0].letter.subject, "【異常】1件 / Needs attention: 1");
        let (japanese, english) = mail[0].letter.text.split_once("\n\n").unwrap();
        assert!(japanese.contains("時計が") && !japanese.contains("The clock"));
        assert!(english.contains("The clock of the device"), "{english}");
    }

    #[tokio::test]
    async fn clause_19_a_silent_device_is_not_said_to_be_well_because_its_contract_is_over() {
        let scene = Scene::new(1).await;
        scene.heard(0.0, 0).await;
        for minutes in [10.5, 12.5] {
            scene.turn(minutes).await;
        }
        assert_eq!(scene.mail().await.len(), 2, "operator and contact");
        let store = &scene.receiver.app.store;
        let contract = store.contracts().await.unwrap().remove(0).id;
        let over = Some(scene.at(20.0));
        store.set_until(contract, over, now()).await.unwrap();
        for minutes in [21.0, 27.0, 30.0, 60.0] {
            scene.turn(minutes).await;
        }
        assert_eq!(scene.mail().await.len(), 2);
        assert_eq!(store.open_alerts().await.unwrap(), []);
        assert_eq!(store.live_alerts().await.unwrap(), []);
    }

    #[tokio::test]
    async fn clause_19_nobody_is_told_of_the_time_that_the_receiver_was_down() {
        let scene = Scene::new(3).await;
        scene.heard(0.0, 0).await;
        let store = &scene.receiver.app.store;
        // It comes back after an hour, and the devices after it.
        let back = scene.at(60.0);
        for minutes in [60.3, 61.0, 65.0] {
            turn(store, &scene.config, back, scene.at(minutes))
                .await
                .unwrap();
        }
        scene.heard(66.0, 0).await;
        for minutes in [70.0, 75.0] {
            turn(store, &scene.config, back, scene.at(minutes))
                .await
                .unwrap();
        }
        assert_eq!(scene.mail().await, []);
    }
}
