//! Mail to users about events: asked for on a page, confirmed by a link, stopped by a link, and none missed.

use super::browser::Browser;
use super::world::{MINUTE_US, SECOND_US, Scene, World, now};
use super::{SIZE, customer};
use cloud_receiver::config::Config;
use cloud_receiver::jobs::notify::turn;
use cloud_receiver::store::{ContractBook, MailBook, MailChoice, MailRow, Terms};
use reqwest::{Method, StatusCode};
use wire::UtcMicros;

async fn mail(world: &World) -> Vec<MailRow> {
    world.store.mail(MailChoice::Newest(100)).await.unwrap()
}

async fn tell(world: &World, at: UtcMicros) {
    let config = Config::new("/nowhere/data".into(), "/nowhere/keys".into());
    turn(&world.store, &world.blobs, &config, at).await.unwrap();
}

/// Where it is about noon now: daily mail, sent in the morning, is never due while the test runs.
fn zone_at_noon() -> String {
    let hour = now().0.div_euclid(60 * MINUTE_US).rem_euclid(24);
    // These names count westwards.
    format!("Etc/GMT{:+}", hour - 12)
}

/// The path of a link in a message.
fn link(mail: &MailRow, prefix: &str) -> String {
    let text = &mail.letter.text;
    let line = text.lines().find(|line| line.contains(prefix)).unwrap();
    line[line.find(prefix).unwrap()..].to_owned()
}

#[tokio::test]
async fn a_user_is_told_of_what_it_asked_for_and_stops_it_by_a_link() {
    let world = World::start().await;
    let mut own = customer(&world, "甲").await;
    let foreign = customer(&world, "乙").await;
    let terms = Terms {
        pictures_in_mail: true,
        zone: zone_at_noon(),
        ..Terms::default()
    };
    world
        .store
        .set_terms(own.contract, &terms, now())
        .await
        .unwrap();
    let mut browser = own.browser(&world).await;
    let page = "/account/notifications";
    let wrong = browser.post(page, &[("address", "nobody")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let camera = own.camera.to_string();
    // What is another contract's cannot be chosen.
    let others = foreign.camera.to_string();
    let form = [
        ("address", "tanto@example.jp"),
        ("class", "person"),
        ("camera", camera.as_str()),
        ("camera", others.as_str()),
        ("cool_down", "10"),
        ("rhythm", "at_once"),
        ("language", "ja"),
    ];
    let asked = browser.post(page, &form).await;
    assert_eq!(asked.location(), "/account/notifications?asked=1");
    let again = browser.post(page, &form).await;
    assert_eq!(again.status, StatusCode::TOO_MANY_REQUESTS);
    let [question] = &mail(&world).await[..] else {
        panic!("one question")
    };
    assert_eq!(question.letter.to, "tanto@example.jp");

    // Nothing before the owner of the address said yes, and a look says nothing.
    let mut anybody = Browser::new(&world);
    let confirm = link(question, "/mail/confirm/");
    assert_eq!(anybody.get(&confirm).await.status, StatusCode::OK);
    let scene = Scene::new(own.camera, "person", now());
    world
        .deliver(&mut own.device, vec![scene.event_record()])
        .await;
    tell(&world, now().plus_us(MINUTE_US)).await;
    assert_eq!(mail(&world).await.len(), 1);
    assert_eq!(anybody.post(&confirm, &[]).await.status, StatusCode::OK);
    assert_eq!(
        anybody.post(&confirm, &[]).await.status,
        StatusCode::NOT_FOUND,
        "once"
    );

    let mut jpeg = Vec::new();
    let pixels = image::RgbImage::from_pixel(640, 360, image::Rgb([9, 99, 200]));
    pixels
        .write_with_encoder(image::codecs::jpeg::JpegEncoder::new(&mut jpeg))
        .unwrap();
    let scene = Scene::new(own.camera, "person", now());
    let vehicle = Scene::new(own.camera, "vehicle", now());
    let late = Scene::new(
        own.camera,
        "person",
        now().plus_us(-7 * 24 * 60 * MINUTE_US),
    );
    let records = vec![
        scene.event_record(),
        scene.snapshot_record(&jpeg, SIZE),
        vehicle.event_record(),
    ];
    world.deliver(&mut own.device, records).await;
    world.blob(&own.device, &jpeg).await;
    tell(&world, now().plus_us(SECOND_US)).await;
    assert_eq!(mail(&world).await.len(), 1, "its picture is waited for");
    tell(&world, now().plus_us(20 * SECOND_US)).await;
    let told = mail(&world).await;
    assert_eq!(told.len(), 2);
    let letter = &told[1].letter;
    assert!(letter.text.contains(&format!("/events/{}", scene.event)));
    assert!(!letter.text.contains(&vehicle.event.to_string()));
    assert!(
        letter.subject.contains("甲の門: 人物"),
        "{}",
        letter.subject
    );
    let picture = letter.picture.as_ref().unwrap();
    assert!(picture.len() < 20_000 && picture.starts_with("/9j/"));

    // A backlog of last week is no news: not at once, and said to be late.
    world
        .deliver(&mut own.device, vec![late.event_record()])
        .await;
    let fresh = Scene::new(own.camera, "person", now());
    tell(&world, now().plus_us(11 * MINUTE_US)).await;
    assert_eq!(mail(&world).await.len(), 2);
    world
        .deliver(&mut own.device, vec![fresh.event_record()])
        .await;
    tell(&world, now().plus_us(5 * MINUTE_US)).await;
    assert_eq!(mail(&world).await.len(), 2, "the cool-down");
    tell(&world, now().plus_us(11 * MINUTE_US)).await;
    tell(&world, now().plus_us(25 * MINUTE_US)).await;
    let told = mail(&world).await;
    assert_eq!(told.len(), 3);
    let text = &told[2].letter.text;
    assert_eq!(text.matches("装置から遅れて").count(), 1, "{text}");

    // A mail program's one POST, from nowhere and without a session (RFC 8058).
    let stop = link(&told[2], "/mail/stop/");
    assert!(
        told[2]
            .letter
            .unsubscribe
            .as_ref()
            .unwrap()
            .ends_with(&stop)
    );
    assert!(anybody.get(&stop).await.text().contains("停止する"));
    assert!(browser.get(page).await.text().contains("通知は有効です"));
    let answer = anybody
        .request(Method::POST, &stop)
        .body("List-Unsubscribe=One-Click")
        .send();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    assert!(browser.get(page).await.text().contains("停止されています"));
    let after = Scene::new(own.camera, "person", now());
    world
        .deliver(&mut own.device, vec![after.event_record()])
        .await;
    tell(&world, now().plus_us(120 * MINUTE_US)).await;
    assert_eq!(mail(&world).await, [], "also what no server had taken yet");
    browser.post(page, &[("drop", "1")]).await;
    assert!(!browser.get(page).await.text().contains("tanto@"));
}
