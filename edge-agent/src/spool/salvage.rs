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

mod carry; // what is in a view
mod damages; // what is lost
mod tables; // the small tables
mod walk; // reads around what cannot be read
mod whole; // batches

pub(super) use damages::{damages, pending_now};

use crate::spool::database::{self, Layout};
use crate::spool::error::SpoolError;
use crate::spool::outbox::Author;
use crate::spool::quarantine::Quarantine;
use crate::spool::reads::Sql;
use crate::spool::room::Marks;
use crate::spool::{blob, wal};
use carry::Carrier;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::{Path, PathBuf};
use wire::UtcMicros;

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
