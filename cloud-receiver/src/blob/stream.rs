//! The sealed form of a blob: a header, then chunks, each sealed by itself.
//!
//! ```text
//! "caasblb1"                8 bytes
//! salt                     32   random; the stream's key is derived from it, the contract's key and the name
//! chunks x { length 4 (top bit: last), ciphertext, tag 16 }
//! ```
//!
//! The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar: "Online Authenticated-Encryption and its
//! Nonce-Reuse Misuse-Resistance", CRYPTO 2015): the nonce of a chunk is its number and whether it is the last,
//! so that chunks cannot be reordered, left out, doubled or cut off at the end unnoticed. Chunks may be shorter
//! than [`CHUNK`]: an upload that is cut is kept to the byte.

use crate::seal::{Name, SealError, SecretKey, random};
use ring::aead::{Aad, LessSafeKey, Nonce};
use std::io::{self, Read};

pub(crate) const CHUNK: usize = 64 * 1024;
const MAGIC: &[u8; 8] = b"caasblb1";
const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;
const LENGTH_LEN: usize = 4;
const LAST: u32 = 1 << 31;

/// Seals the chunks of one stream in order.
pub(crate) struct Sealer {
    key: LessSafeKey,
    number: u32,
}

impl Sealer {
    /// Begins a new stream; also returns its header.
    pub(crate) fn begin(key: &SecretKey, name: &Name) -> (Self, Vec<u8>) {
        let salt: [u8; SALT_LEN] = random();
        let sealer = Self {
            key: key.stream_key(name, &salt),
            number: 0,
        };
        (sealer, [&MAGIC[..], &salt].concat())
    }

    pub(crate) fn seal(&mut self, plain: &[u8], last: bool) -> Vec<u8> {
        let length = u32::try_from(plain.len()).expect("chunks have 64 KiB at most");
        let mut sealed = (if last { length | LAST } else { length })
            .to_be_bytes()
            .to_vec();
        sealed.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                nonce(self.number, last),
                Aad::empty(),
                &mut sealed[LENGTH_LEN..],
            )
            .expect("a chunk is far below the limit of GCM");
        sealed.extend_from_slice(tag.as_ref());
        self.number += 1;
        sealed
    }
}

/// What could be read of a stream that may have been cut.
pub(super) struct Found {
    pub(super) sealer: Sealer,
    /// How many sealed bytes are good; what follows is torn.
    pub(super) good_bytes: u64,
    pub(super) ended: bool,
}

/// Opens as many chunks as are whole and genuine, giving each to `take`; one is in memory at a time. `None`: these
/// bytes do not begin a stream.
pub(super) fn open_each(
    key: &SecretKey,
    name: &Name,
    sealed: &mut impl Read,
    mut take: impl FnMut(&[u8]),
) -> io::Result<Option<Found>> {
    let mut header = [0; MAGIC.len() + SALT_LEN];
    if !fill(sealed, &mut header)? || !header.starts_with(MAGIC) {
        return Ok(None);
    }
    let mut found = Found {
        sealer: Sealer {
            key: key.stream_key(name, &header[MAGIC.len()..]),
            number: 0,
        },
        good_bytes: header.len() as u64,
        ended: false,
    };
    let mut chunk = Vec::new();
    while !found.ended
        && let Some(last) = next_chunk(sealed, &mut chunk)?
    {
        let sealed_len = chunk.len();
        let number = nonce(found.sealer.number, last);
        let opened = found
            .sealer
            .key
            .open_in_place(number, Aad::empty(), &mut chunk);
        let Ok(plain) = opened else { break };
        take(plain);
        found.sealer.number += 1;
        found.good_bytes += (LENGTH_LEN + sealed_len) as u64;
        found.ended = last;
    }
    Ok(Some(found))
}

/// Opens the chunks of a stream in order, for whoever reads it to its end.
pub(crate) struct Opener<R> {
    sealed: R,
    key: LessSafeKey,
    number: u32,
    ended: bool,
    chunk: Vec<u8>,
}

impl<R: Read> Opener<R> {
    pub(crate) fn begin(key: &SecretKey, name: &Name, mut sealed: R) -> io::Result<Self> {
        let mut header = [0; MAGIC.len() + SALT_LEN];
        if !fill(&mut sealed, &mut header)? || !header.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, SealError));
        }
        Ok(Self {
            sealed,
            key: key.stream_key(name, &header[MAGIC.len()..]),
            number: 0,
            ended: false,
            chunk: Vec::new(),
        })
    }

    /// The next chunk; `None` behind the last. Anything but the whole stream, and nothing behind it, is an error.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, SealError);
        if self.ended {
            return match self.sealed.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(damaged()),
            };
        }
        let last = next_chunk(&mut self.sealed, &mut self.chunk)?.ok_or_else(damaged)?;
        let number = nonce(self.number, last);
        let opened = self
            .key
            .open_in_place(number, Aad::empty(), &mut self.chunk);
        let plain = opened.map_err(|_| damaged())?;
        self.number += 1;
        self.ended = last;
        Ok(Some(plain))
    }
}

/// Opens a whole stream.
pub(super) fn open(key: &SecretKey, name: &Name, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut plain = Vec::with_capacity(sealed.len());
    let take = |chunk: &[u8]| plain.extend_from_slice(chunk);
    match open_each(key, name, &mut &sealed[..], take) {
        Ok(Some(found)) if found.ended && found.good_bytes == sealed.len() as u64 => Ok(plain),
        _ => Err(SealError),
    }
}

/// Reads the next chunk; answers whether it says that it is the last. `None` where no whole one follows.
fn next_chunk(sealed: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let mut length = [0; LENGTH_LEN];
    if !fill(sealed, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes(length);
    let plain_len = (length & !LAST) as usize;
    if plain_len > CHUNK {
        return Ok(None);
    }
    chunk.resize(plain_len + TAG_LEN, 0);
    Ok(fill(sealed, chunk)?.then_some(length & LAST != 0))
}

/// `false`: it ended before.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

fn nonce(number: u32, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[7..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}
