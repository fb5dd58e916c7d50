//! `restore`: a backup into an empty data folder, on this machine or another.

use super::backup::Choice;
use super::{Common, report};
use crate::backup::restore::{Restored, Wanted, restore};
use crate::clock::now;
use crate::config::Config;
use crate::evidence::local;
use crate::keys::KeyBackupFile;
use crate::office::backups;
use crate::residency;
use anyhow::{Context, bail};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use wire::VerifyingKey;
use wire::evidence::erasure::{Certificate, SignedCertificate};

/// Bring a backup back into an empty data folder.
///
/// The configuration and the key folder must be there. What came in after the backup is not in it, and devices do not
/// send it again: that is a gap. If this command is interrupted, give it again: it goes on where it was.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// The certificate of a contract that was erased after the backup, as "erase certificate" wrote it; may be given several
    /// times. Nothing of that contract is restored, and "verify" does not miss what it had.
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
}

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(&common.config)?;
    residency::check(&config)?;
    must_not_serve(&config)?;
    let (folder, generation, mut opening, mut key_backup) =
        backups::opened(&config, &args.choice.into())?;
    let certificates = certificates(&args.certificate, &generation.manifest.receiver_key)?;
    for (_, certificate) in &certificates {
        // An old copy of the key backup may still hold it.
        opening.contracts.remove(&certificate.contract);
        key_backup
            .keys
            .retain(|key| key.contract != certificate.contract);
    }
    let data_dir = config.data_dir.clone();
    let keys = key_backup.clone();
    let restoring = move || {
        let wanted = Wanted {
            folder: &folder,
            generation: &generation,
            opening: &opening,
            key_backup: &keys,
            certificates: &certificates,
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

fn certificates(
    files: &[PathBuf],
    key: &VerifyingKey,
) -> anyhow::Result<Vec<(SignedCertificate, Certificate)>> {
    let read = |file: &PathBuf| {
        let shown = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(shown)?;
        let signed: SignedCertificate = serde_json::from_str(&text)
            .with_context(|| format!("{} is no certificate of an erasure", file.display()))?;
        let certificate = signed.open(key).with_context(shown)?;
        Ok((signed, certificate))
    };
    files.iter().map(read).collect()
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
        words += &format!(
            "\nContract {contract} was erased since: nothing of it is restored. Unless its certificate was given with \
             --certificate, \"verify\" misses its devices: heads of before name them."
        );
    }
    for contract in &restored.newer {
        words += &format!("\nContract {contract} came after this backup: nothing of it is in it.");
    }
    for problem in &restored.problems {
        words += &format!("\nLOST: {problem}");
    }
    words + "\nNext: cloud-receiver verify; then start the receiver, and make a new backup."
}
