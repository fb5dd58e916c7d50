//! When something happened, by all that is known of the device's clock. Computed beside the original, never over it.
//!
//! A clock that is synchronised states its offset. One that is not is corrected by the boot-time clock as soon as a
//! clock record says when that boot began. Until then a time that cannot be right (1970, next year) would put an
//! event where nobody finds it: so the boot is taken to have begun as its records' arrival allows at the latest, and
//! pages say that the time is an estimate.

use super::record::Place;
use super::{Result, Told, id16};
use crate::live::News;
use crate::store::sqlite::hours;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;
use wire::record::ClockRecord;
use wire::{ClockState, DeviceId, RecordTime, UtcMicros};

const SECOND_US: i64 = 1_000_000;
/// Records cannot come from later than this after their arrival.
const FUTURE_US: i64 = 300 * SECOND_US;
/// A device may have watched before it was enrolled, but not for longer.
const BEFORE_ENROLLMENT_US: i64 = 31 * 86_400 * SECOND_US;
/// By how much a better guess must differ: arrival jitters, and rows are not rewritten for that.
const GUESS_STEP_US: i64 = SECOND_US;

/// A record's time and how far off the device's clock was.
pub(super) struct Corrected {
    pub(super) device_us: i64,
    /// Corrected minus device time.
    delta_us: i64,
    pub(super) boot: Uuid,
    pub(super) boottime_us: i64,
    /// Whether the clock is to be trusted. Not if it is ahead of the receiver's, whatever it says of itself.
    pub(super) synced: bool,
}

impl Corrected {
    pub(super) fn of(
        connection: &Connection,
        place: &Place<'_>,
        time: &RecordTime,
    ) -> Result<Self> {
        let ahead_us = time.corrected_us().since_us(place.at);
        let synced = is_synced(time.clock.state) && ahead_us <= FUTURE_US;
        let mut this = Self {
            device_us: time.captured_at_us.0,
            delta_us: time.clock.offset_us,
            boot: time.boot_id.0,
            boottime_us: boottime_us(time),
            synced,
        };
        if !synced && let Some(began) = this.began_us(connection, place)? {
            this.delta_us = began
                .saturating_add(this.boottime_us)
                .saturating_sub(this.device_us);
        }
        Ok(this)
    }

    pub(super) fn correct(&self, device_time: UtcMicros) -> i64 {
        device_time.plus_us(self.delta_us).0
    }

    /// Corrects the times of something earlier. Where they cannot be right, it is when this was told, and false.
    pub(super) fn span(
        &self,
        connection: &Connection,
        place: &Place<'_>,
        from: UtcMicros,
        to: UtcMicros,
    ) -> Result<(i64, i64, bool)> {
        let (from, to) = (self.correct_past(from), self.correct_past(to));
        let when_known = from <= to
            && is_plausible(connection, place, from)?
            && is_plausible(connection, place, to)?;
        let told = self.captured_us();
        Ok(match when_known {
            true => (from, to, true),
            false => (told, told, false),
        })
    }

    /// Corrects an earlier time, if the clock that is known of now had told it: one of the time before this boot, or
    /// before the clock was set anew, stays as the device said.
    fn correct_past(&self, device_time: UtcMicros) -> i64 {
        let of_this_clock = self.device_us.saturating_sub(self.boottime_us)..=self.device_us;
        if of_this_clock.contains(&device_time.0) {
            self.correct(device_time)
        } else {
            device_time.0
        }
    }

    pub(super) fn captured_us(&self) -> i64 {
        self.correct(UtcMicros(self.device_us))
    }

    /// When this boot began: as a clock record said, or, where the device's own time cannot be right, by arrival.
    fn began_us(&self, connection: &Connection, place: &Place<'_>) -> Result<Option<i64>> {
        let (device, boot) = (place.accepted.device, id16(self.boot));
        let known: Option<(i64, Option<i64>)> = connection
            .prepare_cached(
                "select began_us, learned_at_boottime_us from boot where device = ?1 and boot = ?2",
            )?
            .query_row((id16(device.0), boot), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let guessed = match known {
            Some((began, Some(_))) => return Ok(Some(began)),
            Some((began, None)) => Some(began),
            None if is_plausible(connection, place, self.device_us)? => return Ok(None),
            None => None,
        };
        let latest = place.at.0.saturating_sub(self.boottime_us);
        match guessed {
            Some(began) if latest > began - GUESS_STEP_US => Ok(Some(began)),
            _ => {
                connection
                    .prepare_cached(
                        "insert into boot (device, boot, began_us) values (?1, ?2, ?3)
                         on conflict (device, boot) do update set began_us = excluded.began_us",
                    )?
                    .execute((id16(device.0), boot, latest))?;
                move_to(connection, device, self.boot, latest)?;
                Ok(Some(latest))
            }
        }
    }
}

/// Whether a device can have seen something then: neither long before it was enrolled, nor after it told of it.
fn is_plausible(connection: &Connection, place: &Place<'_>, at_us: i64) -> Result<bool> {
    if at_us.saturating_sub(place.at.0) > FUTURE_US {
        return Ok(false);
    }
    let enrolled: Option<i64> = connection
        .prepare_cached("select enrolled_us from device where id = ?1")?
        .query_row([id16(place.accepted.device.0)], |row| row.get(0))
        .optional()?;
    Ok(enrolled.is_none_or(|at| at_us >= at.saturating_sub(BEFORE_ENROLLMENT_US)))
}

/// The clock became right: says when this boot began, and corrects what was recorded before it was right.
pub(super) fn store(
    connection: &Connection,
    place: &Place<'_>,
    time: &RecordTime,
    clock: &ClockRecord,
    news: &mut Told,
) -> Result<()> {
    if !is_synced(clock.after.state) {
        return Ok(());
    }
    let boottime_us = boottime_us(time);
    let began_us = time
        .captured_at_us
        .plus_us(clock.after.offset_us)
        .plus_us(-boottime_us)
        .0;
    let (device, boot) = (place.accepted.device, time.boot_id.0);
    let learned = connection
        .prepare_cached(
            "insert into boot (device, boot, began_us, learned_at_boottime_us)
             values (?1, ?2, ?3, ?4)
             on conflict (device, boot) do update set began_us = excluded.began_us,
                learned_at_boottime_us = excluded.learned_at_boottime_us
             where boot.learned_at_boottime_us is null
                or excluded.learned_at_boottime_us < boot.learned_at_boottime_us",
        )?
        .execute((id16(device.0), id16(boot), began_us, boottime_us))?;
    if learned > 0 {
        move_to(connection, device, boot, began_us)?;
        news.push((place.accepted.contract, News::Corrected));
    }
    Ok(())
}

/// Corrects all that was recorded in a boot while its clock was not to be trusted.
fn move_to(connection: &Connection, device: DeviceId, boot: Uuid, began_us: i64) -> Result<()> {
    const CORRECTIONS: [&str; 7] = [
        // The tags' times are those of their events: first, because the right-hand side sees events as they were.
        "update event_tag set opened_us = m.new_us
         from (select contract, id, opened_device_us + (?3 + boottime_us - captured_device_us) as new_us from event
               where device = ?1 and boot = ?2 and synced = 0) m
         where event_tag.contract = m.contract and event_tag.event = m.id",
        // Right-hand sides see the row as it was, so that every time of an event shifts by the same amount.
        "update event set
            last_seen_us = last_seen_us + (?3 + boottime_us - captured_device_us) - (opened_us - opened_device_us),
            closed_us = closed_us + (?3 + boottime_us - captured_device_us) - (opened_us - opened_device_us),
            opened_us = opened_device_us + (?3 + boottime_us - captured_device_us)
         where device = ?1 and boot = ?2 and synced = 0",
        "update media set captured_us = ?3 + boottime_us
         where device = ?1 and boot = ?2 and synced = 0",
        "update camera_state set state_us = ?3 + boottime_us
         where device = ?1 and boot = ?2 and synced = 0",
        "update state_change set at_us = ?3 + boottime_us
         where device = ?1 and boot = ?2 and synced = 0",
        "update minute_count set minute_us = minute_device_us + (?3 + boottime_us - captured_device_us)
         where device = ?1 and boot = ?2 and synced = 0",
        // As `Corrected::span` does.
        "update gap set
            from_us = iif(when_known, from_device_us, ?3 + boottime_us) + iif(when_known and
                from_device_us between captured_device_us - boottime_us and captured_device_us,
                ?3 + boottime_us - captured_device_us, 0),
            to_us = iif(when_known, to_device_us, ?3 + boottime_us) + iif(when_known and
                to_device_us between captured_device_us - boottime_us and captured_device_us,
                ?3 + boottime_us - captured_device_us, 0)
         where device = ?1 and boot = ?2 and synced = 0",
    ];
    hours::take_out(connection, device, boot)?;
    for correction in CORRECTIONS {
        connection
            .prepare_cached(correction)?
            .execute((id16(device.0), id16(boot), began_us))?;
    }
    hours::put_back(connection, device, boot)
}

fn is_synced(state: ClockState) -> bool {
    matches!(state, ClockState::Synced | ClockState::Holdover)
}

fn boottime_us(time: &RecordTime) -> i64 {
    i64::try_from(time.boottime_ns / 1000).unwrap_or(i64::MAX)
}
