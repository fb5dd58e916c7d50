//! Clause 13: the operator's backup. Everything is lost and brought back; but what was erased stays erased.

use crate::story::{deliver, enrolled};
use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::fault::Chance;
use e2e::process::program;
use e2e::receiver::{Account, Receiver};
use e2e::wait;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const KILLS: u32 = 25;

/// What nobody may find in a backup: the customer, a place, a person.
const NAME: &str = "株式会社消失商事";
const SITE: &str = "第八消失倉庫";
const LOGIN: &str = "shoushitsu-tanaka";
const MAIL: &str = "shoushitsu@example.jp";
const OTHER: &str = "株式会社存続";
const OTHER_SITE: &str = "残る倉庫";
const OTHER_LOGIN: &str = "nokoru-suzuki";
const WORDS: [&str; 7] = [NAME, SITE, LOGIN, MAIL, OTHER, OTHER_SITE, OTHER_LOGIN];

/// Tables that say nothing that changes by itself while nobody delivers.
const TABLES: [&str; 22] = [
    "batch",
    "blob",
    "boot",
    "camera",
    "camera_state",
    "command",
    "contract",
    "contract_key",
    "event",
    "event_batch",
    "event_class",
    "event_hour",
    "event_source",
    "gap",
    "heads",
    "media",
    "minute_count",
    "operator",
    "rejection",
    "site",
    "state_change",
    "stored_range",
];

type Rows = BTreeMap<String, Vec<Vec<Sql>>>;

/// A receiver with two customers, each with a box that has delivered.
struct Story {
    receiver: Receiver,
    account: Account,
    other: Account,
    folder: TempDir,
}

impl Story {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
        receiver.configure("wait_for_devices_hours = 12", "wait_for_devices_hours = 0")?;
        receiver.serve()?;
        let account = receiver.customer(NAME, SITE, LOGIN)?;
        receiver.command(&["contract", "set", NAME, "--contact", MAIL])?;
        let other = receiver.customer(OTHER, OTHER_SITE, OTHER_LOGIN)?;
        for (number, site) in [(1, SITE), (2, OTHER_SITE)] {
            let agent = enrolled(
                &receiver,
                &folder.path().join(format!("box-{number}")),
                site,
            )?;
            deliver(&agent, folder.path(), 60, number)?;
        }
        receiver.command(&["heads", "now"])?;
        Ok(Self {
            receiver,
            account,
            other,
            folder,
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("receiver/data")
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn backup(&self) -> Result<Value> {
        self.receiver
            .command(&["backup", "--out", text(&self.to())?])
    }

    fn verify_backup(&self) -> Result<Value> {
        let to = self.to();
        self.receiver
            .command(&["backup", "verify", "--from", text(&to)?])
    }

    fn restore(&self) -> Result<Value> {
        let to = self.to();
        self.receiver.command(&["restore", "--from", text(&to)?])
    }

    fn lose_everything(&mut self) -> Result<()> {
        self.receiver.stop()?;
        Ok(fs::remove_dir_all(self.data())?)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("plain names")
}

/// Of a contract alone, or of everybody.
fn rows(data: &Path, contract: Option<&str>) -> Result<Rows> {
    let database = Connection::open(data.join("receiver.db"))?;
    let mut found = Rows::new();
    for table in TABLES {
        let of = match contract {
            None => "",
            Some(_) if !has_contract(&database, table)? => continue,
            Some(_) => "where contract = (select id from contract where name = ?1)",
        };
        let mut statement = database.prepare(&format!("select * from {table} {of}"))?;
        let columns = statement.column_count();
        let rows = statement.query_map(rusqlite::params_from_iter(contract), |row| {
            (0..columns).map(|at| row.get(at)).collect()
        })?;
        let rows: Vec<Vec<Sql>> = rows.collect::<rusqlite::Result<_>>()?;
        found.insert(table.to_owned(), rows);
    }
    for table in ["blob", "event", "media"] {
        ensure!(!found[table].is_empty(), "there is nothing in {table}");
    }
    Ok(found)
}

fn has_contract(database: &Connection, table: &str) -> Result<bool> {
    let sql = "select count(*) from pragma_table_info(?1) where name = 'contract'";
    Ok(database.query_row(sql, [table], |row| row.get::<_, i64>(0))? == 1)
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
        let holds = |word: &&&str| {
            let mut parts = bytes.windows(word.len());
            parts.any(|part| part == word.as_bytes())
        };
        let words = words.iter().filter(holds);
        found.extend(words.map(|word| format!("{word} in {}", path.display())));
    }
    Ok(found)
}

/// What a customer sees: the events of the newest page, and the pictures on it.
async fn seen(receiver: &Receiver, account: &Account) -> Result<(Vec<String>, Vec<Vec<u8>>)> {
    let customer = Customer::sign_in(receiver, account).await?;
    let page = customer.page("/events").await?;
    let marks = page.split("data-event=\"").skip(1);
    let events: Vec<_> = marks.map(|rest| rest[..36].to_owned()).collect();
    ensure!(!events.is_empty(), "no events: {page}");
    let mut pictures = Vec::new();
    for address in customer.pictures("/events").await? {
        let picture = customer.get(&address).await?;
        ensure!(picture.status().is_success(), "{address}");
        pictures.push(picture.bytes().await?.to_vec());
    }
    ensure!(!pictures.is_empty(), "no pictures");
    Ok((events, pictures))
}

fn must_verify(receiver: &Receiver) -> Result<()> {
    for args in [&["verify"][..], &["audit", "verify"]] {
        let verified = receiver.command_raw(args)?;
        let printed = String::from_utf8_lossy(&verified.stdout).into_owned();
        ensure!(verified.status.success(), "{args:?}: {printed}");
    }
    Ok(())
}

fn must_refuse(receiver: &Receiver, args: &[&str], word: &str) -> Result<()> {
    let refused = receiver.command_raw(args)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(1) && said.contains(word),
        "{args:?} was to be refused with {word}: {said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_13_backup_while_running_and_restore_after_the_data_is_gone() -> Result<()> {
    let mut story = Story::new()?;
    let late = enrolled(&story.receiver, &story.folder.path().join("box-3"), SITE)?;
    // While a box delivers: whole whenever it is made.
    std::thread::scope(|scope| -> Result<()> {
        let delivering = scope.spawn(|| deliver(&late, story.folder.path(), 2_000, 3));
        while !delivering.is_finished() {
            story.backup()?;
            let checked = story.verify_backup()?;
            ensure!(checked["problems"] == Value::Array(vec![]), "{checked}");
        }
        delivering.join().expect("it does not panic")
    })?;
    let before = seen(&story.receiver, &story.account).await?;
    let first = story.backup()?;
    let made = story.backup()?;
    ensure!(first["objects"].as_u64() >= Some(200), "{first}");
    assert_eq!(made["objects_copied"], 0, "they are there already: {made}");
    let listed = story
        .receiver
        .command(&["backup", "list", "--from", text(&story.to())?])?;
    let listed = listed.as_array().context("a list")?;
    assert!(listed.len() <= 7, "older ones are deleted");
    assert_eq!(
        listed.last().context("one")?["generation"],
        made["generation"]
    );
    let found = files_with(&story.to(), &WORDS)?;
    assert!(found.is_empty(), "{found:?}");

    let to = story.to();
    let restore = ["restore", "--from", text(&to)?];
    must_refuse(&story.receiver, &restore, "stop the receiver first")?;
    story.receiver.stop()?;
    must_refuse(&story.receiver, &restore, "is not empty")?;
    let held = rows(&story.data(), None)?;
    story.lose_everything()?;
    let restored = story.restore()?;
    assert_eq!(restored["generation"], made["generation"]);
    assert_eq!(restored["made_at_us"], made["made_at_us"]);
    assert_eq!(restored["problems"], Value::Array(vec![]));
    assert_eq!(rows(&story.data(), None)?, held);

    // The same receiver: for its operator, for its customers, and for its boxes.
    story.receiver.serve()?;
    must_verify(&story.receiver)?;
    assert_eq!(seen(&story.receiver, &story.account).await?, before);
    seen(&story.receiver, &story.other).await?;
    let noted = story
        .receiver
        .command(&["audit", "list", "--action", "backup"])?;
    assert_eq!(noted[0]["action"], "backup.restore");
    deliver(&late, story.folder.path(), 20, 4)?;
    let after = seen(&story.receiver, &story.account).await?;
    assert_ne!(after.0, before.0, "new events come in");
    must_verify(&story.receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_13_an_erased_contract_does_not_come_back_from_a_backup() -> Result<()> {
    let mut story = Story::new()?;
    let before = seen(&story.receiver, &story.other).await?;
    let contracts = story.receiver.command(&["contract", "list"])?;
    let mut contracts = contracts.as_array().context("a list")?.iter();
    let id = contracts
        .find(|contract| contract["name"] == NAME)
        .context("the contract")?["id"]
        .clone();
    let made = story.backup()?;
    assert_eq!(made["contracts"], 2);
    let others = rows(&story.data(), Some(OTHER))?;
    let old_keys = story.folder.path().join("old-keys.json");
    story
        .receiver
        .command(&["key", "backup", "--out", text(&old_keys)?])?;
    let ordered = [
        "erase",
        "run",
        NAME,
        "--now",
        "--why",
        "申出による",
        "--yes",
    ];
    story.receiver.command(&ordered)?;
    wait::until("the erasure", PATIENCE, || {
        let list = story.receiver.command(&["erase", "list"]).ok()?;
        list[0]["finished_us"].is_number().then_some(())
    })?;
    let certificate = story.folder.path().join("certificate.json");
    let certificate = text(&certificate)?;
    story
        .receiver
        .command(&["erase", "certificate", NAME, "--out", certificate])?;
    let checked = story.verify_backup()?;
    assert_eq!(checked["erased"], Value::Array(vec![id.clone()]));
    assert_eq!(checked["problems"], Value::Array(vec![]));

    // Whichever copy of the keys is at hand: the certificate says that it is erased.
    story.lose_everything()?;
    let own = story
        .folder
        .path()
        .join("receiver/data-keys/contract-keys.json");
    let to = story.to();
    let restore = ["restore", "--from", text(&to)?, "--keys"];
    for keys in [&old_keys, &own] {
        if story.data().exists() {
            fs::remove_dir_all(story.data())?;
        }
        let certified = [text(keys)?, "--certificate", certificate];
        let restored = story
            .receiver
            .command(&[&restore[..], &certified].concat())?;
        assert_eq!(restored["erased"], Value::Array(vec![id.clone()]));
        assert_eq!(restored["contracts"], 1);
    }
    // Without it, the key backup of today.
    fs::remove_dir_all(story.data())?;
    let restored = story.restore()?;
    assert_eq!(restored["erased"], Value::Array(vec![id.clone()]));
    fs::remove_dir_all(story.data())?;
    let certified = ["--certificate", certificate];
    let restored = story
        .receiver
        .command(&[&restore[..3], &certified].concat())?;
    assert_eq!(restored["contracts"], 1);
    assert_eq!(rows(&story.data(), Some(OTHER))?, others);
    let found = files_with(&story.data(), &[NAME, SITE, LOGIN, MAIL])?;
    assert!(found.is_empty(), "{found:?}");
    let blobs = story.data().join("blobs");
    let id = id.as_str().context("its id")?;
    assert!(!blobs.join(id).exists(), "its pictures are not there");

    story.receiver.serve()?;
    must_verify(&story.receiver)?;
    assert_eq!(seen(&story.receiver, &story.other).await?, before);
    assert!(
        Customer::sign_in(&story.receiver, &story.account)
            .await
            .is_err()
    );
    let listed = story.receiver.command(&["contract", "list"])?;
    let listed = listed.as_array().context("a list")?;
    assert!(listed.iter().all(|contract| contract["name"] != NAME));
    Ok(())
}

#[test]
fn clause_13_killed_25_times_during_backup_and_restore() -> Result<()> {
    let mut chance = Chance::new("clause_13_killed");
    let mut story = Story::new()?;
    story.receiver.stop()?;
    let held = rows(&story.data(), None)?;
    let begun = Instant::now();
    story.backup()?;
    let backup_takes = begun.elapsed();
    let elsewhere = Elsewhere::new(&story)?;
    let begun = Instant::now();
    elsewhere.restore_to_the_end()?;
    let restore_takes = begun.elapsed();
    assert_eq!(rows(&elsewhere.data, None)?, held);
    let mut interrupted = [0, 0];
    for kill in 0..KILLS {
        if kill % 2 == 0 {
            let known = story.verify_backup()?["generation"].clone();
            let to = story.to();
            // Every other time nothing was copied before.
            if kill % 4 == 0 {
                fs::remove_dir_all(to.join("objects"))?;
                fs::remove_dir_all(to.join("generations"))?;
            }
            let args = ["backup", "--out", text(&to)?];
            let mut child = start(story.receiver.config(), &args)?;
            std::thread::sleep(chance.duration(Duration::ZERO..backup_takes));
            interrupted[0] += u32::from(kill_it(&mut child)?);
            let left = story
                .receiver
                .command(&["backup", "list", "--from", text(&to)?])?;
            if kill % 4 != 0 {
                let left = left.as_array().context("a list")?;
                assert!(
                    left.iter().any(|it| it["generation"] == known),
                    "the former backup is there"
                );
            }
            if left.as_array().is_some_and(|left| !left.is_empty()) {
                let checked = story.verify_backup()?;
                assert_eq!(checked["problems"], Value::Array(vec![]));
            }
            story.backup()?;
            let checked = story.verify_backup()?;
            assert_eq!(checked["problems"], Value::Array(vec![]));
        } else {
            fs::remove_dir_all(&elsewhere.data)?;
            let args = elsewhere.args()?;
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut child = start(&elsewhere.config, &args)?;
            std::thread::sleep(chance.duration(Duration::ZERO..restore_takes));
            interrupted[1] += u32::from(kill_it(&mut child)?);
            elsewhere.restore_to_the_end()?;
            assert_eq!(rows(&elsewhere.data, None)?, held);
        }
    }
    eprintln!(
        "{interrupted:?} of {KILLS} kills came in the middle; a backup takes {backup_takes:?}, a restore {restore_takes:?}"
    );
    assert!(interrupted.iter().all(|count| *count > 0));
    Ok(())
}

/// The same receiver on a machine whose disk is new.
struct Elsewhere {
    config: PathBuf,
    data: PathBuf,
    keys: PathBuf,
    from: PathBuf,
}

impl Elsewhere {
    fn new(story: &Story) -> Result<Self> {
        let data = story.folder.path().join("receiver/elsewhere");
        let config = story.folder.path().join("elsewhere.toml");
        let told = fs::read_to_string(story.receiver.config())?;
        let was = format!("{:?}", text(&story.data())?);
        ensure!(told.contains(&was), "where data is: {told}");
        let told = told.replace(&was, &format!("{:?}", text(&data)?));
        fs::write(&config, told)?;
        let keys = story
            .folder
            .path()
            .join("receiver/data-keys/contract-keys.json");
        Ok(Self {
            config,
            data,
            keys,
            from: story.to(),
        })
    }

    fn args(&self) -> Result<Vec<String>> {
        let words = ["restore", "--from", text(&self.from)?];
        let mut args: Vec<String> = words.map(Into::into).into();
        args.extend(["--keys".into(), text(&self.keys)?.into()]);
        Ok(args)
    }

    /// What an interrupted one needs: the same command again. Where it had come to its end, it is refused.
    fn restore_to_the_end(&self) -> Result<()> {
        let args = self.args()?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let is_there = self.data.join("receiver.db").exists();
        let is_whole = is_there && !self.data.join("restoring").exists();
        let ended = start(&self.config, &args)?.wait()?;
        ensure!(ended.success() != is_whole, "restore ended with {ended}");
        Ok(())
    }
}

fn start(config: &Path, args: &[&str]) -> Result<Child> {
    let mut command = Command::new(program("cloud-receiver")?);
    command.args(args).arg("--config").arg(config);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command.stderr(Stdio::null()).spawn()?)
}

/// Whether it was not yet at its end.
fn kill_it(child: &mut Child) -> Result<bool> {
    child.kill()?;
    Ok(!child.wait()?.success())
}
