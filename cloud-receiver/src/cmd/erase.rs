//! `erase`: what becomes of contracts that have ended. The receiver erases what is due by itself; these verbs show it, begin
//! it early, and give out the certificates.

use super::confirm::Confirm;
use super::contract::by_name;
use super::{Common, Setup, print, report, setup};
use crate::blob::Blobs;
use crate::clock::now;
use crate::erasure::{Erasing, Standing, Turn};
use crate::evidence::local;
use crate::office::ending::{self, Wish};
use crate::store::{ErasureBook, ErasureRow, Step};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use wire::evidence::erasure::{Certificate, SignedCertificate};
use wire::{ContractId, UtcMicros, VerifyingKey};

const HOUR_US: i64 = 3_600_000_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List what was erased, and what is being erased.
    List,
    /// What was done of one erasure, and how many of each kind there were.
    Show {
        /// Id of the erasure or of the contract, or the name that the customer had.
        erasure: String,
    },
    /// Erase what a contract has. Without --now only where its period is over and work is done.
    Run(RunArgs),
    /// Print the certificate of an erasure, as signed.
    Certificate {
        /// Id of the erasure or of the contract, or the name that the customer had.
        erasure: String,
        /// Write it to a file, which must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a certificate.
    Verify {
        file: PathBuf,
        /// The receiver's public key, if it is not the one of this receiver: see "heads key".
        #[arg(long, value_name = "KEY")]
        key: Option<VerifyingKey>,
        /// Check also that it is about the customer of this name.
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Name or id.
    contract: String,
    /// Only say what would be erased.
    #[arg(long)]
    dry_run: bool,
    /// At the customer's request, though the contract goes on.
    #[arg(long, requires = "why", conflicts_with = "dry_run")]
    now: bool,
    /// Who asked for it and how, for the certificate, which is kept: name no person.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// How long devices may take to say that they have wiped what they hold; else as configured.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(0..=12))]
    wait_for_devices: Option<u32>,
    #[command(flatten)]
    confirm: Confirm,
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List => list(common).await?,
        Verb::Show { erasure } => {
            let row = find(&setup(common)?, &erasure).await?;
            report(common, &row, &words(&row))?;
        }
        Verb::Run(args) => erase(common, args).await?,
        Verb::Certificate { erasure, out } => certificate(common, &erasure, out).await?,
        Verb::Verify { file, key, name } => verify(common, &file, key, name.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let rows = setup(common)?.store.erasures().await?;
    let lines: Vec<_> = rows
        .iter()
        .map(|row| format!("{}  contract {}  {}", row.id, row.contract, how_far(row)))
        .collect();
    report(common, &rows, &lines.join("\n"))
}

fn how_far(row: &ErasureRow) -> String {
    match row.finished_us {
        Some(at) => format!("erased {}", local::time(at)),
        None => format!(
            "since {}, next: {}",
            local::time(row.began_us),
            row.step.as_str()
        ),
    }
}

/// By its id, its contract's, or the hash of the name that the customer had.
async fn find(setup: &Setup, wanted: &str) -> anyhow::Result<ErasureRow> {
    let rows = setup.store.erasures().await?;
    let fits = |row: &&ErasureRow| {
        row.id.to_string() == wanted
            || row.contract.to_string() == wanted
            || row.certificate.is_of(wanted)
    };
    let mut found: Vec<_> = rows.iter().filter(fits).collect();
    match found.len() {
        1 => Ok(found.remove(0).clone()),
        0 => bail!("there is no erasure \"{wanted}\"; \"erase list\" shows them"),
        _ => bail!(
            "several erased contracts were called \"{wanted}\"; \"erase list\" shows their ids"
        ),
    }
}

fn words(row: &ErasureRow) -> String {
    let certificate = &row.certificate;
    let order = &certificate.order;
    let by = order
        .actor_name
        .as_ref()
        .map_or(String::new(), |name| format!(" {name}"));
    let mut text = format!(
        "erasure   {}\ncontract  {}\nstate     {}\nordered   {} by {}{by}: {}",
        row.id,
        row.contract,
        how_far(row),
        local::time(order.at_us),
        order.actor,
        order.reason.replace('_', " "),
    );
    if let Some(why) = &order.why {
        text += &format!(", {why}");
    }
    if let Some(due) = row.due_us {
        text += &format!("\nby        {}", local::time(due));
    }
    for step in &certificate.steps {
        text += &format!("\nstep      {}  {}", local::time(step.at_us), step.step);
    }
    for device in &certificate.devices {
        text += &format!("\ndevice    {}  {}", device.device, device.outcome);
    }
    for count in certificate.counts.iter().filter(|count| count.before > 0) {
        let left = match row.step {
            Step::Done => count.after.to_string(),
            _ => "?".into(),
        };
        text += &format!("\n{:9} {} before, {left} left", count.kind, count.before);
    }
    for copy in &certificate.copies.key_backups {
        text += &format!(
            "\nto be destroyed: the copy of the key backup {} of {}",
            copy.path,
            local::time(copy.at_us)
        );
    }
    text
}

async fn erase(common: &Common, args: RunArgs) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let erasing = erasing(&setup)?;
    let contract = by_name(&setup.store, &args.contract).await?;
    let (_, standing) =
        ending::standing_of(&setup.store, &setup.config, contract.id, now()).await?;
    if args.dry_run {
        return plan(common, &erasing, contract.id, standing).await;
    }
    let wish = Wish {
        // The command line requires --why with --now.
        on_request: args.now.then(|| args.why.unwrap_or_default()),
        wait_us: args
            .wait_for_devices
            .map(|hours| i64::from(hours) * HOUR_US),
    };
    ending::may_begin(&contract.name, &standing, &wish)?;
    if !matches!(standing, Standing::Erasing { .. }) {
        args.confirm.ask(&format!(
            "Everything of \"{}\" will be gone for ever: pictures, results, users, and its key.",
            contract.name
        ))?;
        ending::begin(&erasing, &contract, &standing, wish, now()).await?;
    }
    let turn = erasing.turn().await?;
    told(common, &setup, contract.id, turn).await
}

async fn told(
    common: &Common,
    setup: &Setup,
    contract: ContractId,
    turn: Turn,
) -> anyhow::Result<()> {
    let row = find(setup, &contract.to_string()).await?;
    let mut text = words(&row);
    if row.step != Step::Done {
        text += match turn {
            Turn::Busy => "\nThe receiver carries it out.",
            Turn::Idle | Turn::Waiting => {
                "\nIt waits for the devices' answers, and the receiver goes on by itself."
            }
        };
    }
    report(common, &row, &text)
}

async fn plan(
    common: &Common,
    erasing: &Erasing,
    contract: ContractId,
    standing: Standing,
) -> anyhow::Result<()> {
    let planned = ending::plan(erasing, contract, standing).await?;
    let mut text = format!("{}; it has", ending::words(&planned.standing));
    for (kind, count) in planned.counts.iter().filter(|(_, count)| **count > 0) {
        text += &format!("\n{kind:14} {count}");
    }
    report(common, &planned, &text)
}

fn erasing(setup: &Setup) -> anyhow::Result<Erasing> {
    let config = &setup.config;
    let limit = config.limits.blob_bytes;
    let blobs = Blobs::beside(&config.data_dir, Arc::new(setup.store.clone()), limit);
    let key = wire::SigningKey::from_seed(setup.keys.evidence.to_seed());
    Ok(Erasing::new(
        config,
        setup.store.clone(),
        Arc::new(blobs.context("opening the blobs")?),
        Arc::new(key),
    ))
}

async fn certificate(common: &Common, wanted: &str, out: Option<PathBuf>) -> anyhow::Result<()> {
    let row = find(&setup(common)?, wanted).await?;
    let signed = row.signed.with_context(|| {
        let step = row.step.as_str();
        format!("the erasure is under way (next: {step}): the certificate comes at its end")
    })?;
    let text = serde_json::to_string_pretty(&signed)? + "\n";
    match out {
        None => print(|to| to.write_all(text.as_bytes())),
        Some(path) => {
            crate::keys::write_new(&path, text.as_bytes())?;
            let words = format!("The certificate is in {}.", path.display());
            report(common, &path, &words)
        }
    }
}

#[derive(Serialize)]
struct Checked {
    genuine: bool,
    complete: bool,
    /// Absent: no name was given.
    of_this_name: Option<bool>,
    certificate: Certificate,
}

/// Needs no receiver where the key is given.
fn verify(
    common: &Common,
    file: &std::path::Path,
    key: Option<VerifyingKey>,
    name: Option<&str>,
) -> anyhow::Result<()> {
    let key = match key {
        Some(key) => key,
        None => setup(common)?.keys.evidence.verifying_key(),
    };
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("reading {}", file.display()))?;
    let signed: SignedCertificate = serde_json::from_str(&text)
        .with_context(|| format!("{} is no erasure certificate", file.display()))?;
    let certificate = signed.open(&key);
    let certificate = certificate.with_context(|| file.display().to_string())?;
    let of_this_name = name.map(|name| certificate.is_of(name));
    ensure!(
        of_this_name != Some(false),
        "it is genuine, but about another customer than \"{}\"",
        name.unwrap_or_default()
    );
    let complete = certificate.is_complete();
    ensure!(complete, "it is genuine, but says that something was left");
    let when = certificate
        .steps
        .last()
        .map_or(UtcMicros(0), |step| step.at_us);
    let mut words = format!(
        "Genuine: what contract {} had was erased by {} ({}).",
        certificate.contract,
        local::time(when),
        local::ZONE
    );
    let silent = certificate
        .devices
        .iter()
        .filter(|device| device.outcome != "done");
    for device in silent {
        words += &format!(
            "\nDevice {} has not confirmed that it wiped what it held: {}.",
            device.device, device.outcome
        );
    }
    let checked = Checked {
        genuine: true,
        complete,
        of_this_name,
        certificate,
    };
    report(common, &checked, &words)
}
