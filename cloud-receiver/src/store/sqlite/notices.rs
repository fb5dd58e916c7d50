//! Notices and whom they concern.

use super::{SqliteStore, id16, mail, optional_time_at, time_at, uuid_at};
use crate::store::{
    ContractScope, MailBook, MailChoice, MailRow, NewMail, Note, NoticeBook, NoticeEnd, NoticeKind,
    NoticeReads, NoticeRow, Result, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, Row};
use uuid::Uuid;
use wire::{ContractId, UtcMicros};

const COLUMNS: &str =
    "n.id, n.kind, n.from_us, n.to_us, n.what, n.what_en, n.urgent_why, n.created_us,
     n.cancelled_us, n.closed_us";

fn row_at(row: &Row<'_>) -> rusqlite::Result<NoticeRow> {
    let kind: String = row.get(1)?;
    Ok(NoticeRow {
        id: uuid_at(row, 0)?,
        kind: match kind.as_str() {
            "maintenance" => NoticeKind::Maintenance,
            _ => NoticeKind::Incident,
        },
        from_us: time_at(row, 2)?,
        to_us: optional_time_at(row, 3)?,
        what: row.get(4)?,
        what_en: row.get(5)?,
        urgent_why: row.get(6)?,
        created_us: time_at(row, 7)?,
        cancelled_us: optional_time_at(row, 8)?,
        closed_us: optional_time_at(row, 9)?,
    })
}

fn add(connection: &Connection, notice: &NoticeRow, contracts: &[ContractId]) -> Result<()> {
    connection.execute(
        "insert into notice (id, kind, from_us, to_us, what, what_en, urgent_why, created_us)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            id16(notice.id),
            notice.kind.word(),
            notice.from_us.0,
            notice.to_us.map(|to| to.0),
            &notice.what,
            &notice.what_en,
            &notice.urgent_why,
            notice.created_us.0,
        ),
    )?;
    for contract in contracts {
        connection.execute(
            "insert into notice_contract (notice, contract) values (?1, ?2)",
            (id16(notice.id), id16(contract.0)),
        )?;
    }
    Ok(())
}

#[async_trait]
impl NoticeBook for SqliteStore {
    async fn add_notice(
        &self,
        notice: &NoticeRow,
        contracts: Vec<ContractId>,
        mail: Vec<NewMail>,
    ) -> Result<()> {
        let note = Note::new("notice.add")
            .on(notice.id)
            .with("kind", notice.kind.word())
            .with("from_us", notice.from_us.0)
            .with("to_us", notice.to_us.map(|to| to.0))
            .with("urgent_why", notice.urgent_why.clone())
            .with("contracts", contracts.len())
            .with("recipients", mail.len());
        let sealed = self.sealed_mail(mail).await?;
        let notice = notice.clone();
        let at = notice.created_us;
        self.write_noted(note, at, move |connection| {
            add(connection, &notice, &contracts)?;
            mail::insert(connection, &sealed, at)
        })
        .await
    }

    async fn notices(&self) -> Result<Vec<NoticeRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from notice n order by n.created_us, n.id"
            ))?;
            let rows = statement.query_map([], row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn notice_contracts(&self, notice: Uuid) -> Result<Vec<ContractId>> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("select contract from notice_contract where notice = ?1")?;
            let rows =
                statement.query_map([id16(notice)], |row| Ok(ContractId(uuid_at(row, 0)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn end_notice(
        &self,
        notice: Uuid,
        end: NoticeEnd,
        mail: Vec<NewMail>,
        at: UtcMicros,
    ) -> Result<()> {
        let (action, column) = match end {
            NoticeEnd::Cancelled => ("notice.cancel", "cancelled_us"),
            NoticeEnd::Closed => ("notice.close", "closed_us"),
        };
        let note = Note::new(action).on(notice).with("recipients", mail.len());
        let sealed = self.sealed_mail(mail).await?;
        self.write_noted(note, at, move |connection| {
            let changed = connection.execute(
                &format!(
                    "update notice set {column} = ?2 where id = ?1 and cancelled_us is null and closed_us is null"
                ),
                (id16(notice), at.0),
            )?;
            if changed == 0 {
                return Err(StoreError::Missing("notice that is not at its end yet"));
            }
            mail::insert(connection, &sealed, at)
        })
        .await
    }

    async fn notice_mail(&self, notice: Uuid) -> Result<Vec<MailRow>> {
        self.mail(MailChoice::About(notice)).await
    }
}

#[async_trait]
impl NoticeReads for SqliteStore {
    async fn current_notices(&self, scope: ContractScope, at: UtcMicros) -> Result<Vec<NoticeRow>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from notice_contract c join notice n on n.id = c.notice
                 where c.contract = ?1 and n.cancelled_us is null and n.closed_us is null
                   and (n.to_us is null or n.to_us > ?2)
                 order by n.from_us, n.id"
            ))?;
            let rows = statement.query_map((id16(scope.contract().0), at.0), row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn notices_of(&self, scope: ContractScope, limit: u32) -> Result<Vec<NoticeRow>> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "select {COLUMNS} from notice_contract c join notice n on n.id = c.notice
                 where c.contract = ?1 order by n.created_us desc, n.id limit ?2"
            ))?;
            let rows = statement.query_map((id16(scope.contract().0), limit), row_at)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
