//! How much memory the agent takes with one camera and with four, after its rings have filled. What counts is what is
//! resident, shared libraries in full: on a box there is nobody to share them with, while here the cameras do.

use crate::Bench;
use crate::clips::{Clip, Rate};
use crate::processes::{Agent, Cameras, total};
use crate::report::Figure;
use crate::scene::Kind;
use crate::usage;
use anyhow::Result;
use serde_json::json;
use std::time::Duration;

/// In MB: of the agent itself, and for each camera.
const MUST: (f64, f64) = (90.0, 25.0);
const REACH: (f64, f64) = (60.0, 12.0);

pub fn memory(bench: &mut Bench) -> Result<()> {
    let height = if bench.args.smoke { 720 } else { 1080 };
    for kind in [Kind::Idle, Kind::Busy] {
        for count in [1, 4] {
            let clip = Clip {
                kind,
                height,
                rate: Rate::Vbr,
            };
            of_clip(bench, clip, count)?;
            if bench.args.smoke {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn of_clip(bench: &mut Bench, clip: Clip, count: usize) -> Result<()> {
    let file = bench.library.get(clip)?;
    bench.library.forget_film();
    let served = Cameras::start(&file, count)?;
    let mut agent = Agent::start(&bench.setup, &served.urls)?;
    agent.wait_looking(Duration::from_secs(60))?;
    std::thread::sleep(Duration::from_secs(
        bench.args.warm_up_seconds + bench.args.seconds,
    ));
    let memory = usage::memory(agent.id())?;
    let mappings = usage::memory_by_mapping(agent.id())?;
    let status = agent.status()?;
    let ring_mb = total(&status, "ring_bytes") / 1e6;
    let bound = |(own, each): (f64, f64)| own + each * count as f64;
    let largest: Vec<String> = mappings
        .iter()
        .take(4)
        .map(|(what, mb)| format!("{what} {mb:.0}"))
        .collect();
    bench.report.add(
        Figure::new(
            format!("memory, {count} x {}", clip.name()),
            memory.resident_mb,
            "MB",
        )
        .at_most(bound(MUST), bound(REACH))
        .note(format!(
            "private {:.0}, of it anonymous {:.0}; rings hold {ring_mb:.0}; {}",
            memory.private_mb,
            memory.anonymous_mb,
            largest.join(", ")
        )),
    );
    bench.report.details.push(json!({
        "part": "memory",
        "clip": clip.name(),
        "cameras": count,
        "memory": memory,
        "ring_mb": ring_mb,
        "by_mapping": mappings,
    }));
    Ok(())
}
