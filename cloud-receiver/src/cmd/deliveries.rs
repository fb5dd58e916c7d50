//! `audit deliveries`: does everything add up, per camera, hour and class? A difference is named by its key.

use super::export::sources;
use super::{Common, print, setup};
use crate::evidence::deliveries::{Balance, BoxAudit, Difference, Key, Line, balance};
use crate::evidence::export::Sources;
use crate::evidence::local;
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditRows, EvidenceDevice, EvidenceReads, PictureRow};
use anyhow::{Context, bail};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::{CameraId, DeviceId, Epoch, SeqRange, UtcMicros};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this device: id, the beginning of it, or the name of its site.
    #[arg(long)]
    device: Option<String>,
    /// From when on, by the box's clock: 2026-11-22, 2026-11-22T14:30 (local), or with an offset.
    #[arg(long, value_parser = local::parse)]
    from: Option<UtcMicros>,
    /// Until when, exclusive.
    #[arg(long, value_parser = local::parse)]
    to: Option<UtcMicros>,
    /// What "edge-agent spool audit --json" printed on the box: compares both sides.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    adds_up: bool,
    devices: Vec<DeviceReport>,
    /// What this side alone cannot know.
    limits: Vec<String>,
}

#[derive(Serialize)]
struct DeviceReport {
    device: DeviceId,
    contract: String,
    site: String,
    compared_with_box: bool,
    lines: Vec<LineReport>,
    differences: Vec<DifferenceReport>,
    refused: Vec<RefusedReport>,
    explained_records: u64,
    /// Deleted since as agreed; counted as received.
    deleted_records: u64,
    lines_unknown_to_box: u64,
}

#[derive(Serialize)]
struct LineReport {
    hour: String,
    hour_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<CameraId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera_name: Option<String>,
    class: String,
    #[serde(flatten)]
    line: Line,
}

#[derive(Serialize)]
struct DifferenceReport {
    sentence: String,
    #[serde(flatten)]
    difference: Difference,
}

#[derive(Serialize)]
struct RefusedReport {
    epoch: Epoch,
    #[serde(flatten)]
    range: SeqRange,
    code: String,
}

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<ExitCode> {
    let sources = sources(setup(common)?)?;
    let on_box = args.against.as_deref().map(read_box).transpose()?;
    let devices = wanted(&sources.store, args.device.as_deref(), on_box.as_ref()).await?;
    let range = match (args.from, args.to) {
        (None, None) => None,
        (from, to) => Some((
            from.unwrap_or(UtcMicros(i64::MIN)),
            to.unwrap_or(UtcMicros(i64::MAX)),
        )),
    };
    let mut reports = Vec::new();
    for device in &devices {
        let rows = sources.store.audit_rows(device.device, range).await?;
        let files_missing = without_file(&sources, device, range).await?;
        let theirs = on_box
            .as_ref()
            .filter(|on_box| on_box.device == device.device);
        let theirs = theirs.map(|on_box| within(on_box, range));
        reports.push(report_of(device, &rows, &files_missing, theirs.as_ref()));
    }
    let report = Report {
        adds_up: reports.iter().all(|report| report.differences.is_empty()),
        limits: limits(&reports),
        devices: reports,
    };
    if common.json {
        let json = serde_json::to_string_pretty(&report)?;
        print(|out| writeln!(out, "{json}"))?;
    } else {
        print(|out| write_report(out, &report))?;
    }
    Ok(if report.adds_up {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read_box(path: &Path) -> anyhow::Result<BoxAudit> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not what \"edge-agent spool audit --json\" prints",
            path.display()
        )
    })
}

async fn wanted(
    store: &SqliteStore,
    name: Option<&str>,
    on_box: Option<&BoxAudit>,
) -> anyhow::Result<Vec<EvidenceDevice>> {
    let mut devices = store.evidence_devices(None).await?;
    if let Some(name) = name {
        let device = super::device::by_name(store, name).await?.device;
        devices.retain(|row| row.device == device);
    }
    if let Some(on_box) = on_box {
        devices.retain(|row| row.device == on_box.device);
        if devices.is_empty() {
            bail!(
                "the file is of device {}, which is not the one asked for, or not enrolled here",
                on_box.device
            );
        }
    }
    Ok(devices)
}

fn within(on_box: &BoxAudit, range: Option<(UtcMicros, UtcMicros)>) -> BoxAudit {
    let mut on_box = on_box.clone();
    if let Some((from, to)) = range {
        on_box
            .lines
            .retain(|line| from.0 <= line.hour_us && line.hour_us < to.0);
    }
    on_box
}

/// Pictures whose row says that they are here, and whose file is not.
async fn without_file(
    sources: &Sources<SqliteStore>,
    device: &EvidenceDevice,
    range: Option<(UtcMicros, UtcMicros)>,
) -> anyhow::Result<Vec<PictureRow>> {
    let mut missing = Vec::new();
    for picture in sources.store.picture_rows(device.device, range).await? {
        let claimed = picture.arrived && picture.brought_by.is_some();
        if claimed && !sources.blobs.has(device.contract, picture.sha256).await? {
            missing.push(picture);
        }
    }
    Ok(missing)
}

fn report_of(
    device: &EvidenceDevice,
    rows: &AuditRows,
    files_missing: &[PictureRow],
    on_box: Option<&BoxAudit>,
) -> DeviceReport {
    let Balance {
        lines,
        differences,
        refused,
        explained,
        unknown_to_box,
        deleted,
    } = balance(device, rows, files_missing, on_box);
    let line = |(key, line): (Key, Line)| LineReport {
        hour: local::utc(UtcMicros(key.hour_us)),
        hour_us: key.hour_us,
        camera_name: key.camera.map(|camera| name_of(device, camera)),
        camera: key.camera,
        class: key.class,
        line,
    };
    let told = |difference: Difference| DifferenceReport {
        sentence: sentence(device, &difference),
        difference,
    };
    DeviceReport {
        device: device.device,
        contract: device.contract_name.clone(),
        site: device.site_name.clone(),
        compared_with_box: on_box.is_some(),
        lines: by_name(lines.into_iter().map(line).collect()),
        differences: differences.into_iter().map(told).collect(),
        refused: refused
            .into_iter()
            .map(|(epoch, range, code)| RefusedReport { epoch, range, code })
            .collect(),
        explained_records: explained,
        deleted_records: deleted,
        lines_unknown_to_box: unknown_to_box,
    }
}

/// Within an hour by the cameras' names; what is of the box itself comes last.
fn by_name(mut lines: Vec<LineReport>) -> Vec<LineReport> {
    let name = |line: &LineReport| (line.camera_name.is_none(), line.camera_name.clone());
    lines.sort_by(|a, b| {
        (a.hour_us, name(a), a.camera, &a.class).cmp(&(b.hour_us, name(b), b.camera, &b.class))
    });
    lines
}

fn name_of(device: &EvidenceDevice, camera: CameraId) -> String {
    let known = device
        .cameras
        .iter()
        .find(|(id, name)| *id == camera && !name.is_empty());
    known.map_or_else(|| camera.to_string(), |(_, name)| name.clone())
}

fn sentence(device: &EvidenceDevice, difference: &Difference) -> String {
    let what = |camera: &Option<CameraId>, class: &str| match camera {
        Some(camera) => format!("{} \"{class}\"", name_of(device, *camera)),
        None => format!("the box itself, \"{class}\""),
    };
    let at = |hour_us: &i64| local::minute(UtcMicros(*hour_us));
    match difference {
        Difference::MissingRecords { epoch, first, last } if first == last => {
            format!("epoch {epoch}, record {first} has not arrived, and nothing says why")
        }
        Difference::MissingRecords { epoch, first, last } => {
            format!("epoch {epoch}, records {first}-{last} have not arrived, and nothing says why")
        }
        Difference::MissingPicture {
            epoch,
            seq,
            sha256,
            camera,
            class,
        } => format!(
            "{}: picture {sha256}, named by epoch {epoch}, record {seq}, has not arrived, and nothing says why",
            what(&Some(*camera), class)
        ),
        Difference::PictureWithoutFile {
            epoch,
            seq,
            sha256,
            camera,
            class,
        } => format!(
            "{}: picture {sha256}, named by epoch {epoch}, record {seq}, had arrived, but its file is gone",
            what(&Some(*camera), class)
        ),
        Difference::Unindexed { epoch, seq } => {
            format!("epoch {epoch}, record {seq} is stored, but the index does not know it")
        }
        Difference::FewerThanSettled {
            camera,
            hour_us,
            class,
            settled,
            received,
        } => format!(
            "{} at {}: the box has receipts for {settled}, but {received} are stored",
            what(camera, class),
            at(hour_us)
        ),
        Difference::MoreThanCaptured {
            camera,
            hour_us,
            class,
            captured,
            received,
        } => format!(
            "{} at {}: {received} are stored, but the box captured {captured}",
            what(camera, class),
            at(hour_us)
        ),
        Difference::ShedUnnamed {
            camera,
            class,
            shed,
            named,
        } => format!(
            "{}: the box shed {shed}, its gap records name {named}",
            what(camera, class)
        ),
        Difference::BoxLine {
            camera,
            hour_us,
            class,
            captured,
            accounted,
        } => format!(
            "{} at {}: the box captured {captured} and accounts for {accounted}",
            what(camera, class),
            at(hour_us)
        ),
        Difference::OnBox { found } => format!("found on the box: {found}"),
    }
}

fn limits(reports: &[DeviceReport]) -> Vec<String> {
    let mut limits = Vec::new();
    if reports.iter().any(|report| !report.compared_with_box) {
        limits.push(
            "what a box still holds, and what it captured after its last record here, cannot be known on this side alone; \
             run \"edge-agent spool audit --json\" on the box and give its output with --against."
                .to_owned(),
        );
    }
    let unknown: u64 = reports
        .iter()
        .map(|report| report.lines_unknown_to_box)
        .sum();
    if unknown > 0 {
        limits.push(format!(
            "of {unknown} lines the box knows nothing: its spool is younger than they are."
        ));
    }
    limits
}

fn write_report(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for device in &report.devices {
        writeln!(
            out,
            "Device {} at {}/{}",
            device.device, device.contract, device.site
        )?;
        if device.lines.is_empty() {
            writeln!(out, "  nothing in this time")?;
        } else {
            write_lines(out, device)?;
        }
        for refused in &device.refused {
            let range = refused.range;
            writeln!(
                out,
                "  refused: epoch {}, records {}-{} ({})",
                refused.epoch, range.first, range.last, refused.code
            )?;
        }
        if device.explained_records > 0 {
            writeln!(
                out,
                "  {} record numbers are empty, and gap records or refusals say why",
                device.explained_records
            )?;
        }
        if device.deleted_records > 0 {
            writeln!(
                out,
                "  {} records deleted as agreed; they are counted as received",
                device.deleted_records
            )?;
        }
        write_differences(out, device)?;
        writeln!(out)?;
    }
    for limit in &report.limits {
        writeln!(out, "Note: {limit}")?;
    }
    writeln!(
        out,
        "{}",
        if report.adds_up {
            "ADDS UP"
        } else {
            "DOES NOT ADD UP"
        }
    )
}

fn write_lines(out: &mut dyn Write, device: &DeviceReport) -> io::Result<()> {
    let name = |line: &LineReport| {
        line.camera_name
            .clone()
            .unwrap_or_else(|| "(box)".to_owned())
    };
    let width = device
        .lines
        .iter()
        .map(|line| columns(&name(line)))
        .max()
        .unwrap_or(6)
        .max(6);
    let of_box = if device.compared_with_box {
        "   box: captured  settled  shed  parked  pending"
    } else {
        ""
    };
    writeln!(
        out,
        "  {:<16}  {}  {:<12} {:>8} {:>8} {:>6}{of_box}",
        "hour",
        pad("camera", width),
        "class",
        "received",
        "awaited",
        "lost"
    )?;
    let mut hour = String::new();
    for line in &device.lines {
        let this = local::minute(UtcMicros(line.hour_us));
        let shown = if this == hour {
            String::new()
        } else {
            this.clone()
        };
        hour = this;
        let counts = line.line.on_box.map_or_else(String::new, |counts| {
            format!(
                "        {:>8} {:>8} {:>5} {:>7} {:>8}",
                counts.captured, counts.settled, counts.shed, counts.parked, counts.pending
            )
        });
        let reasons: Vec<_> = line
            .line
            .reasons
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let reasons = if reasons.is_empty() {
            String::new()
        } else {
            format!("  {}", reasons.join(", "))
        };
        let text = format!(
            "  {shown:<16}  {}  {:<12} {:>8} {:>8} {:>6}{counts}{reasons}",
            pad(&name(line), width),
            line.class,
            line.line.received,
            blank(line.line.awaited),
            blank(line.line.lost)
        );
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn blank(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        count.to_string()
    }
}

/// How many columns of a terminal a name takes: Japanese letters take two.
fn columns(text: &str) -> usize {
    text.chars()
        .map(|c| if (c as u32) < 0x1100 { 1 } else { 2 })
        .sum()
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

fn write_differences(out: &mut dyn Write, device: &DeviceReport) -> io::Result<()> {
    /// More on a screen help nobody; JSON has them all.
    const SHOWN: usize = 50;
    if device.differences.is_empty() {
        return Ok(());
    }
    writeln!(out, "  Does not add up:")?;
    for (index, difference) in device.differences.iter().take(SHOWN).enumerate() {
        writeln!(out, "    {}. {}", index + 1, difference.sentence)?;
    }
    if device.differences.len() > SHOWN {
        writeln!(
            out,
            "    and {} more; --json prints all",
            device.differences.len() - SHOWN
        )?;
    }
    Ok(())
}
