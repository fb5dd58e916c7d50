//! What one look and one picture cost, by picture size: the figures of `models/README.md`.
//!
//!     cargo run --release -p edge-agent --example costs -- [--model DIR] [--video FILE]

use anyhow::{Context, Result};
use clap::Parser;
use edge_agent::capture::replay::Replay;
use edge_agent::config::{AnalysisConfig, ModelConfig};
use edge_agent::detect::{Detector, OnnxDetector};
use edge_agent::frame::{Frame, Plane};
use edge_agent::media::sharpness::sharpness;
use edge_agent::media::snapshot;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::record::NormBox;
use wire::{CameraId, RecordTime};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "models/nanodet-g-416-int8")]
    model: PathBuf,
    #[arg(long, default_value = ".cache/media/vtest.avi")]
    video: PathBuf,
    /// ONNX Runtime; by default ORT_DYLIB_PATH.
    #[arg(long)]
    runtime: Option<PathBuf>,
    #[arg(long, default_value_t = 60)]
    rounds: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let config = ModelConfig {
        dir: args.model.clone(),
        runtime_library: args.runtime.clone(),
        ..ModelConfig::default()
    };
    let mut detector = OnnxDetector::open(&config, &AnalysisConfig::default())?;
    let mut replay = Replay::open(&args.video, CameraId(uuid::Uuid::nil()), start())?;
    let native = replay.next_frame()?.context("the video has no frame")?;
    println!(
        "{}, one thread, medians of {}",
        detector.model_name(),
        args.rounds
    );
    for frame in [native.clone(), enlarged(&native, 1920, 1080)] {
        measure(&mut detector, &frame, args.rounds)?;
    }
    Ok(())
}

fn measure(detector: &mut dyn Detector, frame: &Frame, rounds: usize) -> Result<()> {
    let mut looks = Vec::new();
    let (mut pictures, mut sharp) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    let person = NormBox {
        x: 0.4,
        y: 0.3,
        w: 0.1,
        h: 0.4,
    };
    for _ in 0..rounds {
        looks.push(detector.detect(frame, &[])?.timing);
        let started = Instant::now();
        bytes = snapshot::jpeg(frame, &[])?.len();
        pictures.push(started.elapsed());
        let started = Instant::now();
        std::hint::black_box(sharpness(frame, &person));
        sharp.push(started.elapsed());
    }
    println!(
        "{} x {}: preprocess {:.2} ms, inference {:.2} ms, decode {:.2} ms; JPEG {:.1} ms, {} kB; sharpness {:.3} ms",
        frame.width,
        frame.height,
        median(looks.iter().map(|look| look.preprocess)),
        median(looks.iter().map(|look| look.inference)),
        median(looks.iter().map(|look| look.decode)),
        median(pictures),
        bytes / 1000,
        median(sharp)
    );
    Ok(())
}

fn median(durations: impl IntoIterator<Item = Duration>) -> f64 {
    let mut sorted: Vec<Duration> = durations.into_iter().collect();
    sorted.sort_unstable();
    sorted[sorted.len() / 2].as_secs_f64() * 1000.0
}

/// The same picture at another size, by repeating pixels: cost does not depend on what is seen.
fn enlarged(frame: &Frame, width: u32, height: u32) -> Frame {
    let size = |divisor: u32| ((width / divisor) as usize, (height / divisor) as usize);
    let mut bytes = Vec::new();
    let mut planes = frame.planes;
    for (index, divisor) in [(0, 1), (1, 2), (2, 2)] {
        let (columns, rows) = size(divisor);
        let from = (frame.width / divisor) as usize;
        planes[index] = Plane {
            offset: bytes.len(),
            stride: columns,
        };
        for y in 0..rows {
            let row = frame.row(index, y * (frame.height / divisor) as usize / rows, from);
            bytes.extend((0..columns).map(|x| row[x * from / columns]));
        }
    }
    Frame {
        width,
        height,
        planes,
        bytes: Arc::new(bytes),
        ..frame.clone()
    }
}

fn start() -> RecordTime {
    RecordTime {
        boottime_ns: 1,
        ..RecordTime::BEGINNING
    }
}
