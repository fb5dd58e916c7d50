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

pub(super) const CHUNK: usize = 64 * 1024;
const MAGIC: &[u8; 8] = b"caasblb1";
const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;
const LENGTH_LEN: usize = 4;
const LAST: u32 = 1 << 31;

/// Seals the chunks of one stream in order.
pub(super) struct Sealer {
    key: LessSafeKey,
    number: u32,
}

impl Sealer {
    /// Begins a new stream; also returns its header.
    pub(super) fn begin(key: &SecretKey, name: &Name) -> (Self, Vec<u8>) {
        let salt: [u8; SALT_LEN] = random();
        let sealer = Self {
            key: key.stream_key(name, &salt),
            number: 0,
        };
        (sealer, [&MAGIC[..], &salt].concat())
    }

    pub(super) fn seal(&mut self, plain: &[u8], last: bool) -> Vec<u8> {
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
    pub(super) good_bytes: usize,
    pub(super) ended: bool,
}

/// Opens as many chunks as are whole and genuine, giving each to `take`.
pub(super) fn open_each(
    key: &SecretKey,
    name: &Name,
    sealed: &[u8],
    mut take: impl FnMut(&[u8]),
) -> Option<Found> {
    let body = sealed.strip_prefix(MAGIC)?;
    let (salt, mut rest) = body.split_at_checked(SALT_LEN)?;
    let mut sealer = Sealer {
        key: key.stream_key(name, salt),
        number: 0,
    };
    let mut ended = false;
    while !ended && let Some((chunk, last, after)) = next_chunk(rest) {
        let mut chunk = chunk.to_vec();
        let opened = sealer
            .key
            .open_in_place(nonce(sealer.number, last), Aad::empty(), &mut chunk);
        let Ok(plain) = opened else { break };
        take(plain);
        sealer.number += 1;
        rest = after;
        ended = last;
    }
    let good_bytes = sealed.len() - rest.len();
    Some(Found {
        sealer,
        good_bytes,
        ended,
    })
}

/// Opens a whole stream.
pub(super) fn open(key: &SecretKey, name: &Name, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut plain = Vec::with_capacity(sealed.len());
    let found = open_each(key, name, sealed, |chunk| plain.extend_from_slice(chunk));
    match found {
        Some(found) if found.ended && found.good_bytes == sealed.len() => Ok(plain),
        _ => Err(SealError),
    }
}

fn next_chunk(rest: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let (length, rest) = rest.split_first_chunk::<LENGTH_LEN>()?;
    let length = u32::from_be_bytes(*length);
    let last = length & LAST != 0;
    let (chunk, after) = rest.split_at_checked((length & !LAST) as usize + TAG_LEN)?;
    Some((chunk, last, after))
}

fn nonce(number: u32, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[7..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}
