//! `device log`, `device support-bundle`, `device files`, `device file`: what a box can tell of itself, brought here.

use super::device::by_name;
use super::{Common, Setup, print, report};
use crate::blob::Blobs;
use crate::clock::now;
use crate::order::{self, FILE_WITHIN_SECONDS, LOG_LINES, Outcome};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    AuditBook, DeviceFile, DeviceFileBook, DeviceFileRow, DeviceListing, OperatorDesk,
};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::command::Command;
use wire::{CommandId, UtcMicros};

/// What both requests have in common.
#[derive(Debug, clap::Args)]
pub(super) struct Pull {
    /// Id of the device, the beginning of it, or the name of its site.
    #[arg(long)]
    device: String,
    /// The file to write; it must not exist yet.
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    to: Option<PathBuf>,
    /// Only ask; "device files" shows what came of it.
    #[arg(long)]
    no_wait: bool,
    /// How long the device may take.
    #[arg(long, default_value_t = FILE_WITHIN_SECONDS, value_parser = clap::value_parser!(i64).range(1..=86_400))]
    within_seconds: i64,
}

#[derive(Debug, clap::Args)]
pub(super) struct Log {
    #[command(flatten)]
    pull: Pull,
    /// At most so many lines, the newest.
    #[arg(long, default_value_t = LOG_LINES, value_parser = clap::value_parser!(u32).range(1..))]
    lines: u32,
    /// Only the last so many minutes.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..=525_600))]
    since_minutes: Option<i64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// Id of the device, the beginning of it, or the name of its site.
    #[arg(long)]
    device: String,
    /// Id of the command that asked for it.
    #[arg(long)]
    command: CommandId,
    /// The file to write; it must not exist yet. A log is otherwise printed.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

const REFUSED_OR_FAILED: u8 = 3;
const NOT_ANSWERED: u8 = 4;
/// A device answers first; the file may wait behind pictures of events.
const FILE_PATIENCE: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A device that says nothing for so long is worth a word before anybody waits for it.
const SILENT_US: i64 = 180 * 1_000_000;

pub(super) async fn log(common: &Common, setup: &Setup, args: Log) -> anyhow::Result<ExitCode> {
    let device = in_service(&setup.store, &args.pull.device).await?;
    let at = now();
    let since = args.since_minutes.map(|m| at.plus_us(-m * 60_000_000));
    let within = args.pull.within_seconds;
    let command = order::log_excerpt(device.device, args.lines, since, at, within);
    pull(common, setup, &device, &command, &args.pull).await
}

pub(super) async fn support_bundle(
    common: &Common,
    setup: &Setup,
    args: Pull,
) -> anyhow::Result<ExitCode> {
    let device = in_service(&setup.store, &args.device).await?;
    let command = order::support_bundle(device.device, now(), args.within_seconds);
    pull(common, setup, &device, &command, &args).await
}

async fn in_service(store: &SqliteStore, wanted: &str) -> anyhow::Result<DeviceListing> {
    let device = by_name(store, wanted).await?;
    ensure!(
        device.revoked_us.is_none(),
        "device {} is revoked: it is not listened to, so nothing can be asked of it; \"device files --device {}\" shows \
         what came before",
        device.device,
        device.device
    );
    Ok(device)
}

async fn pull(
    common: &Common,
    setup: &Setup,
    device: &DeviceListing,
    command: &Command,
    args: &Pull,
) -> anyhow::Result<ExitCode> {
    if let Some(to) = &args.to {
        ensure!(!to.exists(), "{} exists; choose another name", to.display());
    }
    setup.store.add_command(command).await?;
    if args.no_wait {
        let words = format!(
            "Asked. \"device files --device {}\" shows what comes of it: command {}",
            device.device, command.id
        );
        report(common, command, &words)?;
        return Ok(ExitCode::SUCCESS);
    }
    let says = Progress(!common.json);
    let silent = device
        .heard_us
        .is_none_or(|heard| now().since_us(heard) > SILENT_US);
    if silent {
        let heard = device.heard_us.map_or_else(
            || "has never been heard".to_owned(),
            |heard| {
                format!(
                    "was last heard {} min ago",
                    now().since_us(heard) / 60_000_000
                )
            },
        );
        says.line(&format!("Device {} {heard}.", device.device));
    }
    says.line(&format!(
        "Asked; the device has {} s to answer.",
        args.within_seconds
    ));
    let row = answered(&setup.store, command, &says).await?;
    match Outcome::of(&row.state, now()) {
        Outcome::Done => {}
        outcome => return told(common, &row, outcome),
    }
    let detail = row.state.detail.as_deref().unwrap_or_default();
    says.line(&format!("The device answered: {detail}."));
    let Some(row) = arrived(&setup.store, command, &says).await? else {
        report(
            common,
            &row,
            &format!(
                "The device has answered, and its file is still on the way. Later:  cloud-receiver device file --device {} \
                 --command {}",
                device.device, command.id
            ),
        )?;
        return Ok(ExitCode::from(NOT_ANSWERED));
    };
    give(common, setup, &row, args.to.as_deref()).await
}

/// Words for people on standard error, so that standard output holds what was asked for.
struct Progress(bool);

impl Progress {
    fn line(&self, words: &str) {
        if self.0 {
            // Nobody reads it: no reason to stop.
            let _ = writeln!(std::io::stderr(), "{words}");
        }
    }
}

/// Until the device has answered, or its time is over.
async fn answered(
    store: &SqliteStore,
    command: &Command,
    says: &Progress,
) -> anyhow::Result<DeviceFileRow> {
    let mut was_sent = false;
    loop {
        let row = current(store, command).await?;
        if !was_sent && row.state.sent_us.is_some() {
            was_sent = true;
            says.line("The device has the request.");
        }
        if Outcome::of(&row.state, now()) != Outcome::Waiting {
            return Ok(row);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// `None`: its file has not come in time.
async fn arrived(
    store: &SqliteStore,
    command: &Command,
    says: &Progress,
) -> anyhow::Result<Option<DeviceFileRow>> {
    let until = Instant::now() + FILE_PATIENCE;
    let mut said = false;
    loop {
        let row = current(store, command).await?;
        match &row.file {
            None => {
                bail!("the device says that it is done and names no file; is its agent too old?")
            }
            Some(file) if file.arrived => return Ok(Some(row)),
            Some(file) if !said => {
                said = true;
                says.line(&format!("Waiting for {} kB.", file.bytes.div_ceil(1000)));
            }
            Some(_) => {}
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn current(store: &SqliteStore, command: &Command) -> anyhow::Result<DeviceFileRow> {
    let row = store.device_file(command.device, command.id).await?;
    row.context("the command is gone from the database: was the contract erased?")
}

fn told(common: &Common, row: &DeviceFileRow, outcome: Outcome) -> anyhow::Result<ExitCode> {
    let detail = row.state.detail.as_deref().unwrap_or_default();
    let (words, code) = match outcome {
        Outcome::Refused => (
            format!("The device refused: {detail}. An agent older than the receiver may not know this request."),
            REFUSED_OR_FAILED,
        ),
        Outcome::Failed | Outcome::Done => {
            (format!("The device failed: {detail}"), REFUSED_OR_FAILED)
        }
        Outcome::Waiting | Outcome::Unanswered => (
            "The device took the request and has not answered in time; give it longer with --within-seconds.".to_owned(),
            NOT_ANSWERED,
        ),
        Outcome::NeverSent => (
            "The device was not connected in time, and the request has expired. Let it wait for the device with \
             --no-wait --within-seconds 86400; or fetch \"edge-agent support-bundle\" from the box itself."
                .to_owned(),
            NOT_ANSWERED,
        ),
    };
    report(common, row, &words)?;
    Ok(ExitCode::from(code))
}

pub(super) async fn get(common: &Common, setup: &Setup, args: Get) -> anyhow::Result<ExitCode> {
    let device = by_name(&setup.store, &args.device).await?.device;
    let row = setup.store.device_file(device, args.command).await?;
    let row = row.with_context(|| {
        format!(
            "nothing was asked of device {device} by command {}; \"device files\" lists what was",
            args.command
        )
    })?;
    give(common, setup, &row, args.to.as_deref()).await
}

#[derive(Serialize)]
struct Given<'a> {
    #[serde(flatten)]
    row: &'a DeviceFileRow,
    /// Where it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Path>,
    /// A log that was written nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// A log goes to standard output unless a file is named; a bundle always into a file.
async fn give(
    common: &Common,
    setup: &Setup,
    row: &DeviceFileRow,
    to: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let bytes = read(setup, row).await?;
    let named = row.file_name();
    let to = to.or((!row.is_log()).then_some(Path::new(&named)));
    let mut given = Given {
        row,
        to,
        text: None,
    };
    let Some(to) = to else {
        let text = printable(&String::from_utf8_lossy(&bytes));
        if common.json {
            given.text = Some(text);
            report(common, &given, "")?;
        } else {
            print(|out| out.write_all(text.as_bytes()))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    write(to, &bytes)?;
    let words = format!("{}, {} kB", to.display(), bytes.len().div_ceil(1000));
    report(common, &given, &words)?;
    Ok(ExitCode::SUCCESS)
}

async fn read(setup: &Setup, row: &DeviceFileRow) -> anyhow::Result<Bytes> {
    let file = match &row.file {
        Some(DeviceFile {
            expired_us: Some(_),
            ..
        }) => bail!(
            "it was deleted after {} days, as [device_files] keep_days says; ask the device again",
            setup.config.device_files.keep_days
        ),
        Some(file) if file.arrived => file,
        Some(_) if row.is_overdue(now()) => {
            bail!(
                "its file has not come within a day; see what the device has yet to send (\"device list\"), and ask again"
            )
        }
        Some(_) => bail!("its file has not arrived yet; try again in a minute"),
        None => {
            bail!("the device has sent no file: \"device files\" shows what became of the request")
        }
    };
    // Noted first: what was read cannot be taken back.
    let actor = super::console();
    setup.store.note(actor, row.reading(), now()).await?;
    let limit = setup.config.limits.blob_bytes;
    let blobs = Blobs::beside(&setup.config.data_dir, Arc::new(setup.store.clone()), limit)?;
    let bytes = blobs.get(row.contract, row.device, file.sha256).await?;
    bytes.context("its file is gone from the receiver's disk; restore it from a backup, or ask the device again")
}

fn write(to: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = || {
        format!(
            "writing {}; choose a name that does not exist yet",
            to.display()
        )
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .with_context(shown)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file is worse than none.
        let _ = std::fs::remove_file(to);
    }
    written.with_context(shown)
}

/// What a device sent must not move the cursor of an operator's terminal.
fn printable(text: &str) -> String {
    let is_harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let shown = text
        .chars()
        .map(|c| if is_harmless(c) { c } else { '\u{fffd}' });
    shown.collect()
}

pub(super) async fn list(
    common: &Common,
    store: &SqliteStore,
    wanted: &str,
) -> anyhow::Result<ExitCode> {
    let device = by_name(store, wanted).await?.device;
    let rows = store.device_files(device).await?;
    let words: Vec<String> = rows.iter().map(|row| line(row, now())).collect();
    let words = if words.is_empty() {
        "Neither a log nor a support bundle was asked of this device.".to_owned()
    } else {
        words.join("\n")
    };
    report(common, &rows, &words)?;
    Ok(ExitCode::SUCCESS)
}

fn line(row: &DeviceFileRow, at: UtcMicros) -> String {
    let asked = jiff::Timestamp::from_microsecond(row.asked_us.0).map_or_else(
        |_| "?".to_owned(),
        |asked| asked.strftime("%F %R UTC").to_string(),
    );
    let what = if row.is_log() {
        "log           "
    } else {
        "support bundle"
    };
    let detail = row.state.detail.as_deref().unwrap_or_default();
    let state = match (Outcome::of(&row.state, at), &row.file) {
        (_, Some(file)) if file.expired_us.is_some() => "deleted, its time was over".to_owned(),
        (_, Some(file)) if file.arrived => {
            format!("here, {} kB: {detail}", file.bytes.div_ceil(1000))
        }
        (_, Some(_)) if row.is_overdue(at) => {
            "answered, but its file has not come within a day: see what the device has yet to send (\"device list\"), and ask again"
                .to_owned()
        }
        (_, Some(_)) => "answered; its file is on the way".to_owned(),
        (Outcome::Waiting, None) => "waits for the device".to_owned(),
        (Outcome::Done, None) => "answered without a file".to_owned(),
        (Outcome::Failed, None) => format!("failed: {detail}"),
        (Outcome::Refused, None) => format!("refused: {detail}"),
        (Outcome::Unanswered, None) => "not answered".to_owned(),
        (Outcome::NeverSent, None) => "expired: the device was not connected".to_owned(),
    };
    format!("{}  {asked}  {what}  {}", row.state.id, printable(&state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cannot_play_with_the_terminal() {
        assert_eq!(
            printable("a\tb\n\u{1b}[2J日本\u{7}"),
            "a\tb\n\u{fffd}[2J日本\u{fffd}"
        );
    }
}
