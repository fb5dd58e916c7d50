//! `restore`: a backup into an empty data folder, on this machine or another.

use super::backup::{Choice, opened};
use super::{Common, report};
use crate::backup::restore::{Restored, Wanted, restore};
use crate::clock::now;
use crate::config::Config;
use crate::evidence::local;
use crate::keys::KeyBackupFile;
use crate::residency;
use anyhow::bail;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::ExitCode;

/// Bring a backup back into an empty data folder.
///
/// The configuration and the key folder must be there. What came in after the backup is not in it, and devices do not
/// send it again: that is a gap. If this command is interrupted, give it again: it goes on where it was.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
}

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&common.config)?;
    residency::check(&config)?;
    must_not_serve(&config)?;
    let (folder, generation, opening, key_backup) = opened(&config, &args.choice)?;
    let data_dir = config.data_dir.clone();
    let keys = key_backup.clone();
    let restoring = move || {
        let wanted = Wanted {
            folder: &folder,
            generation: &generation,
            opening: &opening,
            key_backup: &keys,
            actor: super::console(),
            at: now(),
        };
        restore(&data_dir, &wanted)
    };
    let restored = tokio::task::spawn_blocking(restoring).await??;
    let own = config.key_backup_at();
    if !own.exists() {
        KeyBackupFile::at(own).rewrite(|| Ok::<_, crate::keys::KeysError>(key_backup))?;
    }
    report(common, &restored, &words(&config, &restored))?;
    Ok(ExitCode::from(u8::from(!restored.problems.is_empty())))
}

/// A receiver whose data folder was deleted below it still serves what it has open.
fn must_not_serve(config: &Config) -> anyhow::Result<()> {
    for listen in [
        config.listen.portal,
        config.listen.device,
        config.listen.mqtt,
    ] {
        match TcpListener::bind(listen) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "somebody serves on {listen}: stop the receiver first, then restore, then start it again"
            ),
            // Whatever else: nobody serves there.
            _ => {}
        }
    }
    Ok(())
}

fn words(config: &Config, restored: &Restored) -> String {
    let mut words = format!(
        "Backup {} is restored into {}: {} contracts, {} rows, {} pictures.\n\
         It is as of {}. What came in after that is not there, and devices do not send it again: they have deleted what was \
         taken from them. \"audit deliveries\" shows the holes. What was done after it is undone: look at who was removed, \
         which devices were revoked and which contracts ended since.",
        restored.generation,
        config.data_dir.display(),
        restored.contracts,
        restored.rows,
        restored.objects,
        local::time(restored.made_at_us),
    );
    for contract in &restored.erased {
        words += &format!("\nContract {contract} was erased since: nothing of it is restored.");
    }
    for contract in &restored.newer {
        words += &format!("\nContract {contract} came after this backup: nothing of it is in it.");
    }
    for problem in &restored.problems {
        words += &format!("\nLOST: {problem}");
    }
    words + "\nNext: cloud-receiver verify; then start the receiver, and make a new backup."
}
