//! From one connection into the store: judged side by side, committed in the order of arrival, answered after the
//! commit.
//!
//! A connection has one group in its commit at a time; what is judged meanwhile makes the next one. So receipts
//! never go backwards, the store's writer commits the groups of all connections together, and nobody waits for
//! company.

use super::EndpointDeps;
use crate::ingest::accept::{self, Accepted, Refused};
use crate::store::{DeviceRow, DeviceWrites, StoreError};
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use mqtt_protocol_core::mqtt::common::ArcPayload;
use mqtt_protocol_core::mqtt::result_code::PubackReasonCode;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinError, JoinHandle};
use wire::heartbeat::Heartbeat;
use wire::{Receipt, UtcMicros};

/// Most messages of one group. A receipt that refuses every record of so many batches still fits one message.
const GROUP: usize = 32;
/// Bytes of one device that may wait for their answer. Above this its connection is not read from.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Messages that may wait. QoS 1 is held to fewer by the Receive Maximum, this holds QoS 0.
const WINDOW_MESSAGES: usize = 2 * super::codec::RECEIVE_MAXIMUM as usize;

/// What a message carries.
#[derive(Debug)]
pub(super) enum Content {
    Batch(ArcPayload),
    Heartbeat(ArcPayload),
    /// Nothing to store: decided when it arrived. It only waits for its turn to be acknowledged.
    Decided(PubackReasonCode),
}

/// The answers to one group, after its commit.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// In the order of arrival.
    pub acknowledgements: Vec<(u16, PubackReasonCode)>,
    pub receipts: Vec<Receipt>,
}

/// What of one connection is on its way to the commit.
pub(super) struct Pipeline {
    deps: EndpointDeps,
    device: Arc<DeviceRow>,
    judging: FuturesOrdered<JoinHandle<Judged>>,
    judged: VecDeque<Judged>,
    committing: Option<JoinHandle<Result<Answers, StoreError>>>,
    /// Everything that is not answered yet, and the part of it that is in the commit.
    waiting: Load,
    in_commit: Load,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

struct Judged {
    packet_id: Option<u16>,
    bytes: usize,
    verdict: Verdict,
}

enum Verdict {
    Accepted(Box<Accepted>),
    Refused(Refused),
    Heartbeat(Box<Heartbeat>),
    Decided(PubackReasonCode),
}

impl Pipeline {
    pub(super) fn new(deps: EndpointDeps, device: Arc<DeviceRow>) -> Self {
        Self {
            deps,
            device,
            judging: FuturesOrdered::new(),
            judged: VecDeque::new(),
            committing: None,
            waiting: Load::default(),
            in_commit: Load::default(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.bytes >= WINDOW_BYTES || self.waiting.messages >= WINDOW_MESSAGES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.messages == 0
    }

    /// Takes a message; its packet id is absent where nobody waits for a PUBACK.
    pub(super) fn push(&mut self, packet_id: Option<u16>, content: Content) {
        let bytes = match &content {
            Content::Batch(payload) | Content::Heartbeat(payload) => payload.len(),
            Content::Decided(_) => 0,
        };
        self.waiting.messages += 1;
        self.waiting.bytes += bytes;
        let device = Arc::clone(&self.device);
        // A task of its own: other cores hash and verify while this connection is read on.
        self.judging.push_back(tokio::spawn(async move {
            Judged {
                packet_id,
                bytes,
                verdict: judge(&device, content),
            }
        }));
    }

    /// The answers to the next group; waits for ever while there is none. An error means that nothing may be
    /// acknowledged. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Answers, StoreError> {
        loop {
            while let Some(Some(judged)) = self.judging.next().now_or_never() {
                self.judged.push_back(judged.map_err(broken)?);
            }
            if self.committing.is_none() && !self.judged.is_empty() {
                self.start_commit();
            }
            match &mut self.committing {
                Some(committing) => {
                    let answers = committing.await;
                    self.committing = None;
                    self.waiting.messages -= self.in_commit.messages;
                    self.waiting.bytes -= self.in_commit.bytes;
                    return answers.map_err(broken)?;
                }
                None => match self.judging.next().await {
                    Some(judged) => self.judged.push_back(judged.map_err(broken)?),
                    None => std::future::pending().await,
                },
            }
        }
    }

    fn start_commit(&mut self) {
        let count = self.judged.len().min(GROUP);
        let group: Vec<_> = self.judged.drain(..count).collect();
        self.in_commit = Load {
            messages: count,
            bytes: group.iter().map(|judged| judged.bytes).sum(),
        };
        self.committing = Some(tokio::spawn(commit(
            Arc::clone(&self.deps.store),
            Arc::clone(&self.device),
            group,
            (self.deps.now)(),
        )));
    }
}

fn broken(error: JoinError) -> StoreError {
    StoreError::Database(format!("taking in a batch: {error}"))
}

fn judge(device: &DeviceRow, content: Content) -> Verdict {
    match content {
        Content::Decided(reason) => Verdict::Decided(reason),
        Content::Batch(payload) => match accept::judge(device, payload.as_slice().to_vec()) {
            Ok(accepted) => Verdict::Accepted(Box::new(accepted)),
            Err(refused) => Verdict::Refused(refused),
        },
        Content::Heartbeat(payload) => match serde_json::from_slice(payload.as_slice()) {
            Ok(heartbeat) => Verdict::Heartbeat(Box::new(heartbeat)),
            Err(error) => {
                tracing::warn!(
                    device.id = %device.device, %error,
                    "a heartbeat of device {} cannot be read: {error}", device.device
                );
                Verdict::Decided(PubackReasonCode::PayloadFormatInvalid)
            }
        },
    }
}

/// Commits what is good in a group. A bad batch is noted and refused by code, and holds up nobody.
async fn commit(
    store: Arc<dyn DeviceWrites>,
    device: Arc<DeviceRow>,
    group: Vec<Judged>,
    at: UtcMicros,
) -> Result<Answers, StoreError> {
    let mut answers = Answers::default();
    let (mut accepted, mut refused, mut heartbeat) = (Vec::new(), Vec::new(), None);
    for judged in group {
        let reason = match judged.verdict {
            Verdict::Accepted(batch) => {
                accepted.push(*batch);
                PubackReasonCode::Success
            }
            Verdict::Refused(batch) => {
                refused.push(batch);
                PubackReasonCode::PayloadFormatInvalid
            }
            // Only the latest one counts.
            Verdict::Heartbeat(latest) => {
                heartbeat = Some(latest);
                PubackReasonCode::Success
            }
            Verdict::Decided(reason) => reason,
        };
        let acknowledgement = judged.packet_id.map(|packet_id| (packet_id, reason));
        answers.acknowledgements.extend(acknowledgement);
    }
    if !accepted.is_empty() {
        let receipts = store.accept(accepted, at).await?;
        let own = receipts.into_iter().filter(|(of, _)| *of == device.device);
        answers.receipts.extend(own.map(|(_, receipt)| receipt));
    }
    for refused in &refused {
        tracing::warn!(
            device.id = %device.device, code = refused.code, batch.sha256 = %refused.hash,
            "a batch of device {} is refused for good: {}", device.device, refused.code
        );
        let receipt = store.refuse(device.device, refused, at).await?;
        answers.receipts.extend(receipt);
    }
    if let Some(heartbeat) = &heartbeat {
        store.heard(device.device, Some(heartbeat), at).await?;
    }
    Ok(answers)
}
