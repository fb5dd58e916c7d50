//! Measures what a customer waits: from the capture time of the frame that confirmed an event to the moment the
//! event stands in a signed-in browser's page. Prints p50, p95 and the worst, and what the two programs use.
//!
//! One machine, one clock: camera, agent, receiver and browser all run here, so nothing has to be synchronised.

use anyhow::{Context, Result};
use clap::Parser;
use e2e::browser::{Browser, Viewer};
use e2e::camera::CameraOptions;
use e2e::film::FilmOptions;
use e2e::process::Process;
use e2e::wait;
use e2e::world::{World, film};
use std::time::{Duration, Instant};

#[derive(Debug, Parser)]
#[command(about = "Latency from camera to browser, over many events")]
struct Args {
    #[arg(long, default_value_t = 100)]
    events: usize,
    #[arg(long, default_value_t = 4)]
    cameras: usize,
    /// Width and height of the cameras' pictures; by default the film's own.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    size: Option<String>,
    #[arg(long, default_value_t = 1200)]
    timeout_seconds: u64,
}

/// Notes, for every event card that appears in the page, when it appeared and when its event was captured.
const WATCH: &str = r#"
window.seen = new Map();
const note = (node) => {
  if (!(node instanceof Element)) return;
  const cards = [...node.querySelectorAll("[data-event]")];
  if (node.matches("[data-event]")) cards.push(node);
  for (const card of cards) {
    if (window.seen.has(card.dataset.event)) continue;
    window.seen.set(card.dataset.event, Date.now() - Number(card.dataset.opened) / 1000);
  }
};
for (const card of document.querySelectorAll("[data-event]")) window.seen.set(card.dataset.event, null);
new MutationObserver((changes) => {
  for (const change of changes) change.addedNodes.forEach(note);
}).observe(document.body, { childList: true, subtree: true });
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let mut film = FilmOptions::new(film());
    if let Some((width, height)) = args.size.as_deref().and_then(|size| size.split_once('x')) {
        film.size = Some((width.parse()?, height.parse()?));
    }
    let options = CameraOptions {
        cameras: args.cameras,
        ..CameraOptions::new(film)
    };
    let mut world = tokio::task::block_in_place(|| World::start_in(folder.path(), options, 60))?;
    let browser = Browser::open(Viewer::DESKTOP_JA).await?;
    world.sign_in(&browser).await?;
    browser
        .goto(&format!("{}/events", world.receiver.portal_url()))
        .await?;
    browser.evaluate(WATCH).await?;

    let started = Instant::now();
    let agent_before = world
        .agent
        .process()
        .context("the agent runs")?
        .cpu_seconds()?;
    let receiver_before = world.receiver.process().context("it runs")?.cpu_seconds()?;
    let limit = Duration::from_secs(args.timeout_seconds);
    let browser = &browser;
    let mut latencies_ms = wait::until_async("enough events", limit, || async {
        let seen = browser
            .evaluate("return [...window.seen.values()].filter((ms) => ms !== null)")
            .await
            .ok()?;
        let seen: Vec<f64> = serde_json::from_value(seen).ok()?;
        (seen.len() >= args.events).then_some(seen)
    })
    .await?;

    latencies_ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let index = ((latencies_ms.len() - 1) as f64 * share).round() as usize;
        latencies_ms[index]
    };
    println!("events          {}", latencies_ms.len());
    println!("latency p50     {:.0} ms", at(0.5));
    println!("latency p95     {:.0} ms", at(0.95));
    println!("latency worst   {:.0} ms", at(1.0));
    let elapsed = started.elapsed().as_secs_f64();
    report(
        world.agent.process().context("the agent runs")?,
        agent_before,
        elapsed,
    )?;
    report(
        world.receiver.process().context("it runs")?,
        receiver_before,
        elapsed,
    )?;
    println!("cameras         {}", args.cameras);
    Ok(())
}

fn report(process: &Process, cpu_before: f64, elapsed: f64) -> Result<()> {
    #[allow(clippy::cast_precision_loss)]
    let mib = process.resident_bytes()? as f64 / f64::from(1 << 20);
    println!(
        "{:<15} {:.3} cores, {mib:.0} MiB resident",
        process.name(),
        (process.cpu_seconds()? - cpu_before) / elapsed
    );
    Ok(())
}
