//! Changing secrets, so that at every moment what is on disk is whole: a command may be killed anywhere, and given again.
//!
//! The CA's key and certificate are two files. First the key file holds both keys, then the certificate changes, then the
//! old key goes: of several keys the one counts that belongs to the certificate.
//!
//! The new master key lies beside the old one before the database is told of it, and takes its place only when the
//! database is under it. Old keys are not kept here: who needs one has the sealed copy.

use super::{
    CA_CERTIFICATE, CA_KEY, Keys, KeysError, MASTER_KEY, NEXT_MASTER_KEY, put, read_text, replace,
    sync_dir,
};
use crate::ca::Ca;
use crate::seal::SecretKey;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use wire::UtcMicros;

/// The folder of the secrets, in the hands of this process alone until it is dropped.
#[derive(Debug)]
pub struct KeyFolder {
    dir: PathBuf,
    _locked: File,
}

impl KeyFolder {
    pub fn lock(dir: &Path) -> Result<Self, KeysError> {
        let error = |source| KeysError::Read {
            path: dir.to_owned(),
            source,
        };
        let file = File::open(dir).map_err(error)?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                dir: dir.to_owned(),
                _locked: file,
            }),
            Err(TryLockError::WouldBlock) => Err(KeysError::Busy(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    pub fn keys(&self) -> Result<Keys, KeysError> {
        Keys::load(&self.dir)
    }

    /// Puts a new CA in the place of `ca`, which stays trusted; its key is gone.
    pub fn rotate_ca(&self, ca: &Ca, at: UtcMicros) -> Result<Ca, KeysError> {
        let key_file = self.dir.join(CA_KEY);
        let old_key = read_text(&key_file)?;
        let (next, next_key) = ca.succeed(at)?;
        replace(&key_file, format!("{next_key}{old_key}").as_bytes())?;
        self.put_certificates(&next.certificates_pem())?;
        replace(&key_file, next_key.as_bytes())?;
        Ok(next)
    }

    /// Takes away a key that a rotation left over which was killed at its last step. Whether there was one.
    pub fn finish_ca(&self, ca: &Ca) -> Result<bool, KeysError> {
        let key_file = self.dir.join(CA_KEY);
        let own = ca.key_pem();
        let is_left_over = read_text(&key_file)?.trim() != own.trim();
        if is_left_over {
            replace(&key_file, own.as_bytes())?;
        }
        Ok(is_left_over)
    }

    /// No longer trusts the CA before `ca`.
    pub fn retire_ca(&self, ca: &Ca) -> Result<(), KeysError> {
        self.finish_ca(ca)?;
        self.put_certificates(ca.certificate_pem())
    }

    fn put_certificates(&self, pem: &str) -> Result<(), KeysError> {
        replace(&self.dir.join(CA_CERTIFICATE), pem.as_bytes())
    }

    /// The master key that is to be: a new one, or the one that an earlier attempt has left. It is durable.
    pub fn next_master(&self, keys: &Keys) -> Result<SecretKey, KeysError> {
        if let Some(next) = keys.master.next() {
            return Ok(next.clone());
        }
        let next = SecretKey::generate();
        let current = self.dir.join(MASTER_KEY);
        put(&self.dir.join(NEXT_MASTER_KEY), &current, next.expose())?;
        Ok(next)
    }

    /// Puts the next master key in the place of the one before, which is gone. Only when the database is under it.
    pub fn put_master_in_place(&self) -> Result<(), KeysError> {
        let path = self.dir.join(NEXT_MASTER_KEY);
        fs::rename(&path, self.dir.join(MASTER_KEY))
            .map_err(|source| KeysError::Write { path, source })?;
        sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::now;

    fn folder() -> (tempfile::TempDir, KeyFolder) {
        let dir = tempfile::tempdir().unwrap();
        Keys::create(dir.path()).unwrap();
        let folder = KeyFolder::lock(dir.path()).unwrap();
        (dir, folder)
    }

    #[test]
    fn one_command_at_a_time() {
        let (dir, folder) = folder();
        let second = KeyFolder::lock(dir.path());
        assert!(matches!(second, Err(KeysError::Busy(_))));
        drop(folder);
        assert!(KeyFolder::lock(dir.path()).is_ok());
    }

    #[test]
    fn a_change_of_the_ca_leaves_one_key_and_both_certificates_and_retiring_leaves_one() {
        let (dir, folder) = folder();
        let old = folder.keys().unwrap().ca;
        let new = folder.rotate_ca(&old, now()).unwrap();
        let loaded = folder.keys().unwrap().ca;
        assert_eq!(loaded.fingerprint(), new.fingerprint());
        assert_eq!(loaded.trusted().count(), 2);
        let key = std::fs::read_to_string(dir.path().join(CA_KEY)).unwrap();
        assert_eq!(key.matches("BEGIN").count(), 1);
        assert!(!folder.finish_ca(&loaded).unwrap());
        folder.retire_ca(&loaded).unwrap();
        let retired = folder.keys().unwrap().ca;
        assert_eq!(retired.fingerprint(), new.fingerprint());
        assert_eq!(retired.trusted().count(), 1);
    }

    #[test]
    fn a_change_of_the_ca_that_is_killed_at_any_step_leaves_keys_that_load() {
        let (dir, folder) = folder();
        let old = folder.keys().unwrap().ca;
        let old_key = old.key_pem();
        let (new, new_key) = old.succeed(now()).unwrap();
        // After the first step: as if nothing had been done.
        let both = format!("{new_key}{old_key}");
        std::fs::write(dir.path().join(CA_KEY), &both).unwrap();
        let loaded = folder.keys().unwrap().ca;
        assert_eq!(loaded.fingerprint(), old.fingerprint());
        assert!(folder.finish_ca(&loaded).unwrap());
        assert_eq!(folder.keys().unwrap().ca.fingerprint(), old.fingerprint());
        // After the second: done, but for the old key.
        std::fs::write(dir.path().join(CA_KEY), &both).unwrap();
        std::fs::write(dir.path().join(CA_CERTIFICATE), new.certificates_pem()).unwrap();
        let loaded = folder.keys().unwrap().ca;
        assert_eq!(loaded.fingerprint(), new.fingerprint());
        assert!(folder.finish_ca(&loaded).unwrap());
        let key = std::fs::read_to_string(dir.path().join(CA_KEY)).unwrap();
        assert_eq!(key, new_key);
    }

    #[test]
    fn the_next_master_key_is_kept_through_a_kill_and_takes_the_place_of_the_first() {
        let (_dir, folder) = folder();
        let keys = folder.keys().unwrap();
        assert!(keys.master.next().is_none());
        let next = folder.next_master(&keys).unwrap();
        let killed_here = folder.keys().unwrap();
        assert_eq!(killed_here.master.current(), keys.master.current());
        assert_eq!(killed_here.master.next(), Some(&next));
        assert_eq!(folder.next_master(&killed_here).unwrap(), next);
        folder.put_master_in_place().unwrap();
        assert_eq!(folder.keys().unwrap().master, next.into());
    }
}
