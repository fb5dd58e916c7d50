//! `backup`: everything the receiver has, sealed per contract, into a folder elsewhere; and what such a folder holds.

use super::{Common, report, setup};
use crate::backup::check::{Checked, check};
use crate::backup::make::{Made, Sources, make};
use crate::backup::{Folder, Opening, read_key_backup};
use crate::clock::now;
use crate::config::Config;
use crate::evidence::local;
use crate::keys::Keys;
use crate::seal::SecretKey;
use crate::store::{AuditBook, ErasureBook, Note};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::{ContractId, UtcMicros};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The folder of the backup, best on another machine's disk: a new one, or one that this command has written to.
    /// Pictures that are in it already are not copied again.
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// How many backups to keep in it; older ones are deleted when the new one is whole.
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Which backups a folder holds.
    List {
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Check every hash and every seal, without restoring.
    Verify(Choice),
}

/// Which backup, and what opens it.
#[derive(Debug, clap::Args)]
pub(super) struct Choice {
    /// The folder that "backup --out" wrote to.
    #[arg(long, value_name = "DIR")]
    pub(super) from: PathBuf,
    /// Which of the backups in it, as "backup list" names them; the newest unless said.
    #[arg(long, value_name = "NAME")]
    pub(super) generation: Option<String>,
    /// The key backup: the newest there is. An old copy would open what was erased since. The receiver's own unless said.
    #[arg(long, value_name = "FILE")]
    pub(super) keys: Option<PathBuf>,
    /// A copy of the master key of then, where it was changed since the backup was made.
    #[arg(long, value_name = "FILE")]
    pub(super) old_master: Option<PathBuf>,
}

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<ExitCode> {
    match (args.verb, args.out) {
        (Some(Verb::List { from }), _) => list(common, &from),
        (Some(Verb::Verify(choice)), _) => verify(common, choice).await,
        (None, Some(out)) => write(common, &out, args.keep as usize).await,
        (None, None) => unreachable!("the command line requires one of them"),
    }
}

async fn write(common: &Common, out: &Path, keep: usize) -> anyhow::Result<ExitCode> {
    let setup = setup(common)?;
    let out = std::path::absolute(out)?;
    ensure!(
        !out.starts_with(&setup.config.data_dir),
        "{} lies inside the data folder, with which it would be lost; choose a folder on another disk",
        out.display()
    );
    let store = setup.store.clone();
    let (data_dir, key, folder) = (setup.config.data_dir, setup.keys.evidence, out.clone());
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
    let note = Note::new("backup.make")
        .on(&made.generation)
        .with("folder", out.display().to_string())
        .with("contracts", made.contracts)
        .with("rows", made.rows)
        .with("objects", made.objects)
        .with("objects_not_there", made.objects_not_there);
    store.note(super::console(), note, now()).await?;
    report(common, &made, &made_words(&made, &out))?;
    Ok(ExitCode::SUCCESS)
}

fn made_words(made: &Made, out: &Path) -> String {
    let mut words = format!(
        "Backup {} is in {}: {} contracts, {} rows, {} pictures, of which {} were copied ({} bytes).\n\
         It holds no keys. What else is needed to restore it must be kept elsewhere: the key folder, and the key backup.",
        made.generation,
        out.display(),
        made.contracts,
        made.rows,
        made.objects,
        made.objects_copied,
        made.bytes_copied,
    );
    if made.objects_not_there > 0 {
        words += &format!(
            "\n{} pictures were not there: deleted as agreed meanwhile, or lost; \"verify\" tells which.",
            made.objects_not_there
        );
    }
    if !made.deleted.is_empty() {
        words += &format!(
            "\nDeleted, as older than --keep: {}",
            made.deleted.join(", ")
        );
    }
    words
}

#[derive(Serialize)]
struct Listed {
    generation: String,
    made_at_us: UtcMicros,
    made_at: String,
    receiver_version: String,
    schema_version: i64,
    master_key: String,
    contracts: Vec<ContractId>,
    rows: u64,
    objects: u64,
    bytes: u64,
}

fn list(common: &Common, from: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(&common.config)?;
    let key = Keys::load(&config.keys_at())?.evidence.verifying_key();
    let mut listed = Vec::new();
    for generation in Folder::open(from)?.generations()? {
        let manifest = generation.manifest;
        manifest.must_be_of(&key)?;
        let parts = || manifest.contracts.iter().map(|it| &it.part);
        let all = || parts().chain([&manifest.receiver]);
        let lists = manifest.contracts.iter();
        let lists: u64 = lists.map(|it| it.objects.bytes + it.object_bytes).sum();
        listed.push(Listed {
            generation: generation.name,
            made_at_us: manifest.made_at_us,
            made_at: local::utc(manifest.made_at_us),
            rows: all().flat_map(|part| part.rows.values()).sum(),
            bytes: all().map(|part| part.file.bytes).sum::<u64>() + lists,
            objects: manifest.contracts.iter().map(|it| it.object_count).sum(),
            contracts: manifest.contracts.iter().map(|it| it.contract).collect(),
            receiver_version: manifest.receiver_version,
            schema_version: manifest.schema_version,
            master_key: manifest.master_key,
        });
    }
    let line = |it: &Listed| {
        format!(
            "{}  made {}  {} contracts, {} rows, {} pictures, {} bytes",
            it.generation,
            local::time(it.made_at_us),
            it.contracts.len(),
            it.rows,
            it.objects,
            it.bytes
        )
    };
    let words = if listed.is_empty() {
        format!("{} holds no whole backup.", from.display())
    } else {
        listed.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    report(common, &listed, &words)?;
    Ok(ExitCode::SUCCESS)
}

/// The folder, the backup in it and what opens it.
pub(super) fn opened(
    config: &Config,
    choice: &Choice,
) -> anyhow::Result<(
    Folder,
    crate::backup::Generation,
    Opening,
    crate::keys::KeyBackup,
)> {
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

async fn verify(common: &Common, choice: Choice) -> anyhow::Result<ExitCode> {
    let config = Config::load(&common.config)?;
    let (folder, generation, opening, _) = opened(&config, &choice)?;
    let checking = move || check(&folder, &generation, &opening);
    let checked = tokio::task::spawn_blocking(checking).await?;
    report(common, &checked, &checked_words(&checked))?;
    Ok(ExitCode::from(u8::from(!checked.problems.is_empty())))
}

fn checked_words(checked: &Checked) -> String {
    let mut words = format!(
        "Backup {}, made {}: {} contracts, {} rows, {} pictures open.",
        checked.generation,
        local::time(checked.made_at_us),
        checked.contracts,
        checked.rows,
        checked.objects
    );
    for contract in &checked.erased {
        words += &format!(
            "\nContract {contract} is erased since: its key is gone, and nothing of it opens."
        );
    }
    for problem in &checked.problems {
        words += &format!("\nPROBLEM: {problem}");
    }
    words
}
