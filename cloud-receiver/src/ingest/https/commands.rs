//! `GET /device/v1/commands`: a long poll for devices whose MQTT is blocked.

use super::ApiError;
use super::{Device, DeviceApi};
use crate::clock::now;
use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire::CommandId;
use wire::command::{Command, SignedCommand};

const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A command that was handed out but not answered is handed out again after this; its answer may be on its way.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wait {
    wait_seconds: u64,
}

/// When commands were last handed out. Forgotten at a restart: a device takes a command twice without harm.
#[derive(Debug, Default)]
pub struct HandedOut(Mutex<HashMap<CommandId, Instant>>);

impl HandedOut {
    /// Those that are due now; they count as handed out.
    fn take_due(&self, mut commands: Vec<Command>, at: Instant) -> Vec<Command> {
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handed.retain(|_, since| at.duration_since(*since) < AGAIN_AFTER);
        commands.retain(|command| !handed.contains_key(&command.id));
        handed.extend(commands.iter().map(|command| (command.id, at)));
        commands
    }
}

pub(super) async fn list(
    State(api): State<DeviceApi>,
    Device {
        row: device,
        presented,
    }: Device,
    Query(wait): Query<Wait>,
) -> Result<Json<Vec<SignedCommand>>, ApiError> {
    let store = api.intake.store();
    let mut changes = store.changes();
    let wait = Duration::from_secs(wait.wait_seconds).min(LONGEST_WAIT);
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        changes.mark_unchanged();
        let pending = store.pending_commands(device.device, now()).await?;
        let due = api.handed_out.take_due(pending, Instant::now());
        if !due.is_empty() {
            for command in &due {
                store.command_sent(command.id, now()).await?;
            }
            let signed = due.iter().map(|command| command.sign(&api.command_key));
            return Ok(Json(signed.collect()));
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Ok(Json(Vec::new())) },
            () = tokio::time::sleep_until(deadline) => return Ok(Json(Vec::new())),
            () = api.stop.cancelled() => return Ok(Json(Vec::new())),
        }
        super::admitted(&api, &presented).await?;
    }
}
