//! One upload: sealed as it grows, kept when it is cut, owned by one upload at a time.
//!
//! What is short stays in memory until it is whole, so that a picture is written once and not twice; what is longer
//! than [`IN_MEMORY`] goes on in a file. An own file is named `*.N.own`; what is left of a cut upload waits as
//! `*.part`. Taking over and leaving behind are renames, which are atomic.

use super::BlobError;
use super::stream::{CHUNK, Found, Sealer, open_each};
use crate::seal::{Name, SecretKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::Sha256;
use wire::digest::Hasher;

/// Sealed bytes of one upload that may be in memory. Most pictures are shorter.
pub(super) const IN_MEMORY: usize = 2 * CHUNK;
/// What nobody went on with for so long is given up.
pub(super) const GIVEN_UP_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) struct PartFile {
    sealed: Sealed,
    own: PathBuf,
    part: PathBuf,
    sealer: Sealer,
    hasher: Hasher,
    received: u64,
    /// Not yet sealed; a chunk at most.
    buffer: Vec<u8>,
    /// Whole, spoilt or thrown away: nothing of it may be left behind for another upload to go on with.
    closed: bool,
}

/// Where the sealed bytes are.
pub(super) enum Sealed {
    Memory(Vec<u8>),
    File(File),
}

impl std::fmt::Debug for PartFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "PartFile({}, {} bytes)",
            self.own.display(),
            self.received
        )
    }
}

impl PartFile {
    /// Begins at 0, or takes over what was left behind if exactly `offset` bytes of it are there.
    pub(super) fn begin(
        part: PathBuf,
        own: PathBuf,
        key: &SecretKey,
        name: &Name,
        offset: u64,
    ) -> Result<Self, BlobError> {
        if offset == 0 {
            // Whoever begins anew has no use for what was left behind.
            let _ = fs::remove_file(&part);
            return Ok(Self::create(part, own, key, name));
        }
        match fs::rename(&part, &own) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlobError::WrongOffset(0));
            }
            other => other?,
        }
        let this = Self::take_over(part, own, key, name)?;
        let kept = this.received;
        if kept != offset {
            // Dropping it leaves it behind again.
            return Err(BlobError::WrongOffset(kept));
        }
        Ok(this)
    }

    fn create(part: PathBuf, own: PathBuf, key: &SecretKey, name: &Name) -> Self {
        let (sealer, header) = Sealer::begin(key, name);
        Self {
            sealed: Sealed::Memory(header),
            own,
            part,
            sealer,
            hasher: Hasher::default(),
            received: 0,
            buffer: Vec::new(),
            closed: false,
        }
    }

    fn take_over(part: PathBuf, own: PathBuf, key: &SecretKey, name: &Name) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let mut received = 0;
        let found = read(&own, key, name, |chunk| {
            hasher.update(chunk);
            received += chunk.len() as u64;
        })?;
        // One that was already ended is only left by a crash just before its row: its bytes come again.
        let Some(found) = found.filter(|found| !found.ended) else {
            fs::remove_file(&own)?;
            return Ok(Self::create(part, own, key, name));
        };
        let file = OpenOptions::new().append(true).open(&own)?;
        file.set_len(found.good_bytes)?;
        Ok(Self {
            sealed: Sealed::File(file),
            own,
            part,
            sealer: found.sealer,
            hasher,
            received,
            buffer: Vec::new(),
            closed: false,
        })
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn path(&self) -> &Path {
        &self.own
    }

    /// The sealed bytes of a whole upload, if they are in memory; else they are at [`PartFile::path`].
    pub(super) fn take_memory(&mut self) -> Option<Vec<u8>> {
        match &mut self.sealed {
            Sealed::Memory(bytes) => Some(std::mem::take(bytes)),
            Sealed::File(_) => None,
        }
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.received += bytes.len() as u64;
        while !bytes.is_empty() {
            // A full chunk is sealed only when more follows, so that the last one is never empty by accident.
            if self.buffer.len() == CHUNK {
                self.flush(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Seals the last chunk; answers the hash of all.
    pub(super) fn seal_end(&mut self) -> io::Result<Sha256> {
        self.flush(true)?;
        self.closed = true;
        Ok(std::mem::take(&mut self.hasher).finish())
    }

    /// Leaves nothing behind.
    pub(super) fn discard(mut self) {
        self.closed = true;
    }

    fn flush(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.sealer.seal(&self.buffer, last);
        self.buffer.clear();
        let written = self.write(&sealed);
        self.closed |= written.is_err();
        written
    }

    fn write(&mut self, sealed: &[u8]) -> io::Result<()> {
        match &mut self.sealed {
            Sealed::Memory(bytes) if bytes.len() + sealed.len() <= IN_MEMORY => {
                bytes.extend_from_slice(sealed);
                Ok(())
            }
            _ => self.on_disk()?.write_all(sealed),
        }
    }

    /// The own file, with everything so far in it.
    fn on_disk(&mut self) -> io::Result<&mut File> {
        if let Sealed::Memory(bytes) = &self.sealed {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&self.own)?;
            file.write_all(bytes)?;
            self.sealed = Sealed::File(file);
        }
        match &mut self.sealed {
            Sealed::File(file) => Ok(file),
            Sealed::Memory(_) => unreachable!("it was just put into a file"),
        }
    }

    fn keep(&mut self) -> bool {
        !self.closed
            && self.received > 0
            && (self.buffer.is_empty() || self.flush(false).is_ok())
            && self.on_disk().is_ok()
            && size(&self.own) > size(&self.part)
            && fs::rename(&self.own, &self.part).is_ok()
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.keep() {
            // What cannot be removed now is swept later.
            let _ = fs::remove_file(&self.own);
        }
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn read(
    path: &Path,
    key: &SecretKey,
    name: &Name,
    take: impl FnMut(&[u8]),
) -> io::Result<Option<Found>> {
    let mut file = BufReader::with_capacity(CHUNK, File::open(path)?);
    open_each(key, name, &mut file, take)
}

/// How many bytes of a cut upload are kept.
pub(super) fn kept(path: &Path, key: &SecretKey, name: &Name) -> Result<Option<u64>, BlobError> {
    let mut received = 0;
    let found = match read(path, key, name, |chunk| received += chunk.len() as u64) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    Ok(found.filter(|found| !found.ended).map(|_| received))
}

/// After a crash: own files become what can be continued. Not to be called while uploads run.
pub(super) fn recover(incoming: &Path) -> io::Result<()> {
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "own") {
            let part = path.with_extension("").with_extension("part");
            if size(&part) >= size(&path) {
                fs::remove_file(&path)?;
            } else {
                fs::rename(&path, &part)?;
            }
        }
    }
    Ok(())
}

/// Removes what nobody went on with; answers how many.
pub(super) fn give_up(incoming: &Path, older_than: Duration) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        let is_part = path
            .extension()
            .is_some_and(|extension| extension == "part");
        if is_part && super::sweep::is_older(&path, older_than) {
            fs::remove_file(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}
