//! What cameras cost: the limits of this machine first, then the real agent on live RTSP streams against them, its
//! memory, how many cameras it carries, and whether the gate before the decoder loses events. Everything in one run,
//! because on a shared machine only ratios hold.
//!
//!     make bench-cameras                                   everything, about half an hour
//!     make bench-cameras BENCH='--only cost --seconds 30'  a part of it
//!     make bench-cameras BENCH=--smoke                     whether it works, within a minute
//!
//! Prints a table in Markdown and writes JSON. What the figures mean stands in docs/performance.md.

mod clips;
mod events;
mod parts;
mod processes;
mod report;
mod scene;
mod usage;

use anyhow::{Context, Result};
use clap::Parser;
use clips::Library;
use processes::{Limit, Setup};
use report::Report;
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
struct Args {
    /// Only these parts: cost, memory, many, recall.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Of the part `cost`, only clips whose names hold this, such as `idle`, `1080p-vbr`, `busy-720p-cbr`.
    #[arg(long, default_value = "")]
    clips: String,
    /// Length of one round.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Figures are medians of so many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Before the first round: for a camera's baseline to be learned.
    #[arg(long, default_value_t = 30)]
    warm_up_seconds: u64,
    /// Cameras at once in the part `cost`.
    #[arg(long, default_value_t = 2)]
    cameras: usize,
    /// How many cameras the part `many` tries.
    #[arg(long, value_delimiter = ',', default_values_t = [40, 60])]
    many: Vec<usize>,
    /// Of the part `recall`, for each kind of stream.
    #[arg(long, default_value_t = 300)]
    recall_seconds: u64,
    /// Picture height of the part `recall`: with large pictures a small machine cannot carry the ungated agent.
    #[arg(long, default_value_t = 720)]
    recall_height: usize,
    /// Less than a minute: whether the benchmark works, no figure to quote.
    #[arg(long)]
    smoke: bool,
    /// Folder with a model.toml.
    #[arg(long)]
    model: Option<PathBuf>,
    /// `auto` as installed; `off` for the same agent without its gate.
    #[arg(long, default_value = "auto", value_parser = ["auto", "off"])]
    gate: String,
    /// Where the JSON goes.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Runs bare pipelines for another process of this program.
    #[arg(long, hide = true)]
    as_limit: Option<String>,
    #[arg(hide = true)]
    urls: Vec<String>,
    /// Said by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(name) = &args.as_limit {
        let limit = Limit::named(name).context("no such limit")?;
        return processes::run_as_limit(limit, &args.urls);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the package lies in the repository")?;
    let mut bench = Bench {
        setup: Setup {
            model: args
                .model
                .clone()
                .unwrap_or_else(|| repository.join("models/nanodet-g-416-int8")),
            onnxruntime: std::env::var_os("ORT_DYLIB_PATH")
                .map(PathBuf::from)
                .unwrap_or_else(|| repository.join(".cache/onnxruntime/libonnxruntime.so.1.32.0")),
            looks_per_second: 5.0,
            gate: if args.gate == "off" { "off" } else { "auto" },
            cores: None,
        },
        library: Library::open(
            &repository.join(".cache/media/vtest.avi"),
            &repository.join(".cache/bench"),
        )?,
        args: args.in_smoke(),
        report: Report::default(),
    };
    bench.run()?;
    let out = args
        .out
        .unwrap_or_else(|| repository.join("target/bench-cameras.json"));
    std::fs::write(&out, serde_json::to_vec_pretty(&bench.report)?)?;
    println!("{}\nwritten to {}", bench.report.markdown(), out.display());
    Ok(())
}

impl Args {
    /// Shorter and less of everything, where only a smoke test is asked for.
    fn in_smoke(&self) -> Self {
        let smoke = self.smoke;
        let or = |short: u64, long: u64| if smoke { short } else { long };
        Self {
            only: self.only.clone(),
            clips: if smoke {
                "idle-720p-vbr".into()
            } else {
                self.clips.clone()
            },
            seconds: or(4, self.seconds),
            rounds: if smoke { 1 } else { self.rounds },
            warm_up_seconds: or(2, self.warm_up_seconds),
            many: if smoke { vec![4] } else { self.many.clone() },
            recall_seconds: or(10, self.recall_seconds),
            model: self.model.clone(),
            gate: self.gate.clone(),
            out: self.out.clone(),
            as_limit: None,
            urls: Vec::new(),
            ..*self
        }
    }
}

/// One run: what is measured, with what, and what came of it.
struct Bench {
    args: Args,
    setup: Setup,
    library: Library,
    report: Report,
}

impl Bench {
    fn run(&mut self) -> Result<()> {
        let asked = |part: &str, only: &[String]| only.is_empty() || only.iter().any(|o| o == part);
        let only = self.args.only.clone();
        self.describe_machine()?;
        let busy_before = usage::machine_busy_seconds()?;
        let began = std::time::Instant::now();
        // First, as long as this process has no libraries of the agent's: pages of files that two processes share cannot
        // be given back.
        if asked("memory", &only) {
            parts::memory(self)?;
        }
        if asked("cost", &only) {
            parts::cost(self)?;
        }
        if asked("many", &only) {
            parts::many(self)?;
        }
        if asked("recall", &only) {
            parts::recall(self)?;
        }
        let busy = (usage::machine_busy_seconds()? - busy_before) / began.elapsed().as_secs_f64();
        self.report.machine.push(format!(
            "Load average {:.1} at the end; {busy:.2} cores of the machine were busy in the mean, with all its work.",
            usage::load()
        ));
        Ok(())
    }

    fn describe_machine(&mut self) -> Result<()> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
        let name = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown processor", |rest| {
                rest.trim_start_matches([' ', '\t', ':'])
            });
        let model = self.setup.model.file_name().unwrap_or_default();
        self.report.machine = vec![
            format!(
                "{name}, {} cores; load average {:.1} at the beginning.",
                std::thread::available_parallelism()?,
                usage::load()
            ),
            format!(
                "Model {}, gate {}, {} looks/s; medians of {} rounds of {} s with {} cameras, 15 frames/s, GOP 2 s.",
                model.display(),
                self.setup.gate,
                self.setup.looks_per_second,
                self.args.rounds,
                self.args.seconds,
                self.args.cameras
            ),
        ];
        Ok(())
    }
}
