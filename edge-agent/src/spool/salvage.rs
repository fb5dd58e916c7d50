//! Carries over what can be read of a damaged database into a new one, keeping bytes, keys and order.
//!
//! Every batch is sealed and authenticated by itself, so whatever opens is genuine, from wherever it was read; what
//! stands beside it in clear is made anew from what it says. Two views of the damaged files are read: the database
//! with all sound frames of its log, and the database alone. A batch that was settled in between may rise again:
//! the receiver knows it and says so.
//!
//! The new database is built aside and takes its place by a rename; a crash on the way begins again, or finishes.
//! It is marked as salvaged until `damages` has compared what the balance calls pending with what is there, and the
//! commit that names the difference has cleared the mark.

use crate::spool::database::{self, Layout};
use crate::spool::error::SpoolError;
use crate::spool::outbox::Author;
use crate::spool::quarantine::Quarantine;
use crate::spool::reads::{self, Sql};
use crate::spool::room::Marks;
use crate::spool::seal::Item;
use crate::spool::tally::{HOUR_US, Line, Span, Tally};
use crate::spool::{audit, blob, carve, history, wal};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use wire::{CameraId, Epoch, Record, Seq, SignedBatch, UtcMicros};

/// Rows written in one go.
const ROWS_A_COMMIT: usize = 500;
/// Of the tables `batch` and `blob`.
const BATCH_COLUMNS: usize = 8;
const BLOB_COLUMNS: usize = 10;
/// How far beyond the last row that could be read others are looked for, if the tables do not say how many there are.
const BLIND_STEPS: i64 = 10_000;

/// What was carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) blobs: u64,
}

/// Replaces a damaged database by a new one with all that could be read. The damaged one goes to quarantine.
pub(super) fn rebuild(
    layout: &Layout,
    author: &Author,
    marks: &Marks,
    quarantine: &Quarantine,
    now: UtcMicros,
) -> Result<Salvaged, SpoolError> {
    let aside = layout.rebuild();
    clear(&aside)?;
    fs::create_dir_all(&aside).map_err(SpoolError::file("create folder", &aside))?;
    let target = Layout { dir: aside.clone() };
    let mut new = database::create(&target, author.device, marks, now)?;
    let mut carrier = Carrier {
        author,
        layout,
        salvaged: Salvaged::default(),
        balance_carried: false,
        forgotten_carried: false,
    };
    let views = views(layout, &aside);
    for view in &views {
        if let Err(error) = carrier.carry_view(view, &mut new) {
            // A disk without room for all keeps what fits; the rest is named as lost.
            tracing::error!(%error, "not all could be carried over: {error}");
        }
    }
    drop(views);
    carrier
        .close(&new, now)
        .map_err(SpoolError::database("sum up what was salvaged"))?;
    new.close()
        .map_err(|(_, error)| SpoolError::database("close the new database")(error))?;
    blob::sync_dir(&aside)?;
    let folder = quarantine.folder(now)?;
    // The database first: while it stands in its place, a crash begins again from it.
    for name in database::FILES {
        let from = layout.dir.join(name);
        if from.exists() {
            fs::rename(&from, folder.join(name))
                .map_err(SpoolError::file("move to quarantine", &from))?;
        }
    }
    put_in_place(layout)?;
    quarantine.prune();
    Ok(carrier.salvaged)
}

/// Ends what a crash has interrupted: a finished new database takes the empty place, an unfinished one goes.
pub(super) fn finish_interrupted(layout: &Layout) -> Result<(), SpoolError> {
    let aside = layout.rebuild();
    if !aside.exists() {
        return Ok(());
    }
    if !layout.database().exists() && (Layout { dir: aside.clone() }).database().exists() {
        return put_in_place(layout);
    }
    clear(&aside)
}

fn put_in_place(layout: &Layout) -> Result<(), SpoolError> {
    let aside = layout.rebuild();
    // A log of the old database must never meet the new one.
    for name in &database::FILES[1..] {
        let _ = fs::remove_file(layout.dir.join(name));
    }
    let from = Layout { dir: aside.clone() }.database();
    fs::rename(&from, layout.database()).map_err(SpoolError::file("put in place", &from))?;
    blob::sync_dir(&layout.dir)?;
    clear(&aside)
}

fn clear(folder: &Path) -> Result<(), SpoolError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SpoolError::file("delete folder", folder)(error))
        }
        _ => Ok(()),
    }
}

/// The damaged files in every reading that makes sense, the newest first.
fn views(layout: &Layout, aside: &Path) -> Vec<View> {
    let (database, log) = (layout.database(), layout.log());
    let copy = aside.join("with-log.db");
    let copied = fs::copy(&database, &copy).and_then(|_| {
        if log.exists() {
            wal::apply(&log, &copy)
        } else {
            Ok(())
        }
    });
    let mut paths = Vec::new();
    match copied {
        Ok(()) => paths.push(copy),
        Err(error) => tracing::warn!(%error, "the damaged log cannot be put to use: {error}"),
    }
    paths.push(database);
    paths
        .into_iter()
        .map(|path| View {
            connection: open_as_it_is(&path).ok(),
            path,
        })
        .collect()
}

/// One reading of the damaged files.
struct View {
    path: PathBuf,
    /// Absent where SQLite does not take it for a database at all.
    connection: Option<Connection>,
}

/// Reads the file alone and changes nothing beside it.
pub(super) fn open_as_it_is(path: &Path) -> Sql<Connection> {
    let name: String = path
        .to_string_lossy()
        .chars()
        .flat_map(|c| match c {
            '%' => "%25".chars().collect::<Vec<_>>(),
            '?' => "%3f".chars().collect(),
            '#' => "%23".chars().collect(),
            c => vec![c],
        })
        .collect();
    Connection::open_with_flags(
        format!("file:{name}?immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    )
}

struct Carrier<'a> {
    author: &'a Author,
    layout: &'a Layout,
    salvaged: Salvaged,
    balance_carried: bool,
    forgotten_carried: bool,
}

/// A batch that opened, with all that its row needs.
struct Whole {
    id: i64,
    epoch: Epoch,
    first_seq: Seq,
    records: u64,
    oldest_us: i64,
    has_gap: bool,
    tally: Tally,
    sealed: Vec<u8>,
}

impl Carrier<'_> {
    /// Through SQLite, and what its trees no longer lead to from the pages themselves.
    fn carry_view(&mut self, view: &View, to: &mut Connection) -> Result<(), SpoolError> {
        let ours = match &view.connection {
            Some(from) => self.carry(from, to)?,
            None => true,
        };
        if ours {
            self.carve(&view.path, to)
                .map_err(SpoolError::database("carry over what was carved out"))?;
        }
        Ok(())
    }

    fn carry(&mut self, from: &Connection, to: &mut Connection) -> Result<bool, SpoolError> {
        let owner: Option<[u8; 16]> = from
            .query_row("select device_id from meta", (), |row| row.get(0))
            .ok();
        if owner.is_some_and(|owner| owner != *self.author.device.0.as_bytes()) {
            return Ok(false);
        }
        carry_meta(from, to).map_err(SpoolError::database("carry over the chain"))?;
        if !self.balance_carried {
            let unreadable =
                carry_tables(from, to).map_err(SpoolError::database("carry over the balance"))?;
            self.balance_carried = !unreadable.contains(&"balance");
            self.forgotten_carried |= !unreadable.contains(&"forgotten");
        }
        self.carry_batches(from, to)
            .map_err(SpoolError::database("carry over batches"))?;
        self.carry_blobs(from, to)
            .map_err(SpoolError::database("carry over blobs"))?;
        Ok(true)
    }

    /// Pages that were freed still hold batches that are long done with: what is known to have ended stays ended.
    fn carve(&mut self, database: &Path, to: &mut Connection) -> Sql<()> {
        let (author, mut outcome) = (self.author, Ok(()));
        let mut found = Vec::new();
        let carved = carve::for_each_row(database, BATCH_COLUMNS, |id, row| {
            found.extend(carved_batch(author, id, row));
            if found.len() == ROWS_A_COMMIT && outcome.is_ok() {
                outcome = self.insert_carved(std::mem::take(&mut found), to);
            }
        });
        outcome?;
        self.insert_carved(found, to)?;
        let mut blobs = Vec::new();
        let carved = carved.and_then(|()| {
            carve::for_each_row(database, BLOB_COLUMNS, |id, mut row| {
                row[0] = SqlValue::Integer(id);
                blobs.push(row);
            })
        });
        if let Err(error) = carved {
            tracing::warn!(%error, "the damaged pages cannot be read: {error}");
        }
        self.insert_blobs(blobs, to)
    }

    fn insert_carved(&mut self, found: Vec<Whole>, to: &mut Connection) -> Sql<()> {
        let transaction = to.transaction()?;
        for whole in found {
            let has_ended: bool = transaction
                .prepare_cached(
                    "select exists (select 1 from ended
                     where epoch = ?1 and first_seq <= ?2 and last_seq >= ?2)",
                )?
                .query_row(
                    params![whole.epoch.0.to_be_bytes(), whole.first_seq.0.cast_signed()],
                    |row| row.get(0),
                )?;
            if !has_ended {
                let inserted = insert_batch(&transaction, &whole)?;
                self.salvaged.batches += inserted;
                self.salvaged.records += inserted * whole.records;
            }
        }
        transaction.commit()
    }

    fn carry_batches(&mut self, from: &Connection, to: &mut Connection) -> Sql<()> {
        let mut walk = Walk::new(from, "batch", "id, epoch, first_seq, sealed");
        loop {
            let portion = walk.portion(|row| {
                let epoch = Epoch(u64::from_be_bytes(row.get(1)?));
                let first_seq = Seq(row.get::<_, i64>(2)?.cast_unsigned());
                Ok((row.get(0)?, epoch, first_seq, row.get(3)?))
            });
            if portion.is_empty() {
                return Ok(());
            }
            let transaction = to.transaction()?;
            for (id, epoch, first_seq, sealed) in portion {
                if let Some(whole) = open_whole(self.author, id, epoch, first_seq, sealed) {
                    let inserted = insert_batch(&transaction, &whole)?;
                    self.salvaged.batches += inserted;
                    self.salvaged.records += inserted * whole.records;
                }
            }
            transaction.commit()?;
        }
    }

    /// A row is kept if its file is there in full length.
    fn carry_blobs(&mut self, from: &Connection, to: &mut Connection) -> Sql<()> {
        let columns = "id, sha256, class, shed_rank, camera, captured_us, bytes, file_bytes, content_type, file";
        let mut walk = Walk::new(from, "blob", columns);
        loop {
            let portion = walk.portion(|row| {
                (0..BLOB_COLUMNS)
                    .map(|column| row.get::<_, SqlValue>(column))
                    .collect::<Sql<Vec<_>>>()
            });
            if portion.is_empty() {
                return Ok(());
            }
            self.insert_blobs(portion, to)?;
        }
    }

    fn insert_blobs(&mut self, rows: Vec<Vec<SqlValue>>, to: &mut Connection) -> Sql<()> {
        let transaction = to.transaction()?;
        for row in rows {
            let (Some(SqlValue::Text(file)), Some(SqlValue::Integer(bytes))) =
                (row.get(9), row.get(7))
            else {
                continue;
            };
            let path = self.layout.blobs().join(file);
            if fs::metadata(path).is_ok_and(|meta| meta.len() == bytes.cast_unsigned()) {
                // What breaks a rule of the table was changed on disk.
                let inserted = transaction
                    .prepare_cached(
                        "insert or ignore into blob values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                    )?
                    .execute(rusqlite::params_from_iter(row));
                self.salvaged.blobs += inserted.or_else(ignore_refused)? as u64;
            }
        }
        transaction.commit()
    }

    /// Sums up what is there and marks it as salvaged.
    fn close(&self, to: &Connection, now: UtcMicros) -> Sql<()> {
        if !self.balance_carried {
            count_what_is_there(to)?;
        }
        if !self.balance_carried || !self.forgotten_carried {
            let next_hour = now.0 - now.0.rem_euclid(HOUR_US) + HOUR_US;
            history::lose_before(to, UtcMicros(next_hour))?;
        }
        to.execute(
            "update meta set salvaged = ?1,
               records = (select coalesce(sum(records), 0) from batch),
               batches = (select count(*) from batch),
               batch_bytes = (select coalesce(sum(length(sealed)), 0) from batch),
               blobs = (select count(*) from blob),
               blob_bytes = (select coalesce(sum(file_bytes), 0) from blob)",
            [if self.balance_carried { 1 } else { 2 }],
        )?;
        let newest: Option<(i64, [u8; 8])> = to
            .query_row(
                "select first_seq + records, epoch from batch order by id desc limit 1",
                (),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((next_seq, _)) = newest {
            to.execute("update meta set next_seq = max(next_seq, ?1)", [next_seq])?;
        }
        self.close_chain(to)
    }

    /// Where the old chain's end is unknown, the newest batch that was saved is the end.
    fn close_chain(&self, to: &Connection) -> Sql<()> {
        let head: [u8; 32] = to.query_row("select head_hash from meta", (), |row| row.get(0))?;
        if head != [0; 32] {
            return Ok(());
        }
        let newest = to
            .query_row(
                "select epoch, first_seq, sealed from batch order by id desc limit 1",
                (),
                |row| {
                    let item = Item::Batch {
                        epoch: Epoch(u64::from_be_bytes(row.get(0)?)),
                        first_seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                    };
                    Ok((item, row.get::<_, Vec<u8>>(2)?))
                },
            )
            .optional()?;
        let hash = newest
            .and_then(|(item, sealed)| self.author.vault.open(item, sealed).ok())
            .and_then(|bytes| SignedBatch::from_bytes(bytes).ok())
            .map(|signed| signed.hash());
        if let Some(hash) = hash {
            to.execute("update meta set head_hash = ?1", [hash.0])?;
        }
        Ok(())
    }
}

/// A row of `batch` as it stands in a page.
fn carved_batch(author: &Author, id: i64, row: Vec<SqlValue>) -> Option<Whole> {
    let Ok(
        [
            _,
            SqlValue::Blob(epoch),
            SqlValue::Integer(first_seq),
            _,
            _,
            _,
            _,
            SqlValue::Blob(sealed),
        ],
    ) = <[SqlValue; BATCH_COLUMNS]>::try_from(row)
    else {
        return None;
    };
    let epoch = Epoch(u64::from_be_bytes(epoch.try_into().ok()?));
    open_whole(author, id, epoch, Seq(first_seq.cast_unsigned()), sealed)
}

fn open_whole(
    author: &Author,
    id: i64,
    epoch: Epoch,
    first_seq: Seq,
    sealed: Vec<u8>,
) -> Option<Whole> {
    let item = Item::Batch { epoch, first_seq };
    let opened = author.vault.open(item, sealed.clone()).ok()?;
    let batch = SignedBatch::from_bytes(opened).ok()?.parse().ok()?;
    let mut tally = Tally::default();
    for json in &batch.records {
        let record = Record::from_json(json).ok()?;
        tally.add(
            Line::of_record(&record),
            Span::one(record.time.captured_at_us),
        );
    }
    let oldest_us = tally.iter().map(|(_, span)| span.from.0).min()?;
    let has_gap = tally.iter().any(|(line, _)| line.is_gap());
    Some(Whole {
        id,
        epoch,
        first_seq,
        records: batch.records.len() as u64,
        oldest_us,
        has_gap,
        tally,
        sealed,
    })
}

fn insert_batch(to: &Connection, whole: &Whole) -> Sql<u64> {
    let inserted = to
        .prepare_cached("insert or ignore into batch values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            whole.id,
            whole.epoch.0.to_be_bytes(),
            whole.first_seq.0.cast_signed(),
            whole.records.cast_signed(),
            whole.oldest_us,
            whole.has_gap,
            whole.tally.to_json(),
            whole.sealed,
        ]);
    Ok(inserted.or_else(ignore_refused)? as u64)
}

/// Rows that break a rule of the table are not worth keeping; a disk that cannot write is another matter.
fn ignore_refused(error: rusqlite::Error) -> Sql<usize> {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation | rusqlite::ErrorCode::TypeMismatch) => Ok(0),
        _ => Err(error),
    }
}

/// Where the chain ended, if that can be read; the newest view wins.
fn carry_meta(from: &Connection, to: &Connection) -> Sql<()> {
    let read = from.query_row(
        "select head_hash, next_seq, turn, parked from meta",
        (),
        |row| {
            let head: [u8; 32] = row.get(0)?;
            let number = |column| row.get::<_, i64>(column);
            Ok((head, number(1)?, number(2)?, number(3)?))
        },
    );
    if let Ok((head, next_seq, turn, parked)) = read {
        to.execute(
            "update meta set head_hash = ?1, next_seq = ?2, turn = ?3, parked = ?4 where turn < ?3",
            params![head, next_seq, turn, parked],
        )?;
    }
    Ok(())
}

/// The small tables, each whole or not at all. Names those that could not be read.
fn carry_tables(from: &Connection, to: &mut Connection) -> Sql<Vec<&'static str>> {
    let transaction = to.transaction()?;
    let mut unreadable = Vec::new();
    for (table, columns) in [
        ("epoch", 4),
        ("ended", 4),
        ("parked", 6),
        ("open_event", 3),
        ("balance", 7),
        ("forgotten", 7),
    ] {
        let Ok(rows) = whole_table(from, table, columns) else {
            tracing::warn!(table, "the table {table} cannot be read and is made anew");
            unreadable.push(table);
            continue;
        };
        let places = vec!["?"; columns].join(", ");
        let sql = format!("insert or ignore into {table} values ({places})");
        let mut insert = transaction.prepare(&sql)?;
        for row in rows {
            insert
                .execute(rusqlite::params_from_iter(row))
                .or_else(ignore_refused)?;
        }
    }
    transaction.commit()?;
    Ok(unreadable)
}

fn whole_table(from: &Connection, table: &str, columns: usize) -> Sql<Vec<Vec<SqlValue>>> {
    let mut statement = from.prepare(&format!("select * from {table}"))?;
    if statement.column_count() != columns {
        return Err(rusqlite::Error::QueryReturnedNoRows);
    }
    statement
        .query_map((), |row| {
            (0..columns).map(|column| row.get(column)).collect()
        })?
        .collect()
}

/// A balance from nothing: what is there was captured; what was settled before nobody knows any more.
fn count_what_is_there(to: &Connection) -> Sql<()> {
    to.execute("delete from balance", ())?;
    for (line, count) in pending_now(to)? {
        to.execute(
            "insert into balance (camera, class, hour_us, captured) values (?1, ?2, ?3, ?4)",
            params![line.camera_key(), line.class, line.hour_us, count],
        )?;
    }
    Ok(())
}

/// What is pending, counted from the rows themselves.
pub(super) fn pending_now(connection: &Connection) -> Sql<BTreeMap<Line, i64>> {
    let mut pending = BTreeMap::new();
    let mut batches = connection.prepare("select tally from batch")?;
    let mut rows = batches.query(())?;
    while let Some(row) = rows.next()? {
        let tally = Tally::from_json(row.get_ref(0)?.as_str()?).unwrap_or_default();
        for (line, span) in tally.iter() {
            *pending.entry(line.clone()).or_default() += span.count.cast_signed();
        }
    }
    let mut blobs = connection.prepare("select class, camera, captured_us from blob")?;
    let mut rows = blobs.query(())?;
    while let Some(row) = rows.next()? {
        let camera = CameraId(uuid::Uuid::from_bytes(row.get(1)?));
        let class: String = row.get(0)?;
        let line = Line::new(Some(camera), &class, UtcMicros(row.get(2)?));
        *pending.entry(line).or_default() += 1;
    }
    Ok(pending)
}

/// What a salvage has lost, to be named by the first commit.
#[derive(Debug, Default)]
pub(super) struct Damages {
    pub(super) lines: Vec<(Line, Span)>,
    /// The balance was lost, too: how many more are missing nobody knows.
    pub(super) beyond_counting: bool,
    pub(super) is_salvaged: bool,
}

/// Compares what the balance calls pending with what is there. May be asked again until the answer is committed.
pub(super) fn damages(connection: &mut Connection) -> Sql<Damages> {
    let salvaged: i64 = connection.query_row("select salvaged from meta", (), |row| row.get(0))?;
    if salvaged == 0 {
        return Ok(Damages::default());
    }
    let mut damages = Damages {
        is_salvaged: true,
        beyond_counting: salvaged == 2,
        ..Damages::default()
    };
    let transaction = connection.transaction()?;
    let mut there = pending_now(&transaction)?;
    for known in reads::balance(&transaction)? {
        let line = Line {
            camera: known.camera,
            class: known.class.clone(),
            hour_us: known.hour_us.0,
        };
        let lost = known.pending() - there.remove(&line).unwrap_or(0);
        if lost > 0 {
            let span = Span {
                count: lost.unsigned_abs(),
                from: UtcMicros(line.hour_us),
                to: UtcMicros(line.hour_us + HOUR_US - 1),
            };
            damages.lines.push((line, span));
        } else if lost < 0 {
            risen(&transaction, &line, -lost)?;
        }
    }
    for (line, count) in there {
        risen(&transaction, &line, count)?;
    }
    name_lost_numbers(&transaction)?;
    transaction.commit()?;
    Ok(damages)
}

/// More is there than the balance knew: settled once and back again from an older view. It settles once more.
fn risen(connection: &Connection, line: &Line, count: i64) -> Sql<()> {
    connection
        .prepare_cached(
            "insert into balance (camera, class, hour_us, captured) values (?1, ?2, ?3, ?4)
             on conflict do update set
               captured = captured + max(0, ?4 - settled), settled = max(0, settled - ?4)",
        )?
        .execute(params![line.camera_key(), line.class, line.hour_us, count])?;
    Ok(())
}

/// Numbers that are neither pending nor ended were lost with the damage: parked, so that each has a name. Those
/// that are both have risen again: pending.
fn name_lost_numbers(connection: &Connection) -> Sql<()> {
    let keys = audit::unexplained(connection)?;
    for (epoch, first, last) in keys.missing {
        insert_ended(connection, epoch, first, last, "parked")?;
    }
    for (epoch, first, last) in keys.doubled {
        let overlapping: Vec<(i64, i64, String)> = connection
            .prepare_cached(
                "select first_seq, last_seq, how from ended
                 where epoch = ?1 and first_seq <= ?3 and last_seq >= ?2",
            )?
            .query_map(
                params![
                    epoch.0.to_be_bytes(),
                    first.cast_signed(),
                    last.cast_signed()
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?
            .collect::<Sql<_>>()?;
        for (row_first, row_last, how) in overlapping {
            connection
                .prepare_cached("delete from ended where epoch = ?1 and first_seq = ?2")?
                .execute(params![epoch.0.to_be_bytes(), row_first])?;
            let (row_first, row_last) = (row_first.cast_unsigned(), row_last.cast_unsigned());
            insert_ended(connection, epoch, row_first, first - 1, &how)?;
            insert_ended(connection, epoch, last + 1, row_last, &how)?;
        }
    }
    Ok(())
}

/// An empty range is none.
fn insert_ended(
    connection: &Connection,
    epoch: Epoch,
    first: u64,
    last: u64,
    how: &str,
) -> Sql<()> {
    if first <= last {
        connection
            .prepare_cached(
                "insert into ended (epoch, first_seq, last_seq, how) values (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                epoch.0.to_be_bytes(),
                first.cast_signed(),
                last.cast_signed(),
                how
            ])?;
    }
    Ok(())
}

/// Reads a table in order of its ids, stepping over what cannot be read.
struct Walk<'a> {
    from: &'a Connection,
    sql: String,
    after: i64,
    last: i64,
}

impl<'a> Walk<'a> {
    fn new(from: &'a Connection, table: &str, columns: &str) -> Self {
        let counted = from.query_row(
            "select seq from sqlite_sequence where name = ?1",
            [table],
            |row| row.get(0),
        );
        Self {
            from,
            sql: format!(
                "select {columns} from {table} where id > ?1 order by id limit {ROWS_A_COMMIT}"
            ),
            after: 0,
            last: counted.unwrap_or(BLIND_STEPS),
        }
    }

    /// The next rows that can be read; none: this is the end.
    fn portion<T>(&mut self, mut read: impl FnMut(&rusqlite::Row<'_>) -> Sql<T>) -> Vec<T> {
        let mut found = Vec::new();
        while found.is_empty() {
            match self.scan(&mut found, &mut read) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if self.after >= self.last => break,
                Err(_) => self.after += 1,
            }
        }
        found
    }

    /// How many rows were there, readable or not.
    fn scan<T>(
        &mut self,
        found: &mut Vec<T>,
        read: &mut impl FnMut(&rusqlite::Row<'_>) -> Sql<T>,
    ) -> Sql<usize> {
        let mut statement = self.from.prepare_cached(&self.sql)?;
        let mut rows = statement.query([self.after])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if id <= self.after {
                // A damaged tree that leads back would never end.
                return Err(rusqlite::Error::QueryReturnedMoreThanOneRow);
            }
            self.after = id;
            seen += 1;
            found.extend(read(row));
        }
        Ok(seen)
    }
}
