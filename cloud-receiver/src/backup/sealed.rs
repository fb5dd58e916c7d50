//! Files of a backup: sealed from the first byte that touches the disk, in the chunks in which pictures are.

use super::manifest::SealedFile;
use crate::blob::stream::{CHUNK, Opener, Sealer};
use crate::seal::{Name, SecretKey};
use anyhow::{Context, ensure};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use wire::Sha256;
use wire::digest::Hasher;

/// Seals what is written to it.
pub(super) struct Sealing {
    file: BufWriter<File>,
    sealer: Sealer,
    plain: Vec<u8>,
    hasher: Hasher,
    bytes: u64,
}

impl Sealing {
    pub(super) fn create(path: &Path, key: &SecretKey, name: &Name) -> io::Result<Self> {
        let (sealer, header) = Sealer::begin(key, name);
        let mut this = Self {
            file: BufWriter::new(File::create_new(path)?),
            sealer,
            plain: Vec::with_capacity(CHUNK),
            hasher: Hasher::default(),
            bytes: 0,
        };
        this.put(&header)?;
        Ok(this)
    }

    fn put(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.hasher.update(sealed);
        self.bytes += sealed.len() as u64;
        self.file.write_all(sealed)
    }

    fn chunk(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.sealer.seal(&self.plain, last);
        self.plain.clear();
        self.put(&sealed)
    }

    /// Durable when it answers.
    pub(super) fn finish(mut self) -> io::Result<SealedFile> {
        self.chunk(true)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(SealedFile {
            bytes: self.bytes,
            sha256: self.hasher.finish(),
        })
    }
}

impl Write for Sealing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.plain.len() == CHUNK {
            self.chunk(false)?;
        }
        let count = bytes.len().min(CHUNK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Reads what was sealed.
pub(super) struct Unsealing {
    opener: Opener<BufReader<File>>,
    plain: Vec<u8>,
    at: usize,
}

impl Unsealing {
    /// Of a file that is as the manifest says.
    pub(super) fn open(
        path: &Path,
        stated: &SealedFile,
        key: &SecretKey,
        name: &Name,
    ) -> anyhow::Result<Self> {
        let shown = || path.display().to_string();
        let found = hash_of(path).with_context(shown)?;
        ensure!(
            found == *stated,
            "{} is another file than the manifest names: it was changed or cut short",
            path.display()
        );
        let file = BufReader::new(File::open(path).with_context(shown)?);
        let opener = Opener::begin(key, name, file).with_context(shown)?;
        Ok(Self {
            opener,
            plain: Vec::new(),
            at: 0,
        })
    }

    /// Nothing may follow.
    pub(super) fn must_end(&mut self) -> anyhow::Result<()> {
        ensure!(self.read(&mut [0])? == 0, "more follows than belongs there");
        Ok(())
    }
}

impl Read for Unsealing {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            let Some(chunk) = self.opener.next()? else {
                return Ok(0);
            };
            self.plain.clear();
            self.plain.extend_from_slice(chunk);
            self.at = 0;
        }
        let count = to.len().min(self.plain.len() - self.at);
        to[..count].copy_from_slice(&self.plain[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Length and hash of a file.
pub(super) fn hash_of(path: &Path) -> io::Result<SealedFile> {
    copy(&mut File::open(path)?, &mut io::sink())
}

/// Copies, and says what was copied.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<SealedFile> {
    let (mut hasher, mut bytes) = (Hasher::default(), 0);
    let mut piece = vec![0; CHUNK];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            let sha256: Sha256 = hasher.finish();
            return Ok(SealedFile { bytes, sha256 });
        }
        hasher.update(&piece[..count]);
        to.write_all(&piece[..count])?;
        bytes += count as u64;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::backup::{NOBODY, name};
    use crate::seal::Purpose;
    use uuid::Uuid;

    #[test]
    fn what_was_sealed_is_read_again_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::generate();
        let backup = Uuid::new_v4();
        let under = name(NOBODY, Purpose::Backup, backup);
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let path = dir.path().join(length.to_string());
            let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut sealing = Sealing::create(&path, &key, &under).unwrap();
            sealing.write_all(&plain).unwrap();
            let stated = sealing.finish().unwrap();
            let mut found = Vec::new();
            let mut reading = Unsealing::open(&path, &stated, &key, &under).unwrap();
            reading.read_to_end(&mut found).unwrap();
            assert_eq!(found, plain);
            // Another backup's, and a file that is one byte shorter or longer.
            let other = name(NOBODY, Purpose::Backup, Uuid::new_v4());
            let mut wrong = Unsealing::open(&path, &stated, &key, &other).unwrap();
            assert!(wrong.read_to_end(&mut found).is_err());
            let whole = std::fs::read(&path).unwrap();
            for changed in [
                whole[..whole.len() - 1].to_vec(),
                [&whole[..], b"x"].concat(),
            ] {
                std::fs::write(&path, changed).unwrap();
                assert!(Unsealing::open(&path, &stated, &key, &under).is_err());
                let stated = hash_of(&path).unwrap();
                let mut cut = Unsealing::open(&path, &stated, &key, &under).unwrap();
                assert!(cut.read_to_end(&mut found).is_err());
            }
        }
    }
}
