//! Backups: making one, checking one, and what the audit log knows of them.
//!
//! Where backups go is said on the command line, by whoever has an account on the machine. The portal makes further ones
//! into that very folder and into no other: an address that a page could choose would let it write anywhere.

use super::{Office, Refusal, Result};
use crate::backup::check::{Checked, check};
use crate::backup::make::{Made, Sources, make};
use crate::backup::{Folder, Generation, Opening, read_key_backup};
use crate::clock::now;
use crate::config::Config;
use crate::keys::{KeyBackup, Keys};
use crate::seal::SecretKey;
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditBook, AuditFilter, AuditRow, ErasureBook, Note};
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::{SigningKey, UtcMicros};

/// As the command does unless told otherwise.
pub const KEPT: usize = 7;

const MADE: &str = "backup.make";
const CHECKED: &str = "backup.verify";
const FAILED: &str = "backup.fail";

/// Makes one, and notes it.
pub async fn take(
    store: &SqliteStore,
    data_dir: PathBuf,
    key: Arc<SigningKey>,
    out: &Path,
    keep: usize,
) -> anyhow::Result<Made> {
    let folder = out.to_owned();
    let snapshot = store.snapshot()?;
    let key_backup = store.key_backup().await?;
    let at = now();
    let made = tokio::task::spawn_blocking(move || {
        let sources = Sources {
            snapshot: &snapshot,
            data_dir: &data_dir,
            key: &key,
            key_backup: &key_backup,
            at,
        };
        make(&folder, &sources, keep)
    });
    let made = made.await?.with_context(|| {
        format!(
            "no new backup was made; former ones in {} are as they were",
            out.display()
        )
    })?;
    let note = Note::new(MADE)
        .on(&made.generation)
        .with("folder", out.display().to_string())
        .with("contracts", made.contracts)
        .with("rows", made.rows)
        .with("objects", made.objects)
        .with("objects_not_there", made.objects_not_there);
    store.note(store.actor().clone(), note, now()).await?;
    Ok(made)
}

/// Which backup, and what opens it, where that is not the receiver's own.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub from: PathBuf,
    /// The newest unless said.
    pub generation: Option<String>,
    pub keys: Option<PathBuf>,
    pub old_master: Option<PathBuf>,
}

/// The folder, the backup in it and what opens it.
pub fn opened(
    config: &Config,
    choice: &Choice,
) -> anyhow::Result<(Folder, Generation, Opening, KeyBackup)> {
    let keys = Keys::load(&config.keys_at())?;
    let folder = Folder::open(&choice.from)?;
    let generation = folder.generation(choice.generation.as_deref())?;
    generation
        .manifest
        .must_be_of(&keys.evidence.verifying_key())?;
    let own = config.key_backup_at();
    let key_backup = read_key_backup(choice.keys.as_deref().unwrap_or(&own))?;
    let mut masters = vec![keys.master.current().clone()];
    masters.extend(keys.master.next().cloned());
    if let Some(path) = &choice.old_master {
        let shown = || path.display().to_string();
        let bytes = std::fs::read(path).with_context(shown)?;
        let key = bytes
            .try_into()
            .ok()
            .with_context(|| format!("{} is no master key, which has 32 bytes", path.display()))?;
        masters.push(SecretKey::from_bytes(key));
    }
    let opening = Opening::new(&generation.manifest, &masters, &key_backup)?;
    Ok((folder, generation, opening, key_backup))
}

/// Checks every hash and every seal of one.
pub async fn verify(config: &Config, choice: &Choice) -> anyhow::Result<Checked> {
    let (folder, generation, opening, _) = opened(config, choice)?;
    let checking = move || check(&folder, &generation, &opening);
    Ok(tokio::task::spawn_blocking(checking).await?)
}

/// Notes that one was checked, and what was found.
pub async fn note_checked(store: &SqliteStore, from: &Path, checked: &Checked) -> Result<()> {
    let note = Note::new(CHECKED)
        .on(&checked.generation)
        .with("folder", from.display().to_string())
        .with("problems", checked.problems.len());
    store.note(store.actor().clone(), note, now()).await?;
    Ok(())
}

/// The last of a kind, by the audit log.
#[derive(Clone, Debug)]
pub struct Noted {
    pub at_us: UtcMicros,
    pub generation: String,
    pub folder: PathBuf,
    /// Of a check: how many problems it found.
    pub problems: u64,
    /// Of one that failed: why.
    pub problem: Option<String>,
}

impl Noted {
    fn of(row: AuditRow) -> Option<Self> {
        let detail: Value = serde_json::from_str(&row.detail).ok()?;
        let text = |key: &str| detail.get(key).and_then(Value::as_str);
        Some(Self {
            at_us: row.at_us,
            generation: row.subject.clone().unwrap_or_default(),
            folder: text("folder")?.into(),
            problems: detail.get("problems").and_then(Value::as_u64).unwrap_or(0),
            problem: text("problem").map(str::to_owned),
        })
    }
}

/// What is known of backups without looking into any folder.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub made: Option<Noted>,
    pub checked: Option<Noted>,
    /// Of the last that was to be made or checked from the portal, where none has been since.
    pub failed: Option<Noted>,
}

pub async fn known(store: &SqliteStore) -> Result<Known> {
    let last = async |action: &str| {
        let filter = AuditFilter {
            action: Some(action.into()),
            ..AuditFilter::default()
        };
        let rows = store.audit_newest(&filter, None, 1).await?;
        Ok::<_, super::Error>(rows.into_iter().find_map(Noted::of))
    };
    let (made, checked) = (last(MADE).await?, last(CHECKED).await?);
    let newest = [&made, &checked].into_iter().flatten().map(|it| it.at_us);
    let newest = newest.max();
    let failed = last(FAILED).await?;
    Ok(Known {
        failed: failed.filter(|it| newest.is_none_or(|newest| it.at_us > newest)),
        made,
        checked,
    })
}

/// Which generations a folder holds, the newest last; only this receiver's own.
pub fn listed(folder: &Path, key: &SigningKey) -> anyhow::Result<Vec<Generation>> {
    let generations = Folder::open(folder)?.generations()?;
    for generation in &generations {
        generation.manifest.must_be_of(&key.verifying_key())?;
    }
    Ok(generations)
}

/// What a running receiver is asked to do with its backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Make,
    Verify,
}

impl Office {
    pub fn backup_is_under_way(&self) -> bool {
        self.backup_turn.available_permits() == 0
    }

    /// Begins it and answers: it may take hours. What came of it is in the audit log.
    pub async fn begin_backup(&self, deed: Deed) -> Result<()> {
        let folder = known(&self.store).await?.made;
        let folder = folder.ok_or(Refusal::NoBackupYet)?.folder;
        let turn = Arc::clone(&self.backup_turn).try_acquire_owned();
        let turn = turn.map_err(|_| Refusal::BackupBusy)?;
        let office = self.clone();
        tokio::spawn(async move {
            if let Err(error) = office.do_backup(deed, &folder).await {
                office.note_failed(&folder, &error).await;
            }
            drop(turn);
        });
        Ok(())
    }

    async fn do_backup(&self, deed: Deed, folder: &Path) -> anyhow::Result<()> {
        match deed {
            Deed::Make => {
                let (dir, key) = (self.config.data_dir.clone(), Arc::clone(&self.key));
                let made = take(&self.store, dir, key, folder, KEPT).await?;
                tracing::info!("backup {} is in {}", made.generation, folder.display());
            }
            Deed::Verify => {
                let choice = Choice {
                    from: folder.to_owned(),
                    ..Choice::default()
                };
                let checked = verify(&self.config, &choice).await?;
                note_checked(&self.store, folder, &checked).await?;
            }
        }
        Ok(())
    }

    async fn note_failed(&self, folder: &Path, error: &anyhow::Error) {
        tracing::error!("the backup in {}: {error:#}", folder.display());
        let note = Note::new(FAILED)
            .with("folder", folder.display().to_string())
            .with("problem", format!("{error:#}"));
        let noted = self
            .store
            .note(self.store.actor().clone(), note, now())
            .await;
        if let Err(error) = noted {
            tracing::error!("that a backup failed could not be noted: {error}");
        }
    }
}
