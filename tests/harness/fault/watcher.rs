//! A signed-in browser that is looking: hears of events as a customer's page does, and notes when.

use crate::customer::Customer;
use crate::receiver::{Account, Receiver};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::{EventId, UtcMicros};

/// When an event was captured, and when the browser heard of it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub opened_at: UtcMicros,
    pub heard_at: UtcMicros,
}

impl Seen {
    pub fn latency(self) -> Duration {
        let us = self.heard_at.since_us(self.opened_at);
        Duration::from_micros(u64::try_from(us).unwrap_or_default())
    }
}

#[derive(Debug, Default)]
struct Heard {
    events: HashMap<EventId, Seen>,
    /// The page was told to load everything anew: news came faster than it could listen, or than anybody reads.
    reloads: u64,
}

impl Heard {
    fn add(&mut self, news: News) {
        match news {
            News {
                kind,
                id: Some(id),
                opened_at_us: Some(opened_at),
            } if kind == "event" => {
                let heard_at = now();
                self.events.entry(id).or_insert(Seen {
                    opened_at,
                    heard_at,
                });
            }
            News { kind, .. } if kind == "more" => self.reloads += 1,
            _ => {}
        }
    }
}

#[derive(Clone, Debug)]
pub struct Watcher {
    heard: Arc<Mutex<Heard>>,
    task: Arc<tokio::task::JoinHandle<()>>,
}

#[derive(Deserialize)]
struct News {
    #[serde(rename = "type")]
    kind: String,
    id: Option<EventId>,
    opened_at_us: Option<UtcMicros>,
}

impl Watcher {
    /// Signs in and listens until it is dropped.
    pub async fn start(receiver: &Receiver, account: &Account) -> Result<Self> {
        let customer = Customer::sign_in(receiver, account).await?;
        let mut response = customer.stream("/live").await?;
        if !response.status().is_success() {
            bail!("the live stream was answered with {}", response.status());
        }
        let first = response.chunk().await?.context("the stream's greeting")?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let noting = heard.clone();
        let task = tokio::spawn(async move {
            let mut text = String::from_utf8_lossy(&first).into_owned();
            while let Ok(Some(chunk)) = response.chunk().await {
                text += &String::from_utf8_lossy(&chunk);
                while let Some(end) = text.find("\n\n") {
                    note(&noting, &text[..end]);
                    text.drain(..end + 2);
                }
            }
        });
        Ok(Self {
            heard,
            task: Arc::new(task),
        })
    }

    /// Of the events captured in `from .. to`, those that were heard of.
    pub fn seen_between(&self, from: UtcMicros, to: UtcMicros) -> Vec<Seen> {
        let heard = self.heard.lock().expect("only noted under the lock");
        let captured = |seen: &&Seen| from <= seen.opened_at && seen.opened_at < to;
        heard.events.values().filter(captured).copied().collect()
    }

    pub fn reloads(&self) -> u64 {
        self.heard
            .lock()
            .expect("only noted under the lock")
            .reloads
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if Arc::strong_count(&self.task) == 1 {
            self.task.abort();
        }
    }
}

fn note(heard: &Mutex<Heard>, event: &str) {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let mut heard = heard.lock().expect("only noted under the lock");
    match field("event:").map(str::trim) {
        Some("reload") => heard.reloads += 1,
        Some("news") => {
            let told = field("data:").and_then(|data| serde_json::from_str::<Vec<News>>(data).ok());
            for news in told.unwrap_or_default() {
                heard.add(news);
            }
        }
        _ => {}
    }
}

/// One machine, one clock: what the feeder stamps and what is noted here can be compared.
pub fn now() -> UtcMicros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let us = since.expect("the clock is past 1970").as_micros();
    UtcMicros(i64::try_from(us).expect("the clock is before the year 294246"))
}
