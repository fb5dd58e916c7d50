//! The receiver's own secrets change while everything runs: another CA, another master key.

use super::{PATIENCE, renew, serial, stream, until_carriage, until_uplink};
use anyhow::{Context, Result, bail, ensure};
use e2e::agent::Agent;
use e2e::customer::Customer;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::strace::{has_killed, inject_logged};
use e2e::fault::{Chance, Site};
use e2e::process::{Process, program};
use e2e::receiver::Receiver;
use e2e::wait;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// What a command that must be refused says.
fn refused(receiver: &Receiver, args: &[&str]) -> Result<String> {
    let output = receiver.command_raw(args)?;
    ensure!(output.status.code() == Some(1), "{args:?}: {output:?}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A further box of the site, enrolled; its device id.
fn another_box(site: &Site, name: &str, code: &str) -> Result<(Agent, String)> {
    let agent = Agent::configure(&site.folder().join(name), &[], "")?;
    agent.enroll(&site.receiver.portal_url(), code)?;
    let identity = fs::read(agent.data_dir().join("identity/device.json"))?;
    let identity: Value = serde_json::from_slice(&identity)?;
    let device = identity["device_id"].as_str().context("a device id")?;
    Ok((agent, device.to_owned()))
}

/// Who still holds a certificate of the CA before.
fn behind(status: &Value) -> Vec<&str> {
    let behind = status["behind"].as_array().into_iter().flatten();
    behind.filter_map(|one| one["device"].as_str()).collect()
}

#[test]
fn fault_32_another_ca_reaches_every_box_over_the_line_it_has_and_locks_nobody_out_unasked()
-> Result<()> {
    let chance = Chance::new("fault_32");
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let mut site = Site::new()?;
    let first = site.device.to_string();
    let claim = |site: &Site| site.receiver.claim("本社");
    let (mut real, _) = another_box(&site, "real", &claim(&site)?)?;
    let (mut away, away_id) = another_box(&site, "away", &claim(&site)?)?;
    let code_of_before = claim(&site)?;
    real.start()?;
    until_uplink(&real, "carriage", "mqtt")?;
    let mut feeder = site.start_feeder(&options)?;
    feeder.put(stream(50))?;
    until_carriage(&feeder, "mqtt")?;
    let status = |site: &Site| site.receiver.command(&["ca", "status"]);
    let old = status(&site)?["current"]["fingerprint"].clone();

    let rotated = site.receiver.command(&["ca", "rotate"])?;
    ensure!(rotated["before"]["fingerprint"] == old, "{rotated}");
    ensure!(rotated["current"]["fingerprint"] != old, "{rotated}");
    let words = refused(&site.receiver, &["ca", "rotate"])?;
    ensure!(words.contains("ca retire"), "{words}");
    ensure!(status(&site)?["running"] == "outdated");
    let words = refused(&site.receiver, &["ca", "retire", "--lock-out"])?;
    ensure!(words.contains("restart it"), "{words}");

    site.receiver.stop()?;
    site.receiver.serve()?;
    // The real agent is asked by the receiver; nobody else has a hand in it.
    wait::until("the real box under the new CA", PATIENCE, || {
        let status = status(&site).ok()?;
        (status["running"] == "current" && status["followed"] == 1).then_some(())
    })?;
    let before = serial(&site)?;
    let (done, words) = renew(&mut feeder)?;
    ensure!(done, "{words}");
    wait::until("the new certificate in use", PATIENCE, || {
        (serial(&site).ok()? != before).then_some(())
    })?;
    // Both kinds of code are good, and what they bring is of the new CA.
    another_box(&site, "late", &code_of_before)?;
    another_box(&site, "new", &claim(&site)?)?;
    let now = status(&site)?;
    ensure!(now["followed"] == 4, "{now}");
    ensure!(behind(&now) == [away_id.as_str()], "{now}");
    ensure!(now["can_retire"] == false, "{now}");
    let words = refused(&site.receiver, &["ca", "retire"])?;
    ensure!(words.contains(&away_id), "{words}");
    ensure!(!words.contains(&first), "{words}");

    let retired = site.receiver.command(&["ca", "retire", "--lock-out"])?;
    ensure!(retired["retired"] == old, "{retired}");
    site.receiver.stop()?;
    site.receiver.serve()?;
    let now = status(&site)?;
    ensure!(now["before"].is_null(), "{now}");
    ensure!(now["running"] == "current", "{now}");

    // Who missed it says what to do, and comes back by a new code with all that it has recorded.
    away.start()?;
    until_uplink(&away, "last_error", "enroll --again")?;
    let again = away.try_enroll_again(&site.receiver.portal_url(), &claim(&site)?)?;
    ensure!(again.status.success(), "{again:?}");
    until_uplink(&away, "carriage", "mqtt")?;
    until_uplink(&real, "carriage", "mqtt")?;
    ensure!(behind(&status(&site)?).is_empty());
    away.stop()?;
    real.stop()?;

    feeder.kill();
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    Ok(())
}

/// Runs a command, killed at the so-manieth call of this kind. `false`: it never came to that, and is done.
fn killed_at(receiver: &Receiver, args: &[&str], call: &str, number: usize) -> Result<bool> {
    let folder = receiver.config().parent().context("a folder")?;
    let trace = folder.join("strace.log");
    let _ = fs::remove_file(&trace);
    let under = inject_logged(&[&format!("{call}:signal=KILL:when={number}")], &trace)?;
    let mut command = Command::new(&under[0]);
    command
        .args(&under[1..])
        .arg(program("cloud-receiver")?)
        .args(args)
        .arg("--config")
        .arg(receiver.config());
    let log = folder.join("killed.log");
    let mut process = Process::start("a command", command, &log)?;
    wait::until(format!("{call} number {number}"), PATIENCE, || {
        (process.ended().is_some() || has_killed(&trace)).then_some(())
    })?;
    let killed = has_killed(&trace);
    if !killed && !process.ended().is_some_and(|status| status.success()) {
        bail!("without a kill it failed: {}", process.log_tail(5));
    }
    process.kill();
    Ok(killed)
}

#[test]
fn a_crash_at_any_step_of_a_change_of_the_ca_leaves_keys_that_load() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::init(folder.path())?;
    let key_file = folder.path().join("keys/ca.key.pem");
    let (mut kills, mut done) = (0, 0);
    for call in ["fsync", "rename"] {
        for number in 1.. {
            let old = receiver.command(&["ca", "status"])?["current"]["fingerprint"].clone();
            if !killed_at(&receiver, &["ca", "rotate"], call, number)? {
                receiver.command(&["ca", "retire"])?;
                break;
            }
            kills += 1;
            let left = receiver.command(&["ca", "status"])?;
            let is_done = !left["before"].is_null();
            done += usize::from(is_done);
            ensure!(is_done || left["current"]["fingerprint"] == old, "{left}");
            wait::until("the change of the CA to end", PATIENCE, || {
                let output = receiver.command_raw(&["ca", "rotate"]).ok()?;
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                (output.status.success() || words.contains("ca retire")).then_some(())
            })?;
            let ended = receiver.command(&["ca", "status"])?;
            ensure!(ended["before"]["fingerprint"] == old, "{ended}");
            let keys = fs::read_to_string(&key_file)?;
            ensure!(
                keys.matches("BEGIN").count() == 1,
                "the old key is still there"
            );
            receiver.command(&["ca", "retire"])?;
        }
    }
    eprintln!("{kills} kills, of which {done} after the new CA had come");
    ensure!(done >= 1 && kills > done, "the kills missed it");
    Ok(())
}

/// `key rotate` once more. What was killed may hold the lock for a moment.
fn brought_to_its_end(site: &Site) -> Result<Value> {
    wait::until("the change of the master key to end", PATIENCE, || {
        site.receiver.command(&["key", "rotate"]).ok()
    })
}

#[test]
fn a_crash_at_any_step_of_a_change_of_the_master_key_leaves_a_store_that_opens() -> Result<()> {
    let chance = Chance::new("key rotate");
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let mut site = Site::new()?;
    let mut feeder = site.start_feeder(&options)?;
    feeder.put_all(Feed::default(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    let here = site.stored()?.len();
    let runtime = tokio::runtime::Runtime::new()?;
    let customer = runtime.block_on(Customer::sign_in(&site.receiver, &site.account))?;
    // The receiver serves all the time, with the key that it was started with.
    feeder.put(stream(20))?;
    let (mut kills, mut gone_on) = (0, 0);
    for call in ["fsync", "fdatasync", "rename", "pwrite64", "ftruncate"] {
        for number in 1.. {
            if !killed_at(&site.receiver, &["key", "rotate"], call, number)? {
                break;
            }
            kills += 1;
            let stored = site.stored();
            let stored = stored.with_context(|| format!("killed at {call} number {number}"))?;
            ensure!(stored.len() >= here, "{} records of {here}", stored.len());
            let ended = brought_to_its_end(&site)?;
            ensure!(ended["contract_keys"] == 1, "{ended}");
            gone_on += usize::from(ended["was_begun"] == true);
            ensure!(!site.folder().join("receiver/keys/master.next.key").exists());
        }
    }
    eprintln!("{kills} kills, of which {gone_on} left both keys");
    ensure!(gone_on >= 2 && kills > gone_on, "the kills missed it");
    until_carriage(&feeder, "mqtt")?;

    site.receiver.stop()?;
    site.receiver.serve()?;
    // Who was signed in still is, and sees pictures of before.
    let pictures = runtime.block_on(customer.pictures("/events"))?;
    let picture = pictures.first().context("a picture on the page")?;
    let shown = runtime.block_on(customer.get(picture))?;
    ensure!(shown.status().is_success(), "{}", shown.status());
    feeder.kill();
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    Ok(())
}
