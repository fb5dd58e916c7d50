//! How well the agent sees and follows people: its detector and tracker on the whole PETS 2009 S2.L1 film (795 pictures, 10
//! a second, a fixed camera, 19 people) against the published truth, at IoU 0.5 and 10, 5 and 2.5 looks a second.
//!
//!     cargo bench -p edge-agent --bench quality [-- [cached] [nanodet-int8] [nanodet-fp32] [yolox-nano]]
//!
//! Three rows for each model and rate:
//! - `tracks`, **the headline**: on the pictures looked at, the boxes that are published with a track
//!   ([`TrackState::shown`]), as they were known at that look and never corrected afterwards;
//! - `all pictures`: the same tracks on every picture of the film; between two looks the boxes are where the tracker
//!   then expects them, as a live picture would show them;
//! - `detections`: what the network alone believes (recall and precision only).
//!
//! The truth has full bodies, also of people who are hidden. The settings of the tracker were chosen with this film in view
//! (`track` says how), and the 8-bit model was calibrated on 12 of its frames: the other two models have seen none of it.
//! Writes `target/quality.json` and, for `scripts/compare_motmetrics.py`, the tracks of each headline in the form of MOTChallenge
//! into `target/quality/`. `cached` takes the detections from the last run, for work on the tracker.

mod film;
mod mot;

use anyhow::{Result, ensure};
use edge_agent::detect::{Detection, Thresholds};
use edge_agent::track::{TrackState, Tracker, TrackerConfig};
use film::{CANDIDATES, FRAMES_PER_SECOND, Places, SIZE};
use mot::{Figures, Marked, Marks};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const PERSON: &str = "person";
/// Every so many pictures one is looked at: 10, 5 and 2.5 looks a second.
const STEPS: [usize; 3] = [1, 2, 4];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let said = |word: &str| words.iter().any(|one| one == word);
    let all = !CANDIDATES.iter().any(|one| said(one.name));
    let places = Places::new()?;
    let truth = film::truth(&places)?;
    write_marks(&places.out.join("truth.csv"), &truth, 1)?;

    let mut results = Vec::new();
    for candidate in CANDIDATES.iter().filter(|one| all || said(one.name)) {
        let Some(looks) = candidate.look(&places, said("cached"))? else {
            println!(
                "{}: its file is not on this machine, left out",
                candidate.name
            );
            continue;
        };
        let (found, thresholds) = (looks.detections(), looks.thresholds());
        ensure!(
            found.len() == truth.len(),
            "{} frames, but truth of {}",
            found.len(),
            truth.len()
        );
        println!(
            "\n{} ({}), {thresholds:?}",
            candidate.name, candidate.caveat
        );
        println!("{HEAD}");
        for step in STEPS {
            let run = Run::of(&found, thresholds, step);
            let rate = FRAMES_PER_SECOND as f64 / step as f64;
            let name = format!("{}-{rate}.csv", candidate.name);
            write_marks(&places.out.join(name), &run.shown, step)?;
            let looked_at: Vec<Marks> = truth.iter().step_by(step).cloned().collect();
            for (what, truth, marks) in [
                ("tracks", &looked_at, &run.shown),
                ("all pictures", &truth, &run.everywhere),
                ("detections", &looked_at, &run.believed),
            ] {
                let figures = Figures::of(truth, marks);
                println!("{}", line(rate, what, &figures));
                results.push(entry(candidate.name, rate, what, &figures));
            }
        }
    }
    let path = places.root.join("target/quality.json");
    let notes = "PETS 2009 S2.L1, person, IoU 0.5; headline: \"tracks\"";
    let document = json!({ "what": notes, "results": results });
    std::fs::write(&path, serde_json::to_string_pretty(&document)?)?;
    println!("\nwritten: {}", path.display());
    Ok(())
}

/// What the tracker makes of the film at one rate.
struct Run {
    /// By picture looked at.
    shown: Vec<Marks>,
    /// By picture.
    everywhere: Vec<Marks>,
    /// By picture looked at: sure detections, each with an identity of its own.
    believed: Vec<Marks>,
}

impl Run {
    fn of(found: &[Vec<Detection>], thresholds: Thresholds, step: usize) -> Self {
        let mut tracker = Tracker::new(TrackerConfig::default(), thresholds);
        let (mut shown, mut everywhere, mut believed) = (Vec::new(), Vec::new(), Vec::new());
        for (number, detections) in found.iter().enumerate() {
            let at = Duration::from_millis((1000 * number / FRAMES_PER_SECOND) as u64);
            if number % step != 0 {
                everywhere.push(marks(&tracker.expected(at)));
                continue;
            }
            let now = marks(&tracker.update(at, detections));
            everywhere.push(now.clone());
            shown.push(now);
            believed.push(sure(detections, thresholds));
        }
        Self {
            shown,
            everywhere,
            believed,
        }
    }
}

fn marks(tracks: &[TrackState]) -> Marks {
    let people = tracks.iter().filter(|track| &*track.class == PERSON);
    let mark = |track: &TrackState| Marked {
        id: track.id.0,
        rect: track.rect,
    };
    people.filter(|track| track.shown()).map(mark).collect()
}

fn sure(detections: &[Detection], thresholds: Thresholds) -> Marks {
    let people = detections.iter().filter(|one| &*one.class == PERSON);
    let sure = people.filter(|one| one.score >= thresholds.score);
    let mark = |(index, one): (usize, &Detection)| Marked {
        id: index as u64,
        rect: one.rect,
    };
    sure.enumerate().map(mark).collect()
}

const HEAD: &str =
    "  looks/s  what          recall  precision   MOTA   MOTP   IDF1  switches  fragments";

fn line(rate: f64, what: &str, figures: &Figures) -> String {
    let start = format!(
        "  {rate:>7}  {what:<12}   {:.3}      {:.3}",
        figures.recall(),
        figures.precision()
    );
    if what == "detections" {
        return start;
    }
    format!(
        "{start}  {:.3}  {:.3}  {:.3}  {:>8}  {:>9}",
        figures.mota(),
        figures.motp(),
        figures.idf1(),
        figures.switches,
        figures.fragmentations
    )
}

fn entry(model: &str, rate: f64, what: &str, figures: &Figures) -> Value {
    let mut entry = json!({
        "model": model, "looks_per_second": rate, "what": what,
        "recall": figures.recall(), "precision": figures.precision(),
        "real": figures.real, "found": figures.found, "paired": figures.paired,
    });
    if what != "detections" {
        entry["mota"] = figures.mota().into();
        entry["motp_iou"] = figures.motp().into();
        entry["idf1"] = figures.idf1().into();
        entry["switches"] = figures.switches.into();
        entry["fragmentations"] = figures.fragmentations.into();
    }
    entry
}

/// As MOTChallenge has it: frame from 1, identity, left, top, width, height in pixels, confidence, and three unused.
fn write_marks(path: &Path, frames: &[Marks], step: usize) -> Result<()> {
    let mut text = String::new();
    for (number, frame) in frames.iter().enumerate() {
        for Marked { id, rect } in frame {
            let (x, y) = (rect.x * SIZE.0, rect.y * SIZE.1);
            let (w, h) = (rect.w * SIZE.0, rect.h * SIZE.1);
            let frame = number * step + 1;
            text += &format!("{frame},{id},{x:.4},{y:.4},{w:.4},{h:.4},1,-1,-1,-1\n");
        }
    }
    Ok(std::fs::write(path, text)?)
}
