//! From one connection into the store: in the order of arrival, in groups, answered after the commit.
//!
//! A connection has one group on its way at a time and gathers the next one meanwhile. So receipts never go
//! backwards, the store's writer commits the groups of all connections together, and nobody waits for company.

use crate::ingest::accept::{self, Accepted, Refused};
use crate::store::{DeviceRow, DeviceWrites, StoreError};
use mqtt_protocol_core::mqtt::common::ArcPayload;
use mqtt_protocol_core::mqtt::result_code::PubackReasonCode;
use std::collections::VecDeque;
use std::sync::Arc;
use wire::heartbeat::Heartbeat;
use wire::{Receipt, UtcMicros};

/// Most messages of one group. A receipt that refuses every record of so many batches still fits one message.
const GROUP: usize = 32;
/// Bytes of one device that may wait for their commit. Above this its connection is not read from.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Messages that may wait. QoS 1 is held to fewer by the Receive Maximum, this holds QoS 0.
const WINDOW_MESSAGES: usize = 2 * super::codec::RECEIVE_MAXIMUM as usize;

/// One message of a device.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Of the PUBACK it waits for.
    pub packet_id: Option<u16>,
    pub content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Batch(ArcPayload),
    Heartbeat(ArcPayload),
    /// Nothing to store: noted when it arrived. It only waits for its turn to be acknowledged.
    Noted(PubackReasonCode),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Content::Batch(payload) | Content::Heartbeat(payload) => payload.len(),
            Content::Noted(_) => 0,
        }
    }
}

/// What waits for its commit.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Delivery>,
    /// Of what waits and of the group on its way.
    bytes: usize,
    bytes_on_the_way: usize,
    messages_on_the_way: usize,
}

impl Queue {
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= WINDOW_BYTES
            || self.waiting.len() + self.messages_on_the_way >= WINDOW_MESSAGES
    }

    pub(super) fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.content.len();
        self.waiting.push_back(delivery);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the next group; its bytes count until [`Queue::settled`].
    pub(super) fn group(&mut self) -> Vec<Delivery> {
        let count = self.waiting.len().min(GROUP);
        let group: Vec<_> = self.waiting.drain(..count).collect();
        self.bytes_on_the_way = group.iter().map(|delivery| delivery.content.len()).sum();
        self.messages_on_the_way = count;
        group
    }

    pub(super) fn settled(&mut self) {
        self.bytes -= std::mem::take(&mut self.bytes_on_the_way);
        self.messages_on_the_way = 0;
    }
}

/// What a group comes to once it is committed.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// In the order of arrival.
    pub acknowledgements: Vec<(u16, PubackReasonCode)>,
    pub receipts: Vec<Receipt>,
}

/// Judges a group and commits what is good in it. A bad batch is noted and refused by code, and holds up nobody.
/// An error means that nothing may be acknowledged.
pub(super) async fn commit(
    store: Arc<dyn DeviceWrites>,
    device: Arc<DeviceRow>,
    group: Vec<Delivery>,
    at: UtcMicros,
) -> Result<Answers, StoreError> {
    let row = Arc::clone(&device);
    // Hashing, signatures and JSON: work, so not on a task that others wait behind.
    let judged = tokio::task::spawn_blocking(move || judge(&row, group))
        .await
        .map_err(|error| StoreError::Database(format!("judging a batch: {error}")))?;
    let mut answers = Answers {
        acknowledgements: judged.acknowledgements,
        receipts: Vec::new(),
    };
    if !judged.accepted.is_empty() {
        let receipts = store.accept(judged.accepted, at).await?;
        let own = receipts.into_iter().filter(|(of, _)| *of == device.device);
        answers.receipts.extend(own.map(|(_, receipt)| receipt));
    }
    for refused in &judged.refused {
        tracing::warn!(
            device.id = %device.device, code = refused.code, batch.sha256 = %refused.hash,
            "a batch of device {} is refused for good: {}", device.device, refused.code
        );
        answers
            .receipts
            .extend(store.refuse(device.device, refused, at).await?);
    }
    if let Some(heartbeat) = &judged.heartbeat {
        store.heard(device.device, Some(heartbeat), at).await?;
    }
    Ok(answers)
}

#[derive(Default)]
struct Judged {
    acknowledgements: Vec<(u16, PubackReasonCode)>,
    accepted: Vec<Accepted>,
    refused: Vec<Refused>,
    /// Only the latest one counts.
    heartbeat: Option<Heartbeat>,
}

fn judge(device: &DeviceRow, group: Vec<Delivery>) -> Judged {
    let mut judged = Judged::default();
    for Delivery { packet_id, content } in group {
        let reason = judged.take(device, content);
        judged
            .acknowledgements
            .extend(packet_id.map(|packet_id| (packet_id, reason)));
    }
    judged
}

impl Judged {
    fn take(&mut self, device: &DeviceRow, content: Content) -> PubackReasonCode {
        match content {
            Content::Noted(reason) => reason,
            Content::Batch(payload) => match accept::judge(device, payload.as_slice().to_vec()) {
                Ok(accepted) => {
                    self.accepted.push(accepted);
                    PubackReasonCode::Success
                }
                Err(refused) => {
                    self.refused.push(refused);
                    PubackReasonCode::PayloadFormatInvalid
                }
            },
            Content::Heartbeat(payload) => match serde_json::from_slice(payload.as_slice()) {
                Ok(heartbeat) => {
                    self.heartbeat = Some(heartbeat);
                    PubackReasonCode::Success
                }
                Err(error) => {
                    tracing::warn!(
                        device.id = %device.device, %error,
                        "a heartbeat of device {} cannot be read: {error}", device.device
                    );
                    PubackReasonCode::PayloadFormatInvalid
                }
            },
        }
    }
}
