//! What is missing stands in the timeline: in its place, with its reason, in the customer's words.

#![allow(clippy::unwrap_used)]

use super::browser::Browser;
use super::rules::when;
use super::world::{
    Device, MINUTE_US, SECOND_US, SYNCED, Scene, World, camera_state, device_state, gap, heartbeat,
    now, periodic_record,
};
use super::{Customer, DEADLINE, SIZE, customer, line_of};
use cloud_receiver::portal::words::Lang;
use reqwest::Method;
use uuid::Uuid;
use wire::{CameraId, Record, UtcMicros};

const HOUR_US: i64 = 60 * MINUTE_US;
/// Words of the system, which no customer should have to read.
const SYSTEM_WORDS: [&str; 9] = [
    "quota",
    "disk_full",
    "quarantine",
    "oversized",
    "rejected",
    "media_busy",
    "media_failed",
    "snapshot",
    "periodic",
];

fn day_of(at: UtcMicros) -> String {
    when(Lang::Ja).date_of(at).to_string()
}

/// Two days ago at this hour of the day in Japan.
fn at_hour(hours: i64, minutes: i64) -> UtcMicros {
    let ja = when(Lang::Ja);
    let midnight = ja.start_of(ja.date_of(now().plus_us(-48 * HOUR_US)));
    midnight.plus_us(hours * HOUR_US + minutes * MINUTE_US)
}

async fn deliver(world: &World, device: &mut Device, records: Vec<Record>) {
    world.deliver(device, records).await;
}

/// The cards of gaps on a page, as text.
fn cards(page: &str) -> Vec<String> {
    let cards = page.split("<li class=\"gap ").skip(1);
    cards
        .map(|card| card.split("</li>").next().unwrap().to_owned())
        .collect()
}

async fn day(browser: &mut Browser, query: &str) -> String {
    let address = format!("/events?day={}{query}", day_of(at_hour(12, 0)));
    browser.get(&address).await.text()
}

#[tokio::test]
async fn fault_09_what_was_shed_stands_in_the_timeline_with_its_reason() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let camera = Some(customer.camera);
    let records = vec![
        gap(
            camera,
            "periodic",
            "quota",
            58,
            at_hour(9, 0),
            at_hour(9, 58),
        ),
        gap(
            camera,
            "periodic",
            "quota",
            60,
            at_hour(10, 0),
            at_hour(10, 59),
        ),
        gap(
            camera,
            "snapshot",
            "quota",
            12,
            at_hour(9, 12),
            at_hour(10, 30),
        ),
    ];
    deliver(&world, &mut customer.device, records).await;
    let mut browser = customer.browser(&world).await;
    // No event on that day, and the gaps are told.
    let page = day(&mut browser, "").await;
    let [card] = cards(&page).try_into().unwrap();
    for words in [
        "容量不足による削除",
        "09:00〜10:59",
        "甲の門 · 甲の倉庫",
        "装置の保存容量が足りなくなったため、検知時の画像12枚、定期画像118枚が失われました。",
        "イベントの記録はすべて揃っています。",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
    assert!(page.contains("class=\"strip-gap lost\""), "{page}");
    browser.language = "en";
    let page = day(&mut browser, "").await;
    let [card] = cards(&page).try_into().unwrap();
    let words = "12 event pictures and 118 regular pictures were lost because the device&#39;s storage was full. \
                 The events themselves are complete.";
    assert!(card.replace("'", "&#39;").contains(words), "{card}");
    // The day before and the day after tell their own: nothing.
    for other in [at_hour(-12, 0), at_hour(36, 0)] {
        let page = browser
            .get(&format!("/events?day={}", day_of(other)))
            .await
            .text();
        assert_eq!(cards(&page), Vec::<String>::new());
    }
}

#[tokio::test]
async fn every_reason_has_words_in_both_languages() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let reasons = [
        "quota",
        "disk_full",
        "quarantine",
        "oversized",
        "outage",
        "rejected",
        "media_busy",
        "media_failed",
    ];
    let classes = [
        "snapshot",
        "periodic",
        "requested",
        "clip",
        "event",
        "count",
        "camera_state",
        "records",
    ];
    let mut records = Vec::new();
    for (hour, (reason, class)) in reasons.into_iter().zip(classes).enumerate() {
        let at = at_hour(2 * hour as i64 + 1, 0);
        records.push(gap(Some(customer.camera), class, reason, 3, at, at));
    }
    deliver(&world, &mut customer.device, records).await;
    let mut browser = customer.browser(&world).await;
    for language in ["ja", "en"] {
        browser.language = language;
        let page = day(&mut browser, "").await;
        let cards = cards(&page);
        assert_eq!(cards.len(), reasons.len());
        for card in cards {
            for word in SYSTEM_WORDS {
                assert!(!card.contains(word), "{language}: {word} in {card}");
            }
        }
    }
}

#[tokio::test]
async fn stops_are_told_from_losses_and_each_camera_tells_its_own() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let other = CameraId(Uuid::now_v7());
    let state = |camera, name: &str, state: &str, at| {
        let reason = (state == "retrying").then_some("connect");
        camera_state(camera, name, state, reason, at)
    };
    let records = vec![
        device_state("started", at_hour(1, 0)),
        state(customer.camera, "門", "running", at_hour(1, 1)),
        state(other, "裏", "running", at_hour(1, 1)),
        state(customer.camera, "門", "retrying", at_hour(10, 42)),
        state(customer.camera, "門", "running", at_hour(11, 5)),
        gap(
            Some(other),
            "snapshot",
            "media_busy",
            1,
            at_hour(12, 0),
            at_hour(12, 0),
        ),
        periodic_record(other, b"the last sign of life", SIZE, at_hour(14, 0)),
    ];
    deliver(&world, &mut customer.device, records).await;
    customer.device.restart();
    let records = vec![
        device_state("started", at_hour(15, 30)),
        state(customer.camera, "門", "running", at_hour(15, 30)),
        state(other, "裏", "running", at_hour(15, 30)),
    ];
    deliver(&world, &mut customer.device, records).await;
    let mut browser = customer.browser(&world).await;
    let told = |page: &str| -> Vec<(String, &'static str)> {
        let place = |card: &str| {
            ["門", "裏", "装置全体"]
                .into_iter()
                .find(|name| card.contains(&format!("gap-place\">{name}")))
        };
        let time = |card: &str| {
            card.split("tabular\">")
                .nth(1)
                .unwrap()
                .split('<')
                .next()
                .unwrap()
                .to_owned()
        };
        cards(page)
            .iter()
            .map(|card| (time(card), place(card).unwrap()))
            .collect()
    };
    let device = ("14:00〜15:30".to_owned(), "装置全体");
    let gate = ("10:42〜11:05".to_owned(), "門");
    let back = ("12:00".to_owned(), "裏");
    let page = day(&mut browser, "").await;
    assert_eq!(told(&page), [device.clone(), back.clone(), gate.clone()]);
    assert!(page.contains("接続できません"), "{page}");
    let page = day(&mut browser, &format!("&camera={}", customer.camera)).await;
    assert_eq!(told(&page), [device.clone(), gate.clone()]);
    let page = day(&mut browser, &format!("&camera={other}")).await;
    assert_eq!(told(&page), [device, back]);
    let page = day(&mut browser, "&from=10:00&to=11:00").await;
    assert_eq!(
        told(&page),
        [gate],
        "one that reaches beyond the time is told too"
    );
}

#[tokio::test]
async fn what_is_not_delivered_yet_is_not_called_lost() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut said = heartbeat(SYNCED, 1_482, 0);
    said.spool.oldest_pending_us = Some(now().plus_us(-30 * MINUTE_US));
    world.heartbeat(&customer.device, &said).await;
    let mut browser = customer.browser(&world).await;
    let page = browser.get("/events").await.text();
    let [card] = cards(&page).try_into().unwrap();
    for words in ["未着", "記録1,482件と画像3枚", "失われてはおらず"] {
        assert!(card.contains(words), "{words}: {card}");
    }
    // Delivered: as if nothing had been.
    world
        .heartbeat(&customer.device, &heartbeat(SYNCED, 0, 0))
        .await;
    let page = browser.get("/events").await.text();
    assert_eq!(cards(&page), Vec::<String>::new());
}

#[tokio::test]
async fn a_silent_device_is_told_and_its_records_are_not_called_lost() {
    let world = World::start().await;
    let contract = customer(&world, "甲").await.contract;
    let mut silent = world.device(contract, "静かな倉庫").await;
    let camera = CameraId(Uuid::now_v7());
    let then = now().plus_us(-20 * MINUTE_US);
    let record = camera_state(camera, "ヤード", "running", None, then);
    world.deliver_at(&mut silent, vec![record], then).await;
    let mut browser = Browser::signed_in(&world, "甲-01", super::PASSWORD).await;
    let page = browser
        .get(&format!("/events?camera={camera}"))
        .await
        .text();
    let [card] = cards(&page).try_into().unwrap();
    for words in ["通信断", "装置全体 · 静かな倉庫", "通信が戻ると届きます"]
    {
        assert!(card.contains(words), "{words}: {card}");
    }
}

#[tokio::test]
async fn a_new_gap_reaches_an_open_page() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let browser = customer.browser(&world).await;
    let mut stream = browser.request(Method::GET, "/live").send().await.unwrap();
    let mut rest = String::new();
    line_of(&mut stream, &mut rest, "event: ready")
        .await
        .unwrap();
    line_of(&mut stream, &mut rest, "data:").await.unwrap();
    let record = gap(
        Some(customer.camera),
        "snapshot",
        "media_busy",
        1,
        now(),
        now(),
    );
    world.deliver(&mut customer.device, vec![record]).await;
    let data = tokio::time::timeout(DEADLINE, line_of(&mut stream, &mut rest, "data:")).await;
    let data = data.unwrap().unwrap();
    assert!(data.contains("\"type\":\"gap\""), "{data}");
}

#[tokio::test]
async fn an_event_says_why_its_picture_is_lost() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let opened = at_hour(10, 0);
    let scene = Scene::new(customer.camera, "person", opened);
    let shed = gap(
        Some(customer.camera),
        "snapshot",
        "disk_full",
        4,
        opened.plus_us(-MINUTE_US),
        opened.plus_us(MINUTE_US),
    );
    let jpeg = b"announced, and then shed";
    let records = vec![scene.event_record(), scene.snapshot_record(jpeg, SIZE)];
    deliver(&world, &mut customer.device, records).await;
    let mut browser = customer.browser(&world).await;
    let address = format!("/events/{}", scene.event);
    deliver(&world, &mut customer.device, vec![shed]).await;
    let page = browser.get(&address).await.text();
    let words = "装置のディスクの空きがなくなったため、このイベントの画像は失われました。イベントの記録は残っています。";
    assert!(page.contains(words), "{page}");
    browser.language = "en";
    let page = browser.get(&address).await.text();
    assert!(page.contains("The record of the event is here."), "{page}");
    // It arrives against all expectation: then it is shown.
    let sha256 = world.blob(&customer.device, jpeg).await;
    assert!(
        browser
            .get(&address)
            .await
            .text()
            .contains(&format!("/media/{sha256}"))
    );
}

/// Page by page: events and gaps stand where they belong, each once.
#[tokio::test]
async fn gaps_stand_on_one_page_each() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut records = Vec::new();
    for minute in 0..120 {
        records.push(Scene::new(customer.camera, "vehicle", at_hour(8, minute)).event_record());
    }
    for (n, minute) in [(0, 5), (1, 61), (2, 119)] {
        let reason = ["outage", "media_busy", "rejected"][n];
        let at = at_hour(8, minute).plus_us(30 * SECOND_US);
        records.push(gap(Some(customer.camera), "snapshot", reason, 1, at, at));
    }
    for chunk in records.chunks(40) {
        deliver(&world, &mut customer.device, chunk.to_vec()).await;
    }
    let mut browser = customer.browser(&world).await;
    let (mut gaps, mut pages) = (Vec::new(), 0);
    let mut next = Some("/events?class=vehicle".to_owned());
    while let Some(address) = next {
        let page = browser.get(&address).await.text();
        let ids = page.split("<li class=\"gap ").skip(1);
        gaps.extend(ids.map(|card| {
            card.split(" id=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
                .to_owned()
        }));
        next = page
            .split("rel=\"next\" href=\"")
            .nth(1)
            .map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&"));
        pages += 1;
    }
    assert_eq!((pages, gaps.len()), (3, 3), "{gaps:?}");
    gaps.dedup();
    assert_eq!(gaps.len(), 3);
}

/// Batches come again, out of order, by several ways; an event comes in many revisions and its picture twice. What the
/// customer sees is each thing once.
#[tokio::test]
async fn fault_19_what_is_delivered_again_is_shown_once() {
    let world = World::start().await;
    let mut customer: Customer = customer(&world, "甲").await;
    let mut batches = Vec::new();
    let mut events = Vec::new();
    for minute in 0..60 {
        let mut scene = Scene::new(customer.camera, "bicycle", at_hour(9, minute));
        events.push(scene.event.to_string());
        let jpeg = format!("picture {minute}").into_bytes();
        let mut records = Vec::new();
        for revision in 1..=3 {
            scene.revision = revision;
            records.push(scene.event_record());
        }
        records.push(scene.snapshot_record(&jpeg, SIZE));
        records.push(scene.snapshot_record(&jpeg, SIZE));
        if minute % 20 == 0 {
            customer.device.restart();
            let at = at_hour(9, minute);
            records.push(gap(Some(customer.camera), "periodic", "outage", 1, at, at));
        }
        batches.push(customer.device.batch(records));
        world.blob(&customer.device, &jpeg).await;
    }
    // Three rounds: straight, backwards, every other one.
    let rounds = (0..60).chain((0..60).rev()).chain((0..60).step_by(2));
    for index in rounds {
        world
            .take_in(&customer.device, batches[index].clone(), now())
            .await;
    }
    let mut browser = customer.browser(&world).await;
    let mut seen = Vec::new();
    let mut next = Some(format!(
        "/events?class=bicycle&day={}",
        day_of(at_hour(9, 0))
    ));
    let mut lost = 0;
    while let Some(address) = next {
        let page = browser.get(&address).await.text();
        seen.extend(
            page.split("data-event=\"")
                .skip(1)
                .map(|rest| rest[..36].to_owned()),
        );
        lost += cards(&page).len();
        if address.contains("day") && !address.contains("before") {
            assert!(page.contains("60 件"), "the strip counts each once");
            assert!(page.contains("定期画像3枚"), "so does the gap");
        }
        next = page
            .split("rel=\"next\" href=\"")
            .nth(1)
            .map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&"));
    }
    assert_eq!(lost, 1);
    seen.sort();
    events.sort();
    assert_eq!(seen, events, "each event once");
}
