//! What rules on the device tell is shown in plain words: why there is an event, which camera cannot see and what it
//! showed before and after, how many came by the hour.

use super::browser::Browser;
use super::world::{
    MINUTE_US, SECOND_US, Scene, World, count, count_record, device_state, moment_record, now,
    periodic_record, reason,
};
use super::{Customer, SIZE, customer, line_of};
use cloud_receiver::portal::when::{DEFAULT_ZONE, When};
use cloud_receiver::portal::words::Lang;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use reqwest::{Method, StatusCode};
use wire::UtcMicros;
use wire::record::{CAMERA_CLASS, CountRecord, Reason, UNWATCHED};

pub fn when(lang: Lang) -> When {
    When {
        lang,
        zone: TimeZone::get(DEFAULT_ZONE).unwrap(),
        now: now(),
    }
}

/// Without what only lays it out.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for sign in html.chars() {
        match sign {
            '<' => in_tag = true,
            '>' => in_tag = false,
            sign if !in_tag => text.push(sign),
            _ => {}
        }
    }
    text
}

#[tokio::test]
async fn an_event_says_why_it_is_told_and_when() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let opened = now().plus_us(-5 * MINUTE_US);
    let at = |seconds: i64| opened.plus_us(seconds * SECOND_US);
    let mut scene = Scene::new(customer.camera, "person", opened);
    scene.closed = Some(at(100));
    scene.zones = vec!["駐車場".into(), "入口<b>".into()];
    scene.reasons = vec![
        reason("zone", "駐車場", at(2)),
        Reason {
            direction: Some("in".into()),
            ..reason("line", "正門", at(20))
        },
        reason("zone", "入口<b>", at(21)),
        Reason {
            seconds: Some(60),
            ..reason("loitering", "入口<b>", at(81))
        },
    ];
    let mut full = Scene::new(customer.camera, "vehicle", opened);
    full.reasons = vec![Reason {
        count: Some(5),
        ..reason("occupancy", "駐車場", at(0))
    }];
    let records = vec![scene.event_record(), full.event_record()];
    world.deliver(&mut customer.device, records).await;
    let mut browser = customer.browser(&world).await;
    let ja = [
        (at(2), "駐車場に入りました"),
        (at(20), "正門の線を越えました（入）"),
        (at(21), "入口&lt;b&gt;に入りました"),
        (at(81), "入口&lt;b&gt;に60秒以上とどまりました"),
    ];
    let told = |(at, words): &(UtcMicros, &str)| format!("{} {words}", when(Lang::Ja).time(*at));
    let page = plain(
        &browser
            .get(&format!("/events/{}", scene.event))
            .await
            .text(),
    );
    for reason in &ja {
        assert!(page.contains(&told(reason)), "{page}");
    }
    assert!(page.contains("ゾーン駐車場、入口&lt;b&gt;"), "{page}");
    // A card has room for the newest.
    for address in [
        "/events".to_owned(),
        format!("/events/{}/card", scene.event),
    ] {
        let list = plain(&browser.get(&address).await.text());
        assert!(list.contains("ほか 1 件"), "{list}");
        assert!(!list.contains(ja[0].1), "{list}");
        for reason in &ja[1..] {
            assert!(list.contains(&told(reason)), "{list}");
        }
    }
    let list = plain(&browser.get("/events?class=vehicle").await.text());
    assert!(
        list.contains("駐車場に5台") && !list.contains("越えました"),
        "{list}"
    );
    browser.language = "en";
    let page = plain(
        &browser
            .get(&format!("/events/{}", scene.event))
            .await
            .text(),
    );
    for words in [
        "Entered 駐車場",
        "Crossed the line 正門 (in)",
        "Stayed in 入口&lt;b&gt; for 60 s or more",
        "Zones駐車場, 入口",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

fn blind(customer: &Customer, rule: &str, opened: UtcMicros) -> Scene {
    let mut scene = Scene::new(customer.camera, CAMERA_CLASS, opened);
    scene.closed = None;
    scene.reasons = vec![reason(rule, "", opened)];
    scene
}

#[tokio::test]
async fn a_camera_that_cannot_see_says_so_until_it_can() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    let mut stream = browser.request(Method::GET, "/live").send().await.unwrap();
    let mut rest = String::new();
    line_of(&mut stream, &mut rest, "event: ready")
        .await
        .unwrap();
    line_of(&mut stream, &mut rest, "data:").await.unwrap();

    let opened = now().plus_us(-2 * MINUTE_US);
    let mut scene = blind(&customer, "covered", opened);
    world
        .deliver(&mut customer.device, vec![scene.event_record()])
        .await;
    let mut awaited = vec!["\"type\":\"event\"", "\"type\":\"camera\""];
    while !awaited.is_empty() {
        let news = line_of(&mut stream, &mut rest, "data:").await.unwrap();
        awaited.retain(|kind| !news.contains(kind));
    }
    let since = when(Lang::Ja).short(opened);
    let sentence = format!("門カメラが{since}から覆われています。");
    for address in ["/".to_owned(), format!("/cameras/{}/card", customer.camera)] {
        let page = browser.get(&address).await.text();
        assert!(page.contains(&sentence), "{address}: {page}");
        assert!(page.contains("見えていません"), "{address}");
        assert!(page.contains("class=\"camera blind\""), "{address}");
        assert!(!page.contains("すべてのカメラが正常です"), "{address}");
    }
    assert!(
        browser
            .get("/")
            .await
            .text()
            .contains("1 台 見えていません")
    );
    let list = browser.get("/events?class=camera").await.text();
    assert!(
        list.contains("カメラが覆われています") && list.contains("カメラの異常"),
        "{list}"
    );
    assert!(!list.contains(&customer.event.to_string()));

    let page = format!("/events/{}", scene.event);
    let awaited = browser.get(&page).await.text();
    assert_eq!(
        awaited.matches("画像を待っています").count(),
        2,
        "{awaited}"
    );
    let (before, after) = (b"it saw this".as_slice(), b"it sees this".as_slice());
    let records = vec![
        moment_record(&scene, "before", before, opened.plus_us(-SECOND_US)),
        moment_record(&scene, "after", after, opened),
    ];
    world.deliver(&mut customer.device, records).await;
    let before = world.blob(&customer.device, before).await;
    let after = world.blob(&customer.device, after).await;
    let shown = browser.get(&page).await.text();
    let place = |what: &str| {
        shown
            .find(what)
            .unwrap_or_else(|| panic!("{what}: {shown}"))
    };
    let order = [
        place(&format!("/media/{before}")),
        place("<b>発生前</b>"),
        place(&format!("/media/{after}")),
        place("<b>発生後</b>"),
    ];
    assert!(order.is_sorted(), "{order:?}: {shown}");
    assert!(!shown.contains("見えるようになりました") && shown.contains("検証済み"));
    for picture in [before, after] {
        assert_eq!(
            browser.get(&format!("/media/{picture}")).await.status,
            StatusCode::OK
        );
    }

    scene.revision = 2;
    scene.closed = Some(now().plus_us(-MINUTE_US));
    let records = vec![
        scene.event_record(),
        periodic_record(customer.camera, &customer.jpeg, SIZE, now()),
    ];
    world.deliver(&mut customer.device, records).await;
    let closed = browser.get(&page).await.text();
    assert!(closed.contains("カメラが覆われていました"), "{closed}");
    assert!(closed.contains("見えるようになりました"), "{closed}");
    let overview = browser.get("/").await.text();
    assert!(overview.contains("すべてのカメラが正常です") && !overview.contains(&sentence));
    browser.language = "en";
    let closed = browser.get(&page).await.text();
    for words in [
        "甲の門: The camera was covered",
        "It can see again",
        "Before",
        "After",
    ] {
        assert!(closed.contains(words), "{words}: {closed}");
    }
}

#[tokio::test]
async fn a_camera_that_nobody_watches_any_more_is_not_said_to_see_again() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    let opened = now().plus_us(-30 * MINUTE_US);
    let mut scene = blind(&customer, "covered", opened);
    let left = opened.plus_us(10 * MINUTE_US);
    scene.revision = 2;
    scene.closed = Some(left);
    scene.reasons.push(reason(UNWATCHED, "", left));
    world
        .deliver(&mut customer.device, vec![scene.event_record()])
        .await;
    let page = format!("/events/{}", scene.event);
    for address in [&page, "/events?class=camera"] {
        let shown = plain(&browser.get(address).await.text());
        assert!(shown.contains("カメラが覆われていました"), "{shown}");
        assert!(!shown.contains("見えるようになりました"), "{shown}");
        assert!(shown.contains("見えるようになったかは不明です"), "{shown}");
        assert!(!shown.contains(UNWATCHED), "{shown}");
    }
    let shown = plain(&browser.get(&page).await.text());
    assert!(shown.contains("見えなかった時間10分0秒以上"), "{shown}");
    assert!(!shown.contains("復旧時刻"), "{shown}");
    browser.language = "en";
    let shown = plain(&browser.get(&page).await.text());
    for words in [
        "whether it can see again is not known",
        "10 min 0 s or more",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[tokio::test]
async fn every_way_to_be_blind_has_its_words_and_a_new_start_ends_them() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    let ways = [
        ("covered", "カメラが覆われています", "is covered"),
        (
            "turned",
            "カメラの向きが変わっています",
            "looks another way",
        ),
        ("defocused", "ピントが合っていません", "is out of focus"),
        ("frozen", "映像が止まっています", "stands still"),
        ("black", "映像が真っ黒です", "is black"),
        ("dark", "暗くて見えません", "too dark"),
        ("of a newer device", "カメラが見えていません", "cannot see"),
    ];
    let start = now().plus_us(-10 * MINUTE_US);
    for (second, (rule, ja, en)) in ways.into_iter().enumerate() {
        let scene = blind(&customer, rule, start.plus_us(second as i64 * SECOND_US));
        world
            .deliver(&mut customer.device, vec![scene.event_record()])
            .await;
        browser.language = "ja";
        let page = browser
            .get(&format!("/events/{}", scene.event))
            .await
            .text();
        assert!(page.contains(&format!("甲の門: {ja}")), "{rule}: {page}");
        browser.language = "en";
        let overview = browser.get("/").await.text();
        assert!(overview.contains(en), "{rule}: {overview}");
        assert!(
            overview.contains("1 camera without sight"),
            "{rule}: {overview}"
        );
    }
    let started = device_state("started", now().plus_us(-SECOND_US));
    world.deliver(&mut customer.device, vec![started]).await;
    let overview = browser.get("/").await.text();
    assert!(overview.contains("All cameras are working"), "{overview}");
}

/// Two days ago at this hour in Japan: what the customer has from the start was counted later, whatever the time now.
fn two_days_ago(hour: i8, minute: i8) -> UtcMicros {
    let when = when(Lang::Ja);
    let day = when.today().saturating_sub(2.days());
    when.instant(day, jiff::civil::time(hour, minute, 0, 0))
}

async fn counted(browser: &mut Browser, query: &str) -> String {
    let day = when(Lang::Ja).date_of(two_days_ago(12, 0));
    let page = browser
        .get(&format!("/events?day={day}{query}"))
        .await
        .text();
    page.split("<section class=\"tally\"")
        .nth(1)
        .map(|rest| rest.split("</section>").next().unwrap().to_owned())
        .unwrap_or_default()
}

fn rows(section: &str) -> Vec<String> {
    section
        .split("<tr>")
        .skip(2)
        .map(|row| {
            plain(&row.replace("</th>", " ").replace("</td>", " "))
                .trim()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn counts_stand_in_their_hour_in_japan_and_in_a_table() {
    let world = World::start().await;
    let mut own = customer(&world, "甲").await;
    let foreign = customer(&world, "乙").await;
    let camera = own.camera;
    let zone = |peak, minute| CountRecord {
        zone: Some("駐車場".into()),
        peak: Some(peak),
        ..count(camera, "person", 1, two_days_ago(9, minute))
    };
    let line = |direction: &str, number, hour| CountRecord {
        line: Some("正門".into()),
        direction: Some(direction.into()),
        ..count(camera, "person", number, two_days_ago(hour, 30))
    };
    let counts = [
        count(camera, "person", 1_200, two_days_ago(9, 0)),
        count(camera, "person", 34, two_days_ago(9, 59)),
        count(camera, "person", 2, two_days_ago(0, 0)),
        count(camera, "vehicle", 7, two_days_ago(23, 59)),
        zone(4, 1),
        zone(3, 1),
        line("in", 6, 9),
        line("out", 8, 17),
    ];
    let records = counts.into_iter().map(count_record).collect();
    world.deliver(&mut own.device, records).await;
    let mut browser = own.browser(&world).await;
    let all = counted(&mut browser, "").await;
    assert_eq!(
        rows(&all),
        [
            "00:00〜01:00 2 0",
            "09:00〜10:00 1,234 0",
            "23:00〜00:00 0 7"
        ],
        "{all}"
    );
    // Names of zones and lines are a camera's own.
    assert!(!all.contains("駐車場") && !all.contains("正門"), "{all}");
    assert_eq!(all.matches("<svg").count(), 2, "{all}");
    let one = counted(&mut browser, &format!("&camera={camera}")).await;
    assert_eq!(
        rows(&one),
        [
            "00:00〜01:00 2 0 0 0 0",
            "09:00〜10:00 1,234 0 6 0 4",
            "17:00〜18:00 0 0 0 8 0",
            "23:00〜00:00 0 7 0 0 0",
        ],
        "{one}"
    );
    for heading in [
        "人物 1分ごとに数えた延べ",
        "車両 1分ごとに数えた延べ",
        "正門の線 · 人物 入",
        "正門の線 · 人物 出",
        "駐車場 · 人物 同時にいた最大の数",
    ] {
        assert!(
            one.contains(&format!(">{heading}</th>")),
            "{heading}: {one}"
        );
    }
    let vehicles = counted(&mut browser, "&class=vehicle").await;
    assert_eq!(rows(&vehicles), ["23:00〜00:00 7"]);
    assert_eq!(counted(&mut browser, "&class=camera").await, "");
    assert!(!one.contains("style="), "{one}");

    let mut stranger = foreign.browser(&world).await;
    for query in [String::new(), format!("&camera={camera}")] {
        assert_eq!(counted(&mut stranger, &query).await, "", "{query}");
    }
}
