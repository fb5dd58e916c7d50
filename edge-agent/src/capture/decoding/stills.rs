//! Key frames one by one, through decoders that all cameras share: for looking now and then, and for what a camera saw
//! when it still did.

use super::{Decoding, cannot_decode};
use crate::capture::decoders::Lent;
use crate::capture::error::Failure;
use crate::capture::eyes::Eyes;
use crate::capture::gop::AccessUnit;
use crate::capture::gst::decode::Deliver;
use crate::capture::lookout::SightNews;
use crate::frame::Frame;
use crate::sight::SightChange;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A decoder borrowed for one key frame.
pub(super) struct Still {
    pub(super) lent: Lent,
    out: Arc<AtomicBool>,
}

/// A change of sight that waits for a decoder.
pub(super) struct Untold {
    change: SightChange,
    after: Frame,
    good: AccessUnit,
}

impl Decoding {
    /// A key frame by itself, as soon as a decoder is free.
    pub(super) fn decode_still(&mut self) -> Result<(), Failure> {
        if self.stream.is_some() || self.still.is_some() {
            return Ok(());
        }
        let Some(key) = self.next_still.take() else {
            return Ok(());
        };
        let out = Arc::new(AtomicBool::new(false));
        let deliver = self.deliver(Arc::clone(&out), Eyes::look_at_still);
        let Some(lent) = self.lend_still(&key, deliver)? else {
            self.next_still = Some(key);
            return Ok(());
        };
        self.eyes.expect_key(key.taken_at());
        self.silence.fed(self.board.frames_decoded());
        lent.push(&key);
        self.still = Some(Still { lent, out });
        Ok(())
    }

    pub(super) fn tell_sight(&mut self, change: SightChange, after: Frame) {
        let is_lost = matches!(change, SightChange::Lost(_));
        match self.good.clone().filter(|_| is_lost) {
            Some(good) => {
                self.untold = Some(Untold {
                    change,
                    after,
                    good,
                });
            }
            None => self.lookout.tell_sight(SightNews {
                change,
                before: None,
                after,
            }),
        }
    }

    /// What the camera saw when it still did.
    pub(super) fn decode_before(&mut self) -> Result<(), Failure> {
        if self.before.is_some() {
            return Ok(());
        }
        let Some(untold) = self.untold.take() else {
            return Ok(());
        };
        let out = Arc::new(AtomicBool::new(false));
        let (lookout, intake, done) = (
            Arc::clone(&self.lookout),
            Arc::clone(&self.intake),
            Arc::clone(&out),
        );
        let mut news = Some((untold.change, untold.after.clone()));
        let deliver: Deliver = Box::new(move |result| {
            if let Some((change, after)) = news.take() {
                lookout.tell_sight(SightNews {
                    change,
                    before: result.ok(),
                    after,
                });
            }
            done.store(true, Ordering::Release);
            intake.ring_bell();
        });
        let Some(lent) = self.lend_still(&untold.good, deliver)? else {
            self.untold = Some(untold);
            return Ok(());
        };
        lent.push(&untold.good);
        self.before = Some(Still { lent, out });
        Ok(())
    }

    pub(super) fn return_used(&mut self) {
        for still in [&mut self.still, &mut self.before] {
            still.take_if(|still| still.out.load(Ordering::Acquire));
        }
    }

    fn lend_still(&self, key: &AccessUnit, deliver: Deliver) -> Result<Option<Lent>, Failure> {
        self.deps
            .decoders
            .lend_still(key.format.codec, self.camera, deliver, &self.intake)
            .map_err(cannot_decode)
    }
}
