//! The operator's backup of the whole receiver, and bringing it back (clause 13).
//!
//! A backup is a folder:
//!
//! ```text
//! backup.json                         whose it is
//! generations/NAME/manifest.json      signed: what this generation holds; without it, it is none
//! generations/NAME/receiver.rows      what belongs to no contract, sealed under the master key
//! generations/NAME/ID.rows            the rows of one contract, and
//! generations/NAME/ID.objects         which pictures it has: sealed under the contract's key
//! objects/ID/SHA256                   pictures as the receiver has them, sealed; named after the sealed bytes, so that
//!                                     one that has not changed is copied once for all generations
//! ```
//!
//! Nothing of a contract stands in it but ids, counts, sizes and hashes, unless sealed under the contract's key - and no key is
//! in it. So what destroys the key in the receiver and in the key backup erases the contract from every backup, wherever
//! copies of it lie.

pub mod check;
pub mod make;
pub mod manifest;
pub mod restore;
mod sealed;

use crate::keys::{self, KeyBackup};
use crate::seal::{MasterId, Name, Purpose, SecretKey};
use anyhow::{Context, bail, ensure};
use data_encoding::HEXLOWER;
use manifest::{Manifest, SignedManifest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use wire::{ContractId, DeviceId, Sha256, VerifyingKey};

const MARKER: &str = "backup.json";
const MANIFEST: &str = "manifest.json";
const FORMAT: &str = "caas/backup/v1";

#[derive(Serialize, Deserialize)]
struct Marker {
    format: String,
    /// Of the receiver that makes it.
    receiver_key: VerifyingKey,
}

/// The folder of a backup.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// One backup in it.
#[derive(Clone, Debug)]
pub struct Generation {
    pub name: String,
    pub folder: PathBuf,
    pub manifest: Manifest,
}

impl Folder {
    /// One that is there. Only read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let folder = Self(path.to_owned());
        folder.marker()?.with_context(|| {
            format!(
                "{} is no backup: it has no {MARKER}; give the folder that \"backup --out\" wrote to",
                path.display()
            )
        })?;
        Ok(folder)
    }

    /// For writing; makes it where it is not. Nobody else writes to it until the file that comes with it is dropped.
    pub fn lock(path: &Path, receiver_key: VerifyingKey) -> anyhow::Result<(Self, File)> {
        let shown = path.display();
        keys::create_private_dir(path)?;
        let locked = File::open(path).with_context(|| shown.to_string())?;
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another backup to {shown} is going on; wait until it has ended")
            }
            Err(TryLockError::Error(error)) => return Err(error).context(shown.to_string()),
        }
        let folder = Self(path.to_owned());
        match folder.marker()? {
            Some(marker) => ensure!(
                marker.receiver_key == receiver_key,
                "{shown} holds backups of another receiver, of key {}; choose another folder",
                marker.receiver_key
            ),
            None => {
                let is_empty = fs::read_dir(path)?
                    .filter_map(Result::ok)
                    .all(|entry| entry.file_name() == "backup.new");
                ensure!(
                    is_empty,
                    "{shown} holds other things than a backup; choose an empty folder"
                );
                let marker = Marker {
                    format: FORMAT.into(),
                    receiver_key,
                };
                keys::replace(&folder.0.join(MARKER), &serde_json::to_vec_pretty(&marker)?)?;
            }
        }
        for name in ["generations", "objects"] {
            keys::create_private_dir(&path.join(name))?;
        }
        Ok((folder, locked))
    }

    fn marker(&self) -> anyhow::Result<Option<Marker>> {
        let path = self.0.join(MARKER);
        let shown = path.display();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| shown.to_string())?,
        };
        let marker: Marker =
            serde_json::from_slice(&text).with_context(|| format!("{shown} is no marker"))?;
        ensure!(
            marker.format == FORMAT,
            "{shown}: the format \"{}\" is not known here; install a newer cloud-receiver",
            marker.format
        );
        Ok(Some(marker))
    }

    /// Whole ones, the oldest first. One without a manifest was cut off, and is none.
    pub fn generations(&self) -> anyhow::Result<Vec<Generation>> {
        let mut found = Vec::new();
        for (name, folder) in self.generation_folders()? {
            let path = folder.join(MANIFEST);
            let text = match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text.with_context(|| path.display().to_string())?,
            };
            // A damaged one must not keep the others from being used, nor a new one from being made.
            let manifest = match SignedManifest::open(&text) {
                Ok(manifest) => manifest,
                Err(error) => {
                    tracing::warn!("{}: {error:#}; it is left aside", path.display());
                    continue;
                }
            };
            found.push(Generation {
                name,
                folder,
                manifest,
            });
        }
        found.sort_by(|a, b| {
            (a.manifest.made_at_us, &a.name).cmp(&(b.manifest.made_at_us, &b.name))
        });
        Ok(found)
    }

    /// The one of a name, or the newest.
    pub fn generation(&self, name: Option<&str>) -> anyhow::Result<Generation> {
        let shown = self.0.display();
        let mut all = self.generations()?;
        match name {
            None => all
                .pop()
                .with_context(|| format!("{shown} holds no whole backup")),
            Some(name) => all.into_iter().find(|it| it.name == name).with_context(|| {
                format!("{shown} holds no backup {name}; \"backup list --from {shown}\" shows which there are")
            }),
        }
    }

    fn generation_folders(&self) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let path = self.0.join("generations");
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| path.display().to_string())?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            found.push((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
        Ok(found)
    }

    fn objects(&self, contract: ContractId) -> PathBuf {
        self.0.join("objects").join(contract.to_string())
    }

    fn object(&self, contract: ContractId, sealed: Sha256) -> PathBuf {
        self.objects(contract).join(sealed.to_string())
    }
}

/// What opens a backup: the receiver's own keys, and the key backup as it is today.
#[derive(Debug)]
pub struct Opening {
    /// Under which the receiver's own rows are.
    pub master: SecretKey,
    /// Under which the contracts' keys are: the master key of what is restored.
    pub wrapping: SecretKey,
    pub contracts: BTreeMap<ContractId, SecretKey>,
}

impl Opening {
    /// Contracts that the key backup does not know any more are erased: they stay closed.
    pub fn new(
        manifest: &Manifest,
        masters: &[SecretKey],
        backup: &KeyBackup,
    ) -> anyhow::Result<Self> {
        let find = |id: &str, what: &str| {
            let mut keys = masters.iter();
            keys.find(|key| MasterId::of(key).to_string() == id)
                .with_context(|| {
                    format!(
                        "{what} is under master key {id}, which is not in the key folder; where the master key was \
                         changed since, name the sealed copy of that one with --old-master"
                    )
                })
        };
        let master = find(&manifest.master_key, "the backup")?.clone();
        let wrapping = find(&backup.master_key, "the key backup")?.clone();
        let mut contracts = BTreeMap::new();
        for key in &backup.keys {
            let damaged = || format!("the key backup: the key of contract {}", key.contract);
            let bytes = HEXLOWER
                .decode(key.wrapped.as_bytes())
                .with_context(damaged)?;
            let opened = wrapping
                .unwrap(key.contract, &bytes)
                .with_context(damaged)?;
            contracts.insert(key.contract, opened);
        }
        Ok(Self {
            master,
            wrapping,
            contracts,
        })
    }
}

/// Reads a key backup, the receiver's own or a copy.
pub fn read_key_backup(path: &Path) -> anyhow::Result<KeyBackup> {
    let shown = path.display();
    let text = fs::read(path).with_context(|| {
        format!("{shown}: without the key backup nothing of a contract can be opened; name it with --keys")
    })?;
    serde_json::from_slice(&text).with_context(|| format!("{shown} is no key backup"))
}

/// The rows of the whole receiver are sealed as those of a contract of this id, which no contract has.
const NOBODY: ContractId = ContractId(Uuid::nil());

/// The name under which a file of one backup is sealed: it opens in no other's place.
fn name(contract: ContractId, purpose: Purpose, backup: Uuid) -> Name {
    Name {
        contract,
        device: DeviceId(Uuid::nil()),
        purpose,
        hash: Sha256::of(backup.as_bytes()),
    }
}

fn sync_dir(path: &Path) -> anyhow::Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .with_context(|| path.display().to_string())
}
