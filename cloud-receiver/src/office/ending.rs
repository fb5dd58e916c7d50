//! How a contract ends: its last day, the word that work is done, holds, and erasing before the time.

use super::{Error, Refusal, Result, worded};
use crate::config::Config;
use crate::erasure::standing::Due;
use crate::erasure::{self, Erasing, Standing};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    ContractBook, ContractDetail, ContractRow, Ending, ErasureBook, Hold, NewErasure, StoreError,
    Terms,
};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;
use wire::evidence::erasure::Order;
use wire::{ContractId, UtcMicros};

/// The first moment after a day.
pub fn end_of(day: Date, terms: &Terms) -> anyhow::Result<UtcMicros> {
    let zone = TimeZone::get(&terms.zone)?;
    let after = day.tomorrow()?.to_zoned(zone)?;
    Ok(UtcMicros(after.timestamp().as_microsecond()))
}

/// The day that ends at a moment.
pub fn last_day(until: UtcMicros, terms: &Terms) -> anyhow::Result<Date> {
    let zone = TimeZone::get(&terms.zone)?;
    let last = jiff::Timestamp::from_microsecond(until.0 - 1)?;
    Ok(last.to_zoned(zone).date())
}

/// Lets the period run until another, later day.
pub async fn extend(
    store: &SqliteStore,
    detail: &mut ContractDetail,
    day: Date,
    at: UtcMicros,
) -> Result<()> {
    let until = end_of(day, &detail.terms)?;
    if let Some(before) = detail.until_us.filter(|before| until <= *before) {
        return Err(Refusal::RunsAlready(last_day(before, &detail.terms)?).into());
    }
    store.set_until(detail.id, Some(until), at).await?;
    detail.until_us = Some(until);
    Ok(())
}

/// When what a contract has must be erased once somebody says that work is done; `None` where it has no last day, work is
/// done already, or it is on its way out.
pub fn due_once_done(
    ending: &Ending,
    config: &Config,
    at: UtcMicros,
) -> anyhow::Result<Option<Due>> {
    let (Some(until), None) = (ending.until_us, ending.done_us) else {
        return Ok(None);
    };
    let done = Ending {
        done_us: Some(at),
        ..ending.clone()
    };
    let then = until.max(at);
    let standing = Standing::of(&done, erasure::rules(&config.erasure), then)?;
    Ok(match standing {
        Standing::Due(due) | Standing::Held { due, .. } => Some(due),
        _ => None,
    })
}

/// Whether saying that work is done sets the erasure going, and must be asked for.
pub fn done_erases(ending: &Ending, at: UtcMicros) -> bool {
    ending.done_us.is_none() && ending.until_us.is_some_and(|until| until <= at)
}

/// Says that work is done, or is not after all. Said twice, the first time counts: the promise runs from there.
pub async fn set_done(
    store: &SqliteStore,
    contract: ContractId,
    done: bool,
    at: UtcMicros,
) -> Result<()> {
    let before = ending_of(store, contract).await?.done_us;
    if before.is_some() != done {
        store.set_done(contract, done.then_some(at), at).await?;
    }
    Ok(())
}

pub async fn ending_of(store: &SqliteStore, contract: ContractId) -> Result<Ending> {
    let endings = store.endings().await?;
    let found = endings
        .into_iter()
        .find(|ending| ending.contract == contract);
    found.ok_or(Error::Store(StoreError::Missing("contract")))
}

pub async fn standing_of(
    store: &SqliteStore,
    config: &Config,
    contract: ContractId,
    at: UtcMicros,
) -> Result<(Ending, Standing)> {
    let ending = ending_of(store, contract).await?;
    let standing = Standing::of(&ending, erasure::rules(&config.erasure), at)?;
    Ok((ending, standing))
}

/// What an erasure would erase.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub contract: ContractId,
    #[serde(flatten)]
    pub standing: Standing,
    pub counts: BTreeMap<String, u64>,
}

pub async fn plan(erasing: &Erasing, contract: ContractId, standing: Standing) -> Result<Plan> {
    let mut counts = erasing.store.holdings_of(contract).await?;
    let objects = erasing.blobs.objects_of(contract).await;
    counts.insert("object".into(), objects.map_err(anyhow::Error::from)?);
    Ok(Plan {
        contract,
        standing,
        counts,
    })
}

/// How erasing was asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Though the contract goes on: the customer asked for it, who and how.
    pub on_request: Option<String>,
    /// How long devices may take to answer; else as configured.
    pub wait_us: Option<i64>,
}

/// Whether it may begin: refused where holds keep it, or where it is not due and nobody asked for it.
pub fn may_begin(name: &str, standing: &Standing, wish: &Wish) -> std::result::Result<(), Refusal> {
    match standing {
        Standing::Held { holds, .. } => Err(Refusal::Held(*holds, name.to_owned())),
        Standing::Running | Standing::AwaitingWork if wish.on_request.is_none() => {
            Err(Refusal::NotDue(name.to_owned(), words(standing)))
        }
        // Of one that has not ended yet, holds are counted when it begins.
        _ => Ok(()),
    }
}

/// Writes the order down. From then on it cannot be undone, and the running receiver carries it out.
pub async fn begin(
    erasing: &Erasing,
    contract: &ContractRow,
    standing: &Standing,
    wish: Wish,
    at: UtcMicros,
) -> Result<()> {
    may_begin(&contract.name, standing, &wish)?;
    let due = match standing {
        Standing::Erasing { .. } => return Ok(()),
        Standing::Due(due) => Some(due),
        _ => None,
    };
    let holds = ending_of(&erasing.store, contract.id).await?.holds;
    if holds > 0 {
        return Err(Refusal::Held(holds, contract.name.clone()).into());
    }
    let on_request = wish.on_request.is_some();
    let reason = if on_request {
        "on_request"
    } else {
        "period_over"
    };
    let actor = erasing.store.actor();
    let order = Order {
        reason: reason.into(),
        why: wish.on_request,
        actor: actor.kind().into(),
        actor_name: actor.name(),
        at_us: at,
    };
    let wait_us = wish.wait_us.unwrap_or(erasing.wait_for_devices_us);
    let erasure = NewErasure {
        contract: contract.id,
        order,
        wait_until_us: at.plus_us(wait_us),
        due_us: due.map(|due| due.by_us),
        must_be_over: !on_request,
    };
    erasing.begin(erasure, at).await?;
    Ok(())
}

/// Keeps something until the hold is lifted.
pub async fn place(store: &SqliteStore, mut hold: Hold) -> Result<Hold> {
    hold.why = worded("--why", &hold.why)?;
    if let (Some(from), Some(to)) = (hold.from_us, hold.to_us)
        && from >= to
    {
        return Err(Refusal::HoldEndsBeforeItBegins.into());
    }
    store.add_hold(hold.clone()).await?;
    Ok(hold)
}

/// Where it stands, for the command line.
pub fn words(standing: &Standing) -> String {
    match standing {
        Standing::Running => "running".into(),
        Standing::AwaitingWork => {
            "the period is over; nobody said that work is done (\"contract done\")".into()
        }
        Standing::Due(due) => format!(
            "erased by the end of {} ({} business days left), begins {}",
            due.by,
            due.business_days_left,
            crate::evidence::local::time(due.begins_us)
        ),
        Standing::Held { holds, due } => {
            format!(
                "due on {}, but {holds} hold(s) keep it (\"hold list\")",
                due.by
            )
        }
        Standing::Erasing { step } => format!("being erased, next: {}", step.as_str()),
    }
}
