//! What a connection asks the store about its device besides committing: is it still in service, what is it to
//! do, and that it was told.

use crate::store::{DeviceRow, DeviceWrites, Result};
use std::sync::Arc;
use wire::command::Command;
use wire::{CommandId, DeviceId, UtcMicros};

/// The device as it is on file now, and the commands it has not answered.
pub(super) async fn look(
    store: Arc<dyn DeviceWrites>,
    device: DeviceId,
    with_commands: bool,
    at: UtcMicros,
) -> Result<(Option<DeviceRow>, Vec<Command>)> {
    let row = store.device(device).await?;
    let commands = if with_commands {
        store.pending_commands(device, at).await?
    } else {
        Vec::new()
    };
    Ok((row, commands))
}

pub(super) async fn note_sent(
    store: Arc<dyn DeviceWrites>,
    commands: Vec<CommandId>,
    at: UtcMicros,
) -> Result<()> {
    for command in commands {
        store.command_sent(command, at).await?;
    }
    Ok(())
}
