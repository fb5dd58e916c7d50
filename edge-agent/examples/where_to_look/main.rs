//! Whole picture, one inference for each part, or all parts in one input: what each finds and costs. The figures of
//! `docs/where-to-look.md`.
//!
//!     cargo run --release -p edge-agent --example where_to_look -- [--model DIR] [--every 2]
//!
//! PETS 2009 S2.L1 as it is, in a wide picture and in two of 4K, against its published truth at IoU 0.5. What moves comes
//! from the agent's own motion model; what is followed is what the look before was sure of. "agent" is what the agent
//! does: the same choice by [`Aim`], with its looks at the whole picture in between.

mod scene;

use anyhow::{Context, Result};
use clap::Parser;
use edge_agent::capture::replay::Replay;
use edge_agent::config::{AnalysisConfig, ModelConfig};
use edge_agent::detect::aim::{self, Aim, Limits};
use edge_agent::detect::model::{Description, Input};
use edge_agent::detect::{Detection, Detector, OnnxDetector, mosaic};
use edge_agent::frame::Frame;
use edge_agent::geometry;
use edge_agent::luma::SmallLuma;
use edge_agent::motion::MotionModel;
use edge_agent::track::assign::best_pairs;
use scene::Scene;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::record::NormBox;
use wire::{CameraId, RecordTime};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "models/nanodet-g-416-int8")]
    model: PathBuf,
    #[arg(long, default_value = ".cache/media/vtest.avi")]
    video: PathBuf,
    /// Ground truth; by default PETS2009-S2L1-gt.xml in $TEST_DATA.
    #[arg(long)]
    truth: Option<PathBuf>,
    /// ONNX Runtime; by default ORT_DYLIB_PATH.
    #[arg(long)]
    runtime: Option<PathBuf>,
    /// Looks at every so many frames of the film, which has 10 a second.
    #[arg(long, default_value_t = 2)]
    every: usize,
    /// An object so long in the network's input is large enough; by default the agent's own limit.
    #[arg(long)]
    enough_px: Option<f64>,
    /// The part of a scene's name to measure alone.
    #[arg(long, default_value = "")]
    scene: String,
}

const PERSON: &str = "person";
const FILM_FPS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Whole,
    Each,
    Packed,
    Agent,
}

#[derive(Default)]
struct Tally {
    found: usize,
    real: usize,
    paired: usize,
    looks: usize,
    inferences: usize,
    spent: Duration,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let truth_path = args.truth.clone().unwrap_or_else(|| {
        let data = std::env::var_os("TEST_DATA").unwrap_or_else(|| "../shared/media".into());
        Path::new(&data).join("PETS2009-S2L1-gt.xml")
    });
    let truth = scene::read_truth(&truth_path)?;
    let background = scene::median(&frames(&args.video, 20)?);
    let config = ModelConfig {
        dir: args.model.clone(),
        runtime_library: args.runtime.clone(),
        ..ModelConfig::default()
    };
    let mut detector = OnnxDetector::open(&config, &AnalysisConfig::default())?;
    println!(
        "{}, every {} frames\n{:<22} {:<7} {:>7} {:>9} {:>12} {:>10}",
        detector.model_name(),
        args.every,
        "scene",
        "way",
        "recall",
        "precision",
        "infer./look",
        "ms/look"
    );
    for scene in Scene::all(&background) {
        if !scene.name.contains(&args.scene) {
            continue;
        }
        for way in [Way::Whole, Way::Each, Way::Packed, Way::Agent] {
            let tally = watch(&args, &scene, way, &mut detector, &truth)?;
            println!(
                "{:<22} {:<7} {:>7.3} {:>9.3} {:>12.2} {:>10.1}",
                scene.name,
                format!("{way:?}").to_lowercase(),
                tally.paired as f64 / tally.real.max(1) as f64,
                tally.paired as f64 / tally.found.max(1) as f64,
                tally.inferences as f64 / tally.looks as f64,
                tally.spent.as_secs_f64() * 1e3 / tally.looks as f64
            );
        }
    }
    Ok(())
}

fn watch(
    args: &Args,
    scene: &Scene,
    way: Way,
    detector: &mut OnnxDetector,
    truth: &[Vec<[f32; 4]>],
) -> Result<Tally> {
    let mut tally = Tally::default();
    let (mut motion, mut aim) = (MotionModel::new(&[]), Aim::new(detector.input_size()));
    let limits = Limits {
        enough_px: args.enough_px.unwrap_or(Limits::default().enough_px),
        ..Limits::default()
    };
    let input = Description::load(&args.model)?.input;
    let mut followed: Vec<NormBox> = Vec::new();
    let sure = detector.thresholds().score;
    let film = Replay::open(&args.video, camera(), start())?;
    for (number, frame) in film.enumerate().step_by(args.every) {
        let frame = scene.around(&frame?);
        let at = Duration::from_millis((number * 1000 / FILM_FPS) as u64);
        let moving = motion.update(at, &SmallLuma::of(&frame)).regions;
        let picture = (frame.width, frame.height);
        let parts = match way {
            Way::Whole => Vec::new(),
            Way::Agent => aim.parts(at, picture, &moving, &followed),
            Way::Each | Way::Packed => {
                aim::parts(&limits, picture, detector.input_size(), &moving, &followed)
            }
        };
        let found = look(&frame, &parts, way, detector, &input, &mut tally)?;
        let people: Vec<NormBox> = found
            .iter()
            .filter(|one| &*one.class == PERSON && one.score >= sure)
            .map(|one| one.rect)
            .collect();
        let real: Vec<NormBox> = truth
            .get(number)
            .into_iter()
            .flatten()
            .flat_map(|corners| scene.places(*corners))
            .collect();
        let pairs = best_pairs(people.len(), real.len(), 0.5, |a, b| {
            geometry::iou(&people[a], &real[b])
        });
        tally.found += people.len();
        tally.real += real.len();
        tally.paired += pairs.len();
        tally.looks += 1;
        followed = people;
    }
    Ok(tally)
}

fn look(
    frame: &Frame,
    parts: &[NormBox],
    way: Way,
    detector: &mut OnnxDetector,
    input: &Input,
    tally: &mut Tally,
) -> Result<Vec<Detection>> {
    let groups: Vec<&[NormBox]> = match way {
        Way::Each if !parts.is_empty() => parts.chunks(1).collect(),
        _ => vec![parts],
    };
    let mut found: Vec<Detection> = Vec::new();
    for group in groups {
        let look = detector.detect(frame, group)?;
        tally.inferences += mosaic::pack(input, (frame.width, frame.height), group).len();
        tally.spent += look.timing.preprocess + look.timing.inference + look.timing.decode;
        found.extend(look.detections);
    }
    Ok(found)
}

/// `count` frames spread over the film.
fn frames(film: &Path, count: usize) -> Result<Vec<Frame>> {
    let all = Replay::open(film, camera(), start())?;
    let mut some = Vec::new();
    for frame in all.step_by(795 / count) {
        some.push(frame?);
    }
    some.first().context("the film has no frame")?;
    Ok(some)
}

fn camera() -> CameraId {
    CameraId(uuid::Uuid::nil())
}

fn start() -> RecordTime {
    RecordTime {
        boottime_ns: 1,
        ..RecordTime::BEGINNING
    }
}
