//! The claim-code exchange: a device with a good code gets its certificate, and is known from then on.
//!
//! The code's secret has 128 random bits and only its hash is stored and looked up, so the time a look-up takes
//! tells nothing about codes that exist. Guessing is hopeless anyway; the throttle is there to keep it from being
//! a nuisance, and to make it seen.

use crate::auth::throttle::subscriber;
use crate::ca::Ca;
use crate::clock::now;
use crate::store::{ClaimRefusal, Enrollments, NewDevice, StoreError};
use data_encoding::HEXLOWER_PERMISSIVE;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;
use wire::enroll::{EnrollRequest, EnrollResponse};
use wire::{EnrollmentId, Sha256, VerifyingKey};

/// Wrong codes of one address within [`WINDOW`] before it has to wait.
const WRONG_CODES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered; when full, those whose window is over are forgotten, then all.
const ADDRESSES: usize = 10_000;

/// Where devices are told to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directions {
    pub device_url: String,
    pub mqtt_host: String,
    pub mqtt_port: u16,
    pub command_key: VerifyingKey,
}

#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("the claim code is not known to this receiver; check it, or ask for a new one")]
    Unknown,
    #[error("the claim code was used already; ask for a new one")]
    Used,
    #[error("the claim code has expired; ask for a new one")]
    Expired,
    #[error(
        "a device with this id is enrolled already, with another record key or for another contract; \
         move its identity folder away and enroll it as a new device"
    )]
    DeviceKnown,
    #[error("the request is not well formed: {0}")]
    BadRequest(&'static str),
    #[error("too many wrong claim codes from this address; wait a minute")]
    Throttled,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnrollError {
    pub fn code(&self) -> &'static str {
        match self {
            EnrollError::Unknown => "claim_unknown",
            EnrollError::Used => "claim_used",
            EnrollError::Expired => "claim_expired",
            EnrollError::DeviceKnown => "device_known",
            EnrollError::BadRequest(_) => "bad_request",
            EnrollError::Throttled => "throttled",
            EnrollError::Store(_) => "unavailable",
        }
    }
}

pub struct Enroller {
    store: Arc<dyn Enrollments>,
    ca: Arc<Ca>,
    directions: Directions,
    /// Of devices' certificates.
    life: Duration,
    wrong: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl std::fmt::Debug for Enroller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enroller")
    }
}

impl Enroller {
    pub fn new(
        store: Arc<dyn Enrollments>,
        ca: Arc<Ca>,
        directions: Directions,
        life: Duration,
    ) -> Self {
        Self {
            store,
            ca,
            directions,
            life,
            wrong: Mutex::default(),
        }
    }

    pub async fn enroll(
        &self,
        request: &EnrollRequest,
        from: IpAddr,
    ) -> Result<EnrollResponse, EnrollError> {
        // One subscriber's IPv6 addresses count as one.
        let from = subscriber(from);
        if self.is_throttled(from, Instant::now()) {
            return Err(EnrollError::Throttled);
        }
        let outcome = self.redeem(request).await;
        if matches!(outcome, Err(EnrollError::Unknown)) {
            self.note_wrong(from, Instant::now());
            tracing::warn!(peer = %from, "a wrong claim code was tried");
        }
        outcome
    }

    async fn redeem(&self, request: &EnrollRequest) -> Result<EnrollResponse, EnrollError> {
        let secret = HEXLOWER_PERMISSIVE
            .decode(request.secret.as_bytes())
            .map_err(|_| EnrollError::BadRequest("the secret is not hexadecimal"))?;
        request
            .verify_proof()
            .map_err(|_| EnrollError::BadRequest("the record key did not sign it"))?;
        // Before the claim is used: a request that cannot be signed must not cost the installer the code.
        let enrollment = EnrollmentId(Uuid::new_v4());
        let (certificate_pem, certificate) = self
            .ca
            .issue_device(
                &request.csr_pem,
                request.device_id,
                enrollment,
                self.life,
                now(),
            )
            .map_err(|_| EnrollError::BadRequest("the certificate request cannot be signed"))?;
        let device = NewDevice {
            device: request.device_id,
            record_key: request.record_key,
            agent_version: request.agent_version.chars().take(64).collect(),
            certificate,
        };
        let place = self
            .store
            .enroll(Sha256::of(&secret), device, now())
            .await?
            .map_err(|refusal| match refusal {
                ClaimRefusal::Unknown => EnrollError::Unknown,
                ClaimRefusal::Used => EnrollError::Used,
                ClaimRefusal::Expired => EnrollError::Expired,
                ClaimRefusal::DeviceKnown => EnrollError::DeviceKnown,
            })?;
        tracing::info!(
            device.id = %request.device_id, contract.id = %place.contract, site.id = %place.site,
            "a device enrolled"
        );
        Ok(EnrollResponse {
            certificate_pem,
            ca_pem: self.ca.certificate_pem().to_owned(),
            device_url: self.directions.device_url.clone(),
            mqtt_host: self.directions.mqtt_host.clone(),
            mqtt_port: self.directions.mqtt_port,
            command_key: self.directions.command_key,
            contract: Some(place.contract),
            contract_name: place.contract_name,
            site_name: place.site_name,
            receiver_time_us: now(),
        })
    }

    fn is_throttled(&self, from: IpAddr, at: Instant) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get(&from).is_some_and(|(since, count)| {
            *count >= WRONG_CODES && at.duration_since(*since) < WINDOW
        })
    }

    fn note_wrong(&self, from: IpAddr, at: Instant) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES {
            wrong.retain(|_, (since, _)| at.duration_since(*since) < WINDOW);
            if wrong.len() >= ADDRESSES {
                wrong.clear();
            }
        }
        let entry = wrong.entry(from).or_insert((at, 0));
        if at.duration_since(entry.0) >= WINDOW {
            *entry = (at, 0);
        }
        entry.1 += 1;
    }
}
