//! What devices need of the store.

use super::{
    SqliteStore, accept, certificate_at, damaged, id16, name_of_id, optional_time_at, uuid_at,
};
use crate::ca::Certificate;
use crate::ingest::accept::{Accepted, Refused};
use crate::seal::Purpose;
use crate::store::{DeviceRow, DeviceWrites, Result, StoreError};
use async_trait::async_trait;
use rusqlite::OptionalExtension;
use tokio::sync::watch;
use wire::command::Command;
use wire::heartbeat::Heartbeat;
use wire::{CommandId, ContractId, DeviceId, Receipt, SiteId, UtcMicros, VerifyingKey};

/// Commands handed out at once; the rest follows when these are answered.
const COMMANDS_AT_ONCE: i64 = 32;

#[async_trait]
impl DeviceWrites for SqliteStore {
    async fn device(&self, device: DeviceId) -> Result<Option<DeviceRow>> {
        let found = self
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(
                        "select contract, site, record_key, revoked_us, heard_us, sealed_heartbeat, enrollment,
                                certificate_serial, certificate_from_us, certificate_until_us
                         from device where id = ?1",
                    )?
                    .query_row([id16(device.0)], |row| {
                        let sealed: Option<Vec<u8>> = row.get(5)?;
                        let device = DeviceRow {
                            device,
                            contract: ContractId(uuid_at(row, 0)?),
                            site: SiteId(uuid_at(row, 1)?),
                            record_key: VerifyingKey(row.get(2)?),
                            revoked_us: optional_time_at(row, 3)?,
                            heard_us: optional_time_at(row, 4)?,
                            certificate: certificate_at(row, 6)?,
                            heartbeat: None,
                        };
                        Ok((device, sealed))
                    })
                    .optional()?)
            })
            .await?;
        let Some((mut row, sealed)) = found else {
            return Ok(None);
        };
        if let Some(sealed) = sealed {
            let name = name_of_id(row.contract, device, Purpose::Heartbeat, device.0);
            let json = self
                .key(row.contract)
                .await?
                .open(&name, &sealed)
                .map_err(damaged("a heartbeat"))?;
            // One of a version that cannot be read is as good as none: the next one follows in a minute.
            row.heartbeat = serde_json::from_slice(&json).ok();
        }
        Ok(Some(row))
    }

    async fn heard(
        &self,
        device: DeviceId,
        heartbeat: Option<&Heartbeat>,
        at: UtcMicros,
    ) -> Result<()> {
        let sealed = match heartbeat {
            None => None,
            Some(heartbeat) => {
                let contract = self.contract_of(device).await?;
                let json = serde_json::to_vec(heartbeat)
                    .map_err(|error| StoreError::Database(error.to_string()))?;
                let name = name_of_id(contract, device, Purpose::Heartbeat, device.0);
                Some(self.key(contract).await?.seal(&name, &json))
            }
        };
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "update device set heard_us = max(coalesce(heard_us, ?2), ?2),
                                       sealed_heartbeat = coalesce(?3, sealed_heartbeat)
                     where id = ?1",
                )?
                .execute((id16(device.0), at.0, sealed))?;
            Ok(())
        })
        .await
    }

    async fn certificate_shown(&self, device: DeviceId, certificate: Certificate) -> Result<()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "update device set certificate_serial = ?2, certificate_from_us = ?3, certificate_until_us = ?4
                     where id = ?1 and enrollment = ?5 and certificate_from_us <= ?3",
                )?
                .execute((
                    id16(device.0),
                    certificate.serial.0.to_be_bytes(),
                    certificate.not_before_us.0,
                    certificate.not_after_us.0,
                    id16(certificate.enrollment.0),
                ))?;
            Ok(())
        })
        .await
    }

    async fn accept(
        &self,
        batches: Vec<Accepted>,
        at: UtcMicros,
    ) -> Result<Vec<(DeviceId, Receipt)>> {
        accept::accept(self, batches, at).await
    }

    async fn pending_commands(&self, device: DeviceId, at: UtcMicros) -> Result<Vec<Command>> {
        let sealed: Vec<(CommandId, Vec<u8>)> = self
            .read(move |connection| {
                let mut statement = connection.prepare_cached(
                    "select id, sealed from command
                     where device = ?1 and answered_us is null and deadline_us > ?2
                     order by deadline_us limit ?3",
                )?;
                let rows = statement
                    .query_map((id16(device.0), at.0, COMMANDS_AT_ONCE), |row| {
                        Ok((CommandId(uuid_at(row, 0)?), row.get(1)?))
                    })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        let contract = self.contract_of(device).await?;
        let key = self.key(contract).await?;
        sealed
            .into_iter()
            .map(|(id, sealed)| {
                let name = name_of_id(contract, device, Purpose::Command, id.0);
                let json = key.open(&name, &sealed).map_err(damaged("a command"))?;
                serde_json::from_slice(&json)
                    .map_err(|error| StoreError::Corrupt(format!("command {id}: {error}")))
            })
            .collect()
    }

    async fn command_sent(&self, command: CommandId, at: UtcMicros) -> Result<()> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "update command set sent_us = ?2 where id = ?1 and sent_us is null",
                )?
                .execute((id16(command.0), at.0))?;
            Ok(())
        })
        .await
    }

    async fn refuse(
        &self,
        device: DeviceId,
        refused: &Refused,
        at: UtcMicros,
    ) -> Result<Option<Receipt>> {
        accept::refuse(self, device, refused, at).await
    }

    fn changes(&self) -> watch::Receiver<i64> {
        self.changes.clone()
    }
}

impl SqliteStore {
    pub(super) async fn contract_of_site(&self, site: SiteId) -> Result<ContractId> {
        self.read(move |connection| {
            connection
                .prepare_cached("select contract from site where id = ?1")?
                .query_row([id16(site.0)], |row| Ok(ContractId(uuid_at(row, 0)?)))
                .optional()?
                .ok_or(StoreError::Missing("site"))
        })
        .await
    }

    pub(super) async fn contract_of(&self, device: DeviceId) -> Result<ContractId> {
        self.read(move |connection| {
            connection
                .prepare_cached("select contract from device where id = ?1")?
                .query_row([id16(device.0)], |row| Ok(ContractId(uuid_at(row, 0)?)))
                .optional()?
                .ok_or(StoreError::Missing("device"))
        })
        .await
    }
}
