//! What was damaged or refused, kept for a person to look at: bounded in bytes and number, and the first thing that
//! goes when the disk is full. All of it was reported when it came here.

use crate::spool::error::SpoolError;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wire::UtcMicros;

/// Most entries: set-aside databases, refused or unreadable blobs.
const MAX_ENTRIES: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    path: PathBuf,
    max_bytes: u64,
}

impl Quarantine {
    pub(super) fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder in it, named by the time so that folders sort by age.
    pub(super) fn folder(&self, now: UtcMicros) -> Result<PathBuf, SpoolError> {
        let mut folder = self.path.join(format!("{:020}", now.0.max(0)));
        // Two in one microsecond, or a clock that stands still.
        let mut copy = 1;
        while folder.exists() {
            folder = self.path.join(format!("{:020}-{copy}", now.0.max(0)));
            copy += 1;
        }
        fs::create_dir_all(&folder).map_err(SpoolError::file("create folder", &folder))?;
        Ok(folder)
    }

    /// Deletes the oldest until both bounds hold. A single thing beyond the bound goes, too: what could be read of
    /// it has been carried over.
    pub(super) fn prune(&self) {
        let mut entries = self.entries();
        entries.sort_unstable_by_key(|entry| entry.changed);
        let mut bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut count = entries.len();
        for entry in entries {
            if bytes <= self.max_bytes && count <= MAX_ENTRIES {
                return;
            }
            bytes -= entry.bytes;
            count -= 1;
            entry.delete();
        }
    }

    /// Deletes everything. `false`: there was nothing.
    pub(super) fn clear(&self) -> bool {
        let entries = self.entries();
        let any = !entries.is_empty();
        entries.iter().for_each(Entry::delete);
        any
    }

    fn entries(&self) -> Vec<Entry> {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        paths.map(Entry::of).collect()
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
}

impl Entry {
    fn of(path: PathBuf) -> Self {
        let changed = fs::metadata(&path).and_then(|meta| meta.modified());
        Self {
            bytes: bytes_below(&path),
            changed: changed.unwrap_or(SystemTime::UNIX_EPOCH),
            path,
        }
    }

    fn delete(&self) {
        let deleted = if self.path.is_dir() {
            fs::remove_dir_all(&self.path)
        } else {
            fs::remove_file(&self.path)
        };
        if let Err(error) = deleted {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot delete {path} from quarantine: {error}");
        }
    }
}

fn bytes_below(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok())
            .map(|entry| bytes_below(&entry.path()))
            .sum(),
        Err(_) => fs::metadata(path).map_or(0, |meta| meta.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_bytes_and_in_number_and_the_newest_stay() {
        let dir = tempfile::tempdir().expect("temp dir");
        let quarantine = Quarantine::new(dir.path().join("quarantine"), 1000);
        fs::create_dir(quarantine.path()).expect("made");
        let put = |name: &str, bytes: usize, age_seconds: u64| {
            let path = quarantine.path().join(name);
            fs::write(&path, vec![0; bytes]).expect("written");
            let time = SystemTime::now() - std::time::Duration::from_secs(age_seconds);
            let file = fs::File::options().append(true).open(path).expect("opened");
            file.set_modified(time).expect("dated");
        };
        put("old", 600, 9);
        put("new", 600, 1);
        quarantine.prune();
        let names = || {
            let entries = fs::read_dir(quarantine.path()).expect("listed");
            let mut names: Vec<_> = entries
                .map(|e| e.expect("read").file_name().into_string().expect("UTF-8"))
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["new"]);
        for number in 0..MAX_ENTRIES {
            put(&format!("tiny-{number}"), 1, 0);
        }
        quarantine.prune();
        assert_eq!(names().len(), MAX_ENTRIES);
        assert!(!names().contains(&"new".to_owned()));
        put("huge", 5000, 0);
        quarantine.prune();
        assert_eq!(names().len(), 0, "the bound holds for a single thing, too");
        put("one", 1, 0);
        assert!(quarantine.clear() && !quarantine.clear());
    }
}
