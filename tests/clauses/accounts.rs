//! Accounts: who gets one, who may do what with it, and what is written down of it.

use e2e::customer::{Customer, client};
use e2e::operator::{Operator, PASSWORD, code, secret_on};
use e2e::receiver::{Account, Receiver};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

fn receiver(folder: &Path) -> Receiver {
    let mut receiver = Receiver::init(folder).expect("a receiver");
    receiver.serve().expect("it serves");
    receiver
}

fn run(receiver: &Receiver, args: &[&str]) -> Value {
    receiver.command(args).expect("the command works")
}

fn account(issued: &Value) -> Account {
    let word = |key: &str| issued[key].as_str().expect("a word").to_owned();
    Account {
        login_id: word("login_id"),
        password: word("password"),
    }
}

/// Where a sign-in leads; `None`: it is refused.
async fn leads_to(receiver: &Receiver, account: &Account) -> Option<String> {
    let customer = Customer::sign_in(receiver, account).await.ok()?;
    let answer = customer.get("/").await.expect("an answer");
    let to = answer.headers().get("location");
    Some(to.map_or("/".into(), |to| to.to_str().expect("plain").to_owned()))
}

#[tokio::test]
async fn clause_06_the_operator_issues_accounts_and_passwords() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = receiver(folder.path());
    run(&receiver, &["contract", "add", "--name", "甲"]);
    run(
        &receiver,
        &[
            "contract",
            "add",
            "--name",
            "乙",
            "--keep-issued-passwords",
            "true",
        ],
    );
    let add = |contract, login_id| {
        let args = [
            "user",
            "add",
            "--contract",
            contract,
            "--login-id",
            login_id,
        ];
        account(&run(&receiver, &args))
    };
    let (strict, mild) = (add("甲", "tanaka"), add("乙", "suzuki"));
    assert_eq!(
        leads_to(&receiver, &strict).await.as_deref(),
        Some("/password")
    );
    assert_eq!(leads_to(&receiver, &mild).await.as_deref(), Some("/"));

    // Lost: the old one is dead, the new one works and is changed first.
    let reset = ["user", "reset-password", "--login-id", "tanaka"];
    let again = account(&run(&receiver, &reset));
    assert_ne!(again.password, strict.password);
    assert_eq!(leads_to(&receiver, &strict).await, None);
    assert_eq!(
        leads_to(&receiver, &again).await.as_deref(),
        Some("/password")
    );

    let listed = run(&receiver, &["user", "list", "--contract", "甲"]);
    let [row] = listed.as_array().expect("a list").as_slice() else {
        panic!("{listed}");
    };
    assert_eq!(row["login_id"], "tanaka");
    assert_eq!(row["contract_name"], "甲");
    assert!(row["last_sign_in_us"].is_i64(), "{row}");
    assert_eq!(row["failed_sign_ins"], 1);
    assert_eq!(row["has_second_factor"], false);
    assert_eq!(row["sessions"], 1, "the reset ended the first one");
    for (wrong, why) in [
        (
            &["user", "add", "--contract", "甲", "--login-id", "tanaka"],
            "exists already",
        ),
        (
            &["user", "add", "--contract", "甲", "--login-id", "田中"],
            "letters, digits",
        ),
        (
            &["user", "add", "--contract", "丙", "--login-id", "sato"],
            "there is no contract",
        ),
    ] {
        let output = receiver.command_raw(wrong).expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
}

#[tokio::test]
async fn clause_07_a_removed_user_is_out_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = receiver(folder.path());
    let tanaka = receiver
        .customer("甲", "倉庫", "tanaka")
        .expect("a customer");
    let customer = Customer::sign_in(&receiver, &tanaka)
        .await
        .expect("signs in");
    customer.page("/").await.expect("the overview");
    let mut live = customer.stream("/live").await.expect("a stream");
    let first = live.chunk().await.expect("a piece").expect("the greeting");
    assert!(String::from_utf8_lossy(&first).contains("ready"));

    let unasked = receiver.command_raw(&["user", "remove", "--login-id", "tanaka"]);
    let unasked = unasked.expect("it runs");
    assert_eq!(unasked.status.code(), Some(1), "nobody was there to ask");
    customer.page("/").await.expect("nothing was changed");

    run(
        &receiver,
        &["user", "remove", "--login-id", "tanaka", "--yes"],
    );
    let ended = tokio::time::timeout(Duration::from_secs(3), async {
        while let Ok(Some(_)) = live.chunk().await {}
    });
    ended
        .await
        .expect("the stream of another process ends before its own next look");
    let turned_away = customer.get("/").await.expect("an answer");
    let to = turned_away.headers()["location"].to_str().expect("plain");
    assert!(to.starts_with("/sign-in"), "{to}");
    assert_eq!(leads_to(&receiver, &tanaka).await, None);
    assert_eq!(run(&receiver, &["user", "list"]), serde_json::json!([]));

    // The last operator stays.
    let last = ["operator", "remove", "--login-id", "operator", "--yes"];
    let refused = receiver.command_raw(&last).expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the last operator"), "{said}");
    run(&receiver, &["operator", "add", "--login-id", "sora"]);
    run(&receiver, &last);
    let operators = run(&receiver, &["operator", "list"]);
    assert_eq!(operators[0]["login_id"], "sora");
}

#[tokio::test]
async fn clause_08_a_general_user_only_looks() {
    use cloud_receiver::portal::{Access, routes};
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = receiver(folder.path());
    let tanaka = receiver
        .customer("甲", "倉庫", "tanaka")
        .expect("a customer");
    let customer = Customer::sign_in(&receiver, &tanaka)
        .await
        .expect("signs in");
    // Of the own account only.
    let own = [
        "/account/",
        "/password",
        "/second-factor",
        "/sign-out",
        "/sign-in",
        "/notifications",
    ];
    let mut tried = 0;
    for route in routes() {
        let address = route.path.replace(['{', '}'], "x");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let is_own = own.iter().any(|path| route.path.starts_with(path));
            if is_own && route.methods.contains(&method) {
                continue;
            }
            let status = customer
                .send(method, &address)
                .await
                .expect("an answer")
                .status();
            let is_refused = match route.access {
                // The door of the operators: whoever has no session there is shown to it.
                Access::Operator | Access::Public if route.methods.contains(&method) => {
                    status.is_redirection() || status.is_client_error()
                }
                _ => status == 405 || status == 403,
            };
            assert!(is_refused, "{method} {address}: {status}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}

#[tokio::test]
async fn clause_09_second_factors_and_throttling() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = receiver(folder.path());
    // The operator sets one up at the first sign-in, with the issued password changed as well.
    let mut operator = Operator::first_sign_in(&receiver).await.expect("comes in");
    operator.page("/operator").await.expect("devices");
    let listed = run(&receiver, &["operator", "list"]);
    assert_eq!(listed[0]["has_second_factor"], true);
    let reset = ["operator", "reset-second-factor", "--login-id", "operator"];
    run(&receiver, &reset);
    let away = operator.get("/operator").await.expect("an answer");
    assert!(away.status().is_redirection(), "its sessions have ended");
    let form = [
        ("login_id", "operator"),
        ("password", e2e::operator::PASSWORD),
    ];
    let answer = operator
        .post("/operator/sign-in", &form)
        .await
        .expect("an answer");
    let to = answer.headers()["location"]
        .to_str()
        .expect("plain")
        .to_owned();
    assert!(to.starts_with("/operator/second-factor"), "{to}");
    operator
        .post("/operator/second-factor/begin", &[])
        .await
        .expect("begun");
    let page = operator
        .page("/operator/second-factor")
        .await
        .expect("the page");
    let now = code(&secret_on(&page).expect("a secret"));
    let confirm = "/operator/second-factor/confirm";
    operator
        .post(confirm, &[("code", &now)])
        .await
        .expect("an answer");
    let page = operator.page("/operator/second-factor").await;
    let page = page.expect("not yet: a browser left open is not enough");
    assert!(page.contains("id=\"secret\""), "{page}");
    operator
        .post(confirm, &[("password", PASSWORD), ("code", &now)])
        .await
        .expect("confirmed");
    operator.page("/operator").await.expect("in again");

    // Guessing is slowed down, with one answer for known and unknown names.
    let tanaka = receiver
        .customer("甲", "倉庫", "tanaka")
        .expect("a customer");
    let client = client(&receiver).expect("a client");
    let base = receiver.portal_url();
    let guess = async |login_id: &str| {
        let answer = client
            .post(format!("{base}/sign-in"))
            .header("origin", &base)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("login_id={login_id}&password=guessed"))
            .send()
            .await
            .expect("an answer");
        answer.status().as_u16()
    };
    for tries in 0..5 {
        assert_eq!(
            (guess("tanaka").await, guess("nobody").await),
            (422, 422),
            "{tries}"
        );
    }
    assert_eq!((guess("tanaka").await, guess("nobody").await), (429, 429));
    tokio::time::timeout(Duration::from_secs(20), async {
        while Customer::sign_in(&receiver, &tanaka).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await
    .expect("the owner comes in after a pause");
}

// With threads of its own: a browser that answers nothing holds up the stop.
#[tokio::test(flavor = "multi_thread")]
async fn clause_15_what_was_done_is_written_down_and_cannot_be_rewritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = receiver(folder.path());
    let tanaka = receiver
        .customer("甲", "倉庫", "tanaka")
        .expect("a customer");
    let wrong = Account {
        password: "not the password".into(),
        ..tanaka.clone()
    };
    assert_eq!(leads_to(&receiver, &wrong).await, None);
    let nobody = Account {
        login_id: "a-password-typed-here".into(),
        ..wrong.clone()
    };
    assert_eq!(leads_to(&receiver, &nobody).await, None);
    let customer = Customer::sign_in(&receiver, &tanaka)
        .await
        .expect("signs in");
    customer.post("/sign-out", "").await.expect("signs out");

    // Heads go out while the log is as it was; they say where it stands.
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).expect("a folder");
    run(&receiver, &["heads", "now"]);
    let kept = receiver.command_raw(&["heads", "show"]).expect("it runs");
    let heads = outside.join("heads-000001.json");
    std::fs::write(&heads, kept.stdout).expect("kept");

    receiver.stop().expect("stops");
    let log = run(&receiver, &["audit", "list"]);
    let actions: Vec<_> = log
        .as_array()
        .expect("entries")
        .iter()
        .map(|e| &e["action"])
        .collect();
    for action in [
        "sign_in.fail",
        "sign_in.fail_unknown",
        "sign_in.succeed",
        "sign_out",
        "user.add",
    ] {
        assert!(
            actions.iter().any(|known| *known == action),
            "{action}: {actions:?}"
        );
    }
    let text = log.to_string();
    assert!(
        !text.contains("a-password-typed-here"),
        "unknown names are counted, not kept"
    );
    let failed = run(&receiver, &["audit", "list", "--action", "sign_in.fail"]);
    assert_eq!(failed[0]["personal"]["user"], "tanaka");
    assert_eq!(failed[0]["personal"]["address"], "127.0.0.1");
    assert_eq!(failed[0]["actor_name"], Value::Null, "sealed, not in clear");

    let against = [
        "audit",
        "verify",
        "--against",
        outside.to_str().expect("plain"),
    ];
    let whole = run(&receiver, &against);
    assert_eq!(whole["problems"], serde_json::json!([]));
    assert_eq!(whole["against"].as_array().map(Vec::len), Some(1));

    let file = folder.path().join("log.jsonl");
    let file = file.to_str().expect("plain");
    let export = [
        "audit",
        "export",
        "--from",
        "2020-01-01",
        "--to",
        "2100-01-01",
    ];
    let export = [&export[..], &["--contract", "甲", "--out", file]].concat();
    let exported = run(&receiver, &export);
    let verify = ["audit", "verify", "--file", file];
    let checked = run(&receiver, &verify);
    assert_eq!(checked["entries"], exported["entries"]);
    assert!(checked["entries"].as_u64() > Some(3), "{checked}");
    let good = std::fs::read_to_string(file).expect("the file");
    let lines: Vec<&str> = good.lines().collect();
    let changed = good.replacen("sign_in.fail", "sign_in.fall", 1);
    let without = [&lines[..3], &lines[4..]].concat().join("\n") + "\n";
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    for bad in [changed, without, cut] {
        std::fs::write(file, bad).expect("written");
        let output = receiver.command_raw(&verify).expect("it runs");
        assert_eq!(output.status.code(), Some(1));
    }

    // Somebody with the database cuts the log off: by itself it looks whole, beside the heads it does not.
    let database = folder.path().join("data/receiver.db");
    let database = rusqlite::Connection::open(database).expect("opens");
    database
        .execute("delete from audit where no > 2", [])
        .expect("cut off");
    drop(database);
    assert_eq!(
        run(&receiver, &["audit", "verify"])["problems"],
        serde_json::json!([])
    );
    let output = receiver.command_raw(&against).expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("the log was cut off"), "{said}");
}
