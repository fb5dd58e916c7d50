//! Opening a connection the one right way, and bringing the schema up to date.

use crate::store::{Result, StoreError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// Numbered steps, forward only, one transaction each. Never edit one that was released.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_first.sql"),
    include_str!("../migrations/sqlite/0002_service.sql"),
    include_str!("../migrations/sqlite/0003_erasure.sql"),
    include_str!("../migrations/sqlite/0004_retention.sql"),
    include_str!("../migrations/sqlite/0005_mail.sql"),
    include_str!("../migrations/sqlite/0006_portal.sql"),
    include_str!("../migrations/sqlite/0007_accounts.sql"),
    include_str!("../migrations/sqlite/0008_capacity.sql"),
    include_str!("../migrations/sqlite/0009_device_files.sql"),
    include_str!("../migrations/sqlite/0010_operator_key.sql"),
    include_str!("../migrations/sqlite/0011_records.sql"),
    include_str!("../migrations/sqlite/0012_audit_count.sql"),
];

/// How long a connection waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// 64 MiB of log, of which most is home already ([`super::checkpoint`]): then the writer copies the rest, and the log
/// begins anew.
const CHECKPOINT_PAGES: i64 = 16_384;
/// Statements that a connection keeps prepared: more than there are on any one path.
const STATEMENTS: usize = 96;
/// Page cache of the write connection.
const CACHE_KIB: i64 = 32 * 1024;

/// SQLite before 3.51.3 can corrupt a database when the WAL is reset.
const SQLITE_AT_LEAST: i32 = 3_051_003;

/// The write connection, with the schema at this program's version.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let found = rusqlite::version_number();
    assert!(
        found >= SQLITE_AT_LEAST,
        "built with SQLite {found}, which can lose data; 3.51.3 or later is needed"
    );
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted rows are overwritten: an erased contract leaves no traces in free pages.
    connection.pragma_update(None, "secure_delete", true)?;
    // Index pages that many commits touch are written home once, and none is spilled in mid-commit.
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What a savepoint needs to undo goes to memory: in files it cost a third of a commit.
    connection.pragma_update(None, "temp_store", "memory")?;
    stable_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    stable_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Plans do not depend on the values that are bound: SQLite would else prepare a statement with a range anew each
/// time it is run.
fn stable_plans(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// A new database at an older version of the schema, to be filled with what was written at that version. It is no good
/// before it is whole: so it is written as fast as can be, and not kept from a crash.
pub(super) fn create_at(path: &Path, version: i64) -> Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "memory")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    migrate_to(&mut connection, path, version)?;
    Ok(connection)
}

pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    migrate_to(connection, path, MIGRATIONS.len() as i64)
}

fn migrate_to(connection: &mut Connection, path: &Path, wanted: i64) -> Result<()> {
    let known = MIGRATIONS.len() as i64;
    loop {
        let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = step.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found.max(wanted) > known {
            return Err(StoreError::Newer {
                path: path.display().to_string(),
                found: found.max(wanted),
                known,
            });
        }
        let next = usize::try_from(found).ok().filter(|_| found < wanted);
        let Some(sql) = next.and_then(|next| MIGRATIONS.get(next)) else {
            return Ok(());
        };
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", found + 1)?;
        step.commit()?;
    }
}
