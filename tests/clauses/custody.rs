//! What is kept, and how: nobody changes it unnoticed, nobody reads it on a disk, nobody hears it on the line.

use crate::story::{deliver, enrolled};
use anyhow::{Context, Result};
use e2e::customer::Customer;
use e2e::receiver::Receiver;
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "株式会社例";

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[test]
fn clause_01_what_was_changed_after_it_arrived_is_found_and_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    receiver.customer(NAME, "本社", "honsha01")?;
    let agent = enrolled(&receiver, &folder.path().join("box"), "本社")?;
    deliver(&agent, folder.path(), 40, 1)?;
    receiver.stop()?;
    let genuine = receiver.command_raw(&["verify"])?;
    let said = String::from_utf8_lossy(&genuine.stdout).into_owned();
    assert!(genuine.status.success(), "{said}");

    let database = Connection::open(folder.path().join("receiver/data/receiver.db"))?;
    database.execute("update event set score = 0.123 where no = 3", [])?;
    let changed = receiver.command_raw(&["verify"])?;
    let said = String::from_utf8_lossy(&changed.stdout).into_owned()
        + &String::from_utf8_lossy(&changed.stderr);
    assert_eq!(changed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("what the database shows (event: score) is not what the signed record says"),
        "{said}"
    );
    Ok(())
}

/// What `openssl s_client` says of a handshake in one version of TLS.
fn handshake(port: u16, version: &str) -> Result<(bool, String)> {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{port}"),
            version,
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .context("openssl")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((
        said.contains("Cipher is ") && !said.contains("Cipher is (NONE)"),
        said,
    ))
}

#[test]
fn clause_10_nothing_is_readable_on_the_disk_and_old_tls_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    let account = receiver.customer(NAME, "本社", "honsha01")?;
    let agent = enrolled(&receiver, &folder.path().join("box"), "本社")?;
    deliver(&agent, folder.path(), 40, 1)?;
    for port in [
        receiver.portal_port,
        receiver.device_port,
        receiver.mqtt_port,
    ] {
        for old in ["-tls1", "-tls1_1"] {
            let (shook, said) = handshake(port, old)?;
            assert!(!shook, "{port} {old}: {said}");
        }
        let (shook, said) = handshake(port, "-tls1_2")?;
        assert!(shook, "{port}: {said}");
    }
    receiver.stop()?;

    let data = folder.path().join("receiver/data");
    let stored: Vec<Vec<u8>> = files_below(&data)?
        .iter()
        .map(fs::read)
        .collect::<std::io::Result<_>>()?;
    // A picture begins with these bytes (JFIF), a record with its kind, and a password is a password.
    let readable: [&[u8]; 3] = [
        b"\xff\xd8\xff\xe0",
        b"\"kind\":\"event\"",
        account.password.as_bytes(),
    ];
    for needle in readable {
        let found = stored
            .iter()
            .any(|file| file.windows(needle.len()).any(|part| part == needle));
        assert!(
            !found,
            "{:?} lies there in clear",
            String::from_utf8_lossy(needle)
        );
    }
    let master = fs::read(folder.path().join("receiver/keys/master.key"))?;
    assert!(
        !stored
            .iter()
            .any(|file| file.windows(master.len()).any(|part| part == master)),
        "the master key is no part of the data"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_05_a_customer_is_a_general_user_and_comes_through_one_door_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(folder.path())?;
    receiver.serve()?;
    let account = receiver.customer(NAME, "本社", "honsha01")?;
    let customer = Customer::sign_in(&receiver, &account).await?;
    assert!(customer.get("/").await?.status().is_success());
    // The operators' pages send whoever is no operator to their own sign-in.
    let answer = customer.get("/operator").await?;
    let to = answer
        .headers()
        .get("location")
        .and_then(|to| to.to_str().ok());
    assert!(
        to.is_some_and(|to| to.starts_with("/operator/sign-in")),
        "{to:?}"
    );
    let users = receiver.command(&["user", "list"])?;
    let listed: Vec<&Value> = users.as_array().context("a list")?.iter().collect();
    assert_eq!(listed.len(), 1, "the operator is no user: {users}");
    Ok(())
}

#[test]
fn clause_16_the_operator_sees_which_version_runs_where() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    receiver.customer(NAME, "本社", "honsha01")?;
    enrolled(&receiver, &folder.path().join("box"), "本社")?;
    let devices = receiver.command(&["device", "list"])?;
    assert_eq!(
        devices[0]["agent_version"],
        env!("CARGO_PKG_VERSION"),
        "{devices}"
    );
    let own = e2e::process::run("cloud-receiver", ["--version"])?;
    let own = String::from_utf8_lossy(&own.stdout).into_owned();
    assert!(own.contains(env!("CARGO_PKG_VERSION")), "{own}");
    Ok(())
}
