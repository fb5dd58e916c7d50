//! The ZIP form of an export: a file that any phone or PC opens, written in exactly one way.
//!
//! Files are stored as they are (pictures are compressed already), with one fixed date, UTF-8 names, and no comments
//! or extra fields but those of ZIP64. So the reader can make the container's own bytes again from the names, lengths and
//! checksums that it finds and compare: a changed byte anywhere in it is seen, and no two programs can read it in two ways.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const END: u32 = 0x0605_4b50;
const LOCAL_LEN: usize = 30;
const CENTRAL_LEN: usize = 46;
const END_LEN: usize = 22;
/// Names are in UTF-8.
const FLAGS: u16 = 0x0800;
/// Version 4.5 of the format, which knows ZIP64; made on Unix.
const NEEDS: u16 = 45;
const MADE_BY: u16 = 0x032d;
/// 1980-01-01 00:00, the earliest there is: the times that count stand in signed records.
const DATE: u16 = 0x0021;
/// An ordinary file that everybody may read.
const MODE: u32 = 0o100_644 << 16;
const NONE_32: u32 = u32::MAX;
/// Longest name that is written or read.
const MAX_NAME: usize = 1024;

/// One file of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub bytes: u32,
    pub crc: u32,
    /// Where its header begins.
    offset: u64,
}

/// Writes a container piece by piece; the caller puts the pieces where it likes.
#[derive(Debug, Default)]
pub struct Writer {
    entries: Vec<Entry>,
    offset: u64,
}

impl Writer {
    /// The header of a file; its bytes must follow at once. Fails for a file of 4 GiB and more.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let length = u32::try_from(bytes.len())
            .ok()
            .filter(|length| *length < NONE_32);
        let length = length.filter(|_| !name.is_empty() && name.len() <= MAX_NAME);
        let length = length
            .ok_or_else(|| io::Error::other(format!("{name} does not fit into an export")))?;
        let entry = Entry {
            name: name.to_owned(),
            bytes: length,
            crc: crc32(bytes),
            offset: self.offset,
        };
        let header = local_header(&entry);
        self.offset += header.len() as u64 + u64::from(length);
        self.entries.push(entry);
        Ok(header)
    }

    /// What stands after the last file.
    pub fn finish(self) -> Vec<u8> {
        directory(&self.entries, self.offset)
    }
}

fn local_header(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LOCAL_LEN + entry.name.len());
    put32(&mut bytes, LOCAL);
    put16(&mut bytes, NEEDS);
    common(&mut bytes, entry);
    put16(&mut bytes, 0);
    bytes.extend_from_slice(entry.name.as_bytes());
    bytes
}

/// From the flags to the length of the name: alike in both headers.
fn common(bytes: &mut Vec<u8>, entry: &Entry) {
    put16(bytes, FLAGS);
    put16(bytes, 0);
    put16(bytes, 0);
    put16(bytes, DATE);
    put32(bytes, entry.crc);
    put32(bytes, entry.bytes);
    put32(bytes, entry.bytes);
    put16(
        bytes,
        u16::try_from(entry.name.len()).expect("names are short"),
    );
}

fn directory(entries: &[Entry], offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let far = entry.offset >= u64::from(NONE_32);
        put32(&mut bytes, CENTRAL);
        put16(&mut bytes, MADE_BY);
        put16(&mut bytes, NEEDS);
        common(&mut bytes, entry);
        put16(&mut bytes, if far { 12 } else { 0 });
        put16(&mut bytes, 0);
        put16(&mut bytes, 0);
        put16(&mut bytes, 0);
        put32(&mut bytes, MODE);
        put32(&mut bytes, if far { NONE_32 } else { entry.offset as u32 });
        bytes.extend_from_slice(entry.name.as_bytes());
        if far {
            put16(&mut bytes, 1);
            put16(&mut bytes, 8);
            put64(&mut bytes, entry.offset);
        }
    }
    let length = bytes.len() as u64;
    let count = entries.len() as u64;
    end_64(&mut bytes, count, length, offset);
    put32(&mut bytes, END);
    put32(&mut bytes, 0);
    let few = u16::try_from(count).unwrap_or(u16::MAX);
    put16(&mut bytes, few);
    put16(&mut bytes, few);
    put32(&mut bytes, u32::try_from(length).unwrap_or(NONE_32));
    put32(&mut bytes, u32::try_from(offset).unwrap_or(NONE_32));
    put16(&mut bytes, 0);
    bytes
}

/// Always there, so that there is one form only; programs that do not know it read the plain end behind it.
fn end_64(bytes: &mut Vec<u8>, count: u64, length: u64, offset: u64) {
    put32(bytes, END_64);
    put64(bytes, 44);
    put16(bytes, MADE_BY);
    put16(bytes, NEEDS);
    put32(bytes, 0);
    put32(bytes, 0);
    put64(bytes, count);
    put64(bytes, count);
    put64(bytes, length);
    put64(bytes, offset);
    put32(bytes, LOCATOR_64);
    put32(bytes, 0);
    put64(bytes, offset + length);
    put32(bytes, 1);
}

fn put16(bytes: &mut Vec<u8>, value: u16) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn put32(bytes: &mut Vec<u8>, value: u32) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn put64(bytes: &mut Vec<u8>, value: u64) {
    bytes.extend_from_slice(&value.to_le_bytes());
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// CRC-32 as ZIP wants it. It guards against accidents only; SHA-256 guards against people.
pub fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 {
                    0xedb8_8320 ^ (value >> 1)
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| {
        TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8)
    })
}

/// A container that is being read.
#[derive(Debug)]
pub struct Container<R> {
    source: R,
    entries: Vec<Entry>,
    problems: Vec<String>,
}

impl<R: Read + Seek> Container<R> {
    /// Finds the files. `Ok` with problems where the container is damaged but files can still be found in it.
    pub fn open(mut source: R) -> io::Result<Self> {
        let length = source.seek(SeekFrom::End(0))?;
        let (forward, end) = scan(&mut source, length)?;
        let tail = read_at(
            &mut source,
            end,
            usize::try_from(length - end).unwrap_or(usize::MAX),
        )?;
        let mut problems = Vec::new();
        let entries = if tail == directory(&forward, end) && !forward.is_empty() {
            forward
        } else {
            // Damaged: the directory at the end may know files that walking from the front did not reach.
            match by_directory(&mut source, length)? {
                Some(found) if found.len() >= forward.len() => {
                    problems.push(
                        "its table of contents and the files before it do not agree".to_owned(),
                    );
                    found
                }
                _ if forward.is_empty() => {
                    return Err(io::Error::other(
                        "this is no export: it is no ZIP file, or it was damaged beyond reading",
                    ));
                }
                _ => {
                    problems.push(
                        "its table of contents was changed, or the file was cut short".to_owned(),
                    );
                    forward
                }
            }
        };
        let mut this = Self {
            source,
            entries,
            problems,
        };
        this.check_headers()?;
        Ok(this)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is wrong with the container itself.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The whole file, read in pieces of at most 1 MiB.
    pub fn read(&mut self, entry: &Entry, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(
            entry.offset + (LOCAL_LEN + entry.name.len()) as u64,
        ))?;
        let mut left = entry.bytes as usize;
        let mut piece = vec![0; left.min(1024 * 1024)];
        while left > 0 {
            let part = &mut piece[..left.min(1024 * 1024)];
            self.source.read_exact(part)?;
            take(part);
            left -= part.len();
        }
        Ok(())
    }

    fn check_headers(&mut self) -> io::Result<()> {
        let mut names = HashSet::new();
        for entry in &self.entries {
            let expected = local_header(entry);
            let found = read_at(&mut self.source, entry.offset, expected.len())?;
            if found != expected {
                self.problems.push(format!(
                    "what stands before {} is not as it was written",
                    entry.name
                ));
            }
            if !names.insert(&entry.name) {
                self.problems
                    .push(format!("{} stands in it twice", entry.name));
            }
        }
        Ok(())
    }
}

fn read_at(source: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.seek(SeekFrom::Start(at))?;
    source.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Walks from file to file; answers where it could not go on.
fn scan(source: &mut (impl Read + Seek), length: u64) -> io::Result<(Vec<Entry>, u64)> {
    let (mut entries, mut at) = (Vec::new(), 0);
    loop {
        let header = read_at(source, at, LOCAL_LEN)?;
        if header.len() < LOCAL_LEN || u32_at(&header, 0) != LOCAL {
            return Ok((entries, at));
        }
        let name_len = usize::from(u16_at(&header, 26));
        let entry = Entry {
            name: name_at(source, at + LOCAL_LEN as u64, name_len)?,
            bytes: u32_at(&header, 18),
            crc: u32_at(&header, 14),
            offset: at,
        };
        let next = at + (LOCAL_LEN + name_len) as u64 + u64::from(entry.bytes);
        if next > length || entry.name.len() != name_len {
            return Ok((entries, at));
        }
        entries.push(entry);
        at = next;
    }
}

fn name_at(source: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<String> {
    let bytes = read_at(source, at, length.min(MAX_NAME))?;
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// Reads the table of contents at the end, as other programs do.
fn by_directory(source: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Vec<Entry>>> {
    let Some(end_at) = length.checked_sub(END_LEN as u64) else {
        return Ok(None);
    };
    let end = read_at(source, end_at, END_LEN)?;
    if u32_at(&end, 0) != END {
        return Ok(None);
    }
    let mut at = u64::from(u32_at(&end, 16));
    let mut entries = Vec::new();
    while at < end_at {
        let header = read_at(source, at, CENTRAL_LEN)?;
        if header.len() < CENTRAL_LEN || u32_at(&header, 0) != CENTRAL {
            break;
        }
        let name_len = usize::from(u16_at(&header, 28));
        let entry = Entry {
            name: name_at(source, at + CENTRAL_LEN as u64, name_len)?,
            bytes: u32_at(&header, 20),
            crc: u32_at(&header, 16),
            offset: u64::from(u32_at(&header, 42)),
        };
        at += (CENTRAL_LEN
            + name_len
            + usize::from(u16_at(&header, 30))
            + usize::from(u16_at(&header, 32))) as u64;
        let fits = entry.offset + (LOCAL_LEN + name_len) as u64 + u64::from(entry.bytes) <= length;
        if entry.name.len() == name_len && fits {
            entries.push(entry);
        }
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Cursor;

    const FILES: [(&str, &[u8]); 3] = [
        ("index.html", b"<p>"),
        ("写真/門.jpg", b"\xff\xd8 picture"),
        ("empty", b""),
    ];

    fn sample() -> Vec<u8> {
        let (mut writer, mut bytes) = (Writer::default(), Vec::new());
        for (name, content) in FILES {
            bytes.extend(writer.file(name, content).unwrap());
            bytes.extend_from_slice(content);
        }
        bytes.extend(writer.finish());
        bytes
    }

    /// Names and contents; and what is wrong.
    type Contents = (Vec<(String, Vec<u8>)>, Vec<String>);

    fn contents(bytes: Vec<u8>) -> io::Result<Contents> {
        let mut container = Container::open(Cursor::new(bytes))?;
        let mut problems = container.problems().to_vec();
        let mut files = Vec::new();
        for entry in container.entries().to_vec() {
            let mut content = Vec::new();
            container.read(&entry, |piece| content.extend_from_slice(piece))?;
            if crc32(&content) != entry.crc {
                problems.push(format!("{}: checksum", entry.name));
            }
            files.push((entry.name, content));
        }
        Ok((files, problems))
    }

    #[test]
    fn what_is_written_reads_back_without_a_problem() {
        let (files, problems) = contents(sample()).unwrap();
        assert_eq!(problems, [""; 0]);
        let expected = FILES.map(|(name, content)| (name.to_owned(), content.to_vec()));
        assert_eq!(files, expected);
    }

    #[test]
    fn every_changed_byte_and_every_cut_of_the_container_is_seen() {
        let (good, _) = contents(sample()).unwrap();
        let bytes = sample();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let seen = contents(changed).map_or(true, |(files, problems)| {
                files != good || !problems.is_empty()
            });
            assert!(seen, "byte {index}");
            let seen = contents(bytes[..index].to_vec())
                .map_or(true, |(_, problems)| !problems.is_empty());
            assert!(seen, "cut to {index}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(contents(longer).map_or(true, |(_, problems)| !problems.is_empty()));
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
