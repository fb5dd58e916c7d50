//! Making signed heads, and sending them out.
//!
//! Heads are made of what the database holds at one moment, numbered, and each names the one before. They are kept
//! in the database and sent to where the configuration says: what counts later are the copies that nobody who can
//! change the database can reach.

use super::{files, mail};
use crate::clock::now;
use crate::config;
use crate::seal::random;
use crate::store::{HeadsBook, HeadsRow, SentBy, StoreError};
use anyhow::Context;
use data_encoding::HEXLOWER;
use serde::Serialize;
use wire::evidence::SignedHeads;
use wire::{Sha256, SigningKey, UtcMicros};

/// Most heads that one mail carries; of a longer time without mail only the newest are sent.
const IN_ONE_MAIL: usize = 31;

/// Name of the file that carries heads of this number.
pub fn file_name(number: u64) -> String {
    format!("heads-{number:06}.json")
}

/// Makes the next heads and keeps them.
pub async fn make(
    book: &impl HeadsBook,
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

async fn next(book: &impl HeadsBook, key: &SigningKey, at: UtcMicros) -> anyhow::Result<HeadsRow> {
    let newest = book.newest_heads().await?;
    let (number, previous) = newest.map_or((1, Sha256::ZERO), |row| (row.number + 1, row.sha256));
    let mut sections = book.holdings().await?;
    for section in &mut sections {
        section.salt = HEXLOWER.encode(&random::<16>());
    }
    let signed = SignedHeads::sign(key, number, at, previous, &sections);
    Ok(HeadsRow {
        number,
        at_us: at,
        sha256: signed.hash(),
        document: String::from_utf8(signed.to_json()).context("JSON is UTF-8")?,
        written_us: None,
        mailed_us: None,
        problem: None,
    })
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
        for row in rows.iter().filter(|row| row.written_us.is_none()) {
            sent.push(write(book, heads, row).await?);
        }
    }
    if !heads.mail_to.is_empty() {
        let last_mailed = rows.iter().rposition(|row| row.mailed_us.is_some());
        let unsent = &rows[last_mailed.map_or(0, |index| index + 1)..];
        let unsent = &unsent[unsent.len().saturating_sub(IN_ONE_MAIL)..];
        if let Some(newest) = unsent.last() {
            sent.push(post(book, key, heads, mail, unsent, newest).await?);
        }
    }
    Ok(sent)
}

async fn write(
    book: &impl HeadsBook,
    heads: &config::Heads,
    row: &HeadsRow,
) -> anyhow::Result<Sent> {
    let path = heads.path.join(file_name(row.number));
    let (target, document) = (path.clone(), row.document.clone());
    let outcome =
        tokio::task::spawn_blocking(move || files::write_once(&target, document.as_bytes()))
            .await?;
    let outcome = outcome.map_err(|error| format!("{error:#}"));
    note(
        book,
        row.number,
        SentBy::File,
        outcome,
        path.display().to_string(),
    )
    .await
}

async fn post(
    book: &impl HeadsBook,
    key: &SigningKey,
    heads: &config::Heads,
    mail: &config::Mail,
    unsent: &[HeadsRow],
    newest: &HeadsRow,
) -> anyhow::Result<Sent> {
    let (settings, to) = (mail.clone(), heads.mail_to.clone());
    let (rows, public) = (unsent.to_vec(), key.verifying_key());
    let outcome = tokio::task::spawn_blocking(move || {
        let letter = mail::heads_letter(&settings, &to, &rows, &public)?;
        mail::send(&settings, &letter)
    });
    let outcome = outcome.await?.map_err(|error| format!("{error:#}"));
    for row in unsent.iter().filter(|_| outcome.is_ok()) {
        book.heads_sent(row.number, SentBy::Mail, Ok(now())).await?;
    }
    note(
        book,
        newest.number,
        SentBy::Mail,
        outcome,
        heads.mail_to.join(", "),
    )
    .await
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
