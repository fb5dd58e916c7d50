//! Taking away everything of one contract: objects, what crashes left beside them, and uploads that were cut.

use super::{BlobError, Blobs, blocking, object_path};
use futures::StreamExt;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use wire::{ContractId, Sha256};

impl Blobs {
    /// How many files there are of a contract, whole or not.
    pub async fn objects_of(&self, contract: ContractId) -> Result<u64, BlobError> {
        self.present().await?;
        let (folder, incoming) = (self.of(contract), self.incoming.clone());
        blocking(move || {
            let files = files_in(&folder)?.len() + parts(&incoming, contract)?.len();
            Ok(files as u64)
        })
        .await
    }

    /// Doing it again does no harm. Its key is gone by then: what a disk keeps of deleted files cannot be read.
    pub async fn erase(&self, contract: ContractId) -> Result<(), BlobError> {
        self.present().await?;
        let prefix = ObjectPath::from(contract.to_string());
        let mut objects = self.objects.list(Some(&prefix));
        while let Some(object) = objects.next().await {
            match self.objects.delete(&object?.location).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (folder, incoming) = (self.of(contract), self.incoming.clone());
        blocking(move || {
            for file in parts(&incoming, contract)? {
                gone(fs::remove_file(file))?;
            }
            for file in files_in(&folder)? {
                gone(fs::remove_file(file))?;
            }
            gone(fs::remove_dir(&folder))?;
            Ok(())
        })
        .await
    }

    /// Deletes one object that no row names any more; one that came in again meanwhile stays.
    pub async fn delete(&self, contract: ContractId, sha256: Sha256) -> Result<(), BlobError> {
        let _turn = self.turns.of(sha256).lock().await;
        if self.rows.names_blob(contract, sha256).await? {
            return Ok(());
        }
        match self.objects.delete(&object_path(contract, sha256)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn of(&self, contract: ContractId) -> PathBuf {
        self.folder.join(contract.to_string())
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

/// Their names begin with the contract's.
fn parts(incoming: &Path, contract: ContractId) -> io::Result<Vec<PathBuf>> {
    let mut parts = files_in(incoming)?;
    let prefix = format!("{contract}-");
    parts.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(&prefix)
    });
    Ok(parts)
}
