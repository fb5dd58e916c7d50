//! The operator's verbs and enrollment.

use super::audit::{append, seal};
use super::erasure::must_not_be_erased;
use super::{
    SqliteStore, certificate_at, changes, epoch_of, id16, optional_time_at, ranges, time_at,
    uuid_at,
};
use crate::seal::SecretKey;
use crate::store::{
    Actor, Administration, ClaimRefusal, ContractRow, DeviceListing, Enrollments, EpochDeliveries,
    NewDevice, Note, Place, Result, SiteRow, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;
use uuid::Uuid;
use wire::{CameraId, ContractId, DeviceId, Receipt, Sha256, SiteId, UtcMicros};

#[async_trait]
impl Enrollments for SqliteStore {
    async fn enroll(
        &self,
        secret_hash: Sha256,
        device: NewDevice,
        at: UtcMicros,
    ) -> Result<std::result::Result<Place, ClaimRefusal>> {
        self.write(move |connection| enroll(connection, secret_hash, &device, at))
            .await
    }
}

fn enroll(
    connection: &Connection,
    secret_hash: Sha256,
    device: &NewDevice,
    at: UtcMicros,
) -> Result<std::result::Result<Place, ClaimRefusal>> {
    let claim = connection
        .query_row(
            "select c.id, c.name, s.id, s.name, k.expires_us, k.used_us is not null
             from claim k join site s on s.id = k.site join contract c on c.id = s.contract
             where k.secret_hash = ?1",
            [secret_hash.0],
            |row| {
                let place = Place {
                    contract: ContractId(uuid_at(row, 0)?),
                    contract_name: row.get(1)?,
                    site: SiteId(uuid_at(row, 2)?),
                    site_name: row.get(3)?,
                };
                Ok((place, time_at(row, 4)?, row.get::<_, bool>(5)?))
            },
        )
        .optional()?;
    let place = match claim {
        None => return Ok(Err(ClaimRefusal::Unknown)),
        Some((_, _, true)) => return Ok(Err(ClaimRefusal::Used)),
        Some((_, expires, false)) if expires <= at => return Ok(Err(ClaimRefusal::Expired)),
        Some((place, _, false)) => place,
    };
    // Its devices were told to destroy what they hold: none comes in any more.
    if must_not_be_erased(connection, place.contract).is_err() {
        return Ok(Err(ClaimRefusal::Unknown));
    }
    // A device on file keeps what it is known by. Its site may change with the claim, its contract may not: what
    // it has delivered is sealed for that one.
    let certificate = &device.certificate;
    connection.execute(
        "insert into device_was_at (device, site, until_us)
         select id, site, ?5 from device where id = ?1 and contract = ?2 and site <> ?3 and record_key = ?4
         on conflict (device, site) do update set until_us = excluded.until_us",
        (
            id16(device.device.0),
            id16(place.contract.0),
            id16(place.site.0),
            device.record_key.0,
            at.0,
        ),
    )?;
    let enrolled = connection.execute(
        "insert into device (id, contract, site, record_key, agent_version, enrolled_us, enrollment,
                             certificate_serial, certificate_from_us, certificate_until_us)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         on conflict (id) do update set
             site = excluded.site, agent_version = excluded.agent_version, enrolled_us = excluded.enrolled_us,
             revoked_us = null, enrollment = excluded.enrollment,
             certificate_serial = excluded.certificate_serial,
             certificate_from_us = excluded.certificate_from_us,
             certificate_until_us = excluded.certificate_until_us
         where contract = excluded.contract and record_key = excluded.record_key",
        (
            id16(device.device.0),
            id16(place.contract.0),
            id16(place.site.0),
            device.record_key.0,
            &device.agent_version,
            at.0,
            id16(certificate.enrollment.0),
            certificate.serial.0.to_be_bytes(),
            certificate.not_before_us.0,
            certificate.not_after_us.0,
        ),
    )?;
    if enrolled == 0 {
        return Ok(Err(ClaimRefusal::DeviceKnown));
    }
    // Sessions under a certificate of before end now.
    changes::bump(connection)?;
    connection.execute(
        "update claim set used_us = ?2, used_by = ?3 where secret_hash = ?1",
        (secret_hash.0, at.0, id16(device.device.0)),
    )?;
    let note = Note::new("device.enroll")
        .of(place.contract)
        .on(device.device)
        .with("site", place.site.to_string())
        .with("enrollment", certificate.enrollment.0.to_string())
        .with("certificate", certificate.serial.to_string());
    append(
        connection,
        &seal(Actor::Device(device.device), note, None),
        at,
    )?;
    Ok(Ok(place))
}

fn deliveries(connection: &Connection, device: DeviceId) -> Result<Vec<EpochDeliveries>> {
    let mut statement = connection.prepare(
        "select epoch, min(received_us), count(*), sum(last_seq - first_seq + 1),
                sum(link = 0), sum(link = 2)
         from batch where device = ?1 group by epoch order by min(no)",
    )?;
    let rows = statement.query_map([id16(device.0)], |row| {
        Ok(EpochDeliveries {
            epoch: epoch_of(row.get(0)?),
            first_received_us: time_at(row, 1)?,
            batches: row.get::<_, i64>(2)?.cast_unsigned(),
            records: row.get::<_, i64>(3)?.cast_unsigned(),
            holes: Vec::new(),
            links_pending: row.get::<_, i64>(4)?.cast_unsigned(),
            links_broken: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    })?;
    let mut epochs = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    for epoch in &mut epochs {
        let stored = ranges::stored(connection, device, epoch.epoch)?;
        epoch.holes = Receipt::from_stored(epoch.epoch, &stored, UtcMicros(0)).holes;
    }
    Ok(epochs)
}

#[async_trait]
impl Administration for SqliteStore {
    async fn add_contract(&self, name: &str, at: UtcMicros) -> Result<ContractId> {
        let name = name.to_owned();
        let id = ContractId(Uuid::new_v4());
        let keyring = Arc::clone(&self.keyring);
        let key = SecretKey::generate();
        // Under the key that is being made: what the customer is called goes with it.
        let note = Note::new("contract.add")
            .of(id)
            .with_personal("name", &*name);
        let sealed = self.sealed_under(note, &key);
        self.write(move |connection| {
            let added = connection.execute(
                "insert or ignore into contract (id, name, created_us) values (?1, ?2, ?3)",
                (id16(id.0), name, at.0),
            )?;
            if added == 0 {
                return Err(StoreError::Exists("a contract of this name"));
            }
            keyring.add(connection, id, &key, at)?;
            append(connection, &sealed, at)?;
            Ok(id)
        })
        .await
    }

    async fn contracts(&self) -> Result<Vec<ContractRow>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("select id, name from contract order by name")?;
            let rows = statement.query_map([], |row| {
                Ok(ContractRow {
                    id: ContractId(uuid_at(row, 0)?),
                    name: row.get(1)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn add_site(&self, contract: ContractId, name: &str, at: UtcMicros) -> Result<SiteId> {
        let name = name.to_owned();
        let id = SiteId(Uuid::new_v4());
        let note = Note::new("site.add")
            .of(contract)
            .on(id)
            .with_personal("name", &*name);
        self.write_noted(note, at, move |connection| {
            must_not_be_erased(connection, contract)?;
            let added = connection.execute(
                "insert or ignore into site (id, contract, name, created_us) values (?1, ?2, ?3, ?4)",
                (id16(id.0), id16(contract.0), name, at.0),
            )?;
            if added == 0 {
                return Err(StoreError::Exists("a site of this name in the contract"));
            }
            Ok(id)
        })
        .await
    }

    async fn sites(&self) -> Result<Vec<SiteRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "select s.id, c.id, c.name, s.name from site s join contract c on c.id = s.contract
                 order by c.name, s.name",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(SiteRow {
                    id: SiteId(uuid_at(row, 0)?),
                    contract: ContractId(uuid_at(row, 1)?),
                    contract_name: row.get(2)?,
                    name: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn add_claim(
        &self,
        secret_hash: Sha256,
        site: SiteId,
        at: UtcMicros,
        expires: UtcMicros,
    ) -> Result<()> {
        let contract = self.contract_of_site(site).await?;
        let note = Note::new("device.claim").of(contract).on(site);
        self.write_noted(note, at, move |connection| {
            must_not_be_erased(connection, contract)?;
            connection.execute(
                "insert into claim (secret_hash, site, created_us, expires_us) values (?1, ?2, ?3, ?4)",
                (secret_hash.0, id16(site.0), at.0, expires.0),
            )?;
            Ok(())
        })
        .await
    }

    async fn devices(&self) -> Result<Vec<DeviceListing>> {
        self.read(devices).await
    }

    async fn deliveries(&self, device: DeviceId) -> Result<Vec<EpochDeliveries>> {
        self.read(move |connection| deliveries(connection, device))
            .await
    }

    async fn revoke(&self, device: DeviceId, at: UtcMicros) -> Result<bool> {
        let contract = self.contract_of(device).await?;
        let note = Note::new("device.revoke").of(contract).on(device);
        self.write_noted(note, at, move |connection| {
            let revoked = connection.execute(
                "update device set revoked_us = ?2 where id = ?1 and revoked_us is null",
                (id16(device.0), at.0),
            )?;
            changes::bump(connection)?;
            Ok(revoked > 0)
        })
        .await
    }

    async fn add_user(
        &self,
        login_id: &str,
        contract: ContractId,
        password_hash: &str,
        must_change_password: bool,
        at: UtcMicros,
    ) -> Result<()> {
        let (login_id, password_hash) = (login_id.to_owned(), password_hash.to_owned());
        let note = Note::new("user.add")
            .of(contract)
            .with_personal("login_id", &*login_id);
        self.write_noted(note, at, move |connection| {
            must_not_be_erased(connection, contract)?;
            refuse_taken(connection, &login_id)?;
            connection.execute(
                "insert into user (login_id, contract, password_hash, must_change_password, created_us)
                 values (?1, ?2, ?3, ?4, ?5)",
                (login_id, id16(contract.0), password_hash, must_change_password, at.0),
            )?;
            Ok(())
        })
        .await
    }

    async fn add_operator(&self, login_id: &str, password_hash: &str, at: UtcMicros) -> Result<()> {
        let (login_id, password_hash) = (login_id.to_owned(), password_hash.to_owned());
        let note = Note::new("operator.add").on(&login_id);
        self.write_noted(note, at, move |connection| {
            refuse_taken(connection, &login_id)?;
            connection.execute(
                "insert into operator (login_id, password_hash, must_change_password, created_us)
                 values (?1, ?2, 1, ?3)",
                (login_id, password_hash, at.0),
            )?;
            Ok(())
        })
        .await
    }
}

/// One name space for everybody who signs in anywhere.
fn refuse_taken(connection: &Connection, login_id: &str) -> Result<()> {
    let taken: bool = connection.query_row(
        "select exists (select 1 from user where login_id = ?1)
             or exists (select 1 from operator where login_id = ?1)",
        [login_id],
        |row| row.get(0),
    )?;
    if taken {
        return Err(StoreError::Exists("this login ID"));
    }
    Ok(())
}

pub(super) fn devices(connection: &Connection) -> Result<Vec<DeviceListing>> {
    let mut statement = connection.prepare(
        "select d.id, c.name, s.name, d.agent_version, d.enrolled_us, d.heard_us, d.revoked_us,
                (select coalesce(sum(last_seq - first_seq + 1), 0) from rejection r where r.device = d.id),
                (select count(*) from batch b where b.device = d.id and b.link = 2),
                d.enrollment, d.certificate_serial, d.certificate_from_us, d.certificate_until_us
         from device d join contract c on c.id = d.contract join site s on s.id = d.site
         order by c.name, s.name, d.enrolled_us",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(DeviceListing {
            device: DeviceId(uuid_at(row, 0)?),
            contract: row.get(1)?,
            site: row.get(2)?,
            agent_version: row.get(3)?,
            enrolled_us: time_at(row, 4)?,
            heard_us: optional_time_at(row, 5)?,
            revoked_us: optional_time_at(row, 6)?,
            cameras: Vec::new(),
            rejected: row.get::<_, i64>(7)?.cast_unsigned(),
            broken_links: row.get::<_, i64>(8)?.cast_unsigned(),
            certificate: certificate_at(row, 9)?,
        })
    })?;
    let mut devices: Vec<DeviceListing> = rows.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection
        .prepare("select id, name from camera_now where device = ?1 order by name, id")?;
    for device in &mut devices {
        let rows = statement.query_map([id16(device.device.0)], |row| {
            Ok((CameraId(uuid_at(row, 0)?), row.get(1)?))
        })?;
        device.cameras = rows.collect::<rusqlite::Result<_>>()?;
    }
    Ok(devices)
}
