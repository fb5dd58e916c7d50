//! Rows of blobs that have arrived, and the keys they are sealed under.

use super::accept::record::tell_picture;
use super::{SqliteStore, hash_at, id16, time_at, uuid_at};
use crate::live::News;
use crate::seal::SecretKey;
use crate::store::{BlobRow, BlobRows, HeldBlob, MissingBlobs, OverdueMedia, Result};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use wire::{CameraId, ContractId, DeviceId, EventId, MediaClass, Sha256, UtcMicros};

#[async_trait]
impl BlobRows for SqliteStore {
    async fn blob(&self, contract: ContractId, sha256: Sha256) -> Result<Option<BlobRow>> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "select device, bytes, content_type from blob
                     where contract = ?1 and sha256 = ?2 and missing_us is null",
                )?
                .query_row((id16(contract.0), sha256.0), |row| {
                    Ok(BlobRow {
                        contract,
                        sha256,
                        device: DeviceId(uuid_at(row, 0)?),
                        bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                        content_type: row.get(2)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    async fn blob_arrived(&self, blob: BlobRow, at: UtcMicros) -> Result<bool> {
        let contract = blob.contract;
        let (new, news) = self
            .write(move |connection| {
                let new = insert(connection, &blob, at)?;
                let news = if new {
                    arrived(connection, &blob)?
                } else {
                    Vec::new()
                };
                Ok((new, news))
            })
            .await?;
        for news in news {
            self.live.publish(contract, news);
        }
        Ok(new)
    }

    async fn has_blobs(&self) -> Result<bool> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("select exists (select 1 from blob)")?
                .query_row([], |row| row.get(0))?)
        })
        .await
    }

    async fn names_blob(&self, contract: ContractId, sha256: Sha256) -> Result<bool> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "select exists (select 1 from blob where contract = ?1 and sha256 = ?2)",
                )?
                .query_row((id16(contract.0), sha256.0), |row| row.get(0))?)
        })
        .await
    }

    async fn blobs_after(
        &self,
        after: Option<(ContractId, Sha256)>,
        limit: u32,
    ) -> Result<Vec<HeldBlob>> {
        // Both are below every row that can be.
        let (contract, sha256) = after.map_or(([0; 16], [0; 32]), |(contract, sha256)| {
            (id16(contract.0), sha256.0)
        });
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select contract, sha256, missing_us is not null from blob
                 where (contract, sha256) > (?1, ?2) order by contract, sha256 limit ?3",
            )?;
            let rows = statement.query_map((contract, sha256, limit), |row| {
                Ok(HeldBlob {
                    contract: ContractId(uuid_at(row, 0)?),
                    sha256: hash_at(row, 1)?,
                    is_missing: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn blob_missing(
        &self,
        contract: ContractId,
        sha256: Sha256,
        since: Option<UtcMicros>,
    ) -> Result<()> {
        self.write(move |connection| {
            let (contract, sha256) = (id16(contract.0), sha256.0);
            connection
                .prepare_cached(
                    "update blob set missing_us = ?3 where contract = ?1 and sha256 = ?2",
                )?
                .execute((contract, sha256, since.map(|since| since.0)))?;
            connection
                .prepare_cached(
                    "update media set arrived = ?3 where contract = ?1 and sha256 = ?2",
                )?
                .execute((contract, sha256, since.is_none()))?;
            Ok(())
        })
        .await
    }

    async fn contract_key(&self, contract: ContractId) -> Result<SecretKey> {
        self.key(contract).await
    }
}

fn insert(connection: &Connection, blob: &BlobRow, at: UtcMicros) -> Result<bool> {
    let inserted = connection
        .prepare_cached(
            "insert into blob (contract, sha256, device, bytes, content_type, received_us)
             values (?1, ?2, ?3, ?4, ?5, ?6)
             on conflict (contract, sha256) do update set
                device = excluded.device, bytes = excluded.bytes, content_type = excluded.content_type,
                received_us = excluded.received_us, missing_us = null
             where blob.missing_us is not null",
        )?
        .execute((
            id16(blob.contract.0),
            blob.sha256.0,
            id16(blob.device.0),
            blob.bytes.cast_signed(),
            &blob.content_type,
            at.0,
        ))?;
    Ok(inserted > 0)
}

/// Marks the media that were waiting for this blob, and says whom it concerns.
fn arrived(connection: &Connection, blob: &BlobRow) -> Result<Vec<News>> {
    let mut statement = connection.prepare_cached(
        "update media set arrived = 1 where contract = ?1 and sha256 = ?2 and arrived = 0
         returning camera, event, class",
    )?;
    let rows = statement.query_map((id16(blob.contract.0), blob.sha256.0), |row| {
        let event: Option<[u8; 16]> = row.get(1)?;
        let class: String = row.get(2)?;
        Ok((
            CameraId(uuid_at(row, 0)?),
            event.map(|id| EventId(uuid::Uuid::from_bytes(id))),
            class,
        ))
    })?;
    let waiting: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let mut news = Vec::new();
    for (camera, event, class) in waiting {
        tell_picture(
            connection,
            blob.contract,
            camera,
            event,
            media_class(&class),
            &mut news,
        )?;
    }
    Ok(news.into_iter().map(|(_, news)| news).collect())
}

/// What was announced before `before` and has not arrived, by device.
pub(super) fn overdue(connection: &Connection, before: UtcMicros) -> Result<Vec<OverdueMedia>> {
    let mut statement = connection.prepare_cached(
        "select m.device, count(*), min(b.received_us) from media m join batch b on b.no = m.batch
         where m.arrived = 0 and m.expired_us is null and b.received_us < ?1 group by m.device order by m.device",
    )?;
    let rows = statement.query_map([before.0], |row| {
        Ok(OverdueMedia {
            device: DeviceId(uuid_at(row, 0)?),
            count: row.get::<_, i64>(1)?.cast_unsigned(),
            oldest_us: time_at(row, 2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What is marked as gone, by the device that brought it.
pub(super) fn missing(connection: &Connection) -> Result<Vec<MissingBlobs>> {
    let mut statement = connection.prepare_cached(
        "select device, count(*), min(missing_us) from blob
         where missing_us is not null group by device order by device",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(MissingBlobs {
            device: DeviceId(uuid_at(row, 0)?),
            count: row.get::<_, i64>(1)?.cast_unsigned(),
            since_us: time_at(row, 2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn media_class(word: &str) -> MediaClass {
    [
        MediaClass::Clip,
        MediaClass::Periodic,
        MediaClass::Requested,
        MediaClass::Snapshot,
    ]
    .into_iter()
    .find(|class| class.as_str() == word)
    .unwrap_or(MediaClass::Unknown)
}
