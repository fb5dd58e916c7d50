//! The time floor: a time that is certainly past. Certificates are judged by the later of floor and clock, so
//! that a box that boots in 1970 still talks to its receiver, and is not talked into an expired certificate.
//!
//! Raise-only, and only by what a receiver with a verified certificate stated: a lying time server cannot push
//! a box into a future from which it never returns.

use super::files;
use crate::clock::TimeSource;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use wire::UtcMicros;

const FILE: &str = "time_floor";
/// Written to disk at most this often in receiver time: flash wears out, and an hour more or less decides nothing.
const WRITE_STEP_US: i64 = 3_600_000_000;

/// When this program was built.
pub fn build_time() -> UtcMicros {
    let seconds: i64 = env!("BUILD_TIME_SECONDS")
        .parse()
        .expect("build.rs writes a number");
    UtcMicros(seconds * 1_000_000)
}

#[derive(Debug)]
pub struct TimeFloor {
    folder: PathBuf,
    floor_us: AtomicI64,
    written_us: AtomicI64,
}

impl TimeFloor {
    /// The later of build time and what is on disk. An unreadable file counts as none: it only ever helps.
    pub fn load(identity_folder: &Path) -> Self {
        let written_us = std::fs::read_to_string(identity_folder.join(FILE))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Self {
            folder: identity_folder.to_owned(),
            floor_us: AtomicI64::new(build_time().0.max(written_us)),
            written_us: AtomicI64::new(written_us),
        }
    }

    pub fn get(&self) -> UtcMicros {
        UtcMicros(self.floor_us.load(Ordering::Relaxed))
    }

    /// By what certificates are judged: the corrected clock, but never before the floor.
    pub fn now(&self, time: &TimeSource) -> UtcMicros {
        self.get().max(time.now().corrected_us())
    }

    /// A receiver whose certificate was verified said it is `receiver_time`.
    pub fn raise(&self, receiver_time: UtcMicros) {
        let before = self.floor_us.fetch_max(receiver_time.0, Ordering::Relaxed);
        if receiver_time.0 <= before {
            return;
        }
        let written_us = self.written_us.load(Ordering::Relaxed);
        if receiver_time.0 < written_us.saturating_add(WRITE_STEP_US) {
            return;
        }
        self.written_us.store(receiver_time.0, Ordering::Relaxed);
        let text = receiver_time.0.to_string();
        if let Err(error) = files::write(&self.folder, FILE, text.as_bytes()) {
            tracing::warn!(%error, "the time floor could not be saved: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises_and_survives() {
        let folder = tempfile::tempdir().expect("temp dir");
        let later = build_time().plus_us(10 * WRITE_STEP_US);
        let floor = TimeFloor::load(folder.path());
        assert_eq!(floor.get(), build_time());
        floor.raise(UtcMicros(1));
        assert_eq!(floor.get(), build_time());
        floor.raise(later);
        floor.raise(build_time());
        assert_eq!(floor.get(), later);
        assert_eq!(TimeFloor::load(folder.path()).get(), later);

        std::fs::write(folder.path().join(FILE), "torn").expect("write");
        assert_eq!(TimeFloor::load(folder.path()).get(), build_time());
    }
}
