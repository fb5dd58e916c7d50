//! Whether the contract that this box served has ended. Then nothing is kept or delivered any more, until the box is enrolled
//! again; its configuration and identity stay.
//!
//! And whether what waits in the spool is to be destroyed before anything is delivered again: it is a contract's that has
//! ended, or that the box serves no more.
//!
//! Files of their own, written before anything is wiped: a power cut in between must not leave a box that goes on recording.

use crate::files;
use std::io;
use std::path::Path;

const FILE: &str = "contract-ended.json";
const OWED: &str = "wipe-pending.json";

/// Durable when it returns.
pub fn mark(data_dir: &Path) -> io::Result<()> {
    files::write(data_dir, FILE, b"{\"ended\":true}\n")
}

pub fn is_marked(data_dir: &Path) -> bool {
    data_dir.join(FILE).exists()
}

/// For a box that is enrolled again.
pub fn clear(data_dir: &Path) -> io::Result<()> {
    remove(data_dir, FILE)
}

/// From now on the spool is wiped before anything is delivered, also after a power cut. Durable when it returns.
pub fn owe_wipe(data_dir: &Path) -> io::Result<()> {
    files::write(data_dir, OWED, b"{\"wipe\":true}\n")
}

pub fn owes_wipe(data_dir: &Path) -> bool {
    data_dir.join(OWED).exists()
}

/// Once the spool is wiped, and not before.
pub fn wiped(data_dir: &Path) -> io::Result<()> {
    remove(data_dir, OWED)
}

fn remove(data_dir: &Path, name: &str) -> io::Result<()> {
    match std::fs::remove_file(data_dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mark_stays_until_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_marked(dir.path()));
        mark(dir.path()).unwrap();
        assert!(is_marked(dir.path()));
        clear(dir.path()).unwrap();
        clear(dir.path()).unwrap();
        assert!(!is_marked(dir.path()));
    }
}
