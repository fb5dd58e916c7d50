//! One contract never sees another: every route, every kind of id, from the router's own table.
//!
//! It is not enough that nothing is shown: nobody may even learn that an id exists. So every foreign id is asked for
//! beside one that nobody has, and the two answers must be the same.

#![allow(clippy::unwrap_used)]

use super::browser::{Answer, Browser};
use super::world::{
    MINUTE_US, Scene, World, camera_state, device_state, gap, now, periodic_record,
};
use super::{Customer, DEADLINE, SIZE, customer, line_of};
use cloud_receiver::portal::{Access, Route, routes};
use cloud_receiver::store::OperatorDesk;
use reqwest::{Method, StatusCode};
use uuid::Uuid;
use wire::Sha256;

/// Everything of a customer's that has a name: what it is, and its id.
async fn ids(world: &World, customer: &Customer) -> Vec<(&'static str, String)> {
    let device = customer.device.row.device;
    let command = cloud_receiver::order::picture_now(device, customer.camera, now(), 60);
    world.store.add_command(&command).await.unwrap();
    vec![
        ("contract", customer.contract.to_string()),
        ("site", customer.device.row.site.to_string()),
        ("device", device.to_string()),
        ("camera", customer.camera.to_string()),
        ("event", customer.event.to_string()),
        ("picture", customer.picture.to_string()),
        ("command", command.id.to_string()),
        ("login id", encoded(&customer.login_id)),
    ]
}

/// As the portal writes it in links.
fn encoded(text: &str) -> String {
    let sign = |byte: u8| match byte {
        b'-' | b'0'..=b'9' | b'a'..=b'z' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(sign).collect()
}

/// An id of the same form that nobody has.
fn nobodys(id: &str) -> String {
    match id.len() {
        36 => Uuid::now_v7().to_string(),
        64 => Sha256::of(Uuid::now_v7().as_bytes()).to_string(),
        length => "x".repeat(length),
    }
}

/// A route's address with every way to put ids into its places.
fn filled(path: &str, ids: &[String]) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (_, after) = rest.split_once('}').unwrap();
    let rests = filled(after, ids);
    ids.iter()
        .flat_map(|id| rests.iter().map(move |rest| format!("{before}{id}{rest}")))
        .collect()
}

/// What can be told from an answer, without the id that was asked for and without the moment.
fn told(answer: &Answer, asked: &[String]) -> (StatusCode, String, String) {
    // Of a download its own test says what is in it: two of them are never the same.
    let is_text = answer.header("content-type").starts_with("text/");
    let body = if is_text { &answer.body[..] } else { &[] };
    let unnamed = |text: &str| {
        let plain = |text: String, id: &String| text.replace(id, "ID");
        let text = asked.iter().fold(text.to_owned(), plain);
        let text = text.replace("甲-01", "ID");
        text.chars().filter(|sign| !sign.is_ascii_digit()).collect()
    };
    let body = String::from_utf8_lossy(body);
    // Behind the question mark is the way back, which is what was asked for.
    let location = answer.location().split('?').next().unwrap();
    (answer.status, unnamed(location), unnamed(&body))
}

async fn ask(browser: &mut Browser, method: &Method, address: &str) -> Answer {
    let form: Option<&[(&str, &str)]> = (*method == Method::POST).then_some(&[]);
    browser.send(method.clone(), address, form, true).await
}

fn has_ids(route: &&Route) -> bool {
    route.path.contains('{') && route.access != Access::Public
}

#[tokio::test]
async fn fault_36_every_id_of_another_contract_is_one_that_nobody_has() {
    let world = World::start().await;
    let (own, foreign) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let (kinds, ids): (Vec<_>, Vec<_>) = ids(&world, &own).await.into_iter().unzip();
    let nobodys: Vec<String> = ids.iter().map(|id| nobodys(id)).collect();
    let mut owner = own.browser(&world).await;
    let mut stranger = foreign.browser(&world).await;
    let mut asked = 0;
    for route in routes().iter().filter(has_ids) {
        let addresses = filled(route.path, &ids);
        // The ids are good: their owner is shown something.
        if route.access != Access::Operator && route.methods.contains(&"GET") {
            let mut shown = 0;
            for address in &addresses {
                shown += u32::from(owner.get(address).await.status == StatusCode::OK);
            }
            assert!(
                shown > 0,
                "no id of {kinds:?} opens {}: teach this test one that does",
                route.path
            );
        }
        for (address, unknown) in addresses.iter().zip(filled(route.path, &nobodys)) {
            for method in [Method::GET, Method::POST, Method::HEAD] {
                let answer = ask(&mut stranger, &method, address).await;
                let is_served = route.access != Access::Operator
                    && (route.methods.contains(&method.as_str()) || method == Method::HEAD);
                if is_served {
                    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {address}");
                }
                let expected = ask(&mut stranger, &method, &unknown).await;
                let same = told(&answer, &ids) == told(&expected, &nobodys);
                assert!(
                    same,
                    "{method} {address} is answered otherwise than {unknown}: {}",
                    answer.text()
                );
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "{asked}");
}

#[tokio::test]
async fn fault_36_no_filter_finds_what_is_another_contracts() {
    const KEYS: [&str; 10] = [
        "id", "site", "camera", "device", "event", "class", "contract", "before", "sha256", "tag",
    ];
    let world = World::start().await;
    let (own, foreign) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let (_, ids): (Vec<_>, Vec<_>) = ids(&world, &own).await.into_iter().unzip();
    let nobodys: Vec<String> = ids.iter().map(|id| nobodys(id)).collect();
    let mut stranger = foreign.browser(&world).await;
    let of_customers = |route: &&Route| {
        matches!(route.access, Access::Page | Access::Part)
            && route.methods.contains(&"GET")
            && !route.path.contains('{')
            && route.path != "/live"
    };
    for route in routes().iter().filter(of_customers) {
        for key in KEYS {
            for (id, unknown) in ids.iter().zip(&nobodys) {
                let value = |id: &str| match key {
                    "before" => format!("{}_{id}", now()),
                    _ => id.to_owned(),
                };
                let mut same = false;
                // A page may tell the age of things, and the moment passes.
                for _ in 0..3 {
                    let answer = stranger
                        .get(&format!("{}?{key}={}", route.path, value(id)))
                        .await;
                    let expected = stranger
                        .get(&format!("{}?{key}={}", route.path, value(unknown)))
                        .await;
                    same = same || told(&answer, &ids) == told(&expected, &nobodys);
                    let body = String::from_utf8_lossy(&answer.body);
                    for secret in ["甲の門", "甲の倉庫", "甲の区画"] {
                        assert!(!body.contains(secret), "{} shows {secret}", route.path);
                    }
                }
                assert!(same, "{}?{key}={id}", route.path);
            }
        }
    }
}

#[tokio::test]
async fn fault_36_the_live_stream_tells_nothing_of_another_contract() {
    let world = World::start().await;
    let (mut own, mut foreign) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let stranger = foreign.browser(&world).await;
    let mut stream = stranger.request(Method::GET, "/live").send().await.unwrap();
    let mut rest = String::new();
    line_of(&mut stream, &mut rest, "event: ready")
        .await
        .unwrap();
    line_of(&mut stream, &mut rest, "data:").await.unwrap();

    let (camera, at) = (own.camera, now());
    let scene = Scene::new(camera, "person", at);
    let jpeg = b"a picture of the other contract";
    let records = vec![
        scene.event_record(),
        scene.snapshot_record(jpeg, SIZE),
        periodic_record(camera, jpeg, SIZE, at),
        camera_state(camera, "門", "retrying", Some("connect"), at),
        gap(
            Some(camera),
            "snapshot",
            "quota",
            3,
            at.plus_us(-MINUTE_US),
            at,
        ),
        gap(None, "records", "quarantine", 0, at.plus_us(-MINUTE_US), at),
        device_state("stopping", at),
    ];
    world.deliver(&mut own.device, records).await;
    world.blob(&own.device, jpeg).await;
    let signal = Scene::new(foreign.camera, "vehicle", now());
    let records = vec![signal.event_record()];
    world.deliver(&mut foreign.device, records).await;
    let first = tokio::time::timeout(DEADLINE, line_of(&mut stream, &mut rest, "data:")).await;
    let first = first.unwrap().unwrap();
    assert!(first.contains(&signal.event.to_string()), "{first}");
}
