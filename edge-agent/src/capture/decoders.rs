//! The pool of decoders: a camera borrows one while somebody wants its pictures. Cameras that are only glanced at
//! share one, because each costs about 22 MB for 1080p.

use super::error::CaptureError;
use super::gop::{AccessUnit, Codec};
use super::gst::decode::{Decoder, Deliver, Feed};
use std::sync::{Arc, Mutex, MutexGuard};
use wire::CameraId;

/// Decoders kept for the next borrower; more than these are taken apart when they come back.
const MOST_IDLE: usize = 4;

#[derive(Debug, Default)]
pub struct Decoders {
    idle: Mutex<Vec<Decoder>>,
}

/// A borrowed decoder. Dropping gives it back.
#[derive(Debug)]
pub(super) struct Lent {
    decoder: Option<Decoder>,
    pool: Arc<Decoders>,
}

impl Decoders {
    pub fn new() -> Self {
        Self::default()
    }

    /// Decoders that wait for a borrower.
    pub fn idle(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn lend(
        self: &Arc<Self>,
        codec: Codec,
        feed: Feed,
        camera: CameraId,
        deliver: Deliver,
    ) -> Result<Lent, CaptureError> {
        let decoder = match self.take(codec, feed) {
            Some(decoder) => decoder,
            None => Decoder::new(codec, feed)?,
        };
        decoder.lend_to(camera, deliver)?;
        Ok(Lent {
            decoder: Some(decoder),
            pool: Arc::clone(self),
        })
    }

    fn take(&self, codec: Codec, feed: Feed) -> Option<Decoder> {
        let mut idle = self.lock();
        let index = idle
            .iter()
            .position(|decoder| (decoder.codec, decoder.feed) == (codec, feed))?;
        Some(idle.swap_remove(index))
    }

    fn give_back(&self, decoder: Decoder) {
        decoder.take_back();
        let mut idle = self.lock();
        if idle.len() < MOST_IDLE {
            idle.push(decoder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Decoder>> {
        self.idle
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

    pub(super) fn codec(&self) -> Codec {
        self.decoder().codec
    }

    /// Takes it apart instead of giving it back: it may be in any state.
    pub(super) fn discard(mut self) {
        drop(self.decoder.take());
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
