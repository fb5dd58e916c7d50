//! What stands against what an operator asks for is told on the page it was asked on, in both languages.

#![allow(clippy::unwrap_used)]

use super::browser::Answer;
use super::customer;
use super::operator::operator;
use super::operator_office::by;
use super::world::World;
use cloud_receiver::store::{ContractBook, ErasureBook};
use reqwest::StatusCode;

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
    let asked: [(String, &[(&str, &str)], &str); 7] = [
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
