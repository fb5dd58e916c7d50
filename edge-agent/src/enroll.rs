//! Binding this box to a contract: claim code in, certificate out.
//!
//! The TLS key is made here and never leaves. The receiver is checked against the fingerprint in the code before
//! anything is told to it, and its answer is checked before it is kept. Device id and record key stay what they
//! were: what was recorded before enrollment is delivered after it.

use crate::clock::{RealClocks, TimeSource};
use crate::error::{ErrorKind, Kind};
use crate::identity::{Enrollment, Identity, IdentityError, SavedFloor, certificate};
use crate::uplink::https::{self, HttpsError};
use crate::uplink::tls::{self, TlsError};
use crate::uplink::{FlooredTime, TimeFloor};
use rcgen::KeyPair;
use std::path::Path;
use std::sync::Arc;
use url::Url;
use wire::DeviceId;
use wire::claim::{ClaimCode, ClaimCodeError};
use wire::enroll::{EnrollRequest, EnrollResponse};

#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("{0}; copy it again from where it was issued")]
    Code(ClaimCodeError),
    #[error(
        "\"{url}\" is not the address of a receiver: {reason}; write --url https://host:port, an IPv6 address as \
         https://[address]:port"
    )]
    Address { url: String, reason: String },
    #[error("this box is enrolled already, at {contract} / {site}; to enroll it anew, say --again")]
    AlreadyEnrolled { contract: String, site: String },
    #[error(
        "unknown claim code: this receiver did not issue it, or has withdrawn it; ask for a new one"
    )]
    UnknownCode,
    #[error("this claim code was used already; each is good for one box: ask for a new one")]
    UsedCode,
    #[error("this claim code has expired; ask for a new one")]
    ExpiredCode,
    #[error(
        "{url} is not the receiver that issued the code, and nothing was told to it; check --url, or ask for a new code"
    )]
    OtherReceiver { url: Url },
    #[error(
        "the receiver at {url} cannot be reached ({detail}); check --url and the network, and that the receiver runs"
    )]
    Unreachable { url: String, detail: String },
    #[error(transparent)]
    Https(HttpsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("a TLS key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error(
        "the receiver knows this box with another record key, or under another contract: move its identity folder \
         away, so that it becomes a new device; what it has not delivered yet stays behind"
    )]
    OtherOwner,
    #[error(
        "it cannot be noted on this box's disk that what waits is another contract's ({0}); nothing was stored: make \
         room or mend the disk, and ask for a new code"
    )]
    Mark(std::io::Error),
    #[error("the receiver's answer makes no sense ({0}); nothing was stored")]
    Answer(String),
}

impl Kind for EnrollError {
    fn kind(&self) -> ErrorKind {
        match self {
            EnrollError::Https(error) => error.kind(),
            EnrollError::Identity(error) => error.kind(),
            EnrollError::Tls(error) => error.kind(),
            EnrollError::Key(_) => ErrorKind::Bug,
            EnrollError::Answer(_) | EnrollError::Unreachable { .. } => ErrorKind::Transient,
            _ => ErrorKind::Config,
        }
    }
}

impl From<ClaimCodeError> for EnrollError {
    fn from(error: ClaimCodeError) -> Self {
        EnrollError::Code(error)
    }
}

impl From<HttpsError> for EnrollError {
    fn from(error: HttpsError) -> Self {
        if let HttpsError::Unreachable { url, detail, .. } = error {
            return EnrollError::Unreachable { url, detail };
        }
        match error.code() {
            "claim_unknown" => EnrollError::UnknownCode,
            "claim_used" => EnrollError::UsedCode,
            "claim_expired" => EnrollError::ExpiredCode,
            "device_known" => EnrollError::OtherOwner,
            _ => EnrollError::Https(error),
        }
    }
}

/// What a person gives.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The portal's address.
    pub url: &'a str,
    /// As typed.
    pub code: &'a str,
    /// Even if the box is enrolled already.
    pub again: bool,
}

/// Enrolls the box whose identity lies below `data_dir`, and keeps what the receiver gave.
pub async fn enroll(data_dir: &Path, claim: &Claim<'_>) -> Result<Enrollment, EnrollError> {
    let code: ClaimCode = claim.code.parse()?;
    let url = address(claim.url)?;
    let identity = Identity::load_or_create(data_dir)?;
    if let Some(before) = identity.enrollment.as_ref().filter(|_| !claim.again) {
        return Err(EnrollError::AlreadyEnrolled {
            contract: before.contract_name.clone(),
            site: before.site_name.clone(),
        });
    }
    let key = certificate::new_tls_key()?;
    let request = EnrollRequest::new(
        &code.secret,
        identity.device_id,
        certificate::signing_request(&key, identity.device_id)?,
        &identity.record_key,
        env!("CARGO_PKG_VERSION").into(),
    );

    let mut saved_floor = SavedFloor::load(&Identity::folder(data_dir));
    let floor = TimeFloor::new(Some(saved_floor.get()));
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    let config = tls::enrollment_config(code.fingerprint, FlooredTime::new(time, floor))?;
    let response = https::enroll(config, &url, &request)
        .await
        .map_err(|error| match error {
            HttpsError::WrongReceiver { .. } => EnrollError::OtherReceiver { url: url.clone() },
            other => other.into(),
        })?;

    let receiver_time = response.receiver_time_us;
    let enrollment = accept(response, &key, identity.device_id)?;
    keep(data_dir, identity.enrollment.as_ref(), &enrollment)?;
    if let Err(error) = saved_floor.save(receiver_time) {
        tracing::warn!(%error, "the time floor could not be saved: {error}");
    }
    Ok(enrollment)
}

/// In this order: whatever is cut short, nothing of the contract of before is delivered under the new one.
fn keep(
    data_dir: &Path,
    before: Option<&Enrollment>,
    enrollment: &Enrollment,
) -> Result<(), EnrollError> {
    // What a box recorded before it was ever enrolled is the first contract's.
    let is_handed_on = before.is_some_and(|before| !before.is_of_one_contract_with(enrollment));
    if is_handed_on || crate::ended::is_marked(data_dir) {
        crate::ended::owe_wipe(data_dir).map_err(EnrollError::Mark)?;
        tracing::warn!(
            "this box served another contract: what waits for delivery is destroyed before it delivers again"
        );
    }
    if let Err(error) = crate::ended::clear(data_dir) {
        let folder = data_dir.display();
        tracing::error!(%error, "this box will keep nothing until contract-ended.json is removed from {folder}: {error}");
    }
    Ok(enrollment.save(data_dir)?)
}

fn address(text: &str) -> Result<Url, EnrollError> {
    let refuse = |reason: String| EnrollError::Address {
        url: text.into(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
    if url.scheme() != "https" {
        return Err(refuse("it does not begin with https://".into()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it has no host".into()));
    }
    Ok(url)
}

/// Only a certificate for this device and this key is worth keeping.
fn accept(
    response: EnrollResponse,
    key: &KeyPair,
    device: DeviceId,
) -> Result<Enrollment, EnrollError> {
    let nonsense = |what: &str| EnrollError::Answer(what.into());
    certificate::fits(&response.certificate_pem, key, device).map_err(nonsense)?;
    let device_url =
        address(&response.device_url).map_err(|_| nonsense("the address for media is none"))?;
    Ok(Enrollment {
        certificate_pem: response.certificate_pem,
        tls_key_pem: key.serialize_pem(),
        ca_pem: response.ca_pem,
        device_url,
        mqtt_host: response.mqtt_host,
        mqtt_port: response.mqtt_port,
        command_key: response.command_key,
        contract: response.contract,
        contract_name: response.contract_name,
        site_name: response.site_name,
        replaces: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, SanType, SigningKey};
    use uuid::Uuid;
    use wire::enroll::device_uri;
    use wire::{ContractId, UtcMicros};

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    /// What a receiver that knows its trade would answer to `key`, for the device `named`.
    fn answer(key: &impl SigningKey, named: DeviceId) -> EnrollResponse {
        let mut params = CertificateParams::default();
        let uri = device_uri(named).try_into().expect("ASCII");
        params.subject_alt_names = vec![SanType::URI(uri)];
        let certificate = params.self_signed(key).expect("signed");
        EnrollResponse {
            certificate_pem: certificate.pem(),
            ca_pem: "ca".into(),
            device_url: "https://receiver.example:8444".into(),
            mqtt_host: "receiver.example".into(),
            mqtt_port: 8883,
            command_key: wire::SigningKey::from_seed([1; 32]).verifying_key(),
            contract: None,
            contract_name: "契約".into(),
            site_name: "本店".into(),
            receiver_time_us: UtcMicros(1),
        }
    }

    fn key() -> KeyPair {
        certificate::new_tls_key().expect("generated")
    }

    #[test]
    fn only_a_certificate_for_this_device_and_key_is_kept() {
        let ours = key();
        let kept = accept(answer(&ours, DEVICE), &ours, DEVICE).expect("fits");
        assert_eq!(kept.device_url.as_str(), "https://receiver.example:8444/");
        assert_eq!(kept.tls_key_pem, ours.serialize_pem());

        let other_key = answer(&key(), DEVICE);
        let other_device = answer(&ours, DeviceId(Uuid::from_u128(8)));
        let mut no_certificate = answer(&ours, DEVICE);
        no_certificate.certificate_pem = "x".into();
        let mut no_address = answer(&ours, DEVICE);
        no_address.device_url = "mqtt://x".into();
        for wrong in [other_key, other_device, no_certificate, no_address] {
            let refused = accept(wrong, &ours, DEVICE).expect_err("refused");
            assert!(matches!(refused, EnrollError::Answer(_)), "{refused}");
        }
    }

    #[test]
    fn what_waits_is_the_next_contracts_only_if_that_is_the_same() {
        let ours = key();
        let of = |contract: u128| {
            let mut answer = answer(&ours, DEVICE);
            answer.contract = Some(ContractId(Uuid::from_u128(contract)));
            accept(answer, &ours, DEVICE).expect("fits")
        };
        let owed = |before: Option<u128>, has_ended: bool, now: u128| {
            let dir = tempfile::tempdir().expect("temp dir");
            if has_ended {
                crate::ended::mark(dir.path()).expect("marked");
            }
            keep(dir.path(), before.map(of).as_ref(), &of(now)).expect("kept");
            assert!(!crate::ended::is_marked(dir.path()), "it keeps again");
            let kept = Enrollment::load(dir.path()).expect("readable");
            assert_eq!(kept.and_then(|kept| kept.contract), of(now).contract);
            crate::ended::owes_wipe(dir.path())
        };
        assert!(!owed(None, false, 1), "recorded before it was enrolled");
        assert!(!owed(Some(1), false, 1), "enrolled again");
        assert!(owed(Some(1), false, 2), "handed on");
        assert!(owed(Some(1), true, 1), "ended, and perhaps not wiped");
        assert!(owed(None, true, 1));
    }

    #[test]
    fn refusals_are_told_apart() {
        let refused = |code: &str| {
            EnrollError::from(HttpsError::Refused {
                doing: "enroll",
                status: 403,
                code: code.into(),
                message: "no".into(),
            })
        };
        assert!(matches!(refused("claim_unknown"), EnrollError::UnknownCode));
        assert!(matches!(refused("claim_used"), EnrollError::UsedCode));
        assert!(matches!(refused("claim_expired"), EnrollError::ExpiredCode));
        assert!(matches!(refused("busy"), EnrollError::Https(_)));
    }
}
