//! Whom an event concerns, and when to write. Pure.

use crate::portal::when::When;
use crate::store::{NewEvent, Queued, Rhythm, SubscriptionRow, Wishes};
use jiff::civil::time;
use jiff::tz::TimeZone;
use wire::UtcMicros;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;
/// Pictures follow their event within seconds, and belong into the same mail.
const PICTURE_GRACE_US: i64 = 15 * SECOND_US;
/// What is older when it arrives is no news any more.
const LATE_US: i64 = HOUR_US;
/// When daily mail is sent, in the contract's zone.
const DAILY_HOUR: i8 = 8;

/// Whether a user wants to be told of an event at all.
pub fn wants(wishes: &Wishes, zone: &TimeZone, event: &NewEvent) -> bool {
    let of_class = wishes.classes.is_empty() || wishes.classes.contains(&event.class);
    let anywhere = wishes.cameras.is_empty() && wishes.sites.is_empty();
    let of_place =
        anywhere || wishes.cameras.contains(&event.camera) || wishes.sites.contains(&event.site);
    of_class && of_place && in_hours(wishes, zone, event.opened_us)
}

fn in_hours(wishes: &Wishes, zone: &TimeZone, at: UtcMicros) -> bool {
    let Ok(at) = jiff::Timestamp::from_microsecond(at.0) else {
        return false;
    };
    let hour = at.to_zoned(zone.clone()).hour().unsigned_abs();
    let (from, to) = (wishes.from_hour, wishes.to_hour);
    match from.cmp(&to) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => (from..to).contains(&hour),
        // Over midnight.
        std::cmp::Ordering::Greater => hour >= from || hour < to,
    }
}

/// The event as it waits for the user's next mail.
pub fn queued(subscription: &SubscriptionRow, event: &NewEvent, when: &When) -> Queued {
    let late = event.received_us.since_us(event.opened_us) > LATE_US;
    let due_us = match subscription.wishes.rhythm {
        Rhythm::AtOnce if !late => event.received_us.plus_us(PICTURE_GRACE_US),
        Rhythm::Hourly => next_hour(event.received_us),
        // What is no news waits for the next mail, and one day at most.
        Rhythm::AtOnce | Rhythm::Daily => next_daily(when, event.received_us),
    };
    Queued {
        login_id: subscription.login_id.clone(),
        event_no: event.no,
        event: event.id,
        late,
        due_us,
    }
}

fn next_hour(at: UtcMicros) -> UtcMicros {
    UtcMicros((at.0.div_euclid(HOUR_US) + 1) * HOUR_US)
}

fn next_daily(when: &When, at: UtcMicros) -> UtcMicros {
    let today = when.date_of(at);
    let here = when.instant(today, time(DAILY_HOUR, 0, 0, 0));
    if here > at {
        here
    } else {
        when.instant(when.date_of(when.end_of(today)), time(DAILY_HOUR, 0, 0, 0))
    }
}

/// Whether the last mail is long enough ago.
pub fn has_cooled(subscription: &SubscriptionRow, at: UtcMicros) -> bool {
    let cool_down = i64::from(subscription.wishes.cool_down_minutes) * 60 * SECOND_US;
    subscription
        .mailed_us
        .is_none_or(|mailed| at.since_us(mailed) >= cool_down)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::portal::words::Lang;
    use uuid::Uuid;
    use wire::{CameraId, ContractId, EventId, SiteId};

    fn at(text: &str) -> UtcMicros {
        UtcMicros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn event(opened: &str, received: &str) -> NewEvent {
        NewEvent {
            no: 1,
            id: EventId(Uuid::from_u128(1)),
            contract: ContractId(Uuid::from_u128(2)),
            site: SiteId(Uuid::from_u128(3)),
            site_name: "本社".into(),
            camera: CameraId(Uuid::from_u128(4)),
            camera_name: "正門".into(),
            class: "person".into(),
            opened_us: at(opened),
            received_us: at(received),
        }
    }

    fn subscription(rhythm: Rhythm) -> SubscriptionRow {
        SubscriptionRow {
            login_id: "x".into(),
            contract: ContractId(Uuid::from_u128(2)),
            confirmed_us: Some(UtcMicros(1)),
            stopped_us: None,
            mailed_us: Some(at("2026-11-22T05:00:00Z")),
            confirm_until_us: None,
            wishes: Wishes {
                rhythm,
                cool_down_minutes: 10,
                ..Wishes::default()
            },
        }
    }

    #[test]
    fn only_what_is_wished_for_is_told() {
        let zone = TimeZone::get("Asia/Tokyo").unwrap();
        // 23:05 in Japan.
        let event = event("2026-11-22T14:05:00Z", "2026-11-22T14:05:10Z");
        let wants = |change: &dyn Fn(&mut Wishes)| {
            let mut wishes = Wishes::default();
            change(&mut wishes);
            super::wants(&wishes, &zone, &event)
        };
        assert!(wants(&|_| {}));
        assert!(!wants(&|wishes| wishes.classes = vec!["vehicle".into()]));
        assert!(!wants(
            &|wishes| wishes.cameras = vec![CameraId(Uuid::nil())]
        ));
        assert!(wants(&|wishes| {
            wishes.cameras = vec![CameraId(Uuid::nil())];
            wishes.sites = vec![event.site];
        }));
        for (from, to, expected) in [
            (22, 6, true),
            (8, 18, false),
            (23, 0, true),
            (0, 23, false),
            (7, 7, true),
        ] {
            let hours = |wishes: &mut Wishes| (wishes.from_hour, wishes.to_hour) = (from, to);
            assert_eq!(wants(&hours), expected, "{from} to {to}");
        }
    }

    #[test]
    fn what_is_late_waits_for_a_digest_and_says_so() {
        let when = When {
            lang: Lang::Ja,
            zone: TimeZone::get("Asia/Tokyo").unwrap(),
            now: at("2026-11-22T05:00:00Z"),
        };
        let due = |rhythm, opened: &str| {
            let event = event(opened, "2026-11-22T05:05:00Z");
            let queued = queued(&subscription(rhythm), &event, &when);
            (queued.late, queued.due_us)
        };
        let fresh = "2026-11-22T05:04:00Z";
        assert_eq!(
            due(Rhythm::AtOnce, fresh),
            (false, at("2026-11-22T05:05:15Z"))
        );
        assert_eq!(
            due(Rhythm::Hourly, fresh),
            (false, at("2026-11-22T06:00:00Z"))
        );
        // Eight in the morning in Japan, of the next day.
        assert_eq!(
            due(Rhythm::Daily, fresh),
            (false, at("2026-11-22T23:00:00Z"))
        );
        let old = "2026-11-15T05:00:00Z";
        assert_eq!(due(Rhythm::AtOnce, old), (true, at("2026-11-22T23:00:00Z")));
    }

    #[test]
    fn there_is_no_mail_while_the_last_one_is_warm() {
        let subscription = subscription(Rhythm::AtOnce);
        assert!(!has_cooled(&subscription, at("2026-11-22T05:09:59Z")));
        assert!(has_cooled(&subscription, at("2026-11-22T05:10:00Z")));
    }
}
