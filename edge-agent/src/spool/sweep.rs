//! Files and rows agree after this: what a crash between the two has left behind is found at the next start.
//!
//! Both sides are read in the order of their names and walked side by side, so that the memory this takes is 16
//! bytes a file, not a table of names.

use crate::spool::blob::BlobDir;
use crate::spool::error::SpoolError;
use crate::spool::reads;
use rusqlite::Connection;
use std::cmp::Ordering;
use std::path::Path;
use wire::Sha256;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sweep {
    /// Files that no row named; they are deleted, or moved away.
    pub(super) orphans: u64,
    /// Blobs whose file is gone.
    pub(super) missing: Vec<Sha256>,
}

/// Deletes every file that no row names. With `aside`, after a salvage, they are kept there: their rows may have
/// been lost.
pub(super) fn sweep(
    connection: &Connection,
    blobs: &BlobDir,
    aside: Option<&Path>,
) -> Result<Sweep, SpoolError> {
    let drop_orphan = |name: &str| match aside {
        Some(folder) => blobs.quarantine(name, folder),
        None => drop(blobs.remove(name)),
    };
    let mut sweep = Sweep::default();
    let mut files = Vec::new();
    blobs.for_each(|name| match file_number(name) {
        Some(number) => files.push(number),
        // Cut off in mid-write.
        None => {
            blobs.remove(name);
            sweep.orphans += 1;
        }
    })?;
    files.sort_unstable();

    let mut files = files.into_iter().peekable();
    let mut missing = Vec::new();
    let mut orphan = |number: u128| {
        drop_orphan(&file_name(number));
        sweep.orphans += 1;
    };
    reads::for_each_blob_file(connection, |name| {
        // A name of another form sorts nowhere; its file counts as missing.
        let number = file_number(name).unwrap_or(u128::MAX);
        while let Some(found) = files.next_if(|found| *found < number) {
            orphan(found);
        }
        match files.peek().map(|found| found.cmp(&number)) {
            Some(Ordering::Equal) => drop(files.next()),
            _ => missing.push(name.to_owned()),
        }
    })
    .map_err(SpoolError::database("list blobs"))?;
    files.for_each(orphan);
    for file in missing {
        let sha256 = reads::blob_of_file(connection, &file)
            .map_err(SpoolError::database("look for a blob"))?;
        sweep.missing.extend(sha256);
    }
    if sweep.orphans > 0 {
        let orphans = sweep.orphans;
        tracing::info!(
            orphans,
            "{orphans} files without a row swept from the spool"
        );
    }
    Ok(sweep)
}

/// Names of blob files are 32 hexadecimal digits.
pub(super) fn file_number(name: &str) -> Option<u128> {
    let plain = name
        .bytes()
        .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    (name.len() == 32 && plain)
        .then(|| u128::from_str_radix(name, 16).ok())
        .flatten()
}

fn file_name(number: u128) -> String {
    format!("{number:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_sort_alike() {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let number = file_number(&name).expect("a name of ours");
        assert_eq!(file_name(number), name);
        assert_eq!(file_number("0123.tmp"), None);
        assert_eq!(file_number(&name.to_uppercase().replace('0', "A")), None);
    }
}
