//! Measures how a backlog drains over a link of 20 Mbit/s, and how long live events take meanwhile.
//!
//! Box, receiver and browser share one loopback that is shaped by the kernel (tbf), in a network of its own. The share is
//! counted in bytes of records and pictures alone: headers, TLS and acknowledgements use the link as well.

use anyhow::{Context, Result};
use clap::Parser;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::net::OwnNetwork;
use e2e::fault::watcher::{Seen, now};
use e2e::fault::{Feeder, Said, Site, Watcher};
use std::time::{Duration, Instant};
use wire::UtcMicros;

const PATIENCE: Duration = Duration::from_secs(900);
/// Until a fresh connection has calmed down.
const SETTLING: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Parser)]
#[command(about = "Drain of a backlog over a shaped link, and live latency meanwhile")]
struct Args {
    #[arg(long, default_value_t = 20)]
    mbit: u64,
    /// Records in the backlog, about.
    #[arg(long, default_value_t = 20_000)]
    events: u64,
    /// Pictures in the backlog.
    #[arg(long, default_value_t = 1_000)]
    pictures: u64,
    #[arg(long, default_value_t = 60_000)]
    picture_bytes: usize,
    #[arg(long, default_value_t = 4)]
    live_per_second: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // Before there is any other thread: they inherit the network.
    let network = OwnNetwork::enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let site = Site::new()?;
    network.shape(args.mbit * 1_000_000)?;
    let watcher = runtime.block_on(Watcher::start(&site.receiver, &site.account))?;

    let normal = live_alone(&site, &args, &watcher)?;
    report("live, nothing else on the link", &normal);

    let bytes = backlog(&site, &args)?;
    let carried = network.bytes_carried()?;
    let drain = drain(&site, &args, &watcher)?;
    report("live, while the backlog drains", &drain.live);
    let carried = network.bytes_carried()? - carried;
    #[allow(clippy::cast_precision_loss)]
    let share = |bytes: u64| {
        bytes as f64 * 8.0 / drain.took.as_secs_f64() / (args.mbit as f64 * 1e6) * 100.0
    };
    println!(
        "backlog         {bytes} bytes in {:.1} s",
        drain.took.as_secs_f64()
    );
    println!("share of link   {:.1} % as payload", share(bytes));
    println!(
        "                {:.1} % with headers, TLS, acknowledgements and the browser",
        share(carried)
    );
    println!(
        "live            p50 {:.2} x, p95 {:.2} x the latency on an idle link",
        ratio(&drain.live, &normal, 0.5),
        ratio(&drain.live, &normal, 0.95)
    );
    println!("reload notices  {}", watcher.reloads());
    println!("verdict         {:?}", site.judge()?);
    Ok(())
}

fn live(args: &Args, events: u64) -> Feed {
    Feed {
        events,
        per_second: args.live_per_second,
        picture_every: 0,
        ..Feed::default()
    }
}

fn live_alone(site: &Site, args: &Args, watcher: &Watcher) -> Result<Vec<Seen>> {
    let mut feeder = connected(site)?;
    std::thread::sleep(SETTLING);
    let from = now();
    feeder.put_all(live(args, 40), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    let seen = watcher.seen_between(from, now());
    feeder.stop()?;
    Ok(seen)
}

/// Returns its bytes.
fn backlog(site: &Site, args: &Args) -> Result<u64> {
    let before = site.journal.lock().expect("only pushed").len();
    let mut feeder = site.start_feeder(&Options {
        no_uplink: true,
        ..Options::default()
    })?;
    let feed = Feed {
        events: args.events,
        picture_every: args.events / args.pictures.max(1),
        picture_bytes: args.picture_bytes,
        at_once: 256,
        ..Feed::default()
    };
    feeder.put_all(feed, PATIENCE)?;
    feeder.stop()?;
    let journal = site.journal.lock().expect("only pushed");
    let bytes = |said: &Said| match said {
        Said::Kept { bytes, .. } => *bytes,
        _ => 0,
    };
    Ok(journal[before..].iter().map(bytes).sum())
}

struct Drain {
    took: Duration,
    live: Vec<Seen>,
}

fn drain(site: &Site, args: &Args, watcher: &Watcher) -> Result<Drain> {
    let mut feeder = connected(site)?;
    let began = Instant::now();
    std::thread::sleep(SETTLING);
    let from = now();
    feeder.put(live(args, 1_000_000))?;
    // Live events never stop, so the backlog is through when hardly anything is pending.
    let mut last = UtcMicros(0);
    feeder.await_said("the end of the backlog", PATIENCE, |said| match said {
        Said::Figures {
            pending_records,
            pending_blobs,
            ..
        } => {
            last = now();
            (began.elapsed() > SETTLING && pending_records + pending_blobs < 5).then_some(())
        }
        _ => None,
    })?;
    let took = began.elapsed();
    // What was put last is still on its way.
    let to = UtcMicros(last.0 - 1_000_000);
    let seen = watcher.seen_between(from, to);
    feeder.kill();
    let mut rest = connected(site)?;
    rest.drained(PATIENCE)?;
    rest.stop()?;
    Ok(Drain { took, live: seen })
}

fn connected(site: &Site) -> Result<Feeder> {
    let mut feeder = site.start_feeder(&Options::default())?;
    feeder
        .await_said("the connection", PATIENCE, |said| match said {
            Said::Figures { carriage, .. } if carriage == "mqtt" => Some(()),
            _ => None,
        })
        .context("the box does not get through")?;
    Ok(feeder)
}

fn quantile_ms(seen: &[Seen], share: f64) -> f64 {
    let mut all: Vec<f64> = seen
        .iter()
        .map(|seen| seen.latency().as_secs_f64() * 1000.0)
        .collect();
    all.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let index = (all.len().saturating_sub(1) as f64 * share).round() as usize;
    all.get(index).copied().unwrap_or(f64::NAN)
}

fn ratio(seen: &[Seen], normal: &[Seen], share: f64) -> f64 {
    quantile_ms(seen, share) / quantile_ms(normal, share)
}

fn report(what: &str, seen: &[Seen]) {
    println!(
        "{what}: {} events, p50 {:.0} ms, p95 {:.0} ms, worst {:.0} ms",
        seen.len(),
        quantile_ms(seen, 0.5),
        quantile_ms(seen, 0.95),
        quantile_ms(seen, 1.0)
    );
}
