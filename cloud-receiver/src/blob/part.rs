//! One upload's file: sealed as it grows, kept when the upload is cut, owned by one upload at a time.
//!
//! An own file is named `*.N.own`; what is left of a cut upload waits as `*.part`. Taking over and leaving behind are
//! renames, which are atomic.

use super::BlobError;
use super::stream::{CHUNK, Sealer, open_each};
use crate::seal::{Name, SecretKey};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wire::Sha256;
use wire::digest::Hasher;

pub(super) struct PartFile {
    file: File,
    own: PathBuf,
    part: PathBuf,
    sealer: Sealer,
    hasher: Hasher,
    received: u64,
    /// Not yet sealed; less than a chunk.
    buffer: Vec<u8>,
    /// Whole, spoilt or thrown away: nothing of it may be left behind for another upload to go on with.
    closed: bool,
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
            return Ok(Self::create(part, own, key, name)?);
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

    fn create(part: PathBuf, own: PathBuf, key: &SecretKey, name: &Name) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&own)?;
        let (sealer, header) = Sealer::begin(key, name);
        file.write_all(&header)?;
        Ok(Self {
            file,
            own,
            part,
            sealer,
            hasher: Hasher::default(),
            received: 0,
            buffer: Vec::with_capacity(CHUNK),
            closed: false,
        })
    }

    fn take_over(part: PathBuf, own: PathBuf, key: &SecretKey, name: &Name) -> io::Result<Self> {
        let sealed = fs::read(&own)?;
        let mut hasher = Hasher::default();
        let mut received = 0;
        let found = open_each(key, name, &sealed, |chunk| {
            hasher.update(chunk);
            received += chunk.len() as u64;
        });
        // One that was already ended is only left by a crash just before its row: its bytes come again.
        let Some(found) = found.filter(|found| !found.ended) else {
            fs::remove_file(&own)?;
            return Self::create(part, own, key, name);
        };
        let file = OpenOptions::new().append(true).open(&own)?;
        file.set_len(found.good_bytes as u64)?;
        Ok(Self {
            file,
            own,
            part,
            sealer: found.sealer,
            hasher,
            received,
            buffer: Vec::with_capacity(CHUNK),
            closed: false,
        })
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn path(&self) -> &Path {
        &self.own
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
        let written = self.file.write_all(&sealed);
        self.closed |= written.is_err();
        written
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        let keep = !self.closed
            && (self.buffer.is_empty() || self.flush(false).is_ok())
            && size(&self.own) > size(&self.part)
            && fs::rename(&self.own, &self.part).is_ok();
        if !keep {
            // What cannot be removed now is swept at the next start.
            let _ = fs::remove_file(&self.own);
        }
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// How many bytes of a cut upload are kept.
pub(super) fn kept(path: &Path, key: &SecretKey, name: &Name) -> Result<Option<u64>, BlobError> {
    let sealed = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut received = 0;
    let found = open_each(key, name, &sealed, |chunk| received += chunk.len() as u64);
    Ok(found.filter(|found| !found.ended).map(|_| received))
}

/// After a crash: own files become what can be continued; what is a week old is given up.
pub(super) fn recover(incoming: &Path) -> io::Result<()> {
    const GIVEN_UP_AFTER: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
    for entry in fs::read_dir(incoming)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "own") {
            let part = path.with_extension("").with_extension("part");
            if size(&part) >= size(&path) {
                fs::remove_file(&path)?;
            } else {
                fs::rename(&path, &part)?;
            }
        } else if fs::metadata(&path)?
            .modified()?
            .elapsed()
            .is_ok_and(|age| age > GIVEN_UP_AFTER)
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
