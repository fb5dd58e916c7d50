//! Five hundred devices lose their sessions at one moment and come back, as agents do: with their back-off, their
//! certificates, and what was not yet answered.

use super::fleet::{self, Device};
use anyhow::{Context, Result, ensure};
use e2e::fault::{Chance, Proxy, Size};
use e2e::process::run_ok;
use edge_agent::uplink::backoff::Backoff;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

const DEVICES: usize = 500;
/// RELIABILITY.md: all back within.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// What a simulated device is to do: its sessions are counted, so that all can be awaited.
struct Fleet {
    /// The round: in each, every device delivers one more record.
    round: watch::Sender<u64>,
    /// Devices that have the receipt of the round.
    done: AtomicUsize,
    refused: AtomicUsize,
}

#[test]
fn fault_21_500_devices_that_lose_their_sessions_at_once_are_all_back_within_60_s() -> Result<()> {
    let mut chance = Chance::new("fault_21");
    // Devices and line are in this process: three descriptors for each device.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let rounds = Size::from_env().of(2, 10);
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("receiver");
    let mut receiver = fleet::receiver(&folder)?;
    let line = Proxy::start(receiver.mqtt_port)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let devices = runtime.block_on(fleet::enroll(&folder, "Acme", DEVICES, &mut chance))?;
    let fleet = Arc::new(Fleet {
        round: watch::Sender::new(1),
        done: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    });
    let mut tasks = JoinSet::new();
    for device in &devices {
        let (device, fleet, port) = (device.clone(), Arc::clone(&fleet), line.port());
        tasks.spawn_on(live(device, fleet, port), runtime.handle());
    }
    runtime.block_on(fleet.all_done("the first sessions"))?;

    for round in 1..=rounds {
        fleet.done.store(0, Ordering::SeqCst);
        // Each has a record more by the time it is back.
        fleet.round.send_modify(|round| *round += 1);
        if round % 2 == 1 {
            line.reset();
        } else {
            receiver.kill();
            receiver.serve()?;
        }
        let began = Instant::now();
        runtime.block_on(fleet.all_done("every device to be back"))?;
        eprintln!(
            "round {round}: all back after {:.1} s",
            began.elapsed().as_secs_f64()
        );
        ensure!(began.elapsed() <= BACK_WITHIN);
    }
    let refused = fleet.refused.load(Ordering::SeqCst);
    ensure!(
        refused == 0,
        "{refused} connections were refused by the receiver"
    );
    let resident = receiver.process().context("it serves")?.resident_bytes()?;
    eprintln!(
        "{} MiB resident with {DEVICES} sessions",
        resident / 1024 / 1024
    );
    tasks.abort_all();
    nothing_lost(&receiver, &devices, rounds + 1)
}

impl Fleet {
    async fn all_done(&self, what: &str) -> Result<()> {
        e2e::wait::until_async(what, BACK_WITHIN, || async {
            (self.done.load(Ordering::SeqCst) == DEVICES).then_some(())
        })
        .await
        .with_context(|| format!("{} of {DEVICES}", self.done.load(Ordering::SeqCst)))
    }
}

/// As an agent: connects, delivers what has no receipt, waits for the next round or for the end of the session.
async fn live(device: Device, fleet: Arc<Fleet>, port: u16) {
    let mut rounds = fleet.round.subscribe();
    let mut backoff = Backoff::default();
    let mut receipted = 0;
    loop {
        let mut session = match device.session(port).await {
            Ok(session) => session,
            Err(error) => {
                if error.to_string().contains("REFUSED") {
                    fleet.refused.fetch_add(1, Ordering::SeqCst);
                }
                tokio::time::sleep(backoff.after_failure(rand::random())).await;
                continue;
            }
        };
        backoff.reset();
        loop {
            let wanted = *rounds.borrow_and_update();
            while receipted < wanted {
                let batch = device.batch(receipted + 1);
                match session.deliver(&batch).await {
                    Ok(receipt) if receipt.through.0 > receipted => {
                        receipted += 1;
                        if receipted == wanted {
                            fleet.done.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    _ => break,
                }
            }
            if receipted < wanted {
                break;
            }
            tokio::select! {
                () = session.ended() => break,
                changed = rounds.changed() => if changed.is_err() { return },
            }
        }
        tokio::time::sleep(backoff.after_loss(rand::random())).await;
    }
}

fn nothing_lost(receiver: &e2e::receiver::Receiver, devices: &[Device], each: u64) -> Result<()> {
    // A few of them in full: all of them would be five hundred commands.
    for device in devices.iter().step_by(DEVICES / 10) {
        let config = receiver.config().to_string_lossy().into_owned();
        let id = device.id.to_string();
        let printed = run_ok(
            "cloud-receiver",
            ["audit", "records", "--device", &id, "--config", &config],
        )?;
        let stored = e2e::fault::oracle::parse(&printed)?;
        ensure!(
            stored.len() as u64 == each,
            "device {id} delivered {each} records and {} are there",
            stored.len()
        );
    }
    Ok(())
}
