//! `edge-agent status`: what the running agent says, as a table for people or JSON for programs.

use super::table;
use crate::config;
use crate::control::report::{CameraLine, EnrollmentReport, GateLine};
use crate::control::{StatusReport, ask_status};
use crate::health::UnitState;
use crate::ntp::{ClockReport, Verdict};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::ClockState;

/// Less than this of the looks that are asked for is overload; rates of the last seconds are never quite equal.
const ENOUGH: f32 = 0.7;

/// Ask the running agent how it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
    /// Ask this socket instead of the one that the configuration names.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => config::load(config_file)?.device.control_socket(),
    };
    let report = super::block_on(ask_status(&socket))??;
    if args.json {
        super::say(format_args!("{}\n", serde_json::to_string_pretty(&report)?));
    } else {
        super::say(render(&report));
    }
    Ok(ExitCode::SUCCESS)
}

/// The report as a field engineer reads it.
pub fn render(report: &StatusReport) -> String {
    let mut text = table::render(&summary(report));
    text.push('\n');
    text.push_str(&cameras(report));
    let troubled = units(report);
    if !troubled.is_empty() {
        text.push('\n');
        text.push_str(&troubled);
    }
    text
}

fn summary(report: &StatusReport) -> Vec<Vec<String>> {
    let uptime = std::time::Duration::from_secs(report.uptime_seconds);
    let row = |name: &str, text: String| vec![name.to_owned(), text];
    let mut rows = vec![
        row(
            "agent",
            format!(
                "{}, up {}, model {} on {}",
                report.version,
                table::duration(uptime),
                report.model,
                report.provider
            ),
        ),
        row("device", report.device.to_string()),
        row(
            "enrolled",
            match &report.enrollment {
                Some(enrolled) => format!(
                    "{} / {}, receiver {}{}",
                    enrolled.contract,
                    enrolled.site,
                    enrolled.receiver,
                    certificate(enrolled)
                ),
                None => "no: events are kept here until `edge-agent enroll`".into(),
            },
        ),
        row("decoders", decoders(report)),
        row("uplink", uplink(report)),
        row("spool", spool(report)),
        row("clock", clock(&report.clock)),
    ];
    for server in &report.clock.servers {
        if !matches!(server.verdict, Verdict::Agrees | Verdict::Waiting) {
            let detail = match (&server.detail, server.offset_us) {
                (Some(detail), _) => detail.clone(),
                (None, Some(offset_us)) => format!("says {}", table::offset(offset_us)),
                (None, None) => String::new(),
            };
            let verdict = verdict_word(server.verdict);
            rows.push(row("", format!("{} {verdict}: {detail}", server.server)));
        }
    }
    rows
}

fn certificate(enrolled: &EnrollmentReport) -> String {
    enrolled
        .certificate_until_us
        .and_then(|until| jiff::Timestamp::from_microsecond(until.0).ok())
        .map_or_else(String::new, |until| {
            format!(", certificate until {}", until.strftime("%F %R UTC"))
        })
}

/// Each element once, with what it decodes.
fn decoders(report: &StatusReport) -> String {
    let mut said: Vec<String> = Vec::new();
    for decoder in &report.decoders {
        let kind = if decoder.hardware {
            "hardware"
        } else {
            "software"
        };
        let words = format!(
            "{} by {} ({kind}: {})",
            decoder.codec, decoder.element, decoder.why
        );
        if !said.contains(&words) {
            said.push(words);
        }
    }
    if said.is_empty() {
        return "none needed yet".into();
    }
    said.join("; ")
}

fn uplink(report: &StatusReport) -> String {
    let line = &report.uplink;
    let mut text = format!(
        "{} for {} (since {} UTC)",
        line.carriage,
        table::since(report.now_us, line.since_us),
        table::minute(line.since_us)
    );
    if line.batches_sent > 0 {
        let _ = write!(
            text,
            ", {} batches and {} pictures sent",
            line.batches_sent, line.blobs_sent
        );
    }
    if let Some(last) = line.last_receipt_us {
        let _ = write!(
            text,
            ", last receipt {} ago",
            table::since(report.now_us, last)
        );
    }
    if let Some(error) = line.last_error.as_ref().filter(|_| line.carriage != "mqtt") {
        let _ = write!(text, " ({error})");
    }
    text
}

fn spool(report: &StatusReport) -> String {
    let line = &report.spool;
    let mut text = if line.pending_records + line.pending_blobs == 0 {
        "all delivered".into()
    } else {
        format!(
            "{} records and {} pictures wait",
            line.pending_records, line.pending_blobs
        )
    };
    if let Some(oldest) = line.oldest_pending_us {
        let _ = write!(
            text,
            ", the oldest for {}",
            table::since(report.now_us, oldest)
        );
    }
    let _ = write!(
        text,
        "; {} of {}",
        table::bytes(line.bytes),
        table::bytes(line.quota_bytes)
    );
    for (count, what) in [
        (line.parked_records, "refused by the receiver"),
        (line.shed, "lost, each named in a gap record"),
        (line.pictures_missed, "pictures missed"),
    ] {
        if count > 0 {
            let _ = write!(text, "; {count} {what}");
        }
    }
    text
}

fn clock(report: &ClockReport) -> String {
    let stamp = report.stamp;
    let agreeing = report
        .servers
        .iter()
        .filter(|server| server.verdict == Verdict::Agrees)
        .count();
    let voices = format!("{agreeing} of {} servers agree", report.servers.len());
    let state = match stamp.state {
        ClockState::Unsynced | ClockState::Unknown => {
            return match report.servers.len() {
                0 => "unsynced: no clock servers are configured".into(),
                _ => format!("unsynced: {voices}"),
            };
        }
        ClockState::Synced => "synced",
        ClockState::Holdover => "holdover",
    };
    let error_ms = stamp.error_us.unwrap_or(0) as f64 / 1000.0;
    let ago = std::time::Duration::from_secs(report.agreed_seconds_ago.unwrap_or(0));
    format!(
        "{state}, off by {}, known to {error_ms:.1} ms; {voices}, last {} ago",
        table::offset(stamp.offset_us),
        table::duration(ago)
    )
}

fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Waiting => "not asked yet",
        Verdict::Agrees => "agrees",
        Verdict::Outvoted => "outvoted",
        Verdict::Undecided => "undecided",
        Verdict::Silent => "silent",
        Verdict::Kiss => "refuses",
        Verdict::Unsynchronised => "unsynchronised",
        Verdict::Implausible => "implausible",
    }
}

fn cameras(report: &StatusReport) -> String {
    if report.cameras.is_empty() {
        return "no cameras are configured: `edge-agent camera new-id` shows how\n".into();
    }
    let heading = [
        "CAMERA",
        "STATE",
        "FOR",
        "SINCE (UTC)",
        "PICTURE",
        "IN/S",
        "DECODED/S",
        "LOOKS/S",
        "INFERENCE",
        "WATCHED BY",
        "EVENTS",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    rows.extend(
        report
            .cameras
            .iter()
            .map(|camera| camera_row(report, camera)),
    );
    let mut text = table::render(&rows);
    for camera in &report.cameras {
        if let Some(error) = camera
            .last_error
            .as_ref()
            .filter(|_| matches!(camera.state.as_str(), "retrying" | "failed"))
        {
            let name = if error.contains(&camera.name) {
                String::new()
            } else {
                format!("{}: ", camera.name)
            };
            let _ = writeln!(text, "{name}{error}");
        }
    }
    text.push_str(&advice(report));
    text
}

/// How the camera is watched, and whether something moves there.
fn watched_by(gate: &GateLine) -> String {
    let mode = match gate.mode.as_str() {
        "" => "-".to_owned(),
        mode => mode.replace('_', " "),
    };
    if gate.active && gate.mode != "everything" {
        format!("{mode}; moves")
    } else {
        mode
    }
}

/// What a person could do so that more cameras fit.
fn advice(report: &StatusReport) -> String {
    let mut text = String::new();
    for camera in &report.cameras {
        if matches!(
            camera.gate.mode.as_str(),
            "everything" | "key_frames_and_openings"
        ) {
            let mode = camera.gate.mode.replace('_', " ");
            let _ = writeln!(text, "{}: {mode} decoded: {}", camera.name, camera.gate.why);
        }
    }
    let sum = |fps: fn(&CameraLine) -> f32| report.cameras.iter().map(fps).sum::<f32>();
    let (given, asked) = (
        sum(|camera| camera.fps_analysed),
        sum(|camera| camera.fps_asked),
    );
    if asked > 2.0 && given < asked * ENOUGH {
        let _ = writeln!(
            text,
            "more moves than this machine has time for: {given:.1} of {asked:.1} looks a second; every camera gets its \
             share. Lower [analysis] frames_per_second, or mask what need not be watched"
        );
    }
    text
}

fn camera_row(report: &StatusReport, camera: &CameraLine) -> Vec<String> {
    let dash = || "-".to_owned();
    let state = match &camera.reason {
        Some(reason) => format!("{}: {reason}", camera.state),
        None => camera.state.clone(),
    };
    let picture = match (camera.width, camera.height) {
        (Some(width), Some(height)) => {
            let codec = camera.codec.as_deref().unwrap_or("");
            format!("{width}x{height} {codec}").trim().to_owned()
        }
        _ => dash(),
    };
    let inference = match (camera.inference_ms_mean, camera.inference_ms_p95) {
        (Some(mean), Some(p95)) => format!("{mean:.0} ms, p95 {p95:.0}"),
        (Some(mean), None) => format!("{mean:.0} ms"),
        _ => dash(),
    };
    let events = match camera.events_open {
        0 => camera.events_total.to_string(),
        open => format!("{} ({open} open)", camera.events_total),
    };
    vec![
        camera.name.clone(),
        state,
        table::since(report.now_us, camera.since_us),
        table::minute(camera.since_us),
        picture,
        format!("{:.1}", camera.fps_in),
        format!("{:.1}", camera.fps_decoded),
        format!("{:.1} of {:.1}", camera.fps_analysed, camera.fps_asked),
        inference,
        watched_by(&camera.gate),
        events,
    ]
}

/// Only units that are not simply running: the rest would hide them.
fn units(report: &StatusReport) -> String {
    let mut rows = vec![
        ["UNIT", "STATE", "FOR", "SINCE (UTC)", "WHY"]
            .map(String::from)
            .to_vec(),
    ];
    for (name, unit) in &report.units {
        // A camera's trouble stands in its own line.
        if unit.state == UnitState::Running || name.starts_with("cap-") {
            continue;
        }
        let state = match unit.state {
            UnitState::Starting => "starting",
            UnitState::Running => "running",
            UnitState::Retrying => "retrying",
            UnitState::Stopped => "stopped",
        };
        rows.push(vec![
            name.clone(),
            state.into(),
            table::since(report.now_us, unit.since_us),
            table::minute(unit.since_us),
            unit.last_error.clone().unwrap_or_default(),
        ]);
    }
    if rows.len() == 1 {
        String::new()
    } else {
        table::render(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::sample;

    #[test]
    fn the_table_says_what_an_engineer_asks() {
        let expected = "\
agent     0.1.0, up 1 h 02 min, model nanodet-g-416-int8 on cpu
device    00000000-0000-0000-0000-000000000001
enrolled  no: events are kept here until `edge-agent enroll`
decoders  none needed yet
uplink    not enrolled for 0 s (since 2026-09-21 14:13 UTC)
spool     all delivered; 0 B of 0 B
clock     unsynced: no clock servers are configured

CAMERA    STATE    FOR         SINCE (UTC)       PICTURE         IN/S  DECODED/S  LOOKS/S     INFERENCE      WATCHED BY    EVENTS
正面入口  running  1 min 00 s  2026-09-21 14:12  1920x1080 h264  15.0  15.0       5.0 of 5.0  32 ms, p95 40  sizes; moves  12 (1 open)
";
        assert_eq!(render(&sample()), expected);
    }

    #[test]
    fn what_costs_more_than_it_must_is_said_with_its_remedy() {
        let mut report = sample();
        assert_eq!(advice(&report), "");
        let camera = &mut report.cameras[0];
        camera.gate.mode = "everything".into();
        camera.gate.why = "key frames come only every 10.0 s; set the camera to 1 to 2 s".into();
        camera.fps_analysed = 2.0;
        let text = render(&report);
        for words in [
            "正面入口: everything decoded: key frames",
            "2.0 of 5.0 looks a second",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn trouble_is_spelled_out() {
        let mut report = sample();
        let camera = &mut report.cameras[0];
        camera.state = "retrying".into();
        camera.reason = Some("auth".into());
        camera.last_error = Some("login refused by 10.0.0.12; check user and password".into());
        report.spool.parked_records = 2;
        let text = render(&report);
        assert!(text.contains("retrying: auth"), "{text}");
        assert!(
            text.contains("正面入口: login refused by 10.0.0.12"),
            "{text}"
        );
        assert!(text.contains("2 refused by the receiver"), "{text}");
    }
}
