//! `edge-agent model`: what the configured model costs on this machine, and how many cameras that carries.
//!
//! A camera costs its looks, those at an empty scene too, and the decoding of its pictures. Both are measured here; what is
//! assumed of the cameras, because nobody knows them yet, is printed with the result.

mod decoding;

use crate::clock::{Clocks, RealClocks};
use crate::config::{self, Config};
use crate::detect::{Detector, LookTiming, OnnxDetector};
use crate::frame::{ColorSpace, Frame, PixelFormat, Plane};
use crate::vision::pace;
use crate::vision::schedule::{Pace, Schedule};
use anyhow::{Context, ensure};
use clap::Subcommand;
use decoding::{DecodeCost, PICTURES, processor_time};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use wire::{CameraId, RecordTime};

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
/// Of a usual camera that shows nothing these are decoded: it sends one every two seconds.
const KEY_FRAMES_A_SECOND: f64 = 0.5;
/// Receiving costs this part of decoding everything (docs/performance.md); it takes cameras to measure it.
const RECEIVING: f64 = 1.0 / 12.0;

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
    /// Cameras in which something moves all the time, a tenth of it, and never.
    cameras_always_busy: u64,
    cameras_busy_a_tenth: u64,
    cameras_idle: u64,
}

/// What limits how many cameras there can be, but for the rate of looks.
#[derive(Clone, Copy, Debug)]
struct Limits {
    cores: usize,
    pace: Pace,
    decode: DecodeCost,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    provider: String,
    threads_per_worker: usize,
    picture: (u32, u32),
    cores: usize,
    frames_per_second: f32,
    glance_seconds: u32,
    decode: DecodeCost,
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
    let limits = Limits {
        cores,
        pace: pace(&config.analysis),
        decode: DecodeCost::measure()?,
    };
    let detectors = (0..most.max(configured))
        .map(|_| OnnxDetector::open(&config.model, &config.analysis))
        .collect::<Result<Vec<_>, _>>()?;
    let model = detectors[0].model_name().to_owned();
    let provider = detectors[0].provider().to_owned();

    let mut detectors = detectors;
    let rounds = if most == configured { 1 } else { 2 };
    let (looks, rates) = measure(&mut detectors[..configured], time / rounds)?;
    let as_configured = limits.throughput(configured, rates);
    let all_cores = match rounds {
        1 => as_configured,
        _ => {
            let (_, rates) = measure(&mut detectors[..most], time / rounds)?;
            limits.throughput(most, rates)
        }
    };
    Ok(Report {
        model,
        provider,
        threads_per_worker: threads,
        picture: PICTURE,
        cores,
        frames_per_second: config.analysis.frames_per_second,
        glance_seconds: config.analysis.glance_seconds,
        decode: limits.decode,
        look: LookCost::of(&looks).context("no look ended in the time: give it more --seconds")?,
        as_configured,
        all_cores,
    })
}

/// How many looks all workers make, and what one costs the machine.
#[derive(Clone, Copy, Debug)]
struct Rates {
    looks_per_second: f64,
    /// Whatever else ran beside it is not in this.
    core_seconds_a_look: f64,
}

/// All detectors at once, each on a thread of its own: every look, and what they did together.
fn measure(
    detectors: &mut [OnnxDetector],
    time: Duration,
) -> anyhow::Result<(Vec<LookTiming>, Rates)> {
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
    let before = processor_time();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = detectors
            .iter_mut()
            .map(|detector| scope.spawn(|| one(detector)))
            .collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let spent = processor_time().saturating_sub(before);
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
    let with_warm_up = looks.len() + WARM_UP * detectors.len();
    let rates = Rates {
        looks_per_second: rate,
        core_seconds_a_look: spent.as_secs_f64() / with_warm_up as f64,
    };
    Ok((looks, rates))
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

impl Limits {
    /// What so many workers carry.
    fn throughput(&self, workers: usize, rates: Rates) -> Throughput {
        let looks_per_second = rates.looks_per_second;
        let cameras = |busy: f64| {
            let looks = self.looks(busy);
            let cores_each = looks * rates.core_seconds_a_look + self.decoding(busy);
            let carried = (looks_per_second / looks).min(self.cores as f64 / cores_each);
            carried.floor() as u64
        };
        Throughput {
            workers,
            looks_per_second,
            cameras_always_busy: cameras(1.0),
            cameras_busy_a_tenth: cameras(SOMETIMES_BUSY),
            cameras_idle: cameras(0.0),
        }
    }

    /// Looks a second at a camera that is busy for this share of the time. An empty one is glanced at.
    fn looks(&self, busy: f64) -> f64 {
        let glances = Schedule::new(self.pace, 1).asked_fps(0);
        busy / self.pace.every.as_secs_f64() + (1.0 - busy) * glances
    }

    /// Cores that such a camera takes before anything is looked at.
    fn decoding(&self, busy: f64) -> f64 {
        let key = KEY_FRAMES_A_SECOND * self.decode.key_frame_ms / 1e3;
        let others = (PICTURES as f64 - KEY_FRAMES_A_SECOND) * self.decode.other_frame_ms / 1e3;
        RECEIVING * (key + others) + key + busy * others
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
            "busy 10 % of the time",
            "never busy",
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
            throughput.cameras_idle.to_string(),
        ]);
    }
    format!(
        "{} on {}, {threads}, {} cores, pictures of {width}x{height}\n\
         one look: {:.1} ms, 95 of 100 within {:.1} ms (preparing {:.1}, network {:.1}, boxes {:.1})\n\
         decoding, in software: {:.1} ms a key frame, {:.1} ms any other\n\n{}\n\
         A busy camera is looked at {} times a second and decoded wholly; one that shows nothing is glanced at every\n\
         {} s, and its key frames are decoded ([analysis] frames_per_second, glance_seconds, gate).\n\
         Assumed: H.264 of {width}x{height}, {PICTURES} pictures a second at 2 Mbit/s, a key frame every 2 s; receiving costs a\n\
         twelfth of decoding everything; all cores are there for cameras and nothing else. Objects that stand, and trees\n\
         in the wind, make a camera somewhat busy. `edge-agent status` shows what cameras get once they run.\n",
        report.model,
        report.provider,
        report.cores,
        look.median_ms,
        look.p95_ms,
        look.preprocess_ms,
        look.inference_ms,
        look.decode_ms,
        report.decode.key_frame_ms,
        report.decode.other_frame_ms,
        super::table::render(&rows),
        report.frames_per_second,
        report.glance_seconds,
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
            ..RecordTime::BEGINNING
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
        let decode = DecodeCost {
            key_frame_ms: 12.0,
            other_frame_ms: 4.0,
        };
        let free = DecodeCost {
            key_frame_ms: 0.0,
            other_frame_ms: 0.0,
        };
        // (cores, decoding, workers, looks a second, looks a second at a busy camera): always busy, a tenth, never.
        for (cores, decode, workers, rate, fps, expected) in [
            // The detector alone: 5, 0.6125 and 0.125 looks a second.
            (4, free, 1, 67.0, 5.0, [13, 109, 536]),
            (4, free, 1, 4.95, 5.0, [0, 8, 39]),
            (4, free, 1, 30.0, 0.5, [60, 184, 240]),
            // Decoding takes what the worker leaves: 0.0693, 0.0171 and 0.0113 of a core each; a look 0.025.
            (1, decode, 1, 40.0, 5.0, [5, 30, 69]),
            (4, decode, 1, 40.0, 5.0, [8, 65, 276]),
            (4, decode, 4, 160.0, 5.0, [20, 123, 276]),
        ] {
            let limits = Limits {
                cores,
                pace: Pace::new(fps, 10),
                decode,
            };
            let found = limits.throughput(
                workers,
                Rates {
                    looks_per_second: rate,
                    core_seconds_a_look: workers as f64 / rate,
                },
            );
            let found = [
                found.cameras_always_busy,
                found.cameras_busy_a_tenth,
                found.cameras_idle,
            ];
            assert_eq!(found, expected, "{cores} cores, {rate} at {fps}");
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
