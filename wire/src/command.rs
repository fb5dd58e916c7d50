//! What the receiver may ask of a device.
//!
//! A command is signed by the receiver's command key, whose public half the device got at enrollment: a stolen
//! broker or a confused proxy cannot give orders. What is signed is the very text in `command`.

use crate::digest::Sha256;
use crate::ids::{CameraId, CommandId, ContractId, DeviceId};
use crate::sign::{Purpose, SigningKey, VerifyingKey};
use crate::time::UtcMicros;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub id: CommandId,
    pub device: DeviceId,
    pub issued_at_us: UtcMicros,
    /// Past this the device refuses, and says so in its audit.
    pub deadline_us: UtcMicros,
    #[serde(flatten)]
    pub request: Request,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Take a picture of this camera as soon as possible.
    PictureNow { camera: CameraId },
    /// Renew the TLS certificate now, however long the present one lasts.
    RenewCertificate,
    /// The contract has ended: destroy every record and picture that waits for delivery, take in no more, and keep the
    /// configuration. `contract` is whose data it is, so that a box that serves another one since refuses.
    WipeContract { contract: ContractId },
    /// Send the newest lines of the agent's own log; the answer names the file that they travel in.
    LogExcerpt {
        /// At most so many, the newest.
        lines: u32,
        /// None that are older.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_us: Option<UtcMicros>,
    },
    /// Send all that helps to find out what is wrong with the box, without a secret in it; the answer names the file.
    SupportBundle,
    /// A request this device does not know; it is refused and the refusal recorded.
    #[serde(other, skip_serializing)]
    Unknown,
}

impl Request {
    pub fn name(&self) -> &'static str {
        match self {
            Request::PictureNow { .. } => "picture_now",
            Request::RenewCertificate => "renew_certificate",
            Request::WipeContract { .. } => "wipe_contract",
            Request::LogExcerpt { .. } => "log_excerpt",
            Request::SupportBundle => "support_bundle",
            Request::Unknown => "unknown",
        }
    }
}

/// A command as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCommand {
    /// JSON of a [`Command`], byte for byte what was signed.
    pub command: String,
    /// Ed25519, hexadecimal.
    pub signature: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("the command is not signed by this receiver")]
    BadSignature,
    #[error("the command is for another device ({0})")]
    ForeignDevice(DeviceId),
    #[error("the command's deadline is past")]
    PastDeadline(CommandId),
    #[error("the command cannot be read: {0}")]
    Shape(#[from] serde_json::Error),
}

impl Command {
    pub fn sign(&self, key: &SigningKey) -> SignedCommand {
        let command = serde_json::to_string(self).expect("commands hold only what JSON can say");
        let signature = key.sign(Purpose::Command, Sha256::of(command.as_bytes()));
        SignedCommand {
            command,
            signature: HEXLOWER.encode(&signature),
        }
    }
}

impl SignedCommand {
    /// Verifies before reading: nothing of an unsigned command is ever looked at.
    pub fn open(
        &self,
        key: &VerifyingKey,
        device: DeviceId,
        now: UtcMicros,
    ) -> Result<Command, CommandError> {
        let signature = HEXLOWER
            .decode(self.signature.as_bytes())
            .map_err(|_| CommandError::BadSignature)?;
        key.verify(
            Purpose::Command,
            Sha256::of(self.command.as_bytes()),
            &signature,
        )
        .map_err(|_| CommandError::BadSignature)?;
        let command: Command = serde_json::from_str(&self.command)?;
        if command.device != device {
            return Err(CommandError::ForeignDevice(command.device));
        }
        if now > command.deadline_us {
            return Err(CommandError::PastDeadline(command.id));
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn command() -> Command {
        Command {
            id: CommandId(Uuid::from_u128(1)),
            device: DeviceId(Uuid::from_u128(2)),
            issued_at_us: UtcMicros(10),
            deadline_us: UtcMicros(20),
            request: Request::PictureNow {
                camera: CameraId(Uuid::from_u128(3)),
            },
        }
    }

    #[test]
    fn opens_only_for_its_device_key_and_time() {
        let key = SigningKey::from_seed([1; 32]);
        let public = key.verifying_key();
        let signed = command().sign(&key);
        let device = command().device;

        assert_eq!(
            signed.open(&public, device, UtcMicros(20)).expect("valid"),
            command()
        );
        assert!(matches!(
            signed.open(&public, device, UtcMicros(21)),
            Err(CommandError::PastDeadline(_))
        ));
        assert!(matches!(
            signed.open(&public, DeviceId(Uuid::from_u128(9)), UtcMicros(0)),
            Err(CommandError::ForeignDevice(_))
        ));
        let other = SigningKey::from_seed([2; 32]).verifying_key();
        assert!(matches!(
            signed.open(&other, device, UtcMicros(0)),
            Err(CommandError::BadSignature)
        ));
    }

    #[test]
    fn a_request_from_the_future_is_read_as_unknown() {
        let json = r#"{"id":"00000000-0000-0000-0000-000000000001",
            "device":"00000000-0000-0000-0000-000000000002",
            "issued_at_us":1,"deadline_us":2,"request":"levitate","height":3}"#;
        let command: Command = serde_json::from_str(json).expect("tolerant");
        assert_eq!(command.request, Request::Unknown);
    }
}
