//! What a camera costs this machine, in one run: receiving alone, its key frames, gated while nothing moves (or whatever
//! the film shows), and every picture; and how long a picture takes from its arrival to being decoded. Ratios of the
//! lines hold on any machine. The camera runs as a process of its own and is not counted.

use anyhow::Result;
use clap::Parser;
use e2e::camera_process::CameraProcess;
use e2e::usage::Usage;
use e2e::wait::until;
use e2e::watching::Watching;
use edge_agent::capture::lookout::{Attention, Glimpse};
use edge_agent::capture::{AtMost, DEFAULT_RING_BYTES, GateConfig, GateMode, RetryPolicy};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(about = "Measures what one camera costs")]
struct Cli {
    #[arg(long)]
    file: PathBuf,
    #[arg(long, default_value_t = 1920)]
    width: u32,
    #[arg(long, default_value_t = 1080)]
    height: u32,
    #[arg(long, default_value_t = 15)]
    fps: u32,
    #[arg(long, default_value = "h264")]
    codec: String,
    /// Constant bit rate; by default constant quality.
    #[arg(long)]
    bitrate_kbit: Option<u32>,
    /// Seconds measured for each kind of watching.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut args = vec!["--file".to_owned(), cli.file.display().to_string()];
    for (name, value) in [
        ("--width", cli.width.to_string()),
        ("--height", cli.height.to_string()),
        ("--fps", cli.fps.to_string()),
        ("--codec", cli.codec.clone()),
    ] {
        args.extend([name.to_owned(), value]);
    }
    if let Some(kbit) = cli.bitrate_kbit {
        args.extend(["--bitrate-kbit".to_owned(), kbit.to_string()]);
    }
    let camera = CameraProcess::start(&args)?;
    println!(
        "{}x{} {} {} frames/s",
        cli.width, cli.height, cli.codec, cli.fps
    );
    println!(
        "watched       cores   frames in  decoded  skipped  caught up  triggers  latency ms p50   p95   resident MiB  mode"
    );
    for (name, enabled, at_most) in [
        ("received", true, Some(AtMost::Nothing)),
        ("key frames", true, Some(AtMost::KeyFrames)),
        ("gated", true, None),
        ("everything", false, None),
    ] {
        let gate = GateConfig { enabled, at_most };
        measure(&camera.url, name, gate, Duration::from_secs(cli.seconds))?;
    }
    Ok(())
}

/// Nothing but movement is shown, five times a second.
const ATTENTION: Attention = Attention {
    hold_until: Duration::ZERO,
    every: Duration::from_millis(200),
    glance_at: Duration::MAX,
    glance_from: Duration::MAX,
    glance_by: None,
    at_once: false,
};

fn measure(url: &str, name: &str, gate: GateConfig, span: Duration) -> Result<()> {
    let watching = Watching::start_gated(url, RetryPolicy::default(), DEFAULT_RING_BYTES, gate)?;
    watching.handle.lookout.attend(ATTENTION);
    until("learning to end", Duration::from_secs(120), || {
        watch(&watching, Duration::from_millis(200));
        let status = watching.handle.status();
        let has_learned = gate.at_most.is_some() || status.gate.mode != GateMode::Learning;
        (status.frames_in > 30 && has_learned).then_some(())
    })?;
    watch(&watching, Duration::from_secs(2));
    let (before, status_before, began) = (Usage::now()?, watching.handle.status(), Instant::now());
    let mut latencies = watch(&watching, span);
    let (after, status) = (Usage::now()?, watching.handle.status());
    let cores = (after.cpu - before.cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let quantile = |q: f64| {
        let index = (latencies.len().saturating_sub(1) as f64 * q).round() as usize;
        latencies.get(index).map_or("-".into(), |latency| {
            format!("{:.1}", latency.as_secs_f64() * 1e3)
        })
    };
    println!(
        "{name:<12}  {cores:.4}  {:>9}  {:>7}  {:>7}  {:>9}  {:>8}  {:>14}  {:>5}  {:>12}  {}",
        status.frames_in - status_before.frames_in,
        status.frames_decoded - status_before.frames_decoded,
        status.frames_skipped - status_before.frames_skipped,
        status.frames_caught_up - status_before.frames_caught_up,
        status.gate.triggers - status_before.gate.triggers,
        quantile(0.5),
        quantile(0.95),
        after.resident_kib / 1024,
        status.gate.mode.as_str()
    );
    Ok(())
}

/// Takes every frame as the vision worker does; returns how old each was then.
fn watch(watching: &Watching, span: Duration) -> Vec<Duration> {
    let until = Instant::now() + span;
    let mut latencies = Vec::new();
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        watching.wakeup.wait(left);
        if let Some(Glimpse { frame, .. }) = watching.handle.lookout.take() {
            let now = watching.time.now().boottime_ns;
            latencies.push(Duration::from_nanos(
                now.saturating_sub(frame.time.boottime_ns),
            ));
        }
    }
    latencies
}
