//! Making a backup while the receiver runs.
//!
//! Rows are read at one moment; pictures are immutable, and those that the rows name are there before them. The new
//! generation is written beside the former ones, and is one from the moment its manifest is there, which comes last. So a
//! kill leaves the former backup as it was; what it left of the new one is cleared away by the next, but for pictures,
//! which need not be copied again.

use super::manifest::{ContractPart, Manifest, Object, Part, SealedFile, SignedManifest};
use super::sealed::{Sealing, Unsealing, copy};
use super::{Folder, Generation, MANIFEST, NOBODY, name, sync_dir};
use crate::blob;
use crate::keys::{self, KeyBackup};
use crate::seal::{MasterId, Purpose, SecretKey};
use crate::store::sqlite::{RowCounts, Snapshot};
use anyhow::Context;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use wire::{ContractId, Sha256, SigningKey, UtcMicros};

/// What a backup is made of.
#[derive(Debug)]
pub struct Sources<'a> {
    pub snapshot: &'a Snapshot,
    pub data_dir: &'a Path,
    pub key: &'a SigningKey,
    /// As it is at the same moment, or later.
    pub key_backup: &'a KeyBackup,
    pub at: UtcMicros,
}

#[derive(Debug, Serialize)]
pub struct Made {
    pub generation: String,
    pub made_at_us: UtcMicros,
    pub contracts: u64,
    pub rows: u64,
    pub objects: u64,
    pub objects_copied: u64,
    /// Of pictures.
    pub bytes_copied: u64,
    /// Pictures that rows speak of and whose file is not there: deleted as agreed meanwhile, or lost.
    pub objects_not_there: u64,
    /// Generations that were too many.
    pub deleted: Vec<String>,
}

/// Writes a new generation, and deletes the oldest beyond `keep`. Blocks.
pub fn make(path: &Path, sources: &Sources<'_>, keep: usize) -> anyhow::Result<Made> {
    let receiver_key = sources.key.verifying_key();
    let (folder, _locked) = Folder::lock(path, receiver_key)?;
    folder.clear_cut_off()?;
    let making = Making {
        former: folder.generations()?.pop(),
        id: Uuid::new_v4(),
        folder,
        sources,
    };
    let mut made = making.write()?;
    made.deleted = making.delete_beyond(keep)?;
    making.delete_erased()?;
    making.delete_unnamed()?;
    Ok(made)
}

impl Folder {
    fn clear_cut_off(&self) -> anyhow::Result<()> {
        for (_, folder) in self.generation_folders()? {
            if !folder.join(MANIFEST).exists() {
                fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
            }
        }
        Ok(())
    }
}

struct Making<'a> {
    folder: Folder,
    sources: &'a Sources<'a>,
    /// The newest there was: what it names is not copied again.
    former: Option<Generation>,
    id: Uuid,
}

impl Making<'_> {
    fn write(&self) -> anyhow::Result<Made> {
        let Sources {
            snapshot, key, at, ..
        } = *self.sources;
        let generation = crate::evidence::local::utc(at)
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
            + "-"
            + &self.id.simple().to_string()[..8];
        let dir = self.folder.0.join("generations").join(&generation);
        keys::create_private_dir(&dir)?;
        let mut made = Made {
            generation,
            made_at_us: at,
            contracts: 0,
            rows: 0,
            objects: 0,
            objects_copied: 0,
            bytes_copied: 0,
            objects_not_there: 0,
            deleted: Vec::new(),
        };
        let master = snapshot.master();
        let receiver = self.rows(&dir.join("receiver.rows"), &master, NOBODY, |out| {
            snapshot.write_receiver(out)
        })?;
        let mut contracts = Vec::new();
        for contract in snapshot.contracts()? {
            contracts.push(self.contract(&dir, contract, &mut made)?);
        }
        made.contracts = contracts.len() as u64;
        let parts = contracts.iter().map(|it| &it.part).chain([&receiver]);
        made.rows = parts.flat_map(|part| part.rows.values()).sum();
        let manifest = Manifest {
            v: Manifest::VERSION,
            id: self.id,
            made_at_us: at,
            receiver_key: key.verifying_key(),
            receiver_version: env!("CARGO_PKG_VERSION").into(),
            schema_version: snapshot.schema_version()?,
            audit: snapshot.audit_head()?,
            master_key: MasterId::of(&master).to_string(),
            key_backup_sha256: Sha256::of(self.sources.key_backup.to_json().as_bytes()),
            receiver,
            contracts,
        };
        sync_dir(&dir)?;
        sync_dir(&self.folder.0.join("objects"))?;
        sync_dir(&self.folder.0.join("generations"))?;
        let signed = SignedManifest::sign(&manifest, key);
        keys::replace(&dir.join(MANIFEST), &signed.to_json())?;
        Ok(made)
    }

    fn rows(
        &self,
        path: &Path,
        key: &SecretKey,
        contract: ContractId,
        write: impl FnOnce(&mut Sealing) -> anyhow::Result<RowCounts>,
    ) -> anyhow::Result<Part> {
        let shown = || path.display().to_string();
        let under = name(contract, Purpose::Backup, self.id);
        let mut out = Sealing::create(path, key, &under).with_context(shown)?;
        let rows = write(&mut out).with_context(shown)?;
        let file = out.finish().with_context(shown)?;
        Ok(Part { file, rows })
    }

    fn contract(
        &self,
        dir: &Path,
        contract: ContractId,
        made: &mut Made,
    ) -> anyhow::Result<ContractPart> {
        let snapshot = self.sources.snapshot;
        let key = snapshot.key(contract)?;
        let rows = dir.join(format!("{contract}.rows"));
        let part = self.rows(&rows, &key, contract, |out| {
            snapshot.write_contract(contract, out)
        })?;
        let path = dir.join(format!("{contract}.objects"));
        let shown = || path.display().to_string();
        let under = name(contract, Purpose::BackupObjects, self.id);
        let mut list = Sealing::create(&path, &key, &under).with_context(shown)?;
        let former = self.former_objects(contract, &key);
        let objects = self.folder.objects(contract);
        keys::create_private_dir(&objects)?;
        let (mut object_count, mut object_bytes) = (0, 0);
        for blob in snapshot.blobs(contract)? {
            let file = blob::object_file(self.sources.data_dir, contract, blob.sha256);
            let known = former.get(&blob.sha256);
            let Some((file, modified_ns)) = self.keep(&objects, &file, known, made)? else {
                made.objects_not_there += 1;
                continue;
            };
            object_count += 1;
            object_bytes += file.bytes;
            let object = Object {
                sha256: blob.sha256,
                device: blob.device,
                sealed: file.sha256,
                bytes: file.bytes,
                modified_ns,
            };
            serde_json::to_writer(&mut list, &object)?;
            list.write_all(b"\n").with_context(shown)?;
        }
        sync_dir(&objects)?;
        made.objects += object_count;
        Ok(ContractPart {
            contract,
            part,
            objects: list.finish().with_context(shown)?,
            object_count,
            object_bytes,
        })
    }

    /// Puts one object beside the others, unless it is there. `None`: the receiver has not got it.
    fn keep(
        &self,
        objects: &Path,
        from: &Path,
        known: Option<&Object>,
        made: &mut Made,
    ) -> anyhow::Result<Option<(SealedFile, i64)>> {
        let shown = || format!("copying {}", from.display());
        let mut file = match File::open(from) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.with_context(shown)?,
        };
        let metadata = file.metadata().with_context(shown)?;
        let modified_ns = metadata
            .mtime()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(metadata.mtime_nsec());
        let is_there = |sealed: Sha256, bytes: u64| {
            let there = fs::metadata(objects.join(sealed.to_string()));
            there.is_ok_and(|there| there.len() == bytes)
        };
        if let Some(known) = known.filter(|known| {
            known.modified_ns == modified_ns
                && known.bytes == metadata.len()
                && is_there(known.sealed, known.bytes)
        }) {
            let kept = SealedFile {
                bytes: known.bytes,
                sha256: known.sealed,
            };
            return Ok(Some((kept, modified_ns)));
        }
        let fresh = objects.join("fresh");
        let mut out = File::create(&fresh).with_context(shown)?;
        let copied = copy(&mut file, &mut out).with_context(shown)?;
        if is_there(copied.sha256, copied.bytes) {
            fs::remove_file(&fresh).with_context(shown)?;
        } else {
            out.sync_all().with_context(shown)?;
            let to = objects.join(copied.sha256.to_string());
            fs::rename(&fresh, to).with_context(shown)?;
            made.objects_copied += 1;
            made.bytes_copied += copied.bytes;
        }
        Ok(Some((copied, modified_ns)))
    }

    /// Only saves work: where it cannot be read, everything is looked at anew.
    fn former_objects(&self, contract: ContractId, key: &SecretKey) -> BTreeMap<Sha256, Object> {
        let Some(former) = &self.former else {
            return BTreeMap::new();
        };
        let listed = former.objects(contract, key).unwrap_or_default();
        listed.into_iter().map(|it| (it.sha256, it)).collect()
    }

    /// The manifest goes first: one that is half deleted is none.
    fn delete_beyond(&self, keep: usize) -> anyhow::Result<Vec<String>> {
        let all = self.folder.generations()?;
        let mut deleted = Vec::new();
        for old in &all[..all.len().saturating_sub(keep.max(1))] {
            let shown = || old.folder.display().to_string();
            fs::remove_file(old.folder.join(MANIFEST)).with_context(shown)?;
            sync_dir(&old.folder)?;
            fs::remove_dir_all(&old.folder).with_context(shown)?;
            deleted.push(old.name.clone());
        }
        Ok(deleted)
    }

    /// What nobody can open any more only takes room.
    fn delete_erased(&self) -> anyhow::Result<()> {
        for contract in self.sources.snapshot.erased()? {
            delete(&self.folder.objects(contract))?;
            for (_, folder) in self.folder.generation_folders()? {
                for kind in ["rows", "objects"] {
                    delete(&folder.join(format!("{contract}.{kind}")))?;
                }
            }
        }
        Ok(())
    }

    /// Deletes objects that no generation names any more.
    fn delete_unnamed(&self) -> anyhow::Result<()> {
        let generations = self.folder.generations()?;
        for contract in self.sources.snapshot.contracts()? {
            let key = self.sources.snapshot.key(contract)?;
            let mut named = BTreeSet::new();
            let listed: anyhow::Result<()> = generations.iter().try_for_each(|generation| {
                let objects = generation.objects(contract, &key)?;
                named.extend(objects.iter().map(|object| object.sealed.to_string()));
                Ok(())
            });
            if let Err(error) = listed {
                // What it names cannot be known: then nothing is deleted.
                tracing::warn!("{error:#}; old pictures of this contract stay in the backup");
                continue;
            }
            let folder = self.folder.objects(contract);
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let entry = entry?;
                if !named.contains(&*entry.file_name().to_string_lossy()) {
                    delete(&entry.path())?;
                }
            }
        }
        Ok(())
    }
}

impl Generation {
    /// The objects of a contract; none where the contract was not yet there.
    pub(super) fn objects(
        &self,
        contract: ContractId,
        key: &SecretKey,
    ) -> anyhow::Result<Vec<Object>> {
        let mut contracts = self.manifest.contracts.iter();
        let Some(part) = contracts.find(|part| part.contract == contract) else {
            return Ok(Vec::new());
        };
        let path: PathBuf = self.folder.join(format!("{contract}.objects"));
        let under = name(contract, Purpose::BackupObjects, self.manifest.id);
        let list = Unsealing::open(&path, &part.objects, key, &under)?;
        let read = |line: std::io::Result<String>| Ok(serde_json::from_str(&line?)?);
        let lines = BufReader::new(list).lines().map(read);
        lines
            .collect::<anyhow::Result<_>>()
            .with_context(|| path.display().to_string())
    }
}

fn delete(path: &Path) -> anyhow::Result<()> {
    let deleted = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match deleted {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => deleted.with_context(|| format!("deleting {}", path.display())),
    }
}
