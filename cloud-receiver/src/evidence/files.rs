//! Files that are written once, whole, and never overwritten.

use anyhow::{Context, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Puts `bytes` at `path`, durably, in one step. The same bytes there already are as good; others are an error, and
/// stay as they are.
pub(super) fn write_once(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(done) = existing(path, bytes)? {
        return Ok(done);
    }
    let folder = path.parent().context("the path has no folder")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("creating the folder {}", folder.display()))?;
    let part = path.with_added_extension("part");
    let written = write_part(&part, bytes).and_then(|()| put_in_place(&part, path));
    if let Err(error) = written {
        // What is left of it would only be in the way of the next attempt.
        let _ = std::fs::remove_file(&part);
        if error.kind() == io::ErrorKind::AlreadyExists {
            return existing(path, bytes)?.context("the file came and went");
        }
        return Err(error).with_context(|| format!("writing {}", path.display()));
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("making {} durable", folder.display()))
}

fn existing(path: &Path, bytes: &[u8]) -> anyhow::Result<Option<()>> {
    match std::fs::read(path) {
        Ok(found) if found == bytes => Ok(Some(())),
        Ok(_) => bail!(
            "{} is there already with other contents; it was left alone. Was it changed, or does another receiver use this folder?",
            path.display()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn write_part(part: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(part)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn put_in_place(part: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, part, CWD, path, RenameFlags::NOREPLACE) {
        // Not every file system of a network can do this; ours is the only writer of this name.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !path.exists() => {
            std::fs::rename(part, path)
        }
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_written_once_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/heads.json");
        write_once(&path, b"first").unwrap();
        write_once(&path, b"first").unwrap();
        let error = write_once(&path, b"second").unwrap_err().to_string();
        assert!(error.contains("left alone"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }
}
