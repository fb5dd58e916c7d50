//! Accounts and sessions: customers' in one pair of tables, operators' in another, by the same statements.

mod factor;

pub(super) use factor::reseal_operators;

use super::{SqliteStore, changes, hash_at, id16, optional_time_at, time_at, uuid_at};
use crate::auth::second_factor::SecondFactor;
use crate::store::{
    AccountBooks, AccountKind, AccountListing, AccountRow, Accounts, Actor, Beside, ContractBook,
    DeviceWrites, Holder, Note, Result, SessionListing, SessionRow, SignIn, SignInOutcome,
    StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;
use tokio::sync::watch;
use wire::{ContractId, Sha256, UtcMicros};

/// The accounts of one kind.
#[derive(Clone, Debug)]
struct SqliteAccounts {
    store: SqliteStore,
    kind: AccountKind,
}

/// Where a kind has its rows, and the word by which the audit log calls an account of it. Names of ours, never of
/// anybody's input.
#[derive(Clone, Copy)]
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

    fn accounts_by(&self, kind: AccountKind, actor: Actor) -> Arc<dyn Accounts> {
        Arc::new(SqliteAccounts {
            store: self.by(actor),
            kind,
        })
    }

    fn sessions_changed(&self) -> watch::Receiver<i64> {
        self.changes()
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

    fn action(&self, users: &'static str, operators: &'static str) -> &'static str {
        match self.kind {
            AccountKind::Customer => users,
            AccountKind::Operator => operators,
        }
    }

    async fn contract_of(&self, login_id: &str) -> Result<ContractId> {
        let login_id = login_id.to_owned();
        self.store
            .read(move |connection| {
                connection
                    .prepare_cached("select contract from user where login_id = ?1")?
                    .query_row([login_id], |row| Ok(ContractId(uuid_at(row, 0)?)))
                    .optional()?
                    .ok_or(StoreError::Missing("login ID"))
            })
            .await
    }

    /// A note about an account: whose it is stands sealed where it is a customer's.
    async fn note(&self, action: &'static str, login_id: &str) -> Result<Note> {
        Ok(match self.kind {
            AccountKind::Operator => Note::new(action).on(login_id),
            AccountKind::Customer => Note::new(action)
                .of(self.contract_of(login_id).await?)
                .with_personal("login_id", login_id),
        })
    }

    /// What its owner does, whatever handle it is done by.
    fn owner(&self, login_id: &str) -> Actor {
        match self.kind {
            AccountKind::Customer => Actor::User(login_id.into()),
            AccountKind::Operator => Actor::Operator(login_id.into()),
        }
    }

    /// Ends one session by its owner's will, and what is open with it.
    async fn end(
        &self,
        action: &'static str,
        login_id: &str,
        token_hash: Sha256,
        at: UtcMicros,
    ) -> Result<()> {
        let note = self.note(action, login_id).await?;
        let Tables { session, .. } = self.tables();
        let owner = login_id.to_owned();
        self.store
            .by(self.owner(login_id))
            .write_noted(note, at, move |connection| {
                connection.execute(
                    &format!("delete from {session} where token_hash = ?1 and login_id = ?2"),
                    (token_hash.0, owner),
                )?;
                changes::bump(connection)
            })
            .await
    }

    /// Whether an account without a second factor may go on.
    async fn beside(&self, has_factor: bool, contract: Option<ContractId>) -> Result<Beside> {
        if has_factor {
            return Ok(Beside::SetUp);
        }
        let Some(contract) = contract else {
            return Ok(Beside::Wanted);
        };
        let detail = self.store.contract(contract).await?;
        Ok(match detail {
            Some(detail) if detail.terms.needs_second_factor => Beside::Wanted,
            _ => Beside::None,
        })
    }

    /// Every session ends.
    async fn set_password(
        &self,
        store: &SqliteStore,
        note: Note,
        login_id: &str,
        (password_hash, must_change): (&str, bool),
        at: UtcMicros,
    ) -> Result<()> {
        let (login_id, password_hash) = (login_id.to_owned(), password_hash.to_owned());
        let Tables { account, session } = self.tables();
        store
            .write_noted(note, at, move |connection| {
                let changed = connection.execute(
                    &format!(
                        "update {account} set password_hash = ?2, must_change_password = ?3 where login_id = ?1"
                    ),
                    (&login_id, password_hash, must_change),
                )?;
                if changed == 0 {
                    return Err(StoreError::Missing("login ID"));
                }
                // None has this token: all end.
                end_others(connection, session, &login_id, Sha256::ZERO)
            })
            .await
    }
}

/// To be called in the writer's transaction: open streams hear of it.
fn end_others(connection: &Connection, session: &str, login_id: &str, keep: Sha256) -> Result<()> {
    connection.execute(
        &format!("delete from {session} where login_id = ?1 and token_hash <> ?2"),
        (login_id, keep.0),
    )?;
    changes::bump(connection)
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
        let and = self.action("and contract not in (select contract from erasure)", "");
        let contract = self.action("contract", "null");
        let found = self
            .store
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(&format!(
                        "select login_id, password_hash, must_change_password, last_sign_in_us,
                                failed_before + failed_since, second_factor_us is not null, {contract}
                         from {account} where login_id = ?1 {and}"
                    ))?
                    .query_row([login_id], |row| {
                        let account = AccountRow {
                            login_id: row.get(0)?,
                            password_hash: row.get(1)?,
                            must_change_password: row.get(2)?,
                            last_sign_in_us: optional_time_at(row, 3)?,
                            failed_sign_ins: row.get::<_, i64>(4)?.cast_unsigned(),
                            beside: Beside::None,
                        };
                        Ok((account, row.get::<_, bool>(5)?, contract_at(row, 6)?))
                    })
                    .optional()?)
            })
            .await?;
        let Some((mut account, has_factor, contract)) = found else {
            return Ok(None);
        };
        account.beside = self.beside(has_factor, contract).await?;
        Ok(Some(account))
    }

    async fn list(&self, contract: Option<ContractId>) -> Result<Vec<AccountListing>> {
        let Tables { account, session } = self.tables();
        let (of, named) = match self.kind {
            AccountKind::Customer => (
                "a.contract, c.name",
                "join contract c on c.id = a.contract where ?1 is null or a.contract = ?1",
            ),
            AccountKind::Operator => ("null, null", "where ?1 is null"),
        };
        self.store
            .read(move |connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "select a.login_id, a.created_us, a.last_sign_in_us, a.failed_before + a.failed_since,
                            a.must_change_password, a.second_factor_us is not null,
                            (select count(*) from {session} s where s.login_id = a.login_id), {of}
                     from {account} a {named} order by a.login_id"
                ))?;
                let rows = statement.query_map([contract.map(|id| id16(id.0))], |row| {
                    Ok(AccountListing {
                        login_id: row.get(0)?,
                        created_us: time_at(row, 1)?,
                        last_sign_in_us: optional_time_at(row, 2)?,
                        failed_sign_ins: row.get::<_, i64>(3)?.cast_unsigned(),
                        must_change_password: row.get(4)?,
                        has_second_factor: row.get(5)?,
                        sessions: row.get::<_, i64>(6)?.cast_unsigned(),
                        contract: contract_at(row, 7)?,
                        contract_name: row.get(8)?,
                    })
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn change_password(
        &self,
        login_id: &str,
        password_hash: &str,
        at: UtcMicros,
    ) -> Result<()> {
        let action = self.action("user.change_password", "operator.change_password");
        let note = self.note(action, login_id).await?;
        let store = self.store.by(self.owner(login_id));
        self.set_password(&store, note, login_id, (password_hash, false), at)
            .await
    }

    async fn reset_password(
        &self,
        login_id: &str,
        password_hash: &str,
        must_change: bool,
        at: UtcMicros,
    ) -> Result<()> {
        let action = self.action("user.reset_password", "operator.reset_password");
        let note = self.note(action, login_id).await?;
        let password = (password_hash, must_change);
        self.set_password(&self.store, note, login_id, password, at)
            .await
    }

    async fn remove(&self, login_id: &str, at: UtcMicros) -> Result<()> {
        let action = self.action("user.remove", "operator.remove");
        let note = self.note(action, login_id).await?;
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        let keeps_one = self.kind == AccountKind::Operator;
        self.store
            .write_noted(note, at, move |connection| {
                let others = format!("select count(*) from {account} where login_id <> ?1");
                let others: i64 = connection.query_row(&others, [&login_id], |row| row.get(0))?;
                if !keeps_one {
                    // Also mail to it that is not sent yet: nobody could stop it any more.
                    super::subscriptions::forget_untaken(connection, &login_id)?;
                }
                // Its sessions go with it, by reference.
                let removed = connection.execute(
                    &format!("delete from {account} where login_id = ?1"),
                    [&login_id],
                )?;
                if removed == 0 {
                    return Err(StoreError::Missing("login ID"));
                }
                if keeps_one && others == 0 {
                    return Err(StoreError::LastOperator(login_id));
                }
                connection.execute("delete from sign_in where login_id = ?1", [login_id])?;
                changes::bump(connection)
            })
            .await
    }

    async fn record_sign_in(&self, login_id: &str, sign_in: SignIn) -> Result<()> {
        let action = match sign_in.outcome {
            SignInOutcome::Succeeded => "sign_in.succeed",
            SignInOutcome::WrongPassword => "sign_in.fail",
            SignInOutcome::CodeWanted => "sign_in.password",
            SignInOutcome::WrongCode => "sign_in.fail_code",
        };
        let mut note = self.note(action, login_id).await?;
        note = match self.kind {
            AccountKind::Customer => note.with_personal("address", sign_in.address.to_string()),
            AccountKind::Operator => note.with("address", sign_in.address.to_string()),
        };
        let (at, login_id) = (sign_in.at, login_id.to_owned());
        let owner = self.owner(&login_id);
        if sign_in.outcome == SignInOutcome::CodeWanted {
            let store = self.store.by(owner);
            return store.write_noted(note, at, |_| Ok(())).await;
        }
        let succeeded = sign_in.outcome == SignInOutcome::Succeeded;
        let Tables { account, .. } = self.tables();
        self.store
            .by(owner)
            .write_noted(note, at, move |connection| {
                if succeeded {
                    connection.execute(
                        &format!(
                            "update {account}
                             set last_sign_in_us = ?2, failed_before = failed_since, failed_since = 0
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
                connection.execute(
                    "insert into sign_in (login_id, at_us, succeeded) values (?1, ?2, ?3)",
                    (&login_id, at.0, succeeded),
                )?;
                Ok(())
            })
            .await
    }

    async fn create_session(
        &self,
        login_id: &str,
        token_hash: Sha256,
        proven: bool,
        at: UtcMicros,
    ) -> Result<()> {
        let login_id = login_id.to_owned();
        let Tables { session, .. } = self.tables();
        self.store
            .write(move |connection| {
                connection.execute(
                    &format!(
                        "insert into {session} (token_hash, login_id, created_us, last_used_us, proven_us)
                         values (?1, ?2, ?3, ?3, ?4)"
                    ),
                    (token_hash.0, login_id, at.0, proven.then_some(at.0)),
                )?;
                Ok(())
            })
            .await
    }

    async fn session(&self, token_hash: Sha256) -> Result<Option<SessionRow>> {
        let kind = self.kind;
        let query = match kind {
            AccountKind::Customer => {
                "select s.login_id, s.created_us, s.last_used_us, a.must_change_password, s.proven_us,
                        a.second_factor_us is not null, c.id, c.name
                 from session s join user a on a.login_id = s.login_id join contract c on c.id = a.contract
                 where s.token_hash = ?1 and a.contract not in (select contract from erasure)"
            }
            AccountKind::Operator => {
                "select s.login_id, s.created_us, s.last_used_us, a.must_change_password, s.proven_us,
                        a.second_factor_us is not null
                 from operator_session s join operator a on a.login_id = s.login_id
                 where s.token_hash = ?1"
            }
        };
        let found = self
            .store
            .read(move |connection| {
                Ok(connection
                    .prepare_cached(query)?
                    .query_row([token_hash.0], |row| {
                        let holder = match kind {
                            AccountKind::Customer => Holder::Customer {
                                contract: ContractId(uuid_at(row, 6)?),
                                contract_name: row.get(7)?,
                            },
                            AccountKind::Operator => Holder::Operator,
                        };
                        let session = SessionRow {
                            token_hash,
                            login_id: row.get(0)?,
                            holder,
                            created_us: time_at(row, 1)?,
                            last_used_us: time_at(row, 2)?,
                            must_change_password: row.get(3)?,
                            proven_us: optional_time_at(row, 4)?,
                            beside: Beside::None,
                        };
                        Ok((session, row.get::<_, bool>(5)?))
                    })
                    .optional()?)
            })
            .await?;
        let Some((mut session, has_factor)) = found else {
            return Ok(None);
        };
        let contract = match &session.holder {
            Holder::Customer { contract, .. } => Some(*contract),
            Holder::Operator => None,
        };
        session.beside = self.beside(has_factor, contract).await?;
        Ok(Some(session))
    }

    async fn sessions(&self, login_id: &str) -> Result<Vec<SessionListing>> {
        let login_id = login_id.to_owned();
        let Tables { session, .. } = self.tables();
        self.store
            .read(move |connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "select token_hash, created_us, last_used_us from {session}
                     where login_id = ?1 order by last_used_us desc, token_hash"
                ))?;
                let rows = statement.query_map([login_id], |row| {
                    Ok(SessionListing {
                        token_hash: hash_at(row, 0)?,
                        created_us: time_at(row, 1)?,
                        last_used_us: time_at(row, 2)?,
                    })
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn touch_session(&self, token_hash: Sha256, at: UtcMicros) -> Result<()> {
        let Tables { session, .. } = self.tables();
        self.store
            .write(move |connection| {
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

    async fn sign_out(&self, login_id: &str, token_hash: Sha256, at: UtcMicros) -> Result<()> {
        self.end("sign_out", login_id, token_hash, at).await
    }

    async fn end_session(&self, login_id: &str, token_hash: Sha256, at: UtcMicros) -> Result<bool> {
        if !self
            .sessions(login_id)
            .await?
            .iter()
            .any(|session| session.token_hash == token_hash)
        {
            return Ok(false);
        }
        self.end("session.end", login_id, token_hash, at).await?;
        Ok(true)
    }

    async fn delete_other_sessions(
        &self,
        login_id: &str,
        keep: Sha256,
        at: UtcMicros,
    ) -> Result<()> {
        let note = self.note("session.end_others", login_id).await?;
        let Tables { session, .. } = self.tables();
        let owner = login_id.to_owned();
        self.store
            .by(self.owner(login_id))
            .write_noted(note, at, move |connection| {
                end_others(connection, session, &owner, keep)
            })
            .await
    }

    async fn second_factor(&self, login_id: &str) -> Result<Option<SecondFactor>> {
        self.read_factor(login_id).await
    }

    async fn begin_second_factor(&self, login_id: &str, factor: &SecondFactor) -> Result<()> {
        self.begin_factor(login_id, factor).await
    }

    async fn confirm_second_factor(
        &self,
        login_id: &str,
        factor: &SecondFactor,
        step: i64,
        at: UtcMicros,
    ) -> Result<bool> {
        self.confirm_factor(login_id, factor, step, at).await
    }

    async fn use_step(&self, login_id: &str, step: i64) -> Result<bool> {
        let login_id = login_id.to_owned();
        let Tables { account, .. } = self.tables();
        self.store
            .write(move |connection| {
                let used = connection.execute(
                    &format!(
                        "update {account} set second_factor_step = ?2
                         where login_id = ?1 and second_factor_us is not null and second_factor_step < ?2"
                    ),
                    (login_id, step),
                )?;
                Ok(used > 0)
            })
            .await
    }

    async fn use_recovery_code(
        &self,
        login_id: &str,
        before: &SecondFactor,
        after: &SecondFactor,
        at: UtcMicros,
    ) -> Result<bool> {
        self.replace_factor(login_id, before, after, at).await
    }

    async fn remove_second_factor(
        &self,
        login_id: &str,
        keep: Sha256,
        at: UtcMicros,
    ) -> Result<bool> {
        let action = self.action("user.remove_second_factor", "operator.remove_second_factor");
        if self.read_factor(login_id).await?.is_none() {
            return Ok(false);
        }
        let note = self.note(action, login_id).await?;
        let Tables { account, session } = self.tables();
        let login_id = login_id.to_owned();
        self.store
            .write_noted(note, at, move |connection| {
                connection.execute(
                    &format!(
                        "update {account} set second_factor = null, second_factor_us = null where login_id = ?1"
                    ),
                    [&login_id],
                )?;
                end_others(connection, session, &login_id, keep)
            })
            .await?;
        Ok(true)
    }
}

fn contract_at(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<ContractId>> {
    let id: Option<[u8; 16]> = row.get(index)?;
    Ok(id.map(|id| ContractId(uuid::Uuid::from_bytes(id))))
}
