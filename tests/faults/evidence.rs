//! Evidence: whatever is done to an export, or to the receiver's own database, `verify` names it; what is missing,
//! `audit deliveries` names; and the signed heads go out.

use anyhow::{Context, Result, bail, ensure};
use cloud_receiver::evidence::container::{Container, Writer};
use cloud_receiver::keys::Keys;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::{Chance, Site, Size};
use e2e::process::{free_port, program, run};
use e2e::wait;
use rusqlite::Connection;
use serde_json::Value;
use std::io::Cursor;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use wire::evidence::manifest::{MANIFEST, Manifest, SIGNATURE};
use wire::{Sha256, SignedBatch};

const PATIENCE: Duration = Duration::from_secs(60);

/// A site with two epochs of records and pictures delivered, and heads in a folder outside.
struct Story {
    site: Site,
    heads: PathBuf,
    key: String,
}

impl Story {
    fn new(chance: &Chance) -> Result<Self> {
        let site = Site::new()?;
        let heads = site.folder().join("kept-elsewhere");
        set(
            &site,
            "path = \"\"",
            &format!("path = \"{}\"", text(&heads)),
        )?;
        let story = Self {
            key: String::new(),
            heads,
            site,
        };
        story.feed(chance, 30)?;
        story.feed(chance, 30)?;
        let made = story.site.receiver.command(&["heads", "now"])?;
        let key = made["receiver_key"].as_str().context("the key")?.to_owned();
        Ok(Self { key, ..story })
    }

    /// One more epoch.
    fn feed(&self, chance: &Chance, events: u64) -> Result<()> {
        let options = Options {
            seed: chance.seed(),
            ..Options::default()
        };
        let mut feeder = self.site.start_feeder(&options)?;
        let feed = Feed {
            events,
            picture_every: 5,
            picture_bytes: 2_000,
            at_once: 4,
            ..Feed::default()
        };
        feeder.put_all(feed, PATIENCE)?;
        feeder.drained(PATIENCE)?;
        feeder.stop()
    }

    fn export(&self, name: &str) -> Result<PathBuf> {
        self.export_of(name, "2020-01-01", "2099-01-01")
    }

    fn export_of(&self, name: &str, from: &str, to: &str) -> Result<PathBuf> {
        let file = self.site.folder().join(name);
        let args = [
            "export",
            "--contract",
            "契約",
            "--from",
            from,
            "--to",
            to,
            "--out",
            text(&file),
        ];
        self.site.receiver.command(&args)?;
        Ok(file)
    }

    /// As whoever got the file checks it: with nothing but the file, the heads and the key.
    fn verify(&self, export: &Path, heads: bool) -> Result<Told> {
        let mut args = vec![
            "verify",
            "--export",
            text(export),
            "--receiver-key",
            &self.key,
        ];
        if heads {
            args.extend(["--heads", text(&self.heads)]);
        }
        Told::of(run("cloud-receiver", args)?)
    }

    fn verify_store(&self, heads: bool) -> Result<Told> {
        let mut args = vec!["verify"];
        if heads {
            args.extend(["--heads", text(&self.heads)]);
        }
        Told::of(self.site.receiver.command_raw(&args)?)
    }

    fn data(&self) -> PathBuf {
        self.site.receiver.config().with_file_name("data")
    }

    fn keys(&self) -> Result<Keys> {
        Ok(Keys::load(
            &self.site.receiver.config().with_file_name("keys"),
        )?)
    }

    fn database(&self) -> Result<Connection> {
        Ok(Connection::open(self.data().join("receiver.db"))?)
    }
}

/// What a command said, and its exit code.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) words: String,
}

impl Told {
    pub(crate) fn of(output: Output) -> Result<Self> {
        let words = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        Ok(Self {
            code: output.status.code().context("it was killed")?,
            words,
        })
    }

    pub(crate) fn must(&self, case: &str, code: i32, sentences: &[&str]) -> Result<()> {
        ensure!(
            self.code == code,
            "{case}: exit code {} instead of {code}\n{}",
            self.code,
            self.words
        );
        for sentence in sentences {
            ensure!(
                self.words.contains(sentence),
                "{case}: \"{sentence}\" is not said in\n{}",
                self.words
            );
        }
        Ok(())
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

fn set(site: &Site, from: &str, to: &str) -> Result<()> {
    let path = site.receiver.config();
    let config = std::fs::read_to_string(path)?;
    ensure!(config.contains(from), "the configuration has no {from}");
    Ok(std::fs::write(path, config.replacen(from, to, 1))?)
}

type Files = Vec<(String, Vec<u8>)>;

fn unpack(export: &Path) -> Result<Files> {
    let mut container = Container::open(Cursor::new(std::fs::read(export)?))?;
    let mut files = Vec::new();
    for entry in container.entries().to_vec() {
        let mut bytes = Vec::new();
        container.read(&entry, |piece| bytes.extend_from_slice(piece))?;
        files.push((entry.name, bytes));
    }
    Ok(files)
}

fn pack(files: &Files, path: &Path) -> Result<()> {
    let (mut writer, mut bytes) = (Writer::default(), Vec::new());
    for (name, content) in files {
        bytes.extend(writer.file(name, content)?);
        bytes.extend_from_slice(content);
    }
    bytes.extend(writer.finish());
    Ok(std::fs::write(path, bytes)?)
}

fn places(files: &Files, prefix: &str) -> Vec<usize> {
    let found = files
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| name.starts_with(prefix));
    found.map(|(index, _)| index).collect()
}

/// As a receiver that wants to hide something would do: a new manifest over what is left, rightly signed.
fn sign_anew(files: &mut Files, keys: &Keys, change: impl FnOnce(&mut Manifest)) -> Result<()> {
    let at = |files: &Files, name| {
        files
            .iter()
            .position(|(path, _)| path == name)
            .context("a manifest")
    };
    let manifest_at = at(files, MANIFEST)?;
    let mut manifest: Manifest = serde_json::from_slice(&files[manifest_at].1)?;
    manifest
        .files
        .retain(|listed| files.iter().any(|(name, _)| *name == listed.path));
    for listed in &mut manifest.files {
        let (_, bytes) = files
            .iter()
            .find(|(name, _)| *name == listed.path)
            .context("kept above")?;
        (listed.bytes, listed.sha256) = (bytes.len() as u64, Sha256::of(bytes));
    }
    change(&mut manifest);
    let json = manifest.to_json();
    let signature = Manifest::sign(&json, &keys.evidence);
    files[manifest_at].1 = json;
    let signature_at = at(files, SIGNATURE)?;
    files[signature_at].1 = signature.into_bytes();
    Ok(())
}

fn batches(file: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut found) = (file, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (batch, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        found.push(batch);
        rest = after;
    }
    found
}

fn joined(batches: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    batches
        .iter()
        .for_each(|batch| wire::evidence::export::append_batch(&mut file, batch));
    file
}

/// "epoch X, record(s) a-b", as sentences name them.
fn numbers(batch: &[u8]) -> Result<String> {
    let batch = SignedBatch::from_bytes(batch.to_vec())?.parse()?;
    Ok(named(
        &batch.epoch.to_string(),
        batch.first_seq.0,
        batch.last_seq().0,
    ))
}

fn named(epoch: &str, first: u64, last: u64) -> String {
    if first == last {
        format!("epoch {epoch}, record {first}")
    } else {
        format!("epoch {epoch}, records {first}-{last}")
    }
}

#[test]
fn evidence_every_tampering_with_an_export_is_named() -> Result<()> {
    let mut chance = Chance::new("evidence_export");
    let story = Story::new(&chance)?;
    let export = story.export("export.zip")?;
    let good = unpack(&export)?;
    let device = story.site.device.to_string();
    story
        .verify(&export, true)?
        .must("untouched", 0, &["GENUINE AND COMPLETE", &device])?;
    story.verify(&export, false)?.must(
        "without heads",
        0,
        &["did not cut off the tail", "CANNOT BE SAID"],
    )?;

    let case = |name: &str,
                code: i32,
                sentences: &[&str],
                change: &dyn Fn(&mut Files) -> Result<()>|
     -> Result<()> {
        let mut files = good.clone();
        change(&mut files)?;
        let file = story.site.folder().join("tampered.zip");
        pack(&files, &file)?;
        story.verify(&file, true)?.must(name, code, sentences)
    };
    let pictures = places(&good, "pictures/");
    let records = places(&good, "records/");
    let (first_picture, first_name) = (pictures[0], good[pictures[0]].0.clone());
    let second_name = good[pictures[1]].0.clone();
    ensure!(
        pictures.len() >= 10 && records.len() >= 2,
        "the story is too short"
    );

    let changed = format!("({first_name}): changed or swapped");
    case(
        "a byte of a picture",
        1,
        &["NOT GENUINE", &changed],
        &|files| {
            files[first_picture].1[700] ^= 1;
            Ok(())
        },
    )?;
    let other_changed = format!("({second_name}): changed or swapped");
    case(
        "two pictures swapped",
        1,
        &[&changed, &other_changed],
        &|files| {
            let other = files[pictures[1]].1.clone();
            files[pictures[1]].1 = std::mem::replace(&mut files[first_picture].1, other);
            Ok(())
        },
    )?;
    let gone = format!(
        "picture {}: removed; device {device}, epoch ",
        Sha256::of(&good[first_picture].1)
    );
    case("a picture removed", 1, &[&gone], &|files| {
        files.remove(first_picture);
        Ok(())
    })?;
    case(
        "a file added",
        1,
        &["pictures/extra.jpg was added"],
        &|files| {
            files.insert(0, ("pictures/extra.jpg".into(), b"extra".to_vec()));
            Ok(())
        },
    )?;
    case(
        "the index changed",
        1,
        &["index.html was changed"],
        &|files| {
            let index = places(files, "index.html")[0];
            files[index].1.push(b' ');
            Ok(())
        },
    )?;
    case(
        "the manifest changed",
        1,
        &["manifest.json was changed"],
        &|files| {
            let at = places(files, MANIFEST)[0];
            let text = String::from_utf8(files[at].1.clone())?.replacen("契約", "契約書", 1);
            files[at].1 = text.into_bytes();
            Ok(())
        },
    )?;

    // What follows even the receiver can do with its own key, and a device's batches stand against it.
    let part = records[0];
    let of_part = batches(&good[part].1);
    let middle = of_part[of_part.len() / 2];
    let middle_at = of_part.len() / 2;
    let sentence = format!("device {device}, {}", numbers(middle)?);
    let keys = story.keys()?;
    case(
        "a byte of a batch",
        1,
        &[&sentence, "the device's signature does not fit"],
        &|files| {
            let mut bytes = middle.to_vec();
            let last = bytes.len() - 70;
            bytes[last] ^= 1;
            let mut all = of_part.clone();
            all[middle_at] = &bytes;
            files[part].1 = joined(&all);
            sign_anew(files, &keys, |_| {})
        },
    )?;
    case(
        "a batch removed",
        1,
        &[&format!("{sentence}: removed")],
        &|files| {
            let mut all = of_part.clone();
            all.remove(middle_at);
            files[part].1 = joined(&all);
            sign_anew(files, &keys, |_| {})
        },
    )?;
    case(
        "a batch twice",
        1,
        &[&sentence, "the same batch stands there twice"],
        &|files| {
            let mut all = of_part.clone();
            all.insert(middle_at, middle);
            files[part].1 = joined(&all);
            sign_anew(files, &keys, |_| {})
        },
    )?;
    case(
        "two batches swapped",
        1,
        &["reordered, the batch stands after a later one"],
        &|files| {
            let mut all = of_part.clone();
            all.swap(middle_at, middle_at - 1);
            files[part].1 = joined(&all);
            sign_anew(files, &keys, |_| {})
        },
    )?;
    a_cut_tail_is_told_by_heads_only(&story, &good, &keys)?;
    who_is_to_be_trusted_must_be_said(&story, &export)?;

    let bytes = std::fs::read(&export)?;
    let flips = Size::from_env().of(20, 1_000);
    for _ in 0..flips {
        let mut flipped = bytes.clone();
        let at = below(&mut chance, bytes.len());
        flipped[at] ^= 1 << below(&mut chance, 8);
        let file = story.site.folder().join("flipped.zip");
        std::fs::write(&file, &flipped)?;
        let told = story.verify(&file, true)?;
        ensure!(
            told.code != 0,
            "byte {at} was changed unseen\n{}",
            told.words
        );
    }
    let cut = &bytes[..below(&mut chance, bytes.len())];
    std::fs::write(story.site.folder().join("cut.zip"), cut)?;
    let told = story.verify(&story.site.folder().join("cut.zip"), true)?;
    ensure!(told.code != 0, "a cut to {} bytes was not seen", cut.len());
    Ok(())
}

fn below(chance: &mut Chance, end: usize) -> usize {
    usize::try_from(chance.number(0..end as u64)).expect("an index")
}

fn a_cut_tail_is_told_by_heads_only(story: &Story, good: &Files, keys: &Keys) -> Result<()> {
    let mut files = good.clone();
    let manifest_at = places(&files, MANIFEST)[0];
    let manifest: Manifest = serde_json::from_slice(&files[manifest_at].1)?;
    // The epoch that was fed last holds the later records.
    let heads: Value =
        serde_json::from_slice(&std::fs::read(story.heads.join("heads-000001.json"))?)?;
    let section: Value = serde_json::from_str(heads["sections"][0].as_str().context("a section")?)?;
    let epochs = section["devices"][0]["epochs"]
        .as_array()
        .context("epochs")?;
    let newest = epochs.last().context("an epoch")?["epoch"]
        .as_str()
        .context("its name")?;
    let part = files
        .iter()
        .rposition(|(name, _)| name.starts_with("records/") && name.contains(newest))
        .context("the newest epoch")?;
    let bytes = files[part].1.clone();
    let mut all = batches(&bytes);
    let mut named_pictures = Vec::new();
    let cut = all.pop().context("a batch")?;
    let cut = SignedBatch::from_bytes(cut.to_vec())?.parse()?;
    for record in &cut.records {
        let record: Value = serde_json::from_slice(record)?;
        named_pictures.extend(record["sha256"].as_str().map(str::to_owned));
    }
    files[part].1 = joined(&all);
    files.retain(|(_, bytes)| !named_pictures.contains(&Sha256::of(bytes).to_string()));
    // Its own copy of the heads would speak against it.
    files.retain(|(name, _)| !name.starts_with("heads/"));
    ensure!(!manifest.devices.is_empty());
    sign_anew(&mut files, keys, |_| {})?;
    let file = story.site.folder().join("cut-tail.zip");
    pack(&files, &file)?;
    story.verify(&file, false)?.must(
        "a cut tail without heads",
        0,
        &["did not cut off the tail"],
    )?;
    let have = format!("it ends at record {}", cut.first_seq.0 - 1);
    let stated = format!("say that the receiver held {}", cut.last_seq());
    let sentences = [newest, "cut off at the tail", &have, "heads no. 1", &stated];
    story.verify(&file, true)?.must("a cut tail", 1, &sentences)
}

fn who_is_to_be_trusted_must_be_said(story: &Story, export: &Path) -> Result<()> {
    let alone = Told::of(run("cloud-receiver", ["verify", "--export", text(export)])?)?;
    alone.must(
        "nobody named the key",
        2,
        &["CANNOT BE SAID", "--receiver-key", &story.key],
    )?;
    let args = [
        "verify",
        "--export",
        text(export),
        "--heads",
        text(&story.heads),
    ];
    Told::of(run("cloud-receiver", args)?)?.must(
        "the key from kept heads",
        0,
        &["from the heads you kept"],
    )?;
    let other = wire::SigningKey::generate().verifying_key().to_string();
    let args = ["verify", "--export", text(export), "--receiver-key", &other];
    Told::of(run("cloud-receiver", args)?)?.must(
        "another key",
        1,
        &["manifest.json was changed"],
    )?;
    let args = ["verify", "--export", "/nowhere.zip"];
    Told::of(run("cloud-receiver", args)?)?.must("no file", 2, &["/nowhere.zip"])
}

#[test]
fn evidence_every_part_of_the_time_exports_genuine_and_complete() -> Result<()> {
    let mut chance = Chance::new("evidence_ranges");
    let mut story = Story::new(&chance)?;
    story.feed(&chance, 20)?;
    let made = story.site.receiver.command(&["heads", "now"])?;
    ensure!(made["number"] == 2, "{made}");
    let (first, last): (i64, i64) = story.database()?.query_row(
        "select min(captured_device_us), max(captured_device_us) from record",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    story.site.receiver.stop()?;
    let second = |us: i64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let span = u64::try_from(last - first)? + 2_000_000;
    for number in 0..Size::from_env().of(8, 200) {
        let mut at =
            || -> Result<i64> { Ok(first - 1_000_000 + i64::try_from(chance.number(0..span))?) };
        let (a, b) = (at()?, at()?);
        let (from, to) = (utc(a.min(b))?, utc(a.max(b) + 1)?);
        let file = story.export_of(&format!("part-{number}.zip"), &from, &to)?;
        let case = format!(
            "{from} to {to} ({} to {})",
            second(a.min(b)),
            second(a.max(b))
        );
        let held: i64 = story.database()?.query_row(
            "select count(*) from record where captured_device_us between ?1 and ?2",
            [a.min(b), a.max(b)],
            |row| row.get(0),
        )?;
        // Of a time in which nothing happened there is no record that heads could vouch for.
        let word = if held > 0 {
            "GENUINE AND COMPLETE"
        } else {
            "GENUINE"
        };
        story.verify(&file, true)?.must(&case, 0, &[word])?;
        let pictures = unpack(&file)?
            .iter()
            .filter(|(name, _)| name.starts_with("pictures/"))
            .count();
        let expected: i64 = story.database()?.query_row(
            "select count(*) from media where captured_us between ?1 and ?2",
            [a.min(b), a.max(b)],
            |row| row.get(0),
        )?;
        ensure!(
            pictures == usize::try_from(expected)?,
            "{case}: {pictures} pictures instead of {expected}"
        );
    }
    Ok(())
}

/// As the command line takes it.
fn utc(us: i64) -> Result<String> {
    let done = Command::new("date")
        .args([
            "-u",
            "+%Y-%m-%dT%H:%M:%S",
            "-d",
            &format!("@{}", us / 1_000_000),
        ])
        .output()?;
    let seconds = String::from_utf8(done.stdout)?;
    Ok(format!("{}.{:06}Z", seconds.trim(), us % 1_000_000))
}

#[test]
fn evidence_every_change_of_the_receivers_own_store_is_named() -> Result<()> {
    let chance = Chance::new("evidence_store");
    let mut story = Story::new(&chance)?;
    story
        .verify_store(true)?
        .must("untouched", 0, &["GENUINE AND COMPLETE"])?;
    story.site.receiver.stop()?;
    let saved = story.site.folder().join("saved");
    copy(&story.data(), &saved)?;
    let device = story.site.device.to_string();

    let one = |sql: &str| -> Result<(i64, String, u64, u64)> {
        Ok(story.database()?.query_row(sql, [], |row| {
            let epoch = format!("{:016x}", row.get::<_, i64>(1)?.cast_unsigned());
            Ok((
                row.get(0)?,
                epoch,
                row.get::<_, i64>(2)?.cast_unsigned(),
                row.get::<_, i64>(3)?.cast_unsigned(),
            ))
        })?)
    };
    let columns = "select no, epoch, first_seq, last_seq from batch b";
    let middle = one(&format!(
        "{columns} where first_seq > 1 order by no limit 1 offset 2"
    ))?;
    let last = one(&format!(
        "{columns} where last_seq = (select max(last_seq) from batch c where c.epoch = b.epoch) order by no desc limit 1"
    ))?;
    let middle_named = format!("device {device}, {}", named(&middle.1, middle.2, middle.3));
    let cases: [(&str, String, Vec<&str>); 9] = [
        ("a batch is deleted", format!("delete from batch where no = {}", middle.0), vec![&middle_named, "removed, heads no. 1 say"]),
        (
            "a batch is deleted and the book made to fit",
            format!(
                "update stored_range set last_seq = last_seq - {1} where last_seq = {2} and epoch = (select epoch from batch where no = {0});
                 delete from batch where no = {0}; delete from media where batch = {0}; delete from event where batch = {0};",
                last.0, last.3 - last.2 + 1, last.3
            ),
            vec!["cut off at the tail", &last.1, "heads no. 1"],
        ),
        ("a sealed byte is changed", format!("update batch set sealed = zeroblob(length(sealed)) where no = {}", middle.0), vec![&middle_named, "its seal does not open"]),
        ("an event's class is changed", "update event set class = 'vehicle' where no = 1".into(), vec!["what the database shows (event: class)"]),
        ("an event is deleted", "delete from event where no = 1".into(), vec!["what the database shows (the event is gone)"]),
        (
            "an event is made up",
            "insert into event select 9999, contract, zeroblob(16), device, camera, revision, class, score, opened_us, last_seen_us,
                closed_us, opened_device_us, captured_device_us, boot, boottime_us, synced, received_us, batch, seq
             from event where no = 1".into(),
            vec!["what the database shows (no signed batch holds it)"],
        ),
        (
            "a record is left out of the count",
            format!("update batch set records = json_set(records, '$[0]', null) where no = {}", middle.0),
            vec!["what the database shows (its row is gone)"],
        ),
        ("a picture is said to be of another time", "update media set captured_device_us = captured_device_us - 60000000 where no = 1".into(), vec!["what the database shows (picture: time)"]),
        ("the heads are deleted", "delete from heads".into(), vec!["the receiver's own list of heads was cut off: it ends with no. 0, and no. 1 was sent out"]),
    ];
    for (name, sql, sentences) in &cases {
        story
            .database()?
            .execute_batch(&format!("pragma foreign_keys = off; {sql}"))?;
        story.verify_store(true)?.must(name, 1, sentences)?;
        copy(&saved, &story.data())?;
    }

    let blobs = files_below(&story.data().join("blobs"))?;
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let (one, two) = (&blobs[0], &blobs[1]);
    let bytes = std::fs::read(one)?;
    std::fs::copy(two, one)?;
    std::fs::write(two, bytes)?;
    let changed = |path: &Path| format!("picture {} of device {device}", name(path));
    story.verify_store(true)?.must(
        "two pictures swapped",
        1,
        &[&changed(one), &changed(two), "changed or swapped"],
    )?;
    copy(&saved, &story.data())?;

    std::fs::remove_file(one)?;
    let gone = format!("picture {}: removed", name(one));
    story
        .verify_store(true)?
        .must("a picture's file is deleted", 1, &[&gone])?;
    copy(&saved, &story.data())?;
    std::fs::remove_file(one)?;
    let told = Told::of(story.site.receiver.command_raw(&["audit", "deliveries"])?)?;
    told.must(
        "the balance of it",
        1,
        &["DOES NOT ADD UP", &name(one), "its file is gone"],
    )?;
    copy(&saved, &story.data())?;
    story
        .verify_store(true)?
        .must("all put back", 0, &["GENUINE AND COMPLETE"])
}

/// Makes `to` the same as `from`.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(to);
    let done = Command::new("cp")
        .args(["-a", text(from), text(to)])
        .status()?;
    ensure!(done.success(), "copying {} failed", from.display());
    Ok(())
}

pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn evidence_a_spool_put_back_from_a_copy_shows_as_a_break() -> Result<()> {
    let chance = Chance::new("evidence_restored");
    let site = Site::new()?;
    let story = Story {
        heads: site.folder().join("none"),
        key: String::new(),
        site,
    };
    story.feed(&chance, 10)?;
    let spool = story.site.agent.data_dir().join("spool");
    let yesterday = story.site.folder().join("yesterday");
    copy(&spool, &yesterday)?;
    story.feed(&chance, 10)?;
    copy(&yesterday, &spool)?;
    story.feed(&chance, 10)?;
    let told = story.verify_store(false)?;
    let sentences = [
        "the chain is broken here",
        "set back to an older copy",
        "GENUINE, BUT NOT COMPLETE",
    ];
    told.must("the store", 1, &sentences)?;
    let export = story.export("restored.zip")?;
    let key = story.site.receiver.command(&["heads", "key"])?;
    let key = key["receiver_key"].as_str().context("the key")?;
    let args = ["verify", "--export", text(&export), "--receiver-key", key];
    Told::of(run("cloud-receiver", args)?)?.must("the export", 1, &sentences)
}

#[test]
fn evidence_deliveries_add_up_and_name_what_is_missing() -> Result<()> {
    let chance = Chance::new("evidence_deliveries");
    let mut story = Story::new(&chance)?;
    let report = story.site.receiver.command(&["audit", "deliveries"])?;
    ensure!(report["adds_up"] == true, "{report:#}");
    let lines = report["devices"][0]["lines"].as_array().context("lines")?;
    let sum = |class: &str| -> u64 {
        let of_class = lines.iter().filter(|line| line["class"] == class);
        of_class.filter_map(|line| line["received"].as_u64()).sum()
    };
    ensure!(
        (sum("event"), sum("snapshot"), sum("media")) == (60, 12, 12),
        "{report:#}"
    );

    story.site.receiver.stop()?;
    let (epoch, first, last): (i64, i64, i64) = story.database()?.query_row(
        "select epoch, first_seq, last_seq from batch where first_seq > 1 order by no limit 1",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    story.database()?.execute_batch(&format!(
        "pragma foreign_keys = off;
         update stored_range set last_seq = {first} - 1 where epoch = {epoch};
         insert into stored_range select device, epoch, {last} + 1, max(last_seq) from batch where epoch = {epoch};
         delete from batch where epoch = {epoch} and first_seq = {first};"
    ))?;
    let told = Told::of(story.site.receiver.command_raw(&["audit", "deliveries"])?)?;
    let epoch = format!("{:016x}", epoch.cast_unsigned());
    let missing = named(&epoch, first.cast_unsigned(), last.cast_unsigned());
    told.must(
        "records are missing",
        1,
        &["DOES NOT ADD UP", &missing, "arrived, and nothing says why"],
    )
}

#[test]
fn evidence_commands_end_quietly_when_nobody_reads_them() -> Result<()> {
    let chance = Chance::new("evidence_pipes");
    let story = Story::new(&chance)?;
    let export = story.export("export.zip")?;
    let device = story.site.device.to_string();
    let config = text(story.site.receiver.config()).to_owned();
    let agent = story.site.agent.data_dir();
    let agent = text(&agent.with_file_name("edge-agent.toml")).to_owned();
    let of_receiver: &[&[&str]] = &[
        &["verify", "--export", text(&export)],
        &["verify", "--export", text(&export), "--json"],
        &["verify", "--heads", text(&story.heads)],
        &["audit", "records", "--device", &device],
        &["audit", "deliveries"],
        &["audit", "deliveries", "--json"],
        &["heads", "show"],
        &["heads", "list"],
        &["status"],
        &["device", "list"],
    ];
    let of_receiver = of_receiver
        .iter()
        .map(|args| ("cloud-receiver", &config, *args));
    let of_box = [("edge-agent", &agent, &["spool", "audit"][..])];
    for (name, config, args) in of_receiver.chain(of_box) {
        let args = [args, &["--config", config]].concat();
        let read = run(name, &args)?;
        // As `| head` leaves it: the reader has gone.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(program(name)?);
        let cut = command
            .args(&args)
            .stdin(Stdio::null())
            .stdout(writer)
            .output()?;
        let said = String::from_utf8_lossy(&cut.stderr);
        ensure!(
            cut.status.code() == read.status.code() && cut.stderr == read.stderr,
            "{name} {args:?} ended with {}:\n{said}",
            cut.status
        );
    }
    Ok(())
}

/// A real mail server that keeps what it gets in a folder; ends with the test.
pub(crate) struct MailServer(Child);

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn mail_server(
    port: u16,
    folder: &Path,
    tls: Option<(&Path, &Path)>,
) -> Result<MailServer> {
    let address = format!("127.0.0.1:{port}");
    // Debian's own, which finds Debian's package.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-m", "aiosmtpd", "--nosetuid", "--listen", &address]);
    if let Some((certificate, key)) = tls {
        command.args(["--tlscert", text(certificate), "--tlskey", text(key)]);
    }
    command.args(["--class", "aiosmtpd.handlers.Mailbox", text(folder)]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("python3 is needed")?;
    let mut server = MailServer(child);
    wait::until("the mail server", PATIENCE, || {
        if let Ok(Some(status)) = server.0.try_wait() {
            return Some(Err(anyhow::anyhow!(
                "it ended with {status}; is python3-aiosmtpd installed (scripts/setup.sh test)?"
            )));
        }
        TcpStream::connect(&address).is_ok().then_some(Ok(()))
    })??;
    Ok(server)
}

#[test]
fn evidence_heads_go_out_by_file_and_by_mail_and_failures_are_tried_again() -> Result<()> {
    let site = Site::new()?;
    let port = free_port()?;
    let outside = site.folder().join("outside");
    set(
        &site,
        "path = \"\"",
        &format!("path = \"{}\"", text(&outside)),
    )?;
    set(
        &site,
        "mail_to = []",
        "mail_to = [\"operator@example.net\"]",
    )?;
    set(
        &site,
        "[mail]\nserver = \"\"\nport = 587",
        &format!("[mail]\nserver = \"localhost\"\nport = {port}"),
    )?;
    set(&site, "\nfrom = \"\"", "\nfrom = \"receiver@example.net\"")?;
    let (certificate, key) = (
        site.folder().join("mail.pem"),
        site.folder().join("mail.key"),
    );
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(&certificate, own.cert.pem())?;
    std::fs::write(&key, own.signing_key.serialize_pem())?;
    set(
        &site,
        "\nca_file = \"\"",
        &format!("\nca_file = \"{}\"", text(&certificate)),
    )?;

    let told = Told::of(site.receiver.command_raw(&["heads", "now"])?)?;
    told.must(
        "nobody takes mail",
        1,
        &["no. 1 did NOT go to operator@example.net", "tries again"],
    )?;
    ensure!(
        outside.join("heads-000001.json").exists(),
        "the file did not go out"
    );
    let listed = Told::of(site.receiver.command_raw(&["heads", "list"])?)?;
    listed.must("it is remembered", 0, &["last attempt failed"])?;

    let mails = site.folder().join("mails");
    let _server = mail_server(port, &mails, Some((&certificate, &key)))?;
    let told = Told::of(site.receiver.command_raw(&["heads", "now"])?)?;
    told.must(
        "now it is taken",
        0,
        &["no. 2 went to operator@example.net"],
    )?;
    let mail = files_below(&mails.join("new"))?;
    let [mail] = &mail[..] else {
        bail!("{} mails came", mail.len())
    };
    let letter = std::fs::read_to_string(mail)?;
    for part in [
        "heads-000001.json",
        "heads-000002.json",
        "Signed heads no. 2",
    ] {
        ensure!(
            letter.contains(part),
            "the mail does not hold {part}:\n{letter}"
        );
    }
    let listed = Told::of(site.receiver.command_raw(&["heads", "list"])?)?;
    ensure!(!listed.words.contains("failed"), "{}", listed.words);

    std::fs::write(outside.join("heads-000003.json"), b"somebody else's")?;
    let told = Told::of(site.receiver.command_raw(&["heads", "now"])?)?;
    told.must(
        "never overwritten",
        1,
        &["no. 3 did NOT go to", "it was left alone"],
    )
}
