//! Feeds the agent's real spool and real uplink without cameras or a model, so that a fault can be tried against
//! thousands of records a second.
//!
//! It is the oracle's witness: it writes to standard output what it tries to put and what the spool has accepted, one
//! JSON line each, after the fact. Killed at any moment, what it has written is true. Orders come on standard
//! input, one JSON line each ([`e2e::fault::Order`]). When the spool dies it ends with an error, as the agent does.

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::fault::feeding::{Feed, Feeding};
use e2e::fault::{Order, Said};
use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::{SpoolConfig, UplinkConfig};
use edge_agent::health::{Health, UnitState};
use edge_agent::identity::{Enrollment, Identity, SavedFloor};
use edge_agent::spool::{Spool, SpoolHandle, SpoolKeys};
use edge_agent::uplink::{Carriage, Renewal, TimeFloor, Uplink, UplinkParts, UplinkWatch};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;
use wire::heartbeat::Heartbeat;
use wire::{ClockStamp, ClockState};

/// How often the figures are told.
const TELL_EVERY: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, Parser)]
struct Args {
    /// Data folder of an enrolled agent.
    #[arg(long)]
    data_dir: PathBuf,
    /// Where the spool lies, if not in the data folder: on the disk that is to fail.
    #[arg(long)]
    spool_dir: Option<PathBuf>,
    #[arg(long, default_value_t = SpoolConfig::default().quota_bytes)]
    quota_bytes: u64,
    #[arg(long, default_value_t = 0)]
    min_free_bytes: u64,
    /// Keep everything, deliver nothing.
    #[arg(long)]
    no_uplink: bool,
    /// Records over HTTPS only.
    #[arg(long)]
    no_mqtt: bool,
    #[arg(long, default_value_t = 5)]
    heartbeat_seconds: u32,
    /// Seed of everything that is made up.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Cameras that the events are said to come from.
    #[arg(long, default_value_t = 2)]
    cameras: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> Result<()> {
    let args = Args::parse();
    // Also where the program was not asked for logs: what the spool complains of belongs into a failure's report.
    edge_agent::telemetry::init(None, edge_agent::telemetry::Talk::Service)?;
    let began = Instant::now();
    let feeder = Feeder::start(&args).await?;
    Said::Started {
        epoch: feeder.spool.epoch(),
        opening_ms: u64::try_from(began.elapsed().as_millis())?,
    }
    .say();
    let ended = tokio::select! {
        died = feeder.spool.died() => Err(died),
        () = feeder.follow_orders() => Ok(()),
    };
    match ended {
        Ok(()) => feeder.stop().await,
        // As the agent does: whoever keeps nothing must not go on.
        Err(why) => bail!("the spool has ended: {why}"),
    }
    Ok(())
}

struct Feeder {
    spool: SpoolHandle,
    uplink: Option<Uplink>,
    stop: CancellationToken,
    feeding: Arc<Feeding>,
}

impl Feeder {
    async fn start(args: &Args) -> Result<Self> {
        let identity = Identity::load(&args.data_dir)?.context("this box has no identity")?;
        let time = TimeSource::new(Arc::new(RealClocks::new()));
        // The machine's clock is right here; how it is found out is tried elsewhere.
        time.set_stamp(ClockStamp {
            state: ClockState::Synced,
            offset_us: 0,
            error_us: Some(1000),
        });
        let health = Health::default();
        let told = health.clone();
        let device = identity.device_id;
        let spool = open_spool(args, identity, &time, &health).await?;
        let stop = CancellationToken::new();
        let uplink = match (args.no_uplink, Enrollment::load(&args.data_dir)?) {
            (true, _) => None,
            (false, None) => bail!("this box is not enrolled"),
            (false, Some(enrollment)) => {
                let (spool, heart_time) = (spool.clone(), time.clone());
                let beating = spool.clone();
                let floor = SavedFloor::load(&Identity::folder(&args.data_dir)).get();
                let (uplink, _orders) = Uplink::start(UplinkParts {
                    spool,
                    device_id: device,
                    enrollment,
                    data_dir: args.data_dir.clone(),
                    config: UplinkConfig {
                        enabled: true,
                        mqtt: !args.no_mqtt,
                        heartbeat_seconds: args.heartbeat_seconds,
                    },
                    heartbeat: Arc::new(move |carriage| heartbeat(&beating, &heart_time, carriage)),
                    time: time.clone(),
                    floor: TimeFloor::new(Some(floor)),
                    health,
                    stop: stop.clone(),
                })?;
                Some(uplink)
            }
        };
        tokio::spawn(tell(
            spool.clone(),
            uplink.as_ref().map(Uplink::watch),
            told,
        ));
        let feeding = Arc::new(Feeding::new(spool.clone(), time, args.seed, args.cameras));
        Ok(Self {
            spool,
            uplink,
            stop,
            feeding,
        })
    }

    /// Until told to stop, or the other end of standard input is gone.
    async fn follow_orders(&self) {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(Order::Put(feed)) => {
                    let feeding = self.feeding.clone();
                    tokio::spawn(async move { run(&feeding, &feed).await });
                }
                Ok(Order::Balance) => {
                    if let Ok(lines) = self.spool.balance().await {
                        Said::balance(&lines).say();
                    }
                }
                Ok(Order::Renew) => {
                    if let Some(uplink) = &self.uplink {
                        tokio::spawn(renew(uplink.renewal()));
                    }
                }
                Ok(Order::Stop) => return,
                Err(error) => eprintln!("not an order: {line}: {error}"),
            }
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Some(uplink) = self.uplink {
            uplink.join().await;
        }
        self.spool.close().await;
        Said::Stopped.say();
    }
}

async fn run(feeding: &Feeding, feed: &Feed) {
    let kept = feeding.run(feed).await;
    Said::Done {
        order: feed.order,
        kept,
    }
    .say();
}

async fn renew(renewal: Renewal) {
    let outcome = renewal.now(None).await;
    Said::Renewed {
        done: outcome.is_ok(),
        words: outcome.unwrap_or_else(|why| why),
    }
    .say();
}

async fn open_spool(
    args: &Args,
    identity: Identity,
    time: &TimeSource,
    health: &Health,
) -> Result<SpoolHandle> {
    let keys = SpoolKeys {
        device_id: identity.device_id,
        record_key: identity.record_key,
        spool_key: identity.spool_key,
    };
    let dir = args.spool_dir.clone();
    let dir = dir.unwrap_or_else(|| args.data_dir.join("spool"));
    let config = SpoolConfig {
        quota_bytes: args.quota_bytes,
        min_free_bytes: args.min_free_bytes,
    };
    let (time, health) = (time.clone(), health.clone());
    let opened =
        tokio::task::spawn_blocking(move || Spool::open(&dir, &config, keys, time, &health));
    Ok(opened.await??)
}

fn heartbeat(spool: &SpoolHandle, time: &TimeSource, carriage: Carriage) -> Heartbeat {
    let now = time.now();
    Heartbeat {
        sent_at_us: now.captured_at_us,
        epoch: spool.epoch(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds: now.boottime_ns / 1_000_000_000,
        clock: now.clock,
        clock_checked_seconds_ago: Some(0),
        spool: spool.stats().report(),
        carriage: carriage.as_str().into(),
        cameras: Vec::new(),
    }
}

/// Why the status would show the spool as anything but running.
fn trouble(health: &Health) -> Option<String> {
    let units = health.snapshot();
    let spool = units.get("spool")?;
    (spool.state != UnitState::Running).then(|| spool.last_error.clone().unwrap_or_default())
}

/// What the agent's status would say.
async fn tell(spool: SpoolHandle, watch: Option<UplinkWatch>, health: Health) {
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        tick.tick().await;
        let stats = spool.stats();
        let uplink = watch.as_ref().map(UplinkWatch::status);
        Said::Figures {
            pending_records: stats.pending_records,
            pending_blobs: stats.pending_blobs,
            parked_records: stats.parked_records,
            bytes: stats.report().bytes,
            spool_trouble: trouble(&health),
            carriage: uplink
                .as_ref()
                .map_or("disabled", |it| it.carriage.as_str())
                .into(),
            last_error: uplink.and_then(|it| it.last_error),
        }
        .say();
    }
}
