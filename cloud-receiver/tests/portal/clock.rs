//! Clocks that are wrong: nothing is shown as of 1970 or of next year, and what is uncertain is called so.

#![allow(clippy::unwrap_used)]

use super::browser::Browser;
use super::world::{MINUTE_US, SECOND_US, Scene, World, camera_state, gap, now, periodic_record};
use super::{SIZE, customer, line_of};
use cloud_receiver::portal::when::{DEFAULT_ZONE, When};
use cloud_receiver::portal::words::Lang;
use reqwest::Method;
use std::time::Duration;
use wire::record::ClockRecord;
use wire::{
    Body, BootId, CameraId, ClockStamp, ClockState, EventId, Record, RecordTime, UtcMicros,
};

/// From the clock record to the page.
const CORRECTED_WITHIN: Duration = Duration::from_secs(1);
const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// A device whose clock is off by so much, and does not know it.
struct Boot {
    began: UtcMicros,
    off_us: i64,
    id: BootId,
}

impl Boot {
    fn time(&self, true_time: UtcMicros) -> RecordTime {
        RecordTime {
            captured_at_us: true_time.plus_us(self.off_us),
            boot_id: self.id,
            boottime_ns: true_time.since_us(self.began).unsigned_abs() * 1000,
            clock: ClockStamp::UNSYNCED,
        }
    }

    /// The record as this clock dates it.
    fn dated(&self, mut record: Record, true_time: UtcMicros) -> Record {
        record.time = self.time(true_time);
        let move_by = |at: &mut UtcMicros| *at = at.plus_us(self.off_us);
        match &mut record.body {
            Body::Event(event) => {
                move_by(&mut event.opened_at_us);
                move_by(&mut event.last_seen_at_us);
                event.closed_at_us.as_mut().map(move_by);
            }
            Body::Gap(gap) => {
                move_by(&mut gap.from_us);
                move_by(&mut gap.to_us);
            }
            _ => {}
        }
        record
    }

    /// The clock was put right.
    fn put_right(&self, true_time: UtcMicros) -> Record {
        let after = ClockStamp {
            state: ClockState::Synced,
            offset_us: -self.off_us,
            error_us: Some(2_000),
        };
        let body = ClockRecord {
            before: ClockStamp::UNSYNCED,
            after,
        };
        Record::new(self.time(true_time), Body::Clock(body))
    }
}

fn when() -> When {
    When {
        lang: Lang::Ja,
        zone: jiff::tz::TimeZone::get(DEFAULT_ZONE).unwrap(),
        now: now(),
    }
}

/// Every page that shows times, in both languages.
async fn pages(browser: &mut Browser, event: EventId) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for language in ["ja", "en"] {
        browser.language = language;
        for address in [
            "/".to_owned(),
            "/events".into(),
            format!("/events/{event}"),
            "/events/strip".into(),
        ] {
            pages.push((address.clone(), browser.get(&address).await.text()));
        }
    }
    pages
}

/// No year but those in which the test runs, and no day but of the last two.
fn check_dates(pages: &[(String, String)], off_us: i64) {
    let ja = when();
    let wrong = ja.date_of(now().plus_us(off_us));
    let wrong_words = [
        wrong.year().to_string(),
        format!("{}月{}日", wrong.month(), wrong.day()),
        wrong.strftime("%-d %b").to_string(),
    ];
    for (address, page) in pages {
        // Ids are drawn by the clock of the test, and numbers in microseconds are no dates.
        let text: String = page
            .split('<')
            .map(|part| part.split_once('>').map_or("", |(_, text)| text))
            .collect();
        let times = page
            .split("datetime=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        for shown in times.chain([text.as_str()]) {
            for word in &wrong_words {
                let year_only = word.len() == 4;
                let found = if year_only {
                    shown.contains(&format!("{word}年"))
                        || shown.starts_with(word.as_str())
                        || shown.contains(&format!(" {word}"))
                } else {
                    shown.contains(word.as_str())
                };
                assert!(!found, "{address} shows {word}: {shown}");
            }
        }
    }
}

async fn check(off_us: i64) {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut device = world.device(customer.contract, "時計の狂った拠点").await;
    let camera = CameraId(uuid::Uuid::now_v7());
    let began = now().plus_us(-10 * MINUTE_US);
    let boot = Boot {
        began,
        off_us,
        id: BootId(uuid::Uuid::now_v7()),
    };
    let opened = now().plus_us(-4 * MINUTE_US);
    let scene = Scene::new(camera, "person", opened);
    let lost_at = now().plus_us(-3 * MINUTE_US);
    let lost = gap(Some(camera), "periodic", "media_busy", 2, lost_at, lost_at);
    let jpeg = b"a picture by a wrong clock";
    let records = vec![
        boot.dated(camera_state(camera, "門", "running", None, began), began),
        boot.dated(scene.event_record(), opened.plus_us(30 * SECOND_US)),
        boot.dated(scene.snapshot_record(jpeg, SIZE), opened),
        boot.dated(lost, lost_at.plus_us(SECOND_US)),
        boot.dated(periodic_record(camera, jpeg, SIZE, now()), now()),
    ];
    world.deliver(&mut device, records).await;
    world.blob(&device, jpeg).await;
    world.heard(&device, now()).await;
    let mut browser = customer.browser(&world).await;

    let uncertain = pages(&mut browser, scene.event).await;
    check_dates(&uncertain, off_us);
    let today = uncertain
        .iter()
        .find(|(address, _)| address == "/events")
        .unwrap();
    assert!(
        today.1.contains(&scene.event.to_string()),
        "it is found where one looks"
    );
    let own = uncertain
        .iter()
        .filter(|(address, _)| address.ends_with(&scene.event.to_string()));
    for ((_, page), words) in own.zip(["時刻は目安", "Time approximate"]) {
        assert!(page.contains(words), "{words}: {page}");
    }

    let mut stream = browser.request(Method::GET, "/live").send().await.unwrap();
    let mut rest = String::new();
    line_of(&mut stream, &mut rest, "event: ready")
        .await
        .unwrap();
    line_of(&mut stream, &mut rest, "data:").await.unwrap();
    let right = boot.put_right(now());
    world.deliver(&mut device, vec![right]).await;
    // An open page is told at once, and asks again.
    let told = tokio::time::timeout(CORRECTED_WITHIN, line_of(&mut stream, &mut rest, "data:"));
    let told = told.await.expect("in time").unwrap();
    assert!(told.contains("\"type\":\"corrected\""), "{told}");
    let corrected = pages(&mut browser, scene.event).await;
    check_dates(&corrected, off_us);
    let expected = when().full(opened);
    for (address, page) in &corrected {
        assert!(
            !page.contains("時刻は目安") && !page.contains("Time approximate"),
            "{address}"
        );
        if address.ends_with(&scene.event.to_string()) && page.contains("lang=\"ja\">") {
            assert!(
                page.contains(&expected) && page.contains("補正済み"),
                "{expected}: {page}"
            );
        }
    }
    let list = corrected
        .iter()
        .find(|(address, _)| address == "/events")
        .unwrap();
    let minute = when().minute(lost_at);
    assert!(
        list.1.contains(&format!("gap-time tabular\">{minute}<")),
        "the gap is put right too: {}",
        list.1
    );
}

#[tokio::test]
async fn fault_27_a_boot_in_1970_is_never_shown_as_1970() {
    check(-now().0 + 60 * SECOND_US).await;
}

#[tokio::test]
async fn fault_28_a_clock_400_days_slow_is_not_shown_as_last_year() {
    check(-400 * DAY_US).await;
}

#[tokio::test]
async fn fault_28_a_clock_400_days_fast_is_not_shown_as_next_year() {
    check(400 * DAY_US).await;
}

/// A clock that jumps by 400 days while it is taken for synchronised: the receiver's own says that it cannot be.
#[tokio::test]
async fn fault_28_a_clock_that_jumps_ahead_is_not_believed() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut device = world.device(customer.contract, "飛んだ拠点").await;
    let boot = Boot {
        began: now().plus_us(-10 * MINUTE_US),
        off_us: 400 * DAY_US,
        id: BootId(uuid::Uuid::now_v7()),
    };
    let scene = Scene::new(CameraId(uuid::Uuid::now_v7()), "person", now());
    let mut record = boot.dated(scene.event_record(), now());
    record.time.clock.state = ClockState::Synced;
    world.deliver(&mut device, vec![record]).await;
    let mut browser = customer.browser(&world).await;
    let pages = pages(&mut browser, scene.event).await;
    check_dates(&pages, boot.off_us);
    let list = pages
        .iter()
        .find(|(address, _)| address == "/events")
        .unwrap();
    assert!(list.1.contains(&scene.event.to_string()), "{}", list.1);
    assert!(list.1.contains("時刻は目安"), "{}", list.1);
}
