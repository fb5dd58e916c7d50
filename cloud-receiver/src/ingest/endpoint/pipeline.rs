//! From a publish to its answer: signatures are checked side by side, commits follow one another.
//!
//! Publishes are judged by tasks of their own, so that all cores help, and come out in the order of arrival. All that
//! are judged while a commit runs go into the next one. So receipts never say less than the one before, one
//! connection shares commits with itself, and the store's writer shares them with all others.

use super::protocol::PubackReasonCode;
use crate::clock::now;
use crate::ingest::accept::{Accepted, Refused, judge};
use crate::ingest::intake::{Delivered, Intake};
use crate::store::{DeviceRow, StoreError};
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tokio::task::JoinHandle;
use wire::Receipt;
use wire::heartbeat::Heartbeat;

/// Answers to a run of publishes, in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Packet id, absent at QoS 0, and reason.
    pub(super) acks: Vec<(Option<u16>, PubackReasonCode)>,
    pub(super) receipts: Vec<Receipt>,
}

/// What a publish turned out to be.
enum Judged {
    Batch(Box<Accepted>),
    Refused(Refused),
    Heartbeat(Box<Heartbeat>),
    /// Nothing to store.
    Answer(PubackReasonCode),
}

pub(super) struct Pipeline {
    intake: Intake,
    judging: FuturesOrdered<JoinHandle<(Option<u16>, Judged)>>,
    judged: Vec<(Option<u16>, Judged)>,
    committing: Option<JoinHandle<Result<Answered, StoreError>>>,
    in_commit: usize,
}

impl Pipeline {
    pub(super) fn new(intake: Intake) -> Self {
        Self {
            intake,
            judging: FuturesOrdered::new(),
            judged: Vec::new(),
            committing: None,
            in_commit: 0,
        }
    }

    /// Publishes that are not answered yet.
    pub(super) fn len(&self) -> usize {
        self.judging.len() + self.judged.len() + self.in_commit
    }

    pub(super) fn batch(&mut self, device: &DeviceRow, packet_id: Option<u16>, bytes: Vec<u8>) {
        let device = device.clone();
        self.push(packet_id, move || match judge(&device, bytes) {
            Ok(accepted) => Judged::Batch(Box::new(accepted)),
            Err(refused) => Judged::Refused(refused),
        });
    }

    pub(super) fn heartbeat(&mut self, packet_id: Option<u16>, bytes: Vec<u8>) {
        self.push(packet_id, move || match serde_json::from_slice(&bytes) {
            Ok(heartbeat) => Judged::Heartbeat(Box::new(heartbeat)),
            Err(_) => Judged::Answer(PubackReasonCode::PayloadFormatInvalid),
        });
    }

    pub(super) fn answer(&mut self, packet_id: Option<u16>, reason: PubackReasonCode) {
        self.push(packet_id, move || Judged::Answer(reason));
    }

    fn push(&mut self, packet_id: Option<u16>, judge: impl FnOnce() -> Judged + Send + 'static) {
        self.judging
            .push_back(tokio::spawn(async move { (packet_id, judge()) }));
    }

    /// The next answers. Waits for ever while there is nothing to answer; may be dropped while it waits.
    pub(super) async fn next(
        &mut self,
        device: Option<&DeviceRow>,
    ) -> Result<Answered, StoreError> {
        loop {
            while let Some(Some(judged)) = self.judging.next().now_or_never() {
                self.judged.push(judged.map_err(ended)?);
            }
            if self.committing.is_none()
                && !self.judged.is_empty()
                && let Some(device) = device
            {
                let run = std::mem::take(&mut self.judged);
                self.in_commit = run.len();
                self.committing = Some(tokio::spawn(commit(
                    self.intake.clone(),
                    device.clone(),
                    run,
                )));
            }
            match &mut self.committing {
                None => match self.judging.next().await {
                    Some(judged) => self.judged.push(judged.map_err(ended)?),
                    None => std::future::pending().await,
                },
                Some(committing) => {
                    let answered = committing.await;
                    self.committing = None;
                    self.in_commit = 0;
                    return answered.map_err(ended)?;
                }
            }
        }
    }
}

fn ended(error: tokio::task::JoinError) -> StoreError {
    StoreError::Database(format!("a task ended: {error}"))
}

async fn commit(
    intake: Intake,
    device: DeviceRow,
    run: Vec<(Option<u16>, Judged)>,
) -> Result<Answered, StoreError> {
    let mut answered = Answered::default();
    let (mut batches, mut refusals, mut heartbeat) = (Vec::new(), Vec::new(), None);
    for (packet_id, judged) in run {
        let reason = match judged {
            Judged::Batch(accepted) => {
                batches.push(*accepted);
                PubackReasonCode::Success
            }
            Judged::Refused(refused) if refused.numbers.is_some() => {
                refusals.push(refused);
                PubackReasonCode::Success
            }
            // No receipt can speak of it: this answer is all there is.
            Judged::Refused(refused) => {
                refusals.push(refused);
                PubackReasonCode::PayloadFormatInvalid
            }
            // Only the latest one counts.
            Judged::Heartbeat(latest) => {
                heartbeat = Some(latest);
                PubackReasonCode::Success
            }
            Judged::Answer(reason) => reason,
        };
        answered.acks.push((packet_id, reason));
    }
    if !batches.is_empty() {
        answered.receipts = intake.commit(batches).await?;
    }
    for refused in refusals {
        if let Delivered::Receipt(receipt) = intake.refuse(&device, &refused).await? {
            answered.receipts.push(receipt);
        }
    }
    if let Some(heartbeat) = heartbeat {
        intake
            .store()
            .heard(device.device, Some(&heartbeat), now())
            .await?;
    }
    Ok(answered)
}
