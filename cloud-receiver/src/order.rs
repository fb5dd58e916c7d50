//! Orders to devices: how one is made and what became of it, the same for the command line and the operator's page.

use crate::store::CommandState;
use uuid::Uuid;
use wire::command::{Command, Request};
use wire::{CameraId, CommandId, ContractId, DeviceId, UtcMicros};

/// How long a device may take for a picture when nobody says otherwise.
pub const PICTURE_WITHIN_SECONDS: i64 = 60;
/// The answer to a command carried out just in time may be on its way.
const GRACE_US: i64 = 5_000_000;

fn given(device: DeviceId, request: Request, issued: UtcMicros, deadline: UtcMicros) -> Command {
    Command {
        id: CommandId(Uuid::new_v4()),
        device,
        issued_at_us: issued,
        deadline_us: deadline,
        request,
    }
}

/// Asks for a picture of a camera; not yet stored, so not yet sent.
pub fn picture_now(
    device: DeviceId,
    camera: CameraId,
    issued: UtcMicros,
    within_seconds: i64,
) -> Command {
    let deadline = issued.plus_us(within_seconds * 1_000_000);
    given(device, Request::PictureNow { camera }, issued, deadline)
}

/// Asks a device to renew its certificate now.
pub fn renew_certificate(device: DeviceId, issued: UtcMicros, within_seconds: i64) -> Command {
    let deadline = issued.plus_us(within_seconds * 1_000_000);
    given(device, Request::RenewCertificate, issued, deadline)
}

/// How long a device may take for its log or a support bundle when nobody says otherwise; it needs half a minute.
pub const FILE_WITHIN_SECONDS: i64 = 120;
/// So many lines of its log when nobody says otherwise: hours of a troubled box.
pub const LOG_LINES: u32 = 2000;

/// Asks a device for the newest lines of its log.
pub fn log_excerpt(
    device: DeviceId,
    lines: u32,
    since: Option<UtcMicros>,
    issued: UtcMicros,
    within_seconds: i64,
) -> Command {
    let deadline = issued.plus_us(within_seconds * 1_000_000);
    given(
        device,
        Request::LogExcerpt {
            lines,
            since_us: since,
        },
        issued,
        deadline,
    )
}

/// Asks a device for all that helps to find out what is wrong with it.
pub fn support_bundle(device: DeviceId, issued: UtcMicros, within_seconds: i64) -> Command {
    let deadline = issued.plus_us(within_seconds * 1_000_000);
    given(device, Request::SupportBundle, issued, deadline)
}

/// Tells a device to destroy what it holds of a contract that has ended.
pub fn wipe_contract(
    device: DeviceId,
    contract: ContractId,
    issued: UtcMicros,
    deadline: UtcMicros,
) -> Command {
    given(device, Request::WipeContract { contract }, issued, deadline)
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device may still answer.
    Waiting,
    Done,
    Failed,
    /// The device did not even try.
    Refused,
    /// It was handed over, and nothing came back in time.
    Unanswered,
    /// The device was not connected in time.
    NeverSent,
}

impl Outcome {
    pub fn of(state: &CommandState, now: UtcMicros) -> Self {
        match (state.outcome.as_deref(), state.sent_us) {
            (Some("done"), _) => Self::Done,
            (Some("refused"), _) => Self::Refused,
            (Some(_), _) => Self::Failed,
            (None, _) if now <= state.deadline_us.plus_us(GRACE_US) => Self::Waiting,
            (None, Some(_)) => Self::Unanswered,
            (None, None) => Self::NeverSent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_waits_until_its_time_is_over() {
        let state = |sent: Option<i64>, outcome: Option<&str>| CommandState {
            id: CommandId(Uuid::nil()),
            deadline_us: UtcMicros(100),
            sent_us: sent.map(UtcMicros),
            answered_us: None,
            outcome: outcome.map(Into::into),
            detail: None,
        };
        let check = |sent, outcome, now, expected| {
            assert_eq!(
                Outcome::of(&state(sent, outcome), UtcMicros(now)),
                expected,
                "{sent:?} {outcome:?} at {now}"
            );
        };
        let late = 101 + GRACE_US;
        check(None, None, 50, Outcome::Waiting);
        check(Some(5), None, 100 + GRACE_US, Outcome::Waiting);
        check(Some(5), None, late, Outcome::Unanswered);
        check(None, None, late, Outcome::NeverSent);
        check(Some(5), Some("done"), late, Outcome::Done);
        check(Some(5), Some("failed"), 50, Outcome::Failed);
        check(Some(5), Some("refused"), 50, Outcome::Refused);
        check(
            Some(5),
            Some("a word of a newer device"),
            50,
            Outcome::Failed,
        );
    }
}
