//! What a customer does with the portal beyond looking: filters by tags and scores, reads charts, takes files home and goes
//! on with a broken download, and reads what there is to show for each clause.

#![allow(clippy::unwrap_used)]

use super::browser::{Browser, encode};
use super::world::{MINUTE_US, Scene, World, now};
use super::{Customer, customer};
use cloud_receiver::evidence::check_export;
use cloud_receiver::store::retention::RecordBook;
use cloud_receiver::store::{LabelBook, Tagged};
use reqwest::{Method, StatusCode};
use wire::EventId;

fn events_on(page: &str) -> Vec<String> {
    let marks = page.split("data-event=\"").skip(1);
    marks.map(|rest| rest[..36].to_owned()).collect()
}

/// An event of the customer's, so many minutes ago.
async fn seen(
    world: &World,
    customer: &mut Customer,
    class: &'static str,
    minutes: i64,
) -> EventId {
    let mut scene = Scene::new(customer.camera, class, now().plus_us(-minutes * MINUTE_US));
    scene.boxes[0].score = if class == "animal" { 0.55 } else { 0.91 };
    let records = vec![scene.event_record()];
    world.deliver(&mut customer.device, records).await;
    scene.event
}

#[tokio::test]
async fn events_are_found_by_tag_and_score_and_neighbours_are_those_of_the_filter() {
    let world = World::start().await;
    let mut own = customer(&world, "甲").await;
    let old = seen(&world, &mut own, "animal", 9).await;
    let middle = seen(&world, &mut own, "person", 8).await;
    let new = seen(&world, &mut own, "person", 7).await;
    for event in [old, new] {
        let on = Tagged::Event(event);
        world
            .store
            .add_tag(own.contract, on, "夜間", now())
            .await
            .unwrap();
    }
    let mut browser = own.browser(&world).await;
    let tag = encode("夜間");
    let found = browser.get(&format!("/events?tag={tag}")).await.text();
    assert_eq!(events_on(&found), [new.to_string(), old.to_string()]);
    let strict = browser
        .get(&format!("/events?tag={tag}&score=90"))
        .await
        .text();
    assert_eq!(events_on(&strict), [new.to_string()]);
    assert!(strict.contains("90%以上"), "what is filtered by is told");
    let page = browser
        .get(&format!("/events/{old}?tag={tag}"))
        .await
        .text();
    assert!(page.contains(&format!("/events/{new}?tag=")), "{page}");
    assert!(!page.contains(&middle.to_string()));
    let card = browser
        .get(&format!("/events/{middle}/card?tag={tag}"))
        .await;
    assert_eq!(card.status, StatusCode::NO_CONTENT);
    let card = browser
        .get(&format!("/events/{new}/card?tag={tag}&score=90"))
        .await;
    assert_eq!(card.status, StatusCode::OK);

    let other = customer(&world, "乙").await;
    let theirs = other
        .browser(&world)
        .await
        .get(&format!("/events?tag={tag}"))
        .await
        .text();
    assert_eq!(events_on(&theirs), Vec::<String>::new());
    assert!(
        !theirs.contains("夜間</option>"),
        "no tag of another contract is offered"
    );
}

#[tokio::test]
async fn charts_count_what_happened_and_their_file_opens_in_excel() {
    let world = World::start().await;
    let mut own = customer(&world, "=甲").await;
    for minute in [1, 2, 3] {
        seen(&world, &mut own, "bicycle", minute).await;
    }
    let mut browser = own.browser(&world).await;
    let page = browser.get("/charts?by=day&days=2").await.text();
    assert!(
        page.contains("<h2>自転車</h2>") && page.contains("合計 3件"),
        "{page}"
    );
    browser.language = "en";
    let weeks = browser
        .get("/charts?by=week&days=90&split=camera")
        .await
        .text();
    assert!(
        weeks.contains("Week, from Monday") && weeks.contains("in all"),
        "{weeks}"
    );
    let answer = browser.get("/charts.csv?by=day&days=2&class=bicycle").await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    let file = answer.text();
    let mut lines = file.strip_prefix('\u{feff}').unwrap().lines();
    assert_eq!(
        lines.next().unwrap(),
        "\"Begins\",\"Day of the week\",\"Bicycle\",\"Total\""
    );
    let sum: u64 = lines
        .map(|line| line.rsplit(',').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 3);
    let cameras = browser.get("/charts.csv?split=camera&days=2").await.text();
    assert!(
        !cameras.contains(",\"="),
        "no name begins a formula: {cameras}"
    );
}

#[tokio::test]
async fn a_time_whose_records_were_deleted_as_agreed_says_so_and_looks_not_quiet() {
    const DAY_MINUTES: i64 = 24 * 60;
    let world = World::start().await;
    let mut own = customer(&world, "甲").await;
    let mut other = customer(&world, "乙").await;
    let opened = now().plus_us(-60 * DAY_MINUTES * MINUTE_US);
    let mut scene = Scene::new(own.camera, "person", opened);
    scene.closed = Some(opened.plus_us(MINUTE_US));
    let records = vec![scene.event_record()];
    world.deliver(&mut own.device, records).await;
    let old = scene.event;
    let young = seen(&world, &mut own, "person", 5).await;
    seen(&world, &mut other, "person", 5).await;
    let mut browser = own.browser(&world).await;
    let mut stranger = other.browser(&world).await;
    let day = jiff::Timestamp::from_microsecond(opened.0).unwrap();
    let day = day.in_tz("Asia/Tokyo").unwrap().date();
    let then = format!("/events?day={day}");
    let chart = format!("/charts?by=day&until={day}");
    let says = "保存期間が過ぎたため削除されています";
    for page in [&then, &chart] {
        assert!(!browser.get(page).await.text().contains(says), "{page}");
    }
    let event = format!("/events/{old}");
    assert_eq!(browser.get(&event).await.status, StatusCode::OK);

    let cutoff = now().plus_us(-30 * DAY_MINUTES * MINUTE_US);
    let gone = world.store.expire_records(own.contract, cutoff, 10, now());
    assert_eq!(gone.await.unwrap().records, 1);
    for page in [&then, &chart] {
        let text = browser.get(page).await.text();
        assert!(text.contains(says), "{page}: {text}");
        assert!(!stranger.get(page).await.text().contains(says), "{page}");
    }
    let found = events_on(&browser.get("/events").await.text());
    assert!(found.contains(&young.to_string()) && !found.contains(&old.to_string()));
    let missing = browser.get(&event).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let text = missing.text();
    assert!(text.contains("契約で定めた保存期間が過ぎたため"), "{text}");
    let foreign = stranger.get(&event).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert!(!foreign.text().contains("保存期間"));
}

#[tokio::test]
async fn a_broken_download_goes_on_and_what_changed_is_sent_anew() {
    let world = World::start().await;
    let mut own = customer(&world, "甲").await;
    let mut browser = own.browser(&world).await;
    let page = browser.get("/download").await.text();
    let link = page
        .split("href=\"")
        .find(|rest| rest.starts_with("/export?"))
        .unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    let whole = browser.get(&link).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());
    let tag = whole.header("etag").to_owned();
    let part = async |browser: &Browser, range: &str, tag: &str| {
        let request = browser.request(Method::GET, &link);
        let request = request.header("range", range).header("if-range", tag);
        let answer = request.send().await.unwrap();
        let head = answer.headers().clone();
        (answer.status(), head, answer.bytes().await.unwrap())
    };
    let half = whole.body.len() / 2;
    let (status, head, rest) = part(&browser, &format!("bytes={half}-"), &tag).await;
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    let expected = format!("bytes {half}-{}/{}", whole.body.len() - 1, whole.body.len());
    assert_eq!(head["content-range"], expected);
    assert!(rest == whole.body[half..], "the rest of the very same file");
    let (status, _, some) = part(&browser, "bytes=10-19", &tag).await;
    assert_eq!(
        (status, &some[..]),
        (StatusCode::PARTIAL_CONTENT, &whole.body[10..20])
    );
    let (status, _, all) = part(&browser, "bytes=999999999-", &tag).await;
    let is_all = all.len() == whole.body.len();
    assert!(
        status == StatusCode::OK && is_all,
        "beyond the end: all of it"
    );

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.zip");
    std::fs::write(&file, [&whole.body[..half], &rest[..]].concat()).unwrap();
    let checked = check_export::check(&file, &[], None).unwrap();
    assert!(
        checked.report.findings.is_empty(),
        "{:?}",
        checked.report.findings
    );

    seen(&world, &mut own, "person", 0).await;
    let (status, head, anew) = part(&browser, &format!("bytes={half}-"), &tag).await;
    assert_eq!(status, StatusCode::OK, "another file now: all of it");
    assert_ne!(head["etag"], tag);
    assert!(anew.len() > half);
}

#[tokio::test]
async fn the_security_page_shows_nineteen_clauses_and_says_what_was_never_done() {
    let world = World::start().await;
    let own = customer(&world, "甲").await;
    let mut browser = own.browser(&world).await;
    let page = browser.get("/security").await.text();
    for number in 1..=19 {
        assert!(
            page.contains(&format!("id=\"clause-{number}\"")),
            "clause {number}"
        );
    }
    for words in [
        "まだ実施されていません",
        "AES-256-GCM",
        "TLS 1.2",
        "甲の倉庫の装置",
        "Argon2id",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let on = Tagged::Site(own.device.row.site);
    world
        .store
        .add_tag(own.contract, on, "夜間", now())
        .await
        .unwrap();
    assert!(
        browser
            .get("/security")
            .await
            .text()
            .contains("付けられているタグ: 1件")
    );
}

/// What a page says, without its tags.
fn said(page: &str) -> String {
    let pieces = page
        .split('<')
        .map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    let mut text = pieces.collect::<Vec<_>>().join("\n");
    // Names that people gave, and the other language's own name.
    for name in [
        "Acmeの倉庫",
        "Acmeの門",
        "Acmeの区画",
        "みなとセキュリティ株式会社",
        "日本語",
        "English",
    ] {
        text = text.replace(name, "");
    }
    text
}

#[tokio::test]
async fn no_page_has_a_word_that_was_not_translated() {
    let world = World::start().await;
    let own = customer(&world, "Acme").await;
    let mut browser = own.browser(&world).await;
    let mut read = 0;
    for route in cloud_receiver::portal::routes() {
        let is_page = route.access == cloud_receiver::portal::Access::Page;
        if !is_page || !route.methods.contains(&"GET") {
            continue;
        }
        for language in ["en", "ja"] {
            browser.language = language;
            let answer = browser.get(&own.address(&route)).await;
            if !answer.header("content-type").starts_with("text/html") {
                continue;
            }
            read += 1;
            let text = said(&answer.text());
            let is_japanese =
                |sign: char| matches!(sign, '\u{3041}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}');
            let foreign: Vec<&str> = match language {
                "en" => text
                    .lines()
                    .filter(|line| line.contains(is_japanese))
                    .collect(),
                _ => text.lines().filter(|line| is_english(line)).collect(),
            };
            assert!(
                foreign.is_empty(),
                "{} in {language}: {foreign:?}",
                route.path
            );
        }
    }
    assert!(read > 14, "{read}");
}

/// Three words in a row that Japanese does not have.
fn is_english(line: &str) -> bool {
    let words = line
        .split(' ')
        .map(|word| !word.is_empty() && word.chars().all(|sign| sign.is_ascii_lowercase()));
    let mut row = 0;
    for is_word in words {
        row = if is_word { row + 1 } else { 0 };
        if row == 3 {
            return true;
        }
    }
    false
}
