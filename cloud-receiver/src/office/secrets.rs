//! How it is with the receiver's keys and certificates, as far as may be shown: no secret is read for it.

use super::authority::Change;
use super::{Office, Result};
use crate::app::TLS_DIR;
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditBook, AuditFilter, AuditRow, ErasureBook, KeyBook};
use crate::tls::standing::Standing;
use wire::UtcMicros;

#[derive(Clone, Debug)]
pub struct Secrets {
    pub master: Master,
    /// Absent in a program that has no CA.
    pub ca: Option<Authorities>,
    /// For browsers; absent where they are shown the receiver's own.
    pub portal: Option<Standing>,
}

#[derive(Clone, Debug)]
pub struct Master {
    pub id: String,
    pub contract_keys: usize,
    pub rotated_us: Option<UtcMicros>,
    /// It was changed since this program started.
    pub wants_restart: bool,
    /// Of the last copy of contracts' keys that a command wrote.
    pub copied_us: Option<UtcMicros>,
}

#[derive(Clone, Debug)]
pub struct Authorities {
    pub change: Change,
    /// A command has changed them since this program started.
    pub wants_restart: bool,
}

pub async fn look(office: &Office, at: UtcMicros) -> Result<Secrets> {
    let store = &office.store;
    let wrapped = store.key_backup().await?;
    let master = Master {
        id: wrapped.master_key,
        contract_keys: wrapped.keys.len(),
        rotated_us: last(store, "key.rotate").await?.map(|row| row.at_us),
        wants_restart: !store.is_under_our_key().await?,
        copied_us: last(store, "key.backup").await?.map(|row| row.at_us),
    };
    let ca = match &office.ca {
        None => None,
        Some(ca) => {
            let change = Change::of(store, ca, at).await?;
            let wants_restart = was_changed(store, &change).await?;
            Some(Authorities {
                change,
                wants_restart,
            })
        }
    };
    let config = &office.config;
    let portal = config.portal_certificate().map(|_| {
        let standing = Standing::load(&config.data_dir.join(TLS_DIR));
        standing.unwrap_or_default()
    });
    Ok(Secrets { master, ca, portal })
}

async fn last(store: &SqliteStore, action: &str) -> Result<Option<AuditRow>> {
    let filter = AuditFilter {
        action: Some(action.into()),
        ..AuditFilter::default()
    };
    let rows = store.audit_newest(&filter, None, 1).await?;
    Ok(rows.into_iter().next())
}

/// By what the commands noted: under systemd a service sees its keys as they were when it started.
async fn was_changed(store: &SqliteStore, running: &Change) -> Result<bool> {
    let rotated = last(store, "ca.rotate").await?;
    let newest = rotated.and_then(|row| row.subject);
    if newest.is_some_and(|newest| newest != running.current.fingerprint) {
        return Ok(true);
    }
    let retired = last(store, "ca.retire").await?.and_then(|row| row.subject);
    let before = running.before.as_ref().map(|before| &before.fingerprint);
    Ok(retired.is_some() && retired.as_ref() == before)
}
