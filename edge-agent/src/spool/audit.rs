//! Whether everything adds up, read beside the running agent or without it; nothing is changed.
//!
//! Every record number of an epoch is pending in a batch or stands among the ended ones; every blob row has a file
//! and every file a row; per camera, class and hour the balance says as many pending as are there. What does not
//! fit is named by its key. Batches are opened, so that one which can no longer be read is found here and not when
//! it is sent.
//!
//! Files are looked at beside the database, not in its transaction: a difference counts if it is there twice, a
//! while apart.

use crate::spool::SpoolKeys;
use crate::spool::database::{self, Layout};
use crate::spool::error::SpoolError;
use crate::spool::history::{self, Forgotten};
use crate::spool::reads::{self, BalanceLine, Sql};
use crate::spool::seal::{Item, Vault};
use crate::spool::tally::Line;
use crate::spool::{salvage, sweep};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;
use wire::record::GapRecord;
use wire::{Body, CameraId, DeviceId, Epoch, Record, Seq, Sha256, SignedBatch, UtcMicros};

/// Between the two looks at what does not fit.
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(1500);

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct Audit {
    pub device: DeviceId,
    /// Of every hour that the books tell whole.
    pub lines: Vec<AuditLine>,
    /// Of hours before that, each counting only what came since they were let go.
    pub earlier: Vec<AuditLine>,
    /// Absent: the books tell everything since the spool was made.
    pub forgotten: Option<Forgotten>,
    pub pending_gaps: Vec<PendingGap>,
    pub parked: Vec<ParkedRecord>,
    /// Blobs and records that wait.
    pub pending_records: u64,
    pub pending_blobs: u64,
    /// Nothing here: it adds up.
    pub differences: Vec<Difference>,
}

impl Audit {
    pub fn all_lines(&self) -> impl Iterator<Item = &AuditLine> {
        self.earlier.iter().chain(&self.lines)
    }
}

/// One line of the balance beside what is really there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    #[serde(flatten)]
    pub balance: BalanceLine,
    /// Counted from the rows.
    pub pending: i64,
}

impl AuditLine {
    pub fn adds_up(&self) -> bool {
        self.balance.pending() == self.pending
    }
}

/// A gap record that has not been delivered yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PendingGap {
    pub epoch: Epoch,
    pub seq: Seq,
    #[serde(flatten)]
    pub gap: GapRecord,
}

/// A record that was refused for good or could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedRecord {
    pub epoch: Epoch,
    pub seq: Seq,
    pub code: String,
    pub parked_at_us: UtcMicros,
}

/// Something that does not add up, by its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    /// Accepted, but neither pending nor ended.
    MissingRecords {
        epoch: Epoch,
        first_seq: Seq,
        last_seq: Seq,
    },
    /// Pending and ended at once, or twice.
    DoubledRecords {
        epoch: Epoch,
        first_seq: Seq,
        last_seq: Seq,
    },
    UnreadableBatch {
        epoch: Epoch,
        first_seq: Seq,
        last_seq: Seq,
    },
    BlobWithoutFile {
        sha256: Sha256,
        class: String,
        file: String,
    },
    FileWithoutRow {
        file: String,
    },
    /// The balance's pending is not what is there.
    Balance {
        camera: Option<CameraId>,
        class: String,
        hour_us: UtcMicros,
        balance: i64,
        found: i64,
    },
    /// The running totals are not what is there.
    Totals {
        of: &'static str,
        counted: u64,
        found: u64,
    },
}

/// Reads the spool in `dir`. Blocks; a difference costs a second look after a moment.
pub fn audit(dir: &Path, keys: &SpoolKeys) -> Result<Audit, SpoolError> {
    let layout = Layout {
        dir: dir.to_owned(),
    };
    let vault = Vault::new(&keys.spool_key, keys.device_id);
    let mut first = look(&layout, keys.device_id, &vault)?;
    if first.differences.is_empty() {
        return Ok(first);
    }
    std::thread::sleep(SECOND_LOOK_AFTER);
    let seen: HashSet<Difference> = first.differences.drain(..).collect();
    let mut second = look(&layout, keys.device_id, &vault)?;
    second.differences.retain(|found| seen.contains(found));
    Ok(second)
}

fn look(layout: &Layout, device: DeviceId, vault: &Vault) -> Result<Audit, SpoolError> {
    let mut connection = open(layout)?;
    // Files first: one that comes in meanwhile has no row in an older snapshot, and one that goes is no loss.
    let files = blob_files(layout)?;
    let transaction = connection
        .transaction()
        .map_err(SpoolError::database("begin reading"))?;
    let owner: [u8; 16] = transaction
        .query_row("select device_id from meta", (), |row| row.get(0))
        .map_err(SpoolError::database("read its owner"))?;
    if owner != *device.0.as_bytes() {
        return Err(SpoolError::Damaged {
            path: layout.database(),
            detail: "it belongs to another device".to_owned(),
        });
    }
    examine(&transaction, device, vault, files).map_err(SpoolError::database("read the spool"))
}

/// Beside a running agent through the log; without one as the files are, so that nothing is created.
fn open(layout: &Layout) -> Result<Connection, SpoolError> {
    let opened = if layout.log().exists() {
        Connection::open_with_flags(layout.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)
    } else {
        salvage::open_as_it_is(&layout.database())
    };
    let connection = opened.map_err(SpoolError::database("open the database"))?;
    connection
        .busy_timeout(Duration::from_secs(2))
        .map_err(SpoolError::database("configure the database"))?;
    database::check_schema(&connection).map_err(SpoolError::database("find its tables"))?;
    Ok(connection)
}

fn blob_files(layout: &Layout) -> Result<HashSet<u128>, SpoolError> {
    let path = layout.blobs();
    let entries = std::fs::read_dir(&path).map_err(SpoolError::file("list", &path))?;
    Ok(entries
        .filter_map(|entry| sweep::file_number(&entry.ok()?.file_name().to_string_lossy()))
        .collect())
}

fn examine(
    connection: &Connection,
    device: DeviceId,
    vault: &Vault,
    mut files: HashSet<u128>,
) -> Sql<Audit> {
    let forgotten = history::forgotten(connection)?;
    let whole_from = forgotten.and_then(|forgotten| forgotten.before_us);
    let (lines, earlier) = lines(connection)?
        .into_iter()
        .partition(|line| whole_from.is_none_or(|from| line.balance.hour_us >= from));
    let mut audit = Audit {
        device,
        lines,
        earlier,
        forgotten,
        pending_gaps: Vec::new(),
        parked: parked(connection)?,
        pending_records: 0,
        pending_blobs: 0,
        differences: Vec::new(),
    };
    let mut batches = 0;
    batches_of(connection, vault, &mut audit, &mut batches)?;
    blobs_of(connection, &mut files, &mut audit)?;
    let keys = unexplained(connection)?;
    let records = |(epoch, first, last)| (epoch, Seq(first), Seq(last));
    for (epoch, first_seq, last_seq) in keys.missing.into_iter().map(records) {
        audit.differences.push(Difference::MissingRecords {
            epoch,
            first_seq,
            last_seq,
        });
    }
    for (epoch, first_seq, last_seq) in keys.doubled.into_iter().map(records) {
        audit.differences.push(Difference::DoubledRecords {
            epoch,
            first_seq,
            last_seq,
        });
    }
    let wrong = audit.all_lines().filter(|line| !line.adds_up());
    let wrong: Vec<Difference> = wrong.map(difference_of).collect();
    audit.differences.extend(wrong);
    let totals = reads::usage(connection)?;
    for (of, counted, found) in [
        ("records", totals.records, audit.pending_records),
        ("batches", totals.batches, batches),
        ("blobs", totals.blobs, audit.pending_blobs),
    ] {
        if counted != found {
            let difference = Difference::Totals { of, counted, found };
            audit.differences.push(difference);
        }
    }
    Ok(audit)
}

fn difference_of(line: &AuditLine) -> Difference {
    Difference::Balance {
        camera: line.balance.camera,
        class: line.balance.class.clone(),
        hour_us: line.balance.hour_us,
        balance: line.balance.pending(),
        found: line.pending,
    }
}

/// The balance, joined with what is there.
fn lines(connection: &Connection) -> Sql<Vec<AuditLine>> {
    let mut there: BTreeMap<Line, i64> = salvage::pending_now(connection)?;
    let mut lines: Vec<AuditLine> = reads::balance(connection)?
        .into_iter()
        .map(|balance| {
            let line = Line {
                camera: balance.camera,
                class: balance.class.clone(),
                hour_us: balance.hour_us.0,
            };
            AuditLine {
                pending: there.remove(&line).unwrap_or(0),
                balance,
            }
        })
        .collect();
    lines.extend(there.into_iter().map(|(line, pending)| AuditLine {
        balance: BalanceLine {
            camera: line.camera,
            class: line.class,
            hour_us: UtcMicros(line.hour_us),
            captured: 0,
            settled: 0,
            shed: 0,
            parked: 0,
        },
        pending,
    }));
    Ok(lines)
}

fn batches_of(
    connection: &Connection,
    vault: &Vault,
    audit: &mut Audit,
    batches: &mut u64,
) -> Sql<()> {
    let mut statement = connection
        .prepare("select epoch, first_seq, records, has_gap, sealed from batch order by id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let epoch = Epoch(u64::from_be_bytes(row.get(0)?));
        let first_seq = Seq(row.get::<_, i64>(1)?.cast_unsigned());
        let records: u64 = row.get::<_, i64>(2)?.cast_unsigned();
        let has_gap: bool = row.get(3)?;
        *batches += 1;
        audit.pending_records += records;
        let batch = vault
            .open(Item::Batch { epoch, first_seq }, row.get(4)?)
            .ok()
            .and_then(|bytes| SignedBatch::from_bytes(bytes).ok()?.parse().ok())
            .filter(|batch| batch.records.len() as u64 == records);
        let Some(batch) = batch else {
            audit.differences.push(Difference::UnreadableBatch {
                epoch,
                first_seq,
                last_seq: first_seq.advanced_by(records.saturating_sub(1)),
            });
            continue;
        };
        if !has_gap {
            continue;
        }
        for (place, json) in (0..).zip(&batch.records) {
            if let Ok(Record {
                body: Body::Gap(gap),
                ..
            }) = Record::from_json(json)
            {
                let seq = first_seq.advanced_by(place);
                audit.pending_gaps.push(PendingGap { epoch, seq, gap });
            }
        }
    }
    Ok(())
}

fn blobs_of(connection: &Connection, files: &mut HashSet<u128>, audit: &mut Audit) -> Sql<()> {
    let mut statement = connection.prepare("select sha256, class, file from blob order by id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        audit.pending_blobs += 1;
        let file: String = row.get(2)?;
        let found = sweep::file_number(&file).is_some_and(|number| files.remove(&number));
        if !found {
            audit.differences.push(Difference::BlobWithoutFile {
                sha256: Sha256(row.get(0)?),
                class: row.get(1)?,
                file,
            });
        }
    }
    let mut orphans: Vec<u128> = files.drain().collect();
    orphans.sort_unstable();
    for number in orphans {
        let file = format!("{number:032x}");
        audit.differences.push(Difference::FileWithoutRow { file });
    }
    Ok(())
}

fn parked(connection: &Connection) -> Sql<Vec<ParkedRecord>> {
    connection
        .prepare("select epoch, seq, code, parked_us from parked order by id")?
        .query_map((), |row| {
            Ok(ParkedRecord {
                epoch: Epoch(u64::from_be_bytes(row.get(0)?)),
                seq: Seq(row.get::<_, i64>(1)?.cast_unsigned()),
                code: row.get(2)?,
                parked_at_us: UtcMicros(row.get(3)?),
            })
        })?
        .collect()
}

/// Ranges of record numbers that do not fit: epoch, first, last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unexplained {
    pub(super) missing: Vec<(Epoch, u64, u64)>,
    pub(super) doubled: Vec<(Epoch, u64, u64)>,
}

/// Walks all numbers given, epoch by epoch. Of a start that was let go, what has risen from a damaged database may be
/// here again; the numbers before it are no riddle.
pub(super) fn unexplained(connection: &Connection) -> Sql<Unexplained> {
    let mut found = Unexplained::default();
    let mut epochs = connection.prepare(
        "select e.epoch, coalesce(o.last_seq, case when o.epoch is not null then m.next_seq - 1 end),
           o.epoch is null and exists (select 1 from forgotten where starts > 0)
         from (select epoch from epoch union select epoch from batch union select epoch from ended) e
         left join epoch o on o.epoch = e.epoch, meta m",
    )?;
    let mut ranges = connection.prepare(
        "select first_seq, first_seq + records - 1 from batch where epoch = ?1
         union all select first_seq, last_seq from ended where epoch = ?1 order by 1, 2",
    )?;
    let mut rows = epochs.query(())?;
    while let Some(row) = rows.next()? {
        let key: [u8; 8] = row.get(0)?;
        let given: Option<i64> = row.get(1)?;
        let epoch = Epoch(u64::from_be_bytes(key));
        let is_forgotten: bool = row.get(2)?;
        let mut next = 1;
        let mut covered = ranges.query([key])?;
        while let Some(range) = covered.next()? {
            let (first, last): (i64, i64) = (range.get(0)?, range.get(1)?);
            let (first, last) = (first.cast_unsigned(), last.cast_unsigned());
            if first > next && !is_forgotten {
                found.missing.push((epoch, next, first - 1));
            } else if first < next {
                found.doubled.push((epoch, first, last.min(next - 1)));
            }
            next = next.max(last + 1);
        }
        let given = given.unwrap_or(0).max(0).cast_unsigned();
        if given >= next {
            found.missing.push((epoch, next, given));
        }
    }
    Ok(found)
}
