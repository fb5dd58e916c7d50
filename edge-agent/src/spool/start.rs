//! What happens before the spool takes the first record: the database is opened, rebuilt if it is damaged, files and
//! rows are brought to agree, an epoch begins. Also what a damage in mid-run has in common with that.

use crate::spool::ballast::Ballast;
use crate::spool::blob::{self, BlobDir};
use crate::spool::database::{self, Layout};
use crate::spool::error::SpoolError;
use crate::spool::inbox::Inbox;
use crate::spool::outbox::{Author, Chain, Usage};
use crate::spool::quarantine::Quarantine;
use crate::spool::room::Marks;
use crate::spool::sweep;
use crate::spool::tally::{Line, Reason, Span};
use crate::spool::turn::{BlobEnd, Request, Turn};
use crate::spool::{open_events, reads, salvage};
use rusqlite::Connection;
use std::sync::Arc;
use wire::{Epoch, Record, UtcMicros};

/// A spool ready to take records.
pub(super) struct Started {
    pub(super) connection: Connection,
    pub(super) blobs: BlobDir,
    pub(super) chain: Chain,
    pub(super) usage: Usage,
    /// Events that were open when the agent was last cut off.
    pub(super) interrupted: Vec<Record>,
    /// What the first commit has to say of damages.
    pub(super) first_turn: Turn,
    /// Why it was rebuilt, if it was.
    pub(super) alarm: Option<String>,
    pub(super) unchecked: bool,
}

/// Where the spool lies and what it may take.
pub(super) struct Site<'a> {
    pub(super) layout: &'a Layout,
    pub(super) author: &'a Author,
    pub(super) marks: &'a Marks,
    pub(super) quarantine: &'a Quarantine,
}

/// Starts, on a full disk too: then ballast and quarantine make room.
pub(super) fn start(
    site: &Site<'_>,
    ballast: &mut Ballast,
    epoch: Epoch,
    now: UtcMicros,
) -> Result<Started, SpoolError> {
    loop {
        match try_start(site, epoch, now) {
            Err(error) if error.is_full() && (ballast.release() || site.quarantine.clear()) => {
                tracing::error!(%error, "the disk is full, the spool makes room to start: {error}");
            }
            outcome => return outcome,
        }
    }
}

fn try_start(site: &Site<'_>, epoch: Epoch, now: UtcMicros) -> Result<Started, SpoolError> {
    let Site { layout, marks, .. } = site;
    let mut alarm = None;
    let (mut connection, unchecked) = match database::open(layout, site.author.device, marks, now) {
        Ok(opened) => (opened.connection, opened.unchecked),
        Err(error) if database::asks_for_salvage(&error) => {
            tracing::error!(%error, "the spool is damaged, carrying over what can be read: {error}");
            alarm = Some(error.to_string());
            let anew = rebuild(layout, site.author, marks, site.quarantine, now)?;
            (anew, false)
        }
        Err(error) => return Err(error),
    };
    let blobs = BlobDir::open(layout.blobs())?;
    blob::sync_dir(&layout.dir)?;
    let mut first_turn = damages(&mut connection, now)?;
    let aside = first_turn.names_salvage.then(|| site.quarantine.path());
    let swept = sweep::sweep(&connection, &blobs, aside)?;
    if aside.is_some() {
        site.quarantine.prune();
        name_orphans(&mut first_turn, swept.orphans, now);
    }
    first_turn.ended_blobs = swept
        .missing
        .into_iter()
        .map(|sha256| (sha256, BlobEnd::Unreadable))
        .collect();
    let chain = reads::begin_epoch(&mut connection, epoch, now)
        .map_err(SpoolError::database("begin an epoch"))?;
    let usage = reads::usage(&connection).map_err(SpoolError::database("sum up"))?;
    let interrupted = open_events::all(&connection, &site.author.vault)
        .map_err(SpoolError::database("read the open events"))?;
    Ok(Started {
        interrupted,
        connection,
        blobs,
        chain,
        usage,
        first_turn,
        alarm,
        unchecked,
    })
}

/// Where the balance was lost, too, files without a row are all that is known of blobs.
fn name_orphans(turn: &mut Turn, orphans: u64, now: UtcMicros) {
    if orphans > 0 && !turn.losses.is_empty() {
        let span = Span {
            count: orphans,
            from: now,
            to: now,
        };
        turn.losses
            .add(Reason::Quarantine, Line::new(None, "media", now), span);
    }
}

/// Replaces the damaged database and opens the new one.
pub(super) fn rebuild(
    layout: &Layout,
    author: &Author,
    marks: &Marks,
    quarantine: &Quarantine,
    now: UtcMicros,
) -> Result<Connection, SpoolError> {
    let salvaged = salvage::rebuild(layout, author, marks, quarantine, now)?;
    tracing::warn!(
        batches = salvaged.batches,
        records = salvaged.records,
        blobs = salvaged.blobs,
        "carried over from the damaged spool: {} records in {} batches, {} blobs",
        salvaged.records,
        salvaged.batches,
        salvaged.blobs
    );
    Ok(database::open(layout, author.device, marks, now)?.connection)
}

/// The turn that names what a salvage has lost; empty if there was none.
pub(super) fn damages(connection: &mut Connection, now: UtcMicros) -> Result<Turn, SpoolError> {
    let found =
        salvage::damages(connection).map_err(SpoolError::database("count what was lost"))?;
    let mut turn = Turn {
        damaged: found.lines,
        names_salvage: found.is_salvaged,
        ..Turn::default()
    };
    if found.beyond_counting {
        // How many records it held besides nobody knows.
        let span = Span {
            count: 0,
            from: now,
            to: now,
        };
        turn.losses
            .add(Reason::Quarantine, Line::new(None, "records", now), span);
    }
    Ok(turn)
}

/// Checks a large database while the work goes on.
pub(super) fn check_beside(layout: &Layout, inbox: &Arc<Inbox>) {
    let inbox = inbox.clone();
    database::check_in_background(layout, move |detail| {
        // A spool that has stopped is checked at its next start.
        drop(inbox.request(Request::Damaged(detail)));
    });
}
