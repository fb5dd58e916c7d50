//! Clause 11: when a contract has ended, everything it had is destroyed within three business days - and nothing else is.

use crate::story::{deliver, enrolled};
use anyhow::{Context, Result, ensure};
use e2e::agent::Agent;
use e2e::customer::Customer;
use e2e::fault::faketime::FakeTime;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::{Chance, Feeder};
use e2e::process::{Process, program};
use e2e::receiver::{Account, Receiver};
use e2e::wait;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// What nobody may find any more: the customer, a place, a person.
const NAME: &str = "株式会社消失商事";
const SITE: &str = "第八消失倉庫";
const LOGIN: &str = "shoushitsu-tanaka";
const MAIL: &str = "shoushitsu@example.jp";
const OTHER: &str = "株式会社存続";

/// A receiver with two customers, each with a box that has delivered.
struct Story {
    receiver: Receiver,
    account: Account,
    box_of_ended: Agent,
    folder: TempDir,
}

impl Story {
    /// `settings`: lines of section [erasure].
    fn new(settings: &[(&str, &str)], events: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
        for (from, to) in settings {
            let text = fs::read_to_string(receiver.config())?;
            ensure!(text.contains(from), "the configuration has no {from}");
            fs::write(receiver.config(), text.replace(from, to))?;
        }
        receiver.serve()?;
        let account = receiver.customer(NAME, SITE, LOGIN)?;
        receiver.command(&["contract", "set", NAME, "--contact", MAIL])?;
        receiver.customer(OTHER, "残る倉庫", "nokoru")?;
        let story = Self {
            box_of_ended: enrolled(&receiver, &folder.path().join("box-1"), SITE)?,
            receiver,
            account,
            folder,
        };
        deliver(&story.box_of_ended, story.folder.path(), events, 1)?;
        let other = enrolled(
            &story.receiver,
            &story.folder.path().join("box-2"),
            "残る倉庫",
        )?;
        deliver(&other, story.folder.path(), 40, 2)?;
        Ok(story)
    }

    fn end_and_done(&self) -> Result<Value> {
        self.receiver
            .command(&["contract", "end", NAME, "--on", "2026-01-31", "--yes"])?;
        self.receiver.command(&["contract", "done", NAME, "--yes"])
    }

    /// Waits for the certificate.
    fn erased(&self) -> Result<Value> {
        erased(&self.receiver)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("receiver/data")
    }
}

fn erased(receiver: &Receiver) -> Result<Value> {
    let what = "the erasure's certificate";
    wait::until(what, PATIENCE, || {
        let list = receiver.command(&["erase", "list"]).ok()?;
        let row = list.as_array()?.first()?.clone();
        row["finished_us"].is_number().then_some(row)
    })
}

fn count<'a>(row: &'a Value, kind: &str) -> Option<&'a Value> {
    let counts = row["certificate"]["counts"].as_array()?;
    counts.iter().find(|count| count["kind"] == kind)
}

/// Every row of every table that speaks of the other customer alone, in order.
fn rows_of_other(data: &Path) -> Result<BTreeMap<String, Vec<Vec<Sql>>>> {
    let database = Connection::open(data.join("receiver.db"))?;
    let id: Vec<u8> =
        database.query_row("select id from contract where name = ?1", [OTHER], |row| {
            row.get(0)
        })?;
    let device = "device in (select id from device where contract = ?1)";
    let mut found = BTreeMap::new();
    for (table, of) in [
        ("event", "contract = ?1"),
        ("media", "contract = ?1"),
        ("blob", "contract = ?1"),
        ("site", "contract = ?1"),
        ("user", "contract = ?1"),
        ("camera", "contract = ?1"),
        ("contract_key", "contract = ?1"),
        ("batch", device),
        ("stored_range", device),
        ("camera_state", device),
    ] {
        let mut statement = database.prepare(&format!("select * from {table} where {of}"))?;
        let columns = statement.column_count();
        let rows =
            statement.query_map([&id], |row| (0..columns).map(|at| row.get(at)).collect())?;
        let rows: Vec<Vec<Sql>> = rows.collect::<rusqlite::Result<_>>()?;
        ensure!(
            !rows.is_empty(),
            "the other customer has nothing in {table}"
        );
        found.insert(table.to_owned(), rows);
    }
    Ok(found)
}

/// The audit log: numbered without a gap, as the receiver's own check of it starts from.
fn must_chain(data: &Path) -> Result<()> {
    let database = Connection::open(data.join("receiver.db"))?;
    let (entries, last): (i64, i64) =
        database.query_row("select count(*), max(no) from audit", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    ensure!(
        entries == last && entries > 0,
        "entries of the audit log are gone"
    );
    Ok(())
}

/// Files below a folder that hold any of these words.
fn files_with(folder: &Path, words: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, words)?);
            continue;
        }
        let bytes = fs::read(&path)?;
        for word in words {
            if bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes())
            {
                found.push(format!("{word} in {}", path.display()));
            }
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_11_erasure_within_three_business_days() -> Result<()> {
    let at_once = [("after_business_days = 1", "after_business_days = 0")];
    let mut story = Story::new(&at_once, 300)?;
    let receiver = &story.receiver;
    let words = [NAME, SITE, LOGIN, MAIL];
    let here = files_with(&story.data(), &[NAME, SITE, LOGIN])?;
    ensure!(here.len() >= 3, "the search finds what is there: {here:?}");
    let customer = Customer::sign_in(receiver, &story.account).await?;
    customer.page("/").await?;
    receiver.command(&["heads", "now"])?;
    let others = rows_of_other(&story.data())?;
    let copy = story.folder.path().join("copy-of-keys.json");
    let copy_text = copy.to_str().context("plain names")?;
    receiver.command(&["key", "backup", "--out", copy_text])?;
    // Something waits on the box: it is told to destroy it.
    let offline = Options {
        no_uplink: true,
        ..Options::default()
    };
    let log = story.folder.path().join("feeder.log");
    let data = story.box_of_ended.data_dir();
    let mut feeder = Feeder::start(&data, &log, &offline, &Default::default())?;
    feeder.put_all(Feed::default(), PATIENCE)?;
    feeder.stop()?;

    // Before: nothing is due, and what would be gone is told.
    let planned = receiver.command(&["erase", "run", NAME, "--dry-run"])?;
    assert_eq!(planned["standing"], "running");
    assert_eq!(planned["counts"]["event"], 300);
    let refused = receiver.command_raw(&["erase", "run", NAME, "--yes"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("--now and --why"), "{said}");

    let shown = story.end_and_done()?;
    assert_eq!(shown["state"]["standing"], "due");
    story.box_of_ended.start()?;
    let row = story.erased()?;
    let receiver = &story.receiver;

    // In time, and all of it.
    let due = row["due_us"].as_i64().context("when it was due")?;
    assert!(row["finished_us"].as_i64().context("when it was done")? < due);
    // What waited on the box may have come in before it read the order.
    let before = |kind: &str| count(&row, kind).and_then(|count| count["before"].as_u64());
    let events = before("event").context("events")?;
    assert!(events >= 300, "{events}");
    assert!(before("blob").context("blobs")? >= 30);
    assert_eq!(before("object"), before("blob"));
    let counts = row["certificate"]["counts"].as_array().context("counts")?;
    assert!(counts.iter().all(|count| count["after"] == 0), "{counts:?}");
    assert_eq!(row["certificate"]["devices"][0]["outcome"], "done");
    let copies = &row["certificate"]["copies"]["key_backups"];
    assert_eq!(
        copies[0]["path"], copy_text,
        "it is named as to be destroyed"
    );
    let found = files_with(&story.folder.path().join("receiver"), &words)?;
    let found: Vec<_> = found.iter().filter(|it| !it.contains(".log")).collect();
    assert!(found.is_empty(), "{found:?}");

    // The box holds nothing, and keeps nothing.
    let status = story.box_of_ended.status().context("the box answers")?;
    assert_eq!(status["spool"]["pending_blobs"], 0, "{status}");
    story.box_of_ended.stop()?;
    let blobs = fs::read_dir(data.join("spool/blobs"))?.count();
    assert_eq!(blobs, 0, "no picture is left on the box");

    // Nobody is signed in, and nobody can.
    assert!(customer.get("/").await?.status().is_redirection());
    assert!(Customer::sign_in(receiver, &story.account).await.is_err());

    // The other customer has all, and everything still adds up.
    assert_eq!(rows_of_other(&story.data())?, others);
    let backup = fs::read_to_string(
        story
            .folder
            .path()
            .join("receiver/data-keys/contract-keys.json"),
    )?;
    let backup: Value = serde_json::from_str(&backup)?;
    assert_eq!(backup["keys"].as_array().context("keys")?.len(), 1);
    let verified = receiver.command_raw(&["verify"])?;
    let printed = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{printed}");
    must_chain(&story.data())?;

    // The certificate: genuine, about this customer and no other, and nothing of it can be changed.
    let file = story.folder.path().join("certificate.json");
    let path = file.to_str().context("plain names")?;
    receiver.command(&["erase", "certificate", NAME, "--out", path])?;
    let checked = receiver.command(&["erase", "verify", path, "--name", NAME])?;
    assert_eq!(checked["of_this_name"], true);
    let wrong = receiver.command_raw(&["erase", "verify", path, "--name", OTHER])?;
    assert_eq!(wrong.status.code(), Some(1));
    let text = fs::read_to_string(&file)?;
    let forged = text.replace(&format!("\\\"before\\\":{events}"), "\\\"before\\\":7");
    assert_ne!(text, forged);
    fs::write(&file, forged)?;
    let forged = receiver.command_raw(&["erase", "verify", path])?;
    let said = String::from_utf8_lossy(&forged.stderr).into_owned();
    assert!(said.contains("signature does not fit"), "{said}");
    Ok(())
}

#[test]
fn clause_11_a_hold_blocks_erasure_and_lifting_it_makes_it_due_again() -> Result<()> {
    let settings = [
        ("after_business_days = 1", "after_business_days = 0"),
        ("wait_for_devices_hours = 12", "wait_for_devices_hours = 0"),
    ];
    let story = Story::new(&settings, 30)?;
    let receiver = &story.receiver;
    let why = "訴訟 令和8年(ワ)第1号";
    let hold = receiver.command(&["hold", "add", "--contract", NAME, "--why", why])?;
    let shown = story.end_and_done()?;
    assert_eq!(shown["state"]["standing"], "held");
    let words = receiver.command_raw(&["contract", "show", NAME])?;
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains(why), "{words}");
    for args in [
        vec!["erase", "run", NAME, "--yes"],
        vec!["erase", "run", NAME, "--now", "--why", "asked", "--yes"],
    ] {
        let refused = receiver.command_raw(&args)?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("hold remove"), "{args:?}: {said}");
    }
    assert_eq!(receiver.command(&["erase", "list"])?, Value::Array(vec![]));
    assert_eq!(receiver.command(&["hold", "list"])?[0]["why"], why);

    let id = hold["id"].as_str().context("its id")?;
    receiver.command(&["hold", "remove", id, "--yes"])?;
    let row = story.erased()?;
    // Nobody runs the box.
    assert_eq!(row["certificate"]["devices"][0]["outcome"], "unconfirmed");
    let gone = receiver.command_raw(&["contract", "extend", NAME, "--until", "2099-01-01"])?;
    assert_eq!(gone.status.code(), Some(1));
    Ok(())
}

#[test]
fn clause_11_a_mistaken_date_can_be_mended_and_an_early_erasure_is_asked_for() -> Result<()> {
    let settings = [("wait_for_devices_hours = 12", "wait_for_devices_hours = 0")];
    let story = Story::new(&settings, 30)?;
    let receiver = &story.receiver;
    let shown = story.end_and_done()?;
    assert_eq!(shown["state"]["standing"], "due");
    let begins = shown["state"]["begins_us"].as_i64().context("a moment")?;
    let by = shown["state"]["by_us"].as_i64().context("a moment")?;
    assert!(begins < by);
    let shown = receiver.command(&["contract", "done", NAME, "--not-yet"])?;
    assert_eq!(shown["state"]["standing"], "awaiting_work");
    let shown = receiver.command(&["contract", "extend", NAME, "--until", "2099-01-01"])?;
    assert!(shown["until_us"].is_number());
    assert_eq!(receiver.command(&["erase", "list"])?, Value::Array(vec![]));

    // Nobody to be asked, and nobody said yes.
    let args = ["erase", "run", NAME, "--now", "--why", "申出による"];
    let refused = receiver.command_raw(&args)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--yes"), "{said}");
    let mut args = args.to_vec();
    args.push("--yes");
    receiver.command(&args)?;
    let row = story.erased()?;
    assert_eq!(row["certificate"]["order"]["reason"], "on_request");
    assert_eq!(row["certificate"]["order"]["why"], "申出による");
    assert_eq!(row["certificate"]["order"]["actor"], "console");
    Ok(())
}

/// Serves at another time until a condition holds.
fn at<T>(
    story: &Story,
    time: &FakeTime,
    offset_us: i64,
    what: &str,
    condition: impl FnMut() -> Option<T>,
) -> Result<T> {
    time.set(offset_us / 1_000_000)?;
    let mut command = serving(story)?;
    time.dress(&mut command);
    let log = story.folder.path().join("other-time.log");
    let mut process = Process::start("cloud-receiver", command, &log)?;
    let found = wait::until(what, PATIENCE, condition);
    process.kill();
    found
}

#[test]
fn clause_11_by_the_calendar_it_begins_after_a_business_day_and_is_over_by_the_third() -> Result<()>
{
    let mut story = Story::new(&[], 30)?;
    let time = FakeTime::new(story.folder.path(), 0)?;
    story.receiver.stop()?;
    let shown = story.end_and_done()?;
    let moment = |name: &str| shown["state"][name].as_i64().context("a moment");
    let (begins, by) = (moment("begins_us")?, moment("by_us")?);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let (minute, hour) = (60_000_000, 3_600_000_000);
    let first = || {
        let list = story.receiver.command(&["erase", "list"]).ok()?;
        list.as_array()?.first().cloned()
    };
    let lock = story.data().join("erasure.lock");
    fs::remove_file(&lock)?;
    // It makes the file when it looks, and lets go of it when it has.
    let has_looked = || fs::File::open(&lock).ok()?.try_lock().ok();

    at(
        &story,
        &time,
        begins - now - 5 * minute,
        "its first look",
        has_looked,
    )?;
    assert_eq!(first(), None, "a minute too early nothing has begun");
    // The device does not answer: half a day is left to it.
    let waiting = at(
        &story,
        &time,
        begins - now + minute,
        "its beginning",
        || first().filter(|row| row["step"] == "await_devices"),
    )?;
    assert_eq!(waiting["due_us"].as_i64(), Some(by));
    let done = at(&story, &time, begins - now + 13 * hour, "its end", || {
        first().filter(|row| row["finished_us"].is_number())
    })?;
    assert!(done["finished_us"].as_i64().context("when")? < by);
    assert_eq!(done["certificate"]["devices"][0]["outcome"], "unconfirmed");
    Ok(())
}

#[test]
fn clause_11_pictures_go_after_the_agreed_days_and_nothing_looks_lost() -> Result<()> {
    let mut story = Story::new(&[], 30)?;
    let time = FakeTime::new(story.folder.path(), 0)?;
    story.receiver.stop()?;
    // It deletes pictures, so a script must say that it means it.
    let unasked = ["contract", "set", NAME, "--keep-snapshots", "90"];
    let unasked = story.receiver.command_raw(&unasked)?;
    ensure!(!unasked.status.success(), "done without being asked");
    let why = String::from_utf8_lossy(&unasked.stderr);
    ensure!(
        why.contains("older than 90 days") && why.contains("--yes"),
        "{why}"
    );
    story
        .receiver
        .command(&["contract", "set", NAME, "--keep-snapshots", "90", "--yes"])?;
    let others = rows_of_other(&story.data())?;
    let pictures = || {
        let planned = story
            .receiver
            .command(&["erase", "run", NAME, "--dry-run"])
            .ok()?;
        Some((
            planned["counts"]["blob"].as_u64()?,
            planned["counts"]["object"].as_u64()?,
        ))
    };
    assert_eq!(pictures(), Some((3, 3)));
    let day = 24 * 3_600_000_000;
    at(&story, &time, 91 * day, "the pictures' end", || {
        pictures().filter(|left| *left == (0, 0))
    })?;
    assert_eq!(rows_of_other(&story.data())?, others);
    for check in [&["verify"][..], &["audit", "deliveries"]] {
        let output = story.receiver.command_raw(check)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{check:?}: {said}");
    }
    Ok(())
}

/// Kills of one test run.
const KILLS: u32 = 25;

#[test]
fn clause_11_killed_during_erasure_it_ends_as_if_it_had_not_been() -> Result<()> {
    let mut chance = Chance::new("clause_11_killed");
    eprintln!("seed {}", chance.seed());
    let settings = [
        ("after_business_days = 1", "after_business_days = 0"),
        ("wait_for_devices_hours = 12", "wait_for_devices_hours = 0"),
    ];
    let mut story = Story::new(&settings, 2_000)?;
    story.receiver.stop()?;
    let others = rows_of_other(&story.data())?;
    story.end_and_done()?;
    let (here, template) = (
        story.folder.path().join("receiver"),
        story.folder.path().join("template"),
    );
    copy(&here, &template)?;

    // Once as it should be: how long it takes, and what is left.
    let began = Instant::now();
    let mut process = serve(&story)?;
    let unkilled = end_state(&story.erased()?);
    let takes = began.elapsed();
    process.kill();
    let mut interrupted = 0;
    for _ in 0..KILLS {
        fs::remove_dir_all(&here)?;
        copy(&template, &here)?;
        let mut process = serve(&story)?;
        std::thread::sleep(chance.duration(Duration::ZERO..takes));
        process.kill();
        let list = story.receiver.command(&["erase", "list"])?;
        interrupted +=
            u32::from(list[0]["began_us"].is_number() && list[0]["finished_us"].is_null());
        let mut process = serve(&story)?;
        assert_eq!(end_state(&story.erased()?), unkilled);
        process.kill();
        assert_eq!(rows_of_other(&story.data())?, others);
        let found = files_with(&story.data(), &[NAME, SITE, LOGIN])?;
        assert!(found.is_empty(), "{found:?}");
        let verified = story.receiver.command_raw(&["verify"])?;
        assert!(verified.status.success(), "{verified:?}");
    }
    eprintln!("{interrupted} of {KILLS} kills came in the middle of it; it takes {takes:?}");
    assert!(
        interrupted > 0,
        "no kill came in the middle: nothing was tried"
    );
    Ok(())
}

/// Without waiting for anything: the kill may come before it listens.
fn serve(story: &Story) -> Result<Process> {
    let log = story.folder.path().join("killed.log");
    Process::start("cloud-receiver", serving(story)?, &log)
}

fn serving(story: &Story) -> Result<Command> {
    let mut command = Command::new(program("cloud-receiver")?);
    let config = story.receiver.config();
    command
        .args(["serve", "--config"])
        .arg(config)
        .env("RUST_LOG", "warn");
    Ok(command)
}

/// All of a certificate but ids and times.
fn end_state(row: &Value) -> Value {
    let certificate = &row["certificate"];
    let steps = certificate["steps"].as_array().cloned().unwrap_or_default();
    serde_json::json!({
        "counts": certificate["counts"],
        "steps": steps.iter().map(|step| step["step"].clone()).collect::<Vec<_>>(),
        "devices": certificate["devices"],
        "reason": certificate["order"]["reason"],
        "step": row["step"],
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["-a", "--"])
        .arg(from)
        .arg(to)
        .status()?;
    ensure!(status.success(), "cp ended with {status}");
    Ok(())
}
