//! What a camera says about itself: for `status`, the heartbeat and the records of its changes.

use super::error::{Failure, Reason};
use super::gate::GateReport;
use super::gop::{Codec, StreamFormat};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use wire::{CameraId, RecordTime, UtcMicros};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraState {
    /// Not seen running yet.
    Starting,
    /// Data comes.
    Running,
    /// It failed and is tried again.
    Retrying,
}

impl CameraState {
    /// The word used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Retrying => "retrying",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraStatus {
    pub camera: CameraId,
    pub name: String,
    pub state: CameraState,
    /// Why it is not running.
    pub reason: Option<Reason>,
    /// Since when it has been in this state.
    pub since_us: UtcMicros,
    /// Of the encoded stream, in pixels.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub codec: Option<Codec>,
    /// Encoded frames received, since the agent started.
    pub frames_in: u64,
    pub frames_decoded: u64,
    /// Frames that were asked for and not decoded: too late, or without the key frame they need.
    pub frames_skipped: u64,
    pub fps_in: f32,
    pub fps_decoded: f32,
    /// Attempts after the first.
    pub reconnects: u64,
    pub ring_bytes: u64,
    /// What decides which frames are decoded.
    pub gate: GateReport,
    /// Frames decoded from memory: what led up to a movement.
    pub frames_caught_up: u64,
    /// Groups of pictures that were to be decoded whole, and those that were: fewer when too many cameras show something.
    pub turns_asked: u64,
    pub turns_given: u64,
    /// A sentence without credentials; stays after the camera came back.
    pub last_error: Option<String>,
}

/// A camera came, went, or shows another kind of stream.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraChange {
    pub camera: CameraId,
    pub name: String,
    pub at: RecordTime,
    pub state: CameraState,
    pub reason: Option<Reason>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub codec: Option<Codec>,
}

/// One camera's status, written by its threads and read by anybody.
#[derive(Debug)]
pub(super) struct StatusBoard {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: CameraStatus,
    /// Boot time of `since_us`, which is told anew at every reading: the clock may be set meanwhile.
    since: Duration,
    rate_in: Rate,
    rate_decoded: Rate,
}

impl StatusBoard {
    pub(super) fn new(camera: CameraId, name: String, now: RecordTime) -> Self {
        Self {
            inner: Mutex::new(Inner {
                status: CameraStatus {
                    camera,
                    name,
                    state: CameraState::Starting,
                    reason: None,
                    since_us: now.captured_at_us,
                    width: None,
                    height: None,
                    codec: None,
                    frames_in: 0,
                    frames_decoded: 0,
                    frames_skipped: 0,
                    fps_in: 0.0,
                    fps_decoded: 0.0,
                    reconnects: 0,
                    ring_bytes: 0,
                    gate: GateReport::default(),
                    frames_caught_up: 0,
                    turns_asked: 0,
                    turns_given: 0,
                    last_error: None,
                },
                since: uptime(&now),
                rate_in: Rate::default(),
                rate_decoded: Rate::default(),
            }),
        }
    }

    /// The status, with times and rates as of `now`.
    pub(super) fn read(&self, now: &RecordTime, ring_bytes: usize) -> CameraStatus {
        let inner = self.lock();
        let uptime = uptime(now);
        let age_us = uptime.saturating_sub(inner.since).as_micros();
        let age_us = i64::try_from(age_us).unwrap_or(i64::MAX);
        CameraStatus {
            since_us: now.captured_at_us.plus_us(-age_us),
            fps_in: inner.rate_in.per_second(uptime),
            fps_decoded: inner.rate_decoded.per_second(uptime),
            ring_bytes: ring_bytes as u64,
            ..inner.status.clone()
        }
    }

    pub(super) fn received(&self, uptime: Duration) {
        let mut inner = self.lock();
        inner.status.frames_in += 1;
        inner.rate_in.count(uptime);
    }

    pub(super) fn decoded(&self, uptime: Duration) {
        let mut inner = self.lock();
        inner.status.frames_decoded += 1;
        inner.rate_decoded.count(uptime);
    }

    pub(super) fn frames_decoded(&self) -> u64 {
        self.lock().status.frames_decoded
    }

    pub(super) fn skipped(&self, frames: u64) {
        self.lock().status.frames_skipped += frames;
    }

    pub(super) fn caught_up(&self) {
        self.lock().status.frames_caught_up += 1;
    }

    pub(super) fn turn(&self, given: bool) {
        let mut inner = self.lock();
        inner.status.turns_asked += 1;
        inner.status.turns_given += u64::from(given);
    }

    pub(super) fn gate(&self, report: GateReport) {
        self.lock().status.gate = report;
    }

    pub(super) fn reconnecting(&self) {
        self.lock().status.reconnects += 1;
    }

    /// Data comes, of this format; tells the change if it is one.
    pub(super) fn running(&self, format: StreamFormat, now: RecordTime) -> Option<CameraChange> {
        let size = |pixels: u32| (pixels > 0).then_some(pixels);
        self.enter(now, |status| {
            status.state = CameraState::Running;
            status.reason = None;
            status.width = size(format.width);
            status.height = size(format.height);
            status.codec = Some(format.codec);
        })
    }

    pub(super) fn failed(&self, failure: &Failure, now: RecordTime) -> Option<CameraChange> {
        self.enter(now, |status| {
            status.state = CameraState::Retrying;
            status.reason = Some(failure.reason);
            status.last_error = Some(failure.to_string());
        })
    }

    fn enter(
        &self,
        now: RecordTime,
        change: impl FnOnce(&mut CameraStatus),
    ) -> Option<CameraChange> {
        let mut inner = self.lock();
        let status = &mut inner.status;
        let before = what_matters(status);
        let state_before = status.state;
        change(status);
        let told = (status.state != state_before).then(|| uptime(&now));
        let change = (what_matters(status) != before).then(|| CameraChange {
            camera: status.camera,
            name: status.name.clone(),
            at: now,
            state: status.state,
            reason: status.reason,
            width: status.width,
            height: status.height,
            codec: status.codec,
        });
        if let Some(since) = told {
            inner.since = since;
        }
        change
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while it writes a status")
    }
}

type WhatMatters = (
    CameraState,
    Option<Reason>,
    Option<u32>,
    Option<u32>,
    Option<Codec>,
);

/// What makes a change worth a record.
fn what_matters(status: &CameraStatus) -> WhatMatters {
    let CameraStatus {
        state,
        reason,
        width,
        height,
        codec,
        ..
    } = status;
    (*state, *reason, *width, *height, *codec)
}

fn uptime(time: &RecordTime) -> Duration {
    Duration::from_nanos(time.boottime_ns)
}

/// Things per second over the last few seconds.
#[derive(Debug, Default)]
struct Rate {
    began: Duration,
    count: u32,
    per_second: f32,
}

const RATE_OVER: Duration = Duration::from_secs(2);

impl Rate {
    fn count(&mut self, now: Duration) {
        self.count += 1;
        let elapsed = now.saturating_sub(self.began);
        if elapsed >= RATE_OVER {
            self.per_second = if elapsed > RATE_OVER * 3 {
                0.0
            } else {
                self.count as f32 / elapsed.as_secs_f32()
            };
            self.began = now;
            self.count = 0;
        }
    }

    /// Nothing for a long while is nothing, whatever was before.
    fn per_second(&self, now: Duration) -> f32 {
        if now.saturating_sub(self.began) > RATE_OVER * 3 {
            0.0
        } else {
            self.per_second
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HD: StreamFormat = StreamFormat {
        codec: Codec::H264,
        width: 1920,
        height: 1080,
    };

    /// Boot and 1970 began together.
    fn at(us: i64) -> RecordTime {
        RecordTime {
            captured_at_us: UtcMicros(us),
            boot_id: wire::BootId(uuid::Uuid::nil()),
            boottime_ns: us.cast_unsigned() * 1000,
            clock: wire::ClockStamp::UNSYNCED,
        }
    }

    fn board() -> StatusBoard {
        StatusBoard::new(CameraId(uuid::Uuid::nil()), "gate".into(), at(1))
    }

    #[test]
    fn since_when_follows_a_clock_that_is_set() {
        let board = board();
        board.running(HD, at(2_000_000));
        let set_us = 1_700_000_000_000_000;
        let mut now = at(5_000_000);
        now.captured_at_us = now.captured_at_us.plus_us(set_us);
        let since = board.read(&now, 0).since_us;
        assert_eq!(since, UtcMicros(set_us + 2_000_000));
    }

    #[test]
    fn only_what_changed_is_told() {
        let board = board();
        let change = board.running(HD, at(2)).unwrap();
        assert_eq!(
            (change.state, change.width),
            (CameraState::Running, Some(1920))
        );
        assert_eq!(board.running(HD, at(3)), None);

        let small = StreamFormat {
            width: 640,
            height: 360,
            ..HD
        };
        assert_eq!(board.running(small, at(4)).unwrap().width, Some(640));
        let status = board.read(&at(9), 5);
        assert_eq!((status.since_us, status.ring_bytes), (UtcMicros(2), 5));

        let silent = Failure::new(Reason::Timeout, "");
        assert!(board.failed(&silent, at(5)).is_some());
        assert!(board.failed(&silent, at(6)).is_none());
        let refused = Failure::new(Reason::Auth, "");
        assert_eq!(
            board.failed(&refused, at(7)).unwrap().reason,
            Some(Reason::Auth)
        );
        assert_eq!(board.read(&at(9), 0).since_us, UtcMicros(5));
    }

    #[test]
    fn a_rate_follows_and_dies_away() {
        let board = board();
        for n in 0..100 {
            board.received(Duration::from_secs(100) + Duration::from_millis(100) * n);
        }
        let fps = |seconds: i64| board.read(&at(seconds * 1_000_000), 0).fps_in;
        assert!((fps(110) - 10.0).abs() < 0.6, "{}", fps(110));
        assert_eq!(fps(120), 0.0);
    }
}
