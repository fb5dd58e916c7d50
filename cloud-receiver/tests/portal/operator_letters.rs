//! Letters are edited where notices are told: what is wrong is named by its placeholder, what is saved is what goes out, and the
//! text as delivered comes back.

#![allow(clippy::unwrap_used)]

use super::customer;
use super::operator::operator;
use super::operator_desk::refused;
use super::operator_office::by;
use super::world::World;
use cloud_receiver::office::letters::{Which, read};
use reqwest::StatusCode;

const PAGE: &str = "/operator/letters/incident.ja";
const OWN: &str = "障害 {{contract}}\r\n\r\n{{from}}から: {{what}}\r\n{{operator}}";

#[tokio::test]
async fn a_letter_is_previewed_saved_used_and_put_back() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    assert!(
        browser
            .get("/operator/notices")
            .await
            .text()
            .contains("/operator/letters")
    );
    let list = browser.get("/operator/letters").await.text();
    assert!(list.contains(PAGE) && !list.contains("変更済み"), "{list}");
    let which = Which::parse("incident.ja").unwrap();
    let built_in = read(&world.office.config, which).unwrap().source;

    for (text, ja, en) in [
        (
            "件名\n\n{{from}} {{what}} {{wat}}",
            "3行目の {{wat}} は使えません。使えるのは {{contract}}, ",
            "Line 3: {{wat}} stands for nothing here. There are {{contract}}, ",
        ),
        ("件名\n\n{{from", "3行目の {{ に", "Line 3: {{ without }}"),
        (
            "件名\n\n{{what}}",
            "{{from}} がありません",
            "{{from}} is wanting",
        ),
        ("件名だけ", "1行目に件名だけを", "The subject stands alone"),
    ] {
        for step in ["preview", "save"] {
            for (language, why) in [("ja", ja), ("en", en)] {
                browser.language = language;
                let answer = browser.post(PAGE, &[("text", text), ("step", step)]).await;
                refused(&answer, why);
                let first = text.lines().next().unwrap();
                assert!(answer.text().contains(first), "what was typed is kept");
            }
        }
    }
    browser.language = "ja";
    let folder = world.office.config.letters_at();
    assert!(!folder.exists(), "nothing was written");

    let shown = browser
        .post(PAGE, &[("text", OWN), ("step", "preview")])
        .await;
    let text = shown.text();
    assert_eq!(shown.status, StatusCode::OK, "{text}");
    assert!(
        text.contains("障害 株式会社見本") && text.contains("10分ほど遅れます"),
        "{text}"
    );
    assert!(!folder.exists(), "only shown so far");
    let saved = browser.post(PAGE, &[("text", OWN), ("step", "save")]).await;
    assert_eq!(saved.location(), format!("{PAGE}?saved=1"));
    assert_eq!(by(&world, "notice.set_template").await.unwrap(), "operator");
    let letter = read(&world.office.config, which).unwrap();
    assert!(
        letter.is_own && letter.source == OWN.replace('\r', ""),
        "{letter:?}"
    );
    assert!(
        browser
            .get("/operator/letters")
            .await
            .text()
            .contains("変更済み")
    );

    // What is told is made of it, and a file that was spoilt elsewhere is named before anything goes out.
    let id = customer.contract.to_string();
    let notice = [
        ("from", "2026-11-01T10:00"),
        ("what", "止まった"),
        ("contract", id.as_str()),
        ("step", "preview"),
    ];
    let incident = "/operator/notices/incident";
    let told = browser.post(incident, &notice).await.text();
    assert!(
        told.contains("障害 甲") && told.contains("から: 止まった"),
        "{told}"
    );
    std::fs::write(folder.join("incident.ja.txt"), "件名\n\n{{nobody}}").unwrap();
    let spoilt = browser.post(incident, &notice).await;
    assert!(spoilt.status.is_client_error(), "{}", spoilt.status);
    let why = spoilt.text();
    assert!(
        why.contains("incident.ja") && why.contains("{{nobody}} は使えません"),
        "{why}"
    );
    assert!(
        browser
            .get("/operator/letters")
            .await
            .text()
            .contains("誤りがあります")
    );

    let ask = browser.post(PAGE, &[("step", "ask-reset")]).await.text();
    assert!(ask.contains("変更した文面は失われ"), "{ask}");
    assert!(
        read(&world.office.config, which).unwrap().is_own,
        "only asked"
    );
    let back = browser.post(PAGE, &[("step", "reset")]).await;
    assert_eq!(back.location(), format!("{PAGE}?reset=1"));
    assert_eq!(
        by(&world, "notice.reset_template").await.unwrap(),
        "operator"
    );
    let letter = read(&world.office.config, which).unwrap();
    assert!(!letter.is_own && letter.source == built_in);
    for nobody in ["incident.fr", "..%2Fincident.ja", "x"] {
        let none = browser.get(&format!("/operator/letters/{nobody}")).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{nobody}");
    }
}
