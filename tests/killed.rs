//! kill -9 in the middle of the work, of agent and receiver in turn: nothing that the spool accepted is lost.
//!
//! The proof is the chain itself: within an epoch record numbers have no hole, and the first batch of an epoch
//! names the last batch of the epoch before, so a lost tail would leave a link that never closes.

use anyhow::{Context, Result, ensure};
use e2e::wait;
use e2e::world::World;
use serde::Deserialize;
use std::time::Duration;

const ROUNDS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

/// One epoch of a device as `cloud-receiver device deliveries --json` tells it.
#[derive(Debug, Deserialize)]
struct EpochDelivered {
    epoch: String,
    batches: u64,
    records: u64,
    holes: Vec<serde_json::Value>,
    links_pending: u64,
    links_broken: u64,
}

fn delivered(world: &World) -> Result<Vec<EpochDelivered>> {
    let devices = world.receiver.command(&["device", "list"])?;
    let device = devices[0]["device"]
        .as_str()
        .context("one device")?
        .to_owned();
    let report = world
        .receiver
        .command(&["device", "deliveries", "--device", &device])?;
    Ok(serde_json::from_value(report)?)
}

fn records(world: &World) -> u64 {
    delivered(world)
        .map(|epochs| epochs.iter().map(|epoch| epoch.records).sum())
        .unwrap_or(0)
}

/// Awaits traffic, so that the next blow falls in the middle of it.
fn more_records(world: &World) -> Result<()> {
    let before = records(world);
    wait::until("more records at the receiver", PATIENCE, || {
        (records(world) > before).then_some(())
    })
}

#[test]
fn killing_agent_and_receiver_in_turn_loses_no_record() -> Result<()> {
    // A picture a second: media are on their way at every blow.
    let mut world = World::start(1, 1)?;
    let outcome = blows(&mut world);
    outcome.with_context(|| world.logs())
}

fn blows(world: &mut World) -> Result<()> {
    more_records(world)?;
    let mut agent_starts = 1;
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            world.agent.kill();
            world.agent.start()?;
            agent_starts += 1;
        } else {
            world.receiver.kill();
            world.receiver.serve()?;
        }
        more_records(world)?;
    }
    // The agent's own goodbye is a record, too; what it leaves undelivered its next start delivers.
    world.agent.stop()?;
    world.agent.start()?;
    agent_starts += 1;
    more_records(world)?;
    world.delivered(PATIENCE)?;

    let epochs = delivered(world)?;
    ensure!(
        epochs.len() == agent_starts,
        "{agent_starts} starts, but {epochs:#?}"
    );
    for epoch in &epochs {
        ensure!(epoch.holes.is_empty(), "records are missing in {epoch:?}");
        ensure!(epoch.links_broken == 0, "the chain is broken in {epoch:?}");
        ensure!(
            epoch.links_pending == 0,
            "a batch is missing before {epoch:?}"
        );
        ensure!(epoch.batches > 0, "nothing of {} arrived", epoch.epoch);
    }
    Ok(())
}
