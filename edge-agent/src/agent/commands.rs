//! Carries out what the receiver asks, and answers each command with an audit record, whatever came of it.
//!
//! The uplink has verified signature, device and deadline on arrival. The deadline is looked at once more here: a
//! command may have waited.

use crate::clock::TimeSource;
use crate::diagnostics::{BUNDLE_TYPE, Diagnostics, LOG_TYPE};
use crate::ended;
use crate::spool::SpoolHandle;
use crate::uplink::Renewal;
use crate::vision::Vision;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wire::command::{Command, Request};
use wire::record::{AuditRecord, FileRef};
use wire::{Body, Record, Sha256, UtcMicros};

/// Nothing but a wipe takes longer, whatever the deadline says: the queue behind it waits.
const LONGEST: Duration = Duration::from_secs(60);

/// Commands under way at a time. Beyond it they wait in the uplink's queue, which refuses in writing when it is full.
const MOST_UNDER_WAY: usize = 16;

/// How a command came out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done(String),
    /// What was asked for is a file, which goes with the answer.
    DoneWith(Attachment),
    Failed(String),
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attachment {
    words: String,
    content_type: &'static str,
    bytes: Vec<u8>,
}

/// What commands act on.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) vision: Arc<Vision>,
    pub(super) spool: SpoolHandle,
    pub(super) time: TimeSource,
    pub(super) renewal: Renewal,
    pub(super) data_dir: PathBuf,
    pub(super) diagnostics: Diagnostics,
}

impl Executor {
    /// Until the channel closes or stop. Commands run side by side: a picture of a dead camera must not hold up
    /// the next command.
    pub(super) async fn run(self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut running = tokio::task::JoinSet::new();
        loop {
            let command = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = running.join_next() => continue,
                command = commands.recv(), if running.len() < MOST_UNDER_WAY => match command {
                    Some(command) => command,
                    None => break,
                },
            };
            running.spawn(self.clone().execute(command));
        }
        // What is under way answers for itself: vision says that the agent is stopping.
        while running.join_next().await.is_some() {}
    }

    async fn execute(self, command: Command) {
        let left = time_left(command.deadline_us, self.time.now().corrected_us());
        let outcome = match left {
            None => Outcome::Refused("its deadline is past".into()),
            Some(left) => {
                tokio::time::timeout(patience(&command.request, left), self.carry_out(&command))
                    .await
                    .unwrap_or_else(|_| Outcome::Failed("not done within its deadline".into()))
            }
        };
        self.answer(&command, outcome).await;
    }

    async fn carry_out(&self, command: &Command) -> Outcome {
        match &command.request {
            Request::PictureNow { camera } => {
                let answer = self.vision.request_picture(*camera, command.id).await;
                match answer {
                    Ok(Ok(sha256)) => Outcome::Done(picture_words(sha256)),
                    Ok(Err(why)) => Outcome::Failed(why),
                    Err(_) => Outcome::Failed("the agent is stopping".into()),
                }
            }
            Request::RenewCertificate => match self.renewal.now(Some(command.id)).await {
                Ok(words) => Outcome::Done(words),
                Err(why) => Outcome::Failed(why),
            },
            Request::WipeContract { .. } => self.wipe().await,
            // Both speak of the contract's cameras.
            Request::LogExcerpt { .. } | Request::SupportBundle
                if self.spool.has_contract_ended() =>
            {
                Outcome::Refused("the contract has ended: nothing of it leaves this box".into())
            }
            Request::LogExcerpt { lines, since_us } => self.log(*lines, *since_us).await,
            Request::SupportBundle => self.support_bundle().await,
            Request::Unknown => Outcome::Refused("this agent does not know that request".into()),
        }
    }

    /// The marks first: whatever comes between, nothing is kept from then on, and what is there is not delivered.
    async fn wipe(&self) -> Outcome {
        let data_dir = self.data_dir.clone();
        let marked = tokio::task::spawn_blocking(move || {
            ended::owe_wipe(&data_dir)?;
            ended::mark(&data_dir)
        });
        if let Err(error) = marked.await.map_err(io::Error::other).flatten() {
            return Outcome::Failed(format!("it cannot be noted on this box's disk ({error})"));
        }
        self.spool.set_contract_ended(true);
        match self.spool.wipe().await {
            Ok(wiped) => {
                // Before the answer is kept: it would be destroyed with the rest at the next start.
                if let Err(error) = ended::wiped(&self.data_dir) {
                    tracing::error!(%error, "what is kept is wiped once more at the next start: {error}");
                }
                Outcome::Done(format!(
                    "{} records and {} pictures that waited are destroyed; nothing is kept any more",
                    wiped.records, wiped.pictures
                ))
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    async fn log(&self, lines: u32, since: Option<UtcMicros>) -> Outcome {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        let at = self.time.clocks().utc();
        match self.diagnostics.log(lines, since, at).await {
            Ok(log) => Outcome::DoneWith(Attachment {
                words: format!("{} lines of the log", log.lines),
                content_type: LOG_TYPE,
                bytes: log.text.into_bytes(),
            }),
            Err(why) => Outcome::Failed(why),
        }
    }

    async fn support_bundle(&self) -> Outcome {
        match self.diagnostics.bundle(self.time.clocks().utc()).await {
            Ok(bundle) => {
                let mut words = "a support bundle".to_owned();
                if !bundle.missing.is_empty() {
                    words += &format!("; not in it: {}", bundle.missing.join("; "));
                }
                Outcome::DoneWith(Attachment {
                    words,
                    content_type: BUNDLE_TYPE,
                    bytes: bundle.bytes,
                })
            }
            Err(error) => Outcome::Failed(format!("it cannot be made: {error}")),
        }
    }

    async fn answer(&self, command: &Command, outcome: Outcome) {
        let (word, detail) = match outcome {
            Outcome::Done(detail) => ("done", detail),
            Outcome::DoneWith(attachment) => match self.attach(command, attachment).await {
                Ok(()) => return,
                Err(why) => ("failed", why),
            },
            Outcome::Failed(detail) => ("failed", detail),
            Outcome::Refused(detail) => ("refused", detail),
        };
        let record = self.record(command, word, detail, None);
        if let Err(error) = self.spool.put_durable(record).await {
            tracing::error!(%error, "the answer to command {} could not be recorded: {error}", command.id);
        }
    }

    /// The answer and its file are kept together, or not at all.
    async fn attach(&self, command: &Command, attachment: Attachment) -> Result<(), String> {
        let file = FileRef {
            sha256: Sha256::of(&attachment.bytes),
            bytes: attachment.bytes.len() as u64,
            content_type: attachment.content_type.into(),
        };
        let record = self.record(command, "done", attachment.words, Some(file.clone()));
        let kept = self
            .spool
            .put_answer_with_file(record, file, attachment.bytes);
        kept.await
            .map_err(|error| format!("the file could not be kept: {error}"))
    }

    fn record(
        &self,
        command: &Command,
        word: &str,
        detail: String,
        file: Option<FileRef>,
    ) -> Record {
        let action = format!("command.{}", command.request.name());
        tracing::info!(command.id = %command.id, action, outcome = word, "{action}: {word}, {detail}");
        let audit = AuditRecord {
            actor: "receiver".into(),
            action,
            outcome: word.into(),
            command: Some(command.id),
            detail: Some(detail),
            file,
        };
        Record::new(self.time.now(), Body::Audit(audit))
    }
}

/// A large spool on a slow disk takes its time to be wiped, and what was destroyed must not be called failed.
fn patience(request: &Request, left: Duration) -> Duration {
    match request {
        Request::WipeContract { .. } => left,
        _ => left.min(LONGEST),
    }
}

fn picture_words(sha256: Sha256) -> String {
    format!("picture {sha256}")
}

/// `None` once the deadline is past.
fn time_left(deadline: UtcMicros, now: UtcMicros) -> Option<Duration> {
    let left_us = u64::try_from(deadline.since_us(now)).ok()?;
    (left_us > 0).then(|| Duration::from_micros(left_us))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use wire::ContractId;

    #[test]
    fn only_a_wipe_may_take_as_long_as_its_deadline_allows() {
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let wipe = Request::WipeContract {
            contract: ContractId(Uuid::from_u128(1)),
        };
        assert_eq!(patience(&wipe, hour), hour);
        assert_eq!(patience(&Request::RenewCertificate, hour), LONGEST);
        assert_eq!(patience(&Request::RenewCertificate, second), second);
    }

    #[test]
    fn a_deadline_is_a_deadline() {
        assert_eq!(
            time_left(UtcMicros(20), UtcMicros(5)),
            Some(Duration::from_micros(15))
        );
        assert_eq!(time_left(UtcMicros(20), UtcMicros(20)), None);
        assert_eq!(time_left(UtcMicros(20), UtcMicros(21)), None);
    }
}
