//! The rows of erasures, and each step's change of the database: the step is done and the row moved on in one commit.

use super::audit::append;
use super::{SqliteStore, changes, held, id16, optional_time_at, time_at, uuid_at};
use crate::keys::{KeyBackup, KeyBackupFile};
use crate::seal::random;
use crate::store::{
    Conflict, Ending, ErasureBook, ErasureRow, Hold, KeyBook, NewErasure, Note, Result, Step,
    StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use wire::evidence::erasure::{
    self, Certificate, Copies, DeviceWipe, KeyBackup as Copy, KindCount, NameHash, Period,
    SignedCertificate, StepDone,
};
use wire::{CameraId, ContractId, DeviceId, SigningKey, UtcMicros};

/// Rows that one commit deletes: a device that delivers waits no longer than that takes.
const ROWS_AT_ONCE: u32 = 1000;
/// How long deleting waits for the writer of this or another process.
const WRITER_TIMEOUT: Duration = Duration::from_secs(30);
/// The kind under which files of pictures are counted.
const OBJECTS: &str = "object";

/// For every verb that would change a contract that is on its way out.
pub(super) fn must_not_be_erased(connection: &Connection, contract: ContractId) -> Result<()> {
    let is_erased: bool = connection
        .prepare_cached("select exists (select 1 from erasure where contract = ?1)")?
        .query_row([id16(contract.0)], |row| row.get(0))?;
    if is_erased {
        return Err(Conflict::BeingErased.into());
    }
    Ok(())
}

const COLUMNS: &str =
    "id, contract, step, began_us, wait_until_us, due_us, finished_us, draft, document";

fn erasure_at(row: &Row<'_>) -> rusqlite::Result<ErasureRow> {
    let step: String = row.get(2)?;
    let document: Option<String> = row.get(8)?;
    let draft: String = row.get(7)?;
    let signed: Option<SignedCertificate> = document
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    let text = signed.as_ref().map_or(draft, |it| it.certificate.clone());
    let unreadable = |index| {
        rusqlite::Error::InvalidColumnType(index, "erasure".into(), rusqlite::types::Type::Text)
    };
    Ok(ErasureRow {
        id: uuid_at(row, 0)?,
        contract: ContractId(uuid_at(row, 1)?),
        step: Step::parse(&step).ok_or_else(|| unreadable(2))?,
        began_us: time_at(row, 3)?,
        wait_until_us: time_at(row, 4)?,
        due_us: optional_time_at(row, 5)?,
        finished_us: optional_time_at(row, 6)?,
        certificate: serde_json::from_str(&text).map_err(|_| unreadable(7))?,
        signed,
    })
}

fn erasure_of(connection: &Connection, id: Uuid) -> Result<ErasureRow> {
    connection
        .prepare_cached(&format!("select {COLUMNS} from erasure where id = ?1"))?
        .query_row([id16(id)], erasure_at)
        .optional()?
        .ok_or(StoreError::Missing("erasure"))
}

/// Notes in the draft that the row's step is done, and moves it on; `false`: somebody else has, and nothing is changed.
fn advance(
    connection: &Connection,
    id: Uuid,
    from: Step,
    to: Step,
    at: UtcMicros,
    change: impl FnOnce(&mut Certificate),
) -> Result<bool> {
    let mut row = erasure_of(connection, id)?;
    if row.step != from {
        return Ok(false);
    }
    change(&mut row.certificate);
    row.certificate.steps.push(StepDone {
        step: from.as_str().into(),
        at_us: at,
    });
    let draft = serde_json::to_string(&row.certificate).expect("certificates are plain data");
    connection.execute(
        "update erasure set step = ?2, draft = ?3 where id = ?1",
        (id16(id), to.as_str(), draft),
    )?;
    Ok(true)
}

fn endings(connection: &Connection) -> Result<Vec<Ending>> {
    let mut statement = connection.prepare_cached(
        "select c.id, c.name, c.created_us, c.until_us, c.done_us,
                (select count(*) from hold h where h.contract = c.id), e.step
         from contract c left join erasure e on e.contract = c.id order by c.name",
    )?;
    let rows = statement.query_map([], |row| {
        let step: Option<String> = row.get(6)?;
        Ok(Ending {
            contract: ContractId(uuid_at(row, 0)?),
            name: row.get(1)?,
            created_us: time_at(row, 2)?,
            until_us: optional_time_at(row, 3)?,
            done_us: optional_time_at(row, 4)?,
            holds: row.get::<_, i64>(5)?.cast_unsigned(),
            step: step.as_deref().and_then(Step::parse),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn begin(
    connection: &Connection,
    id: Uuid,
    new: &NewErasure,
    at: UtcMicros,
    receiver: wire::VerifyingKey,
) -> Result<()> {
    let contract = new.contract;
    must_not_be_erased(connection, contract)?;
    let all = endings(connection)?;
    let found = all.into_iter().find(|ending| ending.contract == contract);
    let ending = found.ok_or(StoreError::Missing("contract"))?;
    if ending.holds > 0 {
        return Err(Conflict::Held(ending.holds).into());
    }
    let is_over = ending.until_us.is_some_and(|until| until <= at) && ending.done_us.is_some();
    if new.must_be_over && !is_over {
        return Err(Conflict::GoesOn.into());
    }
    let certificate = Certificate {
        v: erasure::VERSION,
        id,
        contract,
        name: NameHash::of(random(), &ending.name),
        receiver_key: receiver,
        period: Period {
            from_us: ending.created_us,
            until_us: ending.until_us,
            done_us: ending.done_us,
            due_us: new.due_us,
        },
        order: new.order.clone(),
        steps: Vec::new(),
        counts: Vec::new(),
        devices: Vec::new(),
        copies: Copies {
            backups_before_us: at,
            key_backups: Vec::new(),
        },
    };
    let draft = serde_json::to_string(&certificate).expect("certificates are plain data");
    connection.execute(
        "insert into erasure (id, contract, step, began_us, wait_until_us, due_us, draft)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            id16(id),
            id16(contract.0),
            Step::TellDevices.as_str(),
            at.0,
            new.wait_until_us.0,
            new.due_us.map(|due| due.0),
            draft,
        ),
    )?;
    connection.execute(
        "delete from session where login_id in (select login_id from user where contract = ?1)",
        [id16(contract.0)],
    )?;
    connection.execute(
        "delete from claim where used_us is null and site in (select id from site where contract = ?1)",
        [id16(contract.0)],
    )?;
    changes::bump(connection)
}

/// What each device said to the order; of several the best.
fn answers(connection: &Connection, contract: ContractId) -> Result<Vec<DeviceWipe>> {
    let mut statement = connection.prepare(
        "select d.id, c.outcome, c.answered_us from device d
         left join command c on c.device = d.id and c.request = 'wipe_contract'
         where d.contract = ?1 order by d.enrolled_us, d.id, c.outcome is not 'done', c.answered_us is null",
    )?;
    let rows = statement.query_map([id16(contract.0)], |row| {
        let outcome: Option<String> = row.get(1)?;
        Ok(DeviceWipe {
            device: DeviceId(uuid_at(row, 0)?),
            outcome: outcome.unwrap_or_else(|| "unconfirmed".into()),
            answered_us: optional_time_at(row, 2)?,
        })
    })?;
    let mut devices: Vec<DeviceWipe> = rows.collect::<rusqlite::Result<_>>()?;
    devices.dedup_by_key(|wipe| wipe.device);
    Ok(devices)
}

/// Copies of the key backup made while the contract's key stood in it, by the audit log.
fn key_backups(connection: &Connection, since: UtcMicros) -> Result<Vec<Copy>> {
    let mut statement = connection.prepare(
        "select at_us, subject from audit where action = 'key.backup' and at_us >= ?1 order by no",
    )?;
    let rows = statement.query_map([since.0], |row| {
        Ok(Copy {
            at_us: time_at(row, 0)?,
            path: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl SqliteStore {
    async fn erasure(&self, id: Uuid) -> Result<ErasureRow> {
        self.read(move |connection| erasure_of(connection, id))
            .await
    }

    /// A connection of its own, without foreign keys: what is deleted is all that there is of a contract, and looking for
    /// children of each row would go through those of every other contract.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read(move |connection| {
            let mut apart = Connection::open(connection.path().unwrap_or_default())?;
            apart.busy_timeout(WRITER_TIMEOUT)?;
            apart.pragma_update(None, "secure_delete", true)?;
            apart.pragma_update(None, "synchronous", "full")?;
            apart.pragma_update(None, "foreign_keys", false)?;
            work(&mut apart)
        })
        .await
    }

    async fn forget_destroyed_keys(&self) -> Result<()> {
        let keyring = Arc::clone(&self.keyring);
        self.read(move |connection| keyring.forget_destroyed(connection))
            .await
    }
}

#[async_trait]
impl ErasureBook for SqliteStore {
    async fn endings(&self) -> Result<Vec<Ending>> {
        self.read(endings).await
    }

    async fn set_done(
        &self,
        contract: ContractId,
        done: Option<UtcMicros>,
        at: UtcMicros,
    ) -> Result<()> {
        let note = Note::new("contract.set_done")
            .of(contract)
            .with("done_us", done.map(|done| done.0));
        self.write_noted(note, at, move |connection| {
            must_not_be_erased(connection, contract)?;
            let changed = connection.execute(
                "update contract set done_us = ?2 where id = ?1",
                (id16(contract.0), done.map(|done| done.0)),
            )?;
            if changed == 0 {
                return Err(StoreError::Missing("contract"));
            }
            changes::bump(connection)
        })
        .await
    }

    async fn erasures(&self) -> Result<Vec<ErasureRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from erasure order by began_us, id"
            ))?;
            let rows = statement.query_map([], erasure_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn holdings_of(&self, contract: ContractId) -> Result<BTreeMap<String, u64>> {
        self.read(move |connection| held::count(connection, id16(contract.0)))
            .await
    }

    async fn begin_erasure(
        &self,
        erasure: NewErasure,
        receiver: wire::VerifyingKey,
        at: UtcMicros,
    ) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let note = Note::new("erase.begin")
            .of(erasure.contract)
            .on(id)
            .with("reason", &*erasure.order.reason)
            .with("why", erasure.order.why.clone());
        self.write_noted(note, at, move |connection| {
            begin(connection, id, &erasure, at, receiver)?;
            Ok(id)
        })
        .await
    }

    async fn devices_to_tell(&self, contract: ContractId) -> Result<Vec<DeviceId>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select id from device d where contract = ?1 and revoked_us is null and not exists (
                    select 1 from command c where c.device = d.id and c.request = 'wipe_contract')
                 order by enrolled_us, id",
            )?;
            let rows =
                statement.query_map([id16(contract.0)], |row| Ok(DeviceId(uuid_at(row, 0)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn devices_awaited(&self, contract: ContractId) -> Result<u64> {
        self.read(move |connection| {
            let count: i64 = connection.query_row(
                "select count(*) from command c join device d on d.id = c.device
                 where d.contract = ?1 and c.request = 'wipe_contract' and c.answered_us is null
                   and d.revoked_us is null",
                [id16(contract.0)],
                |row| row.get(0),
            )?;
            Ok(count.cast_unsigned())
        })
        .await
    }

    async fn erasure_at(&self, id: Uuid, step: Step, at: UtcMicros) -> Result<()> {
        self.write(move |connection| {
            let from = erasure_of(connection, id)?.step;
            if from < step {
                advance(connection, id, from, step, at, |_| {})?;
            }
            Ok(())
        })
        .await
    }

    async fn shut(&self, id: Uuid, objects: u64, at: UtcMicros) -> Result<()> {
        let contract = self.erasure(id).await?.contract;
        self.write(move |connection| {
            connection.execute(
                "update device set revoked_us = coalesce(revoked_us, ?2) where contract = ?1",
                (id16(contract.0), at.0),
            )?;
            let devices = answers(connection, contract)?;
            let mut before = held::count(connection, id16(contract.0))?;
            before.insert(OBJECTS.into(), objects);
            let fill = |certificate: &mut Certificate| {
                certificate.devices = devices;
                certificate.counts = before
                    .into_iter()
                    .map(|(kind, before)| KindCount {
                        kind,
                        before,
                        after: before,
                    })
                    .collect();
            };
            advance(connection, id, Step::Shut, Step::DestroyKey, at, fill)?;
            // Sessions of its devices end now.
            changes::bump(connection)
        })
        .await
    }

    async fn destroy_key(&self, id: Uuid, backup: &KeyBackupFile, at: UtcMicros) -> Result<bool> {
        let row = self.erasure(id).await?;
        let key = id16(row.contract.0);
        self.write(move |connection| {
            connection.execute("delete from contract_key where contract = ?1", [key])?;
            // What is asked for everywhere and could be opened no more.
            connection.execute(
                "update device set sealed_heartbeat = null where contract = ?1",
                [key],
            )?;
            connection.execute(
                "update contract set sealed_terms = null where id = ?1",
                [key],
            )?;
            connection.execute(
                "delete from command where device in (select id from device where contract = ?1)",
                [key],
            )?;
            connection.execute("delete from mail where contract = ?1", [key])?;
            changes::bump(connection)
        })
        .await?;
        self.forget_destroyed_keys().await?;
        self.write_key_backup(backup).await?;
        if !self.empty_log().await? {
            return Ok(false);
        }
        let since = row.certificate.period.from_us;
        self.write(move |connection| {
            let copies = key_backups(connection, since)?;
            let fill = |certificate: &mut Certificate| {
                certificate.copies = Copies {
                    backups_before_us: at,
                    key_backups: copies,
                };
            };
            advance(
                connection,
                id,
                Step::DestroyKey,
                Step::DeleteObjects,
                at,
                fill,
            )?;
            Ok(true)
        })
        .await
    }

    async fn delete_rows(&self, id: Uuid, at: UtcMicros) -> Result<bool> {
        let contract = self.erasure(id).await?.contract;
        let none_left = self
            .apart(move |connection| {
                for (table, by) in held::HELD {
                    let step = connection
                        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
                    let deleted =
                        held::delete_some(&step, table, *by, id16(contract.0), ROWS_AT_ONCE)?;
                    if *table == "event" && deleted > 0 {
                        // Numbers of the newest events are given out again: nobody must take those for told.
                        step.execute(
                            "update subscription_cursor
                             set event = min(event, (select coalesce(max(no), 0) from event))",
                            [],
                        )?;
                    }
                    step.commit()?;
                    if deleted > 0 {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .await?;
        if none_left {
            self.erasure_at(id, Step::Certify, at).await?;
        }
        Ok(none_left)
    }

    async fn certify(
        &self,
        id: Uuid,
        objects: u64,
        key: &SigningKey,
        at: UtcMicros,
    ) -> Result<Option<SignedCertificate>> {
        let row = self.erasure(id).await?;
        if let Some(signed) = row.signed {
            return Ok(Some(signed));
        }
        self.forget_destroyed_keys().await?;
        let mut after = self.holdings_of(row.contract).await?;
        after.insert(OBJECTS.into(), objects);
        let mut certificate = row.certificate;
        for count in &mut certificate.counts {
            count.after = after.get(&count.kind).copied().unwrap_or_default();
        }
        if after.values().any(|count| *count > 0) || !self.empty_log().await? {
            return Ok(None);
        }
        certificate.steps.push(StepDone {
            step: Step::Certify.as_str().into(),
            at_us: at,
        });
        let signed = certificate.sign(key);
        let document = serde_json::to_string(&signed).expect("certificates are plain data");
        let note = Note::new("erase.finish").of(row.contract).on(id);
        let note = self.sealed(note).await?;
        self.write(move |connection| {
            let changed = connection.execute(
                "update erasure set step = 'done', draft = '', document = ?2, finished_us = ?3
                 where id = ?1 and step = 'certify'",
                (id16(id), document, at.0),
            )?;
            if changed > 0 {
                append(connection, &note, at)?;
            }
            Ok(())
        })
        .await?;
        // What another process may have signed at the same moment counts.
        Ok(self.erasure(id).await?.signed)
    }

    async fn cameras_of(&self, contract: ContractId) -> Result<Vec<(CameraId, String)>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select id, name from camera_now where contract = ?1 order by name, id",
            )?;
            let rows = statement.query_map([id16(contract.0)], |row| {
                Ok((CameraId(uuid_at(row, 0)?), row.get(1)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn add_hold(&self, hold: Hold) -> Result<()> {
        self.keep_hold(hold).await
    }

    async fn holds(&self) -> Result<Vec<Hold>> {
        self.all_holds().await
    }

    async fn remove_hold(&self, id: Uuid, at: UtcMicros) -> Result<()> {
        self.lift_hold(id, at).await
    }

    async fn key_backup(&self) -> Result<KeyBackup> {
        self.read(super::keyring::Keyring::backup).await
    }

    async fn write_key_backup(&self, file: &KeyBackupFile) -> Result<u64> {
        let file = file.clone();
        self.read(move |connection| file.rewrite(|| super::keyring::Keyring::backup(connection)))
            .await
    }

    async fn erased(&self) -> Result<Vec<ContractId>> {
        self.read(|connection| {
            let mut statement = connection.prepare("select contract from erasure")?;
            let rows = statement.query_map([], |row| Ok(ContractId(uuid_at(row, 0)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
