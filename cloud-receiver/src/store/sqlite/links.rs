//! Which of the batches that name the same predecessor is its true successor.
//!
//! The rules, which give the same answer in whatever order batches arrive:
//! - Within an epoch a batch follows the one that ends just before it. While that one is not here, its link is
//!   *pending*; if it is here and is not the one that was named, the link is *broken*.
//! - The first batch of an epoch may follow any batch of another epoch that has no successor in its own. When several
//!   epochs claim the same - a spool restored from a copy - the earliest captured one is the successor.
//! - No predecessor (zeros) is right for the very first batch of a device only: of several such, for the earliest
//!   captured. A spool that was wiped therefore shows as a break.
//!
//! Neighbours within an epoch are found by their numbers. Hashes come in no order, and an index of them would have
//! every batch written to another page of it: only the few batches that begin an epoch are looked for by hash.

use super::{epoch_bits, epoch_of, hash_at, id16, seq_bits, seq_of};
use crate::store::{LinkState, Result};
use rusqlite::{Connection, OptionalExtension};
use wire::{DeviceId, Epoch, Seq, Sha256};

/// A batch that is about to be stored, or just was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) device: DeviceId,
    pub(super) hash: Sha256,
    pub(super) prev: Sha256,
    pub(super) epoch: Epoch,
    pub(super) first: Seq,
    pub(super) last: Seq,
    /// Corrected capture time of its first record, UTC microseconds.
    pub(super) captured_us: i64,
}

/// The stored batch with the highest numbers below another one's, of the same epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Below {
    pub(super) last: Seq,
    pub(super) hash: Sha256,
}

/// The first batch of an epoch.
struct Start {
    no: i64,
    epoch: Epoch,
    /// The lower one follows better.
    rank: (i64, Sha256),
    link: LinkState,
}

/// The link of a batch that is about to be stored. Where it follows better than the first batch of another epoch that
/// held the place until now, that one's link becomes broken.
pub(super) fn of_new(
    connection: &Connection,
    new: &Arrival,
    below: Option<Below>,
) -> Result<LinkState> {
    if new.first == Seq::FIRST {
        return of_start(connection, new);
    }
    let link = match below {
        Some(below) if below.last.0 + 1 == new.first.0 => {
            if below.hash == new.prev {
                LinkState::Ok
            } else {
                LinkState::Broken
            }
        }
        _ => LinkState::Pending,
    };
    if link == LinkState::Ok {
        displace(connection, &starts_after(connection, new.device, new.prev)?)?;
    }
    Ok(link)
}

fn of_start(connection: &Connection, new: &Arrival) -> Result<LinkState> {
    if new.prev != Sha256::ZERO {
        let Some((epoch, last)) = place_of(connection, new.device, new.prev)? else {
            return Ok(LinkState::Pending);
        };
        if epoch == new.epoch || is_followed(connection, new.device, epoch, last)? {
            return Ok(LinkState::Broken);
        }
    }
    let rivals = starts_after(connection, new.device, new.prev)?;
    let rank = (new.captured_us, new.hash);
    if rivals.iter().any(|rival| rival.rank < rank) {
        return Ok(LinkState::Broken);
    }
    displace(connection, &rivals)?;
    Ok(LinkState::Ok)
}

/// Decides the links of those that waited for `new`, which is stored now.
pub(super) fn of_successors(connection: &Connection, new: &Arrival) -> Result<()> {
    let next = next(connection, new.device, new.epoch, new.last)?;
    let mut is_followed = false;
    if let Some((no, prev)) = next {
        is_followed = prev == new.hash;
        let link = if is_followed {
            LinkState::Ok
        } else {
            LinkState::Broken
        };
        set(connection, no, link)?;
    }
    let starts = starts_after(connection, new.device, new.hash)?;
    let others = starts.iter().filter(|start| start.epoch != new.epoch);
    let best = others.map(|start| start.rank).min();
    for start in &starts {
        let link = if !is_followed && Some(start.rank) == best {
            LinkState::Ok
        } else {
            LinkState::Broken
        };
        set(connection, start.no, link)?;
    }
    Ok(())
}

fn displace(connection: &Connection, starts: &[Start]) -> Result<()> {
    for start in starts.iter().filter(|start| start.link == LinkState::Ok) {
        set(connection, start.no, LinkState::Broken)?;
    }
    Ok(())
}

/// Whether the batch that ends with `last` has its successor within its own epoch.
fn is_followed(connection: &Connection, device: DeviceId, epoch: Epoch, last: Seq) -> Result<bool> {
    let link: Option<i64> = connection
        .prepare_cached(
            "select link from batch where device = ?1 and epoch = ?2 and first_seq = ?3 + 1",
        )?
        .query_row((id16(device.0), epoch_bits(epoch), seq_bits(last)), |row| {
            row.get(0)
        })
        .optional()?;
    Ok(link.map(state) == Some(LinkState::Ok))
}

/// Row and named predecessor of the batch that goes on after `last`.
fn next(
    connection: &Connection,
    device: DeviceId,
    epoch: Epoch,
    last: Seq,
) -> Result<Option<(i64, Sha256)>> {
    Ok(connection
        .prepare_cached(
            "select no, prev from batch where device = ?1 and epoch = ?2 and first_seq = ?3 + 1",
        )?
        .query_row((id16(device.0), epoch_bits(epoch), seq_bits(last)), |row| {
            Ok((row.get(0)?, hash_at(row, 1)?))
        })
        .optional()?)
}

/// First batches of epochs that name `prev` as the batch before.
fn starts_after(connection: &Connection, device: DeviceId, prev: Sha256) -> Result<Vec<Start>> {
    let mut statement = connection.prepare_cached(
        "select no, epoch, first_captured_us, sha256, link from batch
         where device = ?1 and prev = ?2 and first_seq = 1",
    )?;
    let rows = statement.query_map((id16(device.0), prev.0), |row| {
        Ok(Start {
            no: row.get(0)?,
            epoch: epoch_of(row.get(1)?),
            rank: (row.get(2)?, hash_at(row, 3)?),
            link: state(row.get(4)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Epoch and last number of the batch with this hash. Reads through an index of the device's batches, from the newest
/// on: an epoch nearly always begins where the one before ended. If it is not here, all of them are read, some
/// milliseconds for each hundred thousand.
fn place_of(
    connection: &Connection,
    device: DeviceId,
    hash: Sha256,
) -> Result<Option<(Epoch, Seq)>> {
    Ok(connection
        .prepare_cached(
            "select epoch, last_seq from batch where no = (
                select no from batch indexed by batch_by_time where device = ?1 and sha256 = ?2
                order by to_device_us desc limit 1)",
        )?
        .query_row((id16(device.0), hash.0), |row| {
            Ok((epoch_of(row.get(0)?), seq_of(row.get(1)?)))
        })
        .optional()?)
}

fn set(connection: &Connection, batch: i64, link: LinkState) -> Result<()> {
    connection
        .prepare_cached("update batch set link = ?2 where no = ?1 and link <> ?2")?
        .execute((batch, number(link)))?;
    Ok(())
}

pub(super) fn number(link: LinkState) -> i64 {
    match link {
        LinkState::Pending => 0,
        LinkState::Ok => 1,
        LinkState::Broken => 2,
    }
}

pub(super) fn state(number: i64) -> LinkState {
    match number {
        1 => LinkState::Ok,
        0 => LinkState::Pending,
        _ => LinkState::Broken,
    }
}
