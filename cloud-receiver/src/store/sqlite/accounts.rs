//! Accounts and sessions: customers' in one pair of tables, operators' in another, by the same statements.

use super::{SqliteStore, optional_time_at, time_at, uuid_at};
use crate::store::{
    AccountBooks, AccountKind, AccountRow, Accounts, Holder, Result, SessionRow, StoreError,
};
use async_trait::async_trait;
use rusqlite::OptionalExtension;
use std::sync::Arc;
use wire::{ContractId, Sha256, UtcMicros};

/// The accounts of one kind.
#[derive(Clone, Debug)]
struct SqliteAccounts {
    store: SqliteStore,
    kind: AccountKind,
}

/// Where a kind has its rows. Names of ours, never of anybody's input.
struct Tables {
    account: &'static str,
    session: &'static str,
}

impl AccountBooks for SqliteStore {
    fn accounts(&self, kind: AccountKind) -> Arc<dyn Accounts> {
        Arc::new(SqliteAccounts {
            store: self.clone(),
            kind,
        })
    }
}

impl SqliteAccounts {
    fn tables(&self) -> Tables {
        match self.kind {
            AccountKind::Customer => Tables {
                account: "user",
                session: "session",
            },
            AccountKind::Operator => Tables {
                account: "operator",
                session: "operator_session",
            },
        }
    }
}

#[async_trait]
impl Accounts for SqliteAccounts {
    fn kind(&self) -> AccountKind {
        self.kind
    }

    async fn account(&self, login_id: &str) -> Result<Option<AccountRow>> {
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        // While a contract is erased, its accounts are as gone as they will be.
        let and = match self.kind {
            AccountKind::Customer => "and contract not in (select contract from erasure)",
            AccountKind::Operator => "",
        };
        self.store
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(&format!(
                        "select login_id, password_hash, must_change_password, last_sign_in_us,
                                failed_before + failed_since
                         from {account} where login_id = ?1 {and}"
                    ))?
                    .query_row([login_id], |row| {
                        Ok(AccountRow {
                            login_id: row.get(0)?,
                            password_hash: row.get(1)?,
                            must_change_password: row.get(2)?,
                            last_sign_in_us: optional_time_at(row, 3)?,
                            failed_sign_ins: row.get::<_, i64>(4)?.cast_unsigned(),
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
        let Tables { account, .. } = self.tables();
        self.store.write(move |connection| {
            let changed = connection.execute(
                &format!(
                    "update {account} set password_hash = ?2, must_change_password = ?3 where login_id = ?1"
                ),
                (login_id, password_hash, must_change),
            )?;
            if changed == 0 {
                return Err(StoreError::Missing("login ID"));
            }
            Ok(())
        })
        .await
    }

    async fn record_sign_in(&self, login_id: &str, at: UtcMicros, succeeded: bool) -> Result<()> {
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        self.store.write(move |connection| {
            let known = if succeeded {
                connection.execute(
                    &format!(
                        "update {account} set last_sign_in_us = ?2, failed_before = failed_since, failed_since = 0
                         where login_id = ?1"
                    ),
                    (&login_id, at.0),
                )?
            } else {
                connection.execute(
                    &format!("update {account} set failed_since = failed_since + 1 where login_id = ?1"),
                    [&login_id],
                )?
            };
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
        let Tables { session, .. } = self.tables();
        self.store
            .write(move |connection| {
                connection.execute(
                    &format!(
                        "insert into {session} (token_hash, login_id, created_us, last_used_us)
                     values (?1, ?2, ?3, ?3)"
                    ),
                    (token_hash.0, login_id, at.0),
                )?;
                Ok(())
            })
            .await
    }

    async fn session(&self, token_hash: Sha256) -> Result<Option<SessionRow>> {
        let kind = self.kind;
        let query = match kind {
            AccountKind::Customer => {
                "select s.login_id, s.created_us, s.last_used_us, a.must_change_password, c.id, c.name
                 from session s join user a on a.login_id = s.login_id join contract c on c.id = a.contract
                 where s.token_hash = ?1"
            }
            AccountKind::Operator => {
                "select s.login_id, s.created_us, s.last_used_us, a.must_change_password
                 from operator_session s join operator a on a.login_id = s.login_id
                 where s.token_hash = ?1"
            }
        };
        self.store
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(query)?
                    .query_row([token_hash.0], |row| {
                        let holder = match kind {
                            AccountKind::Customer => Holder::Customer {
                                contract: ContractId(uuid_at(row, 4)?),
                                contract_name: row.get(5)?,
                            },
                            AccountKind::Operator => Holder::Operator,
                        };
                        Ok(SessionRow {
                            token_hash,
                            login_id: row.get(0)?,
                            holder,
                            created_us: time_at(row, 1)?,
                            last_used_us: time_at(row, 2)?,
                            must_change_password: row.get(3)?,
                        })
                    })
                    .optional()?)
            })
            .await
    }

    async fn touch_session(&self, token_hash: Sha256, at: UtcMicros) -> Result<()> {
        let Tables { session, .. } = self.tables();
        self.store.write(move |connection| {
            connection.execute(
                &format!("update {session} set last_used_us = max(last_used_us, ?2) where token_hash = ?1"),
                (token_hash.0, at.0),
            )?;
            Ok(())
        })
        .await
    }

    async fn delete_session(&self, token_hash: Sha256) -> Result<()> {
        let Tables { session, .. } = self.tables();
        self.store
            .write(move |connection| {
                connection.execute(
                    &format!("delete from {session} where token_hash = ?1"),
                    [token_hash.0],
                )?;
                Ok(())
            })
            .await
    }

    async fn delete_other_sessions(&self, login_id: &str, keep: Sha256) -> Result<()> {
        let login_id = login_id.to_owned();
        let Tables { session, .. } = self.tables();
        self.store
            .write(move |connection| {
                connection.execute(
                    &format!("delete from {session} where login_id = ?1 and token_hash <> ?2"),
                    (login_id, keep.0),
                )?;
                Ok(())
            })
            .await
    }
}
