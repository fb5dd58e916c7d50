//! The time floor on disk: a time that is certainly past, so that a box that boots in 1970 still judges its
//! receiver's certificate by a time that can be.
//!
//! What may raise it is decided where receivers are verified; here it is only kept, and never goes back.

use crate::files;
use std::path::{Path, PathBuf};
use wire::UtcMicros;

const FILE: &str = "time_floor";
/// Written when it has risen by this: flash wears out, and an hour more or less decides nothing.
const WRITE_STEP_US: i64 = 3_600_000_000;

/// When this program was built.
pub fn build_time() -> UtcMicros {
    let seconds: i64 = env!("BUILD_TIME_SECONDS")
        .parse()
        .expect("build.rs writes a number");
    UtcMicros(seconds * 1_000_000)
}

#[derive(Debug)]
pub struct SavedFloor {
    folder: PathBuf,
    saved: UtcMicros,
}

impl SavedFloor {
    /// A file that cannot be read counts as none: the floor is a help, not a condition.
    pub fn load(identity_folder: &Path) -> Self {
        let saved = std::fs::read_to_string(identity_folder.join(FILE))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Self {
            folder: identity_folder.to_owned(),
            saved: UtcMicros(saved),
        }
    }

    /// The later of build time and what is on disk.
    pub fn get(&self) -> UtcMicros {
        self.saved.max(build_time())
    }

    pub fn save(&mut self, floor: UtcMicros) -> std::io::Result<()> {
        if floor < self.saved.plus_us(WRITE_STEP_US) {
            return Ok(());
        }
        files::write(&self.folder, FILE, floor.to_string().as_bytes())?;
        self.saved = floor;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises_and_survives() {
        let folder = tempfile::tempdir().expect("temp dir");
        let mut floor = SavedFloor::load(folder.path());
        assert_eq!(floor.get(), build_time());
        let later = build_time().plus_us(10 * WRITE_STEP_US);
        floor.save(later).expect("saved");
        floor.save(build_time()).expect("ignored");
        assert_eq!(floor.get(), later);
        assert_eq!(SavedFloor::load(folder.path()).get(), later);

        std::fs::write(folder.path().join(FILE), "torn").expect("write");
        assert_eq!(SavedFloor::load(folder.path()).get(), build_time());
    }
}
