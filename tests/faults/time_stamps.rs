//! Time stamps over signed heads: a real authority's are taken, kept, sent out and verified, by this program and by
//! OpenSSL; every wrong answer is named, asked for again, and never keeps the heads themselves from going out.

use crate::evidence::{Told, files_below, mail_server, text};
use anyhow::{Context, Result, ensure};
use e2e::fault::Site;
use e2e::fault::authority::{Answer, Authority, Key};
use e2e::process::{free_port, run};
use e2e::receiver::Receiver;
use e2e::wait;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A receiver that does not run, an authority, and a folder outside.
struct Story {
    receiver: Receiver,
    authority: Authority,
    outside: PathBuf,
    folder: TempDir,
}

impl Story {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let receiver = Receiver::init(&folder.path().join("receiver"))?;
        Self::of(receiver, folder)
    }

    fn of(receiver: Receiver, folder: TempDir) -> Result<Self> {
        let authority = Authority::start(&folder.path().join("authority"))?;
        let story = Self {
            outside: folder.path().join("outside"),
            receiver,
            authority,
            folder,
        };
        story.set(
            "path = \"\"",
            &format!("path = \"{}\"", text(&story.outside)),
        )?;
        story.set(
            "time_stamps_from = \"\"",
            &format!("time_stamps_from = \"{}\"", story.authority.url),
        )?;
        story.set(
            "time_stamps_ca_file = \"\"",
            &format!("time_stamps_ca_file = \"{}\"", text(&story.authority.ca)),
        )?;
        Ok(story)
    }

    fn set(&self, from: &str, to: &str) -> Result<()> {
        let path = self.receiver.config();
        let config = std::fs::read_to_string(path)?;
        ensure!(config.contains(from), "the configuration has no {from}");
        Ok(std::fs::write(path, config.replacen(from, to, 1))?)
    }

    fn command(&self, args: &[&str]) -> Result<Told> {
        Told::of(self.receiver.command_raw(args)?)
    }

    fn document(&self, number: u64) -> PathBuf {
        self.outside.join(format!("heads-{number:06}.json"))
    }

    fn stamp(&self, number: u64) -> PathBuf {
        self.outside.join(format!("heads-{number:06}.tsr"))
    }

    /// Of an empty time: what is checked here are the heads beside it.
    fn export(&self) -> Result<PathBuf> {
        let file = self.folder.path().join("export.zip");
        let time = ["--from", "2020-01-01", "--to", "2020-01-02"];
        let what = ["export", "--contract", "契約", "--out", text(&file)];
        self.receiver.command(&[&what[..], &time].concat())?;
        Ok(file)
    }

    /// As somebody checks it who has nothing of the receiver's but files.
    fn verify(&self, export: &Path, more: &[&str]) -> Result<Told> {
        let what = [
            "verify",
            "--export",
            text(export),
            "--heads",
            text(&self.outside),
        ];
        Told::of(run("cloud-receiver", [&what[..], more].concat())?)
    }
}

#[test]
fn time_stamps_of_every_kind_of_key_are_taken_and_openssl_agrees() -> Result<()> {
    let story = Story::new()?;
    let kinds = [
        Key::Rsa("sha256"),
        Key::Rsa("sha384"),
        Key::Rsa("sha512"),
        Key::P256("sha256"),
        Key::P384("sha384"),
    ];
    for (number, key) in (1..).zip(kinds) {
        story.authority.answers(Answer::Right(key));
        let told = story.command(&["heads", "now"])?;
        let sentence = format!("no. {number} is time-stamped ");
        told.must(&format!("{key:?}"), 0, &[&sentence, &story.authority.url])?;
        story
            .authority
            .openssl_accepts(&story.stamp(number), &story.document(number))?;
    }
    let shown = story
        .receiver
        .command_raw(&["heads", "show", "--number", "4", "--time-stamp"])?;
    ensure!(
        shown.stdout == std::fs::read(story.stamp(4))?,
        "heads show prints another time stamp"
    );
    let listed = story.receiver.command(&["heads", "list"])?;
    for row in listed.as_array().context("rows")? {
        ensure!(
            row["stamped_us"].is_i64() && row["stamp_written_us"].is_i64(),
            "{row:#}"
        );
    }
    let status = story.command(&["status"])?;
    status.must("status", 1, &["no. 5 signed", "time-stamped"])?;
    story
        .command(&["verify", "--heads", text(&story.outside)])?
        .must(
            "the store's own check",
            0,
            &["5 fit; heads no. 5 existed at", "Clock tower p384"],
        )
}

#[test]
fn time_stamps_are_checked_by_whoever_has_the_files() -> Result<()> {
    // With a contract and a box in it: there is nothing to export else.
    let mut site = Site::new()?;
    site.receiver.stop()?;
    let story = Story::of(site.receiver, tempfile::tempdir()?)?;
    for number in ["1", "2"] {
        let sentence = format!("no. {number} is time-stamped");
        story
            .command(&["heads", "now"])?
            .must("made", 0, &[&sentence])?;
    }
    let export = story.export()?;
    let ca = ["--time-stamp-ca", text(&story.authority.ca)];
    let told = story.verify(&export, &ca)?;
    told.must(
        "with the authority",
        0,
        &["2 fit; heads no. 2 existed at", "CN=Clock tower rsa"],
    )?;
    ensure!(!told.words.contains("was not checked"), "{}", told.words);
    story.verify(&export, &[])?.must(
        "without it",
        0,
        &[
            "heads no. 2 existed",
            "whose time stamps these are was not checked",
        ],
    )?;
    let json: serde_json::Value =
        serde_json::from_str(&story.verify(&export, &["--json", ca[0], ca[1]])?.words)?;
    let stamp = &json["time_stamps"][1];
    ensure!(
        stamp["heads"] == 2 && stamp["vouched_for"] == true && stamp["at_us"].is_i64(),
        "{json:#}"
    );

    let foreign = ["--time-stamp-ca", text(&story.authority.foreign_ca)];
    story.verify(&export, &foreign)?.must(
        "another authority of the same name",
        1,
        &["heads-000001.tsr: this time stamp proves nothing", "chain"],
    )?;
    let (first, second) = (
        std::fs::read(story.stamp(1))?,
        std::fs::read(story.stamp(2))?,
    );
    std::fs::write(story.stamp(1), &second)?;
    story.verify(&export, &ca)?.must(
        "swapped",
        1,
        &[
            "heads-000001.tsr: changed or swapped",
            "a time stamp of something else",
        ],
    )?;
    for at in (0..first.len()).step_by(61).chain([first.len() - 1]) {
        let mut changed = first.clone();
        changed[at] ^= 1;
        std::fs::write(story.stamp(1), &changed)?;
        let told = story.verify(&export, &ca)?;
        // A certificate that stands there and that nothing leads over may be any: its bytes change nothing.
        let is_whole = told.words.contains("2 fit");
        ensure!(
            told.code == 1 || is_whole && told.code == 0,
            "byte {at}: {}",
            told.words
        );
        ensure!(
            told.code == 1 || openssl_takes(&story),
            "byte {at} was changed unseen"
        );
    }
    std::fs::write(story.stamp(1), b"no time stamp")?;
    story.verify(&export, &ca)?.must(
        "garbage",
        1,
        &["heads-000001.tsr: this time stamp proves nothing"],
    )?;
    std::fs::remove_file(story.stamp(1))?;
    std::fs::remove_file(story.stamp(2))?;
    story
        .verify(&export, &ca)?
        .must("none", 0, &["no time stamp lies beside the heads"])
}

fn openssl_takes(story: &Story) -> bool {
    let judged = story
        .authority
        .openssl_accepts(&story.stamp(1), &story.document(1));
    judged.is_ok()
}

#[test]
fn time_stamps_that_are_wrong_are_named_and_asked_for_again_and_heads_go_out() -> Result<()> {
    let story = Story::new()?;
    let cases = [
        (
            Answer::OtherDocument,
            "it is a time stamp of something else",
        ),
        (Answer::OtherNonce, "it answers another request"),
        (
            Answer::Rejection,
            "the authority refused: rejection: it does not know the hash algorithm",
        ),
        (
            Answer::Expired,
            "(CN=Clock tower expired) is not good for it: at the stated time it had expired",
        ),
        (
            Answer::Foreign,
            "(CN=Clock tower foreign) is not good for it: its chain",
        ),
        (Answer::Changed, "its signature does not hold"),
        (
            Answer::Garbage,
            "this is no answer of a time-stamp authority",
        ),
        (Answer::Page, "it is text/html, no time stamp"),
        (Answer::Overloaded, "it says 503"),
    ];
    for (number, (answer, sentence)) in (1..).zip(cases) {
        story.authority.answers(answer);
        let case = format!("{answer:?}");
        let told = story.command(&["heads", "now"])?;
        // The oldest without one is asked for first, and after a failure nothing more.
        told.must(
            &case,
            1,
            &["no. 1 is NOT time-stamped", sentence, "tries again"],
        )?;
        ensure!(
            story.document(number).exists(),
            "{case}: the heads are lost"
        );
        story
            .command(&["heads", "list"])?
            .must(&case, 0, &["no time stamp yet", sentence])?;
        story
            .command(&["status"])?
            .must(&case, 1, &["no. 1 got NO time stamp", sentence])?;
        ensure!(
            files_below(&story.outside)?
                .iter()
                .all(|file| file.extension().is_some_and(|ending| ending == "json")),
            "{case}: something was taken for a time stamp"
        );
    }
    ensure!(
        story.authority.asked() == cases.len(),
        "it was asked {} times",
        story.authority.asked()
    );
    story.authority.answers(Answer::Right(Key::Rsa("sha256")));
    story.command(&["heads", "now"])?.must(
        "right at last",
        0,
        &["no. 1 is time-stamped", "no. 10 is time-stamped"],
    )?;
    for number in 1..=10 {
        story
            .authority
            .openssl_accepts(&story.stamp(number), &story.document(number))?;
    }
    let listed = story.command(&["heads", "list"])?;
    ensure!(!listed.words.contains("failed"), "{}", listed.words);
    Ok(())
}

#[test]
fn time_stamps_that_come_late_are_fetched_and_mailed_by_the_running_receiver() -> Result<()> {
    let mut story = Story::new()?;
    let port = free_port()?;
    story.set("mail_to = []", "mail_to = [\"operator@example.net\"]")?;
    story.set(
        "[mail]\nserver = \"\"\nport = 587\nencryption = \"starttls\"\nfrom = \"\"",
        &format!("[mail]\nserver = \"localhost\"\nport = {port}\nencryption = \"none\"\nfrom = \"receiver@example.net\""),
    )?;
    let mails = story.folder.path().join("mails");
    let _server = mail_server(port, &mails, None)?;
    // Nobody listens there.
    let nowhere = format!("http://127.0.0.1:{}/tsa", free_port()?);
    story.set(&story.authority.url, &nowhere)?;
    story.command(&["heads", "now"])?.must(
        "nobody answers",
        1,
        &[
            "no. 1 is NOT time-stamped: the time-stamp authority http://127.0.0.1:",
            "no. 1 went to operator@example.net",
        ],
    )?;
    let letters = || -> Result<Vec<String>> {
        let files = files_below(&mails.join("new"))?;
        files
            .iter()
            .map(|file| Ok(std::fs::read_to_string(file)?))
            .collect()
    };
    ensure!(
        letters()?.len() == 1 && !letters()?[0].contains(".tsr"),
        "the first letter"
    );

    story.set(&nowhere, &story.authority.url)?;
    story.receiver.serve()?;
    wait::until("the late time stamp", Duration::from_secs(120), || {
        story.stamp(1).exists().then_some(())
    })?;
    story
        .authority
        .openssl_accepts(&story.stamp(1), &story.document(1))?;
    let late = wait::until("its letter", Duration::from_secs(20), || {
        let letters = letters().ok()?;
        letters
            .into_iter()
            .find(|letter| letter.contains("heads-000001.tsr"))
    })?;
    ensure!(
        late.contains("Time stamp of signed heads no. 1") && !late.contains("heads-000001.json\""),
        "{late}"
    );

    story.receiver.stop()?;
    story
        .command(&["heads", "now"])?
        .must("both in one letter", 0, &["no. 2 went to"])?;
    let both = letters()?
        .into_iter()
        .find(|letter| letter.contains("heads-000002.json"));
    ensure!(
        both.context("the second heads")?
            .contains("heads-000002.tsr"),
        "without its time stamp"
    );
    Ok(())
}
