//! Rows of blobs that have arrived, and the keys they are sealed under.

use super::accept::record::tell_picture;
use super::{SqliteStore, id16, uuid_at};
use crate::live::News;
use crate::seal::SecretKey;
use crate::store::{BlobRow, BlobRows, Result};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use wire::{CameraId, ContractId, DeviceId, EventId, MediaClass, Sha256, UtcMicros};

#[async_trait]
impl BlobRows for SqliteStore {
    async fn blob(&self, contract: ContractId, sha256: Sha256) -> Result<Option<BlobRow>> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "select device, bytes, content_type from blob where contract = ?1 and sha256 = ?2",
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

    async fn contract_key(&self, contract: ContractId) -> Result<SecretKey> {
        self.key(contract).await
    }
}

fn insert(connection: &Connection, blob: &BlobRow, at: UtcMicros) -> Result<bool> {
    let inserted = connection
        .prepare_cached(
            "insert or ignore into blob (contract, sha256, device, bytes, content_type, received_us)
             values (?1, ?2, ?3, ?4, ?5, ?6)",
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
