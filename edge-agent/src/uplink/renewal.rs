//! Renewing the TLS certificate when a third of its life is left, while the old one is still good.
//!
//! A new key and a request for it, over the connection that the old certificate makes; the answer is looked at, kept
//! beside the old one, used once, and only then put in its place. Whatever is interrupted on the way is tried again
//! after a while, and until it has succeeded the box goes on with what it has.
//!
//! What time it is says the receiver, and nobody else: a clock that jumps, or a time server that lies, never makes
//! a box renew.

use crate::error::{ErrorKind, Kind};
use crate::identity::certificate::{self, Validity};
use crate::identity::{Beside, Enrollment, IdentityError};
use crate::uplink::credentials::Credentials;
use crate::uplink::{Courier, HttpsError, UplinkError, tls};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::record::AuditRecord;
use wire::renew::RenewRequest;
use wire::{Body, CommandId, Record, UtcMicros};

/// How often it is looked whether a renewal is due. A short-lived certificate is looked at more often.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Back-off after a failure: full jitter below a ceiling that doubles between these.
const FIRST_CEILING: Duration = Duration::from_secs(10);
const LAST_CEILING: Duration = Duration::from_secs(3600);
/// What the receiver said of the time is asked anew when it is older.
const FRESH: Duration = Duration::from_secs(6 * 3600);
/// Requests that may wait; they come one by one.
const REQUESTS: usize = 4;

#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("a TLS key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the receiver's answer makes no sense ({0}); the present certificate stays in use")]
    Answer(&'static str),
    #[error("this box was enrolled again meanwhile")]
    EnrolledAgain,
    #[error("a step of it ended badly: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// By which a renewal is asked for before its time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Renewal(mpsc::Sender<Asked>);

/// Someone who asked, and is told how it came out: the words of it.
#[derive(Debug)]
pub(super) struct Asked {
    command: Option<CommandId>,
    answer: oneshot::Sender<Result<String, String>>,
}

impl Renewal {
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        (Self(sender), requests)
    }

    /// Renews now. One attempt; what comes out is said in words.
    pub async fn now(&self, command: Option<CommandId>) -> Result<String, String> {
        let (answer, outcome) = oneshot::channel();
        let stopping = || "the agent is stopping".to_owned();
        self.0
            .send(Asked { command, answer })
            .await
            .map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }
}

/// Until the stop.
pub(super) async fn run(courier: Arc<Courier>, mut requests: mpsc::Receiver<Asked>) {
    let mut worker = Worker {
        beside: Beside::new(&courier.data_dir),
        failures: 0,
        courier: courier.clone(),
    };
    // What was left beside by a power cut is taken up before anything else.
    let mut wait = Duration::ZERO;
    loop {
        let asked = tokio::select! {
            biased;
            () = courier.stop.cancelled() => return,
            asked = requests.recv() => match asked {
                Some(asked) => Some(asked),
                None => return,
            },
            () = worker.sleep(wait) => None,
        };
        // A stop does not wait for the receiver's answer; whatever step it falls on is safe.
        wait = tokio::select! {
            biased;
            () = courier.stop.cancelled() => return,
            wait = worker.turn(asked) => wait,
        };
    }
}

struct Worker {
    courier: Arc<Courier>,
    beside: Beside,
    /// In a row.
    failures: u32,
}

impl Worker {
    async fn sleep(&self, wait: Duration) {
        let mut credentials = self.courier.credentials.subscribe();
        credentials.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = credentials.changed() => {}
        }
    }

    /// Renews if it is due or asked for; answers how long to wait before the next look.
    async fn turn(&mut self, asked: Option<Asked>) -> Duration {
        let current = self.courier.credentials.borrow().clone();
        if asked.is_none() && !self.is_due(&current).await {
            self.failures = 0;
            return look_again(current.validity);
        }
        let command = asked.as_ref().and_then(|asked| asked.command);
        let outcome = self.renew(&current).await;
        let words = match &outcome {
            Ok(validity) => Ok(words(*validity)),
            Err(error) => Err(error.to_string()),
        };
        self.tell(command, &words).await;
        if let Some(asked) = asked {
            // Whoever asked may be gone.
            let _ = asked.answer.send(words);
        }
        match outcome {
            Ok(_) => {
                self.failures = 0;
                look_again(self.courier.credentials.borrow().validity)
            }
            Err(RenewalError::EnrolledAgain) => Duration::ZERO,
            Err(_) => {
                let left = self.left(&current);
                let wait = back_off(self.failures, left, rand::random());
                self.failures = self.failures.saturating_add(1);
                wait
            }
        }
    }

    async fn is_due(&self, current: &Credentials) -> bool {
        let enrollment = current.enrollment.clone();
        let beside = self.beside.clone();
        let left_over = blocking(move || beside.get(&enrollment)).await;
        if matches!(left_over, Ok(Some(_))) {
            return true;
        }
        let Some(validity) = current.validity else {
            return false;
        };
        let fresh = FRESH.min(validity.life() / 20);
        let Some(now) = self.time_of_receiver(current, fresh).await else {
            return false;
        };
        validity.is_due(now, share(&current.enrollment))
    }

    /// `None`: it cannot be asked, and then nothing can be renewed either.
    async fn time_of_receiver(&self, current: &Credentials, fresh: Duration) -> Option<UtcMicros> {
        let time = &self.courier.verified_time;
        if time.age_of_statement().is_none_or(|age| age > fresh) {
            match current.https.time().await {
                Ok(stated) => self.courier.heard(stated),
                Err(error) => tracing::debug!(%error, "the receiver's time is not known: {error}"),
            }
        }
        time.of_receiver()
    }

    fn left(&self, current: &Credentials) -> Duration {
        let now = self.courier.verified_time.now();
        current
            .validity
            .map_or(LAST_CEILING, |validity| validity.left(now))
    }

    async fn renew(&self, current: &Credentials) -> Result<Option<Validity>, RenewalError> {
        let (beside, enrollment) = (self.beside.clone(), current.enrollment.clone());
        let next = match blocking(move || beside.get(&enrollment)).await? {
            Some(left_over) => left_over,
            None => self.draw(current).await?,
        };
        self.try_out(&next).await?;
        let beside = self.beside.clone();
        if !blocking(move || beside.swap()).await? {
            return Err(RenewalError::EnrolledAgain);
        }
        self.courier.adopt(next)?;
        Ok(self.courier.credentials.borrow().validity)
    }

    /// A certificate for a new key, looked at and kept beside.
    async fn draw(&self, current: &Credentials) -> Result<Enrollment, RenewalError> {
        let key = certificate::new_tls_key()?;
        let request = RenewRequest {
            csr_pem: certificate::signing_request(&key, self.courier.device)?,
            agent_version: env!("CARGO_PKG_VERSION").into(),
        };
        let answer = current.https.renew(&request).await?;
        certificate::fits(&answer.certificate_pem, &key, self.courier.device)
            .map_err(RenewalError::Answer)?;
        let stated = answer.receiver_time_us;
        let is_good = tls::is_issued_by(&answer.ca_pem, &answer.certificate_pem, stated);
        if !is_good.map_err(UplinkError::from)? {
            let why = "its certificate is not of its CA, or not good now";
            return Err(RenewalError::Answer(why));
        }
        self.courier.heard(stated);
        let next = Enrollment {
            certificate_pem: answer.certificate_pem,
            tls_key_pem: key.serialize_pem(),
            ca_pem: answer.ca_pem,
            replaces: Some(current.enrollment.fingerprint()),
            ..current.enrollment.clone()
        };
        let (beside, kept) = (self.beside.clone(), next.clone());
        blocking(move || beside.put(&kept)).await?;
        Ok(next)
    }

    /// One real request with it, by which the receiver is judged by the new CA too. One that is refused is thrown
    /// away. Where nobody answers, or not with what was asked for, it waits for the next attempt: the receiver may have
    /// seen it, and count on its use.
    async fn try_out(&self, next: &Enrollment) -> Result<(), RenewalError> {
        let time = &self.courier.verified_time;
        let outcome = match Credentials::new(self.courier.device, next.clone(), time) {
            Ok(credentials) => credentials.https.time().await.map_err(RenewalError::from),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(stated) => {
                self.courier.heard(stated);
                Ok(())
            }
            Err(error) => {
                let may_pass = matches!(
                    &error,
                    RenewalError::Https(error) if error.kind() == ErrorKind::Transient
                );
                if !may_pass {
                    let beside = self.beside.clone();
                    blocking(move || beside.discard()).await?;
                }
                Err(error)
            }
        }
    }

    /// Into the log and the audit. Of failures in a row the first is enough for the audit; a command is answered by
    /// whoever carries it out.
    async fn tell(&self, command: Option<CommandId>, words: &Result<String, String>) {
        let (outcome, detail) = match words {
            Ok(detail) => {
                tracing::info!("the certificate was renewed: {detail}");
                ("done", detail)
            }
            Err(why) => {
                tracing::warn!("the certificate could not be renewed: {why}");
                ("failed", why)
            }
        };
        if words.is_err() && (self.failures > 0 || command.is_some()) {
            return;
        }
        let audit = AuditRecord {
            actor: "agent".into(),
            action: "certificate.renew".into(),
            outcome: outcome.into(),
            command: None,
            detail: Some(detail.clone()),
            file: None,
        };
        let record = Record::new(self.courier.time.now(), Body::Audit(audit));
        if let Err(error) = self.courier.spool.put_durable(record).await {
            tracing::error!(%error, "a renewal could not be recorded: {error}");
        }
    }
}

fn words(validity: Option<Validity>) -> String {
    let until = validity
        .and_then(|validity| jiff::Timestamp::from_microsecond(validity.until_us.0).ok())
        .map_or_else(
            || "?".to_owned(),
            |until| until.strftime("%F %R UTC").to_string(),
        );
    format!("certificate until {until}")
}

fn look_again(validity: Option<Validity>) -> Duration {
    validity.map_or(LOOK_EVERY, |validity| {
        LOOK_EVERY
            .min(validity.life() / 60)
            .max(Duration::from_secs(1))
    })
}

/// This certificate's place among those that were issued on the same day. The same after every restart.
fn share(enrollment: &Enrollment) -> f64 {
    f64::from(enrollment.fingerprint().0[0]) / 255.0
}

/// Full jitter, but several attempts in what is left. `random` is uniform in 0 .. 1.
fn back_off(failures: u32, left: Duration, random: f64) -> Duration {
    let ceiling = FIRST_CEILING
        .saturating_mul(1 << failures.min(10))
        .min(LAST_CEILING)
        .min(left / 8)
        .max(Duration::from_secs(1));
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, RenewalError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_spread_and_several_fit_into_what_is_left() {
        const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
        assert_eq!(back_off(0, MONTH, 1.0), FIRST_CEILING);
        assert_eq!(back_off(3, MONTH, 1.0), 8 * FIRST_CEILING);
        assert_eq!(back_off(u32::MAX, MONTH, 1.0), LAST_CEILING);
        assert_eq!(back_off(5, MONTH, 0.0), Duration::ZERO);
        let short = Duration::from_secs(40);
        assert_eq!(back_off(9, short, 1.0), short / 8);
        assert_eq!(back_off(9, Duration::ZERO, 1.0), Duration::from_secs(1));
    }
}
