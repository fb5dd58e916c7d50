//! Clause 11: records go when their agreed time is over, never what a hold keeps, and nobody takes that for a loss.

use crate::story::{deliver, enrolled};
use anyhow::{Context, Result, ensure};
use e2e::fault::faketime::FakeTime;
use e2e::process::{Process, program};
use e2e::receiver::Receiver;
use e2e::wait;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const HELD: &str = "株式会社保全";
const OTHER: &str = "株式会社記録";
const DAY_SECONDS: i64 = 24 * 3600;

/// Rows of a contract by kind.
fn counts(receiver: &Receiver, contract: &str) -> Option<Value> {
    let planned = receiver.command(&["erase", "run", contract, "--dry-run"]);
    Some(planned.ok()?["counts"].clone())
}

/// Serves so many days from now until a contract has neither events nor pictures.
fn served_until_empty(
    receiver: &Receiver,
    folder: &Path,
    time: &FakeTime,
    days: i64,
    contract: &str,
) -> Result<()> {
    time.set(days * DAY_SECONDS)?;
    let mut command = Command::new(program("cloud-receiver")?);
    command.arg("serve").arg("--config").arg(receiver.config());
    command.env("RUST_LOG", "warn");
    time.dress(&mut command);
    let log = folder.join("other-time.log");
    let mut process = Process::start("cloud-receiver", command, &log)?;
    let found = wait::until("the records' end", PATIENCE, || {
        let left = counts(receiver, contract)?;
        let none = |kind: &str| left[kind].as_u64() == Some(0);
        (none("event") && none("media") && none("blob")).then_some(())
    });
    process.kill();
    found
}

fn says(receiver: &Receiver, args: &[&str], words: &[&str]) -> Result<String> {
    let output = receiver.command_raw(args)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?}: {said}{why}");
    for word in words {
        ensure!(said.contains(word), "{args:?} does not say {word}: {said}");
    }
    Ok(said)
}

#[test]
fn clause_11_records_go_when_their_agreed_time_is_over_and_the_rest_still_verifies() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    for (number, (contract, site)) in [(HELD, "保全倉庫"), (OTHER, "記録倉庫")].iter().enumerate()
    {
        receiver.customer(contract, site, &format!("user-{number}"))?;
        let box_ = enrolled(
            &receiver,
            &folder.path().join(format!("box-{number}")),
            site,
        )?;
        deliver(&box_, folder.path(), 60, number as u64 + 1)?;
    }
    receiver.stop()?;
    // What the receiver stated while it held them must still fit.
    receiver.command(&["heads", "now"])?;
    let before = counts(&receiver, HELD).context("counts")?;
    ensure!(before["event"] == 60 && before["blob"] == 6, "{before}");

    let unasked = ["contract", "set", HELD, "--keep-records", "30"];
    let unasked = receiver.command_raw(&unasked)?;
    let why = String::from_utf8_lossy(&unasked.stderr).into_owned();
    ensure!(!unasked.status.success(), "done without being asked");
    ensure!(
        why.contains("records older than 30 days") && why.contains("--yes"),
        "{why}"
    );
    for contract in [HELD, OTHER] {
        let set = ["contract", "set", contract, "--keep-records", "30"];
        let more = ["--keep-snapshots", "20", "--yes"];
        let terms = receiver.command(&[&set[..], &more[..]].concat())?;
        ensure!(terms["terms"]["retention"]["records_days"] == 30, "{terms}");
    }
    says(
        &receiver,
        &["contract", "show", OTHER],
        &["records           30 days"],
    )?;
    receiver.command(&["hold", "add", "--contract", HELD, "--why", "照会のため"])?;

    let time = FakeTime::new(folder.path(), 0)?;
    served_until_empty(&receiver, folder.path(), &time, 31, OTHER)?;
    let held = counts(&receiver, HELD).context("counts")?;
    assert_eq!(
        (&held["event"], &held["media"], &held["blob"]),
        (&before["event"], &before["media"], &before["blob"]),
        "a hold keeps all"
    );
    let gone = counts(&receiver, OTHER).context("counts")?;
    ensure!(
        gone["batch"].as_u64() > Some(0),
        "what is left of them: {gone}"
    );

    says(&receiver, &["verify"], &["deleted as agreed", "GENUINE"])?;
    says(
        &receiver,
        &["audit", "deliveries"],
        &["records deleted as agreed", "ADDS UP"],
    )?;
    says(
        &receiver,
        &["audit", "list", "--json"],
        &["retention.delete"],
    )?;
    let export = folder.path().join("export.zip");
    let file = export.to_str().context("a path")?;
    let span = ["--from", "2020-01-01", "--to", "2100-01-01", "--out", file];
    let args = [&["export", "--contract", OTHER], &span[..]].concat();
    says(&receiver, &args, &["were deleted as agreed"])?;
    let key = receiver.command(&["heads", "key"])?;
    let key = key["receiver_key"].as_str().context("the key")?;
    let args = ["verify", "--export", file, "--receiver-key", key];
    says(&receiver, &args, &["deleted as agreed", "GENUINE"])?;

    let holds = receiver.command(&["hold", "list"])?;
    let id = holds[0]["id"].as_str().context("the hold")?;
    receiver.command(&["hold", "remove", id, "--yes"])?;
    served_until_empty(&receiver, folder.path(), &time, 33, HELD)?;
    says(&receiver, &["verify"], &["deleted as agreed", "GENUINE"])?;
    says(&receiver, &["audit", "deliveries"], &["ADDS UP"])?;
    Ok(())
}
