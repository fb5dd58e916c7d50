//! What crashes, restored copies and failing disks leave: found, put right where that is safe, and told.
//!
//! - A file without a row was never answered: its device sends it again. It is removed once it is too old to be
//!   still on its way.
//! - A row without a file was answered, and its bytes are gone. The row stays and is marked: what is marked counts
//!   as not here, so a device that still has the bytes can bring them again, and nobody is told that they are safe.
//!   A file that comes back - a copy was restored, a disk is there again - clears the mark.
//!
//! Nothing is concluded while the whole object store is away: a folder on which nothing is mounted is no proof of
//! anything.

use super::{BlobError, Blobs, blocking, object_path};
use crate::blob::part::{self, GIVEN_UP_AFTER};
use crate::store::HeldBlob;
use futures::StreamExt;
use object_store::{Error as ObjectError, ObjectStore, ObjectStoreExt};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{ContractId, Sha256, UtcMicros};

/// Rows looked at in one read of the database.
const PAGE: u32 = 256;

/// What one sweep found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files that no row names.
    pub orphans_removed: u64,
    /// Left by crashes in the middle of a write.
    pub torn_removed: u64,
    /// Cut uploads that nobody went on with.
    pub parts_removed: u64,
    /// Rows whose file is gone: marked by this sweep, and all that are marked now.
    pub newly_missing: u64,
    pub missing: u64,
    /// Marked before, and here again.
    pub returned: u64,
}

impl Blobs {
    /// Looks at every file and every row. What is younger than `settled` may be on its way, and is left alone.
    pub async fn sweep(&self, settled: Duration, at: UtcMicros) -> Result<Swept, BlobError> {
        self.present().await?;
        let incoming = self.incoming.clone();
        let mut swept = Swept {
            parts_removed: blocking(move || Ok(part::give_up(&incoming, GIVEN_UP_AFTER)?)).await?,
            ..Swept::default()
        };
        self.sweep_rows(&mut swept, at).await?;
        self.sweep_files(&mut swept, settled).await?;
        Ok(swept)
    }

    async fn sweep_rows(&self, swept: &mut Swept, at: UtcMicros) -> Result<(), BlobError> {
        let mut after = None;
        loop {
            let page = self.rows.blobs_after(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some((last.contract, last.sha256));
            for row in &page {
                self.compare(row, swept, at).await?;
            }
        }
    }

    async fn compare(
        &self,
        row: &HeldBlob,
        swept: &mut Swept,
        at: UtcMicros,
    ) -> Result<(), BlobError> {
        let is_here = self.has_object(row.contract, row.sha256).await?;
        match (is_here, row.is_missing) {
            (true, false) => {}
            (true, true) => {
                self.rows
                    .blob_missing(row.contract, row.sha256, None)
                    .await?;
                swept.returned += 1;
            }
            (false, true) => swept.missing += 1,
            (false, false) => {
                // It may just have been taken away, with the folder.
                self.present().await?;
                self.mark_missing(row.contract, row.sha256, at).await?;
                swept.newly_missing += 1;
                swept.missing += 1;
            }
        }
        Ok(())
    }

    /// Notes that an answered blob is gone, and tells.
    pub(super) async fn mark_missing(
        &self,
        contract: ContractId,
        sha256: Sha256,
        at: UtcMicros,
    ) -> Result<(), BlobError> {
        tracing::error!(
            contract.id = %contract, blob.sha256 = %sha256,
            "the file of a stored picture is gone; it is taken in again if its device still has it, else restore \
             it from a copy of the folder \"blobs\""
        );
        self.rows.blob_missing(contract, sha256, Some(at)).await?;
        Ok(())
    }

    pub(super) async fn has_object(
        &self,
        contract: ContractId,
        sha256: Sha256,
    ) -> Result<bool, BlobError> {
        match self.objects.head(&object_path(contract, sha256)).await {
            Ok(_) => Ok(true),
            Err(ObjectError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn sweep_files(&self, swept: &mut Swept, settled: Duration) -> Result<(), BlobError> {
        let folder = self.folder.clone();
        swept.torn_removed += blocking(move || Ok(remove_torn(&folder, settled)?)).await?;
        let mut objects = self.objects.list(None);
        while let Some(object) = objects.next().await {
            let object = object?;
            let Some((contract, sha256)) = parse(object.location.as_ref()) else {
                continue;
            };
            if !is_older(&self.folder.join(object.location.as_ref()), settled) {
                continue;
            }
            // Its turn, so that no upload is between its file and its row.
            let _turn = self.turns.of(sha256).lock().await;
            if !self.rows.names_blob(contract, sha256).await? {
                self.objects.delete(&object.location).await?;
                swept.orphans_removed += 1;
            }
        }
        Ok(())
    }
}

fn parse(path: &str) -> Option<(ContractId, Sha256)> {
    let (contract, sha256) = path.split_once('/')?;
    Some((contract.parse().ok()?, sha256.parse().ok()?))
}

/// The object store writes beside its target, `<name>#<number>`, and does not list that.
fn remove_torn(folder: &Path, older_than: Duration) -> std::io::Result<u64> {
    let mut removed = 0;
    for contract in fs::read_dir(folder)? {
        let contract = contract?;
        if !contract.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(contract.path())? {
            let path: PathBuf = file?.path();
            let is_torn = path.to_string_lossy().contains('#');
            if is_torn && is_older(&path, older_than) {
                fs::remove_file(&path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// By the machine's clock. What lies in the future counts as new.
pub(super) fn is_older(path: &Path, than: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= than))
}
