//! Processor time per camera-second: bare pipelines, bare inferences and the agent, all on the same streams at the
//! same time, so that a noisy neighbour is noisy for all of them.

use crate::Bench;
use crate::clips::{Clip, Rate, first_frame};
use crate::processes::{Agent, Cameras, Limit, Pipelines, cameras, number, total};
use crate::report::{Figure, median};
use crate::scene::Kind;
use crate::usage;
use anyhow::Result;
use edge_agent::config::{AnalysisConfig, ModelConfig};
use edge_agent::detect::{Detector, OnnxDetector};
use edge_agent::frame::Frame;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Bare inferences in a row, once a round.
const INFERENCES: u32 = 8;
/// What the figures in cores are as multiples of key frames only (0.017 core) on the machine they were
/// measured on: must and reach.
const IDLE_VBR: (f64, f64) = (0.030 / 0.017, 0.020 / 0.017);
const IDLE_CBR: (f64, f64) = (0.045 / 0.017, 0.030 / 0.017);
/// Of full decode and the bare inferences of so many looks.
const BUSY: (f64, f64) = (1.15, 1.0);

pub fn cost(bench: &mut Bench) -> Result<()> {
    for height in [1080, 720] {
        for kind in [Kind::Idle, Kind::Busy, Kind::Mixed] {
            for rate in [Rate::Vbr, Rate::Cbr] {
                let clip = Clip { kind, height, rate };
                if clip.name().contains(&bench.args.clips) {
                    of_clip(bench, clip)?;
                }
            }
        }
    }
    Ok(())
}

/// Cores, by round.
#[derive(Default)]
struct Rounds {
    agent: Vec<f64>,
    limits: [Vec<f64>; 3],
    /// Core-seconds for each.
    inference: Vec<f64>,
}

fn of_clip(bench: &mut Bench, clip: Clip) -> Result<()> {
    let file = bench.library.get(clip)?;
    bench.library.forget_film();
    eprintln!("{}", clip.name());
    let frame = first_frame(&file)?;
    let mut detector = OnnxDetector::open(
        &ModelConfig {
            dir: bench.setup.model.clone(),
            runtime_library: Some(bench.setup.onnxruntime.clone()),
            ..ModelConfig::default()
        },
        &AnalysisConfig::default(),
    )?;
    let served = Cameras::start(&file, bench.args.cameras)?;
    let mut agent = Agent::start(&bench.setup, &served.urls)?;
    agent.wait_looking(Duration::from_secs(60))?;
    let mut limits = Vec::new();
    for limit in Limit::ALL {
        limits.push(Pipelines::start(limit, &served.urls)?);
    }
    std::thread::sleep(Duration::from_secs(bench.args.warm_up_seconds));

    let before = agent.status()?;
    let mut rounds = Rounds::default();
    let began = Instant::now();
    for _ in 0..bench.args.rounds {
        round(
            bench,
            &agent,
            &mut limits,
            (&mut detector, &frame),
            &mut rounds,
        )?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = agent.status()?;
    tell(
        bench,
        clip,
        rounds,
        &counters(&before, &after, seconds, bench.args.cameras),
    )
}

fn round(
    bench: &Bench,
    agent: &Agent,
    limits: &mut [Pipelines],
    (detector, frame): (&mut OnnxDetector, &Frame),
    rounds: &mut Rounds,
) -> Result<()> {
    let began = Instant::now();
    let agent_before = agent.cpu_seconds()?;
    let mut limits_before = Vec::new();
    for limit in &mut *limits {
        limits_before.push(limit.cpu_seconds()?);
    }
    // Session and thread are warm after one.
    detector.detect(frame, &[])?;
    let cpu = usage::own_thread_cpu_seconds();
    for _ in 0..INFERENCES {
        detector.detect(frame, &[])?;
    }
    let inference = (usage::own_thread_cpu_seconds() - cpu) / f64::from(INFERENCES);
    rounds.inference.push(inference);
    std::thread::sleep(Duration::from_secs(bench.args.seconds).saturating_sub(began.elapsed()));

    let camera_seconds = began.elapsed().as_secs_f64() * bench.args.cameras as f64;
    rounds
        .agent
        .push((agent.cpu_seconds()? - agent_before) / camera_seconds);
    for (index, limit) in limits.iter_mut().enumerate() {
        rounds.limits[index].push((limit.cpu_seconds()? - limits_before[index]) / camera_seconds);
    }
    Ok(())
}

/// Per camera and second, from two statuses.
fn counters(before: &Value, after: &Value, seconds: f64, count: usize) -> Value {
    let rate = |name: &str| (total(after, name) - total(before, name)) / (seconds * count as f64);
    json!({
        "frames_in_per_second": rate("frames_in"),
        "frames_decoded_per_second": rate("frames_decoded"),
        "frames_analysed_per_second": rate("frames_analysed"),
        "detections_per_second": rate("detections"),
        "events": total(after, "events_total") - total(before, "events_total"),
        "gate": cameras(after).map(|camera| camera["gate"].clone()).collect::<Vec<_>>(),
        "ring_bytes_per_camera": total(after, "ring_bytes") / count as f64,
        "inference_ms_mean": cameras(after)
            .map(|camera| number(camera, "inference_ms_mean"))
            .collect::<Vec<_>>(),
    })
}

/// How the cameras are watched, each way once.
fn ways_of_decoding(counters: &Value) -> String {
    let gates = counters["gate"].as_array().into_iter().flatten();
    let mut modes: Vec<&str> = gates.filter_map(|gate| gate["mode"].as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    modes.join(", ")
}

fn tell(bench: &mut Bench, clip: Clip, rounds: Rounds, counters: &Value) -> Result<()> {
    let name = clip.name();
    let looks = f64::from(bench.setup.looks_per_second);
    let ratio_to_keys: Vec<f64> = std::iter::zip(&rounds.agent, &rounds.limits[1])
        .map(|(agent, keys)| agent / keys)
        .collect();
    let details = json!({
        "part": "cost",
        "clip": name,
        "agent": rounds.agent,
        "receive": rounds.limits[0],
        "key_frames": rounds.limits[1],
        "full_decode": rounds.limits[2],
        "inference": rounds.inference,
        "counters": counters,
    });
    let agent = median(rounds.agent);
    let [receive, keys, decode] = rounds.limits.map(median);
    let inference = median(rounds.inference);
    let bare = decode + looks * inference;
    let report = &mut bench.report;
    report.add(Figure::new(
        format!("{name}: receive only"),
        receive,
        "core",
    ));
    report.add(Figure::new(
        format!("{name}: key frames only"),
        keys,
        "core",
    ));
    report.add(Figure::new(format!("{name}: full decode"), decode, "core"));
    report.add(Figure::new(
        format!("{name}: one bare inference"),
        inference,
        "core-s",
    ));
    let figure = Figure::new(format!("**{name}: agent**"), agent, "core").note(format!(
        "{:.2} x key frames only, {:.2} x (full decode + {looks} inferences); per camera and second {:.1} frames in, \
         {:.1} decoded, {:.1} looked at, {:.1} detections; {} events; decodes {}",
        median(ratio_to_keys),
        agent / bare,
        number(counters, "frames_in_per_second"),
        number(counters, "frames_decoded_per_second"),
        number(counters, "frames_analysed_per_second"),
        number(counters, "detections_per_second"),
        number(counters, "events"),
        ways_of_decoding(counters),
    ));
    let figure = match (clip.kind, clip.rate, clip.height) {
        (Kind::Idle, Rate::Vbr, 1080) => figure.at_most(IDLE_VBR.0 * keys, IDLE_VBR.1 * keys),
        (Kind::Idle, Rate::Cbr, 1080) => figure.at_most(IDLE_CBR.0 * keys, IDLE_CBR.1 * keys),
        (Kind::Busy, _, 1080) => figure.at_most(BUSY.0 * bare, BUSY.1 * bare),
        _ => figure,
    };
    report.add(figure);
    report.details.push(details);
    Ok(())
}
