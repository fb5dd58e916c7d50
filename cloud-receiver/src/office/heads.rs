//! Signing what is held at this moment, because somebody asks: made, time-stamped and sent out as the daily ones are.

use crate::config::Config;
use crate::evidence::heads::{self, Asked, Sent};
use crate::store::HeadsRow;
use crate::store::sqlite::SqliteStore;
use wire::{SigningKey, UtcMicros};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Made {
    pub row: HeadsRow,
    pub time_stamps: Vec<Asked>,
    pub sent: Vec<Sent>,
}

pub async fn make_now(
    store: &SqliteStore,
    key: &SigningKey,
    config: &Config,
    at: UtcMicros,
) -> anyhow::Result<Made> {
    let row = heads::make(store, key, at).await?;
    let time_stamps = heads::stamp(store, &config.heads).await?;
    let sent = heads::send(store, key, &config.heads, &config.mail).await?;
    Ok(Made {
        row,
        time_stamps,
        sent,
    })
}

/// Whether heads leave the receiver at all: those that stay in the database prove little.
pub fn go_out(config: &Config) -> bool {
    !config.heads.path.as_os_str().is_empty() || !config.heads.mail_to.is_empty()
}
