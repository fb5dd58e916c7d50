//! What users want to be told of, and what waits to be told.

use super::{SqliteStore, audit, damaged, hash_at, id16, mail, optional_time_at, time_at, uuid_at};
use crate::seal::{Name, Purpose};
use crate::store::{
    Actor, ContractScope, NEXT_QUESTION_US, NewEvent, NewMail, Note, NotifierBook, Question,
    Queued, Result, StoreError, SubscriptionBook, SubscriptionRow, Wishes,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;
use wire::{CameraId, ContractId, DeviceId, EventId, Sha256, SiteId, UtcMicros};

fn name(contract: ContractId, login_id: &str) -> Name {
    Name {
        contract,
        device: DeviceId(Uuid::nil()),
        purpose: Purpose::Subscription,
        hash: Sha256::of(login_id.as_bytes()),
    }
}

const COLUMNS: &str =
    "login_id, contract, confirmed_us, stopped_us, mailed_us, confirm_until_us, sealed";

fn lying(row: &Row<'_>) -> rusqlite::Result<(SubscriptionRow, Vec<u8>)> {
    let subscription = SubscriptionRow {
        login_id: row.get(0)?,
        contract: ContractId(uuid_at(row, 1)?),
        confirmed_us: optional_time_at(row, 2)?,
        stopped_us: optional_time_at(row, 3)?,
        mailed_us: optional_time_at(row, 4)?,
        confirm_until_us: optional_time_at(row, 5)?,
        wishes: Wishes::default(),
    };
    Ok((subscription, row.get(6)?))
}

const EVENT_COLUMNS: &str =
    "e.no, e.id, e.contract, s.id, s.name, e.camera, coalesce(k.name, ''), e.class, e.opened_us,
     e.received_us";
const EVENT_JOINS: &str = "join device d on d.id = e.device join site s on s.id = d.site left join camera_now k on k.id = e.camera";

fn event_at(row: &Row<'_>) -> rusqlite::Result<NewEvent> {
    Ok(NewEvent {
        no: row.get(0)?,
        id: EventId(uuid_at(row, 1)?),
        contract: ContractId(uuid_at(row, 2)?),
        site: SiteId(uuid_at(row, 3)?),
        site_name: row.get(4)?,
        camera: CameraId(uuid_at(row, 5)?),
        camera_name: row.get(6)?,
        class: row.get(7)?,
        opened_us: time_at(row, 8)?,
        received_us: time_at(row, 9)?,
    })
}

/// What the outbox knows a user's mail by. It says nothing to who does not have the token of its links.
fn mark(connection: &Connection, login_id: &str) -> Result<Option<Uuid>> {
    let mark = connection
        .prepare_cached("select substr(stop_hash, 1, 16) from subscription where login_id = ?1")?
        .query_row([login_id], |row| uuid_at(row, 0))
        .optional()?;
    Ok(mark)
}

/// What waits for a user's next mail, and what waits in the outbox, or was given up and could be offered again.
pub(super) fn forget_untaken(connection: &Connection, login_id: &str) -> Result<()> {
    connection.execute(
        "delete from subscription_event where login_id = ?1",
        [login_id],
    )?;
    if let Some(mark) = mark(connection, login_id)? {
        connection.execute(
            "delete from mail where about = ?1 and kind in ('event', 'confirm') and taken_us is null",
            [id16(mark)],
        )?;
    }
    Ok(())
}

/// What a user wishes, as it is kept.
struct Kept {
    stop: Sha256,
    sealed: Vec<u8>,
}

/// Wishes at an address whose owner said yes. Not where that is no longer so: stopped since, or dropped.
fn set(connection: &Connection, login_id: &str, kept: &Kept) -> Result<bool> {
    let changed = connection.execute(
        "update subscription set stop_hash = ?2, sealed = ?3
         where login_id = ?1 and confirmed_us is not null and stopped_us is null",
        (login_id, kept.stop.0, &kept.sealed),
    )?;
    Ok(changed > 0)
}

/// Wishes at an address whose owner is asked. Not where the last question is younger than the least time between two: it is
/// looked at here, because of many at the same moment only one may pass.
fn ask(
    connection: &Connection,
    contract: ContractId,
    login_id: &str,
    kept: &Kept,
    (hash, until): (Sha256, UtcMicros),
) -> Result<bool> {
    let changed = connection.execute(
        "insert into subscription (login_id, contract, stop_hash, sealed, confirm_hash, confirm_until_us)
         values (?1, ?2, ?3, ?4, ?5, ?6)
         on conflict (login_id) do update set stop_hash = excluded.stop_hash, sealed = excluded.sealed,
             stopped_us = null, confirmed_us = null, confirm_hash = excluded.confirm_hash,
             confirm_until_us = excluded.confirm_until_us
         where coalesce(confirm_until_us <= excluded.confirm_until_us - ?7, 1)",
        (
            login_id,
            id16(contract.0),
            kept.stop.0,
            &kept.sealed,
            hash.0,
            until.0,
            NEXT_QUESTION_US,
        ),
    )?;
    if changed > 0 {
        // What waits was wished for at another address.
        forget_untaken(connection, login_id)?;
    }
    Ok(changed > 0)
}

/// The row stays, and says nothing but when the last question was: else dropping would be the way to ask strangers without
/// end.
fn drop_wishes(
    connection: &Connection,
    contract: ContractId,
    login_id: &str,
    kept: &Kept,
    at: UtcMicros,
) -> Result<()> {
    connection.execute(
        "update subscription set stop_hash = ?3, sealed = ?4, stopped_us = ?5, confirmed_us = null,
             confirm_hash = null, mailed_us = null
         where login_id = ?1 and contract = ?2",
        (login_id, id16(contract.0), kept.stop.0, &kept.sealed, at.0),
    )?;
    forget_untaken(connection, login_id)
}

/// Whether it was the answer to the question that stands: the user may have asked another address since the token was
/// looked up, and that one's owner has said nothing.
fn confirm(connection: &Connection, login_id: &str, token: Sha256, at: UtcMicros) -> Result<bool> {
    let changed = connection.execute(
        "update subscription set confirmed_us = ?3, confirm_hash = null, confirm_until_us = null
         where login_id = ?1 and confirm_hash = ?2 and confirm_until_us > ?3",
        (login_id, token.0, at.0),
    )?;
    Ok(changed > 0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Now,
    Before,
    /// The token is no longer the one of this user's mails.
    Unknown,
}

fn stop(connection: &Connection, login_id: &str, token: Sha256, at: UtcMicros) -> Result<Stopped> {
    let is_known: bool = connection.query_row(
        "select exists (select 1 from subscription where login_id = ?1 and stop_hash = ?2)",
        (login_id, token.0),
        |row| row.get(0),
    )?;
    if !is_known {
        return Ok(Stopped::Unknown);
    }
    let changed = connection.execute(
        "update subscription set stopped_us = ?2, confirmed_us = null, confirm_hash = null
         where login_id = ?1 and stopped_us is null",
        (login_id, at.0),
    )?;
    forget_untaken(connection, login_id)?;
    Ok(if changed > 0 {
        Stopped::Now
    } else {
        Stopped::Before
    })
}

impl SqliteStore {
    async fn opened_subscription(
        &self,
        (mut row, sealed): (SubscriptionRow, Vec<u8>),
    ) -> Result<SubscriptionRow> {
        let key = self.key(row.contract).await?;
        let json = key
            .open(&name(row.contract, &row.login_id), &sealed)
            .map_err(damaged("what a user wants to be told of"))?;
        row.wishes = serde_json::from_slice(&json)
            .map_err(|error| StoreError::Corrupt(format!("a subscription: {error}")))?;
        Ok(row)
    }

    async fn kept(&self, contract: ContractId, login_id: &str, wishes: &Wishes) -> Result<Kept> {
        let json =
            serde_json::to_vec(wishes).map_err(|error| StoreError::Database(error.to_string()))?;
        let key = self.key(contract).await?;
        Ok(Kept {
            stop: Sha256::of(wishes.stop_token.as_bytes()),
            sealed: key.seal(&name(contract, login_id), &json),
        })
    }

    /// Whose token of this column it is.
    async fn subscription_by(
        &self,
        condition: &'static str,
        token: Sha256,
        at: UtcMicros,
    ) -> Result<Option<(String, ContractId)>> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(&format!(
                    "select login_id, contract, ?2 from subscription where {condition}"
                ))?
                .query_row((token.0, at.0), |row| {
                    Ok((row.get(0)?, ContractId(uuid_at(row, 1)?)))
                })
                .optional()?)
        })
        .await
    }
}

#[async_trait]
impl SubscriptionBook for SqliteStore {
    async fn subscription(
        &self,
        scope: ContractScope,
        login_id: &str,
    ) -> Result<Option<SubscriptionRow>> {
        let login_id = login_id.to_owned();
        let found = self
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(&format!(
                        "select {COLUMNS} from subscription where login_id = ?1 and contract = ?2"
                    ))?
                    .query_row((login_id, id16(scope.contract().0)), lying)
                    .optional()?)
            })
            .await?;
        match found {
            Some(found) => Ok(Some(self.opened_subscription(found).await?)),
            None => Ok(None),
        }
    }

    async fn set_subscription(
        &self,
        scope: ContractScope,
        login_id: &str,
        wishes: Wishes,
        question: Option<Question>,
        at: UtcMicros,
    ) -> Result<bool> {
        let contract = scope.contract();
        let kept = self.kept(contract, login_id, &wishes).await?;
        let (question, mail) = match question {
            Some(question) => (
                Some((question.token_hash, question.until_us)),
                vec![question.mail],
            ),
            None => (None, Vec::new()),
        };
        let mail = self.sealed_mail(mail).await?;
        let note = Note::new("subscription.set")
            .of(contract)
            .with_personal("address", wishes.address);
        let user = Actor::User(login_id.into());
        let note = self.by(user).sealed(note).await?;
        let login_id = login_id.to_owned();
        self.write(move |connection| {
            let done = match question {
                Some(question) => ask(connection, contract, &login_id, &kept, question)?,
                None => set(connection, &login_id, &kept)?,
            };
            if done {
                let mark = mark(connection, &login_id)?;
                mail::insert_about(connection, mail, mark, at)?;
                audit::append(connection, &note, at)?;
            }
            Ok(done)
        })
        .await
    }

    async fn drop_subscription(
        &self,
        scope: ContractScope,
        login_id: &str,
        at: UtcMicros,
    ) -> Result<()> {
        let contract = scope.contract();
        let Some(row) = self.subscription(scope, login_id).await? else {
            return Ok(());
        };
        let nothing = Wishes {
            stop_token: row.wishes.stop_token,
            ..Wishes::default()
        };
        let kept = self.kept(contract, login_id, &nothing).await?;
        let note = Note::new("subscription.drop").of(contract);
        let user = self.by(Actor::User(login_id.into()));
        let login_id = login_id.to_owned();
        user.write_noted(note, at, move |connection| {
            drop_wishes(connection, contract, &login_id, &kept, at)
        })
        .await
    }

    async fn confirm_address(&self, token: Sha256, at: UtcMicros, sure: bool) -> Result<bool> {
        let condition = "confirm_hash = ?1 and confirm_until_us > ?2";
        let Some((login_id, contract)) = self.subscription_by(condition, token, at).await? else {
            return Ok(false);
        };
        if !sure {
            return Ok(true);
        }
        let note = Note::new("subscription.confirm")
            .of(contract)
            .with_personal("user", login_id.as_str());
        let sealed = self.sealed(note).await?;
        self.write(move |connection| {
            let confirmed = confirm(connection, &login_id, token, at)?;
            if confirmed {
                audit::append(connection, &sealed, at)?;
            }
            Ok(confirmed)
        })
        .await
    }

    async fn stop_subscription(&self, token: Sha256, at: UtcMicros, sure: bool) -> Result<bool> {
        let condition = "stop_hash = ?1";
        let Some((login_id, contract)) = self.subscription_by(condition, token, at).await? else {
            return Ok(false);
        };
        if !sure {
            return Ok(true);
        }
        let note = Note::new("subscription.stop")
            .of(contract)
            .with_personal("user", login_id.as_str());
        let sealed = self.sealed(note).await?;
        self.write(move |connection| {
            let stopped = stop(connection, &login_id, token, at)?;
            // Mail providers may say it twice.
            if stopped == Stopped::Now {
                audit::append(connection, &sealed, at)?;
            }
            Ok(stopped != Stopped::Unknown)
        })
        .await
    }
}

#[async_trait]
impl NotifierBook for SqliteStore {
    async fn active_subscriptions(&self) -> Result<Vec<SubscriptionRow>> {
        let rows: Vec<(SubscriptionRow, Vec<u8>)> = self
            .read(|connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "select {COLUMNS} from subscription where confirmed_us is not null and stopped_us is null"
                ))?;
                let rows = statement.query_map([], lying)?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            let contract = row.0.contract;
            match self.opened_subscription(row).await {
                Ok(row) => opened.push(row),
                // Its contract is erased.
                Err(StoreError::Missing(_)) => {}
                Err(StoreError::Corrupt(problem)) => tracing::error!(
                    %contract,
                    "a user of contract {contract} is not told of events: {problem}; the user must save the setting anew"
                ),
                // Of the database as a whole.
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    async fn uncompared_events(&self, limit: u32) -> Result<Vec<NewEvent>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {EVENT_COLUMNS} from event e {EVENT_JOINS}
                 where e.no > (select event from subscription_cursor) order by e.no limit ?1"
            ))?;
            let rows = statement.query_map([limit], event_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn compared(&self, through: i64, queued: Vec<Queued>) -> Result<()> {
        self.write(move |connection| {
            let mut statement = connection.prepare_cached(
                "insert or ignore into subscription_event (login_id, event, id, late, due_us)
                 select ?1, ?2, ?3, ?4, ?5 where exists
                     (select 1 from subscription where login_id = ?1 and stopped_us is null and confirmed_us is not null)",
            )?;
            for event in queued {
                statement.execute((
                    event.login_id,
                    event.event_no,
                    id16(event.event.0),
                    event.late,
                    event.due_us.0,
                ))?;
            }
            connection
                .prepare_cached("update subscription_cursor set event = max(event, ?1)")?
                .execute([through])?;
            Ok(())
        })
        .await
    }

    async fn queued_for(&self, login_id: &str, at: UtcMicros) -> Result<Vec<(NewEvent, bool)>> {
        let login_id = login_id.to_owned();
        self.read(move |connection| {
            let due: bool = connection
                .prepare_cached(
                    "select exists (select 1 from subscription_event where login_id = ?1 and due_us <= ?2)",
                )?
                .query_row((&login_id, at.0), |row| row.get(0))?;
            if !due {
                return Ok(Vec::new());
            }
            let mut statement = connection.prepare_cached(&format!(
                "select {EVENT_COLUMNS}, q.late from subscription_event q
                 join event e on e.no = q.event and e.id = q.id {EVENT_JOINS}
                 where q.login_id = ?1 order by e.no"
            ))?;
            let rows = statement.query_map([&login_id], |row| Ok((event_at(row)?, row.get(10)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn picture_of_event(
        &self,
        contract: ContractId,
        event: EventId,
    ) -> Result<Option<(DeviceId, Sha256)>> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "select b.device, m.sha256 from media m join blob b on b.contract = m.contract and b.sha256 = m.sha256
                     where m.contract = ?1 and m.event = ?2 and m.arrived = 1 and m.content_type = 'image/jpeg'
                     order by m.quality desc limit 1",
                )?
                .query_row((id16(contract.0), id16(event.0)), |row| {
                    Ok((DeviceId(uuid_at(row, 0)?), hash_at(row, 1)?))
                })
                .optional()?)
        })
        .await
    }

    async fn queue_mailed(
        &self,
        login_id: &str,
        through: i64,
        mail: NewMail,
        at: UtcMicros,
    ) -> Result<()> {
        let sealed = self.sealed_mail(vec![mail]).await?;
        let login_id = login_id.to_owned();
        self.write(move |connection| {
            connection.execute(
                "delete from subscription_event where login_id = ?1 and event <= ?2",
                (&login_id, through),
            )?;
            let still = connection.execute(
                "update subscription set mailed_us = ?2 where login_id = ?1 and stopped_us is null
                 and confirmed_us is not null",
                (&login_id, at.0),
            )?;
            // Stopped since it was written: then it is not sent.
            if still > 0 {
                let mark = mark(connection, &login_id)?;
                mail::insert_about(connection, sealed, mark, at)?;
            }
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests;
