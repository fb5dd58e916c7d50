//! Customers are told of maintenance and incidents from the operators' area: not without having seen the letters, not too
//! late, and with the proof of sending.

#![allow(clippy::unwrap_used)]

use super::customer;
use super::operator::operator;
use super::operator_office::by;
use super::world::{MINUTE_US, World, now};
use cloud_receiver::evidence::local;
use cloud_receiver::store::{ContractBook, MailBook, MailChoice, NoticeBook, Terms};
use reqwest::StatusCode;

/// As a browser's field sends it.
fn typed(in_days: i64) -> String {
    let at = now().plus_us(in_days * 24 * 60 * MINUTE_US);
    local::minute(at).replace(' ', "T")
}

async fn reached(world: &World, customer: &super::Customer, language: &str, to: &str) {
    let terms = Terms {
        language: language.into(),
        contacts: vec![to.into()],
        ..Terms::default()
    };
    let set = world.store.set_terms(customer.contract, &terms, now());
    set.await.unwrap();
}

#[tokio::test]
async fn maintenance_is_shown_before_it_is_sent_and_not_told_too_late() {
    let world = World::start().await;
    let (one, two) = (customer(&world, "甲").await, customer(&world, "乙").await);
    reached(&world, &one, "ja", "kou@example.jp").await;
    let mut browser = operator(&world).await;
    let page = "/operator/notices/maintenance";
    assert!(browser.get(page).await.text().contains("14日待てない場合"));
    let (from, to, near) = (typed(20), typed(21), typed(3));
    let form = |from: &str, why: &str, step: &str| {
        [
            ("from", from.to_owned()),
            ("to", to.clone()),
            (
                "what",
                "ポータルを30分ほどご利用いただけません。".to_owned(),
            ),
            (
                "what_en",
                "The portal cannot be used for half an hour.".to_owned(),
            ),
            ("why", why.to_owned()),
            ("step", step.to_owned()),
        ]
    };
    let mut send = async |from: &str, why: &str, step: &str| {
        let form = form(from, why, step);
        let form: Vec<_> = form.iter().map(|(k, v)| (*k, v.as_str())).collect();
        browser.post(page, &form).await
    };
    let notices = async || world.store.notices().await.unwrap().len();

    for step in ["", "send"] {
        let late = send(&near, "", step).await;
        assert_eq!(late.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(late.text().contains("14日前までの予告"), "{}", late.text());
    }
    let past = send("2020-01-01T00:00", "", "").await;
    assert!(past.text().contains("開始日時が過去です"));
    let nonsense = send("soon", "", "").await;
    assert!(nonsense.text().contains("日時を読み取れません"));
    let preview = send(&from, "", "").await;
    assert_eq!(preview.status, StatusCode::OK);
    let text = preview.text();
    for told in [
        "まだ送っていません",
        "kou@example.jp",
        "ポータルを30分ほど",
        "The portal cannot be used",
        "連絡先がなく、メールが届かない契約: 乙",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let edit = send(&from, "", "edit").await.text();
    assert!(edit.contains("<textarea") && edit.contains("ポータルを30分ほど"));
    assert_eq!(notices().await, 0, "only shown so far");

    let sent = send(&from, "", "send").await;
    let [row] = world.store.notices().await.unwrap().try_into().unwrap();
    let address = format!("/operator/notices/{}", row.id);
    assert_eq!(sent.location(), address);
    assert_eq!(by(&world, "notice.add").await.unwrap(), "operator");
    assert_eq!(
        world.store.mail(MailChoice::Waiting).await.unwrap().len(),
        1
    );
    let urgent = send(&near, "脆弱性の修正のため", "send").await;
    assert_eq!(urgent.status, StatusCode::SEE_OTHER);
    assert_eq!(notices().await, 2);
    // A customer sees the banner from then on.
    let mut user = two.browser(&world).await;
    assert!(user.get("/").await.text().contains("緊急メンテナンス"));

    let shown = browser.get(&address).await.text();
    assert!(
        shown.contains("kou@example.jp") && shown.contains("待ち 1通"),
        "{shown}"
    );
    let end = format!("{address}/end");
    let ask = browser.get(&end).await.text();
    assert!(ask.contains("メンテナンスの中止を知らせる") && ask.contains("kou@example.jp"));
    assert!(browser.get(&address).await.text().contains("予告済み"));
    assert_eq!(browser.post(&end, &[]).await.location(), address);
    assert!(browser.get(&address).await.text().contains("中止"));
    let again = browser.post(&end, &[]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn an_incident_is_told_to_whom_it_concerns_until_it_is_over() {
    let world = World::start().await;
    let (one, two) = (customer(&world, "甲").await, customer(&world, "乙").await);
    reached(&world, &one, "ja", "kou@example.jp").await;
    reached(&world, &two, "en", "otsu@example.jp").await;
    let mut browser = operator(&world).await;
    browser.language = "en";
    let page = "/operator/notices/incident";
    let (ago, ahead, id) = (typed(-1), typed(1), two.contract.to_string());
    let form = |since, contract, step| {
        [
            ("from", since),
            ("what", "画像を受け取れませんでした。"),
            ("contract", contract),
            ("step", step),
        ]
    };
    let future = browser
        .post(page, &form(ahead.as_str(), id.as_str(), "send"))
        .await;
    assert!(future.text().contains("It is in the future"));
    let wrong = browser.post(page, &form(ago.as_str(), "x", "send")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let sent = browser
        .post(page, &form(ago.as_str(), id.as_str(), "send"))
        .await;
    let address = sent.location().to_owned();
    let mail = world.store.mail(MailChoice::Waiting).await.unwrap();
    assert_eq!(mail.len(), 1);
    assert_eq!(mail[0].letter.to, "otsu@example.jp");
    let first = &mail[0];
    let taken = world
        .store
        .mail_taken(first, "mx.example.jp", "250 accepted as 42", now());
    taken.await.unwrap();
    let shown = browser.get(&address).await.text();
    for told in ["mx.example.jp", "250 accepted as 42", "1 taken"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    browser.post(&format!("{address}/end"), &[]).await;
    let mail = world.store.mail(MailChoice::Waiting).await.unwrap();
    assert_eq!(mail.len(), 1, "the all-clear");
    assert!(
        browser
            .get("/operator/notices")
            .await
            .text()
            .contains("Resolved")
    );
    assert_eq!(by(&world, "notice.close").await.unwrap(), "operator");
}
