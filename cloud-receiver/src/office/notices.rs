//! Telling customers of maintenance and incidents: what may be told when, to whom, and the letters of it.

use super::{Refusal, Result, worded};
use crate::config::Config;
use crate::notice::{self, DAY_US, Letters, NOTICE_DAYS, Occasion, Sender, Templates};
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, ContractDetail, NoticeBook, NoticeEnd, NoticeKind, NoticeRow};
use uuid::Uuid;
use wire::{ContractId, UtcMicros};

/// Maintenance as it is to be told.
#[derive(Clone, Debug)]
pub struct Planned {
    pub from: UtcMicros,
    pub to: UtcMicros,
    pub impact: String,
    pub impact_en: Option<String>,
    /// Why it cannot wait the promised time; absent: it can.
    pub urgent_why: Option<String>,
}

impl Planned {
    pub fn row(&self, at: UtcMicros) -> std::result::Result<NoticeRow, Refusal> {
        if self.from >= self.to {
            return Err(Refusal::EndsBeforeItBegins);
        }
        if self.from <= at {
            return Err(Refusal::Past(self.from));
        }
        let urgent_why = self.urgent_why.as_deref();
        let urgent_why = urgent_why.map(|why| worded("--why", why)).transpose()?;
        if urgent_why.is_none() && self.from.since_us(at) < NOTICE_DAYS * DAY_US {
            return Err(Refusal::TooSoon {
                from: self.from,
                at,
            });
        }
        Ok(NoticeRow {
            id: Uuid::new_v4(),
            kind: NoticeKind::Maintenance,
            from_us: self.from,
            to_us: Some(self.to),
            what: worded("--impact", &self.impact)?,
            what_en: english("--impact-en", self.impact_en.as_deref())?,
            urgent_why,
            created_us: at,
            cancelled_us: None,
            closed_us: None,
        })
    }
}

/// An incident as it is to be told.
#[derive(Clone, Debug)]
pub struct Happened {
    pub since: UtcMicros,
    pub what: String,
    pub what_en: Option<String>,
}

impl Happened {
    pub fn row(&self, at: UtcMicros) -> std::result::Result<NoticeRow, Refusal> {
        if self.since > at {
            return Err(Refusal::Future(self.since));
        }
        Ok(NoticeRow {
            id: Uuid::new_v4(),
            kind: NoticeKind::Incident,
            from_us: self.since,
            to_us: None,
            what: worded("--what", &self.what)?,
            what_en: english("--what-en", self.what_en.as_deref())?,
            urgent_why: None,
            created_us: at,
            cancelled_us: None,
            closed_us: None,
        })
    }
}

fn english(
    option: &'static str,
    text: Option<&str>,
) -> std::result::Result<Option<String>, Refusal> {
    text.map(|text| worded(option, text)).transpose()
}

/// The contracts that are named; or, where none is, all whose period is not over.
pub async fn concerned(
    store: &SqliteStore,
    named: &[ContractId],
    at: UtcMicros,
) -> Result<Vec<ContractDetail>> {
    let mut ids: Vec<ContractId> = Vec::new();
    for id in named {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    if named.is_empty() {
        let all = store.contracts().await?;
        ids = all.into_iter().map(|row| row.id).collect();
    }
    let mut contracts = notice::in_full(store, &ids).await?;
    contracts
        .retain(|contract| !named.is_empty() || contract.until_us.is_none_or(|until| until > at));
    if contracts.is_empty() {
        return Err(Refusal::NobodyConcerned.into());
    }
    Ok(contracts)
}

/// What would go out. Every address is looked at before anything does.
pub fn letters(
    config: &Config,
    row: &NoticeRow,
    occasion: Occasion,
    contracts: &[ContractDetail],
    at: UtcMicros,
) -> Result<Letters> {
    let templates = Templates::load(&config.letters())?;
    let sender = Sender::of(config);
    let letters = notice::letters(&templates, &sender, row, occasion, contracts, at)?;
    for mail in &letters.mail {
        crate::mail::check(&mail.letter.to)?;
    }
    Ok(letters)
}

/// The notice and all its mail, in one commit.
pub async fn give(
    store: &SqliteStore,
    row: &NoticeRow,
    contracts: &[ContractDetail],
    letters: &Letters,
) -> Result<()> {
    let ids = contracts.iter().map(|contract| contract.id).collect();
    store.add_notice(row, ids, letters.mail.clone()).await?;
    Ok(())
}

/// A notice as it will be after its end, and whom that is told.
#[derive(Clone, Debug)]
pub struct Ended {
    pub row: NoticeRow,
    pub end: NoticeEnd,
    pub occasion: Occasion,
    pub at: UtcMicros,
    pub contracts: Vec<ContractDetail>,
}

/// Maintenance is cancelled, an incident closed; nothing is written yet. `ended`: when the incident was over.
pub async fn ended(
    store: &SqliteStore,
    mut row: NoticeRow,
    ended: UtcMicros,
    now: UtcMicros,
) -> Result<Ended> {
    let (end, occasion) = match row.kind {
        NoticeKind::Maintenance => (NoticeEnd::Cancelled, Occasion::Cancelled),
        NoticeKind::Incident => (NoticeEnd::Closed, Occasion::Closed),
    };
    if ended > now || row.kind == NoticeKind::Incident && ended < row.from_us {
        return Err(Refusal::EndedWhen.into());
    }
    if !row.is_current(now) {
        return Err(Refusal::NoticeOver(row.id).into());
    }
    match end {
        NoticeEnd::Cancelled => row.cancelled_us = Some(ended),
        NoticeEnd::Closed => row.closed_us = Some(ended),
    }
    let ids = store.notice_contracts(row.id).await?;
    let contracts = notice::in_full(store, &ids).await?;
    Ok(Ended {
        row,
        end,
        occasion,
        at: ended,
        contracts,
    })
}

/// The end and all its mail, in one commit.
pub async fn end(store: &SqliteStore, ended: &Ended, letters: &Letters) -> Result<()> {
    let (id, mail) = (ended.row.id, letters.mail.clone());
    store.end_notice(id, ended.end, mail, ended.at).await?;
    Ok(())
}
