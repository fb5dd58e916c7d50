//! Making signed heads, having them time-stamped, and sending them out.
//!
//! Heads are made of what the database holds at one moment, numbered, and each names the one before. They are kept
//! in the database and sent to where the configuration says: what counts later are the copies that nobody who can
//! change the database can reach. Where the configuration names an authority, each gets its time stamp; heads never
//! wait for theirs: it is sent after them if it comes later.

use super::{files, mail, time_stamp};
use crate::clock::now;
use crate::config;
use crate::seal::random;
use crate::store::{AuditBook, HeadsBook, HeadsRow, SentBy, StoreError};
use anyhow::Context;
use data_encoding::HEXLOWER;
use serde::Serialize;
use wire::evidence::SignedHeads;
use wire::{Sha256, SigningKey, UtcMicros};

/// Most heads that one mail carries; of a longer time without mail only the newest are sent. As many are time-stamped
/// after a longer time without: the newest of them bind all before, each by the hash of the one before it.
pub const AT_ONCE: usize = 31;

/// Name of the file that carries heads of this number.
pub fn file_name(number: u64) -> String {
    format!("heads-{number:06}.json")
}

/// Name of the file that carries their time stamp, beside them.
pub fn stamp_file_name(number: u64) -> String {
    format!("heads-{number:06}.tsr")
}

/// Makes the next heads and keeps them.
pub async fn make(
    book: &(impl HeadsBook + AuditBook),
    key: &SigningKey,
    at: UtcMicros,
) -> anyhow::Result<HeadsRow> {
    // Another process may make the same number meanwhile; then ours are the next.
    for _ in 0..3 {
        let row = next(book, key, at).await?;
        match book.add_heads(row.clone()).await {
            Ok(()) => return Ok(row),
            Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("other processes kept making heads at the same moment")
}

async fn next(
    book: &(impl HeadsBook + AuditBook),
    key: &SigningKey,
    at: UtcMicros,
) -> anyhow::Result<HeadsRow> {
    let newest = book.newest_heads().await?;
    let (number, previous) = newest.map_or((1, Sha256::ZERO), |row| (row.number + 1, row.sha256));
    let mut sections = book.holdings().await?;
    for section in &mut sections {
        section.salt = HEXLOWER.encode(&random::<16>());
    }
    let audit = book.audit_head().await?;
    let signed = SignedHeads::sign_with_audit(key, number, at, previous, &sections, audit);
    Ok(HeadsRow {
        number,
        at_us: at,
        sha256: signed.hash(),
        document: String::from_utf8(signed.to_json()).context("JSON is UTF-8")?,
        written_us: None,
        mailed_us: None,
        problem: None,
        stamp: None,
        stamp_problem: None,
    })
}

/// One request for a time stamp, answered or failed.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    pub number: u64,
    pub from: String,
    /// The time that it states.
    pub at_us: Option<UtcMicros>,
    /// What went wrong, in words; it is tried again.
    pub problem: Option<String>,
}

/// Gets the time stamps that are wanting, if the configuration names an authority. Ends at the first failure: what
/// refuses or does not answer would do so again.
pub async fn stamp(book: &impl HeadsBook, heads: &config::Heads) -> anyhow::Result<Vec<Asked>> {
    if heads.time_stamps_from.is_empty() {
        return Ok(Vec::new());
    }
    let rows = book.heads().await?;
    let mut asked = Vec::new();
    for row in newest_after(&rows, |row| row.stamp.is_some()) {
        let outcome = time_stamp::stamp(row.document.as_bytes(), heads).await;
        let outcome = outcome.map_err(|error| format!("{error:#}"));
        let problem = outcome.as_ref().err().cloned();
        let failed = problem.is_some();
        asked.push(Asked {
            number: row.number,
            from: heads.time_stamps_from.clone(),
            at_us: outcome.as_ref().ok().map(|stamped| stamped.stamp.at_us),
            problem,
        });
        let kept = outcome.map(|stamped| (stamped.answer, stamped.stamp.at_us));
        book.heads_stamped(row.number, kept).await?;
        if failed {
            break;
        }
    }
    Ok(asked)
}

/// The rows after the last one that is `done`, the newest [`AT_ONCE`] of them.
fn newest_after(rows: &[HeadsRow], done: impl Fn(&HeadsRow) -> bool) -> &[HeadsRow] {
    let last = rows.iter().rposition(done);
    let rows = &rows[last.map_or(0, |index| index + 1)..];
    &rows[rows.len().saturating_sub(AT_ONCE)..]
}

/// One sending, done or failed.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    pub number: u64,
    pub to: String,
    /// What went wrong, in words; it is tried again.
    pub problem: Option<String>,
}

/// Sends out what has not gone out yet, by every way that is configured.
pub async fn send(
    book: &impl HeadsBook,
    key: &SigningKey,
    heads: &config::Heads,
    mail: &config::Mail,
) -> anyhow::Result<Vec<Sent>> {
    let rows = book.heads().await?;
    let mut sent = Vec::new();
    if !heads.path.as_os_str().is_empty() {
        for row in &rows {
            sent.extend(write(book, heads, row).await?);
        }
    }
    if !heads.mail_to.is_empty() {
        let letter = Letter::of(&rows);
        if let Some(newest) = letter.newest() {
            sent.push(post(book, key, heads, mail, &letter, newest).await?);
        }
    }
    Ok(sent)
}

/// Puts into the folder what is not in it yet: the document, its time stamp.
async fn write(
    book: &impl HeadsBook,
    heads: &config::Heads,
    row: &HeadsRow,
) -> anyhow::Result<Vec<Sent>> {
    let mut sent = Vec::new();
    if row.written_us.is_none() {
        let bytes = row.document.clone().into_bytes();
        let name = file_name(row.number);
        sent.push(write_one(book, heads, row.number, SentBy::File, &name, bytes).await?);
    }
    if let Some(stamp) = row
        .stamp
        .as_ref()
        .filter(|stamp| stamp.written_us.is_none())
    {
        let bytes = stamp.answer.clone();
        let name = stamp_file_name(row.number);
        sent.push(write_one(book, heads, row.number, SentBy::StampFile, &name, bytes).await?);
    }
    Ok(sent)
}

async fn write_one(
    book: &impl HeadsBook,
    heads: &config::Heads,
    number: u64,
    by: SentBy,
    name: &str,
    bytes: Vec<u8>,
) -> anyhow::Result<Sent> {
    let path = heads.path.join(name);
    let target = path.clone();
    let outcome = tokio::task::spawn_blocking(move || files::write_once(&target, &bytes)).await?;
    let outcome = outcome.map_err(|error| format!("{error:#}"));
    note(book, number, by, outcome, path.display().to_string()).await
}

/// What one mail carries.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Their documents.
    pub(super) heads: Vec<HeadsRow>,
    /// Their time stamps: of these heads, and of others that were mailed before they had one.
    pub(super) stamps: Vec<HeadsRow>,
}

impl Letter {
    fn of(rows: &[HeadsRow]) -> Self {
        let heads = newest_after(rows, |row| row.mailed_us.is_some()).to_vec();
        let is_late = |row: &&HeadsRow| {
            let unsent = row.stamp.as_ref().filter(|stamp| stamp.mailed_us.is_none());
            row.mailed_us.is_some() && unsent.is_some()
        };
        let mut late: Vec<_> = rows.iter().rev().filter(is_late).take(AT_ONCE).collect();
        late.reverse();
        let of_these = heads.iter().filter(|row| row.stamp.is_some());
        Self {
            stamps: late.into_iter().chain(of_these).cloned().collect(),
            heads,
        }
    }

    /// The heads that the letter is about; `None`: there is nothing to send.
    pub(super) fn newest(&self) -> Option<&HeadsRow> {
        self.heads.last().or(self.stamps.last())
    }
}

async fn post(
    book: &impl HeadsBook,
    key: &SigningKey,
    heads: &config::Heads,
    mail: &config::Mail,
    letter: &Letter,
    newest: &HeadsRow,
) -> anyhow::Result<Sent> {
    let (settings, to) = (mail.clone(), heads.mail_to.clone());
    let (content, public) = (letter.clone(), key.verifying_key());
    let outcome = tokio::task::spawn_blocking(move || {
        let message = mail::heads_letter(&to, &content, &public)?;
        mail::send(&settings, &message)
    });
    let outcome = outcome.await?.map_err(|error| format!("{error:#}"));
    if outcome.is_ok() {
        for row in &letter.heads {
            book.heads_sent(row.number, SentBy::Mail, Ok(now())).await?;
        }
        for row in &letter.stamps {
            book.heads_sent(row.number, SentBy::StampMail, Ok(now()))
                .await?;
        }
    }
    let by = if letter.heads.is_empty() {
        SentBy::StampMail
    } else {
        SentBy::Mail
    };
    note(book, newest.number, by, outcome, heads.mail_to.join(", ")).await
}

async fn note(
    book: &impl HeadsBook,
    number: u64,
    by: SentBy,
    outcome: Result<(), String>,
    to: String,
) -> anyhow::Result<Sent> {
    let problem = outcome.as_ref().err().cloned();
    book.heads_sent(number, by, outcome.map(|()| now())).await?;
    Ok(Sent {
        number,
        to,
        problem,
    })
}
