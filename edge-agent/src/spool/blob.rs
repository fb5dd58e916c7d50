//! Blob files: complete and durable before any row names them.
//!
//! Order of steps: seal, write a temporary file, fsync it, rename it, fsync the folder. A crash after any step
//! leaves either nothing or a whole file that no row names; the sweep at the next start removes that. Names are
//! drawn at random, so two files never meet and deleting one never touches another.

use crate::spool::error::SpoolError;
use crate::spool::seal::{Item, Vault};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use wire::Sha256;

const TEMPORARY: &str = ".tmp";

#[derive(Clone, Debug)]
pub(super) struct BlobDir {
    path: PathBuf,
}

/// A blob file that is durable on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredFile {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl BlobDir {
    pub(super) fn open(path: PathBuf) -> Result<Self, SpoolError> {
        fs::create_dir_all(&path).map_err(SpoolError::file("create folder", &path))?;
        Ok(Self { path })
    }

    /// Seals and stores. What an I/O error leaves in doubt is written once more under another name: an fsync that
    /// failed is never repeated, for the kernel may have dropped what it could not write.
    pub(super) fn write(
        &self,
        vault: &Vault,
        sha256: Sha256,
        plain: &[u8],
    ) -> Result<StoredFile, SpoolError> {
        let sealed = vault.seal(Item::Blob(sha256), plain);
        self.store(&sealed).or_else(|error| {
            if error.is_full() {
                return Err(error);
            }
            tracing::warn!(%error, "a blob is written once more: {error}");
            self.store(&sealed)
        })
    }

    fn store(&self, sealed: &[u8]) -> Result<StoredFile, SpoolError> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let final_path = self.path.join(&name);
        let temporary = self.path.join(format!("{name}{TEMPORARY}"));
        let written = write_synced(&temporary, sealed).and_then(|()| {
            fs::rename(&temporary, &final_path).map_err(SpoolError::file("rename", &temporary))?;
            sync_dir(&self.path)
        });
        if let Err(error) = written {
            // Whatever is left is swept at the next start.
            let _ = fs::remove_file(&temporary);
            let _ = fs::remove_file(&final_path);
            return Err(error);
        }
        Ok(StoredFile {
            name,
            bytes: sealed.len() as u64,
        })
    }

    /// Reads and opens a file; `Gone` if it is not there, `Unreadable` if it was changed.
    pub(super) fn read(
        &self,
        vault: &Vault,
        name: &str,
        sha256: Sha256,
    ) -> Result<Vec<u8>, SpoolError> {
        let item = Item::Blob(sha256);
        let path = self.path.join(name);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SpoolError::Gone {
                    what: item.to_string(),
                });
            }
            Err(error) => return Err(SpoolError::file("read", &path)(error)),
        };
        let plain = vault.open(item, sealed)?;
        if Sha256::of(&plain) != sha256 {
            return Err(SpoolError::Unreadable {
                what: item.to_string(),
            });
        }
        Ok(plain)
    }

    /// Whether there is more room now. A file that cannot be deleted is only wasted room: the sweep at the next start
    /// tries again.
    pub(super) fn remove(&self, name: &str) -> bool {
        match fs::remove_file(self.path.join(name)) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::warn!(file = name, %error, "cannot delete blob file {name}: {error}");
                }
                false
            }
        }
    }

    pub(super) fn quarantine(&self, name: &str, quarantine: &Path) {
        let moved = fs::create_dir_all(quarantine)
            .and_then(|()| fs::rename(self.path.join(name), quarantine.join(name)));
        if let Err(error) = moved {
            tracing::warn!(file = name, %error, "cannot move blob file {name} to quarantine: {error}");
        }
    }

    /// Names of all files, in no order.
    pub(super) fn for_each(&self, mut each: impl FnMut(&str)) -> Result<(), SpoolError> {
        let entries = fs::read_dir(&self.path).map_err(SpoolError::file("list", &self.path))?;
        for entry in entries {
            let entry = entry.map_err(SpoolError::file("list", &self.path))?;
            each(&entry.file_name().to_string_lossy());
        }
        Ok(())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
    let mut file = File::create_new(path).map_err(SpoolError::file("create", path))?;
    file.write_all(bytes)
        .map_err(SpoolError::file("write", path))?;
    file.sync_all().map_err(SpoolError::file("fsync", path))
}

pub(super) fn sync_dir(path: &Path) -> Result<(), SpoolError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(SpoolError::file("fsync folder", path))
}
