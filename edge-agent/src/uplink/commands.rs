//! Orders of the receiver: verified before they are read, done once, and refused in writing.

use crate::clock::TimeSource;
use crate::spool::SpoolHandle;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::mpsc;
use wire::command::{Command, CommandError, Request, SignedCommand};
use wire::record::AuditRecord;
use wire::{Body, CommandId, DeviceId, Record, UtcMicros, VerifyingKey};

/// How many command ids are remembered, so that one that is sent again is not done again.
const REMEMBERED: usize = 256;
/// Verified commands that wait for the agent; more are refused, in writing.
pub(super) const QUEUE: usize = 16;

/// Checks commands from either carriage and hands them on.
#[derive(Debug)]
pub(super) struct Commands {
    device: DeviceId,
    key: VerifyingKey,
    time: TimeSource,
    spool: SpoolHandle,
    queue: mpsc::Sender<Command>,
    seen: Mutex<VecDeque<CommandId>>,
}

impl Commands {
    pub(super) fn new(
        device: DeviceId,
        key: VerifyingKey,
        time: TimeSource,
        spool: SpoolHandle,
        queue: mpsc::Sender<Command>,
    ) -> Self {
        Self {
            device,
            key,
            time,
            spool,
            queue,
            seen: Mutex::default(),
        }
    }

    /// `now` is the best known true time: deadlines are the receiver's.
    pub(super) async fn accept(&self, signed: &SignedCommand, now: UtcMicros) {
        let command = match signed.open(&self.key, self.device, now) {
            Ok(command) => command,
            Err(CommandError::PastDeadline(id)) if !self.is_new(id) => return,
            Err(error) => return self.refuse("command", refused_id(&error), error).await,
        };
        if !self.is_new(command.id) {
            return;
        }
        let (id, action) = (command.id, format!("command.{}", command.request.name()));
        if command.request == Request::Unknown {
            let why = "this version does not know the request";
            return self.refuse(&action, Some(id), why).await;
        }
        tracing::info!(command.id = %id, action, "the receiver asks for {action}");
        if self.queue.try_send(command).is_err() {
            let why = "too many commands are waiting";
            self.refuse(&action, Some(id), why).await;
        }
    }

    fn is_new(&self, id: CommandId) -> bool {
        let mut seen = self.seen.lock().expect("ids are only moved under the lock");
        if seen.contains(&id) {
            return false;
        }
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(id);
        true
    }

    async fn refuse(&self, action: &str, command: Option<CommandId>, why: impl std::fmt::Display) {
        let why = why.to_string();
        tracing::warn!(action, why, "refusing a command: {why}");
        let audit = AuditRecord {
            actor: "receiver".to_owned(),
            action: action.to_owned(),
            outcome: "refused".to_owned(),
            command,
            detail: Some(why),
        };
        let record = Record::new(self.time.now(), Body::Audit(audit));
        if let Err(error) = self.spool.put_durable(record).await {
            tracing::error!(%error, "a refusal could not be recorded: {error}");
        }
    }
}

fn refused_id(error: &CommandError) -> Option<CommandId> {
    match error {
        CommandError::PastDeadline(id) => Some(*id),
        CommandError::BadSignature | CommandError::ForeignDevice(_) | CommandError::Shape(_) => {
            None
        }
    }
}
