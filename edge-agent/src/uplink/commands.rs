//! Orders of the receiver: verified before they are read, done once, and refused in writing.
//!
//! Done once means across restarts too: an id is on disk before its command is handed on. What nobody signed is
//! recorded as well, but a flood of it must not fill the spool.

use crate::clock::TimeSource;
use crate::files;
use crate::spool::SpoolHandle;
use crate::uplink::Courier;
use crate::uplink::deliver::FAREWELL;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::command::{Command, CommandError, Request, SignedCommand};
use wire::record::AuditRecord;
use wire::{Body, CommandId, DeviceId, Record, UtcMicros, VerifyingKey};

/// Verified commands that wait for the agent; more are refused, in writing.
pub(super) const QUEUE: usize = 16;

/// Looks at what either carriage heard, one after the other, until the stop. Beside the line, because it notes each on
/// the disk and a refusal waits for the spool, either of which may hang; of what has begun a stop waits for the end.
pub(super) async fn run(courier: Arc<Courier>, mut heard: mpsc::Receiver<SignedCommand>) {
    let stop = &courier.stop;
    while let Some(Some(command)) = stop.run_until_cancelled(heard.recv()).await {
        let key = courier.credentials.borrow().enrollment.command_key;
        let now = courier.verified_time.now();
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = courier.commands.accept(&command, &key, now) => {}
            () = patience => return,
        }
    }
}

/// Checks commands from either carriage and hands them on.
#[derive(Debug)]
pub(super) struct Commands {
    device: DeviceId,
    time: TimeSource,
    spool: SpoolHandle,
    queue: mpsc::Sender<Command>,
    /// One command at a time is looked at, so that none is taken twice at once.
    seen: tokio::sync::Mutex<Seen>,
    flood: Mutex<Flood>,
}

impl Commands {
    pub(super) fn new(
        device: DeviceId,
        data_dir: &Path,
        time: TimeSource,
        spool: SpoolHandle,
        queue: mpsc::Sender<Command>,
    ) -> Self {
        let seen = Seen::load(data_dir, time.now().captured_at_us);
        Self {
            device,
            time,
            spool,
            queue,
            seen: tokio::sync::Mutex::new(seen),
            flood: Mutex::default(),
        }
    }

    /// `key` is the receiver's; `now` is the best known true time: deadlines are the receiver's.
    pub(super) async fn accept(&self, signed: &SignedCommand, key: &VerifyingKey, now: UtcMicros) {
        let mut seen = self.seen.lock().await;
        let command = match signed.open(key, self.device, now) {
            Ok(command) => command,
            // Noted in memory alone: after a restart it is just as late.
            Err(CommandError::PastDeadline(id)) if !seen.is_news(id, now, now) => return,
            Err(error) => return self.refuse_unheard(refused_id(&error), &error).await,
        };
        if !seen.is_news(command.id, command.deadline_us, now) {
            return;
        }
        let (id, action) = (command.id, format!("command.{}", command.request.name()));
        if command.request == Request::Unknown {
            let why = "this version does not know the request";
            return self.refuse(&action, Some(id), why.into()).await;
        }
        if seen.is_before_loss(&command) {
            let why = "it may have been carried out already: the list of commands was lost since it was given";
            return self.refuse(&action, Some(id), why.into()).await;
        }
        // Before it is handed on: a command that is done twice is worse than one that is not done.
        if let Err(error) = seen.save().await {
            let why = format!("it cannot be noted on this box's disk ({error})");
            return self.refuse(&action, Some(id), why).await;
        }
        tracing::info!(command.id = %id, action, "the receiver asks for {action}");
        if self.queue.try_send(command).is_err() {
            let why = "too many commands are waiting";
            self.refuse(&action, Some(id), why.into()).await;
        }
    }

    /// Of what is not a command for us, or not any more, a few are recorded one by one and the others as a number.
    async fn refuse_unheard(&self, command: Option<CommandId>, error: &CommandError) {
        let allowed = {
            let mut flood = self.flood.lock().expect("only counted under the lock");
            flood.admit(Instant::now())
        };
        match allowed {
            None => tracing::debug!(%error, "refusing one of many commands: {error}"),
            Some(0) => self.refuse("command", command, error.to_string()).await,
            Some(more) => {
                let why = format!("{error}; and {more} more were refused before it");
                self.refuse("command", command, why).await;
            }
        }
    }

    async fn refuse(&self, action: &str, command: Option<CommandId>, why: String) {
        tracing::warn!(action, why, "refusing a command: {why}");
        let audit = AuditRecord {
            actor: "receiver".to_owned(),
            action: action.to_owned(),
            outcome: "refused".to_owned(),
            command,
            detail: Some(why),
            file: None,
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

/// Refusals recorded one by one before a flood is seen in them, and how fast more are allowed.
const BURST: u32 = 10;
const ONE_MORE_EVERY: Duration = Duration::from_secs(60);

/// A bucket of permits to record a refusal.
#[derive(Debug)]
struct Flood {
    permits: u32,
    last: Option<Instant>,
    unrecorded: u64,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            permits: BURST,
            last: None,
            unrecorded: 0,
        }
    }
}

impl Flood {
    /// Whether this one is recorded, and then how many were not since the last that was.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let last = *self.last.get_or_insert(now);
        let earned = (now - last).as_secs() / ONE_MORE_EVERY.as_secs();
        if earned > 0 {
            self.last = Some(now);
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.permits = self.permits.saturating_add(earned).min(BURST);
        }
        if self.permits == 0 {
            self.unrecorded += 1;
            return None;
        }
        self.permits -= 1;
        Some(std::mem::take(&mut self.unrecorded))
    }
}

const FILE: &str = "commands.json";
/// Ids at most. Those past their deadline by so much go first; a clock that was set may bring them back.
const REMEMBERED: usize = 1024;
const KEPT_BEYOND_US: i64 = 24 * 3600 * 1_000_000;

/// The ids of commands, each as long as its command could come again.
#[derive(Debug)]
struct Seen {
    folder: PathBuf,
    until: HashMap<CommandId, UtcMicros>,
    /// The list could not be read: what was given before this may be on it.
    lost_us: Option<UtcMicros>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct SeenFile {
    commands: Vec<(CommandId, UtcMicros)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_us: Option<UtcMicros>,
}

impl Seen {
    fn load(data_dir: &Path, now: UtcMicros) -> Self {
        let path = data_dir.join(FILE);
        let file = match std::fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(SeenFile::default()),
            Err(error) => Err(error.to_string()),
        };
        let file = file.unwrap_or_else(|error| {
            let path = path.display();
            tracing::error!(
                error,
                "{path} cannot be read ({error}): commands of before are refused"
            );
            SeenFile {
                lost_us: Some(now),
                ..SeenFile::default()
            }
        });
        Self {
            folder: data_dir.to_owned(),
            until: file.commands.into_iter().collect(),
            lost_us: file.lost_us,
        }
    }

    /// Notes an id, in memory. Also not news: one for which there is no room among those that are still good.
    fn is_news(&mut self, id: CommandId, deadline: UtcMicros, now: UtcMicros) -> bool {
        if self.until.len() >= REMEMBERED {
            self.until
                .retain(|_, until| now.since_us(*until) < KEPT_BEYOND_US);
        }
        if self.until.len() >= REMEMBERED || self.until.contains_key(&id) {
            return false;
        }
        self.until.insert(id, deadline);
        true
    }

    fn is_before_loss(&self, command: &Command) -> bool {
        self.lost_us.is_some_and(|lost| command.issued_at_us < lost)
    }

    async fn save(&self) -> io::Result<()> {
        let file = SeenFile {
            commands: self.until.iter().map(|(id, until)| (*id, *until)).collect(),
            lost_us: self.lost_us,
        };
        let json = serde_json::to_vec(&file)?;
        let folder = self.folder.clone();
        let written = tokio::task::spawn_blocking(move || files::write(&folder, FILE, &json));
        written.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use wire::CameraId;

    fn id(number: u128) -> CommandId {
        CommandId(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn an_id_is_known_after_a_restart_until_long_after_its_deadline() {
        let data = tempfile::tempdir().expect("temp dir");
        let mut seen = Seen::load(data.path(), UtcMicros(0));
        assert!(seen.is_news(id(1), UtcMicros(100), UtcMicros(5)));
        assert!(!seen.is_news(id(1), UtcMicros(100), UtcMicros(5)));
        seen.save().await.expect("saved");
        let mut seen = Seen::load(data.path(), UtcMicros(6));
        assert!(!seen.is_news(id(1), UtcMicros(100), UtcMicros(6)));
        assert!(seen.lost_us.is_none());
        for number in 2..=REMEMBERED as u128 {
            assert!(seen.is_news(id(number), UtcMicros(100), UtcMicros(7)));
        }
        assert!(
            !seen.is_news(id(5_000), UtcMicros(100), UtcMicros(200)),
            "full"
        );
        let later = UtcMicros(100 + KEPT_BEYOND_US);
        assert!(
            seen.is_news(id(5_000), later, later),
            "those of before are over"
        );
    }

    #[test]
    fn a_lost_list_puts_all_that_came_before_in_doubt() {
        let data = tempfile::tempdir().expect("temp dir");
        std::fs::write(data.path().join(FILE), "torn").expect("write");
        let seen = Seen::load(data.path(), UtcMicros(50));
        let command = |issued| Command {
            id: id(1),
            device: DeviceId(Uuid::from_u128(2)),
            issued_at_us: UtcMicros(issued),
            deadline_us: UtcMicros(100),
            request: Request::PictureNow {
                camera: CameraId(Uuid::from_u128(3)),
            },
        };
        assert!(seen.is_before_loss(&command(49)));
        assert!(!seen.is_before_loss(&command(50)));
    }

    #[test]
    fn a_flood_is_recorded_as_a_number() {
        let mut flood = Flood::default();
        let now = Instant::now();
        let recorded = (0..1_000).filter_map(|_| flood.admit(now));
        assert_eq!(recorded.collect::<Vec<_>>(), [0; BURST as usize]);
        let later = now + ONE_MORE_EVERY;
        assert_eq!(flood.admit(later), Some(1_000 - u64::from(BURST)));
        assert_eq!(flood.admit(later), None);
    }
}
