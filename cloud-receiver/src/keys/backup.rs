//! The key backup: every contract's key, wrapped under the master key, in one small file that is not in the data folder.
//!
//! A backup of the database carries no keys; with this file and the sealed copy of the master key it can be read again. The
//! file is rewritten as a whole whenever a contract is added or erased, so a key that was destroyed is in it no more.
//! Two processes may want to at the same moment: what a file says is read under the lock under which it is written, or
//! one of them would bring back what the other has just destroyed.

use super::{KeysError, create_private_dir, replace, write_new};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};
use wire::{ContractId, UtcMicros};

/// The version this program writes.
const VERSION: u8 = 1;

/// One contract's key as the database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    pub contract: ContractId,
    pub created_us: UtcMicros,
    /// Sealed under the master key, hexadecimal.
    pub wrapped: String,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBackup {
    pub v: u8,
    /// Id of the master key under which they are wrapped.
    pub master_key: String,
    pub keys: Vec<WrappedKey>,
}

impl KeyBackup {
    pub fn new(master_key: String, keys: Vec<WrappedKey>) -> Self {
        Self {
            v: VERSION,
            master_key,
            keys,
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("it is plain data") + "\n"
    }
}

/// Where the receiver keeps its own.
#[derive(Clone, Debug)]
pub struct KeyBackupFile(PathBuf);

impl KeyBackupFile {
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes what `read` answers in the place of what was there. Blocks.
    pub fn rewrite<E: From<KeysError>>(
        &self,
        read: impl FnOnce() -> Result<KeyBackup, E>,
    ) -> Result<u64, E> {
        let folder = self.0.parent().unwrap_or(Path::new("/"));
        create_private_dir(folder)?;
        let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let _locked = locked.map_err(|source| KeysError::Write {
            path: folder.to_owned(),
            source,
        })?;
        let backup = read()?;
        replace(&self.0, backup.to_json().as_bytes())?;
        Ok(backup.keys.len() as u64)
    }

    /// A copy for safekeeping; overwrites nothing.
    pub fn copy_to(path: &Path, backup: &KeyBackup) -> Result<(), KeysError> {
        write_new(path, backup.to_json().as_bytes())
    }
}
