//! The receiver's secrets, in files of their own, outside the data folder and outside every backup of it.
//!
//! `ca.pem` and `ca.key.pem` sign certificates; `master.key` wraps the contracts' data keys; `command.key` signs
//! commands to devices; `evidence.key` signs heads and exports. Whoever has the data folder without these can read
//! nothing that is sealed in it, and whoever loses them can never read it again: keep a sealed copy elsewhere.
//! [`KeyFolder`] changes the first three.

mod backup;
mod change;

pub use backup::{KeyBackup, KeyBackupFile, WrappedKey};
pub use change::KeyFolder;

use crate::ca::{Ca, CaError};
use crate::seal::{KEY_LEN, MasterKeys, SecretKey};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wire::SigningKey;

const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key.pem";
const MASTER_KEY: &str = "master.key";
/// Here only while `key rotate` is under way.
const NEXT_MASTER_KEY: &str = "master.next.key";
const COMMAND_KEY: &str = "command.key";
const EVIDENCE_KEY: &str = "evidence.key";

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(
        "{path}: {source}; check \"key_dir\" in the configuration, or run \"cloud-receiver init\""
    )]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{0} can be read by every user of this machine; run: chmod 600 {0}")]
    Open(PathBuf),
    #[error(
        "{path} holds {found} bytes where a key of {KEY_LEN} belongs; restore it from your copy"
    )]
    Length { path: PathBuf, found: usize },
    #[error("keys in {0} are being changed by another command; wait until it has ended")]
    Busy(PathBuf),
    #[error(transparent)]
    Ca(#[from] CaError),
}

#[derive(Debug)]
pub struct Keys {
    pub ca: Ca,
    pub master: MasterKeys,
    pub command: SigningKey,
    pub evidence: SigningKey,
}

impl Keys {
    /// Draws all secrets and writes them, each file readable by its owner only. Overwrites nothing.
    pub fn create(dir: &Path) -> Result<Self, KeysError> {
        create_private_dir(dir)?;
        let (ca, key_pem) = Ca::create()?;
        let master = SecretKey::generate();
        let command = SigningKey::generate();
        let evidence = SigningKey::generate();
        write_new(&dir.join(CA_KEY), key_pem.as_bytes())?;
        write_new(&dir.join(CA_CERTIFICATE), ca.certificate_pem().as_bytes())?;
        write_new(&dir.join(MASTER_KEY), master.expose())?;
        write_new(&dir.join(COMMAND_KEY), &command.to_seed())?;
        write_new(&dir.join(EVIDENCE_KEY), &evidence.to_seed())?;
        sync_dir(dir)?;
        Ok(Self {
            ca,
            master: master.into(),
            command,
            evidence,
        })
    }

    pub fn load(dir: &Path) -> Result<Self, KeysError> {
        let certificate = read_text(&dir.join(CA_CERTIFICATE))?;
        let key = read_text(&private(dir.join(CA_KEY))?)?;
        Ok(Self {
            ca: Ca::load(&certificate, &key)?,
            master: load_master(dir)?,
            command: SigningKey::from_seed(read_key(dir, COMMAND_KEY)?),
            evidence: SigningKey::from_seed(read_key(dir, EVIDENCE_KEY)?),
        })
    }

    /// Whether any of the files is there, so that `init` never draws a second set over a first.
    pub fn exist(dir: &Path) -> bool {
        [
            CA_CERTIFICATE,
            CA_KEY,
            MASTER_KEY,
            COMMAND_KEY,
            EVIDENCE_KEY,
        ]
        .iter()
        .any(|name| dir.join(name).exists())
    }
}

/// The next one is read first: should it take its place meanwhile, it is found there.
fn load_master(dir: &Path) -> Result<MasterKeys, KeysError> {
    let next = match read_key(dir, NEXT_MASTER_KEY) {
        Err(KeysError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        next => Some(SecretKey::from_bytes(next?)),
    };
    let current = SecretKey::from_bytes(read_key(dir, MASTER_KEY)?);
    Ok(MasterKeys::new(current, next))
}

/// Creates a folder for its owner only; one that exists is left as it is.
pub fn create_private_dir(dir: &Path) -> Result<(), KeysError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| KeysError::Write {
            path: dir.to_owned(),
            source,
        })
}

/// Writes a file that must not exist yet, for its owner only, durably.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|source| KeysError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Replaces a file as a whole: a reader sees the old or the new one, also after a power cut. It keeps its owner, who may
/// be the service while it is root who replaces it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    put(path, path, bytes)
}

/// The same, with the owner of the file `like`.
fn put(path: &Path, like: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let error = |source| KeysError::Write {
        path: path.to_owned(),
        source,
    };
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(source)),
        _ => {}
    }
    write_new(&fresh, bytes)?;
    give_owner_of(like, &fresh).map_err(error)?;
    fs::rename(&fresh, path).map_err(error)?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn give_owner_of(like: &Path, fresh: &Path) -> io::Result<()> {
    let old = match fs::metadata(like) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        old => old?,
    };
    let new = fs::metadata(fresh)?;
    if (old.uid(), old.gid()) == (new.uid(), new.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(fresh, Some(old.uid()), Some(old.gid()))
}

fn sync_dir(dir: &Path) -> Result<(), KeysError> {
    fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| KeysError::Write {
            path: dir.to_owned(),
            source,
        })
}

fn read_text(path: &Path) -> Result<String, KeysError> {
    fs::read_to_string(path).map_err(|source| KeysError::Read {
        path: path.to_owned(),
        source,
    })
}

fn read_key(dir: &Path, name: &str) -> Result<[u8; KEY_LEN], KeysError> {
    let path = private(dir.join(name))?;
    let bytes = fs::read(&path).map_err(|source| KeysError::Read {
        path: path.clone(),
        source,
    })?;
    let found = bytes.len();
    bytes
        .try_into()
        .map_err(|_| KeysError::Length { path, found })
}

/// Refuses a secret that everybody can read. (systemd's credentials are 0440 at most.)
pub fn private(path: PathBuf) -> Result<PathBuf, KeysError> {
    let metadata = fs::metadata(&path).map_err(|source| KeysError::Read {
        path: path.clone(),
        source,
    })?;
    if metadata.mode() & 0o007 != 0 {
        return Err(KeysError::Open(path));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_created_loads_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        assert!(!Keys::exist(&dir));
        let created = Keys::create(&dir).unwrap();
        let loaded = Keys::load(&dir).unwrap();
        assert!(Keys::exist(&dir));
        assert_eq!(loaded.master, created.master);
        assert_eq!(loaded.command.to_seed(), created.command.to_seed());
        assert_eq!(loaded.evidence.to_seed(), created.evidence.to_seed());
        assert_eq!(loaded.ca.certificate_der(), created.ca.certificate_der());
        assert!(matches!(Keys::create(&dir), Err(KeysError::Write { .. })));
        for name in [CA_KEY, MASTER_KEY, COMMAND_KEY, EVIDENCE_KEY] {
            let mode = fs::metadata(dir.join(name)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_replaced_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.key");
        write_new(&path, b"old").unwrap();
        let service = (12_345, 23_456);
        // Only root can hand a file to somebody else, and only then there is something to keep.
        if std::os::unix::fs::chown(&path, Some(service.0), Some(service.1)).is_err() {
            return;
        }
        replace(&path, b"new").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), service);
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_key_open_to_everybody_or_cut_short_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Keys::create(dir.path()).unwrap();
        let path = dir.path().join(MASTER_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::load(dir.path()), Err(KeysError::Open(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(matches!(
            Keys::load(dir.path()),
            Err(KeysError::Length { found: 5, .. })
        ));
    }
}
