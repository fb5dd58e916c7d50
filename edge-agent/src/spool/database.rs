//! Opens the database so that a commit survives a power cut, and sets a damaged one aside.

use crate::spool::error::{SpoolError, is_corruption};
use crate::spool::migrate;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{DeviceId, Sha256, UtcMicros};

/// First SQLite without the WAL-reset corruption bug.
const OLDEST_SQLITE: i32 = 3_051_003;
/// How many set-aside databases are kept; older ones are deleted.
const KEPT_QUARANTINES: usize = 3;

/// Where the spool's files lie.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) dir: PathBuf,
}

impl Layout {
    pub(super) fn database(&self) -> PathBuf {
        self.dir.join("spool.db")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }
}

/// Opens, checks and migrates. `Damaged` or an SQLite corruption code asks for `set_aside`.
pub(super) fn open(
    layout: &Layout,
    device: DeviceId,
    now: UtcMicros,
) -> Result<Connection, SpoolError> {
    let found = rusqlite::version_number();
    if found < OLDEST_SQLITE {
        return Err(SpoolError::OldSqlite(found));
    }
    let path = layout.database();
    let mut connection =
        Connection::open(&path).map_err(SpoolError::database("open the database"))?;
    configure(&connection).map_err(SpoolError::database("configure the database"))?;
    check(&connection, &path)?;
    migrate::migrate(&mut connection, &path, now)?;
    check_schema(&connection).map_err(SpoolError::database("find its tables"))?;
    own(&connection, device, &path)?;
    Ok(connection)
}

/// WAL with an fsync at every commit: what FACTS found to lose nothing at a power cut.
fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    // Nobody else writes; a person who looks with a tool of their own must not stop the agent for long.
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.query_row("pragma journal_mode = wal", (), |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A write-ahead log that grew in a storm shrinks again at the next checkpoint.
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn check(connection: &Connection, path: &Path) -> Result<(), SpoolError> {
    let verdict: String = connection
        .query_row("pragma quick_check(1)", (), |row| row.get(0))
        .map_err(SpoolError::database("check the database"))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(SpoolError::Damaged {
            path: path.to_owned(),
            detail: verdict,
        })
    }
}

/// Every table of this version is there: a database can be sound and yet not ours.
fn check_schema(connection: &Connection) -> Result<(), rusqlite::Error> {
    for table in [
        "meta",
        "epoch",
        "batch",
        "blob",
        "parked",
        "balance",
        "open_event",
    ] {
        connection.prepare(&format!("select * from {table} limit 0"))?;
    }
    Ok(())
}

/// Writes whose database this is, or checks that it is ours.
fn own(connection: &Connection, device: DeviceId, path: &Path) -> Result<(), SpoolError> {
    connection
        .execute(
            "insert or ignore into meta (one, device_id, head_hash, turn) values (1, ?1, ?2, 0)",
            (device.0.as_bytes(), Sha256::ZERO.0),
        )
        .map_err(SpoolError::database("write its owner"))?;
    let owner: [u8; 16] = connection
        .query_row("select device_id from meta", (), |row| row.get(0))
        .map_err(SpoolError::database("read its owner"))?;
    if owner == *device.0.as_bytes() {
        Ok(())
    } else {
        Err(SpoolError::Damaged {
            path: path.to_owned(),
            detail: "it belongs to another device".to_owned(),
        })
    }
}

/// Whether this error means: set the database aside and start an empty one.
pub(super) fn asks_for_quarantine(error: &SpoolError) -> bool {
    match error {
        SpoolError::Damaged { .. } => true,
        // SQLite's plain "error" while opening: the tables are not what they should be.
        SpoolError::Database { source, .. } => {
            is_corruption(source)
                || source.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown)
        }
        _ => false,
    }
}

/// What was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetAside {
    /// Last change of the database: losses lie before it.
    pub(super) changed_at: Option<UtcMicros>,
    /// Blob files that went along, because only the database knew what they are.
    pub(super) blobs: u64,
}

/// Moves the database and its blobs into a folder of their own below `quarantine/`.
pub(super) fn set_aside(layout: &Layout, now: UtcMicros) -> Result<SetAside, SpoolError> {
    let database = layout.database();
    let changed_at = fs::metadata(&database)
        .and_then(|meta| meta.modified())
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map(|since| UtcMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)));
    let blobs = fs::read_dir(layout.blobs()).map_or(0, |entries| entries.count() as u64);

    let target = layout.quarantine().join(format!("{:020}", now.0.max(0)));
    fs::create_dir_all(&target).map_err(SpoolError::file("create folder", &target))?;
    for name in ["spool.db", "spool.db-wal", "spool.db-shm", "blobs"] {
        let from = layout.dir.join(name);
        if from.exists() {
            fs::rename(&from, target.join(name))
                .map_err(SpoolError::file("move to quarantine", &from))?;
        }
    }
    prune(&layout.quarantine());
    Ok(SetAside { changed_at, blobs })
}

fn prune(quarantine: &Path) {
    let Ok(entries) = fs::read_dir(quarantine) else {
        return;
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let surplus = folders.len().saturating_sub(KEPT_QUARANTINES);
    for old in &folders[..surplus] {
        if let Err(error) = fs::remove_dir_all(old) {
            tracing::warn!(path = %old.display(), %error, "cannot delete an old quarantine");
        }
    }
}
