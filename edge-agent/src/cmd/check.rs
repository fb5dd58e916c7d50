//! `edge-agent check`: everything the agent needs, tried without starting it; one line each, and what to do.

use crate::capture::gst::choice;
use crate::capture::{self, CameraState, CaptureDeps, Decoders, Reason, RetryPolicy};
use crate::clock::{Clocks, RealClocks, TimeSource};
use crate::config::{self, CameraConfig, Config};
use crate::control;
use crate::detect::model::Description;
use crate::detect::{Detector, OnnxDetector};
use crate::health::Health;
use crate::identity::{Enrollment, Identity, SavedFloor};
use crate::ntp::{self, select};
use crate::uplink::https::DeviceClient;
use crate::uplink::{FlooredTime, TimeFloor, address_in_words, tls};
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for one camera's first picture data.
const CAMERA_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for the receiver.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(8);

/// Try everything the agent needs, without starting it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave out what needs the network: cameras, clock servers, receiver.
    #[arg(long)]
    offline: bool,
    /// Leave out what takes memory: running the model, trying decoders. For use beside a running agent.
    #[arg(long)]
    light: bool,
}

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// Works, but a person should know.
    Note,
    Failed,
}

/// Prints each line as it comes and remembers the worst.
#[derive(Debug, Default)]
struct Sheet {
    failed: usize,
}

impl Sheet {
    fn line(&mut self, outcome: Outcome, thing: &str, words: impl Display) {
        let mark = match outcome {
            Outcome::Ok => "✓ ok  ",
            Outcome::Note => "! note",
            Outcome::Failed => "✗ FAIL",
        };
        self.failed += usize::from(outcome == Outcome::Failed);
        super::say(format_args!("{mark}  {thing}: {words}\n"));
    }

    fn ok(&mut self, thing: &str, words: impl Display) {
        self.line(Outcome::Ok, thing, words);
    }

    fn note(&mut self, thing: &str, words: impl Display) {
        self.line(Outcome::Note, thing, words);
    }

    fn failed(&mut self, thing: &str, words: impl Display) {
        self.line(Outcome::Failed, thing, words);
    }
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let config = config::load(config_file)?;
    let mut sheet = Sheet::default();
    let on = config
        .cameras
        .iter()
        .filter(|camera| camera.enabled)
        .count();
    sheet.ok(
        "configuration",
        format!(
            "{}, {on} of {} cameras enabled",
            config_file.display(),
            config.cameras.len()
        ),
    );
    if args.light {
        sheet.note("model, decoders", "they were left out (--light)");
    } else {
        check_model(&config, &mut sheet);
        check_decoders(&config, &mut sheet);
    }
    check_data_dir(&config, &mut sheet);
    let identity = check_identity(&config, &mut sheet);
    let is_running = check_socket(&config, &mut sheet);
    if args.offline {
        sheet.note(
            "network",
            "cameras, clock servers and receiver were left out (--offline)",
        );
    } else {
        check_cameras(&config, is_running, &mut sheet);
        super::block_on(check_clock(&config, &mut sheet))?;
        super::block_on(check_receiver(&config, identity.as_ref(), &mut sheet))??;
    }
    if sheet.failed > 0 {
        let things = if sheet.failed == 1 {
            "thing has"
        } else {
            "things have"
        };
        super::say(format_args!(
            "\n{} {things} to be put right\n",
            sheet.failed
        ));
        return Ok(ExitCode::FAILURE);
    }
    super::say("\nall is well\n");
    Ok(ExitCode::SUCCESS)
}

fn check_model(config: &Config, sheet: &mut Sheet) {
    let described = Description::load(&config.model.dir)
        .and_then(|description| description.read_network().map(|_| description));
    match described {
        Ok(description) => sheet.ok(
            "model",
            format!(
                "{}, {} classes, its hash fits",
                description.name,
                description.classes.len()
            ),
        ),
        Err(error) => return sheet.failed("model", error),
    }
    let started = Instant::now();
    match OnnxDetector::open(&config.model, &config.analysis) {
        Ok(detector) => sheet.ok(
            "inference",
            format!(
                "ONNX Runtime runs the model on {}, ready in {} ms",
                detector.provider(),
                started.elapsed().as_millis()
            ),
        ),
        Err(error) => sheet.failed("inference", error),
    }
}

/// What decodes each codec, proven by decoding; and what would have come first and does not work.
fn check_decoders(config: &Config, sheet: &mut Sheet) {
    choice::set_policy(config.capture.decoder);
    let chosen = match choice::choose_all() {
        Ok(chosen) => chosen,
        Err(error) => return sheet.failed("decoder", error),
    };
    for chosen in chosen {
        let what = match chosen.feed.as_str() {
            "stills" => "single pictures",
            _ => "all pictures",
        };
        let thing = format!("decoder of {}, {what}", chosen.codec);
        let words = format!("{}: {}", chosen.element, chosen.why);
        if chosen.proven {
            sheet.ok(&thing, words);
        } else {
            sheet.failed(&thing, words);
        }
        // What is not installed is nobody's fault; what is installed and does not work may be.
        for tried in chosen.tried.iter().filter(|tried| tried.installed) {
            sheet.note(&thing, format!("{} {}", tried.element, tried.problem));
        }
    }
}

fn check_data_dir(config: &Config, sheet: &mut Sheet) {
    let dir = &config.device.data_dir;
    let probe = dir.join(format!(".check.{}", std::process::id()));
    let outcome = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&probe, b"x"));
    let _ = std::fs::remove_file(&probe);
    if let Err(error) = outcome {
        let remedy = "make the folder and give it to the user of the agent";
        return sheet.failed(
            "data folder",
            format!("{}: {error}; {remedy}", dir.display()),
        );
    }
    let free_bytes = match rustix::fs::statvfs(dir) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return sheet.note("data folder", format!("free space unknown: {error}")),
    };
    let words = format!(
        "{}, {} free",
        dir.display(),
        super::table::bytes(free_bytes)
    );
    if free_bytes < config.spool.min_free_bytes {
        let wanted = super::table::bytes(config.spool.min_free_bytes);
        sheet.failed(
            "data folder",
            format!("{words}, less than min_free_bytes ({wanted}); free some space"),
        );
    } else if free_bytes < config.spool.quota_bytes {
        sheet.note(
            "data folder",
            format!("{words}, less than quota_bytes: the disk is the limit"),
        );
    } else {
        sheet.ok("data folder", words);
    }
}

fn check_identity(config: &Config, sheet: &mut Sheet) -> Option<Identity> {
    match Identity::load(&config.device.data_dir) {
        Ok(Some(identity)) => {
            sheet.ok("identity", format!("device {}", identity.device_id));
            Some(identity)
        }
        Ok(None) => {
            sheet.note(
                "identity",
                "none yet: made at the first start or by `edge-agent enroll`",
            );
            None
        }
        Err(error) => {
            sheet.failed("identity", error);
            None
        }
    }
}

fn check_socket(config: &Config, sheet: &mut Sheet) -> bool {
    let socket = config.device.control_socket();
    let is_running = control::is_answered(&socket);
    if is_running {
        sheet.note(
            "control socket",
            format!("an agent is running and answers on {}", socket.display()),
        );
    } else {
        match socket.parent().map(std::fs::metadata) {
            Some(Err(error)) => sheet.failed(
                "control socket",
                format!("its folder: {error}; make it, or change control_socket"),
            ),
            _ => sheet.ok("control socket", format!("{} is free", socket.display())),
        }
    }
    is_running
}

/// Logs into every camera at once and waits for data.
fn check_cameras(config: &Config, is_running: bool, sheet: &mut Sheet) {
    if let Err(error) = capture::check() {
        return sheet.failed("GStreamer", error);
    }
    sheet.ok("GStreamer", "all elements are there");
    let (changes, _ignored) = tokio::sync::mpsc::channel(1);
    let deps = CaptureDeps {
        wakeup: Arc::default(),
        time: TimeSource::new(Arc::new(RealClocks::new())),
        health: Health::default(),
        decoders: Arc::new(Decoders::new()),
        changes,
        policy: RetryPolicy::default(),
        ring_bytes: 1 << 20,
        gate: capture::GateConfig::default(),
    };
    let handles: Vec<_> = config
        .cameras
        .iter()
        .map(|camera| {
            (
                camera,
                camera.enabled.then(|| capture::start(camera, deps.clone())),
            )
        })
        .collect();
    let deadline = Instant::now() + CAMERA_TIMEOUT;
    for (camera, handle) in handles {
        let thing = format!("camera \"{}\"", camera.name);
        match handle {
            None => sheet.note(&thing, "disabled"),
            Some(Err(error)) => sheet.failed(&thing, error),
            Some(Ok(handle)) => judge_camera(camera, &handle, deadline, &thing, is_running, sheet),
        }
    }
}

fn judge_camera(
    camera: &CameraConfig,
    handle: &capture::CaptureHandle,
    deadline: Instant,
    thing: &str,
    is_running: bool,
    sheet: &mut Sheet,
) {
    let status = loop {
        let status = handle.status();
        if status.state != CameraState::Starting || Instant::now() >= deadline {
            break status;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let host = crate::telemetry::redact(&camera.url);
    match status.state {
        CameraState::Running => {
            let size = match (status.width, status.height) {
                (Some(width), Some(height)) => format!("{width}x{height}"),
                _ => "a size not known yet".into(),
            };
            let codec = status.codec.map_or("", |codec| codec.as_str());
            sheet.ok(thing, format!("{host} sends {codec} {size}"));
        }
        CameraState::Starting => sheet.failed(
            thing,
            format!(
                "{host} did not answer within {} s; check address, cable and power",
                CAMERA_TIMEOUT.as_secs()
            ),
        ),
        CameraState::Retrying => {
            let why = status.last_error.unwrap_or_default();
            let hint = if is_running && status.reason != Some(Reason::Auth) {
                " (the running agent is connected too: some cameras allow one viewer)"
            } else {
                ""
            };
            sheet.failed(thing, format!("{why}{hint}"));
        }
    }
}

async fn check_clock(config: &Config, sheet: &mut Sheet) {
    let servers = &config.clock.servers;
    if servers.is_empty() {
        return sheet.note(
            "clock",
            "no servers are configured: records will say \"unsynced\"",
        );
    }
    let clocks = RealClocks::new();
    let floor = SavedFloor::load(&Identity::folder(&config.device.data_dir)).get();
    let asked = servers
        .iter()
        .map(|server| ntp::ask(server, &clocks as &dyn Clocks, floor));
    let answers = futures::future::join_all(asked).await;
    let intervals: Vec<_> = answers
        .iter()
        .flatten()
        .map(|answer| answer.interval)
        .collect();
    let agreed = select::select(&intervals);
    for (server, answer) in servers.iter().zip(&answers) {
        let thing = format!("clock server {server}");
        let interval = match answer {
            Ok(answer) => answer.interval,
            Err(unusable) => {
                sheet.note(&thing, &unusable.detail);
                continue;
            }
        };
        let words = format!(
            "says {}, known to {:.1} ms",
            super::table::offset(interval.offset_us),
            interval.error_us as f64 / 1000.0
        );
        match agreed {
            Some(agreed) if !agreed.overlaps(interval) => {
                sheet.note(&thing, format!("{words}; outvoted by the others"));
            }
            _ => sheet.ok(&thing, words),
        }
    }
    match agreed {
        Some(agreed) => sheet.ok(
            "clock",
            format!("a majority agrees: this clock is off by {}", super::table::offset(agreed.offset_us)),
        ),
        None => sheet.failed(
            "clock",
            "no majority of servers agrees, so records will say \"unsynced\"; name servers that answer here (UDP port 123)",
        ),
    }
}

async fn check_receiver(
    config: &Config,
    identity: Option<&Identity>,
    sheet: &mut Sheet,
) -> anyhow::Result<()> {
    if !config.uplink.enabled {
        sheet.note(
            "receiver",
            "the uplink is turned off: everything stays on this box",
        );
        return Ok(());
    }
    let Some(enrollment) = identity.and_then(|identity| identity.enrollment.as_ref()) else {
        sheet.note(
            "receiver",
            "not enrolled: run `edge-agent enroll --url https://...` with a claim code",
        );
        return Ok(());
    };
    let answered = tokio::time::timeout(RECEIVER_TIMEOUT, ask_receiver(config, enrollment)).await;
    match answered {
        Ok(Ok(())) => sheet.ok(
            "receiver",
            format!("{} answers and knows this device", enrollment.device_url),
        ),
        Ok(Err(error)) => sheet.failed("receiver", format!("{error:#}")),
        Err(_) => sheet.failed(
            "receiver",
            format!(
                "{} did not answer within {} s; check network and firewall",
                enrollment.device_url,
                RECEIVER_TIMEOUT.as_secs()
            ),
        ),
    }
    let mqtt = (enrollment.mqtt_host.as_str(), enrollment.mqtt_port);
    let connected =
        tokio::time::timeout(RECEIVER_TIMEOUT, tokio::net::TcpStream::connect(mqtt)).await;
    let thing = format!("MQTT {}", address_in_words(mqtt.0, mqtt.1));
    match connected {
        _ if !config.uplink.mqtt => sheet.note(&thing, "turned off: records travel over HTTPS"),
        Ok(Ok(_)) => sheet.ok(&thing, "reachable"),
        Ok(Err(error)) => sheet.note(&thing, format!("{error}: records will travel over HTTPS")),
        Err(_) => sheet.note(&thing, "blocked: records will travel over HTTPS"),
    }
    Ok(())
}

async fn ask_receiver(config: &Config, enrollment: &Enrollment) -> anyhow::Result<()> {
    let saved = SavedFloor::load(&Identity::folder(&config.device.data_dir)).get();
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    let time = FlooredTime::new(time, TimeFloor::new(Some(saved)));
    let tls = tls::device_config(enrollment, time, tls::HTTP_ALPN)?;
    DeviceClient::new(tls, enrollment.device_url.clone())?
        .time()
        .await?;
    Ok(())
}
