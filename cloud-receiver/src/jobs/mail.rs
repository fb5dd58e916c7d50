//! Empties the outbox: offers each message to the mail server until that takes it, or says for good that it will not, or
//! three days are over.
//!
//! A message is settled in a commit of its own, right after the server's answer. Between the two a kill makes the
//! receiver offer it once more, under the same Message-ID: mail servers and readers know the second copy by it.

use crate::clock::now;
use crate::config::Mail;
use crate::mail::{Connection, Message, Refusal, Taken};
use crate::store::sqlite::SqliteStore;
use crate::store::{DeviceWrites, MailBook, MailRow, Result, StoreError};
use data_encoding::BASE64;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::UtcMicros;

/// Looked at so often without being called; a message of this receiver or of a command calls.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Messages that are read at once.
const AT_ONCE: u32 = 50;
const SECOND_US: i64 = 1_000_000;
const FIRST_WAIT_US: i64 = 15 * SECOND_US;
const LONGEST_WAIT_US: i64 = 3600 * SECOND_US;
/// How long a message is offered.
const PATIENCE_US: i64 = 3 * 24 * 3600 * SECOND_US;
const FORGET_EVERY_US: i64 = 24 * 3600 * SECOND_US;
/// Mail about events is no proof of anything.
const FORGET_AFTER_US: i64 = 30 * 24 * 3600 * SECOND_US;
/// Operators' alerts lie there in clear, with the names of customers and places; in a week somebody has looked.
const FORGET_ALERTS_AFTER_US: i64 = 7 * 24 * 3600 * SECOND_US;

pub async fn run(store: SqliteStore, settings: Mail, stop: CancellationToken) {
    let mut changes = store.changes();
    let mut forgotten: Option<UtcMicros> = None;
    loop {
        // What comes from now on calls.
        changes.borrow_and_update();
        if let Err(error) = turn(&store, &settings, &stop).await {
            tracing::error!("the outbox cannot be read: {error}; it is tried again");
        }
        if forgotten.is_none_or(|last| now().since_us(last) > FORGET_EVERY_US) {
            let at = now();
            forgotten = Some(at);
            let events = at.plus_us(-FORGET_AFTER_US);
            let alerts = at.plus_us(-FORGET_ALERTS_AFTER_US);
            if let Err(error) = store.forget_mail(events, alerts).await {
                tracing::error!("old mail cannot be forgotten: {error}; it is tried again");
            }
        }
        let wait = wait(&store).await;
        tokio::select! {
            () = stop.cancelled() => return,
            // An error means that the store is gone, and with it the process.
            Ok(()) = changes.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn wait(store: &SqliteStore) -> Duration {
    let next = store.next_mail_due().await.ok().flatten();
    let until = next.map_or(i64::MAX, |due| due.since_us(now()));
    let until = u64::try_from(until.max(SECOND_US)).unwrap_or_default();
    Duration::from_micros(until).min(LOOK_EVERY)
}

/// Offers everything that is due.
async fn turn(store: &SqliteStore, settings: &Mail, stop: &CancellationToken) -> Result<()> {
    loop {
        let due = store.mail_due(now(), AT_ONCE).await?;
        if due.is_empty() || stop.is_cancelled() {
            return Ok(());
        }
        offer(store, settings, due, stop).await?;
    }
}

async fn offer(
    store: &SqliteStore,
    settings: &Mail,
    due: Vec<MailRow>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut due = due.into_iter();
    let mut connection = None;
    while let Some(row) = due.next() {
        if stop.is_cancelled() {
            break;
        }
        let open = match connection.take() {
            Some(open) => open,
            None => match open(settings).await {
                Ok(open) => open,
                Err(problem) => {
                    // It is no message's fault, and the next one would fare no better.
                    tracing::error!("no mail can be sent: {problem}; it is tried again");
                    for row in std::iter::once(row).chain(due) {
                        failed(store, &row, &problem, false).await?;
                    }
                    return Ok(());
                }
            },
        };
        let server = open.server().to_owned();
        let message = message_of(&row);
        let (open, sent) = blocking(move || {
            let mut open = open;
            let sent = open.send(&message);
            (open, sent)
        })
        .await?;
        let broken = matches!(&sent, Err(refusal) if refusal.broken);
        if !broken {
            connection = Some(open);
        }
        settle(store, &row, &server, sent).await?;
    }
    if let Some(open) = connection {
        blocking(move || open.close()).await?;
    }
    Ok(())
}

async fn open(settings: &Mail) -> std::result::Result<Connection, String> {
    if settings.server.is_empty() || settings.from.is_empty() {
        return Err("section [mail] of the configuration names no server or no sender".into());
    }
    let settings = settings.clone();
    let opened = blocking(move || Connection::open(&settings)).await;
    match opened {
        Ok(opened) => opened.map_err(|error| format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Database(format!("sending mail ended: {error}")))
}

async fn settle(
    store: &SqliteStore,
    row: &MailRow,
    server: &str,
    sent: std::result::Result<Taken, Refusal>,
) -> Result<()> {
    match sent {
        Ok(taken) => {
            tracing::info!(mail.no = row.no, "message {} was taken by {server}", row.no);
            store.mail_taken(row, server, &taken.answer, now()).await
        }
        Err(refusal) => failed(store, row, &refusal.problem, refusal.for_good).await,
    }
}

/// Addresses stand in what servers say, so the log gets the number only.
async fn failed(store: &SqliteStore, row: &MailRow, problem: &str, for_good: bool) -> Result<()> {
    let at = now();
    let again = next_attempt(row.offered_us, row.attempts, at).filter(|_| !for_good);
    match again {
        Some(_) => tracing::warn!(mail.no = row.no, "message {} was not taken yet", row.no),
        None => tracing::error!(
            mail.no = row.no,
            "message {no} is given up; \"mail show {no}\" says why, \"mail retry {no}\" tries again",
            no = row.no
        ),
    }
    store.mail_failed(row, problem, again, at).await
}

/// Longer after each failure; none once the message was offered for three days.
fn next_attempt(offered: UtcMicros, attempts_before: u32, at: UtcMicros) -> Option<UtcMicros> {
    let wait = FIRST_WAIT_US << attempts_before.min(20);
    let next = at.plus_us(wait.min(LONGEST_WAIT_US));
    (next.since_us(offered) <= PATIENCE_US).then_some(next)
}

fn message_of(row: &MailRow) -> Message {
    let letter = &row.letter;
    let decoded = |text: &String| BASE64.decode(text.as_bytes()).ok();
    Message {
        id: row.id.to_string(),
        at: row.created_us,
        to: vec![letter.to.clone()],
        subject: letter.subject.clone(),
        text: letter.text.clone(),
        html: letter.html.clone(),
        picture: letter.picture.as_ref().and_then(decoded),
        attachments: Vec::new(),
        unsubscribe: letter.unsubscribe.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_and_end_after_three_days() {
        let start = UtcMicros(1_000 * SECOND_US);
        let (mut at, mut waits) = (start, Vec::new());
        for attempt in 0.. {
            let Some(next) = next_attempt(start, attempt, at) else {
                break;
            };
            waits.push(next.since_us(at) / SECOND_US);
            at = next;
        }
        assert_eq!(waits[..5], [15, 30, 60, 120, 240]);
        assert!(waits.iter().all(|wait| *wait <= 3600));
        let days = at.since_us(start) as f64 / (24.0 * 3600.0 * 1e6);
        assert!((2.9..=3.0).contains(&days), "{days}");
    }
}
