//! Rows of pictures whose agreed time is over.

use super::audit::append;
use super::{SqliteStore, hash_at, id16};
use crate::store::retention::{Cutoffs, RetentionBook};
use crate::store::{Note, Result};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use wire::{ContractId, Sha256, UtcMicros};

/// Whether what row `m` names may go; its parameters are those of [`candidates`]. A picture that no class or an unknown one
/// has a time for is kept. One whose time is a guess must have been here for as long, too: it may be put right later.
const MAY_GO: &str =
    "ifnull(iif(m.synced, m.captured_us, max(m.captured_us, (select received_us from batch b where b.no = m.batch)))
        < case m.class when 'snapshot' then ?3 when 'periodic' then ?4
        when 'requested' then ?5 when 'clip' then ?6 end, 0)
    and not exists (select 1 from hold h where h.contract = m.contract
        and (h.camera is null or h.camera = m.camera)
        and (h.site is null or h.site = (select site from device d where d.id = m.device)
            or exists (select 1 from device_was_at w where w.device = m.device and w.site = h.site
                and m.captured_us < w.until_us))
        and (h.from_us is null or m.captured_us >= h.from_us)
        and (h.to_us is null or m.captured_us < h.to_us))";

/// Pictures that may go. The same bytes may be the picture of several records: they go when all may.
fn candidates(
    connection: &Connection,
    contract: ContractId,
    cutoffs: Cutoffs,
    at_most: u32,
) -> Result<Vec<Sha256>> {
    let [snapshot, periodic, requested, clip] =
        cutoffs.each().map(|(_, cutoff)| cutoff.map(|at| at.0));
    // By camera, so that of each the index is read from its oldest picture on and no further than may go.
    let other = MAY_GO.replace("m.", "o.");
    let mut statement = connection.prepare_cached(&format!(
        "select distinct m.sha256 from camera k cross join media m
         where k.contract = ?1 and m.contract = ?1 and m.camera = k.id and m.arrived = 1
           and m.captured_us < max(ifnull(?3, ?7), ifnull(?4, ?7), ifnull(?5, ?7), ifnull(?6, ?7))
           and {MAY_GO}
           and not exists (select 1 from media o where o.contract = ?1 and o.sha256 = m.sha256 and not ({other}))
         limit ?2"
    ))?;
    let rows = statement.query_map(
        params![
            id16(contract.0),
            at_most,
            snapshot,
            periodic,
            requested,
            clip,
            i64::MIN
        ],
        |row| hash_at(row, 0),
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[async_trait]
impl RetentionBook for SqliteStore {
    async fn expire(
        &self,
        contract: ContractId,
        cutoffs: Cutoffs,
        at_most: u32,
        at: UtcMicros,
    ) -> Result<Vec<Sha256>> {
        let look =
            move |connection: &Connection| candidates(connection, contract, cutoffs, at_most);
        // Looked for beside the writer: it may take a while. Looked at again in the commit: a hold may have come.
        if self.read(look).await?.is_empty() {
            return Ok(Vec::new());
        }
        let note = Note::new("retention.delete").of(contract);
        let mut note = self.sealed(note).await?;
        self.write(move |connection| {
            let gone = candidates(connection, contract, cutoffs, at_most)?;
            for sha256 in &gone {
                let key = (id16(contract.0), sha256.0, at.0);
                connection
                    .prepare_cached(
                        "update media set arrived = 0, expired_us = ?3 where contract = ?1 and sha256 = ?2",
                    )?
                    .execute(key)?;
                connection
                    .prepare_cached("delete from blob where contract = ?1 and sha256 = ?2")?
                    .execute((key.0, key.1))?;
            }
            if !gone.is_empty() {
                note.add("pictures", gone.len() as u64);
                append(connection, &note, at)?;
            }
            Ok(gone)
        })
        .await
    }
}
