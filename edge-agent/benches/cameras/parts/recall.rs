//! Whether the gate loses events: the agent with its gate and the same agent without it, on the same live streams at
//! the same time. The clip shows one visit after another; each camera is at another place in it.
//!
//! Two agents without gates do not tell the same either: they look at different frames, and somebody who is at the edge of
//! what the model sees is seen by one and not by the other. So there are two of them, and what must be found behind the
//! gate is what both told. How much one of them finds of the other's is chance, and is told beside it.

use crate::Bench;
use crate::clips::{Clip, Rate};
use crate::events::{self, Recall};
use crate::processes::{Agent, Cameras, Setup, total};
use crate::report::Figure;
use crate::scene::Kind;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use wire::record::EventRecord;

/// In per cent: must and reach.
const FOUND_VBR: (f64, f64) = (99.0, 100.0);
const FOUND_CBR: (f64, f64) = (97.0, 100.0);
const LATER_SECONDS: f64 = 0.5;
/// The reference, the agent that is tested, and the second reference.
const GATES: [&str; 3] = ["off", "auto", "off"];
/// An agent without gate that decoded less than this share of what came was short of processor, or had a gate.
const EVERYTHING: f64 = 0.95;

pub fn recall(bench: &mut Bench) -> Result<()> {
    for rate in [Rate::Vbr, Rate::Cbr] {
        let clip = Clip {
            kind: Kind::Visits,
            height: bench.args.recall_height,
            rate,
        };
        of_clip(bench, clip)?;
        if bench.args.smoke {
            break;
        }
    }
    Ok(())
}

/// What one agent made of the streams.
struct Told {
    events: Vec<EventRecord>,
    counters: Value,
}

fn of_clip(bench: &mut Bench, clip: Clip) -> Result<()> {
    let file = bench.library.get(clip)?;
    bench.library.forget_film();
    eprintln!("{}", clip.name());
    let served = Cameras::start(&file, bench.args.cameras)?;
    let mut agents = Vec::new();
    for gate in GATES {
        let setup = Setup {
            gate,
            ..bench.setup.clone()
        };
        agents.push(Agent::start(&setup, &served.urls)?);
    }
    for agent in &mut agents {
        agent.wait_looking(Duration::from_secs(60))?;
    }
    std::thread::sleep(Duration::from_secs(bench.args.warm_up_seconds));
    // Events that began before this moment may have been seen by some of them only.
    let from_us = jiff::Timestamp::now().as_microsecond();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(bench.args.recall_seconds));
    let until_us = jiff::Timestamp::now().as_microsecond();
    let seconds = began.elapsed().as_secs_f64();

    let mut told = Vec::new();
    for (mut agent, gate) in std::iter::zip(agents, GATES) {
        let status = agent.status()?;
        let decoded = total(&status, "frames_decoded") / total(&status, "frames_in");
        if gate == "off" && decoded < EVERYTHING {
            bail!(
                "the agent without gate decoded only {:.0} % of {}: nothing can be held against it",
                decoded * 100.0,
                clip.name()
            );
        }
        agent.stop()?;
        told.push(Told {
            events: events::read(&agent.data_dir())?,
            counters: json!({
                "seconds": seconds,
                "looks": total(&status, "frames_analysed"),
                "fps_analysed": total(&status, "fps_analysed"),
                "decoded": total(&status, "frames_decoded"),
                "overwritten": total(&status, "frames_overwritten"),
            }),
        });
    }
    tell(bench, clip, &told, (from_us, until_us));
    Ok(())
}

fn tell(bench: &mut Bench, clip: Clip, told: &[Told], (from_us, until_us): (i64, i64)) {
    const EDGE_US: i64 = 3_000_000;
    let [all, gated, control] = told else {
        return;
    };
    let whole = |event: &EventRecord| {
        events::first_seen_us(event) > from_us && event.last_seen_at_us.0 < until_us - EDGE_US
    };
    let (both, one): (Vec<EventRecord>, Vec<EventRecord>) = all
        .events
        .iter()
        .filter(|event| whole(event))
        .cloned()
        .partition(|event| events::is_told(event, &control.events));
    let recall = events::recall(&both, &gated.events);
    let chance = events::recall(&both, &control.events);
    let of_one = events::recall(&one, &gated.events);
    let (must, reach) = match clip.rate {
        Rate::Vbr => FOUND_VBR,
        Rate::Cbr => FOUND_CBR,
    };
    let in_time = |told: &Told| {
        let counts = told.events.iter().map(events::first_seen_us);
        counts
            .filter(|first| (from_us..until_us).contains(first))
            .count()
    };
    let name = clip.name();
    bench.report.add(
        Figure::new(format!("{name}: events found behind the gate"), recall.share() * 100.0, "%")
            .at_least(must, reach)
            .note(format!(
                "{} of {} that both agents without gate told, at least {:.1} % (95 %), and {} of {} that only one of \
                 them told; {} events with the gate, {} and {} without; {:.0} frames decoded against {:.0}",
                recall.found,
                recall.of,
                recall.at_least() * 100.0,
                of_one.found,
                of_one.of,
                in_time(gated),
                in_time(all),
                in_time(control),
                gated.counters["decoded"].as_f64().unwrap_or_default(),
                all.counters["decoded"].as_f64().unwrap_or_default(),
            )),
    );
    bench.report.add(
        Figure::new(
            format!("{name}: first seen within {LATER_SECONDS} s of no gate"),
            recall.within(LATER_SECONDS) * 100.0,
            "%",
        )
        .at_least(must, reach)
        .note(format!(
            "median {:.2} s later, 95 % {:.2} s, most {:.2} s; {} events",
            recall.later_quantile(0.5),
            recall.later_quantile(0.95),
            recall.later_quantile(1.0),
            recall.found
        )),
    );
    bench.report.details.push(json!({
        "part": "recall",
        "clip": name,
        "recall": details(&recall),
        "chance": details(&chance),
        "only_one": details(&of_one),
        "agents": told.iter().map(|told| told.counters.clone()).collect::<Vec<_>>(),
    }));
}

fn details(recall: &Recall) -> Value {
    json!({ "of": recall.of, "found": recall.found, "later_seconds": recall.later_seconds })
}
