//! The ballast: a file of 4 MiB, really allocated, that is deleted when the disk is full. Deleting a row needs room
//! in the write-ahead log, so without it a full disk could not even be tidied up.

use crate::spool::room::Volume;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Named apart from everything a sweep looks at.
const FILE: &str = "ballast";

#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Ballast {
    /// Looks what an earlier start has left; takes nothing yet.
    pub(super) fn find(dir: &Path, bytes: u64) -> Self {
        let path = dir.join(FILE);
        let held = fs::metadata(&path).is_ok_and(|meta| meta.len() >= bytes);
        Self { path, bytes, held }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Takes the room, if it is not taken yet.
    pub(super) fn take(&mut self) -> io::Result<()> {
        if self.held || self.bytes == 0 {
            return Ok(());
        }
        let taken = allocate(&self.path, self.bytes);
        match &taken {
            Ok(()) => self.held = true,
            Err(_) => drop(fs::remove_file(&self.path)),
        }
        taken
    }

    /// Gives the room up. `false`: there was none.
    pub(super) fn release(&mut self) -> bool {
        let held = std::mem::replace(&mut self.held, false);
        match fs::remove_file(&self.path) {
            Ok(()) => held,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the spool's ballast cannot be deleted: {error}");
                }
                false
            }
        }
    }
}

fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let flags = rustix::fs::FallocateFlags::empty();
    match rustix::fs::fallocate(&file, flags, 0, bytes) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let block = [0x5a; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let step = left.min(block.len() as u64);
                file.write_all(&block[..usize::try_from(step).unwrap_or(block.len())])?;
                left -= step;
            }
        }
        Err(error) => return Err(error.into()),
    }
    file.sync_all()
}

/// What the file system says of the disk that `dir` is on.
pub(super) fn volume(dir: &Path) -> Option<Volume> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(Volume {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_really_allocated_found_again_and_given_up_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut ballast = Ballast::find(dir.path(), 1 << 20);
        assert!(!ballast.is_held() && !ballast.release());
        ballast.take().expect("taken");
        let meta = fs::metadata(dir.path().join(FILE)).expect("there");
        assert!(meta.blocks() * 512 >= 1 << 20, "{} blocks", meta.blocks());

        let mut again = Ballast::find(dir.path(), 1 << 20);
        assert!(again.is_held() && again.release() && !again.release());
    }
}
