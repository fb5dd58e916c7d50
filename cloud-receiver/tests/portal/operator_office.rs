//! The operators' area does what the commands do: what is changed there is changed and noted by name, what destroys asks for
//! the contract's name, and the start page tells what needs a hand.

#![allow(clippy::unwrap_used)]

use super::operator::operator;
use super::operator_desk::refused;
use super::world::{MINUTE_US, World, now};
use super::{Customer, DEADLINE, customer};
use cloud_receiver::erasure::Turn;
use cloud_receiver::office::backups;
use cloud_receiver::portal::{Access, routes};
use cloud_receiver::store::{
    AlertBook, AlertKind, AlertStep, AuditBook, AuditFilter, BlobRows, CapacityBook, ContractBook,
    ContractDetail, ErasureBook, LabelBook, Letter, MailBook, MailChoice, MailKind, Matter,
    NewMail, OperatorDesk, Step,
};
use reqwest::StatusCode;
use std::sync::Arc;
use wire::evidence::erasure::SignedCertificate;

const DAY_US: i64 = 24 * 60 * MINUTE_US;

/// Who did it last, by the audit log.
pub async fn by(world: &World, action: &str) -> Option<String> {
    let filter = AuditFilter {
        action: Some(action.into()),
        ..AuditFilter::default()
    };
    let rows = world.store.audit_newest(&filter, None, 1).await.unwrap();
    rows.first().and_then(|row| row.actor_name.clone())
}

async fn detail(world: &World, customer: &Customer) -> ContractDetail {
    world
        .store
        .contract(customer.contract)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn terms_are_changed_and_shortening_what_is_kept_asks_for_the_name() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let page = format!("/operator/contracts/{}/terms", customer.contract);
    assert!(browser.get(&page).await.text().contains("契約の内容を変更"));
    let good = [
        ("contacts", "a@example.jp\r\nb@example.jp"),
        ("language", "en"),
        ("zone", "Asia/Tokyo"),
        ("needs_second_factor", "1"),
        ("silent_after", "30"),
        ("clock_off", "500"),
        ("keep_snapshots", ""),
    ];
    let with = |name, value| {
        let mut form = good.to_vec();
        form.retain(|(key, _)| *key != name);
        form.push((name, value));
        form
    };
    let before = detail(&world, &customer).await;
    for (form, why) in [
        (with("contacts", "nobody"), "「nobody」はメールアドレス"),
        (with("zone", "Mars/Olympus"), "このタイムゾーンはありません"),
        (with("silent_after", "1"), "数値が範囲の外です"),
        (with("silent_after", "soon"), "数値が範囲の外です"),
        (with("keep_snapshots", "0"), "数値が範囲の外です"),
        (
            with("keep_snapshots", "30"),
            "イベントの画像: 30日より古いもの",
        ),
        (with("keep_records", "0"), "数値が範囲の外です"),
        (
            with("keep_records", "30"),
            "記録（イベント、件数、状態など）: 30日より古いもの",
        ),
    ] {
        refused(&browser.post(&page, &form).await, why);
    }
    let mut wrong = with("keep_snapshots", "30");
    wrong.push(("typed", "乙"));
    refused(&browser.post(&page, &wrong).await, "名前が一致しません");
    assert_eq!(detail(&world, &customer).await, before, "nothing was done");

    let done = browser.post(&page, &good).await;
    assert_eq!(
        done.location(),
        format!("/operator/contracts/{}", customer.contract)
    );
    let terms = detail(&world, &customer).await.terms;
    assert_eq!(terms.contacts, ["a@example.jp", "b@example.jp"]);
    assert!(terms.needs_second_factor && !terms.keeps_issued_passwords);
    assert_eq!((terms.silent_after_minutes, terms.clock_off_ms), (30, 500));
    assert_eq!(terms.retention.snapshots_days, None);
    let mut named = with("keep_snapshots", "30");
    named.push(("typed", "甲"));
    assert_eq!(
        browser.post(&page, &named).await.status,
        StatusCode::SEE_OTHER
    );
    // Keeping for longer deletes nothing, and asks nothing.
    let longer = browser.post(&page, &with("keep_snapshots", "60")).await;
    assert_eq!(longer.status, StatusCode::SEE_OTHER);
    let kept = detail(&world, &customer).await.terms.retention;
    assert_eq!(kept.snapshots_days, Some(60));
    let mut records = with("keep_records", "400");
    records.push(("typed", "甲"));
    let done = browser.post(&page, &records).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    let kept = detail(&world, &customer).await.terms.retention;
    assert_eq!(kept.records_days, Some(400));
    assert_eq!(by(&world, "contract.set_terms").await.unwrap(), "operator");
}

#[tokio::test]
async fn a_contract_is_added_ended_and_extended() {
    let world = World::start().await;
    let mut browser = operator(&world).await;
    let contracts = "/operator/contracts";
    refused(
        &browser.post(contracts, &[("name", " ")]).await,
        "名前を入力してください",
    );
    let added = browser.post(contracts, &[("name", "新規商事")]).await;
    let home = added.location().to_owned();
    assert!(browser.get(&home).await.text().contains("新規商事"));
    assert_eq!(by(&world, "contract.add").await.unwrap(), "operator");

    let ending = format!("{home}/ending");
    let period = format!("{ending}/period");
    for (day, why) in [
        ("tomorrow", "日付を読み取れません"),
        ("2026-01-31", "名前が一致しません"),
    ] {
        refused(&browser.post(&period, &[("until", day)]).await, why);
    }
    let future = [("until", "2099-03-31")];
    assert_eq!(browser.post(&period, &future).await.location(), ending);
    assert!(
        browser
            .get(&ending)
            .await
            .text()
            .contains("2099年3月31日(火)")
    );
    refused(
        &browser.post(&period, &future).await,
        "契約はすでに2099年3月31日(火)までです",
    );
    let later = [("until", "2100-03-31")];
    assert_eq!(browser.post(&period, &later).await.location(), ending);
    let over = [("until", "2026-01-31"), ("typed", "新規商事")];
    assert_eq!(browser.post(&period, &over).await.location(), ending);
    let page = browser.get(&ending).await.text();
    assert!(page.contains("作業の完了が記録されていません"), "{page}");
    let start = browser.get("/operator").await.text();
    assert!(
        start.contains("「新規商事」の期間は終わりました"),
        "{start}"
    );
    let done = format!("{ending}/done");
    // It sets the erasure going: the page says until when, and asks.
    let day = |page: &str| {
        let (before, _) = page.split_once("までに").unwrap();
        before
            .rsplit(['、', 'は', '>', '」'])
            .next()
            .unwrap()
            .to_owned()
    };
    let due = day(&page);
    assert!(due.starts_with("20") && due.ends_with(')'), "{due}: {page}");
    for typed in ["", "旧商事"] {
        let form = [("done", "yes"), ("typed", typed)];
        refused(&browser.post(&done, &form).await, "名前が一致しません");
    }
    let set = self::by(&world, "contract.set_done").await;
    assert_eq!(set, None, "nothing was said");
    let said = [("done", "yes"), ("typed", "新規商事")];
    assert_eq!(browser.post(&done, &said).await.location(), ending);
    let page = browser.get(&ending).await.text();
    assert!(
        page.contains(&format!("は{due}までに消去されます")),
        "{page}"
    );
    browser.post(&done, &[("done", "no")]).await;
    assert_eq!(
        browser.post(&done, &[]).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(by(&world, "contract.set_until").await.unwrap(), "operator");
}

#[tokio::test]
async fn a_hold_blocks_erasure_and_erasing_on_request_ends_in_a_certificate() {
    let world = World::start().await;
    let (customer, other) = (customer(&world, "甲").await, customer(&world, "乙").await);
    let mut browser = operator(&world).await;
    let home = format!("/operator/contracts/{}", customer.contract);
    let (ending, erase) = (format!("{home}/ending"), format!("{home}/ending/erase"));
    let page = browser.get(&ending).await.text();
    assert!(
        page.contains("消去されるもの") && page.contains("甲の倉庫"),
        "{page}"
    );

    let holds = format!("{home}/holds");
    refused(
        &browser.post(&holds, &[("why", " ")]).await,
        "文章を入力してください",
    );
    let foreign = format!("site {}", other.device.row.site);
    let of_other = browser
        .post(&holds, &[("why", "訴訟"), ("part", foreign.as_str())])
        .await;
    assert_eq!(of_other.status, StatusCode::NOT_FOUND);
    let part = format!("camera {}", customer.camera);
    let form = [
        ("why", "訴訟 2026-1"),
        ("part", part.as_str()),
        ("from", "2026-11-01T00:00"),
        ("to", "2026-11-30T00:00"),
    ];
    browser.post(&holds, &form).await;
    let [hold] = world.store.holds().await.unwrap().try_into().unwrap();
    assert_eq!(hold.camera, Some(customer.camera));
    assert_eq!(by(&world, "hold.add").await.unwrap(), "operator");
    let asked = [("typed", "甲"), ("why", "written request")];
    refused(
        &browser.post(&erase, &asked).await,
        "保全により止まっています",
    );

    let lift = format!("/operator/holds/{}/remove", hold.id);
    assert!(browser.get(&lift).await.text().contains("訴訟 2026-1"));
    refused(&browser.post(&lift, &[]).await, "名前が一致しません");
    assert_eq!(world.store.holds().await.unwrap().len(), 1);
    browser.post(&lift, &[("typed", "甲")]).await;
    assert_eq!(by(&world, "hold.remove").await.unwrap(), "operator");

    for (form, why) in [
        ([("typed", "乙"), ("why", "x")], "名前が一致しません"),
        ([("typed", "甲"), ("why", " ")], "文章を入力してください"),
    ] {
        refused(&browser.post(&erase, &form).await, why);
    }
    assert!(world.store.erasures().await.unwrap().is_empty());
    let begun = browser.post(&erase, &asked).await;
    assert_eq!(begun.location(), "/operator/erasures");
    let [row] = world.store.erasures().await.unwrap().try_into().unwrap();
    assert_eq!(row.step, Step::TellDevices);
    let order = &row.certificate.order;
    assert_eq!(
        (
            order.actor.as_str(),
            order.actor_name.as_deref(),
            order.why.as_deref()
        ),
        ("operator", Some("operator"), Some("written request"))
    );
    let one = format!("/operator/erasures/{}", row.id);
    assert!(
        browser
            .get(&one)
            .await
            .text()
            .contains("証明書は消去の終わりに")
    );
    let file = format!("{one}/certificate");
    assert_eq!(browser.get(&file).await.status, StatusCode::NOT_FOUND);
    assert!(
        browser
            .get("/operator")
            .await
            .text()
            .contains("「甲」を消去しています")
    );

    // The device is silent, and the time for its answer is over.
    let mut erasing = world.office.erasing();
    erasing.wait_for_devices_us = 0;
    world
        .store
        .erasure_at(row.id, Step::Shut, now())
        .await
        .unwrap();
    assert_eq!(erasing.turn().await.unwrap(), Turn::Idle);
    let page = browser.get(&one).await.text();
    assert!(
        page.contains("消去済み") && page.contains("暗号鍵の破棄"),
        "{page}"
    );
    assert!(!page.contains('甲'), "nobody knows the name any more");
    let saved = browser.get(&file).await;
    let signed: SignedCertificate = serde_json::from_slice(&saved.body).unwrap();
    let certificate = signed.open(&world.office.key.verifying_key()).unwrap();
    assert!(certificate.is_complete() && certificate.is_of("甲"));
    assert_eq!(browser.get(&ending).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sites_are_added_cameras_named_and_both_tagged() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let home = format!("/operator/contracts/{}", customer.contract);
    let (sites, places) = (format!("{home}/sites"), format!("{home}/places"));
    refused(
        &browser.post(&sites, &[("name", "")]).await,
        "名前を入力してください",
    );
    browser.post(&sites, &[("name", "第2倉庫")]).await;
    assert!(browser.get(&places).await.text().contains("第2倉庫"));
    assert_eq!(by(&world, "site.add").await.unwrap(), "operator");

    let name = format!("/operator/cameras/{}/name", customer.camera);
    let called = async || {
        let cameras = world.store.cameras().await.unwrap();
        cameras[0].name.clone()
    };
    let own = called().await;
    browser.post(&name, &[("name", " 正門 ")]).await;
    assert_eq!(called().await, "正門");
    browser.post(&name, &[("name", "")]).await;
    assert_eq!(called().await, own);
    let on = [
        format!("/operator/cameras/{}/tags", customer.camera),
        format!("/operator/sites/{}/tags", customer.device.row.site),
    ];
    for address in &on {
        refused(
            &browser.post(address, &[("tag", " ")]).await,
            "タグは40文字以内",
        );
        browser.post(address, &[("tag", "夜間")]).await;
    }
    let tags = async || {
        let rows = world.store.tag_rows(customer.contract).await.unwrap();
        rows.iter().filter(|row| row.tag == "夜間").count()
    };
    assert_eq!(tags().await, 2);
    assert!(
        browser
            .get(&places)
            .await
            .text()
            .contains("からタグ「夜間」を外す")
    );
    browser.post(&on[0], &[("remove", "夜間")]).await;
    assert_eq!(tags().await, 1);
    assert_eq!(by(&world, "tag.remove").await.unwrap(), "operator");
}

fn letter(kind: MailKind, to: &str, text: &str) -> NewMail {
    NewMail {
        contract: None,
        kind,
        about: None,
        letter: Letter {
            to: to.into(),
            subject: format!("subject of {text}"),
            text: text.into(),
            ..Letter::default()
        },
    }
}

#[tokio::test]
async fn mail_that_could_not_be_sent_is_told_and_offered_again() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let mut event = letter(MailKind::Event, "user@example.jp", "what was seen");
    event.contract = Some(customer.contract);
    let mail = vec![
        letter(MailKind::Alert, "ops@example.jp", "what is wrong"),
        event,
    ];
    world.store.add_mail(mail, now()).await.unwrap();
    let rows = world.store.mail(MailChoice::Waiting).await.unwrap();
    let (alert, event) = (&rows[0], &rows[1]);
    for row in &rows {
        let failed = world
            .store
            .mail_failed(row, "refused: no such user", None, now());
        failed.await.unwrap();
    }
    let start = browser.get("/operator").await.text();
    assert!(start.contains("2通のメールを送れませんでした。"), "{start}");
    let list = browser.get("/operator/mail").await.text();
    for told in ["ops@example.jp", "user@example.jp", "refused: no such user"] {
        assert!(list.contains(told), "{told}: {list}");
    }
    let one = browser.get(&format!("/operator/mail/{}", alert.no)).await;
    assert!(one.text().contains("what is wrong"));
    let one = browser.get(&format!("/operator/mail/{}", event.no)).await;
    assert!(!one.text().contains("what was seen"), "{}", one.text());
    for nobody in ["9999", "18446744073709551615", "x"] {
        let none = browser.get(&format!("/operator/mail/{nobody}")).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{nobody}");
    }

    let retry = "/operator/mail/retry";
    let number = alert.no.to_string();
    browser.post(retry, &[("number", number.as_str())]).await;
    let lost = async || world.store.mail(MailChoice::GivenUp).await.unwrap().len();
    assert_eq!(lost().await, 1);
    browser.post(retry, &[("all", "1")]).await;
    assert_eq!(lost().await, 0);
    assert_eq!(
        browser.post(retry, &[]).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(by(&world, "mail.retry").await.unwrap(), "operator");
}

#[tokio::test]
async fn alerts_are_told_while_they_last_and_after() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let page = browser.get("/operator/alerts").await.text();
    assert!(page.contains("ずれている時計はありません"), "{page}");
    let open = AlertStep::Open {
        contract: customer.contract,
        matter: Matter {
            device: customer.device.row.device,
            camera: Some(customer.camera),
            kind: AlertKind::CameraSilent,
        },
        since_us: now().plus_us(-20 * MINUTE_US),
    };
    world.store.step_alerts(vec![open], now()).await.unwrap();
    let page = browser.get("/operator/alerts").await.text();
    assert!(
        page.contains("カメラが応答なし") && page.contains("甲の倉庫 (甲)"),
        "{page}"
    );
    let start = browser.get("/operator").await.text();
    assert!(
        start.contains("カメラと時計の異常が1件続いています。"),
        "{start}"
    );
    let no = world.store.open_alerts().await.unwrap()[0].no;
    let close = vec![AlertStep::Close { no }];
    world.store.step_alerts(close, now()).await.unwrap();
    let page = browser.get("/operator/alerts").await.text();
    let (open, past) = page.split_once("終わった異常").unwrap();
    assert!(!open.contains("カメラが応答なし") && past.contains("カメラが応答なし"));
}

async fn until(world: &World, action: &str, count: usize) {
    let filter = AuditFilter {
        action: Some(action.into()),
        ..AuditFilter::default()
    };
    let looking = async {
        loop {
            let rows = world.store.audit_newest(&filter, None, 100).await.unwrap();
            if rows.len() >= count && !world.office.backup_is_under_way() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, looking).await;
    found.unwrap_or_else(|_| panic!("no {count} x {action} in the log"));
}

#[tokio::test]
async fn the_receiver_tells_its_capacity_and_backups_and_takes_and_checks_one() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let page = browser.get("/operator/receiver").await.text();
    for told in ["ディスクの空き", "契約ごとの内訳", "一度も作られていません"]
    {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(page.contains(&format!("/operator/contracts/{}", customer.contract)));
    let act = "/operator/receiver/backup";
    let make = [("deed", "make")];
    // Where backups go is not for a page to say.
    refused(
        &browser.post(act, &make).await,
        "コマンドで作成してください",
    );

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("backups");
    let office = &world.office;
    let dir = office.config.data_dir.clone();
    office
        .store
        .write_key_backup(&office.erasing().key_backup)
        .await
        .unwrap();
    backups::take(&world.store, dir, Arc::clone(&office.key), &out, 3)
        .await
        .unwrap();
    let begun = browser.post(act, &make).await;
    assert!(begun.location().starts_with("/operator/receiver?begun=1"));
    until(&world, "backup.make", 2).await;
    assert_eq!(by(&world, "backup.make").await.unwrap(), "operator");
    browser.post(act, &[("deed", "verify")]).await;
    until(&world, "backup.verify", 1).await;
    let page = browser.get("/operator/receiver").await.text();
    assert!(page.contains("問題なし"), "{page}");
    let generations = backups::listed(&out, &office.key).unwrap();
    assert_eq!(generations.len(), 2);
    for generation in &generations {
        assert!(page.contains(&generation.name), "{page}");
    }
    let start = browser.get("/operator").await.text();
    assert!(!start.contains("バックアップ"), "{start}");
    // A folder that is gone is told, and the next one that fails.
    std::fs::remove_dir_all(&out).unwrap();
    browser.post(act, &[("deed", "verify")]).await;
    until(&world, "backup.fail", 1).await;
    let start = browser.get("/operator").await.text();
    assert!(start.contains("前回は失敗しました"), "{start}");
    let page = browser.get("/operator/receiver").await.text();
    assert!(page.contains("保存先を読めませんでした"), "{page}");
}

#[tokio::test]
async fn the_start_page_is_calm_only_when_nothing_needs_a_hand() {
    let world = World::start().await;
    let customer = customer(&world, "甲").await;
    let mut browser = operator(&world).await;
    let start = browser.get("/operator").await.text();
    assert!(
        start.contains("バックアップはまだ一度も作られていません。"),
        "{start}"
    );
    let folder = tempfile::tempdir().unwrap();
    let (office, out) = (&world.office, folder.path().join("backups"));
    let dir = office.config.data_dir.clone();
    backups::take(&world.store, dir, Arc::clone(&office.key), &out, 3)
        .await
        .unwrap();
    world.heard(&customer.device, now()).await;
    let listing = world.store.reports().await.unwrap().remove(0).listing;
    let start = browser.get("/operator").await.text();
    let calm = "いま対応が必要なことはありません。";
    // The box of this test has a certificate without a life.
    let has_late = listing.certificate.is_overdue(now());
    assert_eq!(start.contains(calm), !has_late, "{start}");

    let long_ago = now().plus_us(-DAY_US);
    world.heard(&customer.device, long_ago).await;
    let (of, picture) = (customer.contract, customer.picture);
    let gone = world.store.blob_missing(of, picture, Some(long_ago));
    gone.await.unwrap();
    let full = cloud_receiver::capacity::Level::Urgent;
    world
        .store
        .capacity_told(full, vec![], now())
        .await
        .unwrap();
    let start = browser.get("/operator").await.text();
    for told in [
        "受信済みの画像1件のファイルが失われています。",
        "ディスクの空き: 1週間分以下です。",
    ] {
        assert!(start.contains(told), "{told}: {start}");
    }
    assert!(!start.contains(calm));
    let never = world.device(customer.contract, "まだの拠点").await;
    let start = browser.get("/operator").await.text();
    assert!(
        start.contains("まだの拠点（甲）の装置から一度も応答がありません。"),
        "{start}"
    );
    assert!(start.contains(&format!("/operator/devices#device-{}", never.row.device)));
}

fn is_japanese(sign: char) -> bool {
    matches!(sign, '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}')
}

#[tokio::test]
async fn every_page_of_the_area_speaks_english_too() {
    let world = World::start().await;
    let customer = customer(&world, "Kou").await;
    let mut browser = operator(&world).await;
    browser.language = "en";
    let mut seen = 0;
    for route in routes() {
        let asks = route.access == Access::Operator && route.methods.contains(&"GET");
        if !asks || !route.path.starts_with("/operator/") {
            continue;
        }
        let answer = browser.get(&customer.address(&route)).await;
        if answer.status != StatusCode::OK {
            continue;
        }
        seen += 1;
        let text = answer.text();
        // The names of this test's own things, the operator's, and of the other language.
        let main = text.split("<main").nth(1).unwrap();
        let main = main.split("</main>").next().unwrap();
        let main = main.replace("Kouの倉庫", "").replace("Kouの門", "");
        let left: String = main.chars().filter(|sign| is_japanese(*sign)).collect();
        assert_eq!(left, "", "{}: {main}", route.path);
    }
    assert!(seen > 12, "{seen}");
}
