//! The pool of decoders: a camera borrows one while its pictures are wanted. Cameras in which nothing moves share a
//! few, key frame by key frame, because each costs about 22 MB for 1080p; who finds none waits, and is called.

use super::error::CaptureError;
use super::gop::{AccessUnit, Codec};
use super::gst::decode::{Decoder, Deliver, Feed};
use super::intake::Intake;
use super::turns::Turns;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use wire::CameraId;

/// Decoders of single key frames lent at once: a few cores' worth, and their memory.
const MOST_STILLS: usize = 2;
/// One does for many cameras; so many have to wait for it before there is another.
const CROWD: usize = 3;
/// Decoders kept for the next borrower; more than these are taken apart when they come back.
const MOST_IDLE: usize = 4;
/// Nobody wanted it for so long: it is taken apart.
const IDLE_AT_MOST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Decoders {
    pool: Mutex<Pool>,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<(Decoder, Instant)>,
    stills_lent: usize,
    /// Those that found no decoder for a key frame, in the order in which they came.
    waiting: VecDeque<Weak<Intake>>,
}

/// A borrowed decoder. Dropping gives it back.
#[derive(Debug)]
pub(super) struct Lent {
    decoder: Option<Decoder>,
    pool: Arc<Decoders>,
}

impl Default for Decoders {
    fn default() -> Self {
        Self::for_cores(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Decoders {
    pub fn new() -> Self {
        Self::default()
    }

    /// For a machine, or a share of one, with so many cores.
    pub fn for_cores(cores: usize) -> Self {
        Self {
            pool: Mutex::default(),
            turns: Mutex::new(Turns::new(cores)),
        }
    }

    /// Decoders that wait for a borrower.
    pub fn idle(&self) -> usize {
        self.lock().idle.len()
    }

    /// Cameras that may decode everything at once, as found so far.
    pub fn at_once(&self) -> usize {
        self.turns().most()
    }

    /// Who may decode everything.
    pub(super) fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns
            .lock()
            .expect("turns are only counted under the lock")
    }

    /// One for every picture of a camera.
    pub(super) fn lend_stream(
        self: &Arc<Self>,
        codec: Codec,
        camera: CameraId,
        deliver: Deliver,
    ) -> Result<Lent, CaptureError> {
        self.lend(codec, Feed::Stream, camera, deliver)
    }

    /// One for a single key frame. `None` when all are lent: `intake` is called when one comes back.
    pub(super) fn lend_still(
        self: &Arc<Self>,
        codec: Codec,
        camera: CameraId,
        deliver: Deliver,
        intake: &Arc<Intake>,
    ) -> Result<Option<Lent>, CaptureError> {
        {
            let mut pool = self.lock();
            let crowd = if pool.waiting.len() < CROWD {
                1
            } else {
                MOST_STILLS
            };
            if pool.stills_lent >= crowd {
                let caller = Arc::downgrade(intake);
                if !pool.waiting.iter().any(|other| other.ptr_eq(&caller)) {
                    pool.waiting.push_back(caller);
                }
                return Ok(None);
            }
            pool.stills_lent += 1;
        }
        match self.lend(codec, Feed::Stills, camera, deliver) {
            Ok(lent) => Ok(Some(lent)),
            Err(error) => {
                self.still_is_back();
                Err(error)
            }
        }
    }

    fn lend(
        self: &Arc<Self>,
        codec: Codec,
        feed: Feed,
        camera: CameraId,
        deliver: Deliver,
    ) -> Result<Lent, CaptureError> {
        let decoder = match self.take(codec, feed, camera) {
            Some(decoder) => decoder,
            None => Decoder::new(codec, feed, camera)?,
        };
        decoder.lend_to(camera, deliver)?;
        Ok(Lent {
            decoder: Some(decoder),
            pool: Arc::clone(self),
        })
    }

    /// Takes those apart that nobody wanted for long; called by cameras now and then.
    pub(super) fn tidy(&self) {
        let is_old = |(_, since): &mut (Decoder, Instant)| since.elapsed() > IDLE_AT_MOST;
        let old: Vec<_> = self.lock().idle.extract_if(.., is_old).collect();
        // Outside of the lock: it takes milliseconds.
        drop(old);
    }

    fn take(&self, codec: Codec, feed: Feed, camera: CameraId) -> Option<Decoder> {
        let idle = &mut self.lock().idle;
        // The one used last: the others may grow old.
        let index = idle.iter().rposition(|(decoder, _)| {
            (decoder.codec, decoder.feed) == (codec, feed) && decoder.serves(camera)
        })?;
        Some(idle.remove(index).0)
    }

    fn give_back(&self, decoder: Decoder) {
        let was_still = decoder.feed == Feed::Stills;
        decoder.take_back();
        let mut pool = self.lock();
        if pool.idle.len() < MOST_IDLE {
            pool.idle.push((decoder, Instant::now()));
        }
        drop(pool);
        if was_still {
            self.still_is_back();
        }
    }

    fn still_is_back(&self) {
        let mut pool = self.lock();
        pool.stills_lent -= 1;
        let next = loop {
            match pool.waiting.pop_front() {
                Some(waiting) => {
                    if let Some(intake) = waiting.upgrade() {
                        break Some(intake);
                    }
                }
                None => break None,
            }
        };
        drop(pool);
        if let Some(intake) = next {
            intake.ring_bell();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool
            .lock()
            .expect("the list is only pushed to and taken from")
    }
}

impl Lent {
    pub(super) fn push(&self, unit: &AccessUnit) {
        self.decoder().push(unit);
    }

    pub(super) fn has_room(&self) -> bool {
        self.decoder().has_room()
    }

    /// Pictures went in and nothing came out of it for too long.
    pub(super) fn was_silent(&self, problem: &str) {
        self.decoder().was_silent(problem);
    }

    pub(super) fn codec(&self) -> Codec {
        self.decoder().codec
    }

    /// Takes it apart instead of giving it back: it may be in any state.
    pub(super) fn discard(mut self) {
        if let Some(decoder) = self.decoder.take() {
            let was_still = decoder.feed == Feed::Stills;
            drop(decoder);
            if was_still {
                self.pool.still_is_back();
            }
        }
    }

    fn decoder(&self) -> &Decoder {
        self.decoder
            .as_ref()
            .expect("only `discard` and `drop` take it, and both end the loan")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.pool.give_back(decoder);
        }
    }
}
