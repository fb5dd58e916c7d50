//! The operators' door: nobody but an operator comes in by it, and what is ordered there reaches the device.

#![allow(clippy::unwrap_used)]

use super::browser::Browser;
use super::world::{MINUTE_US, SYNCED, World, camera_state, code_of, heartbeat, now, time};
use super::{Customer, PASSWORD, customer, walk};
use cloud_receiver::portal::{Access, Route, routes};
use cloud_receiver::store::{AccountKind, Administration, BlobRows, DeviceWrites, OperatorDesk};
use reqwest::{Method, StatusCode};
use wire::command::{Command, Request};
use wire::record::AuditRecord;
use wire::{Body, CameraId, Record, UtcMicros};

const CUSTOMERS: &str = "__Host-session";
const OPERATORS: &str = "__Host-operator-session";

pub async fn operator(world: &World) -> Browser {
    world.operator("operator", PASSWORD, false).await;
    let mut browser = Browser::new(world);
    let answer = browser.sign_in_as_operator("operator", PASSWORD).await;
    assert_eq!(answer.location(), "/operator", "{}", answer.text());
    browser
}

fn picture_address(customer: &Customer) -> String {
    let (device, camera) = (customer.device.row.device, customer.camera);
    format!("/operator/devices/{device}/cameras/{camera}/picture")
}

#[test]
fn every_address_below_operator_is_the_operators() {
    let is_below =
        |route: &Route| route.path == "/operator" || route.path.starts_with("/operator/");
    for route in routes() {
        match route.access {
            Access::Operator => assert!(is_below(&route), "{}", route.path),
            Access::Public => assert!(!is_below(&route) || route.path == "/operator/sign-in"),
            Access::Page | Access::Part => assert!(!is_below(&route), "{}", route.path),
        }
    }
}

#[tokio::test]
async fn a_session_opens_its_own_door_only() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut operators = operator(&world).await;
    let mut customers = customer.browser(&world).await;
    // The very tokens, under every cookie name there is.
    let token_of_operator = operators.cookies[OPERATORS].clone();
    let token_of_customer = customers.cookies[CUSTOMERS].clone();
    for name in [CUSTOMERS, OPERATORS] {
        let mut forged = Browser::new(&world);
        forged
            .cookies
            .insert(name.into(), token_of_customer.clone());
        let answer = forged.get("/operator").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        forged
            .cookies
            .insert(name.into(), token_of_customer.clone());
        let answer = forged.post(&picture_address(&customer), &[]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");

        let mut forged = Browser::new(&world);
        forged
            .cookies
            .insert(name.into(), token_of_operator.clone());
        assert_eq!(
            forged.get("/").await.status,
            StatusCode::SEE_OTHER,
            "{name}"
        );
    }
    // Nor do passwords: each account is known at its own door only.
    let answer = Browser::new(&world).sign_in("operator", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut other = Browser::new(&world);
    let answer = other.sign_in_as_operator("甲-01", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);

    // An operator is a stranger to every page of the customers, and sees nothing of theirs.
    walk(
        &mut operators,
        &customer,
        |route, address, answer| match route.access {
            Access::Page => assert!(answer.location().starts_with("/sign-in?next="), "{address}"),
            Access::Part => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{address}"),
            Access::Public | Access::Operator => {
                let body = String::from_utf8_lossy(&answer.body);
                assert!(!body.contains(&customer.picture.to_string()), "{address}");
                assert!(!body.contains(&customer.event.to_string()), "{address}");
            }
        },
    )
    .await;
    assert_eq!(customers.get("/").await.status, StatusCode::OK);
    assert!(
        !world.commands(&customer).await.is_empty(),
        "the operator's own walk ordered one"
    );
}

#[tokio::test]
async fn the_operator_signs_in_by_the_customers_rules() {
    let world = World::start().await;
    world.operator("operator", PASSWORD, true).await;
    let mut browser = Browser::new(&world);
    let fixed = "planted-before-sign-in".to_owned();
    browser.cookies.insert(OPERATORS.into(), fixed.clone());
    let answer = browser.sign_in_as_operator("operator", PASSWORD).await;
    assert_eq!(answer.location(), "/operator/password");
    assert_ne!(browser.cookies[OPERATORS], fixed, "a new token");
    let cookie = answer.headers.get_all("set-cookie").iter();
    let cookie = cookie
        .map(|c| c.to_str().unwrap())
        .find(|c| c.starts_with(OPERATORS));
    for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.unwrap().contains(part), "{part}");
    }
    // The issued password is changed first.
    assert_eq!(
        browser.get("/operator").await.location(),
        "/operator/password"
    );
    let weak = [
        ("current", PASSWORD),
        ("new", "operator-operator"),
        ("repeated", "operator-operator"),
    ];
    let answer = browser.post("/operator/password", &weak).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let good = [
        ("current", PASSWORD),
        ("new", "a fine sentence"),
        ("repeated", "a fine sentence"),
    ];
    let answer = browser.post("/operator/password", &good).await;
    assert_eq!(answer.location(), "/operator?changed=1");
    assert_eq!(
        browser.get("/operator?changed=1").await.status,
        StatusCode::OK
    );

    // Guessing is slowed down here too.
    let mut guesser = Browser::new(&world);
    for guess in 0..5 {
        let answer = guesser
            .sign_in_as_operator("operator", &format!("guess {guess}"))
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = guesser
        .sign_in_as_operator("operator", "a fine sentence")
        .await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);

    // The way back stays behind this door.
    let mut owner = Browser::new(&world);
    owner.cookies = browser.cookies.clone();
    for (wanted, expected) in [
        ("/operator/password", "/operator/password"),
        ("/events", "/operator"),
        ("//evil.example", "/operator"),
        ("https://evil.example", "/operator"),
    ] {
        let form = [
            ("login_id", "operator"),
            ("password", "a fine sentence"),
            ("next", wanted),
        ];
        let answer = owner.post("/operator/sign-in", &form).await;
        let (page, next) = answer.location().split_once("?next=").unwrap();
        assert_eq!(page, "/operator/second-factor", "{wanted}");
        assert_eq!(next.replace("%2F", "/"), expected, "{wanted}");
        world.second_factor(AccountKind::Operator, "operator").await;
        let again = owner.post("/operator/sign-in", &form).await;
        assert_eq!(again.status, StatusCode::SEE_OTHER, "{wanted}");
        let code = code_of("operator", 0);
        let form = [("code", &*code), ("next", wanted)];
        let answer = owner.post("/operator/second-factor", &form).await;
        assert_eq!(answer.location(), expected, "{wanted}");
    }
    let token = owner.cookies[OPERATORS].clone();
    let answer = owner.post("/operator/sign-out", &[]).await;
    assert_eq!(answer.location(), "/operator/sign-in?bye=1");
    owner.cookies.insert(OPERATORS.into(), token);
    let answer = owner.get("/operator").await;
    assert_eq!(
        answer.status,
        StatusCode::SEE_OTHER,
        "the old token is dead"
    );
}

#[tokio::test]
async fn the_page_tells_how_each_device_is() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let other = CameraId(uuid::Uuid::now_v7());
    let down = camera_state(
        other,
        "<i>裏門",
        "retrying",
        Some("auth"),
        now().plus_us(-MINUTE_US),
    );
    world.deliver(&mut customer.device, vec![down]).await;
    world
        .heartbeat(&customer.device, &heartbeat(SYNCED, 1234, 2))
        .await;
    let never = world.device(customer.contract, "まだの拠点").await;
    let mut browser = operator(&world).await;
    let page = browser.get("/operator/devices").await.text();
    let expected = [
        "甲の倉庫",
        "甲の門",
        "0.1.7",
        "時刻同期",
        "記録 1,234 件",
        "装置で保留 2 件",
        "ログインが拒否されました",
        "&lt;i&gt;裏門",
        "まだの拠点",
        "まだ応答がありません",
        "1 台 正常",
        "1 台 応答なし",
    ];
    for words in expected {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(
        !page.contains("<i>") && !page.contains("data-live"),
        "{page}"
    );
    // A revoked device is shown as such, and takes no orders.
    world.store.revoke(never.row.device, now()).await.unwrap();
    world
        .store
        .revoke(customer.device.row.device, now())
        .await
        .unwrap();
    let page = browser.get("/operator/devices").await.text();
    assert!(
        page.contains("失効") && !page.contains("/picture\""),
        "{page}"
    );
    let answer = browser.post(&picture_address(&customer), &[]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    browser.language = "en";
    assert!(
        browser
            .get("/operator/devices")
            .await
            .text()
            .contains("Revoked")
    );
}

#[tokio::test]
async fn pictures_whose_files_are_gone_are_told_with_how_many_and_since_when() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let second = world.blob(&customer.device, b"another picture").await;
    let mut browser = operator(&world).await;
    let hint = "装置は受信済みの画像を消すため";
    let page = browser.get("/operator/devices").await.text();
    assert!(
        page.contains("ファイルが失われた画像") && !page.contains(hint),
        "{page}"
    );
    // 2026-11-22, 14:05 and a minute later in Japan.
    let since = UtcMicros(1_795_323_900_000_000);
    for (picture, at) in [
        (customer.picture, since),
        (second, since.plus_us(MINUTE_US)),
    ] {
        let gone = world
            .store
            .blob_missing(customer.contract, picture, Some(at));
        gone.await.unwrap();
    }
    let page = browser.get("/operator/devices").await.text();
    let after = page.split("ファイルが失われた画像").nth(1).unwrap();
    let fact = after.split("</div>").next().unwrap();
    assert!(
        fact.contains("2</span>") && fact.contains("11月22日"),
        "{fact}"
    );
    assert!(fact.contains("14:05") && page.contains(hint), "{fact}");
    // Brought once more, it is here again.
    world.blob(&customer.device, b"another picture").await;
    let missing = world.store.missing_blobs().await.unwrap();
    assert!(missing.len() == 1 && missing[0].count == 1, "{missing:?}");
    browser.language = "en";
    let page = browser.get("/operator/devices").await.text();
    assert!(page.contains("cannot be asked for it again"), "{page}");
}

#[tokio::test]
async fn an_ordered_picture_reaches_the_device_and_its_answer_the_page() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let foreign = format!(
        "/operator/devices/{}/cameras/{}/picture",
        customer.device.row.device,
        CameraId(uuid::Uuid::now_v7())
    );
    assert_eq!(
        browser.post(&foreign, &[]).await.status,
        StatusCode::NOT_FOUND
    );
    let refused = browser.post_from_nowhere(&picture_address(&customer)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(world.commands(&customer).await.is_empty());

    let answer = browser.post(&picture_address(&customer), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let (address, anchor) = answer.location().split_once('#').unwrap();
    assert_eq!(anchor, format!("camera-{}", customer.camera));
    let address = address.to_owned();
    let waiting = browser.get(&address).await;
    assert!(waiting.text().contains("装置の応答を待っています"));
    assert_eq!(waiting.header("refresh"), "2");
    let [command] = world.commands(&customer).await.try_into().unwrap();
    let Request::PictureNow { camera } = command.request else {
        panic!("{command:?}");
    };
    assert_eq!(camera, customer.camera);

    let said = AuditRecord {
        actor: "receiver".into(),
        action: "command.picture_now".into(),
        outcome: "failed".into(),
        command: Some(command.id),
        detail: Some("<b>the camera is dark".into()),
        file: None,
    };
    let said = Record::new(time(now(), SYNCED), Body::Audit(said));
    world.deliver(&mut customer.device, vec![said]).await;
    let answered = browser.get(&address).await;
    let page = answered.text();
    assert!(
        page.contains("撮影できませんでした。 (&lt;b&gt;the camera is dark)"),
        "{page}"
    );
    assert_eq!(answered.header("refresh"), "");
    for nonsense in [
        "/operator/devices?asked=x&camera=y",
        "/operator/devices?asked=&camera=",
    ] {
        assert_eq!(browser.get(nonsense).await.status, StatusCode::OK);
    }
    let method = browser
        .send(Method::GET, &picture_address(&customer), None, true)
        .await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
}

impl World {
    /// What waits for the customer's device.
    async fn commands(&self, customer: &Customer) -> Vec<Command> {
        let device = customer.device.row.device;
        self.store.pending_commands(device, now()).await.unwrap()
    }
}
