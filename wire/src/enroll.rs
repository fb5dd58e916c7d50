//! The claim-code exchange: how a device becomes known to a receiver.
//!
//! `POST /device/v1/enroll` on the portal's listener, the only one that asks for no client certificate. The
//! device has checked the receiver against the fingerprint in its claim code before it sends anything.

use crate::digest::Sha256;
use crate::ids::{ContractId, DeviceId, EnrollmentId};
use crate::sign::{BadSignature, Purpose, SigningKey, VerifyingKey};
use crate::time::UtcMicros;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// Offered by a device that enrolls, beside the protocols it speaks, so that it is shown the receiver's own certificate where
/// browsers are shown one of a public authority. Never chosen.
pub const ALPN: &[u8] = b"caas-enroll/1";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// The secret of the claim code, hexadecimal. Sent only to a receiver whose fingerprint was checked.
    pub secret: String,
    pub device_id: DeviceId,
    /// PKCS#10 request for the TLS certificate (RFC 2986), PEM. Its names are ignored: the receiver sets them.
    pub csr_pem: String,
    /// The long-lived key that batches will be signed with.
    pub record_key: VerifyingKey,
    /// Signature by `record_key` over the request: proves that the device holds it.
    pub proof: String,
    pub agent_version: String,
}

impl EnrollRequest {
    pub fn new(
        secret: &[u8],
        device_id: DeviceId,
        csr_pem: String,
        record_key: &SigningKey,
        agent_version: String,
    ) -> Self {
        let digest = proof_digest(device_id, &csr_pem);
        Self {
            secret: HEXLOWER.encode(secret),
            device_id,
            record_key: record_key.verifying_key(),
            proof: HEXLOWER.encode(&record_key.sign(Purpose::Enrollment, digest)),
            csr_pem,
            agent_version,
        }
    }

    pub fn verify_proof(&self) -> Result<(), BadSignature> {
        let signature = HEXLOWER
            .decode(self.proof.as_bytes())
            .map_err(|_| BadSignature)?;
        let digest = proof_digest(self.device_id, &self.csr_pem);
        self.record_key
            .verify(Purpose::Enrollment, digest, &signature)
    }
}

fn proof_digest(device_id: DeviceId, csr_pem: &str) -> Sha256 {
    Sha256::of(&[device_id.0.as_bytes(), csr_pem.as_bytes()].concat())
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrollResponse {
    /// The device's certificate, PEM. It names the device in its subject alternative name: see [`device_uri`].
    pub certificate_pem: String,
    /// What the device trusts for the two device listeners, PEM.
    pub ca_pem: String,
    /// `https://host:port`, where media, batches and commands go.
    pub device_url: String,
    pub mqtt_host: String,
    pub mqtt_port: u16,
    /// The key that commands are signed with.
    pub command_key: VerifyingKey,
    /// Tells one contract from another, so that a box knows when it is handed on. Absent: the receiver is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractId>,
    pub contract_name: String,
    pub site_name: String,
    pub receiver_time_us: UtcMicros,
}

/// Why an enrollment, or any other device request, was refused: for programs a code, for people a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// `claim_unknown`, `claim_used`, `claim_expired`, `device_known`, `bad_request`, ...
    pub code: String,
    pub message: String,
}

const DEVICE_URI_PREFIX: &str = "urn:caas:device:";

/// The subject alternative name (URI, RFC 5280 section 4.2.1.6) that carries a device's identity.
pub fn device_uri(device: DeviceId) -> String {
    format!("{DEVICE_URI_PREFIX}{device}")
}

/// The inverse of [`device_uri`].
pub fn device_from_uri(uri: &str) -> Option<DeviceId> {
    uri.strip_prefix(DEVICE_URI_PREFIX)?.parse().ok()
}

const ENROLLMENT_URI_PREFIX: &str = "urn:caas:enrollment:";

/// The second name in a device's certificate: which enrollment it follows from.
pub fn enrollment_uri(enrollment: EnrollmentId) -> String {
    format!("{ENROLLMENT_URI_PREFIX}{enrollment}")
}

/// The inverse of [`enrollment_uri`].
pub fn enrollment_from_uri(uri: &str) -> Option<EnrollmentId> {
    uri.strip_prefix(ENROLLMENT_URI_PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_proof_covers_device_and_request() {
        let key = SigningKey::from_seed([3; 32]);
        let device = DeviceId(Uuid::from_u128(5));
        let request = EnrollRequest::new(b"secret", device, "csr".into(), &key, "0.1.0".into());
        assert_eq!(request.verify_proof(), Ok(()));

        let other_csr = EnrollRequest {
            csr_pem: "another".into(),
            ..request.clone()
        };
        assert!(other_csr.verify_proof().is_err());
        let other_device = EnrollRequest {
            device_id: DeviceId(Uuid::from_u128(6)),
            ..request
        };
        assert!(other_device.verify_proof().is_err());
    }

    #[test]
    fn device_uris_read_back() {
        let device = DeviceId(Uuid::from_u128(5));
        assert_eq!(device_from_uri(&device_uri(device)), Some(device));
        assert_eq!(device_from_uri("urn:caas:site:x"), None);
        let enrollment = EnrollmentId(Uuid::from_u128(6));
        let uri = enrollment_uri(enrollment);
        assert_eq!(enrollment_from_uri(&uri), Some(enrollment));
        assert_eq!(device_from_uri(&uri), None);
    }
}
