//! Clause 10, upgrades: the folder of a receiver of the first version, as it was left, is served by this one, and nothing in
//! it is lost, changed or shut out.
//!
//! `first-version.tar.gz` is that folder. It was made by the program built at daecc3e, the last commit with the first schema:
//! `init`, a contract with a site and a user, a box that enrolled and delivered forty events with pictures over its own spool
//! and uplink, a stop. What it printed stands in `accounts.json`. It is never made anew: it is what customers have.

use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::operator::Operator;
use e2e::receiver::{Account, Receiver};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn of_the_first_version(folder: &Path) -> Result<(Receiver, Account)> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("clauses/first-version.tar.gz");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .status()?;
    ensure!(unpacked.success(), "tar: {unpacked}");
    let folder = folder.join("first");
    let told: Value = serde_json::from_slice(&std::fs::read(folder.join("accounts.json"))?)?;
    let word = |key: &str| told[key].as_str().map(str::to_owned).context("a word");
    let account = Account {
        login_id: word("login_id")?,
        password: word("password")?,
    };
    let receiver = Receiver::moved_here(&folder, &word("folder")?, told["operator"].clone())?;
    Ok((receiver, account))
}

fn must_be_genuine(receiver: &Receiver) -> Result<()> {
    let verified = receiver.command(&["verify"])?;
    let verdict = verified["verdict"].as_str().context("a verdict")?;
    ensure!(
        verdict.starts_with("GENUINE") && !verdict.contains("BUT NOT"),
        "{verified}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_10_a_receiver_of_the_first_version_is_upgraded_with_all_it_holds() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut receiver, account) = of_the_first_version(folder.path())?;
    // A command may be the first to meet the old database.
    let listed = receiver.command(&["contract", "list"])?;
    ensure!(listed[0]["name"] == "株式会社例", "{listed}");
    receiver.serve()?;
    let customer = Customer::sign_in(&receiver, &account).await?;
    let page = customer.page("/events?day=").await?;
    let shown = customer
        .page("/events?before=9999999999999999_ffffffff-ffff-ffff-ffff-ffffffffffff")
        .await?;
    let of = |page: &str| page.matches("data-event=\"").count();
    ensure!(
        of(&page) + of(&shown) >= 40,
        "{} and {} events",
        of(&page),
        of(&shown)
    );
    let pictures = customer.pictures("/events").await?;
    ensure!(!pictures.is_empty(), "no picture is shown");
    for picture in pictures {
        ensure!(customer.get(&picture).await?.status() == 200, "{picture}");
    }
    must_be_genuine(&receiver)?;
    let audited = receiver.command_raw(&["audit", "verify"])?;
    ensure!(audited.status.success(), "{audited:?}");
    // The first operator comes in with the password of then, and sets up the second factor of now.
    let operator = Operator::first_sign_in(&receiver).await?;
    ensure!(
        operator
            .page("/operator/contracts")
            .await?
            .contains("株式会社例")
    );
    // What is new works on what is old.
    receiver.command(&[
        "contract",
        "set",
        "株式会社例",
        "--contact",
        "soumu@example.jp",
    ])?;
    receiver.stop()?;
    receiver.serve()?;
    must_be_genuine(&receiver)?;
    receiver.stop()
}
