//! The audit log's rows. [`append`] runs in the transaction of what it tells of: both are there, or neither.

use super::{SqliteStore, damaged, hash_at, id16, time_at};
use crate::seal::{Name, Purpose, SecretKey};
use crate::store::{
    Actor, AuditBook, AuditBreak, AuditChain, AuditFilter, AuditRow, Note, Result, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};
use uuid::Uuid;
use wire::evidence::heads::AuditHead;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// A note whose personal part is sealed already, so that the writer's thread needs no key.
#[derive(Debug)]
pub(super) struct Sealed {
    actor: Actor,
    note: Note,
    sealed: Option<(Uuid, Vec<u8>)>,
}

impl Sealed {
    /// What is only known in the commit itself.
    pub(super) fn add(&mut self, key: &str, value: impl Into<Value>) {
        self.note.detail.insert(key.into(), value.into());
    }
}

/// Everything that belongs to an entry is sealed under a random name that stands before it.
fn name(contract: ContractId, id: Uuid) -> Name {
    Name {
        contract,
        device: DeviceId(Uuid::nil()),
        purpose: Purpose::Audit,
        hash: Sha256::of(id.as_bytes()),
    }
}

/// Adds the user's login ID to what is personal, and seals it.
pub(super) fn seal(actor: Actor, mut note: Note, key: Option<&SecretKey>) -> Sealed {
    if let Actor::User(login_id) = &actor {
        note = note.with_personal("user", login_id.as_str());
    }
    let sealed = (!note.personal.is_empty()).then(|| {
        let (key, contract) = key.zip(note.contract)?;
        let id = Uuid::new_v4();
        let json = Value::Object(note.personal.clone()).to_string();
        Some((id, key.seal(&name(contract, id), json.as_bytes())))
    });
    Sealed {
        actor,
        note,
        sealed: sealed.flatten(),
    }
}

/// To be called in the writer's transaction.
pub(super) fn append(connection: &Connection, sealed: &Sealed, at: UtcMicros) -> Result<()> {
    let last = connection
        .prepare_cached("select no, hash from audit order by no desc limit 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, hash_at(row, 1)?)))
        .optional()?;
    let (before_no, before) = last.unwrap_or((0, Sha256::ZERO));
    let note = &sealed.note;
    let row = AuditRow {
        no: before_no.cast_unsigned() + 1,
        at_us: at,
        contract: note.contract,
        actor: sealed.actor.kind().into(),
        actor_name: sealed.actor.name(),
        action: note.action.into(),
        subject: note.subject.clone(),
        detail: Value::Object(note.detail.clone()).to_string(),
        sealed: sealed
            .sealed
            .as_ref()
            .map(|(id, bytes)| [&id.as_bytes()[..], bytes].concat()),
        hash: Sha256::ZERO,
    };
    connection
        .prepare_cached(
            "insert into audit (no, at_us, contract, actor, actor_name, action, subject, detail, sealed, hash)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            row.no.cast_signed(),
            row.at_us.0,
            row.contract.map(|contract| id16(contract.0)),
            &row.actor,
            &row.actor_name,
            &row.action,
            &row.subject,
            &row.detail,
            &row.sealed,
            row.hash_after(before).0,
        ))?;
    Ok(())
}

fn row_at(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let contract: Option<[u8; 16]> = row.get(2)?;
    Ok(AuditRow {
        no: row.get::<_, i64>(0)?.cast_unsigned(),
        at_us: time_at(row, 1)?,
        contract: contract.map(|id| ContractId(Uuid::from_bytes(id))),
        actor: row.get(3)?,
        actor_name: row.get(4)?,
        action: row.get(5)?,
        subject: row.get(6)?,
        detail: row.get(7)?,
        sealed: row.get(8)?,
        hash: hash_at(row, 9)?,
    })
}

const COLUMNS: &str =
    "no, at_us, contract, actor, actor_name, action, subject, detail, sealed, hash";

fn chain(connection: &Connection) -> Result<AuditChain> {
    let mut statement = connection.prepare(&format!("select {COLUMNS} from audit order by no"))?;
    let mut chain = AuditChain {
        entries: 0,
        head: Sha256::ZERO,
        broken: None,
    };
    for row in statement.query_map([], row_at)? {
        let row = row?;
        let problem = if row.no != chain.entries + 1 {
            Some(format!("entry {} is missing", chain.entries + 1))
        } else if row.hash != row.hash_after(chain.head) {
            Some(format!("entry {} or one before it was changed", row.no))
        } else {
            None
        };
        if let Some(problem) = problem {
            chain.broken = Some(AuditBreak {
                no: row.no,
                problem,
            });
            break;
        }
        chain.entries = row.no;
        chain.head = row.hash;
    }
    Ok(chain)
}

impl SqliteStore {
    /// A note of what this handle's holder does, ready for [`append`].
    pub(super) async fn sealed(&self, note: Note) -> Result<Sealed> {
        self.sealed_for(Actor::clone(&self.actor), note).await
    }

    /// The same of a contract whose key is only being made.
    pub(super) fn sealed_under(&self, note: Note, key: &SecretKey) -> Sealed {
        seal(Actor::clone(&self.actor), note, Some(key))
    }

    async fn sealed_for(&self, actor: Actor, note: Note) -> Result<Sealed> {
        let is_personal = !note.personal.is_empty() || matches!(actor, Actor::User(_));
        let key = match note.contract.filter(|_| is_personal) {
            // An erased contract has no key; what is done to it afterwards names nobody.
            Some(contract) => match self.key(contract).await {
                Ok(key) => Some(key),
                Err(StoreError::Missing(_)) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        Ok(seal(actor, note, key.as_ref()))
    }

    /// Runs `work`, and notes it in the same commit.
    pub(super) async fn write_noted<T, F>(&self, note: Note, at: UtcMicros, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let sealed = self.sealed(note).await?;
        self.write(move |connection| {
            let done = work(connection)?;
            append(connection, &sealed, at)?;
            Ok(done)
        })
        .await
    }
}

#[async_trait]
impl AuditBook for SqliteStore {
    async fn note(&self, actor: Actor, note: Note, at: UtcMicros) -> Result<()> {
        let sealed = self.sealed_for(actor, note).await?;
        self.write(move |connection| append(connection, &sealed, at))
            .await
    }

    async fn audit_after(&self, no: u64, limit: u32) -> Result<Vec<AuditRow>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from audit where no > ?1 order by no limit ?2"
            ))?;
            let rows = statement.query_map((no.cast_signed(), limit), row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn audit_personal(&self, row: &AuditRow) -> Result<Option<Map<String, Value>>> {
        let (Some(contract), Some(bytes)) = (row.contract, &row.sealed) else {
            return Ok(None);
        };
        let key = match self.key(contract).await {
            Ok(key) => key,
            Err(StoreError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let cut = || StoreError::Corrupt(format!("audit entry {} is cut short", row.no));
        let (id, sealed) = bytes.split_first_chunk::<16>().ok_or_else(cut)?;
        let json = key
            .open(&name(contract, Uuid::from_bytes(*id)), sealed)
            .map_err(damaged("an audit entry"))?;
        Ok(serde_json::from_slice(&json).ok())
    }

    async fn audit_newest(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<AuditRow>> {
        let filter = filter.clone();
        let before = before.map_or(i64::MAX, u64::cast_signed);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from audit
                 where no < ?1 and (?2 is null or contract = ?2)
                   and (?3 is null or actor = ?3 or actor_name = ?3)
                   and (?4 is null or action = ?4 or substr(action, 1, length(?4) + 1) = ?4 || '.')
                 order by no desc limit ?5"
            ))?;
            let contract = filter.contract.map(|contract| id16(contract.0));
            let asked = (before, contract, filter.actor, filter.action, limit);
            let rows = statement.query_map(asked, row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn audit_head(&self) -> Result<Option<AuditHead>> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("select no, hash from audit order by no desc limit 1")?
                .query_row([], |row| {
                    Ok(AuditHead {
                        no: row.get::<_, i64>(0)?.cast_unsigned(),
                        hash: hash_at(row, 1)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    async fn audit_hash(&self, no: u64) -> Result<Option<Sha256>> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("select hash from audit where no = ?1")?
                .query_row([no.cast_signed()], |row| hash_at(row, 0))
                .optional()?)
        })
        .await
    }

    async fn audit_chain(&self) -> Result<AuditChain> {
        self.read(chain).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::now;
    use crate::live::Live;
    use crate::store::Administration;

    async fn store(dir: &tempfile::TempDir) -> SqliteStore {
        let path = dir.path().join(super::super::FILE_NAME);
        SqliteStore::open(&path, SecretKey::generate(), Live::default(), true).unwrap()
    }

    #[tokio::test]
    async fn every_change_of_the_log_shows_and_persons_are_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let contract = store.add_contract("Acme", now()).await.unwrap();
        let view = || {
            Note::new("picture.view")
                .of(contract)
                .on("abc")
                .with("bytes", 7)
        };
        for _ in 0..3 {
            let note = view().with_personal("address", "192.0.2.7");
            store
                .note(Actor::User("tanaka".into()), note, now())
                .await
                .unwrap();
        }
        let chain = store.audit_chain().await.unwrap();
        assert_eq!(
            (chain.broken, chain.entries),
            (None, 4),
            "with contract.add"
        );

        let rows = store.audit_after(1, 10).await.unwrap();
        let row = &rows[0];
        assert_eq!(
            (row.actor.as_str(), row.actor_name.as_ref()),
            ("user", None)
        );
        assert_eq!(row.detail, r#"{"bytes":7}"#);
        let personal = store.audit_personal(row).await.unwrap().unwrap();
        assert_eq!(personal["user"], "tanaka");
        assert_eq!(personal["address"], "192.0.2.7");

        let spoil = |sql: &'static str| store.write(move |c| Ok(c.execute(sql, [])?));
        spoil("update audit set detail = '{}' where no = 3")
            .await
            .unwrap();
        let broken = store.audit_chain().await.unwrap().broken.unwrap();
        assert_eq!(broken.no, 3);
        spoil("delete from audit where no = 2").await.unwrap();
        let broken = store.audit_chain().await.unwrap().broken.unwrap();
        assert_eq!(broken.problem, "entry 2 is missing");
    }

    #[test]
    fn no_two_rows_hash_alike() {
        let row = |actor: &str, name: Option<&str>| AuditRow {
            no: 1,
            at_us: UtcMicros(1),
            contract: None,
            actor: actor.into(),
            actor_name: name.map(Into::into),
            action: "a".into(),
            subject: None,
            detail: "{}".into(),
            sealed: None,
            hash: Sha256::ZERO,
        };
        let hashes = [
            row("ab", Some("c")).hash_after(Sha256::ZERO),
            row("a", Some("bc")).hash_after(Sha256::ZERO),
            row("a", Some("")).hash_after(Sha256::ZERO),
            row("a", None).hash_after(Sha256::ZERO),
            row("a", None).hash_after(Sha256::of(b"x")),
        ];
        for (n, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..n].contains(hash), "{n}");
        }
    }
}
