//! What can be agreed in a contract, and what a change of it deletes.

use super::{Refusal, labels};
use crate::config::Config;
use crate::keys::KeyBackupFile;
use crate::portal::words::Lang;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, ErasureBook, Retention, Terms};
use anyhow::Context;
use jiff::tz::TimeZone;
use std::ops::RangeInclusive;
use wire::{ContractId, MediaClass, UtcMicros};

pub const SILENT_AFTER_MINUTES: RangeInclusive<u32> = 2..=10_080;
pub const CLOCK_OFF_MS: RangeInclusive<u64> = 10..=86_400_000;
pub const KEPT_DAYS: RangeInclusive<u32> = 1..=36_500;

/// Adds a contract with a data key of its own, which stands in the key backup before anything is sealed under it.
pub async fn add_contract(
    store: &SqliteStore,
    config: &Config,
    name: &str,
    at: UtcMicros,
) -> super::Result<ContractId> {
    let name = labels::name("--name", name)?;
    let id = store.add_contract(&name, at).await?;
    let backup = KeyBackupFile::at(config.key_backup_at());
    let kept = store.write_key_backup(&backup).await;
    kept.with_context(|| {
        format!("contract \"{name}\" was added ({id}), but its key is in no backup")
    })?;
    Ok(id)
}

/// What can be kept for a number of days of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Pictures(MediaClass),
    /// Events, counts and all other records; as long as a picture of theirs, if that is longer.
    Records,
}

/// Each with the days for which it is kept; absent: as long as the contract lasts.
pub fn kept(retention: &Retention) -> [(Kept, Option<u32>); 5] {
    [
        (
            Kept::Pictures(MediaClass::Snapshot),
            retention.snapshots_days,
        ),
        (
            Kept::Pictures(MediaClass::Periodic),
            retention.periodic_days,
        ),
        (
            Kept::Pictures(MediaClass::Requested),
            retention.requested_days,
        ),
        (Kept::Pictures(MediaClass::Clip), retention.clips_days),
        (Kept::Records, retention.records_days),
    ]
}

/// Whether it can be agreed.
pub fn check(terms: &Terms) -> Result<(), Refusal> {
    if Lang::from_code(&terms.language).is_none() {
        return Err(Refusal::Language);
    }
    if TimeZone::get(&terms.zone).is_err() {
        return Err(Refusal::Zone(terms.zone.clone()));
    }
    let is_address = |contact: &&String| {
        let parts = contact.split_once('@');
        parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
            && !contact.contains(char::is_whitespace)
            // What mail cannot be sent to must not stop a notice later.
            && crate::mail::check(contact).is_ok()
    };
    if let Some(wrong) = terms.contacts.iter().find(|contact| !is_address(contact)) {
        return Err(Refusal::Address(wrong.clone()));
    }
    let days = kept(&terms.retention);
    let bounded = [
        (
            "--silent-after",
            SILENT_AFTER_MINUTES.contains(&terms.silent_after_minutes),
        ),
        ("--clock-off", CLOCK_OFF_MS.contains(&terms.clock_off_ms)),
        (
            "--keep",
            days.iter()
                .all(|(_, days)| days.is_none_or(|days| KEPT_DAYS.contains(&days))),
        ),
    ];
    match bounded.into_iter().find(|(_, is_good)| !is_good) {
        Some((option, _)) => Err(Refusal::OutOfRange(option)),
        None => Ok(()),
    }
}

/// What would be kept for less long: what is older of it is deleted soon after.
pub fn shortened(before: &Retention, after: &Retention) -> Vec<(Kept, u32)> {
    let both = kept(before).into_iter().zip(kept(after));
    both.filter_map(|((_, before), (class, after))| {
        let after = after?;
        before
            .is_none_or(|before| after < before)
            .then_some((class, after))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_kept_for_less_long_is_asked_for() {
        let days = |snapshots_days, periodic_days| Retention {
            snapshots_days,
            periodic_days,
            ..Retention::default()
        };
        let pictures = Kept::Pictures;
        let check = |before, after, expected: &[(Kept, u32)]| {
            assert_eq!(shortened(&before, &after), expected);
        };
        check(days(None, None), days(None, None), &[]);
        check(
            days(None, None),
            days(Some(90), None),
            &[(pictures(MediaClass::Snapshot), 90)],
        );
        let records = |days| Retention {
            records_days: days,
            ..Retention::default()
        };
        check(records(Some(30)), records(None), &[]);
        check(records(None), records(Some(30)), &[(Kept::Records, 30)]);
        check(days(Some(90), Some(7)), days(Some(91), None), &[]);
        check(
            days(Some(90), Some(7)),
            days(Some(89), Some(6)),
            &[
                (pictures(MediaClass::Snapshot), 89),
                (pictures(MediaClass::Periodic), 6),
            ],
        );
    }

    #[test]
    fn what_cannot_be_agreed_is_named() {
        let with = |change: fn(&mut Terms)| {
            let mut terms = Terms::default();
            change(&mut terms);
            check(&terms)
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(
            with(|terms| terms.zone = "Mars/Olympus".into()),
            Err(Refusal::Zone("Mars/Olympus".into()))
        );
        assert_eq!(
            with(|terms| terms.contacts = vec!["a@example.jp".into(), "nobody".into()]),
            Err(Refusal::Address("nobody".into()))
        );
        assert_eq!(
            with(|terms| terms.silent_after_minutes = 1),
            Err(Refusal::OutOfRange("--silent-after"))
        );
        assert_eq!(
            with(|terms| terms.retention.clips_days = Some(0)),
            Err(Refusal::OutOfRange("--keep"))
        );
        assert_eq!(
            with(|terms| terms.language = "fr".into()),
            Err(Refusal::Language)
        );
    }
}
