//! Bringing a backup back into an empty data folder.
//!
//! Everything is put together in a folder of its own below the data folder, `restoring`, and moved up at the end, the database
//! last: before that no receiver starts there. Killed at any moment, the same command goes on where it was. A contract whose
//! key is in the key backup no more was erased: nothing of it is brought back.

use super::manifest::{ContractPart, Object};
use super::sealed::{copy, hash_of};
use super::{Folder, Generation, Opening, sync_dir};
use crate::blob::{MARKER, object_file};
use crate::keys::{self, KeyBackup};
use crate::residency;
use crate::seal::MasterId;
use crate::store::sqlite::{FILE_NAME, Import};
use crate::store::{Actor, Note};
use anyhow::{Context, bail, ensure};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use wire::evidence::erasure::{Certificate, SignedCertificate};
use wire::{ContractId, UtcMicros};

const WORKSHOP: &str = "restoring";
/// What is left of it at the end.
const OVER: &str = "restored";
/// In it: everything is there, and only has to be moved.
const DONE: &str = "done.json";
/// What may be in a data folder that is taken for empty: where it is, and what file systems put at their root.
const HARMLESS: [&str; 4] = [WORKSHOP, OVER, residency::FILE_NAME, "lost+found"];

/// What is brought back, and by whom.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub folder: &'a Folder,
    pub generation: &'a Generation,
    pub opening: &'a Opening,
    pub key_backup: &'a KeyBackup,
    /// Of contracts that were erased after the backup. Nothing of them is brought back, whatever the key backup says.
    pub certificates: &'a [(SignedCertificate, Certificate)],
    pub actor: Actor,
    pub at: UtcMicros,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Restored {
    pub generation: String,
    /// What came after it is not there.
    pub made_at_us: UtcMicros,
    pub contracts: u64,
    pub rows: u64,
    pub objects: u64,
    /// Contracts whose key is in the key backup no more: erased since. Nothing of them is there.
    pub erased: Vec<ContractId>,
    /// Contracts in the key backup that came after this backup: nothing of them is there, either.
    pub newer: Vec<ContractId>,
    /// Pictures that could not be brought back.
    pub problems: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Done {
    id: Uuid,
    restored: Restored,
}

/// Blocks.
pub fn restore(data_dir: &Path, wanted: &Wanted<'_>) -> anyhow::Result<Restored> {
    keys::create_private_dir(data_dir)?;
    let workshop = data_dir.join(WORKSHOP);
    let done = workshop.join(DONE);
    if !done.exists() {
        must_be_empty(data_dir)?;
    }
    keys::create_private_dir(&workshop)?;
    let _locked = lock(&workshop)?;
    if !done.exists() {
        let restored = put_together(&workshop, wanted)?;
        let id = wanted.generation.manifest.id;
        keys::replace(&done, &serde_json::to_vec(&Done { id, restored })?)?;
    }
    let text = fs::read(&done).with_context(|| done.display().to_string())?;
    let found: Done = serde_json::from_slice(&text)?;
    ensure!(
        found.id == wanted.generation.manifest.id,
        "in {} the backup {} is all but restored; give the same command with --generation {0}, or delete what is in the \
         data folder to begin anew",
        found.restored.generation,
        data_dir.display(),
    );
    move_up(&workshop, data_dir)?;
    Ok(found.restored)
}

fn must_be_empty(data_dir: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(data_dir).with_context(|| data_dir.display().to_string())? {
        let name = entry?.file_name();
        ensure!(
            HARMLESS.iter().any(|harmless| name == *harmless),
            "{} is not empty: it holds {}; a backup is only restored into an empty data folder. Move what is there \
             elsewhere first",
            data_dir.display(),
            name.display()
        );
    }
    Ok(())
}

fn lock(workshop: &Path) -> anyhow::Result<File> {
    let shown = workshop.display();
    let file = File::open(workshop).with_context(|| shown.to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another command restores into {shown}; wait until it has ended")
        }
        Err(TryLockError::Error(error)) => Err(error).context(shown.to_string()),
    }
}

fn put_together(workshop: &Path, wanted: &Wanted<'_>) -> anyhow::Result<Restored> {
    let manifest = &wanted.generation.manifest;
    let known = |part: &&ContractPart| wanted.opening.contracts.contains_key(&part.contract);
    let (whole, gone): (Vec<_>, Vec<_>) = manifest.contracts.iter().partition(known);
    let in_backup = |contract: &ContractId| {
        let mut parts = manifest.contracts.iter();
        parts.any(|part| part.contract == *contract)
    };
    let mut newer: Vec<ContractId> = wanted.opening.contracts.keys().copied().collect();
    newer.retain(|contract| !in_backup(contract));
    let mut restored = Restored {
        generation: wanted.generation.name.clone(),
        made_at_us: manifest.made_at_us,
        contracts: whole.len() as u64,
        rows: 0,
        objects: 0,
        erased: gone.iter().map(|part| part.contract).collect(),
        newer,
        problems: Vec::new(),
    };
    let blobs = workshop.join("blobs");
    keys::create_private_dir(&blobs)?;
    for part in &whole {
        objects(workshop, wanted, part, &mut restored)?;
    }
    let marker = blobs.join(MARKER);
    File::create(&marker)
        .and_then(|file| file.sync_all())
        .with_context(|| marker.display().to_string())?;
    sync_dir(&blobs)?;
    database(workshop, wanted, &whole, &mut restored)?;
    sync_dir(workshop)?;
    Ok(restored)
}

/// One that is damaged is named, and keeps the others from nothing.
fn objects(
    workshop: &Path,
    wanted: &Wanted<'_>,
    part: &ContractPart,
    restored: &mut Restored,
) -> anyhow::Result<()> {
    let contract = part.contract;
    let key = &wanted.opening.contracts[&contract];
    let fresh = workshop.join("fresh");
    let mut folder = None;
    for object in wanted.generation.objects(contract, key)? {
        let from = wanted.folder.object(contract, object.sealed);
        let to = object_file(workshop, contract, object.sha256);
        if folder.is_none() {
            let parent = to.parent().context("objects lie in folders")?.to_owned();
            keys::create_private_dir(&parent)?;
            folder = Some(parent);
        }
        match put(&from, &to, &fresh, &object)? {
            None => restored.objects += 1,
            Some(problem) => restored.problems.push(problem),
        }
    }
    folder.map_or(Ok(()), |folder| sync_dir(&folder))
}

/// Whether it could not be, and why.
fn put(from: &Path, to: &Path, fresh: &Path, object: &Object) -> anyhow::Result<Option<String>> {
    // What an attempt before has left may be torn: a power cut comes without asking.
    if hash_of(to).is_ok_and(|there| there.sha256 == object.sealed) {
        return Ok(None);
    }
    let problem = |error: &dyn std::fmt::Display| {
        format!("picture {}: {}: {error}", object.sha256, from.display())
    };
    let mut file = match File::open(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(problem(&error))),
        file => file.with_context(|| from.display().to_string())?,
    };
    let shown = || format!("writing {}", to.display());
    let mut out = File::create(fresh).with_context(shown)?;
    let copied = copy(&mut file, &mut out).with_context(shown)?;
    if copied.sha256 != object.sealed {
        return Ok(Some(problem(&"it was changed")));
    }
    out.sync_all().with_context(shown)?;
    fs::rename(fresh, to).with_context(shown)?;
    Ok(None)
}

fn database(
    workshop: &Path,
    wanted: &Wanted<'_>,
    whole: &[&ContractPart],
    restored: &mut Restored,
) -> anyhow::Result<()> {
    let path = workshop.join(FILE_NAME);
    for ending in ["", "-journal", "-wal", "-shm"] {
        let left: PathBuf = format!("{}{ending}", path.display()).into();
        match fs::remove_file(&left) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.with_context(|| left.display().to_string())?,
        }
    }
    let (generation, opening) = (wanted.generation, wanted.opening);
    let import = Import::create(&path, generation.manifest.schema_version)?;
    restored.rows += generation.with_receiver(&opening.master, |rows| import.add_rows(rows))?;
    for part in whole {
        let key = &opening.contracts[&part.contract];
        restored.rows += generation.with_contract(part, key, |rows| import.add_rows(rows))?;
        let mut keys = wanted.key_backup.keys.iter();
        let key = keys
            .find(|key| key.contract == part.contract)
            .context("its key was opened")?;
        let wrapped = HEXLOWER.decode(key.wrapped.as_bytes())?;
        import.add_key(key.contract, key.created_us, &wrapped)?;
    }
    for (signed, certificate) in wanted.certificates {
        import.add_certificate(signed, certificate)?;
    }
    import.reseal(&opening.master, &opening.wrapping)?;
    let note = Note::new("backup.restore")
        .on(&restored.generation)
        .with("made_at_us", restored.made_at_us.0)
        .with("contracts", restored.contracts)
        .with("erased_since", restored.erased.len())
        .with("objects", restored.objects)
        .with("objects_lost", restored.problems.len());
    let master = MasterId::of(&opening.wrapping);
    import.finish(&path, master, wanted.actor.clone(), note, wanted.at)?;
    File::open(&path)
        .and_then(|file| file.sync_all())
        .with_context(|| path.display().to_string())
}

/// The database last: where it is, a receiver starts.
fn move_up(workshop: &Path, data_dir: &Path) -> anyhow::Result<()> {
    for name in ["blobs", FILE_NAME] {
        let (from, to) = (workshop.join(name), data_dir.join(name));
        match fs::rename(&from, &to) {
            // An attempt before has moved it.
            Err(error) if error.kind() == ErrorKind::NotFound && to.exists() => {}
            moved => moved.with_context(|| format!("moving {} up", from.display()))?,
        }
        sync_dir(data_dir)?;
    }
    // In one step, because a workshop of which only a part is deleted would look like a restore that is not at its end. Cut
    // off after it, a folder is left that nobody needs, and nobody minds.
    let over = data_dir.join(OVER);
    if over.exists() {
        fs::remove_dir_all(&over).with_context(|| over.display().to_string())?;
    }
    fs::rename(workshop, &over).with_context(|| format!("renaming {}", workshop.display()))?;
    sync_dir(data_dir)?;
    fs::remove_dir_all(&over).with_context(|| over.display().to_string())
}
