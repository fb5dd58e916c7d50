//! `edge-agent model`: what the configured model costs on this machine, and how many cameras that carries.

use crate::clock::{Clocks, RealClocks};
use crate::config::{self, Config};
use crate::detect::{Detector, LookTiming, OnnxDetector};
use crate::frame::{ColorSpace, Frame, PixelFormat, Plane};
use anyhow::{Context, ensure};
use clap::Subcommand;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use wire::{BootId, CameraId, ClockStamp, RecordTime};

/// What the configured model costs here.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run it on this machine and say how many cameras it carries.
    Bench(BenchArgs),
}

#[derive(Debug, clap::Args)]
struct BenchArgs {
    /// How long to measure, 1 to 600. Other work on the machine meanwhile makes it look slower than it is.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// For programs.
    #[arg(long)]
    json: bool,
}

/// What usual cameras send.
const PICTURE: (u32, u32) = (1920, 1080);
/// Not counted: the first looks allocate.
const WARM_UP: usize = 3;
/// Share of the time in which something moves in front of a usual camera.
const SOMETIMES_BUSY: f64 = 0.1;

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let Verb::Bench(bench) = &args.verb;
    let config = config::load(config_file)?;
    let report = measure_all(&config, Duration::from_secs(bench.seconds))?;
    if bench.json {
        super::say(format_args!("{}\n", serde_json::to_string_pretty(&report)?));
    } else {
        super::say(in_words(&report));
    }
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds of one look.
#[derive(Clone, Copy, Debug, Serialize)]
struct LookCost {
    median_ms: f64,
    p95_ms: f64,
    preprocess_ms: f64,
    inference_ms: f64,
    decode_ms: f64,
}

/// So many workers side by side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Throughput {
    workers: usize,
    looks_per_second: f64,
    /// Cameras that are looked at `frames_per_second` times a second, all the time and a tenth of it.
    cameras_always_busy: u64,
    cameras_busy_a_tenth: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    provider: String,
    threads_per_worker: usize,
    picture: (u32, u32),
    cores: usize,
    frames_per_second: f32,
    /// With the other workers of the configuration at work beside it.
    look: LookCost,
    as_configured: Throughput,
    /// As many workers as the cores have room for.
    all_cores: Throughput,
}

fn measure_all(config: &Config, time: Duration) -> anyhow::Result<Report> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = config.model.threads_per_worker;
    let configured = config.model.workers;
    let most = (cores / threads).max(1);
    let detectors = (0..most.max(configured))
        .map(|_| OnnxDetector::open(&config.model, &config.analysis))
        .collect::<Result<Vec<_>, _>>()?;
    let model = detectors[0].model_name().to_owned();
    let provider = detectors[0].provider().to_owned();

    let mut detectors = detectors;
    let rounds = if most == configured { 1 } else { 2 };
    let (looks, rate) = measure(&mut detectors[..configured], time / rounds)?;
    let fps = config.analysis.frames_per_second;
    let as_configured = Throughput::new(configured, rate, fps);
    let all_cores = match rounds {
        1 => as_configured,
        _ => {
            let (_, rate) = measure(&mut detectors[..most], time / rounds)?;
            Throughput::new(most, rate, fps)
        }
    };
    Ok(Report {
        model,
        provider,
        threads_per_worker: threads,
        picture: PICTURE,
        cores,
        frames_per_second: fps,
        look: LookCost::of(&looks).context("no look ended in the time: give it more --seconds")?,
        as_configured,
        all_cores,
    })
}

/// All detectors at once, each on a thread of its own: every look, and looks a second of them together.
fn measure(
    detectors: &mut [OnnxDetector],
    time: Duration,
) -> anyhow::Result<(Vec<LookTiming>, f64)> {
    let frame = made_up_frame();
    let start = Barrier::new(detectors.len());
    let one = |detector: &mut OnnxDetector| -> anyhow::Result<(Vec<LookTiming>, f64)> {
        let warm = (0..WARM_UP).try_for_each(|_| detector.detect(&frame, &[]).map(drop));
        // Everybody comes here, whatever happened: the others wait.
        start.wait();
        warm?;
        let (mut looks, started) = (Vec::new(), Instant::now());
        while started.elapsed() < time {
            looks.push(detector.detect(&frame, &[])?.timing);
        }
        let rate = looks.len() as f64 / started.elapsed().as_secs_f64();
        Ok((looks, rate))
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = detectors
            .iter_mut()
            .map(|detector| scope.spawn(|| one(detector)))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let (mut looks, mut rate) = (Vec::new(), 0.0);
    for outcome in outcomes {
        let outcome = outcome.map_err(|_| anyhow::anyhow!("a worker broke down; see above"))?;
        let (more, its_rate) = outcome?;
        looks.extend(more);
        rate += its_rate;
    }
    ensure!(
        rate > 0.0,
        "no look ended in the time: give it more --seconds"
    );
    Ok((looks, rate))
}

impl LookCost {
    fn of(looks: &[LookTiming]) -> Option<Self> {
        let quantile = |part: &dyn Fn(&LookTiming) -> Duration, share: f64| {
            let mut all: Vec<f64> = looks
                .iter()
                .map(|look| part(look).as_secs_f64() * 1e3)
                .collect();
            all.sort_by(f64::total_cmp);
            all.get((all.len() as f64 * share) as usize).copied()
        };
        let whole = |look: &LookTiming| look.preprocess + look.inference + look.decode;
        Some(Self {
            median_ms: quantile(&whole, 0.5)?,
            p95_ms: quantile(&whole, 0.95)?,
            preprocess_ms: quantile(&|look| look.preprocess, 0.5)?,
            inference_ms: quantile(&|look| look.inference, 0.5)?,
            decode_ms: quantile(&|look| look.decode, 0.5)?,
        })
    }
}

impl Throughput {
    fn new(workers: usize, looks_per_second: f64, frames_per_second: f32) -> Self {
        let cameras = |share: f64| {
            let asked = f64::from(frames_per_second) * share;
            (looks_per_second / asked).floor() as u64
        };
        Self {
            workers,
            looks_per_second,
            cameras_always_busy: cameras(1.0),
            cameras_busy_a_tenth: cameras(SOMETIMES_BUSY),
        }
    }
}

fn in_words(report: &Report) -> String {
    let look = &report.look;
    let (width, height) = report.picture;
    let threads = match report.threads_per_worker {
        1 => "1 thread".to_owned(),
        many => format!("{many} threads"),
    };
    let mut rows = vec![
        [
            "",
            "workers",
            "looks/s",
            "cameras always busy",
            "cameras busy 10 % of the time",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for (name, throughput) in [
        ("as configured", &report.as_configured),
        ("all cores", &report.all_cores),
    ] {
        rows.push(vec![
            name.into(),
            throughput.workers.to_string(),
            format!("{:.1}", throughput.looks_per_second),
            throughput.cameras_always_busy.to_string(),
            throughput.cameras_busy_a_tenth.to_string(),
        ]);
    }
    format!(
        "{} on {}, {threads}, {} cores, pictures of {width}x{height}\n\
         one look: {:.1} ms, 95 of 100 within {:.1} ms (preparing {:.1}, network {:.1}, boxes {:.1})\n\n{}\n\
         A busy camera is looked at {} times a second ([analysis] frames_per_second).\n\
         Receiving and decoding come on top; `edge-agent status` shows what cameras get once they run.\n",
        report.model,
        report.provider,
        report.cores,
        look.median_ms,
        look.p95_ms,
        look.preprocess_ms,
        look.inference_ms,
        look.decode_ms,
        super::table::render(&rows),
        report.frames_per_second,
    )
}

/// Stripes and a little noise: what a look costs hardly depends on what it sees.
fn made_up_frame() -> Frame {
    let (width, height) = (PICTURE.0 as usize, PICTURE.1 as usize);
    let luma = (0..width * height).map(|at| (at % width / 8 * 16 + at * 31 % 7) as u8);
    let mut bytes: Vec<u8> = luma.collect();
    let chroma = width / 2 * (height / 2);
    bytes.resize(width * height + 2 * chroma, 128);
    let plane = |offset: usize, stride: usize| Plane { offset, stride };
    let clocks = RealClocks::new();
    Frame {
        camera: CameraId(uuid::Uuid::nil()),
        time: RecordTime {
            captured_at_us: clocks.utc(),
            boot_id: BootId(uuid::Uuid::nil()),
            boottime_ns: 0,
            clock: ClockStamp::UNSYNCED,
        },
        width: PICTURE.0,
        height: PICTURE.1,
        format: PixelFormat::I420,
        color: ColorSpace::Bt709Limited,
        planes: [
            plane(0, width),
            plane(width * height, width / 2),
            plane(width * height + chroma, width / 2),
        ],
        bytes: Arc::new(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rate_carries() {
        for (rate, fps, always, sometimes) in
            [(67.0, 5.0, 13, 134), (4.9, 5.0, 0, 9), (30.0, 0.5, 60, 600)]
        {
            let throughput = Throughput::new(1, rate, fps);
            let found = (
                throughput.cameras_always_busy,
                throughput.cameras_busy_a_tenth,
            );
            assert_eq!(found, (always, sometimes), "{rate} at {fps}");
        }
    }

    #[test]
    fn a_cost_is_its_median_and_nothing_is_none() {
        assert!(LookCost::of(&[]).is_none());
        let looks: Vec<LookTiming> = (1..=100)
            .map(|ms| LookTiming {
                preprocess: Duration::from_millis(1),
                inference: Duration::from_millis(ms),
                decode: Duration::ZERO,
            })
            .collect();
        let cost = LookCost::of(&looks).expect("a hundred looks");
        assert!((cost.median_ms - 52.0).abs() < 1e-6, "{cost:?}");
        assert!((cost.p95_ms - 97.0).abs() < 1e-6, "{cost:?}");
    }
}
