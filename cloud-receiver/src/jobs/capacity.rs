//! Measures once an hour how full the receiver is, and tells the operator before it is too late: once when it becomes so,
//! again when it gets worse, and once when all is well again.

use crate::capacity::{Forecast, Level, Sample, WINDOW_US, forecast, level};
use crate::clock::now;
use crate::config::Config;
use crate::disk::Room;
use crate::evidence::local;
use crate::notice::as_html;
use crate::portal::words::{Lang, thousands};
use crate::store::sqlite::SqliteStore;
use crate::store::{CapacityBook, Letter, MailKind, NewMail, Usage};
use anyhow::Context;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wire::UtcMicros;

/// How often to look whether an hour is over; also how soon a full disk is told.
const EVERY: Duration = Duration::from_secs(60);
const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
const GB: u64 = 1_000_000_000;

pub async fn run(store: SqliteStore, config: Config, stop: CancellationToken) {
    let mut failed = false;
    loop {
        let turn = async { turn(&store, &config, Room::at(&config.data_dir)?, now()).await };
        match stop.run_until_cancelled(turn).await {
            None => return,
            Some(Ok(())) => failed = false,
            Some(Err(error)) => {
                if !failed {
                    tracing::error!(
                        "how full the receiver is cannot be measured: {error:#}; it is tried again"
                    );
                }
                failed = true;
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// How full it is now, in all and of whom.
pub async fn measure(
    store: &SqliteStore,
    dir: &Path,
    at: UtcMicros,
) -> anyhow::Result<(Sample, Usage)> {
    let usage = store.usage(at.plus_us(-DAY_US)).await?;
    let room = Room::at(dir).with_context(|| dir.display().to_string())?;
    let sample = Sample {
        at_us: at,
        database_bytes: usage.database_bytes,
        objects_bytes: usage.objects_bytes(),
        free_bytes: room.free_bytes,
        total_bytes: room.total_bytes,
        records: usage.records(),
    };
    Ok((sample, usage))
}

async fn turn(
    store: &SqliteStore,
    config: &Config,
    room: Room,
    at: UtcMicros,
) -> anyhow::Result<()> {
    let mut samples = store.samples_since(at.plus_us(-WINDOW_US)).await?;
    // A clock that was set back must not stop the measuring.
    let age_us = samples.last().map(|last| at.since_us(last.at_us));
    if age_us.is_none_or(|age| !(0..HOUR_US).contains(&age)) {
        let (sample, _) = measure(store, &config.data_dir, at).await?;
        store.add_sample(sample).await?;
        samples.push(sample);
    }
    let Some(last) = samples.last() else {
        return Ok(());
    };
    let fresh = Sample {
        at_us: at,
        free_bytes: room.free_bytes,
        total_bytes: room.total_bytes,
        ..*last
    };
    let expected = forecast(&samples);
    let before = store.capacity_level().await?;
    let after = level(&fresh, expected, room.has_room_for(0), before);
    if after != before {
        let mail = to_operator(config, &fresh, expected, before, after);
        store.capacity_told(after, mail, at).await?;
        tracing::warn!("{}", subject(before, after));
    }
    Ok(())
}

fn subject(before: Level, after: Level) -> String {
    match after {
        Level::Full => {
            "The receiver's disk is full: pictures are refused / 容量不足：画像を受け取れません"
                .into()
        }
        Level::Urgent => {
            "The receiver has room for a week at most / 空き容量は1週間分以下です".into()
        }
        Level::Soon if before < after => {
            "The receiver has room for a month at most / 空き容量は1か月分以下です".into()
        }
        Level::Soon => {
            "The receiver has room for more than a week again / 空き容量が1週間分を超えました"
                .into()
        }
        Level::Fine => "The receiver has room enough again / 空き容量が回復しました".into(),
    }
}

fn to_operator(
    config: &Config,
    sample: &Sample,
    expected: Forecast,
    before: Level,
    after: Level,
) -> Vec<NewMail> {
    let text = words(sample, expected) + &format!("\n{}/operator\n", config.portal_url());
    let mail = |to: &String| NewMail {
        contract: None,
        kind: MailKind::Alert,
        about: None,
        letter: Letter {
            to: to.clone(),
            subject: subject(before, after),
            html: Some(as_html(Lang::En, &text)),
            text: text.clone(),
            ..Letter::default()
        },
    };
    config.alerts.mail_to.iter().map(mail).collect()
}

/// A few lines for people.
pub fn words(sample: &Sample, expected: Forecast) -> String {
    let gb = |bytes: u64| format!("{}.{} GB", thousands(bytes / GB), bytes % GB * 10 / GB);
    let until = match expected {
        Forecast::TooEarly => "not known yet: less than a day was measured".into(),
        Forecast::Steady => "nothing grows".into(),
        Forecast::Growing {
            bytes_per_day,
            full_us,
        } => format!(
            "{} a day; full about {}",
            gb(bytes_per_day),
            local::time(full_us)
        ),
    };
    format!(
        "disk      {} free of {}\n\
         database  {}\n\
         objects   {}\n\
         growth    {until}\n",
        gb(sample.free_bytes),
        gb(sample.total_bytes),
        gb(sample.database_bytes),
        gb(sample.objects_bytes),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::live::Live;
    use crate::seal::SecretKey;
    use crate::store::sqlite::FILE_NAME;
    use crate::store::{MailBook, MailChoice};

    async fn subjects(store: &SqliteStore) -> Vec<String> {
        let mail = store.mail(MailChoice::Newest(10)).await.unwrap();
        let mut mail: Vec<_> = mail
            .into_iter()
            .map(|row| (row.no, row.letter.subject))
            .collect();
        mail.sort();
        mail.into_iter().map(|(_, subject)| subject).collect()
    }

    #[tokio::test]
    async fn who_runs_out_of_room_is_told_once_and_once_when_it_is_over() {
        // A store without a receiver, whose own job would measure the real disk and tell nobody.
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().into(), dir.path().join("keys"));
        config.alerts.mail_to = vec!["operator@example.jp".into()];
        let key = SecretKey::from_bytes([9; 32]);
        let path = dir.path().join(FILE_NAME);
        let store = &SqliteStore::open(&path, key, Live::default(), true).unwrap();
        let start = now();
        let free = 1_000 * GB;
        let room = Room {
            free_bytes: free,
            total_bytes: free * 2,
        };
        // Two days that would fill the disk in ten.
        let grown = |hour: i64| Sample {
            at_us: start.plus_us(hour * HOUR_US),
            database_bytes: 0,
            objects_bytes: free / 240 * hour.cast_unsigned(),
            free_bytes: free,
            total_bytes: free * 2,
            records: 0,
        };
        for hour in 1..=48 {
            store.add_sample(grown(hour)).await.unwrap();
        }
        for minute in 0..3 {
            let at = start.plus_us(48 * HOUR_US + minute * 60_000_000);
            turn(store, &config, room, at).await.unwrap();
        }
        assert_eq!(store.capacity_level().await.unwrap(), Level::Soon);
        let told = subjects(store).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("a month at most"), "{told:?}");

        // A month later nothing grew; the old days lie before the window.
        for hour in 0..48 {
            let sample = Sample {
                at_us: start.plus_us(30 * DAY_US + hour * HOUR_US),
                ..grown(48)
            };
            store.add_sample(sample).await.unwrap();
        }
        let at = start.plus_us(30 * DAY_US + 47 * HOUR_US + 60_000_000);
        turn(store, &config, room, at).await.unwrap();
        let told = subjects(store).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].contains("room enough again"), "{told:?}");
    }
}
