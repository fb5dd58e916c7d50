//! Pure: the balance of a device, `captured = received + shed + pending + parked`, as far as the receiver can tell,
//! and beside what the box says of itself.
//!
//! Two kinds of things are counted: records, under their kind, and pictures, under their media class. Hours are those
//! of the box's clock, as it counted them.

use crate::store::{AuditRows, EvidenceDevice, HourRow, PictureRow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::{CameraId, DeviceId, Epoch, Seq, SeqRange, Sha256};

const MEDIA: [&str; 6] = ["clip", "periodic", FILE, "requested", "snapshot", "unknown"];
/// A file about the box itself; the answer to the command names it.
const FILE: &str = "diagnostic";
/// Reasons of gap records for what had been accepted and was lost on the box.
const SHED: [&str; 4] = ["quota", "disk_full", "quarantine", "outage"];
/// The reason for what the receiver refused and the box parked.
const PARKED: &str = "rejected";

/// One camera, hour and class. Absent of a camera: the device itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub hour_us: i64,
    pub camera: Option<CameraId>,
    pub class: String,
}

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Records stored, or pictures that are here, with those deleted as agreed since.
    pub received: u64,
    /// Of these, deleted as agreed.
    #[serde(skip_serializing_if = "is_zero")]
    pub deleted: u64,
    /// Pictures that a stored record names and that are not here.
    pub awaited: u64,
    /// Lost on the box, as gap records say, with those refused there before they were accepted.
    pub lost: u64,
    /// By the reason that the gap records give.
    pub reasons: BTreeMap<String, u64>,
    /// What the box says of itself, where it was asked.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub on_box: Option<BoxCounts>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The box's own counters of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxCounts {
    pub captured: u64,
    pub settled: u64,
    pub shed: u64,
    pub parked: u64,
    pub pending: i64,
}

/// What `edge-agent spool audit --json` prints. Fields of newer boxes are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct BoxAudit {
    pub device: DeviceId,
    pub lines: Vec<BoxLine>,
    #[serde(default)]
    pub pending_gaps: Vec<BoxGap>,
    #[serde(default)]
    pub parked: Vec<BoxParked>,
    #[serde(default)]
    pub differences: Vec<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BoxLine {
    #[serde(default)]
    pub camera: Option<CameraId>,
    pub class: String,
    pub hour_us: i64,
    #[serde(flatten)]
    pub counts: BoxCounts,
}

/// A gap record that the box has not delivered yet.
#[derive(Clone, Debug, Deserialize)]
pub struct BoxGap {
    #[serde(default)]
    pub camera: Option<CameraId>,
    pub class: String,
    pub count: u64,
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BoxParked {
    pub epoch: Epoch,
    pub seq: Seq,
    pub code: String,
}

/// Something that does not add up, by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Difference {
    /// Numbers below the highest that arrived, which nothing explains.
    MissingRecords { epoch: Epoch, first: Seq, last: Seq },
    /// A stored record names the picture; neither has it come, nor does a gap record tell why.
    MissingPicture {
        epoch: Epoch,
        seq: Seq,
        sha256: Sha256,
        camera: CameraId,
        class: String,
    },
    /// The database says it is here; its file is not.
    PictureWithoutFile {
        epoch: Epoch,
        seq: Seq,
        sha256: Sha256,
        camera: CameraId,
        class: String,
    },
    /// A stored batch holds the record, the index does not know it.
    Unindexed { epoch: Epoch, seq: Seq },
    /// The box got a receipt for more than is stored.
    FewerThanSettled {
        camera: Option<CameraId>,
        hour_us: i64,
        class: String,
        settled: u64,
        received: u64,
    },
    /// More is stored than the box ever captured.
    MoreThanCaptured {
        camera: Option<CameraId>,
        hour_us: i64,
        class: String,
        captured: u64,
        received: u64,
    },
    /// The box shed more than its gap records tell, delivered and waiting ones together.
    ShedUnnamed {
        camera: Option<CameraId>,
        class: String,
        shed: u64,
        named: u64,
    },
    /// The box's own counters do not add up.
    BoxLine {
        camera: Option<CameraId>,
        hour_us: i64,
        class: String,
        captured: u64,
        accounted: i64,
    },
    /// What the box's own audit found.
    OnBox { found: serde_json::Value },
}

/// The balance of one device.
#[derive(Clone, Debug)]
pub struct Balance {
    pub lines: BTreeMap<Key, Line>,
    pub differences: Vec<Difference>,
    /// Refused by the receiver: epoch, numbers, code.
    pub refused: Vec<(Epoch, SeqRange, String)>,
    /// Numbers that gap records or refusals account for.
    pub explained: u64,
    /// Lines that the receiver has and the box knows nothing of: its spool began later.
    pub unknown_to_box: u64,
    /// Records deleted as agreed.
    pub deleted: u64,
}

/// `files_missing`: pictures whose rows claim a blob that has no file.
pub fn balance(
    device: &EvidenceDevice,
    rows: &AuditRows,
    files_missing: &[PictureRow],
    on_box: Option<&BoxAudit>,
) -> Balance {
    let mut lines = lines_of(rows);
    let mut differences = Vec::new();
    let holes = device.holes();
    let (explained, missing) = explain_holes(device, rows, holes);
    differences.extend(
        missing
            .into_iter()
            .map(|(epoch, range)| Difference::MissingRecords {
                epoch,
                first: range.first,
                last: range.last,
            }),
    );
    differences.extend(missing_pictures(rows));
    for picture in rows.unbacked.iter().chain(files_missing) {
        differences.push(Difference::PictureWithoutFile {
            epoch: picture.epoch,
            seq: picture.seq,
            sha256: picture.sha256,
            camera: picture.camera,
            class: picture.class.clone(),
        });
    }
    differences.extend(
        rows.unindexed
            .iter()
            .map(|(epoch, seq)| Difference::Unindexed {
                epoch: *epoch,
                seq: *seq,
            }),
    );
    let mut unknown_to_box = 0;
    if let Some(on_box) = on_box {
        add_box(&mut lines, on_box);
        unknown_to_box = lines
            .values()
            .filter(|line| line.on_box.is_none() && line.received > 0)
            .count() as u64;
        differences.extend(box_differences(&lines));
        differences.extend(unnamed_losses(&lines, on_box));
        differences.extend(on_box.differences.iter().map(|found| Difference::OnBox {
            found: found.clone(),
        }));
    }
    let refused = device.refused.iter().map(|refusal| {
        let range = SeqRange {
            first: refusal.first_seq,
            last: refusal.last_seq,
        };
        (refusal.epoch, range, refusal.code.clone())
    });
    Balance {
        deleted: deleted_records(&lines),
        refused: refused.collect(),
        lines,
        differences,
        explained,
        unknown_to_box,
    }
}

fn key(row: &HourRow) -> Key {
    Key {
        hour_us: row.hour_us,
        camera: row.camera,
        class: row.class.clone(),
    }
}

fn lines_of(rows: &AuditRows) -> BTreeMap<Key, Line> {
    let mut lines: BTreeMap<Key, Line> = BTreeMap::new();
    for row in rows.records.iter().chain(&rows.pictures_here) {
        lines.entry(key(row)).or_default().received += row.count;
    }
    for row in &rows.deleted {
        let line = lines.entry(key(row)).or_default();
        line.received += row.count;
        line.deleted += row.count;
    }
    for row in &rows.pictures_awaited {
        lines.entry(key(row)).or_default().awaited += row.count;
    }
    for (row, reason) in &rows.gaps {
        let line = lines.entry(key(row)).or_default();
        line.lost += row.count;
        *line.reasons.entry(reason.clone()).or_default() += row.count;
    }
    lines
}

/// Records: beside each of a picture, which is of kind media, the picture is counted once more under its class.
fn deleted_records(lines: &BTreeMap<Key, Line>) -> u64 {
    let of_records = lines
        .iter()
        .filter(|(key, _)| !MEDIA.contains(&key.class.as_str()) || key.class == "unknown");
    of_records.map(|(_, line)| line.deleted).sum()
}

/// Holes that refusals or gap records account for, counted; and the others.
fn explain_holes(
    device: &EvidenceDevice,
    rows: &AuditRows,
    holes: Vec<(Epoch, SeqRange)>,
) -> (u64, Vec<(Epoch, SeqRange)>) {
    let is_shed = |(row, reason): &&(HourRow, String)| {
        !MEDIA.contains(&row.class.as_str()) && SHED.contains(&reason.as_str())
    };
    let mut admitted: u64 = rows
        .gaps
        .iter()
        .filter(is_shed)
        .map(|(row, _)| row.count)
        .sum();
    let (mut explained, mut missing) = (0, Vec::new());
    for (epoch, range) in holes {
        let count = range.last.0 - range.first.0 + 1;
        let refused = device.refused.iter().any(|refusal| {
            refusal.whole_batch
                && refusal.epoch == epoch
                && refusal.first_seq <= range.first
                && range.last <= refusal.last_seq
        });
        if refused {
            explained += count;
        } else if admitted >= count {
            admitted -= count;
            explained += count;
        } else {
            missing.push((epoch, range));
        }
    }
    (explained, missing)
}

/// Awaited pictures beyond what gap records of the same camera, hour and class account for.
fn missing_pictures(rows: &AuditRows) -> Vec<Difference> {
    const HOUR_US: i64 = 3_600_000_000;
    let mut admitted: BTreeMap<Key, u64> = BTreeMap::new();
    for (row, _) in &rows.gaps {
        *admitted.entry(key(row)).or_default() += row.count;
    }
    let mut missing = Vec::new();
    for picture in &rows.awaited {
        let hour_us = picture.captured_device_us - picture.captured_device_us.rem_euclid(HOUR_US);
        let key = Key {
            hour_us,
            camera: Some(picture.camera),
            class: picture.class.clone(),
        };
        match admitted.get_mut(&key) {
            Some(left) if *left > 0 => *left -= 1,
            _ => missing.push(Difference::MissingPicture {
                epoch: picture.epoch,
                seq: picture.seq,
                sha256: picture.sha256,
                camera: picture.camera,
                class: picture.class.clone(),
            }),
        }
    }
    missing
}

fn add_box(lines: &mut BTreeMap<Key, Line>, on_box: &BoxAudit) {
    for line in &on_box.lines {
        let key = Key {
            hour_us: line.hour_us,
            camera: line.camera,
            class: line.class.clone(),
        };
        lines.entry(key).or_default().on_box = Some(line.counts);
    }
}

fn box_differences(lines: &BTreeMap<Key, Line>) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (key, line) in lines {
        let Some(counts) = line.on_box else { continue };
        let (camera, hour_us, class) = (key.camera, key.hour_us, key.class.clone());
        let accounted =
            (counts.settled + counts.shed + counts.parked).cast_signed() + counts.pending;
        if accounted != counts.captured.cast_signed() {
            differences.push(Difference::BoxLine {
                camera,
                hour_us,
                class: class.clone(),
                captured: counts.captured,
                accounted,
            });
        }
        if line.received + under_way(lines, key) < counts.settled {
            differences.push(Difference::FewerThanSettled {
                camera,
                hour_us,
                class,
                settled: counts.settled,
                received: line.received,
            });
        } else if line.received > counts.captured {
            differences.push(Difference::MoreThanCaptured {
                camera,
                hour_us,
                class,
                captured: counts.captured,
                received: line.received,
            });
        }
    }
    differences
}

/// A picture settles by itself; it counts here once its record is here too, which may still wait on the box.
fn under_way(lines: &BTreeMap<Key, Line>, picture: &Key) -> u64 {
    if !MEDIA.contains(&picture.class.as_str()) {
        return 0;
    }
    let key = Key {
        class: if picture.class == FILE {
            "audit"
        } else {
            "media"
        }
        .to_owned(),
        ..picture.clone()
    };
    let counts = lines
        .get(&key)
        .and_then(|line| line.on_box)
        .unwrap_or_default();
    counts.pending.max(0).cast_unsigned() + counts.shed + counts.parked
}

/// Losses of the box that no gap record names, over all hours: a gap record may span them.
fn unnamed_losses(lines: &BTreeMap<Key, Line>, on_box: &BoxAudit) -> Vec<Difference> {
    let mut sums: BTreeMap<(Option<CameraId>, &str), (u64, u64)> = BTreeMap::new();
    for (key, line) in lines {
        let sum = sums.entry((key.camera, &key.class)).or_default();
        sum.0 += line.on_box.map_or(0, |counts| counts.shed);
        let named = line
            .reasons
            .iter()
            .filter(|(reason, _)| reason.as_str() != PARKED);
        sum.1 += named.map(|(_, count)| count).sum::<u64>();
    }
    for gap in on_box
        .pending_gaps
        .iter()
        .filter(|gap| gap.reason != PARKED)
    {
        sums.entry((gap.camera, &gap.class)).or_default().1 += gap.count;
    }
    let unnamed = sums
        .into_iter()
        .filter(|((_, class), (shed, named))| *class != "gap" && shed > named);
    unnamed
        .map(|((camera, class), (shed, named))| Difference::ShedUnnamed {
            camera,
            class: class.to_owned(),
            shed,
            named,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use uuid::Uuid;
    use wire::{ContractId, SiteId, UtcMicros, VerifyingKey};

    const CAMERA: CameraId = CameraId(Uuid::from_u128(5));

    fn device(stored: &[(u64, u64)]) -> EvidenceDevice {
        EvidenceDevice {
            device: DeviceId(Uuid::from_u128(1)),
            contract: ContractId(Uuid::from_u128(2)),
            contract_name: "c".into(),
            site: SiteId(Uuid::from_u128(3)),
            site_name: "s".into(),
            record_key: VerifyingKey([0; 32]),
            enrolled_us: UtcMicros(0),
            revoked_us: None,
            cameras: vec![(CAMERA, "gate".into())],
            boots: Vec::new(),
            refused: Vec::new(),
            deleted_gaps: Vec::new(),
            stored: stored
                .iter()
                .map(|(first, last)| {
                    (
                        Epoch(9),
                        SeqRange {
                            first: Seq(*first),
                            last: Seq(*last),
                        },
                    )
                })
                .collect(),
        }
    }

    fn hour(class: &str, count: u64) -> HourRow {
        HourRow {
            camera: Some(CAMERA),
            hour_us: 0,
            class: class.into(),
            count,
        }
    }

    fn on_box(class: &str, captured: u64, settled: u64, shed: u64, pending: i64) -> BoxAudit {
        serde_json::from_value(serde_json::json!({
            "device": Uuid::from_u128(1),
            "lines": [{"camera": CAMERA, "class": class, "hour_us": 0, "captured": captured, "settled": settled,
                       "shed": shed, "parked": 0, "pending": pending}],
            "pending_records": 3
        }))
        .unwrap()
    }

    #[test]
    fn a_hole_is_named_unless_gap_records_account_for_it() {
        let mut rows = AuditRows {
            records: vec![hour("event", 7)],
            ..AuditRows::default()
        };
        let found = balance(&device(&[(1, 3), (6, 9)]), &rows, &[], None);
        let (first, last) = (Seq(4), Seq(5));
        assert_eq!(
            found.differences,
            [Difference::MissingRecords {
                epoch: Epoch(9),
                first,
                last
            }]
        );
        rows.gaps = vec![(hour("event", 2), "quota".into())];
        let found = balance(&device(&[(1, 3), (6, 9)]), &rows, &[], None);
        assert_eq!((found.differences, found.explained), (vec![], 2));
    }

    #[test]
    fn both_sides_together_tell_what_one_cannot() {
        let rows = AuditRows {
            records: vec![hour("event", 7)],
            ..AuditRows::default()
        };
        let differences =
            |on_box: &BoxAudit| balance(&device(&[(1, 7)]), &rows, &[], Some(on_box)).differences;
        assert_eq!(differences(&on_box("event", 9, 6, 0, 3)), []);
        assert!(matches!(
            differences(&on_box("event", 9, 8, 0, 1))[..],
            [Difference::FewerThanSettled {
                settled: 8,
                received: 7,
                ..
            }]
        ));
        assert!(matches!(
            differences(&on_box("event", 6, 6, 0, 0))[..],
            [Difference::MoreThanCaptured { .. }]
        ));
        assert!(matches!(
            differences(&on_box("event", 9, 7, 2, 0))[..],
            [Difference::ShedUnnamed {
                shed: 2,
                named: 0,
                ..
            }]
        ));
        assert!(matches!(
            differences(&on_box("event", 9, 7, 0, 1))[..],
            [Difference::BoxLine {
                captured: 9,
                accounted: 8,
                ..
            }]
        ));
    }
}
