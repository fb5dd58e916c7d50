//! Clause 15: an operator sees what a box logs without going there, and no secret of the box comes along.

use anyhow::{Context, Result, ensure};
use e2e::agent::{Agent, CameraEntry};
use e2e::customer::Customer;
use e2e::operator::Operator;
use e2e::receiver::{Account, Receiver};
use e2e::wait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
const SITE: &str = "本社";
/// Of a camera that is not there, so that the agent has something to complain of.
const HIDDEN: [&str; 5] = [
    "kakushi-ben",
    "kakushi-user",
    "kakushi-word",
    "kakushi-token",
    "kakushi-other",
];
const URL: &str = "rtsp://kakushi-user:kakushi-word@127.0.0.1:9/live?token=kakushi-token";

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn assert_ends(output: &Output, code: i32, said: &str) -> Result<()> {
    let words = words(output);
    ensure!(
        output.status.code() == Some(code),
        "{:?}: {words}",
        output.status
    );
    ensure!(words.contains(said), "{said:?} is not said: {words}");
    Ok(())
}

fn unpacked(archive: &Path, into: &Path) -> Result<BTreeMap<String, String>> {
    fs::create_dir_all(into)?;
    let (archive, folder) = (archive.display().to_string(), into.display().to_string());
    let tar = std::process::Command::new("tar")
        .args(["-xzf", &archive, "-C", &folder])
        .output()?;
    ensure!(tar.status.success(), "{}", words(&tar));
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(into.join("support"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        parts.insert(name, fs::read_to_string(entry.path())?);
    }
    Ok(parts)
}

fn assert_no_secret(text: &str) -> Result<()> {
    for secret in HIDDEN.into_iter().chain(["PRIVATE KEY"]) {
        ensure!(!text.contains(secret), "{secret} left the box in:\n{text}");
    }
    Ok(())
}

/// Everything that a bundle of a running, enrolled box must tell.
fn assert_tells_all(parts: &BTreeMap<String, String>, device: &str) -> Result<()> {
    let part = |name: &str| {
        parts
            .get(name)
            .with_context(|| format!("{name}: {:?}", parts.get("about.txt")))
    };
    for text in parts.values() {
        assert_no_secret(text)?;
    }
    let about = part("about.txt")?;
    ensure!(!about.contains("NOT in this bundle"), "{about}");
    ensure!(
        about.contains(device) && about.contains("certificate until"),
        "{about}"
    );
    let status: Value = serde_json::from_str(part("status.json")?)?;
    ensure!(
        status["device"] == *device && status["clock"].is_object(),
        "{status}"
    );
    let audit: Value = serde_json::from_str(part("spool-audit.json")?)?;
    ensure!(
        audit["differences"].as_array().is_some_and(Vec::is_empty),
        "{audit}"
    );
    ensure!(
        part("check.txt")?.contains("configuration: "),
        "{}",
        part("check.txt")?
    );
    ensure!(part("configuration.txt")?.contains("裏門"));
    for fact in [
        "== memory\nMemTotal",
        "<- the data folder",
        "== routes",
        "== the system's clock",
    ] {
        ensure!(
            part("machine.txt")?.contains(fact),
            "{fact}: {}",
            part("machine.txt")?
        );
    }
    let log = part("log.txt")?;
    ensure!(
        log.contains("rtsp://***@127.0.0.1:9") || log.contains("裏門"),
        "{log}"
    );
    Ok(())
}

struct Story {
    receiver: Receiver,
    agent: Agent,
    device: String,
    account: Account,
    folder: tempfile::TempDir,
}

impl Story {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
        receiver.serve()?;
        let account = receiver.customer("株式会社例", SITE, "honsha01")?;
        let camera = CameraEntry {
            extra: "user = \"kakushi-ben\"\npassword = \"kakushi-other\"\n".into(),
            ..CameraEntry::new("裏門", URL)
        };
        let agent = Agent::configure(&folder.path().join("box"), &[camera], "")?;
        agent.enroll(&receiver.portal_url(), &receiver.claim(SITE)?)?;
        let devices = receiver.command(&["device", "list"])?;
        let device = devices[0]["device"]
            .as_str()
            .context("a device")?
            .to_owned();
        Ok(Self {
            receiver,
            agent,
            device,
            account,
            folder,
        })
    }

    fn files(&self) -> Result<Vec<Value>> {
        let files = self
            .receiver
            .command(&["device", "files", "--device", SITE])?;
        Ok(files.as_array().context("a list")?.clone())
    }

    /// How many entries of this action the log of operators' deeds has.
    fn noted(&self, action: &str) -> Result<usize> {
        let rows = self
            .receiver
            .command(&["audit", "list", "--action", action])?;
        Ok(rows.as_array().context("a list")?.len())
    }
}

#[test]
fn clause_15_the_operator_pulls_a_log_and_a_support_bundle_through_the_command_channel()
-> Result<()> {
    let mut story = Story::new()?;
    let receiver = &story.receiver;

    // Wrong input, and a box that is silent.
    let unknown = receiver.command_raw(&["device", "log", "--device", "nowhere"])?;
    assert_ends(&unknown, 1, "there is no device")?;
    let silent =
        receiver.command_raw(&["device", "log", "--device", SITE, "--within-seconds", "1"])?;
    assert_ends(&silent, 4, "was not connected in time")?;

    story.agent.start()?;
    wait::until(
        "a complaint of the camera that is not there",
        PATIENCE,
        || {
            let cameras = story.agent.status()?["cameras"].clone();
            (cameras[0]["state"] == "retrying").then_some(())
        },
    )?;

    let log = receiver.command_raw(&["device", "log", "--device", SITE, "--lines", "40"])?;
    assert_ends(&log, 0, "The device answered: ")?;
    let text = String::from_utf8(log.stdout)?;
    assert_no_secret(&text)?;
    ensure!(
        text.starts_with("# edge-agent ") && text.lines().count() <= 41,
        "{text}"
    );
    ensure!(
        text.contains("delivering to"),
        "the log of this very start: {text}"
    );

    let bundle = story.folder.path().join("bundle.tar.gz");
    let to = bundle.display().to_string();
    let pulled =
        receiver.command_raw(&["device", "support-bundle", "--device", SITE, "--to", &to])?;
    assert_ends(&pulled, 0, "bundle.tar.gz")?;
    let parts = unpacked(&bundle, &story.folder.path().join("pulled"))?;
    assert_tells_all(&parts, &story.device)?;
    let again =
        receiver.command_raw(&["device", "support-bundle", "--device", SITE, "--to", &to])?;
    assert_ends(&again, 1, "choose another name")?;

    // The same without a network, by the engineer at the box.
    let local = story.folder.path().join("local.tar.gz");
    let to = local.display().to_string();
    let made = story.agent.command_raw(&["support-bundle", "--to", &to])?;
    assert_ends(&made, 0, "local.tar.gz")?;
    assert_tells_all(
        &unpacked(&local, &story.folder.path().join("local"))?,
        &story.device,
    )?;

    let files = story.files()?;
    let outcomes: Vec<_> = files
        .iter()
        .map(|file| (file["request"].clone(), file["outcome"].clone()))
        .collect();
    let expected = [
        ("support_bundle", Some("done")),
        ("log_excerpt", Some("done")),
        ("log_excerpt", None),
    ];
    let expected = expected.map(|(request, outcome)| (Value::from(request), Value::from(outcome)));
    ensure!(outcomes == expected, "{files:?}");
    let command = files[0]["id"].as_str().context("an id")?.to_owned();
    let copy = story
        .folder
        .path()
        .join("copy.tar.gz")
        .display()
        .to_string();
    let got = [
        "device",
        "file",
        "--device",
        SITE,
        "--command",
        &command,
        "--to",
        &copy,
    ];
    assert_ends(&receiver.command_raw(&got)?, 0, "copy.tar.gz")?;
    ensure!(fs::read(&copy)? == fs::read(&bundle)?);

    ensure!(story.noted("command.give")? == 3, "who asked is noted");
    ensure!(story.noted("device_file.read")? == 3, "who read is noted");

    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(on_the_portal(&story, &command, &fs::read(&bundle)?))?;
    adds_up(&story)?;
    revoked(&story)
}

/// The operators' page asks and gives; nobody else reaches it.
async fn on_the_portal(story: &Story, command: &str, bundle: &[u8]) -> Result<()> {
    let mut operator = Operator::first_sign_in(&story.receiver).await?;
    let page = format!("/operator/devices/{}/files", story.device);
    ensure!(operator.page("/operator/devices").await?.contains(&page));
    let file = format!("/operator/devices/{}/file/{command}", story.device);
    ensure!(operator.page(&page).await?.contains(&file));
    let answer = operator.get(&file).await?;
    let disposition = answer.headers()["content-disposition"].to_str()?.to_owned();
    ensure!(
        disposition.starts_with("attachment; filename=\"support-"),
        "{disposition}"
    );
    ensure!(answer.bytes().await? == bundle);
    operator.post(&format!("{page}/log"), &[]).await?;
    let asked = |page: &str| page.matches("id=\"file-").count();
    wait::until_async("the log that the page asked for", PATIENCE, || async {
        let shown = operator.page(&page).await.ok()?;
        (asked(&shown) == 4 && !shown.contains("待っています")).then_some(())
    })
    .await?;
    let customer = Customer::sign_in(&story.receiver, &story.account).await?;
    for address in [&page, &file] {
        let answer = customer.page(address).await;
        ensure!(answer.is_err(), "a customer was shown {address}");
    }
    Ok(())
}

/// Both sides count the files that went between them alike.
fn adds_up(story: &Story) -> Result<()> {
    let audited = story.agent.command_raw(&["spool", "audit", "--json"])?;
    let path = story.folder.path().join("box.json");
    fs::write(&path, &audited.stdout)?;
    let book: Value = serde_json::from_slice(&audited.stdout)?;
    let lines = book["lines"].as_array().context("lines")?;
    let files = lines.iter().filter(|line| line["class"] == "diagnostic");
    let settled: u64 = files.filter_map(|line| line["settled"].as_u64()).sum();
    ensure!(settled == 3, "{book}");
    let against = path.display().to_string();
    let args = [
        "audit",
        "deliveries",
        "--device",
        SITE,
        "--against",
        &against,
    ];
    let added = story.receiver.command_raw(&args)?;
    ensure!(added.status.success(), "{}", words(&added));
    let verified = story.receiver.command_raw(&["verify"])?;
    ensure!(verified.status.success(), "{}", words(&verified));
    Ok(())
}

fn revoked(story: &Story) -> Result<()> {
    let receiver = &story.receiver;
    receiver.command(&["device", "revoke", "--device", SITE])?;
    let refused = receiver.command_raw(&["device", "support-bundle", "--device", SITE])?;
    assert_ends(&refused, 1, "is revoked")?;
    ensure!(story.files()?.len() == 4, "what came before is still there");
    Ok(())
}
