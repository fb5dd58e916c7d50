//! Customers' accounts and their sessions.

use super::{SqliteStore, hash_at, optional_time_at, time_at, uuid_at};
use crate::store::{Accounts, Result, SessionRow, StoreError, UserRow};
use async_trait::async_trait;
use rusqlite::OptionalExtension;
use wire::{ContractId, Sha256, UtcMicros};

#[async_trait]
impl Accounts for SqliteStore {
    async fn user(&self, login_id: &str) -> Result<Option<UserRow>> {
        let login_id = login_id.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "select login_id, contract, password_hash, must_change_password, last_sign_in_us,
                            failed_before + failed_since
                     from user where login_id = ?1",
                )?
                .query_row([login_id], |row| {
                    Ok(UserRow {
                        login_id: row.get(0)?,
                        contract: ContractId(uuid_at(row, 1)?),
                        password_hash: row.get(2)?,
                        must_change_password: row.get(3)?,
                        last_sign_in_us: optional_time_at(row, 4)?,
                        failed_sign_ins: row.get::<_, i64>(5)?.cast_unsigned(),
                    })
                })
                .optional()?)
        })
        .await
    }

    async fn set_password(
        &self,
        login_id: &str,
        password_hash: &str,
        must_change: bool,
    ) -> Result<()> {
        let (login_id, password_hash) = (login_id.to_owned(), password_hash.to_owned());
        self.write(move |connection| {
            let changed = connection.execute(
                "update user set password_hash = ?2, must_change_password = ?3 where login_id = ?1",
                (login_id, password_hash, must_change),
            )?;
            if changed == 0 {
                return Err(StoreError::Missing("user"));
            }
            Ok(())
        })
        .await
    }

    async fn record_sign_in(&self, login_id: &str, at: UtcMicros, succeeded: bool) -> Result<()> {
        let login_id = login_id.to_owned();
        self.write(move |connection| {
            let update = if succeeded {
                "update user set last_sign_in_us = ?2, failed_before = failed_since, failed_since = 0
                 where login_id = ?1"
            } else {
                "update user set failed_since = failed_since + 1 where login_id = ?1 and ?2 is not null"
            };
            let known = connection.execute(update, (&login_id, at.0))?;
            // Attempts on names that nobody has are counted by the throttle, not kept: they fill no disk.
            if known > 0 {
                connection.execute(
                    "insert into sign_in (login_id, at_us, succeeded) values (?1, ?2, ?3)",
                    (&login_id, at.0, succeeded),
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn create_session(
        &self,
        login_id: &str,
        token_hash: Sha256,
        at: UtcMicros,
    ) -> Result<()> {
        let login_id = login_id.to_owned();
        self.write(move |connection| {
            connection.execute(
                "insert into session (token_hash, login_id, created_us, last_used_us)
                 values (?1, ?2, ?3, ?3)",
                (token_hash.0, login_id, at.0),
            )?;
            Ok(())
        })
        .await
    }

    async fn session(&self, token_hash: Sha256) -> Result<Option<SessionRow>> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached(
                    "select s.token_hash, s.login_id, u.contract, c.name, s.created_us, s.last_used_us,
                            u.must_change_password
                     from session s join user u on u.login_id = s.login_id
                                    join contract c on c.id = u.contract
                     where s.token_hash = ?1",
                )?
                .query_row([token_hash.0], |row| {
                    Ok(SessionRow {
                        token_hash: hash_at(row, 0)?,
                        login_id: row.get(1)?,
                        contract: ContractId(uuid_at(row, 2)?),
                        contract_name: row.get(3)?,
                        created_us: time_at(row, 4)?,
                        last_used_us: time_at(row, 5)?,
                        must_change_password: row.get(6)?,
                    })
                })
                .optional()?)
        })
        .await
    }

    async fn touch_session(&self, token_hash: Sha256, at: UtcMicros) -> Result<()> {
        self.write(move |connection| {
            connection.execute(
                "update session set last_used_us = max(last_used_us, ?2) where token_hash = ?1",
                (token_hash.0, at.0),
            )?;
            Ok(())
        })
        .await
    }

    async fn delete_session(&self, token_hash: Sha256) -> Result<()> {
        self.write(move |connection| {
            connection.execute("delete from session where token_hash = ?1", [token_hash.0])?;
            Ok(())
        })
        .await
    }

    async fn delete_other_sessions(&self, login_id: &str, keep: Sha256) -> Result<()> {
        let login_id = login_id.to_owned();
        self.write(move |connection| {
            connection.execute(
                "delete from session where login_id = ?1 and token_hash <> ?2",
                (login_id, keep.0),
            )?;
            Ok(())
        })
        .await
    }
}
