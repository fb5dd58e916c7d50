//! What is read from the outbox: what to send next, how much there is, and how it adds up.

use crate::spool::outbox::{Chain, Usage};
use crate::spool::quota::Rank;
use rusqlite::{Connection, OptionalExtension, params};
use wire::{Epoch, MediaClass, Seq, Sha256, UtcMicros};

pub(super) type Sql<T> = Result<T, rusqlite::Error>;

/// SQLite's page size; `database.rs` sets it.
pub(super) const PAGE_BYTES: u64 = 4096;

/// What a ready batch needs to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredBatch {
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    pub(super) first_seq: Seq,
    pub(super) records: u64,
    pub(super) sealed: Vec<u8>,
}

/// Oldest batches with an id above `after` that are not in `leased`, at most `limit`.
pub(super) fn next_batches(
    connection: &Connection,
    after: i64,
    up_to: i64,
    limit: usize,
    is_leased: impl Fn(i64) -> bool,
) -> Sql<Vec<StoredBatch>> {
    let mut ids = Vec::new();
    {
        let mut statement = connection
            .prepare_cached("select id from batch where id > ?1 and id <= ?2 order by id")?;
        let mut rows = statement.query([after, up_to])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if !is_leased(id) {
                ids.push(id);
            }
            if ids.len() == limit {
                break;
            }
        }
    }
    let mut statement = connection
        .prepare_cached("select epoch, first_seq, records, sealed from batch where id = ?1")?;
    ids.into_iter()
        .map(|id| {
            statement.query_row([id], |row| {
                Ok(StoredBatch {
                    id,
                    epoch: Epoch(u64::from_be_bytes(row.get(0)?)),
                    first_seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                    records: row.get::<_, u32>(2)?.into(),
                    sealed: row.get(3)?,
                })
            })
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredBlob {
    pub(super) id: i64,
    pub(super) sha256: Sha256,
    pub(super) class: String,
    pub(super) bytes: u64,
    pub(super) content_type: String,
    pub(super) file: String,
}

/// Of the dearest class the oldest blob with an id in `after+1 ..= up_to` that is not leased.
pub(super) fn next_blob(
    connection: &Connection,
    after: i64,
    up_to: i64,
    is_leased: impl Fn(i64) -> bool,
) -> Sql<Option<StoredBlob>> {
    let mut statement = connection.prepare_cached(
        "select id, sha256, class, bytes, content_type, file from blob
         where shed_rank = ?1 and id > ?2 and id <= ?3 order by id",
    )?;
    for rank in [Rank::Requested, Rank::Snapshot, Rank::Periodic, Rank::Clip] {
        let mut rows = statement.query(params![rank as u8, after, up_to])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if !is_leased(id) {
                return Ok(Some(StoredBlob {
                    id,
                    sha256: Sha256(row.get(1)?),
                    class: row.get(2)?,
                    bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                    content_type: row.get(4)?,
                    file: row.get(5)?,
                }));
            }
        }
    }
    Ok(None)
}

/// Newest ids of batches and blobs ever given out: what comes later is "live".
pub(super) fn newest_ids(connection: &Connection) -> Sql<(i64, i64)> {
    let newest = |table: &str| {
        connection
            .prepare_cached(
                "select coalesce((select seq from sqlite_sequence where name = ?1), 0)",
            )?
            .query_row([table], |row| row.get(0))
    };
    Ok((newest("batch")?, newest("blob")?))
}

/// Capture time of the oldest record or blob that waits.
pub(super) fn oldest_pending(connection: &Connection) -> Sql<Option<UtcMicros>> {
    connection
        .prepare_cached(
            "select min(us) from (select (select oldest_us from batch order by id limit 1) as us
             union all select (select captured_us from blob order by id limit 1))",
        )?
        .query_row((), |row| Ok(row.get::<_, Option<i64>>(0)?.map(UtcMicros)))
}

/// Pages of the database that hold something.
pub(super) fn bytes_in_use(connection: &Connection) -> Sql<u64> {
    let pages = |pragma: &str| -> Sql<i64> {
        connection
            .prepare_cached(pragma)?
            .query_row((), |row| row.get(0))
    };
    let used = pages("pragma page_count")? - pages("pragma freelist_count")?;
    Ok(used.max(0).cast_unsigned() * PAGE_BYTES)
}

/// Pages of the database's file that hold nothing.
pub(super) fn free_bytes(connection: &Connection) -> Sql<u64> {
    let pages: i64 = connection
        .prepare_cached("pragma freelist_count")?
        .query_row((), |row| row.get(0))?;
    Ok(pages.cast_unsigned() * PAGE_BYTES)
}

/// Makes the file shorter by up to so many free pages, at the next checkpoint.
pub(super) fn give_pages_back(connection: &Connection, pages: u64) -> Sql<()> {
    let mut statement = connection.prepare(&format!("pragma incremental_vacuum({pages})"))?;
    let mut rows = statement.query(())?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// What there is, as the last commit counted it.
pub(super) fn usage(connection: &Connection) -> Sql<Usage> {
    connection.query_row(
        "select records, batches, batch_bytes, blobs, blob_bytes, parked from meta",
        (),
        |row| {
            let number = |index| -> Sql<u64> { Ok(row.get::<_, i64>(index)?.cast_unsigned()) };
            Ok(Usage {
                records: number(0)?,
                batches: number(1)?,
                batch_bytes: number(2)?,
                blobs: number(3)?,
                blob_bytes: number(4)?,
                parked: number(5)?,
            })
        },
    )
}

/// Closes the epoch before and says where the chain goes on in a new one.
pub(super) fn begin_epoch(connection: &mut Connection, epoch: Epoch, now: UtcMicros) -> Sql<Chain> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "update epoch set last_seq = (select next_seq - 1 from meta) where last_seq is null",
        (),
    )?;
    transaction.execute(
        "insert into epoch (epoch, started_us) values (?1, ?2)",
        params![epoch.0.to_be_bytes(), now.0],
    )?;
    transaction.execute("update meta set next_seq = 1", ())?;
    let head = transaction.query_row("select head_hash from meta", (), |row| row.get(0))?;
    transaction.commit()?;
    Ok(Chain {
        epoch,
        next_seq: Seq::FIRST,
        head: Sha256(head),
    })
}

/// How many commits there were.
pub(super) fn turn_number(connection: &Connection) -> Sql<i64> {
    connection
        .prepare_cached("select turn from meta")?
        .query_row((), |row| row.get(0))
}

/// Every file a row names, in order of the name.
pub(super) fn for_each_blob_file(connection: &Connection, mut each: impl FnMut(&str)) -> Sql<()> {
    let mut statement = connection.prepare("select file from blob order by file")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if let Ok(file) = row.get_ref(0)?.as_str() {
            each(file);
        }
    }
    Ok(())
}

pub(super) fn blob_of_file(connection: &Connection, file: &str) -> Sql<Option<Sha256>> {
    connection
        .query_row("select sha256 from blob where file = ?1", [file], |row| {
            Ok(Sha256(row.get(0)?))
        })
        .optional()
}

/// One line of the balance, as a person or a test reads it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BalanceLine {
    /// Absent: the device itself.
    pub camera: Option<wire::CameraId>,
    /// A record's kind, or a blob's media class.
    pub class: String,
    /// Start of the hour of capture.
    pub hour_us: UtcMicros,
    pub captured: u64,
    pub settled: u64,
    pub shed: u64,
    pub parked: u64,
}

impl BalanceLine {
    /// What is accounted for neither as delivered nor as lost.
    pub fn pending(&self) -> i64 {
        let ended = self.settled + self.shed + self.parked;
        i64::try_from(self.captured).unwrap_or(i64::MAX) - i64::try_from(ended).unwrap_or(i64::MAX)
    }
}

pub(super) fn balance(connection: &Connection) -> Sql<Vec<BalanceLine>> {
    let mut statement = connection.prepare_cached(
        "select camera, class, hour_us, captured, settled, shed, parked from balance
         order by hour_us, camera, class",
    )?;
    statement
        .query_map((), |row| {
            let camera: Vec<u8> = row.get(0)?;
            let number = |index| -> Sql<u64> { Ok(row.get::<_, i64>(index)?.cast_unsigned()) };
            Ok(BalanceLine {
                camera: uuid::Uuid::from_slice(&camera).ok().map(wire::CameraId),
                class: row.get(1)?,
                hour_us: UtcMicros(row.get(2)?),
                captured: number(3)?,
                settled: number(4)?,
                shed: number(5)?,
                parked: number(6)?,
            })
        })?
        .collect()
}

/// Maps a blob's class back; what this version does not know stays unknown.
pub(super) fn media_class(word: &str) -> MediaClass {
    [
        MediaClass::Clip,
        MediaClass::Periodic,
        MediaClass::Diagnostic,
        MediaClass::Requested,
        MediaClass::Snapshot,
    ]
    .into_iter()
    .find(|class| class.as_str() == word)
    .unwrap_or(MediaClass::Unknown)
}
