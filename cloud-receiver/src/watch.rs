//! Who is silent, and whose clock is off: judged from what the store knows. Pure.
//!
//! An alert opens when something was wrong for as long as agreed, and closes when it has been well for a while: longer for what
//! flaps. The receiver counts only the time that it was there to listen itself.

use crate::store::{AlertKind, AlertRow, AlertStep, Matter, Terms, Watched};
use std::collections::{BTreeMap, BTreeSet};
use wire::heartbeat::Heartbeat;
use wire::{ClockState, ContractId, UtcMicros};

const MINUTE_US: i64 = 60_000_000;
/// How long something must be well before its alert is over.
const CALM_US: i64 = 5 * MINUTE_US;
/// For what flaps the calm doubles each time, up to 64 times: more than five hours.
const CALM_DOUBLINGS: u32 = 6;
/// A device says how it is every minute, and may be heard of otherwise in between.
const ON_THE_WAY_US: u64 = 180_000_000;
/// How long mail waits for more to tell of: when a line is cut, devices fall silent one after another within a minute.
pub const GATHER_US: i64 = 90_000_000;

/// What is wrong at a moment, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    wrong: BTreeMap<Matter, UtcMicros>,
    /// Of these nothing can be said: a silent device says nothing of its cameras.
    unknown: BTreeSet<Matter>,
}

/// `listening`: since when the receiver has been there without a break.
pub fn judge(device: &Watched, terms: &Terms, listening: UtcMicros, at: UtcMicros) -> Judged {
    let mut judged = Judged::default();
    let patience = i64::from(terms.silent_after_minutes) * MINUTE_US;
    let since_listening = |moment: UtcMicros| UtcMicros(moment.0.max(listening.0));
    let silent = |moment: UtcMicros| at.since_us(since_listening(moment)) > patience;
    let matter = |camera, kind| Matter {
        device: device.device,
        camera,
        kind,
    };
    let heard = device.heard_us.unwrap_or(device.enrolled_us);
    let clock = matter(None, AlertKind::ClockOff);
    let is_silent = silent(heard);
    // Heard before the receiver began to listen: it may have been well all the time.
    let is_fresh = heard >= listening || !silent(heard) && at.since_us(heard) <= patience;
    if is_silent {
        judged
            .wrong
            .insert(matter(None, AlertKind::DeviceSilent), heard);
    } else if !is_fresh {
        judged.unknown.insert(matter(None, AlertKind::DeviceSilent));
    }
    let is_known = is_fresh && !is_silent;
    match device.heartbeat.as_ref().filter(|_| is_known) {
        Some(heartbeat) => {
            if clock_off_ms(heartbeat, heard) > terms.clock_off_ms {
                judged.wrong.insert(clock, heard);
            }
        }
        None => drop(judged.unknown.insert(clock)),
    }
    for camera in &device.cameras {
        let matter = matter(Some(camera.camera), AlertKind::CameraSilent);
        if !is_known {
            judged.unknown.insert(matter);
        } else if camera.state != "running" && silent(camera.since_us) {
            judged.wrong.insert(matter, camera.since_us);
        }
    }
    judged
}

/// As the device measured it; where it has not, by when its word arrived, which may be late.
fn clock_off_ms(heartbeat: &Heartbeat, heard: UtcMicros) -> u64 {
    if heartbeat.clock.state != ClockState::Unsynced {
        return heartbeat.clock.offset_us.unsigned_abs() / 1000;
    }
    let apart_us = heard.since_us(heartbeat.sent_at_us).unsigned_abs();
    apart_us.saturating_sub(ON_THE_WAY_US) / 1000
}

/// What becomes of the alerts.
pub fn steps(judged: &[(ContractId, Judged)], open: &[AlertRow], at: UtcMicros) -> Vec<AlertStep> {
    let mut steps = Vec::new();
    let known: BTreeSet<Matter> = open
        .iter()
        .filter(|alert| alert.closed_us.is_none())
        .map(|alert| alert.matter)
        .collect();
    for (contract, judged) in judged {
        for (matter, since_us) in &judged.wrong {
            if !known.contains(matter) {
                steps.push(AlertStep::Open {
                    contract: *contract,
                    matter: *matter,
                    since_us: *since_us,
                });
            }
        }
    }
    for alert in open.iter().filter(|alert| alert.closed_us.is_none()) {
        let is = |of: &dyn Fn(&Judged) -> bool| judged.iter().any(|(_, judged)| of(judged));
        if is(&|judged| judged.wrong.contains_key(&alert.matter)) {
            if alert.good_us.is_some() {
                steps.push(AlertStep::Good {
                    no: alert.no,
                    since_us: None,
                });
            }
        } else if !is(&|judged| judged.unknown.contains(&alert.matter)) {
            // Also what is no longer there: a device that was revoked, a camera that was taken away.
            match alert.good_us {
                None => steps.push(AlertStep::Good {
                    no: alert.no,
                    since_us: Some(at),
                }),
                Some(good) if at.since_us(good) >= calm_us(alert.earlier) => {
                    steps.push(AlertStep::Close { no: alert.no });
                }
                Some(_) => {}
            }
        }
    }
    steps
}

fn calm_us(earlier: u32) -> i64 {
    CALM_US << earlier.min(CALM_DOUBLINGS)
}

/// Whether the time has come to tell of what began and what ended: everything together, once the first of it is old enough.
pub fn to_tell(alerts: &[AlertRow], at: UtcMicros) -> (Vec<&AlertRow>, Vec<&AlertRow>) {
    let begun: Vec<_> = alerts
        .iter()
        .filter(|alert| alert.told_us.is_none() && alert.closed_us.is_none())
        .collect();
    let ended: Vec<_> = alerts
        .iter()
        .filter(|alert| alert.told_us.is_some() && alert.closed_us.is_some())
        .collect();
    let is_old = |moment: UtcMicros| at.since_us(moment) >= GATHER_US;
    let due = begun.iter().any(|alert| is_old(alert.opened_us))
        || ended
            .iter()
            .any(|alert| alert.closed_us.is_some_and(is_old));
    if due {
        (begun, ended)
    } else {
        (Vec::new(), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::WatchedCamera;
    use uuid::Uuid;
    use wire::heartbeat::SpoolReport;
    use wire::{CameraId, ClockStamp, DeviceId, Epoch};

    fn minute(minute: i64) -> UtcMicros {
        UtcMicros(minute * MINUTE_US)
    }

    fn device(heard: i64, offset_ms: i64, camera: (&str, i64)) -> Watched {
        Watched {
            device: DeviceId(Uuid::from_u128(1)),
            contract: ContractId(Uuid::from_u128(2)),
            site_name: "本社".into(),
            enrolled_us: minute(0),
            heard_us: Some(minute(heard)),
            heartbeat: Some(Heartbeat {
                sent_at_us: minute(heard),
                epoch: Epoch(1),
                agent_version: "0".into(),
                uptime_seconds: 1,
                clock: ClockStamp {
                    state: ClockState::Synced,
                    offset_us: offset_ms * 1000,
                    error_us: Some(1),
                },
                clock_checked_seconds_ago: None,
                spool: SpoolReport::default(),
                carriage: "mqtt".into(),
                cameras: vec![],
            }),
            cameras: vec![WatchedCamera {
                camera: CameraId(Uuid::from_u128(3)),
                name: "正門".into(),
                state: camera.0.into(),
                since_us: minute(camera.1),
            }],
        }
    }

    fn wrong(device: &Watched, listening: i64, at: i64) -> Vec<AlertKind> {
        let judged = judge(device, &Terms::default(), minute(listening), minute(at));
        judged.wrong.keys().map(|matter| matter.kind).collect()
    }

    #[test]
    fn what_is_wrong_for_longer_than_agreed_is_told_of() {
        let well = device(100, 0, ("running", 1));
        assert_eq!(wrong(&well, 0, 110), []);
        assert_eq!(wrong(&well, 0, 111), [AlertKind::DeviceSilent]);
        let off = device(100, -1001, ("retrying", 89));
        assert_eq!(
            wrong(&off, 0, 100),
            [AlertKind::ClockOff, AlertKind::CameraSilent]
        );
        let mut never_set = device(100, 0, ("running", 1));
        let heartbeat = never_set.heartbeat.as_mut().unwrap();
        heartbeat.clock = ClockStamp::UNSYNCED;
        heartbeat.sent_at_us = minute(98);
        assert_eq!(wrong(&never_set, 0, 100), []);
        never_set.heartbeat.as_mut().unwrap().sent_at_us = minute(0);
        assert_eq!(wrong(&never_set, 0, 100), [AlertKind::ClockOff]);
        let barely = device(100, 1000, ("retrying", 90));
        assert_eq!(wrong(&barely, 0, 100), []);
    }

    #[test]
    fn the_time_that_the_receiver_was_away_counts_for_nobody() {
        let quiet = device(100, 5000, ("retrying", 50));
        assert_eq!(wrong(&quiet, 300, 301), []);
        assert_eq!(wrong(&quiet, 300, 310), []);
        // Nor does it say that what was wrong before is well.
        let judged = judge(&quiet, &Terms::default(), minute(300), minute(305));
        assert_eq!(judged.unknown.len(), 3);
        assert_eq!(wrong(&quiet, 300, 311), [AlertKind::DeviceSilent]);
    }

    fn alert(good: Option<i64>, earlier: u32) -> AlertRow {
        AlertRow {
            no: 7,
            contract: ContractId(Uuid::from_u128(2)),
            matter: Matter {
                device: DeviceId(Uuid::from_u128(1)),
                camera: None,
                kind: AlertKind::DeviceSilent,
            },
            since_us: minute(0),
            opened_us: minute(10),
            good_us: good.map(minute),
            closed_us: None,
            told_us: Some(minute(12)),
            end_told_us: None,
            earlier,
        }
    }

    fn step_at(device: &Watched, alert: AlertRow, at: i64) -> Vec<AlertStep> {
        let judged = judge(device, &Terms::default(), minute(0), minute(at));
        steps(&[(device.contract, judged)], &[alert], minute(at))
    }

    #[test]
    fn an_alert_is_over_after_a_calm_that_is_longer_for_what_flaps() {
        let back = device(100, 0, ("running", 1));
        let good = |since_us: Option<i64>| AlertStep::Good {
            no: 7,
            since_us: since_us.map(minute),
        };
        assert_eq!(step_at(&back, alert(None, 0), 100), [good(Some(100))]);
        assert_eq!(step_at(&back, alert(Some(100), 0), 104), []);
        assert_eq!(
            step_at(&back, alert(Some(100), 0), 105),
            [AlertStep::Close { no: 7 }]
        );
        assert_eq!(step_at(&back, alert(Some(100), 1), 109), []);
        assert_eq!(step_at(&back, alert(Some(100), 0), 111), [good(None)]);
        // One alert at a time of one matter.
        assert_eq!(step_at(&back, alert(None, 0), 111), []);
    }

    #[test]
    fn what_happens_together_is_told_together() {
        let mut first = alert(None, 0);
        first.told_us = None;
        first.opened_us = minute(20);
        let mut second = first.clone();
        second.opened_us = minute(21);
        let all = [first.clone(), second];
        assert!(to_tell(&all, minute(21)).0.is_empty());
        assert_eq!(to_tell(&all, minute(22)).0.len(), 2);
        // Over before it was told: nobody needs to know.
        first.closed_us = Some(minute(21));
        assert_eq!(to_tell(&[first], minute(30)), (vec![], vec![]));
    }
}
