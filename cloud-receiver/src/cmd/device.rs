//! `device`: claim codes, the list, revocation, and commands to devices.

use super::lookup::{Candidate, find};
use super::{Common, Setup, device_files, report, setup, site};
use crate::ca::Certificate;
use crate::clock::now;
use crate::order::{self, Outcome};
use crate::seal::random;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, DeviceListing, DeviceReport, EpochDeliveries, OperatorDesk};
use anyhow::Context;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;
use wire::claim::ClaimCode;
use wire::command::Command;
use wire::heartbeat::SpoolReport;
use wire::{CameraId, ClockStamp, DeviceId, UtcMicros};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Print a one-time claim code, with which one device can enroll.
    Claim {
        /// Name or id of the site, or contract/site.
        #[arg(long)]
        site: String,
        /// For how long the code is good.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=24))]
        valid_hours: i64,
    },
    /// List devices and their cameras.
    List,
    /// What has arrived of a device, by epoch: holes and breaks are what is missing.
    Deliveries {
        /// Id of the device, the beginning of it, or the name of its site.
        #[arg(long)]
        device: String,
    },
    /// Revoke a device: its sessions end, and nothing of it is taken in any more.
    Revoke {
        /// Id of the device, the beginning of it, or the name of its site.
        #[arg(long)]
        device: String,
    },
    /// Have a device renew its certificate now; it does so by itself when a third of the certificate's life is left.
    Renew {
        /// Id of the device, the beginning of it, or the name of its site.
        #[arg(long)]
        device: String,
        /// Wait for the device's answer.
        #[arg(long)]
        wait: bool,
        /// How long the device may take.
        #[arg(long, default_value_t = RENEW_WITHIN_SECONDS, value_parser = clap::value_parser!(i64).range(1..=86_400))]
        within_seconds: i64,
    },
    /// Ask a camera for a picture now.
    Picture {
        /// Id of the device, the beginning of it, or the name of its site.
        #[arg(long)]
        device: String,
        /// Name or id of the camera.
        #[arg(long)]
        camera: String,
        /// Wait for the device's answer.
        #[arg(long)]
        wait: bool,
        /// How long the device may take.
        #[arg(long, default_value_t = order::PICTURE_WITHIN_SECONDS, value_parser = clap::value_parser!(i64).range(1..=86_400))]
        within_seconds: i64,
    },
    /// Bring the newest lines of a device's log here, and print them.
    Log(device_files::Log),
    /// Bring everything here that helps to find out what is wrong with a device, as one file.
    SupportBundle(device_files::Pull),
    /// Logs and support bundles that were asked of a device, and what came of it.
    Files {
        /// Id of the device, the beginning of it, or the name of its site.
        #[arg(long)]
        device: String,
    },
    /// Print or write a log or support bundle that came before.
    File(device_files::Get),
}

/// A device that is not connected now may well be within the hour.
const RENEW_WITHIN_SECONDS: i64 = 3600;
/// How often `--wait` looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const HOUR_US: i64 = 3_600_000_000;

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<ExitCode> {
    let setup = setup(common)?;
    match verb {
        Verb::Claim { site, valid_hours } => claim(common, &setup, &site, valid_hours).await?,
        Verb::List => list(common, &setup.store).await?,
        Verb::Deliveries { device } => deliveries(common, &setup.store, &device).await?,
        Verb::Revoke { device } => revoke(common, &setup.store, &device).await?,
        Verb::Renew {
            device,
            wait,
            within_seconds,
        } => {
            let device = by_name(&setup.store, &device).await?.device;
            let command = order::renew_certificate(device, now(), within_seconds);
            setup.store.add_command(&command).await?;
            return ordered(common, &setup.store, &command, "a new certificate", wait).await;
        }
        Verb::Picture {
            device,
            camera,
            wait,
            within_seconds,
        } => {
            let command = order_picture(&setup.store, &device, &camera, within_seconds).await?;
            return ordered(common, &setup.store, &command, "a picture", wait).await;
        }
        Verb::Log(args) => return device_files::log(common, &setup, args).await,
        Verb::SupportBundle(args) => {
            return device_files::support_bundle(common, &setup, args).await;
        }
        Verb::Files { device } => return device_files::list(common, &setup.store, &device).await,
        Verb::File(args) => return device_files::get(common, &setup, args).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ordered(
    common: &Common,
    store: &SqliteStore,
    command: &Command,
    what: &str,
    wait: bool,
) -> anyhow::Result<ExitCode> {
    if wait {
        return await_answer(common, store, command).await;
    }
    let words = format!("Asked for {what}: command {}", command.id);
    report(common, command, &words)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Claimed {
    code: String,
    site: String,
    expires_us: UtcMicros,
    enroll_port: u16,
}

async fn claim(
    common: &Common,
    setup: &Setup,
    wanted: &str,
    valid_hours: i64,
) -> anyhow::Result<()> {
    let site = site::by_name(&setup.store, wanted).await?;
    let code = ClaimCode {
        secret: random(),
        fingerprint: setup.keys.ca.fingerprint(),
    };
    let expires = now().plus_us(valid_hours * HOUR_US);
    setup
        .store
        .add_claim(code.secret_hash(), site.id, now(), expires)
        .await?;
    let claimed = Claimed {
        code: code.to_string(),
        site: format!("{}/{}", site.contract_name, site.name),
        expires_us: expires,
        enroll_port: setup.config.listen.portal.port(),
    };
    let host = setup.config.enroll_host_in_url();
    let words = format!(
        "{}\n\nFor one device of {}, within {valid_hours} h, used once. On the device:\n\
         edge-agent enroll --url https://{host}:{}\nand type the code when it asks.",
        claimed.code, claimed.site, claimed.enroll_port,
    );
    report(common, &claimed, &words)
}

async fn list(common: &Common, store: &SqliteStore) -> anyhow::Result<()> {
    let devices: Vec<_> = store.reports().await?.into_iter().map(Listed::of).collect();
    let words: Vec<_> = devices.iter().map(|device| device.words(now())).collect();
    let words = if words.is_empty() {
        "No device is enrolled.".to_owned()
    } else {
        words.join("\n")
    };
    report(common, &devices, &words)
}

/// One device, with what it last said of itself.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    listing: DeviceListing,
    /// Absent before the first heartbeat.
    clock: Option<ClockStamp>,
    clock_checked_seconds_ago: Option<u64>,
    spool: Option<SpoolReport>,
}

impl Listed {
    fn of(report: DeviceReport) -> Self {
        let mut listing = report.listing;
        let heartbeat = report.heartbeat;
        if let Some(said) = &heartbeat {
            listing.agent_version.clone_from(&said.agent_version);
        }
        Self {
            listing,
            clock: heartbeat.as_ref().map(|said| said.clock),
            clock_checked_seconds_ago: heartbeat
                .as_ref()
                .and_then(|said| said.clock_checked_seconds_ago),
            spool: heartbeat.map(|said| said.spool),
        }
    }

    fn words(&self, at: UtcMicros) -> String {
        let mut text = describe(&self.listing, at);
        if let (Some(clock), Some(spool)) = (&self.clock, &self.spool) {
            let state = format!("{:?}", clock.state).to_lowercase();
            text += &format!(
                "\n    clock {state}, off by {} ms; waiting to be sent: {} records, {} pictures",
                clock.offset_us / 1000,
                spool.pending_records,
                spool.pending_blobs
            );
            if spool.parked_records > 0 {
                text += &format!("; {} records parked", spool.parked_records);
            }
        }
        text
    }
}

fn describe(device: &DeviceListing, at: UtcMicros) -> String {
    let state = match (device.revoked_us, device.heard_us) {
        (Some(_), _) => "revoked".to_owned(),
        (None, None) => "never heard".to_owned(),
        (None, Some(heard)) => format!("heard {} s ago", at.since_us(heard) / 1_000_000),
    };
    let mut text = format!(
        "{}  {}/{}  {state}  agent {}",
        device.device, device.contract, device.site, device.agent_version
    );
    if device.rejected > 0 {
        text += &format!("  {} records refused", device.rejected);
    }
    if device.broken_links > 0 {
        text += &format!("  {} breaks in its chain", device.broken_links);
    }
    if device.revoked_us.is_none() {
        text += &format!("\n    {}", describe_certificate(&device.certificate, at));
    }
    for (id, name) in &device.cameras {
        text += &format!("\n    {id}  {name}");
    }
    text
}

fn describe_certificate(certificate: &Certificate, at: UtcMicros) -> String {
    let until = jiff::Timestamp::from_microsecond(certificate.not_after_us.0).map_or_else(
        |_| "?".to_owned(),
        |until| until.strftime("%F %R UTC").to_string(),
    );
    let serial = certificate.serial;
    if certificate.is_expired(at) {
        format!(
            "certificate {serial} EXPIRED on {until}: enroll the device again with a new claim code"
        )
    } else if certificate.is_overdue(at) {
        format!(
            "certificate {serial} ends on {until}: its renewal is OVERDUE; is the device connected?"
        )
    } else {
        format!("certificate {serial} until {until}")
    }
}

async fn deliveries(common: &Common, store: &SqliteStore, wanted: &str) -> anyhow::Result<()> {
    let device = by_name(store, wanted).await?.device;
    let epochs = store.deliveries(device).await?;
    let words: Vec<_> = epochs.iter().map(describe_epoch).collect();
    let words = if words.is_empty() {
        "Nothing of this device has arrived.".to_owned()
    } else {
        words.join("\n")
    };
    report(common, &epochs, &words)
}

fn describe_epoch(epoch: &EpochDeliveries) -> String {
    let mut text = format!(
        "epoch {}  {} records in {} batches",
        epoch.epoch, epoch.records, epoch.batches
    );
    for hole in &epoch.holes {
        text += &format!("  missing {}-{}", hole.first, hole.last);
    }
    if epoch.links_pending > 0 {
        text += &format!("  {} batches wait for the one before", epoch.links_pending);
    }
    if epoch.links_broken > 0 {
        text += &format!("  {} breaks in the chain", epoch.links_broken);
    }
    text
}

#[derive(Serialize)]
struct Revoked {
    device: DeviceId,
    was_revoked_before: bool,
}

async fn revoke(common: &Common, store: &SqliteStore, wanted: &str) -> anyhow::Result<()> {
    let device = by_name(store, wanted).await?.device;
    let new = store.revoke(device, now()).await?;
    let words = if new {
        format!("Device {device} is revoked; its sessions end within a second.")
    } else {
        format!("Device {device} was revoked before.")
    };
    report(
        common,
        &Revoked {
            device,
            was_revoked_before: !new,
        },
        &words,
    )
}

/// The one device that is meant by an id, the beginning of one, or a site that has only one.
pub(super) async fn by_name(store: &SqliteStore, wanted: &str) -> anyhow::Result<DeviceListing> {
    let candidates = store.devices().await?.into_iter().map(|row| Candidate {
        id: row.device.to_string(),
        names: vec![row.site.clone(), format!("{}/{}", row.contract, row.site)],
        thing: row,
    });
    find(
        "device",
        wanted,
        "\"device list\" shows them",
        candidates.collect(),
    )
}

async fn order_picture(
    store: &SqliteStore,
    device: &str,
    camera: &str,
    within_seconds: i64,
) -> anyhow::Result<Command> {
    let device = by_name(store, device).await?;
    let cameras = device.cameras.iter().map(|(id, name)| Candidate {
        id: id.to_string(),
        names: vec![name.clone()],
        thing: *id,
    });
    let camera: CameraId = find(
        "camera",
        camera,
        "\"device list\" shows them",
        cameras.collect(),
    )?;
    let command = order::picture_now(device.device, camera, now(), within_seconds);
    store.add_command(&command).await?;
    Ok(command)
}

async fn await_answer(
    common: &Common,
    store: &SqliteStore,
    command: &Command,
) -> anyhow::Result<ExitCode> {
    const REFUSED_OR_FAILED: u8 = 3;
    const NOT_ANSWERED: u8 = 4;
    let (state, outcome) = loop {
        let state = store.command(command.id).await?;
        let state = state.context("the command is gone from the database")?;
        match Outcome::of(&state, now()) {
            Outcome::Waiting => tokio::time::sleep(LOOK_EVERY).await,
            outcome => break (state, outcome),
        }
    };
    let detail = state.detail.as_deref().unwrap_or_default();
    let (words, code) = match outcome {
        Outcome::Done => (format!("Done. {detail}"), 0),
        Outcome::Failed | Outcome::Refused => {
            let answer = state.outcome.as_deref().unwrap_or_default();
            (
                format!("The device answered: {answer}. {detail}"),
                REFUSED_OR_FAILED,
            )
        }
        Outcome::Waiting | Outcome::Unanswered => {
            ("The device has not answered.".to_owned(), NOT_ANSWERED)
        }
        Outcome::NeverSent => (
            "The device is not connected; the command has expired.".to_owned(),
            NOT_ANSWERED,
        ),
    };
    report(common, &state, words.trim_end())?;
    Ok(ExitCode::from(code))
}
