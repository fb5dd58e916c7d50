//! What a customer takes home: an export that verifies, of the own contract and of nothing else; and what the operator
//! is told of deliveries.

#![allow(clippy::unwrap_used)]

use super::browser::{Answer, Browser};
use super::operator::operator;
use super::rules::when;
use super::world::{MINUTE_US, Scene, World, gap, now};
use super::{SIZE, customer};
use cloud_receiver::evidence::check_export;
use cloud_receiver::portal::words::Lang;
use cloud_receiver::store::{AuditBook, AuditFilter, AuditRow, EvidenceReads};
use reqwest::StatusCode;

async fn download(browser: &mut Browser, address: &str) -> Answer {
    let answer = browser.get(address).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "{address}: {}",
        answer.text()
    );
    assert_eq!(answer.header("content-type"), "application/zip");
    assert!(
        answer
            .header("content-disposition")
            .starts_with("attachment; filename=\"caas-20")
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

fn holds(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn the_export_of_a_customer_verifies_and_holds_the_own_contract_only() {
    let world = World::start().await;
    let (own, foreign) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let mut browser = own.browser(&world).await;
    let page = browser.get("/events").await.text();
    assert!(page.contains("href=\"/export\""), "the button: {page}");
    let event = format!("/events/{}/export", own.event);
    assert!(
        browser
            .get(&format!("/events/{}", own.event))
            .await
            .text()
            .contains(&event)
    );
    let folder = tempfile::tempdir().unwrap();
    for address in ["/export", &event, &format!("/export?camera={}", own.camera)] {
        let answer = download(&mut browser, address).await;
        assert!(holds(&answer.body, "甲の門"), "{address}");
        for secret in ["乙の門", "乙の倉庫", "the picture of 乙"] {
            assert!(!holds(&answer.body, secret), "{address} holds {secret}");
        }
        let file = folder.path().join("export.zip");
        std::fs::write(&file, &answer.body).unwrap();
        let checked = check_export::check(&file, &[], None).unwrap();
        assert!(
            checked.report.findings.is_empty(),
            "{address}: {:?}",
            checked.report.findings
        );
        assert_eq!(checked.report.manifest.contract, own.contract);
    }
    // The log says what was taken, the choice of a place included.
    let filter = AuditFilter {
        action: Some("export.download".into()),
        ..AuditFilter::default()
    };
    let [of_camera, of_event, of_all] =
        <[_; 3]>::try_from(world.store.audit_newest(&filter, None, 10).await.unwrap()).unwrap();
    let chosen = |row: &AuditRow, what: &str| {
        let detail: serde_json::Value = serde_json::from_str(&row.detail).unwrap();
        detail[what].as_str().map(str::to_owned)
    };
    let (camera, device) = (own.camera.to_string(), own.device.row.device.to_string());
    assert_eq!(chosen(&of_camera, "camera"), Some(camera.clone()));
    assert_eq!(chosen(&of_event, "camera"), Some(camera));
    assert_eq!(chosen(&of_event, "device"), Some(device));
    for what in ["site", "camera", "device"] {
        assert_eq!(chosen(&of_all, what), None, "{what}");
    }
    // Nothing of another's, and nothing of nobody's.
    for address in [
        format!("/export?camera={}", foreign.camera),
        format!("/export?site={}", foreign.device.row.site),
        format!("/events/{}/export", foreign.event),
        "/export?day=2026-11-22&from=12:00&to=11:00".to_owned(),
    ] {
        assert_eq!(
            browser.get(&address).await.status,
            StatusCode::NOT_FOUND,
            "{address}"
        );
    }
}

#[tokio::test]
async fn the_operator_sees_what_has_arrived_and_what_has_not() {
    let world = World::start().await;
    let mut customer = customer(&world, "甲").await;
    let at = now().plus_us(-5 * MINUTE_US);
    let scene = Scene::new(customer.camera, "person", at);
    // Announced, but it does not come; and a batch that is lost on the way.
    let records = vec![
        scene.event_record(),
        scene.snapshot_record(b"not here", SIZE),
        gap(Some(customer.camera), "periodic", "quota", 7, at, at),
    ];
    world.deliver(&mut customer.device, records).await;
    let lost = Scene::new(customer.camera, "person", at);
    customer
        .device
        .lose(vec![lost.event_record(), lost.event_record()]);
    let next = Scene::new(customer.camera, "person", at);
    world
        .deliver(&mut customer.device, vec![next.event_record()])
        .await;
    let device = customer.device.row.device;
    assert!(!world.store.evidence_devices(None).await.unwrap().is_empty());
    let mut browser = operator(&world).await;
    let address = format!("/operator/devices/{device}/deliveries");
    assert!(
        browser
            .get("/operator/devices")
            .await
            .text()
            .contains(&address)
    );
    let day = when(Lang::Ja).date_of(at);
    let page = browser.get(&format!("{address}?day={day}")).await.text();
    assert!(
        page.contains("<p><a href=\"/operator/devices\">"),
        "the way back: {page}"
    );
    for words in [
        "配信の内訳",
        "差異があります",
        "missing records",
        "missing picture",
        "quota 7",
        "甲の門",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(
        !page.contains(&customer.event.to_string()),
        "no event of the customer"
    );
    let quiet = browser
        .get(&format!("{address}?day=2020-01-01"))
        .await
        .text();
    assert!(quiet.contains("この日の記録はありません"), "{quiet}");
    for nobodys in ["x", "00000000-0000-0000-0000-000000000000"] {
        let answer = browser
            .get(&format!("/operator/devices/{nobodys}/deliveries"))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
}
