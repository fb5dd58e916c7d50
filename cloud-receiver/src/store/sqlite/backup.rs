//! Rows on their way into a backup and out of it.
//!
//! A [`Snapshot`] reads everything as it was at one moment, while others go on writing: one read transaction. A contract's
//! rows go into one stream, what belongs to no contract into another. Which table belongs where is what [`held`] says for an
//! erasure, so that a backup never holds a row of a contract outside the stream that is sealed under its key; a new table
//! must be listed there, or a test fails.
//!
//! A stream is: `T` name columns, then `R` values for each row; `E` at its end. Lengths are 32 bits, big-endian.

use super::audit::{append, seal};
use super::held::{self, By};
use super::keyring::Keyring;
use super::{SqliteStore, hash_at, id16, keyring, schema, uuid_at};
use crate::seal::{MasterId, SecretKey};
use crate::store::{Actor, Note, Result, StoreError};
use anyhow::{Context, bail, ensure};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use wire::evidence::erasure::{Certificate, SignedCertificate};
use wire::evidence::heads::AuditHead;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// Rows by table.
pub type RowCounts = BTreeMap<String, u64>;

/// In no backup, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "contract_key",
        "keys are in the key backup: destroyed there, they are gone everywhere",
    ),
    ("master_key", "the key backup says under which one it is"),
    ("audit_count", "counts itself anew as the log is put back"),
    ("session", "whoever had signed out would be signed in again"),
    (
        "operator_session",
        "whoever had signed out would be signed in again",
    ),
];

fn is_left_out(table: &str) -> bool {
    LEFT_OUT.iter().any(|(name, _)| *name == table)
}

/// Which rows of a table are a contract's; its id is the first parameter.
fn of_contract(table: &str, by: By) -> &'static str {
    match (table, by) {
        // A code that was used since would let a second box in.
        ("claim", _) => "used_us is not null and site in (select id from site where contract = ?1)",
        // Letters to operators that name a contract are in no backup: nothing could erase them there.
        (_, By::Letter) => "contract = ?1",
        (_, by) => by.condition(),
    }
}

/// Which rows of a table that contracts have rows in are the operator's own.
fn of_receiver(by: By) -> Option<&'static str> {
    match by {
        By::Login => Some("login_id in (select login_id from operator)"),
        By::Letter => Some("contract is null and kind <> 'alert'"),
        _ => None,
    }
}

/// Everything as it was at one moment. Blocks.
#[derive(Debug)]
pub struct Snapshot {
    connection: Connection,
    keyring: Arc<Keyring>,
}

/// A blob that was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotBlob {
    pub sha256: Sha256,
    /// Under whose name it is sealed.
    pub device: DeviceId,
}

impl SqliteStore {
    pub fn snapshot(&self) -> Result<Snapshot> {
        let connection = self.readers.open_one()?;
        // The moment is that of the first read.
        connection.execute_batch("begin; select count(*) from control")?;
        Ok(Snapshot {
            connection,
            keyring: Arc::clone(&self.keyring),
        })
    }
}

impl Snapshot {
    pub fn schema_version(&self) -> Result<i64> {
        Ok(self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))?)
    }

    pub fn audit_head(&self) -> Result<Option<AuditHead>> {
        let newest = "select no, hash from audit order by no desc limit 1";
        let head = self.connection.query_row(newest, [], |row| {
            Ok(AuditHead {
                no: row.get::<_, i64>(0)?.cast_unsigned(),
                hash: hash_at(row, 1)?,
            })
        });
        Ok(head.optional()?)
    }

    /// Those with a key. One that is being erased, and has none any more, is in no backup.
    pub fn contracts(&self) -> Result<Vec<ContractId>> {
        self.ids("select contract from contract_key order by contract")
    }

    /// Erased to the end.
    pub fn erased(&self) -> Result<Vec<ContractId>> {
        self.ids("select contract from erasure where step = 'done' order by contract")
    }

    fn ids(&self, sql: &str) -> Result<Vec<ContractId>> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok(ContractId(uuid_at(row, 0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn key(&self, contract: ContractId) -> Result<SecretKey> {
        self.keyring.load(&self.connection, contract)
    }

    /// For what belongs to no contract.
    pub fn master(&self) -> SecretKey {
        self.keyring.master()
    }

    pub fn blobs(&self, contract: ContractId) -> Result<Vec<SnapshotBlob>> {
        let mut statement = self.connection.prepare(
            "select sha256, device from blob where contract = ?1 and missing_us is null order by sha256",
        )?;
        let rows = statement.query_map([id16(contract.0)], |row| {
            Ok(SnapshotBlob {
                sha256: hash_at(row, 0)?,
                device: DeviceId(uuid_at(row, 1)?),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn write_contract(
        &self,
        contract: ContractId,
        out: &mut impl Write,
    ) -> anyhow::Result<RowCounts> {
        let mut counts = RowCounts::new();
        for (table, by) in held::HELD {
            if !is_left_out(table) {
                let of = of_contract(table, *by);
                self.write_table(table, of, Some(contract), out, &mut counts)?;
            }
        }
        out.write_all(b"E")?;
        Ok(counts)
    }

    pub fn write_receiver(&self, out: &mut impl Write) -> anyhow::Result<RowCounts> {
        let mut counts = RowCounts::new();
        for (table, _) in held::KEPT {
            if !is_left_out(table) {
                self.write_table(table, "true", None, out, &mut counts)?;
            }
        }
        for (table, by) in held::HELD {
            if let Some(of) = of_receiver(*by).filter(|_| !is_left_out(table)) {
                self.write_table(table, of, None, out, &mut counts)?;
            }
        }
        out.write_all(b"E")?;
        Ok(counts)
    }

    fn write_table(
        &self,
        table: &str,
        condition: &str,
        contract: Option<ContractId>,
        out: &mut impl Write,
        counts: &mut RowCounts,
    ) -> anyhow::Result<()> {
        let sql = format!("select * from {table} where {condition}");
        let mut statement = self.connection.prepare(&sql)?;
        out.write_all(b"T")?;
        write_bytes(out, table.as_bytes())?;
        let columns = statement.column_count();
        out.write_all(&u32::try_from(columns)?.to_be_bytes())?;
        for name in statement.column_names() {
            write_bytes(out, name.as_bytes())?;
        }
        let contract = contract.map(|contract| id16(contract.0));
        let mut rows = statement.query(params_from_iter(contract))?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            out.write_all(b"R")?;
            for column in 0..columns {
                write_value(out, row.get_ref(column)?)?;
            }
            count += 1;
        }
        counts.insert(table.to_owned(), count);
        Ok(())
    }
}

/// A database that is being filled from a backup. Blocks.
#[derive(Debug)]
pub struct Import {
    connection: Connection,
}

impl Import {
    /// Makes the file, which must not exist.
    pub fn create(path: &Path, schema_version: i64) -> anyhow::Result<Self> {
        let connection = schema::create_at(path, schema_version)?;
        connection.execute_batch("begin")?;
        // What a new database has from the beginning is in the backup as well.
        for table in held::KEPT.iter().map(|(table, _)| table) {
            if column_names(&connection, table)?.is_empty() {
                continue;
            }
            connection.execute(&format!("delete from {table}"), [])?;
        }
        Ok(Self { connection })
    }

    pub fn add_rows(&self, from: &mut impl Read) -> anyhow::Result<RowCounts> {
        let insert = RefCell::new(String::new());
        read_rows(
            from,
            |table, columns| {
                let there = column_names(&self.connection, table)?;
                ensure!(
                    columns.iter().all(|column| there.contains(column)),
                    "table {table} has other columns than this version of the schema"
                );
                let places = vec!["?"; columns.len()].join(", ");
                let names = columns.join(", ");
                *insert.borrow_mut() = format!("insert into {table} ({names}) values ({places})");
                Ok(())
            },
            |table, values| {
                let mut statement = self.connection.prepare_cached(&insert.borrow())?;
                let inserted = statement.execute(params_from_iter(values));
                inserted.with_context(|| format!("a row of table {table}"))?;
                Ok(())
            },
        )
    }

    /// `wrapped` as the key backup has it.
    pub fn add_key(
        &self,
        contract: ContractId,
        created_us: UtcMicros,
        wrapped: &[u8],
    ) -> Result<()> {
        self.connection.execute(
            "insert into contract_key (contract, wrapped, created_us) values (?1, ?2, ?3)",
            (id16(contract.0), wrapped, created_us.0),
        )?;
        Ok(())
    }

    /// What is left of a contract that was erased after the backup: without it, what is gone would be missed.
    pub fn add_certificate(
        &self,
        signed: &SignedCertificate,
        certificate: &Certificate,
    ) -> Result<()> {
        let contract = id16(certificate.contract.0);
        let began = certificate.order.at_us;
        let finished = certificate.steps.last().map_or(began, |step| step.at_us);
        let document = serde_json::to_string(signed).expect("certificates are plain data");
        // It may have been under way when the backup was made.
        self.connection
            .execute("delete from erasure where contract = ?1", [contract])?;
        self.connection.execute(
            "insert into erasure (id, contract, step, began_us, wait_until_us, due_us, draft, document, finished_us)
             values (?1, ?2, 'done', ?3, ?3, ?4, '', ?5, ?6)",
            (
                id16(certificate.id),
                contract,
                began.0,
                certificate.period.due_us.map(|due| due.0),
                document,
                finished.0,
            ),
        )?;
        Ok(())
    }

    /// The operators' key is wrapped under the master key, which was changed since the backup.
    pub fn reseal(&self, old: &SecretKey, new: &SecretKey) -> Result<()> {
        if MasterId::of(old) == MasterId::of(new) {
            return Ok(());
        }
        keyring::rewrap_operators(&self.connection, old, new)
    }

    /// Makes it a whole database of this program's version, and notes in it what was done.
    pub fn finish(
        mut self,
        path: &Path,
        master: MasterId,
        actor: Actor,
        note: Note,
        at: UtcMicros,
    ) -> Result<()> {
        let connection = &self.connection;
        connection.execute(
            "insert into master_key (one, id) values (1, ?1)",
            [master.0],
        )?;
        let violation = connection
            .query_row("pragma foreign_key_check", [], |row| {
                row.get::<_, String>(0)
            })
            .optional()?;
        if let Some(table) = violation {
            return Err(StoreError::Corrupt(format!(
                "rows of table {table} speak of rows that are not in the backup"
            )));
        }
        connection.execute_batch("commit")?;
        schema::migrate(&mut self.connection, path)?;
        append(&self.connection, &seal(actor, note, None), at)
    }
}

fn column_names(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare("select name from pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Reads a stream through, and keeps nothing.
pub fn check_rows(from: &mut impl Read) -> anyhow::Result<RowCounts> {
    read_rows(from, |_, _| Ok(()), |_, _| Ok(()))
}

fn read_rows(
    from: &mut impl Read,
    mut begin: impl FnMut(&str, &[String]) -> anyhow::Result<()>,
    mut take: impl FnMut(&str, Vec<Value>) -> anyhow::Result<()>,
) -> anyhow::Result<RowCounts> {
    let mut counts = RowCounts::new();
    let (mut table, mut columns) = (String::new(), 0);
    loop {
        match &read_array(from)? {
            b"T" => {
                table = read_text(from)?;
                let held = held::HELD.iter().map(|(name, _)| *name);
                let kept = held::KEPT.iter().map(|(name, _)| *name);
                let is_known = held.chain(kept).any(|name| name == table);
                ensure!(
                    is_known && !is_left_out(&table),
                    "no table {table} belongs into a backup; install a newer cloud-receiver"
                );
                columns = u32::from_be_bytes(read_array(from)?);
                ensure!(columns <= 1000, "table {table} has {columns} columns");
                let names: Vec<String> = (0..columns)
                    .map(|_| read_text(from))
                    .collect::<anyhow::Result<_>>()?;
                begin(&table, &names)?;
                counts.insert(table.clone(), 0);
            }
            b"R" => {
                let values = (0..columns).map(|_| read_value(from));
                take(&table, values.collect::<anyhow::Result<_>>()?)?;
                *counts.get_mut(&table).context("a row of no table")? += 1;
            }
            b"E" => return Ok(counts),
            [other] => bail!("the rows do not go on: byte {other}"),
        }
    }
}

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

fn write_value(out: &mut impl Write, value: ValueRef<'_>) -> anyhow::Result<()> {
    match value {
        ValueRef::Null => out.write_all(&[NULL])?,
        ValueRef::Integer(number) => {
            out.write_all(&[INTEGER])?;
            out.write_all(&number.to_be_bytes())?;
        }
        ValueRef::Real(number) => {
            out.write_all(&[REAL])?;
            out.write_all(&number.to_be_bytes())?;
        }
        ValueRef::Text(bytes) => {
            out.write_all(&[TEXT])?;
            write_bytes(out, bytes)?;
        }
        ValueRef::Blob(bytes) => {
            out.write_all(&[BLOB])?;
            write_bytes(out, bytes)?;
        }
    }
    Ok(())
}

fn read_value(from: &mut impl Read) -> anyhow::Result<Value> {
    let [kind] = read_array(from)?;
    Ok(match kind {
        NULL => Value::Null,
        INTEGER => Value::Integer(i64::from_be_bytes(read_array(from)?)),
        REAL => Value::Real(f64::from_be_bytes(read_array(from)?)),
        TEXT => Value::Text(read_text(from)?),
        BLOB => Value::Blob(read_bytes(from)?),
        other => bail!("a value of no kind: byte {other}"),
    })
}

fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    out.write_all(&u32::try_from(bytes.len())?.to_be_bytes())?;
    Ok(out.write_all(bytes)?)
}

fn read_bytes(from: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let length = u32::from_be_bytes(read_array(from)?);
    let mut bytes = Vec::new();
    from.take(length.into()).read_to_end(&mut bytes)?;
    ensure!(bytes.len() == length as usize, "the rows are cut short");
    Ok(bytes)
}

fn read_text(from: &mut impl Read) -> anyhow::Result<String> {
    Ok(String::from_utf8(read_bytes(from)?)?)
}

fn read_array<const N: usize>(from: &mut impl Read) -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::now;
    use crate::live::Live;
    use crate::seal::MasterKeys;
    use crate::store::{Administration, AuditBook, BlobRows};
    use std::collections::BTreeSet;

    async fn with_contract(dir: &Path, master: &SecretKey) -> (SqliteStore, ContractId) {
        let path = dir.join("receiver.db");
        let master: MasterKeys = master.clone().into();
        let store = SqliteStore::open(&path, master, Live::default(), true).unwrap();
        let contract = store.add_contract("Acme", now()).await.unwrap();
        store.add_site(contract, "Tokyo", now()).await.unwrap();
        store.add_operator("operator", "hash", now()).await.unwrap();
        (store, contract)
    }

    #[tokio::test]
    async fn every_table_is_in_one_stream_or_left_out_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let (store, contract) = with_contract(dir.path(), &SecretKey::generate()).await;
        let snapshot = store.snapshot().unwrap();
        let of_contract = snapshot.write_contract(contract, &mut Vec::new()).unwrap();
        let of_receiver = snapshot.write_receiver(&mut Vec::new()).unwrap();
        assert_eq!(of_contract["site"], 1);
        assert_eq!(of_receiver["operator"], 1);
        // Both have sign-ins and mail: their own.
        let both: Vec<_> = of_contract
            .keys()
            .filter(|table| of_receiver.contains_key(*table))
            .collect();
        assert_eq!(both, ["mail", "sign_in", "subscription_event"]);
        let left_out = LEFT_OUT.iter().map(|(table, _)| (*table).to_owned());
        let found: BTreeSet<String> = left_out
            .chain(of_contract.into_keys())
            .chain(of_receiver.into_keys())
            .collect();
        let mut statement = snapshot
            .connection
            .prepare(
                "select name from pragma_table_list
                 where schema = 'main' and type = 'table' and name not like 'sqlite_%'",
            )
            .unwrap();
        let tables = statement.query_map([], |row| row.get(0)).unwrap();
        let tables: BTreeSet<String> = tables.collect::<rusqlite::Result<_>>().unwrap();
        assert_eq!(found, tables, "what becomes of it in a backup?");
    }

    #[tokio::test]
    async fn a_snapshot_is_of_one_moment_and_is_read_again_into_a_whole_database() {
        let dir = tempfile::tempdir().unwrap();
        let master = SecretKey::generate();
        let (store, contract) = with_contract(dir.path(), &master).await;
        let snapshot = store.snapshot().unwrap();
        let late = store.add_contract("Late", now()).await.unwrap();
        store.add_site(contract, "Osaka", now()).await.unwrap();
        assert_eq!(snapshot.contracts().unwrap(), [contract]);
        let (mut own, mut receivers) = (Vec::new(), Vec::new());
        let counts = snapshot.write_contract(contract, &mut own).unwrap();
        snapshot.write_receiver(&mut receivers).unwrap();
        assert_eq!(check_rows(&mut &own[..]).unwrap(), counts);
        for length in 0..own.len() {
            assert!(check_rows(&mut &own[..length]).is_err());
        }

        let path = dir.path().join("restored.db");
        let import = Import::create(&path, snapshot.schema_version().unwrap()).unwrap();
        import.add_rows(&mut &receivers[..]).unwrap();
        assert_eq!(import.add_rows(&mut &own[..]).unwrap(), counts);
        let wrapped = master.wrap(contract, &snapshot.key(contract).unwrap());
        import.add_key(contract, now(), &wrapped).unwrap();
        let note = Note::new("backup.restore");
        let (id, at) = (MasterId::of(&master), now());
        import.finish(&path, id, Actor::System, note, at).unwrap();
        let restored = SqliteStore::open(&path, master, Live::default(), false).unwrap();
        let sites = restored.sites().await.unwrap();
        assert_eq!(sites.len(), 1);
        assert!(restored.contract_key(contract).await.is_ok());
        assert!(restored.contract_key(late).await.is_err());
        let chain = restored.audit_chain().await.unwrap();
        assert_eq!(chain.broken, None);
        let entries = snapshot.audit_head().unwrap().unwrap().no + 1;
        assert_eq!(chain.entries, entries);
    }

    #[tokio::test]
    async fn rows_that_speak_of_others_that_are_not_there_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let master = SecretKey::generate();
        let (store, contract) = with_contract(dir.path(), &master).await;
        let snapshot = store.snapshot().unwrap();
        let path = dir.path().join("restored.db");
        let import = Import::create(&path, snapshot.schema_version().unwrap()).unwrap();
        // A key of a contract that is not there.
        import.add_key(contract, now(), b"wrapped").unwrap();
        let (id, at) = (MasterId::of(&master), now());
        let refused = import.finish(&path, id, Actor::System, Note::new("backup.restore"), at);
        assert!(
            matches!(refused, Err(StoreError::Corrupt(_))),
            "{refused:?}"
        );
        let newer = dir.path().join("newer.db");
        assert!(Import::create(&newer, 1_000).is_err());
    }
}
