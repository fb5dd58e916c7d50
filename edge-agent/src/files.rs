//! Small files that are there whole or not at all, after a power cut too: temporary file, fsync, rename, fsync of
//! the folder. Mode 0600, owned by whoever owns the folder.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// Makes the folder, 0700, if it is missing; takes group's and others' rights away if it has any.
pub(crate) fn secret_folder(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        inherit_owner(folder)?;
    }
    if folder.metadata()?.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Replaces `folder/name`, durably, or leaves it as it was.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    place(folder, name, bytes, |from, to| std::fs::rename(from, to))
}

/// As [`write`], but the first of two who do it at once wins: `AlreadyExists` for the other.
pub(crate) fn write_once(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    place(folder, name, bytes, |from, to| {
        std::fs::hard_link(from, to)?;
        std::fs::remove_file(from)
    })
}

fn place(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    into_place: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let outcome = write_new(&temporary, bytes)
        .and_then(|()| into_place(&temporary, &folder.join(name)))
        .and_then(|()| File::open(folder)?.sync_all());
    if outcome.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    outcome
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Left over from a power cut.
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    inherit_owner(path)?;
    file.sync_all()
}

/// An installer enrolls as root; the service must still be able to read what that made.
fn inherit_owner(path: &Path) -> io::Result<()> {
    let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let (above, here) = (parent.metadata()?, path.metadata()?);
    if rustix::process::geteuid().is_root()
        && (above.uid(), above.gid()) != (here.uid(), here.gid())
    {
        chown(path, Some(above.uid()), Some(above.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_secret_and_replaced_whole() {
        let data = tempfile::tempdir().expect("temp dir");
        let folder = data.path().join("identity");
        secret_folder(&folder).expect("made");
        write(&folder, "key", b"one").expect("first");
        write(&folder, "key", b"two").expect("second");
        assert_eq!(std::fs::read(folder.join("key")).expect("read"), b"two");
        let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("key")), 0o600);
        let again = write_once(&folder, "key", b"three").expect_err("there already");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(folder.join("key")).expect("read"), b"two");
        let names: Vec<_> = std::fs::read_dir(&folder).expect("list").collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
    }

    #[test]
    fn a_folder_that_is_too_open_is_closed() {
        let data = tempfile::tempdir().expect("temp dir");
        let folder = data.path().join("identity");
        std::fs::create_dir(&folder).expect("make");
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("open");
        secret_folder(&folder).expect("close");
        assert_eq!(folder.metadata().expect("there").mode() & 0o777, 0o700);
    }
}
