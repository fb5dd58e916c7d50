//! The one place where MQTT topics are built and parsed.
//!
//! ```
//! use wire::topic::{Topic, Channel};
//! let device = "00000000-0000-0000-0000-000000000007".parse()?;
//! let topic = Topic { device, channel: Channel::UpBatch };
//! assert_eq!(topic.to_string(), "caas/v1/00000000-0000-0000-0000-000000000007/up/batch");
//! assert_eq!(topic.to_string().parse::<Topic>()?, topic);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::ids::DeviceId;
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "caas/v1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Device to receiver: one signed batch.
    UpBatch,
    /// Device to receiver: one heartbeat, JSON.
    UpHeartbeat,
    /// The device's will: its session ended without a goodbye.
    UpOffline,
    /// Receiver to device: one receipt, JSON.
    DownReceipt,
    /// Receiver to device: one signed command, JSON.
    DownCommand,
}

impl Channel {
    pub const ALL: [Channel; 5] = [
        Channel::UpBatch,
        Channel::UpHeartbeat,
        Channel::UpOffline,
        Channel::DownReceipt,
        Channel::DownCommand,
    ];

    fn path(self) -> &'static str {
        match self {
            Channel::UpBatch => "up/batch",
            Channel::UpHeartbeat => "up/heartbeat",
            Channel::UpOffline => "up/offline",
            Channel::DownReceipt => "down/receipt",
            Channel::DownCommand => "down/command",
        }
    }

    /// Whether a device may publish here; it may subscribe to the others.
    pub fn is_up(self) -> bool {
        matches!(
            self,
            Channel::UpBatch | Channel::UpHeartbeat | Channel::UpOffline
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    pub device: DeviceId,
    pub channel: Channel,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}/{}/{}", self.device, self.channel.path())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a topic of this service")]
pub struct ParseTopicError;

impl FromStr for Topic {
    type Err = ParseTopicError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(ParseTopicError)?;
        let (device, path) = rest.split_once('/').ok_or(ParseTopicError)?;
        let device: DeviceId = device.parse().map_err(|_| ParseTopicError)?;
        let channel = Channel::ALL
            .into_iter()
            .find(|channel| channel.path() == path)
            .ok_or(ParseTopicError)?;
        let topic = Topic { device, channel };
        // One spelling only: a UUID without dashes would otherwise name the same device twice.
        (topic.to_string() == text)
            .then_some(topic)
            .ok_or(ParseTopicError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn every_topic_reads_back() {
        for channel in Channel::ALL {
            let topic = Topic {
                device: DeviceId(Uuid::from_u128(7)),
                channel,
            };
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = Uuid::from_u128(0xabcdef);
        for text in [
            format!("caas/v1/{}/up/batch", id.simple()),
            format!("caas/v1/{}/up/batch", id.to_string().to_uppercase()),
            format!("caas/v1/{id}/up/batch/"),
            format!("caas/v1/{id}/up/+"),
            format!("caas/v2/{id}/up/batch"),
            "caas/v1/+/up/batch".into(),
            "#".into(),
        ] {
            assert_eq!(text.parse::<Topic>(), Err(ParseTopicError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn foreign_topics_never_panic(text in ".{0,80}") {
            let _ = text.parse::<Topic>();
        }
    }
}
