//! The facts of the Security page.

use super::super::{SqliteStore, id16, optional_time_at, time_at, uuid_at};
use crate::store::{
    Audited, ContractBook, ContractScope, DeviceFacts, DeviceWrites, HeadsFacts, Result,
    SecurityFacts, SecurityReads, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, ToSql};
use wire::{DeviceId, UtcMicros};

#[async_trait]
impl SecurityReads for SqliteStore {
    async fn security_facts(&self, scope: ContractScope) -> Result<SecurityFacts> {
        let contract = self.contract(scope.contract()).await?;
        let contract = contract.ok_or(StoreError::Missing("contract"))?;
        let facts = self.read(move |connection| {
            let id = id16(scope.contract().0);
            let number = |sql: &str| -> Result<u64> {
                let count: i64 = connection
                    .prepare_cached(sql)?
                    .query_row([id], |row| row.get(0))?;
                Ok(count.cast_unsigned())
            };
            let counted = |sql: &str, id: &dyn ToSql| -> Result<Option<(u64, UtcMicros)>> {
                let found: (i64, Option<i64>) = connection
                    .prepare_cached(sql)?
                    .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(found.1.map(|last| (found.0.cast_unsigned(), UtcMicros(last))))
            };
            let told = |kind: &str| {
                let sql = format!(
                    "select count(*), max(n.created_us) from notice_contract c join notice n on n.id = c.notice
                     where c.contract = ?1 and n.kind = '{kind}'"
                );
                counted(&sql, &id)
            };
            Ok(SecurityFacts {
                erased: counted("select count(*), max(finished_us) from erasure where step = ?1", &"done")?,
                backups: counted("select count(*), max(at_us) from audit where action = ?1", &"backup.make")?,
                maintenance: told("maintenance")?,
                incidents: told("incident")?,
                contract,
                key_since_us: connection
                    .prepare_cached("select created_us from contract_key where contract = ?1")?
                    .query_row([id], |row| time_at(row, 0))
                    .optional()?,
                devices: devices(connection, id)?,
                batches: number(
                    "select count(*) from batch b join device d on d.id = b.device where d.contract = ?1",
                )?,
                broken_links: number(
                    "select count(*) from batch b join device d on d.id = b.device
                     where d.contract = ?1 and b.link = 2",
                )?,
                heads: heads(connection)?,
                users: number("select count(*) from user where contract = ?1")?,
                issued_passwords: number(
                    "select count(*) from user where contract = ?1 and must_change_password",
                )?,
                tags: number(
                    "select (select count(*) from place_tag where contract = ?1)
                          + (select count(*) from event_tag where contract = ?1)",
                )?,
                audited: audited(connection, id)?,
            })
        });
        let mut facts = facts.await?;
        for device in &mut facts.devices {
            let row = self.device(device.device).await?;
            device.heartbeat = row.and_then(|row| row.heartbeat);
        }
        Ok(facts)
    }
}

fn devices(connection: &Connection, contract: [u8; 16]) -> Result<Vec<DeviceFacts>> {
    let mut statement = connection.prepare_cached(
        "select d.id, s.name, d.agent_version, d.heard_us, d.certificate_until_us
         from device d join site s on s.id = d.site
         where d.contract = ?1 and d.revoked_us is null order by s.name, d.id",
    )?;
    let rows = statement.query_map([contract], |row| {
        Ok(DeviceFacts {
            device: DeviceId(uuid_at(row, 0)?),
            site_name: row.get(1)?,
            agent_version: row.get(2)?,
            heard_us: optional_time_at(row, 3)?,
            certificate_until_us: time_at(row, 4)?,
            heartbeat: None,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn heads(connection: &Connection) -> Result<Option<HeadsFacts>> {
    Ok(connection
        .prepare_cached(
            "select number, at_us, coalesce(written_us, mailed_us), stamped_us from heads
             order by number desc limit 1",
        )?
        .query_row([], |row| {
            Ok(HeadsFacts {
                number: row.get::<_, i64>(0)?.cast_unsigned(),
                at_us: time_at(row, 1)?,
                sent_us: optional_time_at(row, 2)?,
                stamped_us: optional_time_at(row, 3)?,
            })
        })
        .optional()?)
}

fn audited(connection: &Connection, contract: [u8; 16]) -> Result<Vec<Audited>> {
    let mut statement = connection.prepare_cached(
        "select action, count, last_us from audit_count where contract = ?1 order by action",
    )?;
    let rows = statement.query_map([contract], |row| {
        Ok(Audited {
            action: row.get(0)?,
            count: row.get::<_, i64>(1)?.cast_unsigned(),
            last_us: UtcMicros(row.get(2)?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
