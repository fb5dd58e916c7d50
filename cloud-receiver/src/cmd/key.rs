//! `key`: a new master key in the place of the one before. The contracts' keys are wrapped anew in one commit; what
//! they seal is not touched.
//!
//! The new key is on disk before the database is under it, and the old one goes only after: killed at any step, the
//! keys on disk open the database, and the same command brings the change to its end.

use super::{Common, report, setup};
use crate::app::open_store;
use crate::clock::now;
use crate::config::Config;
use crate::keys::{KeyBackupFile, KeyFolder};
use crate::live::Live;
use crate::seal::MasterId;
use crate::store::{AuditBook, ErasureBook, KeyBook, Note};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Put a new master key in the place of the present one; stored data is not touched.
    ///
    /// The receiver may run meanwhile, and is to be restarted afterwards. If this command is interrupted, give it again:
    /// it goes on where it was.
    Rotate,
    /// Write a copy of every contract's key, wrapped under the master key: with it and a sealed copy of the master key a
    /// backup of the database can be read.
    ///
    /// The certificate of an erasure names copies made before it: they are to be destroyed then.
    Backup {
        /// Where to; the file must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Rotate => rotate(common).await,
        Verb::Backup { out } => backup(common, &out).await,
    }
}

#[derive(Serialize)]
struct Copied<'a> {
    path: &'a Path,
    contract_keys: usize,
}

async fn backup(common: &Common, out: &Path) -> anyhow::Result<()> {
    let setup = setup(common)?;
    let out = std::path::absolute(out)?;
    // Noted first: a copy that nobody knows of could not be destroyed when it has to be.
    let note = Note::new("key.backup").on(out.display());
    setup.store.note(super::console(), note, now()).await?;
    let backup = setup.store.key_backup().await?;
    KeyBackupFile::copy_to(&out, &backup)?;
    let copied = Copied {
        path: &out,
        contract_keys: backup.keys.len(),
    };
    let words = format!(
        "{} contract keys are in {}.",
        copied.contract_keys,
        out.display()
    );
    report(common, &copied, &words)
}

#[derive(Serialize)]
struct Rotated {
    master_key: MasterId,
    before: MasterId,
    contract_keys: u64,
    /// Whether an earlier attempt had been interrupted.
    was_begun: bool,
    /// Whether no copy of the old wrapping is left in the database's log.
    log_emptied: bool,
}

async fn rotate(common: &Common) -> anyhow::Result<()> {
    let config = Config::load(&common.config)?;
    let folder = KeyFolder::lock(&config.key_dir)?;
    let keys = folder.keys()?;
    // Before anything is made: a database that does not open under the key on disk stays as it is.
    let store = open_store(&config, &keys, Live::default())?;
    let next = folder.next_master(&keys)?;
    let contract_keys = store.rewrap(&next).await?;
    folder.put_master_in_place()?;
    let note = Note::new("key.rotate").on(MasterId::of(&next));
    store.note(super::console(), note, now()).await?;
    let key_backup = KeyBackupFile::at(config.key_backup_at());
    store.write_key_backup(&key_backup).await?;
    let log_emptied = store.empty_log().await?;
    let rotated = Rotated {
        master_key: MasterId::of(&next),
        before: MasterId::of(keys.master.current()),
        contract_keys,
        was_begun: keys.master.next().is_some(),
        log_emptied,
    };
    let mut words = format!(
        "There is a new master key. Contract keys wrapped under it: {contract_keys}.\n\
         \x20 new     {}\n\
         \x20 before  {}  gone from {}\n\
         Now:\n\
         \x20 1. make a new sealed copy of {}: without it stored data is unreadable\n\
         \x20 2. restart the receiver\n\
         \x20 3. keep the old sealed copy as long as backups of the database from before are kept: they need it. Then\n\
         \x20    destroy both",
        rotated.master_key,
        rotated.before,
        config.key_dir.display(),
        config.key_dir.display(),
    );
    if rotated.was_begun {
        words = format!("An interrupted change of the master key was brought to its end.\n{words}");
    }
    if !log_emptied {
        words += "\nThe database was being read all the time: its log holds the old wrapping until the receiver is restarted.";
    }
    report(common, &rotated, &words)
}
