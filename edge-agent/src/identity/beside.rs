//! A renewed certificate lies beside the one in use until it has proved itself.
//!
//! Written with fsync, used once, then moved over the old one by a rename: whatever is interrupted on the way, the
//! box has a certificate that works. `enroll` and a renewal exclude each other by a lock on the folder, so that a
//! renewal never overwrites an enrollment that was made meanwhile.

use super::{ENROLLMENT_FILE, Enrollment, Identity, IdentityError, files, read_json, write_json};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const BESIDE_FILE: &str = "enrollment.next.json";

#[derive(Clone, Debug)]
pub struct Beside {
    data_dir: PathBuf,
}

impl Beside {
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
        }
    }

    /// Keeps a renewed certificate, durably, beside the one in use.
    pub fn put(&self, next: &Enrollment) -> Result<(), IdentityError> {
        let _locked = self.lock()?;
        write_json(&self.data_dir, BESIDE_FILE, next, files::write)
    }

    /// One that was put and not swapped in yet, such as after a power cut. What does not renew `current` is of an
    /// earlier enrollment, and a damaged one is no loss: both are thrown away.
    pub fn get(&self, current: &Enrollment) -> Result<Option<Enrollment>, IdentityError> {
        let _locked = self.lock()?;
        match read_json::<Enrollment>(&self.data_dir, BESIDE_FILE) {
            Ok(Some(next)) if next.replaces == Some(current.fingerprint()) => Ok(Some(next)),
            Ok(None) => Ok(None),
            Ok(Some(_)) | Err(IdentityError::Damaged { .. }) => {
                self.discard()?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the certificate that lies beside in the place of the one that it renews. `false`: the box was enrolled
    /// anew meanwhile, and stays so.
    pub fn swap(&self) -> Result<bool, IdentityError> {
        let _locked = self.lock()?;
        let current = Enrollment::load(&self.data_dir)?;
        let next = read_json::<Enrollment>(&self.data_dir, BESIDE_FILE)?;
        let fits = match (&current, &next) {
            (Some(current), Some(next)) => next.replaces == Some(current.fingerprint()),
            _ => false,
        };
        if !fits {
            self.discard()?;
            return Ok(false);
        }
        let folder = Identity::folder(&self.data_dir);
        std::fs::rename(folder.join(BESIDE_FILE), folder.join(ENROLLMENT_FILE))
            .and_then(|()| File::open(&folder)?.sync_all())
            .map_err(|cause| self.error("put in place", cause))?;
        Ok(true)
    }

    /// Throws away what lies beside.
    pub fn discard(&self) -> Result<(), IdentityError> {
        match std::fs::remove_file(Identity::folder(&self.data_dir).join(BESIDE_FILE)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(self.error("removed", cause))
            }
            _ => Ok(()),
        }
    }

    /// Held until it is dropped, by one process at a time.
    pub(super) fn lock(&self) -> Result<File, IdentityError> {
        let folder = Identity::folder(&self.data_dir);
        files::secret_folder(&folder)
            .and_then(|()| File::open(&folder))
            .and_then(|file| {
                rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
                Ok(file)
            })
            .map_err(|cause| self.error("locked", cause))
    }

    fn error(&self, what: &'static str, cause: io::Error) -> IdentityError {
        IdentityError::Io {
            path: Identity::folder(&self.data_dir).join(BESIDE_FILE),
            what,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::SigningKey;

    fn enrollment(certificate: &str, replaces: Option<&Enrollment>) -> Enrollment {
        Enrollment {
            certificate_pem: certificate.into(),
            tls_key_pem: "private".into(),
            ca_pem: "ca".into(),
            device_url: "https://receiver.example:8444".parse().expect("valid"),
            mqtt_host: "receiver.example".into(),
            mqtt_port: 8883,
            command_key: SigningKey::from_seed([1; 32]).verifying_key(),
            contract: None,
            contract_name: "契約".into(),
            site_name: "本店".into(),
            replaces: replaces.map(Enrollment::fingerprint),
        }
    }

    fn in_use(data_dir: &Path) -> String {
        let enrollment = Enrollment::load(data_dir).expect("readable");
        enrollment.expect("enrolled").certificate_pem
    }

    #[test]
    fn what_lies_beside_comes_into_use_by_the_swap_only() {
        let data = tempfile::tempdir().expect("temp dir");
        let beside = Beside::new(data.path());
        let old = enrollment("old", None);
        old.save(data.path()).expect("saved");
        beside.put(&enrollment("new", Some(&old))).expect("put");
        assert_eq!(in_use(data.path()), "old");
        let found = beside.get(&old).expect("readable").expect("there");
        assert_eq!(found.certificate_pem, "new");
        assert!(beside.swap().expect("swapped"));
        assert_eq!(in_use(data.path()), "new");
        assert!(!beside.swap().expect("nothing beside"), "only once");
        assert_eq!(in_use(data.path()), "new");
    }

    #[test]
    fn a_box_that_was_enrolled_anew_meanwhile_stays_so() {
        let data = tempfile::tempdir().expect("temp dir");
        let beside = Beside::new(data.path());
        let old = enrollment("old", None);
        old.save(data.path()).expect("saved");
        let renewed = enrollment("renewed", Some(&old));
        beside.put(&renewed).expect("put");
        let again = enrollment("again", None);
        again.save(data.path()).expect("enrolled again");
        // The renewal did not hear of it, and comes late.
        beside.put(&renewed).expect("put");
        assert!(!beside.swap().expect("refused"));
        assert_eq!(in_use(data.path()), "again");
        beside.put(&renewed).expect("put");
        assert!(beside.get(&again).expect("readable").is_none());
    }

    #[test]
    fn a_damaged_one_is_thrown_away() {
        let data = tempfile::tempdir().expect("temp dir");
        let beside = Beside::new(data.path());
        let old = enrollment("old", None);
        old.save(data.path()).expect("saved");
        let path = Identity::folder(data.path()).join(BESIDE_FILE);
        std::fs::write(&path, "{").expect("write");
        assert!(beside.get(&old).expect("thrown away").is_none());
        assert!(!path.exists());
        assert_eq!(in_use(data.path()), "old");
    }
}
