//! How well the agent sees people: its detector and tracker on the whole PETS 2009 S2.L1 video against the published
//! ground truth, at IoU 0.5.
//!
//!     cargo run --release -p edge-agent --example pets -- [--model DIR] [--video FILE] [--truth FILE]
//!
//! What is measured is what runs: frames come through `capture::replay`, go through the configured detector and the same
//! `Watch` that the vision worker uses. "Published" are the boxes that the agent sends with its pictures. The truth
//! holds full-body boxes, also of people who are hidden; nobody is left out. Pairs are found by the best sum of overlaps.

use anyhow::{Context, Result, bail};
use clap::Parser;
use edge_agent::capture::replay::Replay;
use edge_agent::config::{AnalysisConfig, ModelConfig};
use edge_agent::detect::{Detection, Detector, LookTiming, OnnxDetector};
use edge_agent::frame::Frame;
use edge_agent::geometry;
use edge_agent::track::assign::best_pairs;
use edge_agent::vision::watch::Watch;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::record::NormBox;
use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

#[derive(Parser)]
struct Args {
    /// Folder with a model.toml.
    #[arg(long, default_value = "models/nanodet-g-416-int8")]
    model: PathBuf,
    #[arg(long, default_value = ".cache/media/vtest.avi")]
    video: PathBuf,
    /// Ground truth; by default PETS2009-S2L1-gt.xml in $TEST_DATA.
    #[arg(long)]
    truth: Option<PathBuf>,
    /// ONNX Runtime; by default ORT_DYLIB_PATH, then .cache/onnxruntime.
    #[arg(long)]
    runtime: Option<PathBuf>,
}

/// What the video's frames are of, per second.
const VIDEO_FPS: usize = 10;
const PERSON: &str = "person";

struct Seen {
    frame: Frame,
    detections: Vec<Detection>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let truth_path = args.truth.clone().unwrap_or_else(|| {
        let data = std::env::var_os("TEST_DATA").unwrap_or_else(|| "../shared/media".into());
        Path::new(&data).join("PETS2009-S2L1-gt.xml")
    });
    let mut detector = OnnxDetector::open(
        &ModelConfig {
            dir: args.model.clone(),
            runtime_library: args.runtime.clone().or_else(fetched_runtime),
            ..ModelConfig::default()
        },
        &AnalysisConfig::default(),
    )?;
    let mut timings = Vec::new();
    let mut seen = Vec::new();
    for frame in Replay::open(&args.video, camera(), start())? {
        let frame = frame?;
        let look = detector.detect(&frame, &[])?;
        timings.push(look.timing);
        seen.push(Seen {
            frame,
            detections: look.detections,
        });
    }
    let first = &seen.first().context("the video has no frame")?.frame;
    let truth = read_truth(&truth_path, (first.width as f32, first.height as f32))?;
    if truth.len() != seen.len() {
        bail!("{} frames, but truth of {}", seen.len(), truth.len());
    }

    println!(
        "{}: {} frames of {} x {}, {:?}",
        detector.model_name(),
        seen.len(),
        first.width,
        first.height,
        detector.thresholds()
    );
    print_timings(&timings);
    println!("digest of all detections: {:016x}", digest(&seen));
    for every in [1, 2] {
        println!(
            "\nevery frame number divisible by {every}: {} looks a second",
            VIDEO_FPS / every
        );
        sweep(&seen, &truth, every);
        run_agent(&seen, &truth, every, &detector);
    }
    Ok(())
}

/// The detector alone at other thresholds than its own.
fn sweep(seen: &[Seen], truth: &[Vec<NormBox>], every: usize) {
    for threshold in [0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7] {
        let mut score = Score::default();
        for (seen, truth) in std::iter::zip(seen, truth).step_by(every) {
            let sure = seen.detections.iter().filter(|one| one.score >= threshold);
            let people = sure.filter(|one| &*one.class == PERSON).map(|one| one.rect);
            score.add(&people.collect::<Vec<_>>(), truth);
        }
        println!("  detections at {threshold:.2}                 {score}");
    }
}

/// What the running agent makes of the same detections.
fn run_agent(seen: &[Seen], truth: &[Vec<NormBox>], every: usize, detector: &dyn Detector) {
    let mut watch = Watch::new(camera(), detector.thresholds(), Duration::from_secs(60));
    let (mut published, mut followed, mut coasting) =
        (Score::default(), Score::default(), Score::default());
    let (mut pictures, mut records, mut ids) = (0, 0, BTreeSet::new());
    for (seen, truth) in std::iter::zip(seen, truth).step_by(every) {
        let findings = watch.frame(&seen.frame, &seen.detections);
        let people = findings.boxes.iter().filter(|one| one.class == PERSON);
        published.add(&people.map(|one| one.rect).collect::<Vec<_>>(), truth);
        let tracks = || {
            let confirmed = findings.tracks.iter().filter(|track| track.confirmed);
            confirmed.filter(|track| &*track.class == PERSON)
        };
        let now = tracks().filter(|track| track.detection.is_some());
        followed.add(&now.map(|track| track.rect).collect::<Vec<_>>(), truth);
        let with_hidden: Vec<NormBox> = tracks().map(|track| track.rect).collect();
        coasting.add(&with_hidden, truth);
        ids.extend(tracks().map(|track| track.id));
        pictures += findings.wanted.len();
        records += findings.records.len();
    }
    println!("  published by the agent             {published}");
    println!("  confirmed tracks seen in the frame {followed}");
    println!("  the same and those that coast      {coasting}");
    println!(
        "  {} person tracks, {} events of all classes, {records} event records, {pictures} pictures",
        ids.len(),
        watch.events_total()
    );
}

/// Pairs of found and true boxes at IoU 0.5.
#[derive(Default)]
struct Score {
    found: usize,
    real: usize,
    paired: usize,
}

impl Score {
    fn add(&mut self, found: &[NormBox], truth: &[NormBox]) {
        let pairs = best_pairs(found.len(), truth.len(), 0.5, |a, b| {
            geometry::iou(&found[a], &truth[b])
        });
        self.found += found.len();
        self.real += truth.len();
        self.paired += pairs.len();
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "recall {:.3}  precision {:.3}  ({} of {} people, {} boxes)",
            self.paired as f64 / self.real.max(1) as f64,
            self.paired as f64 / self.found.max(1) as f64,
            self.paired,
            self.real,
            self.found
        )
    }
}

/// People by frame, in fractions of the picture.
fn read_truth(path: &Path, (width, height): (f32, f32)) -> Result<Vec<Vec<NormBox>>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: set TEST_DATA or --truth", path.display()))?;
    let document = roxmltree::Document::parse(&text)?;
    let frames = document
        .descendants()
        .filter(|node| node.has_tag_name("frame"));
    let rect = |node: roxmltree::Node| -> Result<NormBox> {
        let value = |name| -> Result<f32> {
            let text = node
                .attribute(name)
                .with_context(|| format!("a box without {name}"))?;
            Ok(text.parse()?)
        };
        let (w, h) = (value("w")?, value("h")?);
        let (x, y) = (value("xc")? - w / 2.0, value("yc")? - h / 2.0);
        Ok(geometry::from_corners(
            x / width,
            y / height,
            (x + w) / width,
            (y + h) / height,
        ))
    };
    let boxes = |frame: roxmltree::Node| -> Result<Vec<NormBox>> {
        let boxes = frame.descendants().filter(|node| node.has_tag_name("box"));
        boxes.map(rect).collect()
    };
    frames.map(boxes).collect()
}

fn print_timings(timings: &[LookTiming]) {
    let line = |name: &str, part: fn(&LookTiming) -> Duration| {
        let mut all: Vec<f64> = timings
            .iter()
            .map(|one| part(one).as_secs_f64() * 1e3)
            .collect();
        all.sort_by(f64::total_cmp);
        let (median, late) = (all[all.len() / 2], all[all.len() * 95 / 100]);
        println!("  {name:<11} median {median:6.2} ms  p95 {late:6.2} ms");
    };
    line("preprocess", |timing| timing.preprocess);
    line("inference", |timing| timing.inference);
    line("decode", |timing| timing.decode);
}

/// Equal for two runs that saw the same to the last bit (FNV-1a).
fn digest(seen: &[Seen]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for found in seen.iter().flat_map(|seen| &seen.detections) {
        let rect = &found.rect;
        for value in [found.score, rect.x, rect.y, rect.w, rect.h] {
            for byte in value.to_bits().to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    hash
}

fn fetched_runtime() -> Option<PathBuf> {
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        return None;
    }
    let entries = std::fs::read_dir(".cache/onnxruntime").ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.to_string_lossy().contains("libonnxruntime.so"))
}

fn camera() -> CameraId {
    CameraId(uuid::Uuid::from_u128(1))
}

fn start() -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(0),
        boot_id: BootId(uuid::Uuid::nil()),
        boottime_ns: 1_000_000_000,
        clock: ClockStamp::UNSYNCED,
    }
}
