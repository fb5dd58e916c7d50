//! Makes the signed heads when they are due, and sends out what has not gone out yet; a failed sending is told and
//! tried again.

use crate::clock::now;
use crate::config;
use crate::evidence::heads;
use crate::store::HeadsBook;
use crate::store::sqlite::SqliteStore;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::SigningKey;

/// How often to look: also how soon a sending that failed is tried again.
const EVERY: Duration = Duration::from_secs(60);
/// After several failures in a row less often, up to once an hour.
const SLOWEST: Duration = Duration::from_secs(3600);
const HOUR_US: i64 = 3_600_000_000;

pub async fn run(
    store: SqliteStore,
    key: Arc<SigningKey>,
    heads: config::Heads,
    mail: config::Mail,
    stop: CancellationToken,
) {
    let mut wait = EVERY;
    while stop
        .run_until_cancelled(tokio::time::sleep(wait))
        .await
        .is_some()
    {
        match turn(&store, &key, &heads, &mail).await {
            Ok(()) => wait = EVERY,
            Err(error) => {
                wait = (wait * 2).min(SLOWEST);
                let seconds = wait.as_secs();
                tracing::error!("{error:#}; it is tried again in {seconds} s");
            }
        }
    }
}

async fn turn(
    store: &SqliteStore,
    key: &SigningKey,
    heads: &config::Heads,
    mail: &config::Mail,
) -> anyhow::Result<()> {
    let newest = store.newest_heads().await?;
    let every_us = i64::from(heads.every_hours) * HOUR_US;
    let is_due = newest.is_none_or(|row| now().since_us(row.at_us) >= every_us);
    if is_due {
        let made = heads::make(store, key, now()).await?;
        tracing::info!(
            heads.number = made.number,
            "heads no. {} were signed",
            made.number
        );
    }
    for sent in heads::send(store, key, heads, mail).await? {
        match sent.problem {
            None => tracing::info!("heads no. {} went out: {}", sent.number, sent.to),
            Some(problem) => {
                anyhow::bail!(
                    "heads no. {} did not go out to {}: {problem}",
                    sent.number,
                    sent.to
                )
            }
        }
    }
    Ok(())
}
