//! Keys that change while the receiver runs, and what is written down of it.

use cloud_receiver::auth::totp::step_at;
use e2e::agent::Agent;
use e2e::operator::{Operator, PASSWORD};
use e2e::receiver::Receiver;
use e2e::wait;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use wire::UtcMicros;

fn receiver(folder: &Path) -> Receiver {
    let mut receiver = Receiver::init(&folder.join("receiver")).expect("a receiver");
    receiver.serve().expect("it serves");
    receiver
        .customer("契約", "本社", "user")
        .expect("a customer");
    receiver
}

fn run(receiver: &Receiver, args: &[&str]) -> Value {
    receiver.command(args).expect("the command works")
}

/// What stands in the audit log of one action, the newest first.
fn noted(receiver: &Receiver, action: &str) -> Vec<Value> {
    let found = run(receiver, &["audit", "list", "--action", action]);
    found.as_array().expect("entries").clone()
}

/// A code that was not used yet: the next one is good already.
fn next_code(operator: &Operator) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let micros = since.expect("a time").as_micros();
    let now = UtcMicros(i64::try_from(micros).expect("a time"));
    operator.secret.code(step_at(now) + 1)
}

#[tokio::test]
async fn clause_10_operators_come_in_while_the_master_key_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = receiver(folder.path());
    let mut operator = Operator::first_sign_in(&receiver).await.expect("comes in");
    run(&receiver, &["key", "rotate"]);
    operator
        .post("/operator/sign-out", &[])
        .await
        .expect("leaves");
    let form = [("login_id", "operator"), ("password", PASSWORD)];
    let path = "/operator/sign-in";
    operator.post(path, &form).await.expect("an answer");
    let path = "/operator/second-factor";
    operator
        .post(path, &[("code", "000000")])
        .await
        .expect("an answer");
    let away = operator.get("/operator").await.expect("an answer");
    assert!(away.status().is_redirection(), "a code is asked for");
    let code = next_code(&operator);
    operator
        .post(path, &[("code", &code)])
        .await
        .expect("an answer");
    operator
        .page("/operator")
        .await
        .expect("in, without a restart");

    // Each step of it stands in the log: who stopped after the password would be seen.
    assert_eq!(noted(&receiver, "sign_in.password").len(), 2);
    assert_eq!(noted(&receiver, "sign_in.fail_code").len(), 1);
    assert_eq!(noted(&receiver, "sign_in.succeed").len(), 2);

    receiver.stop().expect("it stops");
    receiver.serve().expect("it serves under the new key");
    // The browser's connection of before is gone; its next is not.
    wait::until_async("the page", Duration::from_secs(10), || async {
        operator.page("/operator").await.ok()
    })
    .await
    .expect("still in");
}

#[test]
fn clause_15_changes_of_keys_and_devices_are_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = receiver(folder.path());
    let code = receiver.claim("本社").expect("a code");
    let agent = Agent::configure(&folder.path().join("agent"), &[], "").expect("an agent");
    agent
        .enroll(&receiver.portal_url(), &code)
        .expect("it enrolls");
    let device = run(&receiver, &["device", "list"])[0]["device"].clone();
    let enrolled = noted(&receiver, "device.enroll");
    assert_eq!(enrolled.len(), 1, "{enrolled:?}");
    assert_eq!(enrolled[0]["actor"], "device");
    assert_eq!(enrolled[0]["subject"], device);

    let heads = run(&receiver, &["heads", "now"]);
    let made = noted(&receiver, "heads.make");
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0]["subject"], heads["number"].to_string());
    assert_eq!(made[0]["actor"], "console");

    let rotated = run(&receiver, &["ca", "rotate"]);
    let changed = noted(&receiver, "ca.rotate");
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0]["subject"], rotated["current"]["fingerprint"]);
    receiver.stop().expect("it stops");
    receiver.serve().expect("it serves with the new one");
    run(&receiver, &["ca", "retire", "--lock-out"]);
    let retired = noted(&receiver, "ca.retire");
    assert_eq!(retired.len(), 1, "{retired:?}");
    assert_eq!(retired[0]["subject"], rotated["before"]["fingerprint"]);
    let chain = run(&receiver, &["audit", "verify"]);
    assert_eq!(chain["problems"], Value::Array(Vec::new()));
}

/// A page of the operators, over a connection that may have ended with the receiver before.
async fn page(operator: &Operator, path: &str) -> String {
    wait::until_async("the page", Duration::from_secs(10), || async {
        operator.page(path).await.ok()
    })
    .await
    .expect("a page")
}

#[tokio::test]
async fn clause_10_the_operators_area_tells_how_far_a_change_of_keys_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = receiver(folder.path());
    let code = receiver.claim("本社").expect("a code");
    let agent = Agent::configure(&folder.path().join("agent"), &[], "").expect("an agent");
    let url = receiver.portal_url();
    agent.enroll(&url, &code).expect("it enrolls");
    let operator = Operator::first_sign_in(&receiver).await.expect("comes in");
    let at_rest = page(&operator, "/operator/keys").await;
    let print = |status: &Value, which: &str| {
        let found = status[which]["fingerprint"].as_str();
        found.expect("a fingerprint").to_owned()
    };
    let first = print(&run(&receiver, &["ca", "status"]), "current");
    assert!(
        at_rest.contains(&first) && at_rest.contains("ca rotate"),
        "{at_rest}"
    );
    assert!(!at_rest.contains("再起動してください"), "{at_rest}");

    let rotated = run(&receiver, &["ca", "rotate"]);
    let second = print(&rotated, "current");
    let told = page(&operator, "/operator/keys").await;
    assert!(told.contains("CAがコマンドで変更されました。"), "{told}");
    assert!(told.contains(&first) && !told.contains(&second), "{told}");
    receiver.stop().expect("it stops");
    receiver.serve().expect("it serves with the new one");
    let told = page(&operator, "/operator/keys").await;
    assert!(told.contains(&first) && told.contains(&second), "{told}");
    for words in ["前のCA", "切り替えている途中", "本社"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("再起動してください"), "{told}");

    run(&receiver, &["ca", "retire", "--lock-out"]);
    let told = page(&operator, "/operator/keys").await;
    assert!(told.contains("CAがコマンドで変更されました。"), "{told}");
    // The master key, meanwhile.
    let before = run(&receiver, &["key", "rotate"]);
    let told = page(&operator, "/operator/keys").await;
    let id = before["master_key"].as_str().expect("an id");
    assert!(
        told.contains(id) && told.contains("マスター鍵が変更されました。"),
        "{told}"
    );
}
