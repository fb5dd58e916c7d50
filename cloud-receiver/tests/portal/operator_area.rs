//! The operators' pages beside the devices: what is done there is done, is noted by name, and is asked for first.

#![allow(clippy::unwrap_used)]

use super::browser::Browser;
use super::operator::operator;
use super::world::{World, now};
use super::{PASSWORD, customer};
use cloud_receiver::store::{AuditBook, AuditFilter, ContractBook, Enrollments, NewDevice, Terms};
use reqwest::StatusCode;
use wire::claim::ClaimCode;
use wire::{DeviceId, SigningKey};

/// What stands in the element of this id.
pub fn text_of(page: &str, id: &str) -> String {
    let after = page.split(&format!("id=\"{id}\">")).nth(1).expect(id);
    after.split('<').next().unwrap().to_owned()
}

async fn noted(world: &World, action: &str) -> Option<String> {
    let filter = AuditFilter {
        action: Some(action.into()),
        ..AuditFilter::default()
    };
    let rows = world.store.audit_newest(&filter, None, 1).await.unwrap();
    let row = rows.first()?;
    Some(format!(
        "{} {}",
        row.actor,
        row.actor_name.as_deref().unwrap_or("-")
    ))
}

#[tokio::test]
async fn a_user_is_added_reissued_and_removed_and_each_is_noted_by_name() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let home = format!("/operator/contracts/{}", customer.contract);
    let list = browser.get("/operator/contracts").await.text();
    assert!(list.contains(&home), "{list}");
    let page = browser.get(&home).await.text();
    assert!(
        page.contains("甲-01") && page.contains("甲の倉庫"),
        "{page}"
    );

    let add = format!("{home}/users");
    for (login_id, why) in [
        ("", "半角の英数字"),
        ("田中", "半角の英数字"),
        ("operator", "すでに使われています"),
    ] {
        let answer = browser.post(&add, &[("login_id", login_id)]).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{login_id}"
        );
        assert!(answer.text().contains(why), "{login_id}");
    }
    let answer = browser.post(&add, &[("login_id", "tanaka")]).await;
    let issued = text_of(&answer.text(), "issued");
    assert_eq!(answer.header("cache-control"), "no-store");
    let mut user = Browser::new(&world);
    assert_eq!(
        user.sign_in("tanaka", &issued).await.location(),
        "/password"
    );
    assert_eq!(
        noted(&world, "user.add").await.unwrap(),
        "operator operator"
    );

    // The contract's policy holds here too.
    let terms = Terms {
        keeps_issued_passwords: true,
        ..Terms::default()
    };
    world
        .store
        .set_terms(customer.contract, &terms, now())
        .await
        .unwrap();
    let reset = "/operator/users/tanaka/reset-password";
    let question = browser.get(reset).await;
    assert!(question.text().contains("パスワードを再発行"));
    assert_eq!(
        user.get("/password").await.status,
        StatusCode::OK,
        "only asked so far"
    );
    let again = text_of(&browser.post(reset, &[]).await.text(), "issued");
    assert_ne!(again, issued);
    assert_eq!(user.get("/password").await.status, StatusCode::SEE_OTHER);
    assert_eq!(user.sign_in("tanaka", &again).await.location(), "/");
    assert_eq!(
        noted(&world, "user.reset_password").await.unwrap(),
        "operator operator"
    );

    let remove = "/operator/users/tanaka/remove";
    assert_eq!(browser.get(remove).await.status, StatusCode::OK);
    assert_eq!(
        user.get("/").await.status,
        StatusCode::OK,
        "only asked so far"
    );
    assert_eq!(
        browser.post_from_nowhere(remove).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        browser.post(remove, &[]).await.location(),
        format!("{home}#users")
    );
    assert_eq!(user.get("/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        noted(&world, "user.remove").await.unwrap(),
        "operator operator"
    );
    assert_eq!(browser.get(remove).await.status, StatusCode::NOT_FOUND);
    // An operator is nobody's user.
    let answer = browser.get("/operator/users/operator/remove").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_claim_code_of_the_page_enrolls_a_device_and_a_device_is_revoked() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let claim = format!("/operator/sites/{}/claim", customer.device.row.site);
    let page = browser.post(&claim, &[]).await.text();
    assert!(page.contains("class=\"qr\"") && page.contains("https://portal.example:8443"));
    let code: ClaimCode = text_of(&page, "claim").parse().unwrap();
    let new = NewDevice {
        device: DeviceId(uuid::Uuid::now_v7()),
        record_key: SigningKey::generate().verifying_key(),
        agent_version: "0.1.0".into(),
        certificate: Default::default(),
    };
    let place = world
        .store
        .enroll(code.secret_hash(), new, now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(place.site_name, "甲の倉庫");
    assert_eq!(
        noted(&world, "device.claim").await.unwrap(),
        "operator operator"
    );

    let device = customer.device.row.device;
    let revoke = format!("/operator/devices/{device}/revoke");
    assert!(browser.get(&revoke).await.text().contains("甲の倉庫"));
    let done = browser.post(&revoke, &[]).await;
    assert_eq!(
        done.location(),
        format!("/operator/devices#device-{device}")
    );
    assert_eq!(
        browser.post(&revoke, &[]).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        noted(&world, "device.revoke").await.unwrap(),
        "operator operator"
    );
}

#[tokio::test]
async fn what_a_customer_sees_is_in_the_log_and_the_log_is_the_operators_only() {
    let world = World::start().await;
    let (own, other) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let mut user = own.browser(&world).await;
    let picture = format!("/media/{}", own.picture);
    for _ in 0..3 {
        user.get(&picture).await;
        user.get(&format!("/events/{}", own.event)).await;
    }
    user.get(&format!("/events/{}/export", own.event)).await;
    other.browser(&world).await.get(&picture).await;
    let count = async |action: &str| {
        let filter = AuditFilter {
            action: Some(action.into()),
            ..AuditFilter::default()
        };
        world
            .store
            .audit_newest(&filter, None, 100)
            .await
            .unwrap()
            .len()
    };
    for action in ["picture.view", "event.view", "export.download"] {
        assert_eq!(
            count(action).await,
            1,
            "{action}: once a minute, and only what was seen"
        );
    }
    let mut browser = operator(&world).await;
    let page = browser.get("/operator/audit").await.text();
    for told in [
        "picture.view",
        &own.picture.to_string(),
        "甲-01",
        "127.0.0.1",
        "sign_in.succeed",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    let filtered = format!("/operator/audit?contract={}&action=picture", own.contract);
    let page = browser.get(&filtered).await.text();
    assert!(
        page.contains("picture.view") && !page.contains("<code>sign_in"),
        "{page}"
    );
    let page = browser.get("/operator/audit?action=nothing").await.text();
    assert!(page.contains("該当する記録はありません"));
    assert!(
        user.get("/operator/audit")
            .await
            .location()
            .starts_with("/operator/sign-in")
    );
    assert!(!page.contains(PASSWORD));
    browser.language = "en";
    assert!(
        browser
            .get("/operator/audit")
            .await
            .text()
            .contains("Audit log")
    );
}

#[tokio::test]
async fn what_cannot_be_noted_yet_is_shown_and_noted_later() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut user = customer.browser(&world).await;
    let before = world.store.audit_chain().await.unwrap().entries;
    world.fill_audit();
    let picture = user.get(&format!("/media/{}", customer.picture)).await;
    assert_eq!(picture.body, customer.jpeg);
    let event = user.get(&format!("/events/{}", customer.event)).await;
    assert_eq!(event.status, StatusCode::OK);
    assert!(world.views.catch_up(&*world.store, now()).await.is_err());

    world.empty_audit();
    world.views.catch_up(&*world.store, now()).await.unwrap();
    world.views.catch_up(&*world.store, now()).await.unwrap();
    let rows = world.store.audit_after(before, 10).await.unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["picture.view", "event.view"]);
    assert_eq!(world.store.audit_chain().await.unwrap().broken, None);
}
