//! Any bytes into the codec, as a stranger's connection would bring them: for tests and for the fuzzer.

use super::codec::{Codec, Inbound};
use super::outbox::Outbox;
use bytes::BytesMut;
use mqtt_protocol_core::mqtt::result_code::{PubackReasonCode, SubackReasonCode};
use std::time::Duration;

/// Feeds chunks to a codec, lets in whoever greets, and acknowledges everything.
pub fn feed(chunks: &[&[u8]]) {
    let mut codec = Codec::new();
    let mut outbox = Outbox::new(Duration::from_secs(1));
    let mut input = BytesMut::new();
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            let done = match codec.next(&mut input, &mut outbox) {
                Ok(Some(Inbound::Connect(greeting))) => codec.welcome(&greeting, &mut outbox),
                Ok(Some(Inbound::Publish {
                    packet_id: Some(id),
                    ..
                })) => codec.acknowledge(id, PubackReasonCode::Success, &mut outbox),
                Ok(Some(Inbound::Subscribe { packet_id, filters })) => {
                    let refused = vec![SubackReasonCode::NotAuthorized; filters.len()];
                    codec.grant(packet_id, refused, &mut outbox)
                }
                Ok(Some(_)) => Ok(()),
                Ok(None) => break,
                Err(_) => return,
            };
            if done.is_err() {
                return;
            }
        }
    }
}
