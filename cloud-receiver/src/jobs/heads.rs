//! Makes the signed heads when they are due, has them time-stamped, and sends out what has not gone out yet; what
//! failed is told and tried again.

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
    let mut problems = Vec::new();
    for asked in heads::stamp(store, heads).await? {
        let (number, from) = (asked.number, asked.from);
        match asked.problem {
            None => tracing::info!("heads no. {number} were time-stamped by {from}"),
            Some(problem) => {
                problems.push(format!("heads no. {number} got no time stamp: {problem}"));
            }
        }
    }
    // They go out with or without it.
    for sent in heads::send(store, key, heads, mail).await? {
        let (number, to) = (sent.number, sent.to);
        match sent.problem {
            None => tracing::info!("heads no. {number} went out: {to}"),
            Some(problem) => {
                problems.push(format!(
                    "heads no. {number} did not go out to {to}: {problem}"
                ));
            }
        }
    }
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::Keys;
    use crate::testing::Receiver;

    #[tokio::test]
    async fn heads_are_made_when_due_and_a_failed_sending_is_tried_again() {
        let receiver = Receiver::start().await;
        let store = &receiver.app.store;
        let key = Keys::load(&receiver.config.key_dir).unwrap().evidence;
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("not-a-folder");
        std::fs::write(&in_the_way, b"").unwrap();
        let mut heads = config::Heads {
            path: in_the_way,
            ..config::Heads::default()
        };
        let mail = config::Mail::default();
        let error = turn(store, &key, &heads, &mail)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("heads no. 1 did not go out to"), "{error}");
        assert!(store.heads().await.unwrap()[0].problem.is_some());

        heads.path = folder.path().join("folder");
        turn(store, &key, &heads, &mail).await.unwrap();
        turn(store, &key, &heads, &mail).await.unwrap();
        let rows = store.heads().await.unwrap();
        assert_eq!(rows.len(), 1, "the next are due tomorrow only");
        assert!(rows[0].written_us.is_some() && rows[0].problem.is_none());
        let written = std::fs::read_to_string(heads.path.join("heads-000001.json")).unwrap();
        assert_eq!(written, rows[0].document);
    }

    #[tokio::test]
    async fn heads_go_out_without_a_time_stamp_that_nobody_gives() {
        let receiver = Receiver::start().await;
        let store = &receiver.app.store;
        let key = Keys::load(&receiver.config.key_dir).unwrap().evidence;
        let folder = tempfile::tempdir().unwrap();
        let mut heads = config::Heads {
            path: folder.path().join("folder"),
            // Nobody listens on port 1.
            time_stamps_from: "http://127.0.0.1:1/tsa".into(),
            ..config::Heads::default()
        };
        let mail = config::Mail::default();
        for _ in 0..2 {
            let turn = turn(store, &key, &heads, &mail).await;
            let error = turn.unwrap_err().to_string();
            let sentence = "heads no. 1 got no time stamp: the time-stamp authority http://127.0.0.1:1/tsa cannot be asked";
            assert!(error.contains(sentence), "{error}");
        }
        let rows = store.heads().await.unwrap();
        assert_eq!(rows.len(), 1, "they are not made anew");
        assert!(rows[0].written_us.is_some() && rows[0].problem.is_none());
        assert!(rows[0].stamp.is_none() && rows[0].stamp_problem.is_some());
        heads.time_stamps_from.clear();
        turn(store, &key, &heads, &mail).await.unwrap();
    }
}
