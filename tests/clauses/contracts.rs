//! Contracts: their period, their terms, and who did what with them.

use e2e::receiver::Receiver;
use serde_json::json;

#[test]
fn what_was_agreed_is_kept_and_what_is_wrong_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::init(folder.path()).expect("a receiver");
    let run = |args: &[&str]| receiver.command(args).expect("the command works");
    run(&[
        "contract",
        "add",
        "--name",
        "株式会社例",
        "--until",
        "2027-03-31",
        "--contact",
        "soumu@example.jp",
    ]);
    let shown = run(&["contract", "show", "株式会社例"]);
    // Midnight in Tokyo after the last day.
    assert_eq!(shown["until_us"], json!(1_806_505_200_000_000_i64));
    assert_eq!(shown["terms"]["contacts"], json!(["soumu@example.jp"]));

    let changed = run(&["contract", "set", "株式会社例", "--language", "en"]);
    assert_eq!(
        changed["terms"]["contacts"],
        json!(["soumu@example.jp"]),
        "what is not named stays"
    );
    run(&["contract", "extend", "株式会社例", "--until", "2028-03-31"]);
    for (wrong, why) in [
        (
            vec!["contract", "extend", "株式会社例", "--until", "2027-12-31"],
            "runs until 2028-03-31 already",
        ),
        (vec!["contract", "set", "株式会社例"], "nothing to set"),
        (
            vec!["contract", "set", "株式会社例", "--contact", "soumu"],
            "no mail address",
        ),
        (
            vec!["contract", "set", "株式会社例", "--zone", "Asia/Edo"],
            "no time zone",
        ),
        (
            vec!["contract", "show", "株式会社零"],
            "there is no contract",
        ),
    ] {
        let output = receiver.command_raw(&wrong).expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
}
