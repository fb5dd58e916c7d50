//! Opens the database so that a commit survives a power cut, and says when it is damaged.

use crate::spool::error::{SpoolError, is_corruption};
use crate::spool::reads::PAGE_BYTES;
use crate::spool::room::Marks;
use crate::spool::rows::integer;
use crate::spool::{migrate, salvage, wal};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{DeviceId, Sha256, UtcMicros};

/// First SQLite without the WAL-reset corruption bug.
const OLDEST_SQLITE: i32 = 3_051_003;
/// The database's files: itself, its write-ahead log, the log's index.
pub(super) const FILES: [&str; 3] = ["spool.db", "spool.db-wal", "spool.db-shm"];
/// Up to this size a database is checked page by page before anything else; a larger one while the work goes on.
const CHECKED_AT_ONCE_BYTES: u64 = 32 << 20;

/// Where the spool's files lie.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) dir: PathBuf,
}

impl Layout {
    pub(super) fn database(&self) -> PathBuf {
        self.dir.join(FILES[0])
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join(FILES[1])
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    /// Where a damaged database is built anew.
    pub(super) fn rebuild(&self) -> PathBuf {
        self.dir.join("rebuild")
    }
}

/// An open database.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// It is too large to be checked first: `check_in_background`.
    pub(super) unchecked: bool,
}

/// Opens, checks and migrates. An error for which `asks_for_salvage` holds means that it is damaged.
pub(super) fn open(
    layout: &Layout,
    device: DeviceId,
    marks: &Marks,
    now: UtcMicros,
) -> Result<Opened, SpoolError> {
    let found = rusqlite::version_number();
    if found < OLDEST_SQLITE {
        return Err(SpoolError::OldSqlite(found));
    }
    salvage::finish_interrupted(layout)?;
    let log = layout.log();
    let verdict = wal::inspect(&log).map_err(SpoolError::file("read", &log))?;
    if let wal::Verdict::Damaged { lost_commits } = verdict {
        return Err(SpoolError::Damaged {
            path: log,
            detail: format!("{lost_commits} commits lie behind bytes that have changed"),
        });
    }
    let path = layout.database();
    let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    let connection = create(layout, device, marks, now)?;
    let unchecked = bytes > CHECKED_AT_ONCE_BYTES;
    if !unchecked {
        check(&connection, &path)?;
    }
    check_schema(&connection).map_err(SpoolError::database("find its tables"))?;
    Ok(Opened {
        connection,
        unchecked,
    })
}

/// Opens what is there or makes it, in the form of this version.
pub(super) fn create(
    layout: &Layout,
    device: DeviceId,
    marks: &Marks,
    now: UtcMicros,
) -> Result<Connection, SpoolError> {
    let path = layout.database();
    let mut connection =
        Connection::open(&path).map_err(SpoolError::database("open the database"))?;
    configure(&connection, marks).map_err(SpoolError::database("configure the database"))?;
    migrate::migrate(&mut connection, &path, now)?;
    own(&connection, device, &path)?;
    Ok(connection)
}

/// WAL with an fsync at every commit: what FACTS found to lose nothing at a power cut.
fn configure(connection: &Connection, marks: &Marks) -> Result<(), rusqlite::Error> {
    // Nobody else writes; a person who looks with a tool of their own must not stop the agent for long.
    connection.busy_timeout(Duration::from_secs(1))?;
    // Counts for a new file only. A backlog that is delivered gives its room back.
    connection.pragma_update(None, "page_size", integer(PAGE_BYTES))?;
    connection.pragma_update(None, "auto_vacuum", "incremental")?;
    connection.query_row("pragma journal_mode = wal", (), |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The writer checkpoints itself, because SQLite would keep an error of that to itself.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Kept at this size and written over: on a full disk the log needs no new room.
    connection.pragma_update(None, "journal_size_limit", integer(marks.wal_bytes))?;
    let max_pages = marks.max_pages(PAGE_BYTES).min(u64::from(u32::MAX) - 1);
    connection.pragma_update(None, "max_page_count", integer(max_pages))?;
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

/// Checks a large database beside the work, through a connection of its own; `damaged` hears of what it finds.
pub(super) fn check_in_background(layout: &Layout, damaged: impl FnOnce(String) + Send + 'static) {
    let path = layout.database();
    let thread = std::thread::Builder::new().name("spool-check".to_owned());
    let spawned = thread.spawn(move || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let checked = Connection::open_with_flags(&path, flags)
            .map_err(SpoolError::database("open the database"))
            .and_then(|connection| check(&connection, &path));
        match checked {
            Err(error) if asks_for_salvage(&error) => damaged(error.to_string()),
            Err(error) => tracing::warn!(%error, "the spool could not be checked: {error}"),
            Ok(()) => tracing::debug!("the spool's database is sound"),
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "the spool cannot be checked beside the work: {error}");
    }
}

/// Every table of this version is there: a database can be sound and yet not ours.
pub(super) fn check_schema(connection: &Connection) -> Result<(), rusqlite::Error> {
    for table in [
        "meta",
        "epoch",
        "ended",
        "batch",
        "blob",
        "parked",
        "balance",
        "open_event",
        "forgotten",
    ] {
        connection.prepare(&format!("select * from {table} limit 0"))?;
    }
    Ok(())
}

/// Writes whose database this is, or checks that it is ours.
fn own(connection: &Connection, device: DeviceId, path: &Path) -> Result<(), SpoolError> {
    connection
        .execute(
            "insert or ignore into meta values (1, ?1, ?2, 1, 0, 0, 0, 0, 0, 0, 0, 0)",
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

/// Whether this error means: the database is damaged.
pub(super) fn asks_for_salvage(error: &SpoolError) -> bool {
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
