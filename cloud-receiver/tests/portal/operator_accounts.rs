//! Operators see to each other's accounts: what is issued is shown once and works, who is removed is out at once, and the last one
//! stays.

#![allow(clippy::unwrap_used)]

use super::PASSWORD;
use super::browser::Browser;
use super::operator::operator;
use super::operator_area::text_of;
use super::operator_desk::refused;
use super::operator_office::by;
use super::world::World;
use reqwest::StatusCode;

const PAGE: &str = "/operator/operators";

#[tokio::test]
async fn an_operator_is_added_reissued_freed_of_a_lost_phone_and_removed() {
    let world = World::start().await;
    let mut browser = operator(&world).await;
    let page = browser.get(PAGE).await.text();
    assert!(
        page.contains("operator") && page.contains("あなた"),
        "{page}"
    );
    assert!(
        browser
            .get("/operator/password")
            .await
            .text()
            .contains(PAGE),
        "found from the account page"
    );
    for (login_id, why) in [
        ("", "半角の英数字"),
        ("田中", "半角の英数字"),
        ("operator", "同じ名前のものがすでにあります"),
    ] {
        refused(&browser.post(PAGE, &[("login_id", login_id)]).await, why);
    }
    let added = browser.post(PAGE, &[("login_id", "sato")]).await;
    assert_eq!(added.header("cache-control"), "no-store");
    let issued = text_of(&added.text(), "issued");
    assert_eq!(by(&world, "operator.add").await.unwrap(), "operator");
    let mut sato = Browser::new(&world);
    let came = sato.sign_in_as_operator("sato", &issued).await;
    assert_ne!(came.status, StatusCode::UNPROCESSABLE_ENTITY, "it works");

    let reset = format!("{PAGE}/sato/reset-password");
    assert!(
        browser
            .get(&reset)
            .await
            .text()
            .contains("パスワードを再発行")
    );
    let again = text_of(&browser.post(&reset, &[]).await.text(), "issued");
    assert_ne!(again, issued);
    let old = Browser::new(&world)
        .sign_in_as_operator("sato", &issued)
        .await;
    assert_eq!(
        old.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "the old one is void"
    );
    assert_eq!(
        by(&world, "operator.reset_password").await.unwrap(),
        "operator"
    );

    // One with a second factor who loses the phone.
    world.operator("suzuki", PASSWORD, false).await;
    let mut suzuki = Browser::new(&world);
    let came = suzuki.sign_in_as_operator("suzuki", PASSWORD).await;
    assert_eq!(came.location(), "/operator", "{}", came.text());
    let factor = format!("{PAGE}/suzuki/reset-second-factor");
    assert!(browser.get(PAGE).await.text().contains(&factor));
    assert_eq!(browser.post(&factor, &[]).await.location(), PAGE);
    assert!(!browser.get(PAGE).await.text().contains(&factor));
    assert_eq!(suzuki.get("/operator").await.status, StatusCode::SEE_OTHER);

    let remove = format!("{PAGE}/sato/remove");
    assert!(
        browser
            .get(&remove)
            .await
            .text()
            .contains("ログインIDを入力")
    );
    for typed in ["", "suzuki"] {
        let answer = browser.post(&remove, &[("typed", typed)]).await;
        refused(&answer, "ログインIDが一致しません");
    }
    let from_elsewhere = browser.post_from_nowhere(&remove).await;
    assert_eq!(from_elsewhere.status, StatusCode::FORBIDDEN);
    assert_eq!(by(&world, "operator.remove").await, None);
    let gone = browser.post(&remove, &[("typed", "sato")]).await;
    assert_eq!(gone.location(), PAGE);
    assert!(!browser.get(PAGE).await.text().contains("sato"));
    assert_eq!(by(&world, "operator.remove").await.unwrap(), "operator");
    let never = browser.post(&remove, &[("typed", "sato")]).await;
    assert_eq!(never.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_last_operator_stays_and_ones_own_account_is_called_so() {
    let world = World::start().await;
    let mut browser = operator(&world).await;
    let own = format!("{PAGE}/operator/remove");
    let page = browser.get(PAGE).await.text();
    assert!(!page.contains(&own), "not offered: {page}");
    let typed = [("typed", "operator")];
    refused(
        &browser.post(&own, &typed).await,
        "最後の運用者は削除できません",
    );
    browser.language = "en";
    refused(
        &browser.post(&own, &typed).await,
        "The last operator cannot be removed",
    );
    assert_eq!(browser.get("/operator").await.status, StatusCode::OK);
    assert_eq!(by(&world, "operator.remove").await, None);

    world.operator("other", PASSWORD, false).await;
    let question = browser.get(&own).await.text();
    assert!(question.contains("This is your own account"), "{question}");
    let of_other = browser.get(&format!("{PAGE}/other/remove")).await.text();
    assert!(!of_other.contains("This is your own account"), "{of_other}");
    browser.post(&own, &typed).await;
    let out = browser.get("/operator").await;
    assert!(
        out.location().starts_with("/operator/sign-in"),
        "{}",
        out.location()
    );
}
