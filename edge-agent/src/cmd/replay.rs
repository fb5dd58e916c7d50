//! `edge-agent replay FILE`: the events of a video file, by the rules of a configured camera. The same file and configuration give
//! the same lines every time, on whatever day: so a case from the field is had again, and a rule tried before it is
//! installed.

use crate::capture::replay::Replay;
use crate::config::{self, CameraConfig, Config};
use crate::detect::{Detector, OnnxDetector};
use crate::event::ids;
use crate::vision::pace;
use crate::vision::replay::{Seen, replay};
use crate::vision::watch::{Watch, WatchConfig};
use anyhow::{Context, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use wire::record::{CAMERA_CLASS, EventRecord, EventState, Reason};
use wire::{Body, Record, RecordTime, UtcMicros};

/// Noon in Tokyo on an ordinary Wednesday.
const USUAL_START: &str = "2000-01-05T03:00:00Z";

/// Print the events of a video file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whatever GStreamer can play.
    file: PathBuf,
    /// Name of the configured camera whose rules apply; may be left out where there is but one.
    #[arg(long, value_name = "NAME")]
    camera: Option<String>,
    /// When the film begins: schedules go by it. RFC 3339.
    #[arg(long, value_name = "TIME", default_value = USUAL_START)]
    start: jiff::Timestamp,
    /// Print every record as a line of JSON, as it would be delivered.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let config = config::load(config_file)?;
    let camera = chosen(&config, args.camera.as_deref())?;
    let start = beginning(args.start);
    let film = Replay::open(&args.file, camera.id, start)?;
    let mut detector = OnnxDetector::open(&config.model, &config.analysis)?;
    let rules = WatchConfig {
        periodic: Duration::ZERO,
        ..WatchConfig::new(camera, &config)
    };
    let mut watch = Watch::new(rules, detector.thresholds(), ids::seeded(0, camera.id));
    let tell = |record: Record| {
        if args.json {
            super::say(format_args!(
                "{}\n",
                String::from_utf8_lossy(&record.to_json())
            ));
        } else if let Some(line) = line(start.captured_at_us, &record) {
            super::say(format_args!("{line}\n"));
        }
    };
    let seen = replay(
        film,
        pace(&config.analysis),
        &mut detector,
        &mut watch,
        &camera.motion_masks,
        tell,
    )?;
    if !args.json {
        super::say(summary(seen, watch.events_total()));
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(config: &'a Config, name: Option<&str>) -> anyhow::Result<&'a CameraConfig> {
    let names = || {
        let names = config.cameras.iter().map(|camera| camera.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match (name, config.cameras.as_slice()) {
        (_, []) => {
            bail!("no camera is configured, so there are no rules: run `edge-agent camera add`")
        }
        (None, [only]) => Ok(only),
        (None, _) => bail!(
            "several cameras are configured; say --camera with one of: {}",
            names()
        ),
        (Some(name), cameras) => cameras
            .iter()
            .find(|camera| camera.name == name)
            .with_context(|| format!("there is no camera \"{name}\"; configured are: {}", names())),
    }
}

/// The film's first frame, by a boot that began a second before it.
fn beginning(start: jiff::Timestamp) -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(start.as_microsecond()),
        boottime_ns: 1_000_000_000,
        ..RecordTime::BEGINNING
    }
}

/// What a person wants to know of a record; nothing of those that only programs read.
fn line(start: UtcMicros, record: &Record) -> Option<String> {
    let at = place(start, record.time.captured_at_us);
    match &record.body {
        Body::Event(event) => Some(format!("{at}  {}", event_words(event))),
        Body::Count(count) => {
            let mut text = format!(
                "{at}  count    {} {} in the minute from {}",
                count.count,
                count.class,
                place(start, count.minute_us).trim_start()
            );
            for (what, name) in [("zone", &count.zone), ("line", &count.line)] {
                if let Some(name) = name {
                    let _ = write!(text, ", {what} {name}");
                }
            }
            if let Some(direction) = &count.direction {
                let _ = write!(text, " {direction}");
            }
            Some(text)
        }
        _ => None,
    }
}

/// Minutes, seconds and tenths into the film.
fn place(start: UtcMicros, at: UtcMicros) -> String {
    let tenths = (at.0 - start.0).div_euclid(100_000);
    let (minutes, rest) = (tenths.div_euclid(600), tenths.rem_euclid(600));
    format!("{minutes:>3}:{:02}.{}", rest / 10, rest % 10)
}

fn event_words(event: &EventRecord) -> String {
    let state = match event.state {
        EventState::Opened => "opened",
        EventState::Updated => "goes on",
        EventState::Closed => "closed",
        EventState::Unknown => "?",
    };
    let id = event.id.to_string();
    let mut text = format!(
        "{state:<8} {} {}",
        event.class,
        &id[id.len().saturating_sub(6)..]
    );
    // A camera that does not see is nowhere in its picture.
    if event.class != CAMERA_CLASS {
        let (x, y) = (
            event.rect.x + event.rect.w / 2.0,
            event.rect.y + event.rect.h,
        );
        let _ = write!(text, " score {:.2} at {x:.2},{y:.2}", event.score);
    }
    if !event.zones.is_empty() {
        let _ = write!(text, "  zones {}", event.zones.join(", "));
    }
    for reason in &event.reasons {
        let _ = write!(text, "  {}", reason_words(reason));
    }
    text
}

fn reason_words(reason: &Reason) -> String {
    let mut text = reason.rule.clone();
    for part in [&reason.name, &reason.direction].into_iter().flatten() {
        let _ = write!(text, " {part}");
    }
    if let Some(seconds) = reason.seconds {
        let _ = write!(text, " {seconds} s");
    }
    if let Some(count) = reason.count {
        let _ = write!(text, " {count}");
    }
    text
}

fn summary(seen: Seen, events: u64) -> String {
    format!(
        "{} frames, something moved in {} of {} that were compared, {} were looked at: {events} events\n",
        seen.frames, seen.frames_moving, seen.frames_compared, seen.frames_looked_at
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_read_as_on_a_player() {
        for (us, expected) in [(0, "  0:00.0"), (61_240_000, "  1:01.2"), (-1, " -1:59.9")] {
            assert_eq!(place(UtcMicros(5), UtcMicros(5 + us)), expected);
        }
    }

    #[test]
    fn a_camera_is_chosen_or_asked_for() {
        let config = |names: &[&str]| {
            let cameras = names.iter().enumerate().map(|(index, name)| {
                format!("[[camera]]\nid = \"00000000-0000-4000-8000-00000000000{index}\"\nname = \"{name}\"\nurl = \"rtsp://h/\"\n")
            });
            config::parse(&cameras.collect::<String>(), "x").unwrap()
        };
        let (none, one, two) = (config(&[]), config(&["門"]), config(&["門", "庭"]));
        assert_eq!(chosen(&one, None).unwrap().name, "門");
        assert_eq!(chosen(&two, Some("庭")).unwrap().name, "庭");
        for (config, name, words) in [
            (&none, None, "camera add"),
            (&two, None, "門, 庭"),
            (&one, Some("庭"), "no camera \"庭\""),
        ] {
            let error = chosen(config, name).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
