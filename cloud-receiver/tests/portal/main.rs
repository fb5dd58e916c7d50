//! The portal over real TLS, on the real store: who may see what, and that what is seen is right.
//!
//! The walks below run over the router's own table of routes: a new route is walked from the day it exists.

#![allow(clippy::unwrap_used)]

mod browser;
mod clock;
mod export;
mod gaps;
mod headers;
mod isolation;
mod notifications;
mod operator;
mod operator_accounts;
mod operator_area;
mod operator_desk;
mod operator_letters;
mod operator_notices;
mod operator_office;
mod pages;
mod rules;
mod second_factor;
mod sign_in;
mod world;

use browser::{Answer, Browser};
use cloud_receiver::portal::{Access, Route, routes};
use cloud_receiver::store::Administration;
use reqwest::{Method, StatusCode};
use std::time::Duration;
use uuid::Uuid;
use wire::record::{CountRecord, GapRecord};
use wire::{Body, CameraId, ContractId, EventId, Record, Sha256};
use world::{
    Device, MINUTE_US, SECOND_US, SYNCED, Scene, World, camera_state, count, count_record, now,
    periodic_record, reason, time,
};

const PASSWORD: &str = "orchard-lantern-42";
const DEADLINE: Duration = Duration::from_secs(20);
const SIZE: (u32, u32) = (768, 576);

/// A contract with one of everything.
struct Customer {
    contract: ContractId,
    login_id: String,
    device: Device,
    camera: CameraId,
    event: EventId,
    picture: Sha256,
    jpeg: Vec<u8>,
}

async fn customer(world: &World, name: &str) -> Customer {
    let contract = world.store.add_contract(name, now()).await.unwrap();
    let login_id = format!("{name}-01");
    world.user(contract, &login_id, PASSWORD, false).await;
    let mut device = world.device(contract, &format!("{name}の倉庫")).await;
    let camera = CameraId(Uuid::now_v7());
    let mut scene = Scene::new(camera, "person", now().plus_us(-5 * SECOND_US));
    let zone = format!("{name}の区画");
    scene.zones = vec![zone.clone()];
    scene.reasons = vec![reason("zone", &zone, scene.opened)];
    let count = CountRecord {
        zone: Some(zone),
        peak: Some(2),
        ..count(camera, "person", 3, now().plus_us(-MINUTE_US))
    };
    let jpeg = format!("the picture of {name}").into_bytes();
    let records = vec![
        camera_state(
            camera,
            &format!("{name}の門"),
            "running",
            None,
            now().plus_us(-MINUTE_US),
        ),
        scene.event_record(),
        scene.snapshot_record(&jpeg, SIZE),
        periodic_record(camera, &jpeg, SIZE, now()),
        count_record(count),
    ];
    world.deliver(&mut device, records).await;
    let picture = world.blob(&device, &jpeg).await;
    world.heard(&device, now()).await;
    Customer {
        contract,
        login_id,
        device,
        camera,
        event: scene.event,
        picture,
        jpeg,
    }
}

impl Customer {
    async fn browser(&self, world: &World) -> Browser {
        Browser::signed_in(world, &self.login_id, PASSWORD).await
    }

    /// The route's address with this customer's ids in it.
    fn address(&self, route: &Route) -> String {
        let id = if route.path.starts_with("/cameras") {
            self.camera.to_string()
        } else {
            self.event.to_string()
        };
        route
            .path
            .replace("{id}", &id)
            .replace("{sha256}", &self.picture.to_string())
            .replace("{name}", "portal.css")
            .replace("{token}", "nobodys")
            .replace("{device}", &self.device.row.device.to_string())
            .replace("{camera}", &self.camera.to_string())
            .replace("{contract}", &self.contract.to_string())
            .replace("{site}", &self.device.row.site.to_string())
            // Removing this customer's would end the walk.
            .replace("{letter}", "maintenance.en")
            .replace("{login}", "nobody")
    }
}

async fn walk(
    browser: &mut Browser,
    customer: &Customer,
    mut check: impl FnMut(&Route, &str, Answer),
) {
    let mut all = routes();
    // Otherwise the rest of the walk would be without a session.
    all.sort_by_key(|route| route.path == "/sign-out");
    for route in all {
        for method in route.methods {
            let address = customer.address(&route);
            let method: Method = method.parse().unwrap();
            let form: Option<&[(&str, &str)]> = (method == Method::POST).then_some(&[]);
            let answer = browser.send(method, &address, form, true).await;
            check(&route, &address, answer);
        }
    }
}

#[tokio::test]
async fn without_a_session_nothing_is_open_but_the_door() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut nobody = Browser::new(&world);
    walk(
        &mut nobody,
        &customer,
        |route, address, answer| match route.access {
            Access::Public => assert!(
                !answer.status.is_server_error(),
                "{address}: {}",
                answer.status
            ),
            Access::Page => {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{address}");
                assert!(answer.location().starts_with("/sign-in?next="), "{address}");
            }
            Access::Part => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{address}"),
            Access::Operator => {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{address}");
                let location = answer.location();
                assert!(location.starts_with("/operator/sign-in?next="), "{address}");
            }
        },
    )
    .await;
    let public: Vec<_> = routes()
        .into_iter()
        .filter(|route| route.access == Access::Public)
        .map(|route| route.path)
        .collect();
    assert_eq!(
        public,
        [
            "/sign-in",
            "/offline",
            "/offline-worker.js",
            "/assets/{name}",
            "/mail/confirm/{token}",
            "/mail/stop/{token}",
            "/operator/sign-in"
        ]
    );
}

#[tokio::test]
async fn customers_change_nothing_but_their_own_account() {
    let changing: Vec<_> = routes()
        .into_iter()
        .filter(|route| route.methods.iter().any(|method| *method != "GET"))
        .filter(|route| !route.path.starts_with("/operator"))
        .map(|route| route.path)
        .collect();
    assert_eq!(
        changing,
        [
            "/sign-in",
            "/account/notifications",
            // Of the own notifications too, by the secret in a mail.
            "/mail/confirm/{token}",
            "/mail/stop/{token}",
            "/account/end-other-sessions",
            "/password",
            "/account/end-session",
            "/second-factor",
            "/second-factor/begin",
            "/second-factor/confirm",
            "/second-factor/remove",
            "/sign-out"
        ]
    );
}

#[tokio::test]
async fn forged_forms_are_refused() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    for route in routes()
        .iter()
        .filter(|route| route.methods.contains(&"POST"))
        // Mail programs come from nowhere (RFC 8058); the secret in the address is what counts.
        .filter(|route| route.path != "/mail/stop/{token}")
    {
        let refused = browser.post_from_nowhere(route.path).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", route.path);
        assert!(refused.text().contains("この操作は受け付けられません"));
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let request = browser
                .request(Method::POST, route.path)
                .header(name, value);
            assert_eq!(
                request.send().await.unwrap().status(),
                StatusCode::FORBIDDEN,
                "{} {name}",
                route.path
            );
        }
    }
    assert_eq!(
        browser.get("/").await.status,
        StatusCode::OK,
        "still signed in"
    );
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_owner_comes_in() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let known = customer.browser(&world).await;
    let mut guesser = Browser::new(&world);
    for guess in 0..5 {
        let answer = guesser
            .sign_in("甲-01", &format!("guess number {guess}"))
            .await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let answer = guesser.sign_in("甲-01", PASSWORD).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.text().contains("秒待ってから"));
    // From the same address, but a browser that was here before.
    let mut owner = Browser::new(&world);
    owner.cookies = known.cookies.clone();
    owner.cookies.remove("__Host-session");
    assert_eq!(
        owner.sign_in("甲-01", PASSWORD).await.status,
        StatusCode::SEE_OTHER
    );
    let account = owner.get("/account").await.text();
    assert!(account.contains("心当たりがない場合"), "{account}");
}

#[tokio::test]
async fn the_issued_password_is_changed_first_and_only_for_a_good_one() {
    let world = World::start().await;
    let contract = world.store.add_contract("丙", now()).await.unwrap();
    let issued = cloud_receiver::auth::password::generate();
    world.user(contract, "hinoe", &issued, true).await;
    let mut browser = Browser::new(&world);
    assert_eq!(
        browser.sign_in("hinoe", &issued).await.location(),
        "/password"
    );
    // There is no way around it.
    for route in routes()
        .iter()
        .filter(|route| matches!(route.access, Access::Page | Access::Part))
        .filter(|route| route.methods == ["GET"])
    {
        let address = route.path.replace("{id}", "x").replace("{sha256}", "x");
        let answer = browser.get(&address).await;
        match route.access {
            Access::Page => assert_eq!(answer.location(), "/password", "{address}"),
            _ => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{address}"),
        }
    }
    let other = Browser::signed_in(&world, "hinoe", &issued).await;
    let change = |current: &str, new: &str, repeated: &str| {
        vec![
            ("current".to_owned(), current.to_owned()),
            ("new".into(), new.into()),
            ("repeated".into(), repeated.into()),
        ]
    };
    let refused = [
        (
            change("wrong", "a fine sentence", "a fine sentence"),
            "現在のパスワードが正しくありません",
        ),
        (change(&issued, "short", "short"), "12文字以上"),
        (
            change(&issued, &issued, &issued),
            "現在のパスワードと同じです",
        ),
        (
            change(&issued, "password12345", "password12345"),
            "推測されやすい",
        ),
        (
            change(&issued, "my-hinoe-secret", "my-hinoe-secret"),
            "ログインIDを含む",
        ),
        (
            change(&issued, "a fine sentence", "another sentence"),
            "2回とも同じではありません",
        ),
    ];
    for (form, words) in refused {
        let form: Vec<(&str, &str)> = form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let answer = browser.post("/password", &form).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{words}");
        assert!(answer.text().contains(words), "{words}");
    }
    let before = browser.cookies["__Host-session"].clone();
    let form = [
        ("current", issued.as_str()),
        ("new", "a fine sentence"),
        ("repeated", "a fine sentence"),
    ];
    assert_eq!(
        browser.post("/password", &form).await.location(),
        "/account?changed=1"
    );
    assert_ne!(before, browser.cookies["__Host-session"], "a new token");
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let mut other = other;
    assert_eq!(
        other.get("/").await.status,
        StatusCode::SEE_OTHER,
        "others are out"
    );
    assert_eq!(
        Browser::new(&world).sign_in("hinoe", &issued).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn sessions_end_when_told() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut one = customer.browser(&world).await;
    let mut other = customer.browser(&world).await;
    let ended = one.post("/account/end-other-sessions", &[]).await;
    assert_eq!(ended.location(), "/account?ended=1");
    let away = other.get("/events?class=person").await;
    assert_eq!(
        away.location(),
        "/sign-in?next=%2Fevents%3Fclass%3Dperson&ended=1"
    );
    assert!(!other.cookies.contains_key("__Host-session"));
    // Back to where it was going.
    let form = [
        ("login_id", "甲-01"),
        ("password", PASSWORD),
        ("next", "/events?class=person"),
    ];
    assert_eq!(
        other.post("/sign-in", &form).await.location(),
        "/events?class=person"
    );
    let form = [
        ("login_id", "甲-01"),
        ("password", PASSWORD),
        ("next", "//evil.example/"),
    ];
    assert_eq!(other.post("/sign-in", &form).await.location(), "/");

    let token = one.cookies["__Host-session"].clone();
    one.post("/sign-out", &[]).await;
    one.cookies.insert("__Host-session".into(), token);
    assert_eq!(
        one.get("/").await.status,
        StatusCode::SEE_OTHER,
        "the old token is dead"
    );
}

#[tokio::test]
async fn pictures_are_served_to_their_owner_and_kept_by_the_browser_only() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    let answer = browser.get(&format!("/media/{}", customer.picture)).await;
    assert_eq!(answer.body, customer.jpeg);
    assert_eq!(answer.header("content-type"), "image/jpeg");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    for address in [
        "/media/xyz",
        "/events/xyz",
        "/events/xyz/card",
        "/cameras/xyz/card",
        "/nothing",
        "/assets/../x",
    ] {
        assert_eq!(
            browser.get(address).await.status,
            StatusCode::NOT_FOUND,
            "{address}"
        );
    }
    let wrong_method = browser.post("/events", &[]).await;
    assert_eq!(wrong_method.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// Reads one line of the stream that starts so, or nothing when the stream ends.
async fn line_of(
    response: &mut reqwest::Response,
    rest: &mut String,
    start: &str,
) -> Option<String> {
    let read = async {
        loop {
            while let Some(end) = rest.find('\n') {
                let line = rest.drain(..=end).collect::<String>();
                if line.starts_with(start) {
                    return Some(line.trim_end().to_owned());
                }
            }
            let chunk = response.chunk().await.ok().flatten()?;
            rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("in time")
}

#[tokio::test]
async fn news_arrive_live_and_only_ones_own() {
    let world = World::start().await;
    let (mut own, mut foreign) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let mut browser = own.browser(&world).await;
    let mut stream = browser.request(Method::GET, "/live").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut rest = String::new();
    assert!(
        line_of(&mut stream, &mut rest, "event: ready")
            .await
            .is_some()
    );
    assert_eq!(
        line_of(&mut stream, &mut rest, "data:").await.unwrap(),
        "data: 1"
    );

    let others = Scene::new(foreign.camera, "person", now());
    world
        .deliver(&mut foreign.device, vec![others.event_record()])
        .await;
    let scene = Scene::new(own.camera, "vehicle", now());
    world
        .deliver(&mut own.device, vec![scene.event_record()])
        .await;
    let data = line_of(&mut stream, &mut rest, "data:").await.unwrap();
    assert!(data.contains(&scene.event.to_string()), "{data}");
    assert!(data.contains("\"type\":\"event\""), "{data}");

    let card = browser.get(&format!("/events/{}/card", scene.event)).await;
    assert!(card.text().contains("車両"), "{}", card.text());
    let unwanted = browser
        .get(&format!("/events/{}/card?class=person", scene.event))
        .await;
    assert_eq!(unwanted.status, StatusCode::NO_CONTENT);

    browser.post("/sign-out", &[]).await;
    assert_eq!(
        line_of(&mut stream, &mut rest, "never").await,
        None,
        "the stream ends with its session"
    );
}

#[tokio::test]
async fn hostile_names_are_only_text() {
    let world = World::start().await;
    let contract = world
        .store
        .add_contract("<b>契約</b>", now())
        .await
        .unwrap();
    world.user(contract, "o'brien\"><i>", PASSWORD, false).await;
    let mut device = world
        .device(contract, "</title><script>site()</script>")
        .await;
    let camera = CameraId(Uuid::now_v7());
    let hostile = "\"><script>alert('camera')</script>&amp;{{7*7}}";
    let mut scene = Scene::new(camera, "\"><img src=x onerror=alert(1)>", now());
    scene.boxes[0].class = "</text><script>box()</script>".into();
    let records = vec![
        camera_state(
            camera,
            hostile,
            "running",
            Some("<u>"),
            now().plus_us(-MINUTE_US),
        ),
        scene.event_record(),
        scene.snapshot_record(b"x", SIZE),
    ];
    world.deliver(&mut device, records).await;
    world.blob(&device, b"x").await;
    let mut browser = Browser::signed_in(&world, "o'brien\"><i>", PASSWORD).await;
    let query = browser::encode("\"><script>query()</script>");
    let addresses = [
        "/".to_owned(),
        "/events".into(),
        "/account".into(),
        format!("/events/{}", scene.event),
        format!("/events/{}/card", scene.event),
        format!("/cameras/{camera}/card"),
        format!("/events?class={query}&day={query}&from={query}&camera={query}&before={query}"),
        format!("/sign-in?next={query}"),
        format!("/{query}"),
    ];
    for address in addresses {
        let page = browser.get(&address).await.text();
        for hostile in [
            "<script>alert",
            "<script>site",
            "<script>box",
            "<script>query",
            "<img src=x",
            "<b>契約",
            "<i>",
            "<u>",
        ] {
            assert!(!page.contains(hostile), "{address}: {hostile}");
        }
        let inline = page.matches("<script").count()
            - page
                .matches("<script type=\"module\" src=\"/assets/")
                .count();
        assert_eq!(inline, 0, "{address}");
        assert!(
            !page.contains(" style=") && !page.contains("<style"),
            "{address}"
        );
    }
}

#[tokio::test]
async fn the_page_speaks_the_visitors_language() {
    let world = World::start().await;
    let mut browser = Browser::new(&world);
    assert!(
        browser
            .get("/sign-in")
            .await
            .text()
            .contains("<html lang=\"ja\"")
    );
    browser.language = "en-GB,en;q=0.9";
    assert!(
        browser
            .get("/sign-in")
            .await
            .text()
            .contains("<html lang=\"en\"")
    );
    let chosen = browser.get("/sign-in?next=%2Fevents&lang=ja").await;
    assert_eq!(chosen.location(), "/sign-in?next=%2Fevents");
    assert!(
        browser
            .get("/sign-in")
            .await
            .text()
            .contains("<html lang=\"ja\"")
    );
    assert!(
        browser
            .get("/nothing")
            .await
            .text()
            .contains("ページが見つかりません")
    );
}

#[tokio::test]
async fn the_timeline_pages_without_gap_or_repeat() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let start = now().plus_us(-3 * 60 * MINUTE_US);
    for chunk in 0..3_i64 {
        let scenes = (0..30_i64).map(|n| {
            Scene::new(
                customer.camera,
                "vehicle",
                start.plus_us((chunk * 30 + n / 2) * SECOND_US),
            )
        });
        let records = scenes.map(|scene| scene.event_record()).collect();
        world.deliver(&mut customer.device, records).await;
    }
    let mut browser = customer.browser(&world).await;
    let mut seen = Vec::new();
    let mut next = Some("/events?class=vehicle".to_owned());
    while let Some(address) = next {
        let page = browser.get(&address).await.text();
        let ids = page
            .split("data-event=\"")
            .skip(1)
            .map(|rest| rest[..36].to_owned());
        seen.extend(ids);
        next = page
            .split("rel=\"next\" href=\"")
            .nth(1)
            .map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&"));
    }
    assert_eq!(seen.len(), 90);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 90);
}

#[tokio::test]
async fn a_dead_camera_says_so_in_words() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut browser = customer.browser(&world).await;
    let well = browser.get("/").await.text();
    assert!(well.contains("すべてのカメラが正常です"), "{well}");
    let down = camera_state(customer.camera, "正門", "retrying", Some("timeout"), now());
    world.deliver(&mut customer.device, vec![down]).await;
    let dead = browser.get("/").await.text();
    assert!(
        dead.contains("正門カメラから")
            && dead.contains("以降、画像が届いていません。電源とLANケーブルをご確認ください。")
    );
    assert!(dead.contains("class=\"camera dead\""));
    browser.language = "en";
    assert!(
        browser
            .get("/")
            .await
            .text()
            .contains("Please check its power and LAN cable.")
    );
}

#[tokio::test]
async fn a_picture_that_will_not_come_is_not_awaited() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let mut fresh = Scene::new(customer.camera, "vehicle", now().plus_us(-SECOND_US));
    fresh.closed = None;
    let missed = Scene::new(customer.camera, "bicycle", now().plus_us(-30 * SECOND_US));
    let gap = GapRecord {
        from_us: missed.opened,
        to_us: missed.opened,
        camera: Some(customer.camera),
        class: "snapshot".into(),
        count: 1,
        reason: "media_busy".into(),
    };
    let gap = Record::new(time(now(), SYNCED), Body::Gap(gap));
    let records = vec![fresh.event_record(), missed.event_record(), gap];
    world.deliver(&mut customer.device, records).await;
    let mut browser = customer.browser(&world).await;
    for (scene, words) in [(&fresh, "画像を待っています"), (&missed, "失われました")]
    {
        for page in ["", "/card"] {
            let address = format!("/events/{}{page}", scene.event);
            let text = browser.get(&address).await.text();
            assert!(text.contains(words), "{address}: {text}");
        }
    }
    // Said to be on its way: awaited, whatever else was missed; and shown when it is here.
    let jpeg = b"late, but here";
    let announced = missed.snapshot_record(jpeg, SIZE);
    world.deliver(&mut customer.device, vec![announced]).await;
    let address = format!("/events/{}", missed.event);
    let text = browser.get(&address).await.text();
    assert!(text.contains("画像を待っています"), "{text}");
    let sha256 = world.blob(&customer.device, jpeg).await;
    let text = browser.get(&address).await.text();
    assert!(text.contains(&format!("/media/{sha256}")), "{text}");
}
