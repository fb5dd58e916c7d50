//! Many idle cameras on two cores: whether it runs, and whether every one of them is looked at.

use crate::Bench;
use crate::clips::{Clip, Rate};
use crate::processes::{Agent, Cameras, Setup, cameras, number, total};
use crate::report::Figure;
use crate::scene::{CLIP_FPS, Kind};
use crate::usage;
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};

/// So many of the cameras of a row must be looked at: all.
const ALL: f64 = 100.0;

pub fn many(bench: &mut Bench) -> Result<()> {
    let height = if bench.args.smoke { 720 } else { 1080 };
    for count in bench.args.many.clone() {
        of_count(bench, height, count)?;
    }
    Ok(())
}

fn of_count(bench: &mut Bench, height: usize, count: usize) -> Result<()> {
    let clip = Clip {
        kind: Kind::Idle,
        height,
        rate: Rate::Vbr,
    };
    let file = bench.library.get(clip)?;
    bench.library.forget_film();
    let served = Cameras::start(&file, count)?;
    let setup = Setup {
        cores: Some("0,1".into()),
        ..bench.setup.clone()
    };
    let mut agent = Agent::start(&setup, &served.urls)?;
    agent.wait_looking(Duration::from_secs(120))?;
    std::thread::sleep(Duration::from_secs(bench.args.warm_up_seconds));

    let seconds = (bench.args.seconds * bench.args.rounds as u64).max(10);
    let (before, cpu, began) = (agent.status()?, agent.cpu_seconds()?, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, elapsed) = (agent.status()?, began.elapsed().as_secs_f64());
    let cores = (agent.cpu_seconds()? - cpu) / elapsed;
    let grown: Vec<f64> = std::iter::zip(cameras(&before), cameras(&after))
        .map(|(before, after)| number(after, "frames_analysed") - number(before, "frames_analysed"))
        .collect();
    let looked_at = grown.iter().filter(|looks| **looks > 0.0).count();
    let received = (total(&after, "frames_in") - total(&before, "frames_in"))
        / (elapsed * (count * CLIP_FPS) as f64);
    let memory = usage::memory(agent.id())?;
    bench.report.add(
        Figure::new(
            format!("{count} x {} on 2 cores: looked at", clip.name()),
            looked_at as f64 / count as f64 * 100.0,
            "%",
        )
        .at_least(ALL, ALL)
        .note(format!(
            "in {elapsed:.0} s: fewest looks at a camera {:.0}, most {:.0}; {cores:.2} cores, {:.1} % of what was sent \
             was received, {:.0} MB; the cameras run on the same cores",
            grown.iter().copied().fold(f64::INFINITY, f64::min),
            grown.iter().copied().fold(0.0, f64::max),
            received * 100.0,
            memory.resident_mb,
        )),
    );
    bench.report.details.push(json!({
        "part": "many",
        "cameras": count,
        "seconds": elapsed,
        "cores": cores,
        "received_share": received,
        "looks": grown,
        "memory": memory,
    }));
    Ok(())
}
