//! Are the pictures here that signed records name, and what gap records say of those that are not.

use super::finding::Finding;
use super::manifest::DeletedGap;
use crate::digest::Sha256;
use crate::ids::{CameraId, DeviceId, Epoch, Seq};
use crate::record::{GapRecord, MediaClass};
use crate::time::UtcMicros;
use std::collections::{BTreeMap, HashSet};

/// How far a gap record's times may be from those of the batches around a hole: the former are as the device's
/// clock said, the latter corrected.
const SLACK_US: i64 = 3_600_000_000;

/// A signed record that names a picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct PictureSeen {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    pub(super) sha256: Sha256,
    pub(super) camera: CameraId,
    pub(super) class: MediaClass,
    pub(super) at_us: i64,
    pub(super) device_us: i64,
}

/// A signed record that names a loss, and how much of it has not been used yet to explain one.
#[derive(Clone, Debug)]
pub(super) struct GapSeen {
    camera: Option<CameraId>,
    class: String,
    from_us: i64,
    to_us: i64,
    left: u64,
    reason: String,
}

impl GapSeen {
    pub(super) fn of(gap: &GapRecord) -> Self {
        Self {
            camera: gap.camera,
            class: gap.class.clone(),
            from_us: gap.from_us.0,
            to_us: gap.to_us.0,
            left: gap.count,
            reason: gap.reason.clone(),
        }
    }

    pub(super) fn of_deleted(gap: &DeletedGap) -> Self {
        Self {
            camera: gap.camera,
            class: gap.class.clone(),
            from_us: gap.hour_us.0,
            to_us: gap.hour_us.plus_us(SLACK_US).0,
            left: gap.count,
            reason: gap.reason.clone(),
        }
    }

    /// Records that had a number and were lost on the box: not those refused by the receiver, which it lists
    /// itself, nor those turned away before they got a number.
    fn explains_records(&self) -> bool {
        let media = ["clip", "periodic", "requested", "snapshot"];
        let reasons = ["quota", "disk_full", "quarantine", "outage"];
        !media.contains(&self.class.as_str()) && reasons.contains(&self.reason.as_str())
    }

    /// Takes `count` lost records of about this time from what gap records admit; answers the reason if they do.
    pub(super) fn use_up_records(
        gaps: &mut [GapSeen],
        count: u64,
        span_us: (i64, i64),
    ) -> Option<String> {
        let near = |gap: &GapSeen| {
            gap.left > 0
                && gap.explains_records()
                && gap.from_us <= span_us.1.saturating_add(SLACK_US)
                && gap.to_us >= span_us.0.saturating_sub(SLACK_US)
        };
        let admitted: u64 = gaps
            .iter()
            .filter(|gap| near(gap))
            .map(|gap| gap.left)
            .sum();
        if admitted < count {
            return None;
        }
        let (mut rest, mut reason) = (count, None);
        for gap in gaps.iter_mut().filter(|gap| near(gap)) {
            let used = gap.left.min(rest);
            gap.left -= used;
            rest -= used;
            reason.get_or_insert_with(|| gap.reason.clone());
            if rest == 0 {
                break;
            }
        }
        reason
    }

    fn use_up_picture(gaps: &mut [GapSeen], picture: &PictureSeen) -> Option<String> {
        let gap = gaps.iter_mut().find(|gap| {
            gap.left > 0
                && gap.camera == Some(picture.camera)
                && gap.class == picture.class.as_str()
                && gap.from_us <= picture.device_us
                && picture.device_us <= gap.to_us
        })?;
        gap.left -= 1;
        Some(gap.reason.clone())
    }
}

/// Which pictures must be here.
pub(super) struct Pictures<'a> {
    pub(super) here: &'a HashSet<Sha256>,
    pub(super) not_arrived: &'a HashSet<Sha256>,
    pub(super) range: Option<(UtcMicros, UtcMicros)>,
    pub(super) cameras: Option<&'a [CameraId]>,
}

impl Pictures<'_> {
    fn wants(&self, picture: &PictureSeen) -> bool {
        self.range
            .is_none_or(|(from, to)| from.0 <= picture.at_us && picture.at_us < to.0)
            && self
                .cameras
                .is_none_or(|cameras| cameras.contains(&picture.camera))
    }
}

/// How many are here, and what is to be said of the others.
pub(super) fn check(
    device: DeviceId,
    pictures: &[PictureSeen],
    gaps: &mut [GapSeen],
    wanted: &Pictures<'_>,
) -> (u64, Vec<Finding>) {
    let (mut found, mut findings) = (0, Vec::new());
    let mut shed: BTreeMap<(String, String), u64> = BTreeMap::new();
    for picture in pictures.iter().filter(|picture| wanted.wants(picture)) {
        let (epoch, seq, sha256) = (picture.epoch, picture.seq, picture.sha256);
        if wanted.here.contains(&sha256) {
            found += 1;
        } else if let Some(reason) = GapSeen::use_up_picture(gaps, picture) {
            *shed
                .entry((picture.class.as_str().to_owned(), reason))
                .or_default() += 1;
        } else if wanted.not_arrived.contains(&sha256) {
            findings.push(Finding::PictureNotArrived {
                device,
                epoch,
                seq,
                sha256,
            });
        } else {
            findings.push(Finding::PictureRemoved {
                device,
                epoch,
                seq,
                sha256,
            });
        }
    }
    let shed = shed
        .into_iter()
        .map(|((class, reason), count)| Finding::PicturesShed {
            device,
            class,
            count,
            reason,
        });
    findings.extend(shed);
    (found, findings)
}
