//! What customers find in the portal: tags, the own sign-ins, and everything to take home; with the real programs, and
//! records and pictures that came through a device's own spool and uplink.

use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::site::Site;
use e2e::process::run;
use e2e::receiver::Receiver;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// A receiver with events of a device.
fn site_with_events() -> Result<Site> {
    let site = Site::new()?;
    let mut feeder = site.start_feeder(&Options::default())?;
    let feed = Feed {
        events: 40,
        picture_every: 4,
        ..Feed::default()
    };
    feeder.put_all(feed, PATIENCE)?;
    feeder.drained(PATIENCE)?;
    feeder.stop()?;
    Ok(site)
}

fn signed_in(site: &Site) -> Result<(tokio::runtime::Runtime, Customer)> {
    let runtime = tokio::runtime::Runtime::new()?;
    let customer = runtime.block_on(Customer::sign_in(&site.receiver, &site.account))?;
    Ok((runtime, customer))
}

fn events_on(page: &str) -> Vec<String> {
    let marks = page.split("data-event=\"").skip(1);
    marks.map(|rest| rest[..36].to_owned()).collect()
}

#[test]
fn clause_02_the_user_is_told_of_the_own_sign_ins_and_what_to_look_after() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(folder.path())?;
    receiver.serve()?;
    let account = receiver.customer("Acme", "Tokyo", "acme-01")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let customer = runtime.block_on(Customer::sign_in(&receiver, &account))?;
    let page = runtime.block_on(customer.page("/security?"))?;
    for words in [
        "利用者の責任",
        "今回のサインイン",
        "前回以降に失敗したサインイン",
    ] {
        ensure!(page.contains(words), "the Security page lacks {words}");
    }
    let account = runtime.block_on(customer.page("/account"))?;
    ensure!(account.contains("ほかの人に知らせず"), "{account}");
    Ok(())
}

#[test]
fn clause_04_tags_are_set_by_operators_and_everybody_filters_by_them() -> Result<()> {
    let site = site_with_events()?;
    let (runtime, customer) = signed_in(&site)?;
    let all = runtime.block_on(customer.page("/events"))?;
    let event = events_on(&all).first().context("an event")?.clone();
    let cameras = site.receiver.command(&["camera", "list"])?;
    let camera = cameras[0]["id"].as_str().context("a camera")?.to_owned();

    site.receiver
        .command(&["tag", "add", "通報済み", "--event", &event])?;
    site.receiver
        .command(&["tag", "add", "夜間", "--camera", &camera])?;
    site.receiver
        .command(&["camera", "name", &camera, "裏口"])?;
    let page = |address: &str| runtime.block_on(customer.page(address));
    let told = page("/events?tag=%E9%80%9A%E5%A0%B1%E6%B8%88%E3%81%BF")?;
    ensure!(
        events_on(&told) == [event.clone()],
        "{:?}",
        events_on(&told)
    );
    let of_camera = page("/events?tag=%E5%A4%9C%E9%96%93")?;
    let by_camera = page(&format!("/events?camera={camera}"))?;
    ensure!(
        events_on(&of_camera) == events_on(&by_camera),
        "the tag finds its camera's events"
    );
    ensure!(!events_on(&of_camera).is_empty());
    ensure!(
        of_camera.contains("裏口"),
        "the operator's name for the camera is shown"
    );
    ensure!(page(&format!("/events/{event}"))?.contains("通報済み"));
    ensure!(page("/security")?.contains("付けられているタグ"));

    site.receiver
        .command(&["tag", "remove", "通報済み", "--event", &event])?;
    let gone = page("/events?tag=%E9%80%9A%E5%A0%B1%E6%B8%88%E3%81%BF")?;
    ensure!(events_on(&gone).is_empty());
    let again = site
        .receiver
        .command_raw(&["tag", "remove", "通報済み", "--event", &event])?;
    ensure!(
        again.status.code() == Some(1),
        "what is not there cannot be removed"
    );
    let log = site.receiver.command(&["audit", "verify"]);
    ensure!(log.is_ok(), "the log of it holds: {log:?}");
    Ok(())
}

#[test]
fn clause_13_everything_can_be_downloaded_and_a_broken_download_goes_on() -> Result<()> {
    let site = site_with_events()?;
    let (runtime, customer) = signed_in(&site)?;
    let page = runtime.block_on(customer.page("/download"))?;
    let link = page
        .split("href=\"")
        .find(|rest| rest.starts_with("/export?"));
    let link = link
        .and_then(|rest| rest.split('"').next())
        .context("a link to a file")?;
    let link = link.replace("&amp;", "&");

    let whole = runtime.block_on(async {
        let answer = customer.get(&link).await?;
        let tag = answer.headers()["etag"].to_str()?.to_owned();
        let length: usize = answer.headers()["content-length"].to_str()?.parse()?;
        let bytes = answer.bytes().await?;
        ensure!(bytes.len() == length, "as long as it was said to be");
        Ok((bytes, tag))
    });
    let (whole, tag) = whole?;
    let half = whole.len() / 2;
    let rest = runtime.block_on(async {
        let range = format!("bytes={half}-");
        let answer = customer
            .get_with(&link, &[("range", &range), ("if-range", &tag)])
            .await?;
        ensure!(answer.status().as_u16() == 206, "{}", answer.status());
        Ok(answer.bytes().await?)
    })?;
    let joined = [&whole[..half], &rest[..]].concat();
    ensure!(joined == whole, "the rest is that of the very same file");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("day.zip");
    std::fs::write(&file, &joined)?;
    let path = file.to_str().context("a path")?;
    let key = site.receiver.command(&["heads", "key"])?;
    let key = key["receiver_key"].as_str().context("a key")?;
    let checked = run(
        "cloud-receiver",
        ["verify", "--export", path, "--receiver-key", key],
    )?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned()
        + &String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success(), "verify --export: {said}");
    let names = unzip(["-Z1", path])?;
    for name in ["index.html", "events.csv", "events.json", "manifest.json"] {
        ensure!(
            names.lines().any(|line| line.ends_with(name)),
            "{name} is not in {names}"
        );
    }
    let csv = unzip(["-p", path, "events.csv"])?;
    ensure!(
        csv.starts_with('\u{feff}'),
        "Excel knows it by its first bytes"
    );
    ensure!(csv.lines().count() == 41, "a line for each event: {csv}");
    Ok(())
}

/// What Debian's program makes of the file.
fn unzip<const N: usize>(args: [&str; N]) -> Result<String> {
    let output = Command::new("unzip").args(args).output().context("unzip")?;
    ensure!(output.status.success(), "unzip: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
