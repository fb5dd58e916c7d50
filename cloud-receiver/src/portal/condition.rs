//! Whether a camera works, judged from everything that is known of it. Pure.
//!
//! A dead camera must never look like a quiet one: it is well only if its state says so **and** its device was
//! heard lately **and** its picture is as fresh as it should be.

use super::when::When;
use super::words::{Blindness, Lang};
use crate::store::CameraOverview;
use wire::UtcMicros;

const SECOND_US: i64 = 1_000_000;

/// A device reports every minute; silent for three, it is taken for dead.
pub const DEVICE_SILENT_AFTER_SECONDS: i64 = 180;
/// A camera gives a picture every minute; three missing ones are no accident.
pub const PICTURE_OLD_AFTER_SECONDS: i64 = 180;
/// How long a camera may take to give its first picture.
const START_GRACE_SECONDS: i64 = 180;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Normal,
    /// Known for a moment only, and nothing is wrong yet.
    Starting,
    /// It gives pictures, and they show nothing of what they should.
    Blind {
        what: Blindness,
        since_us: UtcMicros,
    },
    Dead {
        cause: Cause,
        since_us: Option<UtcMicros>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    DeviceSilent,
    NoPictures,
    LoginRefused,
    Unreadable,
}

impl Condition {
    pub fn of(camera: &CameraOverview, now: UtcMicros) -> Self {
        let older_than = |at: UtcMicros, seconds: i64| now.since_us(at) > seconds * SECOND_US;
        let heard = camera.device_heard_us;
        if heard.is_none_or(|at| older_than(at, DEVICE_SILENT_AFTER_SECONDS)) {
            return Self::dead(Cause::DeviceSilent, heard);
        }
        let newest_picture = camera.latest_picture.as_ref().map(|p| p.captured_at_us);
        match (camera.state.as_str(), newest_picture) {
            ("retrying" | "removed", _) => {
                let cause = match camera.reason.as_deref() {
                    Some("auth") => Cause::LoginRefused,
                    Some("decode") => Cause::Unreadable,
                    _ => Cause::NoPictures,
                };
                Self::dead(cause, Some(camera.state_since_us))
            }
            (_, Some(at)) if older_than(at, PICTURE_OLD_AFTER_SECONDS) => {
                Self::dead(Cause::NoPictures, Some(at))
            }
            (_, None) if older_than(camera.state_since_us, START_GRACE_SECONDS) => {
                Self::dead(Cause::NoPictures, None)
            }
            (_, _) if let Some(blind) = &camera.blind => Self::Blind {
                what: Blindness::of_rule(blind.rule.as_deref()),
                since_us: blind.since_us,
            },
            ("running", Some(_)) => Self::Normal,
            _ => Self::Starting,
        }
    }

    pub fn is_dead(self) -> bool {
        matches!(self, Self::Dead { .. })
    }

    pub fn is_blind(self) -> bool {
        matches!(self, Self::Blind { .. })
    }

    /// What is wrong and what to do, in the customer's words.
    pub fn sentence(self, camera: &str, when: &When) -> Option<String> {
        let lang: Lang = when.lang;
        let (cause, since_us) = match self {
            Self::Dead { cause, since_us } => (cause, since_us),
            Self::Blind { what, since_us } => {
                return Some(lang.blind_since(camera, what, &when.short(since_us)));
            }
            Self::Normal | Self::Starting => return None,
        };
        let since = since_us.map(|at| when.short(at));
        Some(match (cause, since) {
            (Cause::DeviceSilent, Some(since)) => lang.device_silent_since(camera, &since),
            (Cause::DeviceSilent, None) => lang.device_never_heard(camera),
            (Cause::NoPictures, Some(since)) => lang.no_pictures_since(camera, &since),
            (Cause::LoginRefused, Some(since)) => lang.login_refused_since(camera, &since),
            (Cause::Unreadable, Some(since)) => lang.unreadable_since(camera, &since),
            (_, None) => lang.never_a_picture(camera),
        })
    }

    fn dead(cause: Cause, since_us: Option<UtcMicros>) -> Self {
        Self::Dead { cause, since_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Blind, PictureRef};
    use uuid::Uuid;

    const NOW: i64 = 1_000_000;

    fn seconds_ago(seconds: i64) -> UtcMicros {
        UtcMicros((NOW - seconds) * SECOND_US)
    }

    fn camera(
        state: &str,
        reason: Option<&str>,
        picture: Option<i64>,
        heard: Option<i64>,
    ) -> CameraOverview {
        CameraOverview {
            camera: wire::CameraId(Uuid::nil()),
            device: wire::DeviceId(Uuid::nil()),
            name: "正門".into(),
            state: state.into(),
            reason: reason.map(Into::into),
            state_since_us: seconds_ago(600),
            device_heard_us: heard.map(seconds_ago),
            latest_picture: picture.map(|age| PictureRef {
                sha256: wire::Sha256::ZERO,
                captured_at_us: seconds_ago(age),
                width: 16,
                height: 9,
                boxes: vec![],
            }),
            blind: None,
            today: vec![],
        }
    }

    fn dead(cause: Cause, since: Option<i64>) -> Condition {
        Condition::dead(cause, since.map(seconds_ago))
    }

    #[test]
    fn a_camera_is_well_only_if_all_signs_agree() {
        let check = |state, reason, picture, heard, expected| {
            assert_eq!(
                Condition::of(&camera(state, reason, picture, heard), seconds_ago(0)),
                expected,
                "{state} {reason:?} picture {picture:?} heard {heard:?}"
            );
        };
        check("running", None, Some(30), Some(10), Condition::Normal);
        check(
            "running",
            None,
            Some(30),
            Some(181),
            dead(Cause::DeviceSilent, Some(181)),
        );
        check(
            "running",
            None,
            Some(30),
            None,
            dead(Cause::DeviceSilent, None),
        );
        check(
            "running",
            None,
            Some(181),
            Some(10),
            dead(Cause::NoPictures, Some(181)),
        );
        check(
            "running",
            None,
            None,
            Some(10),
            dead(Cause::NoPictures, None),
        );
        check(
            "retrying",
            Some("connect"),
            Some(30),
            Some(10),
            dead(Cause::NoPictures, Some(600)),
        );
        check(
            "retrying",
            Some("auth"),
            Some(30),
            Some(10),
            dead(Cause::LoginRefused, Some(600)),
        );
        check(
            "retrying",
            Some("decode"),
            None,
            Some(10),
            dead(Cause::Unreadable, Some(600)),
        );
        check("starting", None, Some(30), Some(10), Condition::Starting);
        let mut blind = camera("running", None, Some(30), Some(10));
        blind.blind = Some(Blind {
            event: wire::EventId(Uuid::nil()),
            rule: Some("covered".into()),
            since_us: seconds_ago(90),
        });
        let covered = Condition::Blind {
            what: Blindness::Covered,
            since_us: seconds_ago(90),
        };
        assert_eq!(Condition::of(&blind, seconds_ago(0)), covered);
        // What is silent cannot say that it sees nothing.
        blind.device_heard_us = Some(seconds_ago(181));
        assert!(Condition::of(&blind, seconds_ago(0)).is_dead());
        check(
            "a state of a newer device",
            None,
            Some(30),
            Some(10),
            Condition::Starting,
        );
    }
}
