//! The outbox's rows. [`insert`] runs in the transaction of what a message tells of: both are there, or neither.

use super::{SqliteStore, changes, damaged, id16, optional_time_at, time_at};
use crate::seal::{Name, Purpose};
use crate::store::{
    Letter, MailBook, MailChoice, MailRow, NewMail, Note, Outcome, Result, StoreError,
};
use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// A message whose letter is sealed already, so that the writer's thread needs no key.
#[derive(Debug)]
pub(super) struct SealedMail {
    id: Uuid,
    contract: Option<ContractId>,
    kind: &'static str,
    about: Option<Uuid>,
    letter: Vec<u8>,
}

/// Letter and outcome have names of their own, so that neither opens in the other's place.
fn name(contract: ContractId, id: Uuid, part: &str) -> Name {
    Name {
        contract,
        device: DeviceId(Uuid::nil()),
        purpose: Purpose::Mail,
        hash: Sha256::of(&[id.as_bytes(), part.as_bytes()].concat()),
    }
}

/// To be called in the writer's transaction.
pub(super) fn insert(connection: &Connection, mail: &[SealedMail], at: UtcMicros) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "insert into mail (id, contract, kind, about, created_us, offered_us, due_us, letter)
         values (?1, ?2, ?3, ?4, ?5, ?5, ?5, ?6)",
    )?;
    for mail in mail {
        statement.execute((
            id16(mail.id),
            mail.contract.map(|contract| id16(contract.0)),
            mail.kind,
            mail.about.map(id16),
            at.0,
            &mail.letter,
        ))?;
    }
    if !mail.is_empty() {
        // The receiver may be another process; it need not find out by itself.
        changes::bump(connection)?;
    }
    Ok(())
}

/// The same of messages that are found by what only the transaction knows.
pub(super) fn insert_about(
    connection: &Connection,
    mut mail: Vec<SealedMail>,
    about: Option<Uuid>,
    at: UtcMicros,
) -> Result<()> {
    for mail in &mut mail {
        mail.about = about;
    }
    insert(connection, &mail, at)
}

/// A row as it lies there.
struct Lying {
    row: MailRow,
    letter: Vec<u8>,
    outcome: Option<Vec<u8>>,
}

const COLUMNS: &str =
    "no, id, contract, kind, about, created_us, due_us, attempts, tried_us, taken_us, taken_by,
     given_up_us, letter, outcome, offered_us";

fn lying(row: &Row<'_>) -> rusqlite::Result<Lying> {
    let id = |index| -> rusqlite::Result<Option<Uuid>> {
        Ok(row.get::<_, Option<[u8; 16]>>(index)?.map(Uuid::from_bytes))
    };
    Ok(Lying {
        row: MailRow {
            no: row.get::<_, i64>(0)?.cast_unsigned(),
            id: id(1)?.unwrap_or_default(),
            contract: id(2)?.map(ContractId),
            kind: row.get(3)?,
            about: id(4)?,
            created_us: time_at(row, 5)?,
            offered_us: time_at(row, 14)?,
            due_us: time_at(row, 6)?,
            attempts: row.get(7)?,
            tried_us: optional_time_at(row, 8)?,
            taken_us: optional_time_at(row, 9)?,
            taken_by: row.get(10)?,
            given_up_us: optional_time_at(row, 11)?,
            letter: Letter::default(),
            outcome: Outcome::default(),
        },
        letter: row.get(12)?,
        outcome: row.get(13)?,
    })
}

fn listed(connection: &Connection, condition: &str, values: Vec<Value>) -> Result<Vec<Lying>> {
    let mut statement =
        connection.prepare_cached(&format!("select {COLUMNS} from mail where {condition}"))?;
    let rows = statement.query_map(params_from_iter(values), lying)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl SqliteStore {
    /// Messages ready for [`insert`].
    pub(super) async fn sealed_mail(&self, mail: Vec<NewMail>) -> Result<Vec<SealedMail>> {
        let mut sealed = Vec::with_capacity(mail.len());
        for new in mail {
            let id = Uuid::new_v4();
            sealed.push(SealedMail {
                id,
                contract: new.contract,
                kind: new.kind.word(),
                about: new.about,
                letter: self
                    .seal_part(new.contract, id, "letter", &new.letter)
                    .await?,
            });
        }
        Ok(sealed)
    }

    async fn seal_part(
        &self,
        contract: Option<ContractId>,
        id: Uuid,
        part: &str,
        value: &impl Serialize,
    ) -> Result<Vec<u8>> {
        let json =
            serde_json::to_vec(value).map_err(|error| StoreError::Database(error.to_string()))?;
        Ok(match contract {
            Some(contract) => self
                .key(contract)
                .await?
                .seal(&name(contract, id, part), &json),
            None => json,
        })
    }

    async fn open_part<T: DeserializeOwned>(
        &self,
        row: &MailRow,
        part: &str,
        bytes: &[u8],
    ) -> Result<T> {
        let json = match row.contract {
            Some(contract) => self
                .key(contract)
                .await?
                .open(&name(contract, row.id, part), bytes)
                .map_err(damaged("a message"))?,
            None => bytes.to_vec(),
        };
        serde_json::from_slice(&json)
            .map_err(|error| StoreError::Corrupt(format!("message {}: {error}", row.no)))
    }

    async fn opened_row(&self, mut lying: Lying) -> Result<MailRow> {
        lying.row.letter = self.open_part(&lying.row, "letter", &lying.letter).await?;
        if let Some(outcome) = &lying.outcome {
            lying.row.outcome = self.open_part(&lying.row, "outcome", outcome).await?;
        }
        Ok(lying.row)
    }

    /// Those that can be read, and the numbers of those that cannot: their contract's key is gone, or they are damaged. One
    /// of them must not stand in the way of all others.
    async fn opened(&self, rows: Vec<Lying>) -> Result<(Vec<MailRow>, Vec<u64>)> {
        let (mut opened, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for lying in rows {
            let no = lying.row.no;
            match self.opened_row(lying).await {
                Ok(row) => opened.push(row),
                Err(StoreError::Missing(_)) => unreadable.push(no),
                Err(StoreError::Corrupt(problem)) => {
                    tracing::error!(mail.no = no, "message {no} cannot be read: {problem}");
                    unreadable.push(no);
                }
                // Of the database as a whole.
                Err(error) => return Err(error),
            }
        }
        Ok((opened, unreadable))
    }

    async fn give_up(&self, numbers: Vec<u64>, at: UtcMicros) -> Result<()> {
        for no in &numbers {
            tracing::error!(
                mail.no = no,
                "message {no} is given up, because it cannot be read"
            );
        }
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "update mail set given_up_us = ?2 where no = ?1 and taken_us is null and given_up_us is null",
            )?;
            for no in numbers {
                statement.execute((no.cast_signed(), at.0))?;
            }
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl MailBook for SqliteStore {
    async fn add_mail(&self, mail: Vec<NewMail>, at: UtcMicros) -> Result<()> {
        let sealed = self.sealed_mail(mail).await?;
        self.write(move |connection| insert(connection, &sealed, at))
            .await
    }

    async fn mail(&self, choice: MailChoice) -> Result<Vec<MailRow>> {
        let number = |number: i64| vec![Value::Integer(number)];
        let (condition, values) = match choice {
            MailChoice::Waiting => (
                "taken_us is null and given_up_us is null order by no",
                Vec::new(),
            ),
            MailChoice::GivenUp => ("given_up_us is not null order by no", Vec::new()),
            MailChoice::About(id) => (
                "about = ?1 order by no",
                vec![Value::Blob(id16(id).to_vec())],
            ),
            MailChoice::One(no) => ("no = ?1", number(no.cast_signed())),
            MailChoice::Newest(limit) => (
                "no in (select no from mail order by no desc limit ?1) order by no",
                number(limit.into()),
            ),
        };
        let rows = self
            .read(move |connection| listed(connection, condition, values))
            .await?;
        Ok(self.opened(rows).await?.0)
    }

    async fn mail_due(&self, at: UtcMicros, limit: u32) -> Result<Vec<MailRow>> {
        loop {
            let values = vec![Value::Integer(at.0), Value::Integer(limit.into())];
            let rows = self
                .read(move |connection| {
                    let waiting = "taken_us is null and given_up_us is null and due_us <= ?1";
                    listed(
                        connection,
                        &format!("{waiting} order by due_us, no limit ?2"),
                        values,
                    )
                })
                .await?;
            let (opened, unreadable) = self.opened(rows).await?;
            let is_all = unreadable.is_empty();
            if !is_all {
                self.give_up(unreadable, at).await?;
            }
            // Nothing is due only if nothing was found, not if nothing of it could be read.
            if is_all || !opened.is_empty() {
                return Ok(opened);
            }
        }
    }

    async fn next_mail_due(&self) -> Result<Option<UtcMicros>> {
        self.read(|connection| {
            Ok(connection.query_row(
                "select min(due_us) from mail where taken_us is null and given_up_us is null",
                [],
                |row| optional_time_at(row, 0),
            )?)
        })
        .await
    }

    async fn mail_taken(&self, row: &MailRow, by: &str, answer: &str, at: UtcMicros) -> Result<()> {
        let outcome = Outcome {
            answer: Some(answer.to_owned()),
            ..row.outcome.clone()
        };
        let sealed = self
            .seal_part(row.contract, row.id, "outcome", &outcome)
            .await?;
        let (no, by) = (row.no.cast_signed(), by.to_owned());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "update mail set taken_us = ?2, tried_us = ?2, taken_by = ?3, outcome = ?4, attempts = attempts + 1
                     where no = ?1 and taken_us is null and given_up_us is null",
                )?
                .execute((no, at.0, by, sealed))?;
            Ok(())
        })
        .await
    }

    async fn mail_failed(
        &self,
        row: &MailRow,
        problem: &str,
        again: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<()> {
        let outcome = Outcome {
            problem: Some(problem.to_owned()),
            ..row.outcome.clone()
        };
        let sealed = self
            .seal_part(row.contract, row.id, "outcome", &outcome)
            .await?;
        let no = row.no.cast_signed();
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "update mail set tried_us = ?2, outcome = ?3, attempts = attempts + 1,
                                     due_us = coalesce(?4, due_us), given_up_us = iif(?4 is null, ?2, null)
                     where no = ?1 and taken_us is null and given_up_us is null",
                )?
                .execute((no, at.0, sealed, again.map(|again| again.0)))?;
            Ok(())
        })
        .await
    }

    async fn retry_mail(&self, numbers: Vec<u64>, at: UtcMicros) -> Result<u64> {
        let note = Note::new("mail.retry").with("numbers", numbers.clone());
        self.write_noted(note, at, move |connection| {
            let mut changed = 0;
            for no in numbers {
                // Three more days from now: else it would be given up again at the first failure.
                changed += connection.execute(
                    "update mail set due_us = ?2, given_up_us = null, offered_us = ?2
                     where no = ?1 and taken_us is null",
                    (no.cast_signed(), at.0),
                )?;
            }
            changes::bump(connection)?;
            Ok(changed as u64)
        })
        .await
    }

    async fn forget_mail(&self, events: UtcMicros, alerts: UtcMicros) -> Result<u64> {
        self.write(move |connection| {
            let gone = connection
                .prepare_cached(
                    "delete from mail where (taken_us is not null or given_up_us is not null)
                     and (kind in ('event', 'confirm') and created_us < ?1
                          or kind = 'alert' and contract is null and coalesce(taken_us, given_up_us) < ?2)",
                )?
                .execute((events.0, alerts.0))?;
            Ok(gone as u64)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
