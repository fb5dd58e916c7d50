//! What stands against what an operator asks for is told on the page it was asked on, in both languages; and what operators do
//! with signed heads and with tags of events.

#![allow(clippy::unwrap_used)]

use super::browser::Answer;
use super::customer;
use super::operator::operator;
use super::operator_office::by;
use super::world::World;
use cloud_receiver::store::{ContractBook, ErasureBook, HeadsBook, KeyBook, LabelBook, Tagged};
use reqwest::StatusCode;

type Fields<'a> = &'a [(&'a str, &'a str)];

pub fn refused(answer: &Answer, why: &str) {
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        answer.text()
    );
    assert!(answer.text().contains(why), "{why}: {}", answer.text());
}

#[tokio::test]
async fn a_contract_that_is_being_erased_refuses_every_change_on_the_page_it_was_asked_on() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let home = format!("/operator/contracts/{}", customer.contract);
    let asked = [("typed", "甲"), ("why", "書面による依頼")];
    let begun = browser.post(&format!("{home}/ending/erase"), &asked).await;
    assert_eq!(begun.location(), "/operator/erasures");
    let before = world.store.contract(customer.contract).await.unwrap();

    let terms = [
        ("language", "ja"),
        ("zone", "Asia/Tokyo"),
        ("silent_after", "30"),
        ("clock_off", "500"),
    ];
    let day = [("until", "2099-03-31")];
    let done = [("done", "yes"), ("typed", "甲")];
    let hold = [("why", "訴訟")];
    let claim = format!("/operator/sites/{}/claim", customer.device.row.site);
    let asked: [(String, Fields<'_>, &str); 7] = [
        (format!("{home}/terms"), &terms, "契約の内容を変更"),
        (format!("{home}/ending/period"), &day, "契約の終了と消去"),
        (format!("{home}/ending/done"), &done, "契約の終了と消去"),
        (format!("{home}/holds"), &hold, "保全を追加"),
        (
            format!("{home}/sites"),
            &[("name", "新しい拠点")],
            "拠点とカメラ",
        ),
        (
            format!("{home}/users"),
            &[("login_id", "shinki")],
            "利用者を追加",
        ),
        (claim, &[], "利用者を追加"),
    ];
    for (address, form, page) in &asked {
        browser.language = "ja";
        let answer = browser.post(address, form).await;
        refused(&answer, "この契約は消去中です");
        assert!(answer.text().contains(page), "{address}: {}", answer.text());
        browser.language = "en";
        let answer = browser.post(address, form).await;
        refused(&answer, "The contract is being erased");
    }
    let after = world.store.contract(customer.contract).await.unwrap();
    assert_eq!(after, before, "nothing was done");
    assert!(world.store.holds().await.unwrap().is_empty());
    assert_eq!(by(&world, "user.add").await, None);
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_on_its_form() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let sites = format!("/operator/contracts/{}/sites", customer.contract);
    let site = [("name", "第2倉庫")];
    assert_eq!(
        browser.post(&sites, &site).await.status,
        StatusCode::SEE_OTHER
    );
    for (address, form) in [
        (sites.as_str(), site),
        ("/operator/contracts", [("name", "甲")]),
    ] {
        browser.language = "ja";
        refused(
            &browser.post(address, &form).await,
            "同じ名前のものがすでにあります",
        );
        browser.language = "en";
        refused(
            &browser.post(address, &form).await,
            "There is one of this name already",
        );
    }
}

#[tokio::test]
async fn heads_are_signed_and_sent_now_and_what_came_of_it_is_told() {
    let world = World::start().await;
    let mut browser = operator(&world).await;
    let page = browser.get("/operator/receiver").await.text();
    assert!(page.contains("今すぐ署名して送る"), "{page}");
    let made = browser.post("/operator/receiver/heads", &[]).await;
    assert_eq!(made.location(), "/operator/receiver?heads=1#heads");
    let [row] = world.store.heads().await.unwrap().try_into().unwrap();
    assert!(row.written_us.is_some(), "{row:?}");
    assert_eq!(by(&world, "heads.make").await.unwrap(), "operator");
    let told = browser.get(made.location()).await.text();
    assert!(told.contains("署名し、外部に送りました。"), "{told}");

    // Where they should go is a file now.
    let kept = &world.office.config.heads.path;
    std::fs::remove_dir_all(kept).unwrap();
    std::fs::write(kept, "in the way").unwrap();
    let made = browser.post("/operator/receiver/heads", &[]).await;
    let told = browser.get(made.location()).await.text();
    assert!(
        told.contains("外部に送れませんでした。自動でもう一度送ります。"),
        "{told}"
    );
    browser.language = "en";
    let told = browser.get(made.location()).await.text();
    assert!(told.contains("Signed, but it was not sent out."), "{told}");
}

#[tokio::test]
async fn an_event_is_tagged_by_the_address_that_a_customer_sends() {
    let world = World::start().await;
    let (customer, other) = (
        customer(&world, "甲").await,
        super::customer(&world, "乙").await,
    );
    let mut browser = operator(&world).await;
    let home = format!("/operator/contracts/{}", customer.contract);
    let (add, places) = (format!("{home}/event-tags"), format!("{home}/places"));
    let foreign = other.event.to_string();
    for event in ["", "nothing", foreign.as_str()] {
        let form = [("event", event), ("tag", "要確認")];
        refused(&browser.post(&add, &form).await, "そのイベントはありません");
    }
    let address = format!("https://portal.example/events/{}?lang=en", customer.event);
    let empty = [("event", address.as_str()), ("tag", " ")];
    refused(&browser.post(&add, &empty).await, "タグは40文字以内");
    let tags = async || {
        let rows = world.store.tag_rows(customer.contract).await.unwrap();
        let on = Tagged::Event(customer.event);
        rows.iter().filter(|row| row.on == on).count()
    };
    assert_eq!(tags().await, 0);
    let form = [("event", address.as_str()), ("tag", "要確認")];
    let done = browser.post(&add, &form).await;
    assert_eq!(
        done.location(),
        format!("{places}#place-{}", customer.event)
    );
    assert_eq!(tags().await, 1);
    assert_eq!(by(&world, "tag.add").await.unwrap(), "operator");
    let page = browser.get(&places).await.text();
    assert!(
        page.contains("要確認") && page.contains(&customer.event.to_string()),
        "{page}"
    );
    let seen = customer
        .browser(&world)
        .await
        .get(&format!("/events/{}", customer.event))
        .await;
    assert!(seen.text().contains("要確認"), "{}", seen.text());

    let event = customer.event.to_string();
    let form = [("event", event.as_str()), ("remove", "要確認")];
    browser.post(&add, &form).await;
    assert_eq!(tags().await, 0);
}

#[tokio::test]
async fn what_was_measured_is_kept_until_somebody_asks_for_it_anew() {
    let world = World::start().await;
    customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let page = browser.get("/operator/receiver").await.text();
    assert!(page.contains("計測し直す") && page.contains("甲"), "{page}");
    customer(&world, "乙").await;
    let page = browser.get("/operator/receiver").await.text();
    assert!(!page.contains("乙"), "not measured at every view: {page}");
    let again = browser.post("/operator/receiver/measure", &[]).await;
    assert_eq!(again.location(), "/operator/receiver#capacity");
    let page = browser.get("/operator/receiver").await.text();
    assert!(page.contains("乙"), "{page}");
}

#[tokio::test]
async fn the_page_of_the_keys_shows_them_and_which_command_changes_them() {
    let world = World::start().await;
    customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    assert!(
        browser
            .get("/operator/receiver")
            .await
            .text()
            .contains("/operator/keys")
    );
    let page = browser.get("/operator/keys").await.text();
    let ca = world.office.ca.as_ref().unwrap().fingerprint().to_string();
    let key = world.office.key.verifying_key().to_string();
    for told in [ca.as_str(), key.as_str(), "key rotate", "ca rotate"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(!page.contains("再起動してください"), "{page}");
    let next = cloud_receiver::seal::SecretKey::from_bytes([7; 32]);
    world.store.rewrap(&next).await.unwrap();
    let page = browser.get("/operator/keys").await.text();
    assert!(page.contains("マスター鍵が変更されました"), "{page}");
}
