//! Whether a backup can be brought back: every hash and every seal of it, without bringing anything back.

use super::manifest::ContractPart;
use super::sealed::{Unsealing, hash_of};
use super::{Folder, Generation, NOBODY, Opening, name};
use crate::blob::{self, Owner};
use crate::seal::{Purpose, SecretKey};
use crate::store::sqlite::{RowCounts, check_rows};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use wire::{ContractId, UtcMicros};

#[derive(Debug, Serialize)]
pub struct Checked {
    pub generation: String,
    pub made_at_us: UtcMicros,
    pub contracts: u64,
    pub rows: u64,
    pub objects: u64,
    /// Contracts whose key is in the key backup no more: erased since.
    pub erased: Vec<ContractId>,
    pub problems: Vec<String>,
}

/// Blocks.
pub fn check(folder: &Folder, generation: &Generation, opening: &Opening) -> Checked {
    let manifest = &generation.manifest;
    let mut checked = Checked {
        generation: generation.name.clone(),
        made_at_us: manifest.made_at_us,
        contracts: 0,
        rows: 0,
        objects: 0,
        erased: Vec::new(),
        problems: Vec::new(),
    };
    checked.take(generation.check_receiver(&opening.master));
    for part in &manifest.contracts {
        let Some(key) = opening.contracts.get(&part.contract) else {
            checked.erased.push(part.contract);
            continue;
        };
        checked.contracts += 1;
        checked.take(generation.check_contract(part, key));
        checked.objects(folder, generation, part, key);
    }
    checked
}

impl Checked {
    fn take(&mut self, rows: anyhow::Result<u64>) {
        match rows {
            Ok(rows) => self.rows += rows,
            Err(error) => self.problems.push(format!("{error:#}")),
        }
    }

    fn objects(
        &mut self,
        folder: &Folder,
        generation: &Generation,
        part: &ContractPart,
        key: &SecretKey,
    ) {
        let objects = match generation.objects(part.contract, key) {
            Ok(objects) => objects,
            Err(error) => return self.problems.push(format!("{error:#}")),
        };
        for object in objects {
            let path = folder.object(part.contract, object.sealed);
            let owner = Owner {
                contract: part.contract,
                device: object.device,
            };
            let check = || {
                let found = hash_of(&path)?;
                ensure!(found.sha256 == object.sealed, "it was changed");
                let file = BufReader::new(File::open(&path)?);
                let is_it = blob::opens(file, key, owner, object.sha256)?;
                ensure!(is_it, "it holds other bytes than it is named after");
                Ok(())
            };
            match check() {
                Ok(()) => self.objects += 1,
                Err(error) => self.problems.push(format!("{}: {error:#}", path.display())),
            }
        }
    }
}

impl Generation {
    fn check_receiver(&self, master: &SecretKey) -> anyhow::Result<u64> {
        self.with_receiver(master, check_rows)
    }

    fn check_contract(&self, part: &ContractPart, key: &SecretKey) -> anyhow::Result<u64> {
        self.with_contract(part, key, check_rows)
    }

    /// Reads what belongs to no contract through to its end; how many rows it were.
    pub(super) fn with_receiver(
        &self,
        master: &SecretKey,
        take: impl FnOnce(&mut Unsealing) -> anyhow::Result<RowCounts>,
    ) -> anyhow::Result<u64> {
        let path = self.folder.join("receiver.rows");
        let part = &self.manifest.receiver;
        let under = name(NOBODY, Purpose::Backup, self.manifest.id);
        let rows = Unsealing::open(&path, &part.file, master, &under)?;
        must_be(&path, &part.rows, rows, take)
    }

    /// The same with the rows of a contract.
    pub(super) fn with_contract(
        &self,
        part: &ContractPart,
        key: &SecretKey,
        take: impl FnOnce(&mut Unsealing) -> anyhow::Result<RowCounts>,
    ) -> anyhow::Result<u64> {
        let path = self.folder.join(format!("{}.rows", part.contract));
        let under = name(part.contract, Purpose::Backup, self.manifest.id);
        let rows = Unsealing::open(&path, &part.part.file, key, &under)?;
        must_be(&path, &part.part.rows, rows, take)
    }
}

fn must_be(
    path: &Path,
    stated: &RowCounts,
    mut rows: Unsealing,
    take: impl FnOnce(&mut Unsealing) -> anyhow::Result<RowCounts>,
) -> anyhow::Result<u64> {
    let shown = || path.display().to_string();
    let found = take(&mut rows).with_context(shown)?;
    rows.must_end().with_context(shown)?;
    ensure!(
        found == *stated,
        "{} holds other rows than the manifest counts",
        path.display()
    );
    Ok(found.values().sum())
}
