//! Where a contract stands on its way to erasure. Pure: the moment comes in.
//!
//! The conditions of clause 11 are that the period is over, was not extended, and that work is done. From the day on which
//! the last of them comes true, three business days may pass; that day itself does not count (民法 140 条), but a period
//! that ends at midnight has ended the day before.

use crate::config;
use crate::store::{Ending, Step};
use anyhow::Context;
use calendar::BusinessDays;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use wire::UtcMicros;

/// What the white paper promises.
pub const BUSINESS_DAYS: u32 = 3;
/// Business days are Japan's, wherever the customer's cameras are.
const ZONE: &str = "Asia/Tokyo";

/// What the configuration decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub calendar: BusinessDays,
    /// So many whole business days pass before it begins, so that a mistaken date can be mended.
    pub after_business_days: u32,
}

pub fn rules(config: &config::Erasure) -> Rules {
    Rules {
        calendar: BusinessDays {
            closed_at_year_end: config.closed_at_year_end,
        },
        after_business_days: config.after_business_days,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    Running,
    /// The period is over, and nobody said that work is done.
    AwaitingWork,
    /// To be erased.
    Due(Due),
    /// It would be, but for holds.
    Held {
        holds: u64,
        due: Due,
    },
    Erasing {
        step: Step,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// When it begins.
    pub begins_us: UtcMicros,
    /// The last day on which it keeps the promise.
    pub by: Date,
    /// The end of that day.
    pub by_us: UtcMicros,
    /// How many business days are left, that one included; 0 on it and after it.
    pub business_days_left: u32,
}

impl Standing {
    pub fn of(ending: &Ending, rules: Rules, now: UtcMicros) -> anyhow::Result<Self> {
        if let Some(step) = ending.step {
            return Ok(Self::Erasing { step });
        }
        let over = ending.until_us.filter(|until| *until <= now);
        let (Some(over), done) = (over, ending.done_us) else {
            return Ok(Self::Running);
        };
        let Some(done) = done else {
            return Ok(Self::AwaitingWork);
        };
        let due = Due::of(over.max(done), rules, now)?;
        Ok(match ending.holds {
            0 => Self::Due(due),
            holds => Self::Held { holds, due },
        })
    }
}

impl Due {
    /// `met`: when the last condition came true.
    fn of(met: UtcMicros, rules: Rules, now: UtcMicros) -> anyhow::Result<Self> {
        let last_day = day_of(met.plus_us(-1))?;
        let after = |count| {
            let day = rules.calendar.after(last_day, count);
            day.context("the calendar does not reach so far")
        };
        let by = after(BUSINESS_DAYS)?;
        let begins_us = match rules.after_business_days {
            0 => met,
            count => end_of(after(count)?)?,
        };
        Ok(Self {
            begins_us: begins_us.max(met),
            by,
            by_us: end_of(by)?,
            business_days_left: rules.calendar.between(day_of(now)?, by),
        })
    }
}

fn zone() -> anyhow::Result<TimeZone> {
    Ok(TimeZone::get(ZONE)?)
}

fn day_of(at: UtcMicros) -> anyhow::Result<Date> {
    let moment = jiff::Timestamp::from_microsecond(at.0)?;
    Ok(moment.to_zoned(zone()?).date())
}

fn end_of(day: Date) -> anyhow::Result<UtcMicros> {
    let after = day.tomorrow()?.to_zoned(zone()?)?;
    Ok(UtcMicros(after.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;
    use uuid::Uuid;
    use wire::ContractId;

    fn moment(text: &str) -> UtcMicros {
        let zoned = text.parse::<jiff::civil::DateTime>().unwrap();
        let zoned = zoned.to_zoned(zone().unwrap()).unwrap();
        UtcMicros(zoned.timestamp().as_microsecond())
    }

    fn ending(until: Option<&str>, done: Option<&str>) -> Ending {
        Ending {
            contract: ContractId(Uuid::from_u128(1)),
            name: "株式会社例".into(),
            created_us: UtcMicros(0),
            until_us: until.map(moment),
            done_us: done.map(moment),
            holds: 0,
            step: None,
        }
    }

    fn rules(after_business_days: u32, closed_at_year_end: bool) -> Rules {
        Rules {
            calendar: BusinessDays { closed_at_year_end },
            after_business_days,
        }
    }

    fn due(ending: &Ending, rules: Rules, now: &str) -> Due {
        match Standing::of(ending, rules, moment(now)).unwrap() {
            Standing::Due(due) => due,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_due_before_the_period_is_over_and_work_is_done() {
        let rules = rules(1, true);
        let standing =
            |until, done, now| Standing::of(&ending(until, done), rules, moment(now)).unwrap();
        let (over, before, after) = ("2027-04-01T00:00", "2027-03-31T23:59", "2027-04-01T00:00");
        assert_eq!(standing(None, None, after), Standing::Running);
        assert_eq!(standing(None, Some(before), after), Standing::Running);
        assert_eq!(
            standing(Some(over), Some(before), before),
            Standing::Running
        );
        assert_eq!(standing(Some(over), None, after), Standing::AwaitingWork);
        assert!(matches!(
            standing(Some(over), Some(before), after),
            Standing::Due(_)
        ));
    }

    #[test]
    fn the_third_business_day_after_the_last_condition() {
        // The fiscal year ends on Wednesday the 31st at midnight: Thursday is the first day.
        let year = ending(Some("2027-04-01T00:00"), Some("2027-03-20T12:00"));
        let found = due(&year, rules(1, true), "2027-04-01T09:00");
        assert_eq!(found.by, date(2027, 4, 5));
        assert_eq!(found.by_us, moment("2027-04-06T00:00"));
        assert_eq!(found.begins_us, moment("2027-04-02T00:00"));
        assert_eq!(found.business_days_left, 2);
        // At once where nobody wants time to mend.
        let found = due(&year, rules(0, true), "2027-04-01T09:00");
        assert_eq!(found.begins_us, moment("2027-04-01T00:00"));
        // Work done on Monday the 28th, and the year's end between.
        let late = ending(Some("2026-12-01T00:00"), Some("2026-12-28T17:00"));
        let found = due(&late, rules(2, true), "2026-12-28T18:00");
        assert_eq!(found.by, date(2027, 1, 6));
        assert_eq!(found.begins_us, moment("2027-01-06T00:00"));
        assert_eq!(
            due(&late, rules(2, false), "2026-12-28T18:00").by,
            date(2026, 12, 31)
        );
        // What is late says so.
        assert_eq!(
            due(&late, rules(1, true), "2027-02-01T00:00").business_days_left,
            0
        );
    }

    #[test]
    fn a_hold_holds() {
        let mut held = ending(Some("2027-04-01T00:00"), Some("2027-03-20T12:00"));
        held.holds = 2;
        let standing = Standing::of(&held, rules(1, true), moment("2030-01-01T00:00")).unwrap();
        assert!(matches!(standing, Standing::Held { holds: 2, .. }));
    }

    proptest! {
        #[test]
        fn it_begins_early_enough_to_keep_the_promise(
            minutes in 0_i64..4_000_000, after in 0_u32..=2, closed: bool
        ) {
            let met = moment("2020-01-01T00:00").plus_us(minutes * 60_000_000);
            let due = Due::of(met, rules(after, closed), met).unwrap();
            prop_assert!(due.begins_us >= met);
            // A whole day is left for the devices to answer and for the rest.
            prop_assert!(due.by_us.since_us(due.begins_us) >= 24 * 3_600_000_000);
            // Met on a day that counts, or at its end: never more than three of them pass.
            prop_assert!(due.business_days_left <= BUSINESS_DAYS + 1);
        }
    }
}
