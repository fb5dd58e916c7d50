//! What customers see. Every statement here is bound to the contract of the scope.

mod counts;
mod event;
mod events;
mod missing;
mod overview;
mod pictures;
mod search;
mod security;
mod stated;
mod stock;
mod tags;

#[cfg(test)]
pub(super) use {counts::COUNTS_OF_WINDOW, event::BLIND_NOW};

use super::blobs::media_class;
use super::{SqliteStore, damaged, epoch_of, id16, name_of_record, seq_of, time_at, uuid_at};
use crate::seal::{Purpose, SecretKey};
use crate::store::{
    ContractScope, CountSeries, CustomerReads, DeviceWrites, Direction, EventCounts, EventCursor,
    EventDetail, EventFilter, EventRow, Found, MediaRow, Missing, PictureRef, Result, SiteOverview,
    SplitBy, Stock, StoreError, Window,
};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row};
use wire::record::MediaRecord;
use wire::{Body, ContractId, DeviceId, EventId, Record, Sha256, UtcMicros};

#[async_trait]
impl CustomerReads for SqliteStore {
    async fn overview(
        &self,
        scope: ContractScope,
        day_start_us: UtcMicros,
    ) -> Result<Vec<SiteOverview>> {
        let key = self.key(scope.contract()).await?;
        self.read(move |connection| overview::read(connection, scope, &key, day_start_us))
            .await
    }

    async fn events(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        before: Option<EventCursor>,
        limit: u32,
    ) -> Result<Vec<EventRow>> {
        let found = self
            .find(scope, filter, before, Direction::Older, limit)
            .await?;
        Ok(found.events)
    }

    async fn find(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        from: Option<EventCursor>,
        direction: Direction,
        limit: u32,
    ) -> Result<Found> {
        let key = self.key(scope.contract()).await?;
        let filter = filter.clone();
        self.read(move |connection| {
            events::find(connection, scope, &key, &filter, from, direction, limit)
        })
        .await
    }

    async fn event(&self, scope: ContractScope, id: EventId) -> Result<Option<EventDetail>> {
        let key = self.key(scope.contract()).await?;
        self.read(move |connection| event::detail(connection, scope, &key, id))
            .await
    }

    async fn media(&self, scope: ContractScope, sha256: Sha256) -> Result<Option<MediaRow>> {
        self.read(move |connection| {
            // The uploader is the blob's device: its seal names it, even if another device's record does too.
            Ok(connection
                .prepare_cached(
                    "select b.device, m.class, m.content_type, b.bytes, m.captured_us
                     from media m join blob b on b.contract = m.contract and b.sha256 = m.sha256
                     where m.contract = ?1 and m.sha256 = ?2
                     order by m.captured_us limit 1",
                )?
                .query_row((id16(scope.contract().0), sha256.0), |row| {
                    Ok(MediaRow {
                        sha256,
                        device: DeviceId(uuid_at(row, 0)?),
                        class: media_class(&row.get::<_, String>(1)?),
                        content_type: row.get(2)?,
                        bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                        captured_at_us: time_at(row, 4)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    async fn missing(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        window: Window,
    ) -> Result<Missing> {
        let filter = filter.clone();
        let mut missing = self
            .read(move |connection| missing::read(connection, scope, &filter, window))
            .await?;
        for awaited in &mut missing.awaited {
            let row = self.device(awaited.spot.device).await?;
            awaited.heartbeat = row.and_then(|row| row.heartbeat);
        }
        Ok(missing)
    }

    async fn density(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        window: Window,
        steps: u32,
    ) -> Result<Vec<u64>> {
        let filter = filter.clone();
        self.read(move |connection| events::density(connection, scope, &filter, window, steps))
            .await
    }

    async fn counts(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        window: Window,
        steps: u32,
    ) -> Result<Vec<CountSeries>> {
        let key = self.key(scope.contract()).await?;
        let filter = filter.clone();
        self.read(move |connection| counts::read(connection, scope, &key, &filter, window, steps))
            .await
    }

    async fn event_counts(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        edges: Vec<UtcMicros>,
        split: SplitBy,
    ) -> Result<Vec<EventCounts>> {
        let filter = filter.clone();
        self.read(move |connection| events::counts(connection, scope, &filter, &edges, split))
            .await
    }

    async fn stock(
        &self,
        scope: ContractScope,
        filter: &EventFilter,
        edges: Vec<UtcMicros>,
    ) -> Result<Vec<Stock>> {
        let filter = filter.clone();
        self.read(move |connection| stock::read(connection, scope, &filter, &edges))
            .await
    }

    async fn tags(&self, scope: ContractScope) -> Result<Vec<String>> {
        self.read(move |connection| tags::all(connection, scope))
            .await
    }

    async fn classes(&self, scope: ContractScope) -> Result<Vec<String>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "select class from event_class where contract = ?1 order by class",
            )?;
            let rows = statement.query_map([id16(scope.contract().0)], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

/// The columns that [`picture_at`] reads, in its order.
const PICTURE_COLUMNS: &str = "device, epoch, seq, captured_us, sealed";

/// What a picture shows is in its sealed record.
fn picture_at(
    row: &Row<'_>,
    contract: ContractId,
    key: &SecretKey,
) -> Result<(PictureRef, MediaRecord)> {
    let device = DeviceId(uuid_at(row, 0)?);
    let (epoch, seq) = (epoch_of(row.get(1)?), seq_of(row.get(2)?));
    let name = name_of_record(contract, device, Purpose::Media, epoch, seq);
    let sealed: Vec<u8> = row.get(4)?;
    let json = key
        .open(&name, &sealed)
        .map_err(damaged("a media record"))?;
    let record = Record::from_json(&json)
        .map_err(|error| StoreError::Corrupt(format!("a media record: {error}")))?;
    let Body::Media(media) = record.body else {
        return Err(StoreError::Corrupt(
            "a media row holds another kind of record".into(),
        ));
    };
    let picture = PictureRef {
        sha256: media.sha256,
        captured_at_us: time_at(row, 3)?,
        width: media.width,
        height: media.height,
        boxes: media.boxes.clone(),
    };
    Ok((picture, media))
}
