//! Reads SQLite's write-ahead log as a file, beside SQLite (format: sqlite.org/fileformat2.html, "The Write-Ahead
//! Log").
//!
//! SQLite takes the first frame whose checksum is wrong for the end of the log. After a power cut that is right: the
//! last transaction was being written. But a byte that flips in the middle makes every commit after it vanish
//! without a word. So this looks beyond: two commits behind a bad frame cannot be a torn tail, because each commit
//! was fsynced before the next began. One alone cannot be told from a torn tail and counts as one.
//!
//! Each frame carries a checksum that goes on from the one before; starting from the stored one, every frame can be
//! judged by itself, so all but the bad ones can be put to use.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// What the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None there, or whole up to a last transaction that was never finished.
    Sound,
    /// Commits lie behind frames that cannot be read.
    Damaged { lost_commits: u64 },
}

struct Header {
    page_bytes: usize,
    salts: [u8; 8],
    big_endian: bool,
    checksum: (u32, u32),
    is_valid: bool,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let magic = word(0);
        let page_bytes = word(8) as usize;
        let plausible = page_bytes.is_power_of_two() && (512..=65_536).contains(&page_bytes);
        let big_endian = magic & 1 == 1;
        let checksum = checksum((0, 0), &bytes[..24], big_endian);
        let stored = (word(24), word(28));
        let is_valid = magic & !1 == 0x377f_0682 && plausible && checksum == stored;
        // Never written, or written over by nothing: no log.
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&bytes[16..24]);
        Some(Self {
            page_bytes: if plausible { page_bytes } else { 4096 },
            salts,
            big_endian,
            checksum: stored,
            is_valid,
        })
    }
}

/// A frame of the log's present generation.
struct Frame<'a> {
    page: u32,
    /// Pages of the database after this commit; zero: not the last frame of one.
    commit_pages: u32,
    /// It is what was written, going by the stored checksum of the frame before.
    is_sound: bool,
    /// Something that is no frame of this log stands before it.
    after_foreign: bool,
    content: &'a [u8],
}

/// Calls `each` for every frame, oldest first.
fn for_each_frame(path: &Path, mut each: impl FnMut(&Frame<'_>)) -> io::Result<Option<Header>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut log = BufReader::with_capacity(256 * 1024, file);
    let mut bytes = [0; HEADER_BYTES];
    if !read_whole(&mut log, &mut bytes)? {
        return Ok(None);
    }
    let Some(header) = Header::parse(&bytes) else {
        return Ok(None);
    };
    let mut before = header.checksum;
    let mut salts = header.is_valid.then_some(header.salts);
    let mut after_foreign = false;
    let mut frame = vec![0; FRAME_HEADER_BYTES + header.page_bytes];
    while read_whole(&mut log, &mut frame)? {
        let word = |at: usize| {
            u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
        };
        let mut own_salts = [0; 8];
        own_salts.copy_from_slice(&frame[8..16]);
        // Under a header that cannot be read, the first frame says which generation this is.
        let of_this_log = own_salts == *salts.get_or_insert(own_salts);
        let head = checksum(before, &frame[..8], header.big_endian);
        let whole = checksum(head, &frame[FRAME_HEADER_BYTES..], header.big_endian);
        before = (word(16), word(20));
        if !of_this_log {
            after_foreign = true;
            continue;
        }
        each(&Frame {
            page: word(0),
            commit_pages: word(4),
            is_sound: whole == before,
            after_foreign: std::mem::take(&mut after_foreign),
            content: &frame[FRAME_HEADER_BYTES..],
        });
    }
    Ok(Some(header))
}

/// Whether SQLite would silently leave out commits that were promised.
pub(super) fn inspect(path: &Path) -> io::Result<Verdict> {
    let (mut broken, mut commits_behind, mut frames_after_commit) = (false, 0, false);
    let mut commits = 0;
    let header = for_each_frame(path, |frame| {
        commits += u64::from(frame.commit_pages != 0);
        broken |= !frame.is_sound || frame.after_foreign;
        if broken {
            frames_after_commit |= commits_behind > 0;
            commits_behind += u64::from(frame.commit_pages != 0);
        }
    })?;
    let Some(header) = header else {
        return Ok(Verdict::Sound);
    };
    // A header is one sector, written and fsynced before its frames: it does not tear.
    let lost_commits = match header.is_valid {
        true if frames_after_commit || commits_behind > 1 => commits_behind,
        true => 0,
        false => commits,
    };
    Ok(match lost_commits {
        0 => Verdict::Sound,
        lost_commits => Verdict::Damaged { lost_commits },
    })
}

/// Writes into a copy of the database what the log holds and can be read, up to its last commit.
pub(super) fn apply(log: &Path, database: &Path) -> io::Result<()> {
    let (mut frames, mut until) = (0u64, 0);
    for_each_frame(log, |frame| {
        frames += 1;
        if frame.commit_pages != 0 {
            until = frames;
        }
    })?;
    let mut target = File::options().write(true).open(database)?;
    let (mut number, mut failed) = (0u64, None);
    for_each_frame(log, |frame| {
        number += 1;
        if number > until || !frame.is_sound || frame.page == 0 || failed.is_some() {
            return;
        }
        let at = u64::from(frame.page - 1) * frame.content.len() as u64;
        let written = target
            .seek(SeekFrom::Start(at))
            .and_then(|_| target.write_all(frame.content));
        failed = written.err();
    })?;
    failed.map_or(Ok(()), Err)
}

fn read_whole(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The log's running checksum, over words in the order the header's magic number names.
fn checksum((mut s0, mut s1): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let word = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            if big_endian {
                u32::from_be_bytes(word)
            } else {
                u32::from_le_bytes(word)
            }
        };
        s0 = s0.wrapping_add(word(0)).wrapping_add(s1);
        s1 = s1.wrapping_add(word(4)).wrapping_add(s0);
    }
    (s0, s1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    /// A log of so many commits of one row each, as a crash would leave it, and a copy of its database.
    fn log(commits: u32) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().expect("temp dir");
        let connection = Connection::open(dir.path().join("live.db")).expect("opens");
        connection
            .query_row("pragma journal_mode = wal", (), |_| Ok(()))
            .expect("WAL");
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .expect("set");
        connection
            .execute_batch("create table t (id integer primary key, x text)")
            .expect("creates");
        for _ in 0..commits {
            connection
                .execute("insert into t (x) values (hex(randomblob(3000)))", ())
                .expect("inserts");
        }
        let bytes = std::fs::read(dir.path().join("live.db-wal")).expect("read");
        std::fs::copy(dir.path().join("live.db"), dir.path().join("db")).expect("copied");
        (dir, bytes)
    }

    fn verdict(dir: &tempfile::TempDir, bytes: &[u8]) -> Verdict {
        std::fs::write(dir.path().join("wal"), bytes).expect("written");
        inspect(&dir.path().join("wal")).expect("read")
    }

    #[test]
    fn a_whole_log_and_one_cut_off_anywhere_are_sound() {
        let (dir, bytes) = log(6);
        assert_eq!(verdict(&dir, &bytes), Verdict::Sound);
        for cut in [0, 10, 32, 40, 4200, bytes.len() / 2, bytes.len() - 1] {
            assert_eq!(verdict(&dir, &bytes[..cut]), Verdict::Sound, "cut at {cut}");
        }
        let mut torn = bytes.clone();
        let tail = torn.len() - 2000;
        torn[tail..].fill(0);
        assert_eq!(verdict(&dir, &torn), Verdict::Sound, "a torn tail");
        assert_eq!(verdict(&dir, &[0; 9000]), Verdict::Sound, "never written");
        let missing = inspect(&dir.path().join("none")).expect("read");
        assert_eq!(missing, Verdict::Sound);
    }

    #[test]
    fn a_byte_that_flips_before_later_commits_is_noticed_wherever_it_is() {
        let (dir, bytes) = log(6);
        for at in [0, 9, 17, 25, 33, 45, 50, 100, 4000, bytes.len() / 2] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            assert!(
                matches!(verdict(&dir, &flipped), Verdict::Damaged { .. }),
                "byte {at}"
            );
        }
    }

    #[test]
    fn all_but_the_damaged_frame_is_put_to_use() {
        let (dir, mut bytes) = log(6);
        // In the content of a frame in the middle: its page is written again by no later commit.
        let frame = FRAME_HEADER_BYTES + 4096;
        let frames = (bytes.len() - HEADER_BYTES) / frame;
        bytes[HEADER_BYTES + frames / 2 * frame + 2000] ^= 1;
        assert!(matches!(verdict(&dir, &bytes), Verdict::Damaged { .. }));
        apply(&dir.path().join("wal"), &dir.path().join("db")).expect("applied");
        let uri = format!("file:{}?immutable=1", dir.path().join("db").display());
        let copy = Connection::open(uri).expect("opens");
        let found = (1..=6).filter(|id| {
            let row = copy.query_row("select x from t where id = ?1", [id], |row| {
                row.get::<_, String>(0)
            });
            row.is_ok_and(|x| x.len() == 6000)
        });
        assert!(found.count() >= 4);
    }
}
