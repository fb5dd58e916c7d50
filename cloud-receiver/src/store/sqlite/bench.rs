//! For the benchmark of the portal and for nothing else: copies of the events that a contract has, by the million.
//!
//! What devices send comes in at some thousands a second; ten million of them are needed. The copies are rows as
//! `accept` writes them - indexes, counts by hour and all -, they name the batch of the event that they are a copy of, and
//! every tenth has its picture.

use super::hours::{Counted, Deltas};
use super::{SqliteStore, damaged, epoch_of, id16, name_of_record, seq_of, uuid_at};
use crate::seal::{Purpose, SecretKey};
use crate::store::{Result, StoreError};
use rusqlite::Connection;
use uuid::{NoContext, Timestamp, Uuid};
use wire::{CameraId, ContractId, DeviceId, UtcMicros};

/// Of so many one carries the tag.
const TAGGED_ONE_OF: u64 = 20;
const PICTURE_ONE_OF: u64 = 10;
/// Rows of one transaction.
const CHUNK: u64 = 100_000;

/// An event that is copied, and how often among all.
#[derive(Clone, Debug)]
struct Seed {
    no: i64,
    device: DeviceId,
    camera: CameraId,
    class: String,
    weight: u64,
    /// Of its picture: row number, and the record.
    media: Option<(i64, Vec<u8>)>,
}

impl SqliteStore {
    /// Makes `number` events of the contract's own, evenly over the time. `weight` says how often a camera (by its place in
    /// the order of their first events) and a class occur; `tag` is carried by one of twenty.
    #[doc(hidden)]
    pub async fn multiply_events(
        &self,
        contract: ContractId,
        number: u64,
        (from, to): (UtcMicros, UtcMicros),
        weight: fn(usize, &str) -> u64,
        tag: &'static str,
    ) -> Result<()> {
        let key = self.key(contract).await?;
        let key = std::sync::Arc::new(key);
        let opener = key.clone();
        let seeds = self
            .read(move |connection| seeds(connection, contract, &opener, weight))
            .await?;
        let seeds = std::sync::Arc::new(seeds);
        let step_us = to.since_us(from) / i64::try_from(number).unwrap_or(i64::MAX);
        for first in (0..number).step_by(CHUNK as usize) {
            let (seeds, key) = (seeds.clone(), key.clone());
            self.write(move |connection| {
                let total: u64 = seeds.iter().map(|seed| seed.weight).sum();
                let mut hours = Deltas::default();
                for index in first..(first + CHUNK).min(number) {
                    let seed = chosen(&seeds, scattered(index) % total.max(1));
                    let at_us = from.0 + index.cast_signed() * step_us;
                    let id = id_of(at_us, index);
                    copy_event(connection, seed, id, at_us)?;
                    let counted = Counted {
                        contract,
                        device: seed.device,
                        camera: seed.camera,
                        class: &seed.class,
                        opened_us: at_us,
                    };
                    hours.add(&counted, 1);
                    if index % TAGGED_ONE_OF == 0 {
                        connection
                            .prepare_cached("insert into event_tag values (?1, ?2, ?3, ?4)")?
                            .execute((id16(contract.0), tag, at_us, id16(id)))?;
                    }
                    if let (Some((no, json)), 0) = (&seed.media, index % PICTURE_ONE_OF) {
                        let (epoch, seq) = (u64::MAX / 2, index + 1);
                        let name = name_of_record(
                            contract,
                            seed.device,
                            Purpose::Media,
                            epoch_of(epoch.cast_signed()),
                            seq_of(seq.cast_signed()),
                        );
                        copy_media(
                            connection,
                            *no,
                            (epoch, seq),
                            id,
                            at_us,
                            &key.seal(&name, json),
                        )?;
                    }
                }
                hours.write(connection)
            })
            .await?;
        }
        Ok(())
    }
}

fn seeds(
    connection: &Connection,
    contract: ContractId,
    key: &SecretKey,
    weight: fn(usize, &str) -> u64,
) -> Result<Vec<Seed>> {
    let mut statement = connection.prepare(
        "select e.no, e.device, e.camera, e.class, m.no, m.epoch, m.seq, m.sealed
         from event e left join media m on m.contract = e.contract and m.event = e.id and m.arrived = 1
         where e.contract = ?1 order by e.no",
    )?;
    let mut rows = statement.query([id16(contract.0)])?;
    let (mut cameras, mut seeds): (Vec<CameraId>, Vec<Seed>) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let camera = CameraId(uuid_at(row, 2)?);
        let place = cameras.iter().position(|known| *known == camera);
        let place = place.unwrap_or_else(|| {
            cameras.push(camera);
            cameras.len() - 1
        });
        let class: String = row.get(3)?;
        let device = DeviceId(uuid_at(row, 1)?);
        let media = match row.get::<_, Option<i64>>(4)? {
            None => None,
            Some(no) => {
                let (epoch, seq) = (epoch_of(row.get(5)?), seq_of(row.get(6)?));
                let name = name_of_record(contract, device, Purpose::Media, epoch, seq);
                let sealed: Vec<u8> = row.get(7)?;
                let json = key
                    .open(&name, &sealed)
                    .map_err(damaged("a media record"))?;
                Some((no, json))
            }
        };
        seeds.push(Seed {
            no: row.get(0)?,
            device,
            camera,
            weight: weight(place, &class),
            class,
            media,
        });
    }
    Ok(seeds)
}

fn chosen(seeds: &[Seed], mut at: u64) -> &Seed {
    for seed in seeds {
        if at < seed.weight {
            return seed;
        }
        at -= seed.weight;
    }
    &seeds[0]
}

/// The same numbers in every run.
fn scattered(index: u64) -> u64 {
    let mixed = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

/// As devices draw them: in order of time.
fn id_of(at_us: i64, index: u64) -> Uuid {
    let seconds = at_us.div_euclid(1_000_000).cast_unsigned();
    let nanos = u32::try_from(at_us.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    let mut bytes = *Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos)).as_bytes();
    bytes[8..].copy_from_slice(&scattered(index).to_be_bytes());
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid::from_bytes(bytes)
}

fn copy_event(connection: &Connection, seed: &Seed, id: Uuid, at_us: i64) -> Result<()> {
    connection
        .prepare_cached(
            "insert into event (contract, id, device, camera, revision, class, score, opened_us, last_seen_us, closed_us,
                                opened_device_us, captured_device_us, boot, boottime_us, synced, received_us, batch, seq)
             select contract, ?2, device, camera, revision, class, score, ?3, ?3 + 5000000, ?3 + 5000000, ?3, ?3, boot,
                    boottime_us, synced, ?3 + 1000000, batch, seq from event where no = ?1",
        )?
        .execute((seed.no, id16(id), at_us))?;
    Ok(())
}

fn copy_media(
    connection: &Connection,
    no: i64,
    (epoch, seq): (u64, u64),
    event: Uuid,
    at_us: i64,
    sealed: &[u8],
) -> Result<()> {
    let copied = connection
        .prepare_cached(
            "insert into media (device, epoch, seq, contract, batch, sha256, class, content_type, bytes, camera, event,
                                quality, captured_us, captured_device_us, boot, boottime_us, synced, arrived, sealed)
             select device, ?2, ?3, contract, batch, sha256, class, content_type, bytes, camera, ?4, quality, ?5, ?5,
                    boot, boottime_us, synced, arrived, ?6 from media where no = ?1",
        )?
        .execute((
            no,
            epoch.cast_signed(),
            seq.cast_signed(),
            id16(event),
            at_us,
            sealed,
        ))?;
    match copied {
        1 => Ok(()),
        _ => Err(StoreError::Missing("picture to copy")),
    }
}
