//! Checking what is here of one device: every signature as batches come by, then the chain, the numbers, the heads
//! and the pictures once all have been seen.

use super::anchor;
use super::finding::{Finding, Known};
use super::heads::Heads;
use super::links::{Links, holes_and_breaks};
use super::manifest::{Boot, DeletedBatch, DeletedGap, Refusal};
use super::pictures::{self, GapSeen, PictureSeen, Pictures};
use crate::batch::{Batch, SignedBatch};
use crate::digest::Sha256;
use crate::ids::{CameraId, DeviceId, Epoch, Seq};
use crate::receipt::SeqRange;
use crate::record::{Body, Record};
use crate::sign::VerifyingKey;
use crate::time::{BootId, ClockState, RecordTime, UtcMicros};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What is known beside the batches themselves.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// From, inclusive, and to, exclusive; `None`: everything there ever was.
    pub range: Option<(UtcMicros, UtcMicros)>,
    /// What the receiver says it never got.
    pub not_arrived: &'a [(Epoch, SeqRange)],
    pub refused: &'a [Refusal],
    /// Epochs of which, by the receiver's word, more is stored than is here.
    pub goes_on: &'a [Epoch],
    /// Verified heads, in ascending order.
    pub heads: &'a [Heads],
    /// What proves that something which nobody explains was removed.
    pub otherwise: Known,
    /// Hashes of the pictures that are here; `None`: pictures are not looked at.
    pub pictures_here: Option<&'a HashSet<Sha256>>,
    pub pictures_not_arrived: &'a HashSet<Sha256>,
    /// Only pictures of these cameras are expected.
    pub cameras: Option<&'a [CameraId]>,
}

/// What was checked of one device, and what was found.
#[derive(Clone, Debug, Default)]
pub struct DeviceReport {
    pub findings: Vec<Finding>,
    pub batches: u64,
    pub records: u64,
    pub epochs: u64,
    /// Hashes of all pictures that signed records name, whatever their time.
    pub named_pictures: HashSet<Sha256>,
    /// Records of which, as agreed, only numbers and hashes are left; not counted above.
    pub deleted_records: u64,
    /// Pictures that had to be here, and are.
    pub pictures: u64,
    /// Number of the newest heads that speak of this device.
    pub newest_heads: Option<u64>,
}

/// One batch that was verified: what the chain is checked by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) epoch: Epoch,
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) hash: Sha256,
    pub(super) prev: Sha256,
    /// Best known time of its earliest and its latest record; `None`: none could be read.
    pub(super) span_us: Option<(i64, i64)>,
}

impl Link {
    pub(super) fn begins_us(&self) -> i64 {
        self.span_us.map_or(i64::MIN, |span| span.0)
    }

    pub(super) fn ends_us(&self) -> i64 {
        self.span_us.map_or(i64::MAX, |span| span.1)
    }
}

/// The check of one device. Feed it every batch that is here, then finish.
#[derive(Debug)]
pub struct DeviceCheck {
    device: DeviceId,
    key: VerifyingKey,
    boots: HashMap<BootId, UtcMicros>,
    links: Links,
    /// Where the last batch stood.
    latest: Option<(Epoch, Seq)>,
    /// Numbers that batches claim whose signature does not fit: named once, not once more as missing.
    pub(super) damaged: Vec<(Epoch, SeqRange)>,
    gaps: Vec<GapSeen>,
    pictures: Vec<PictureSeen>,
    findings: Vec<Finding>,
    records: u64,
    deleted_batches: u64,
    deleted_records: u64,
}

impl DeviceCheck {
    /// `key`: the record key that the receiver pinned when the device enrolled.
    pub fn new(device: DeviceId, key: VerifyingKey, boots: &[Boot]) -> Self {
        Self {
            device,
            key,
            boots: boots
                .iter()
                .map(|boot| (boot.boot, boot.began_us))
                .collect(),
            links: Links::default(),
            latest: None,
            damaged: Vec::new(),
            gaps: Vec::new(),
            pictures: Vec::new(),
            findings: Vec::new(),
            records: 0,
            deleted_batches: 0,
            deleted_records: 0,
        }
    }

    /// Puts in its place a batch whose records were deleted as agreed. The chain goes on by its hash; what is here of these
    /// numbers counts before it.
    pub fn deleted(&mut self, batch: &DeletedBatch) {
        let at_us = batch.first_us.0;
        let link = Link {
            epoch: batch.epoch,
            first: batch.first_seq,
            last: batch.last_seq,
            hash: batch.sha256,
            prev: batch.prev,
            span_us: Some((at_us, at_us)),
        };
        if batch.first_seq <= batch.last_seq && self.links.overlapping(&link).is_none() {
            self.links.add(link);
            self.deleted_batches += 1;
            self.deleted_records += batch.last_seq.0 - batch.first_seq.0 + 1;
        }
    }

    /// Notes losses that a gap record named which was deleted as agreed.
    pub fn deleted_gap(&mut self, gap: &DeletedGap) {
        self.gaps.push(GapSeen::of_deleted(gap));
    }

    /// Checks the next batch, in the order in which they stand. Answers it where it is genuine and new. `place`
    /// says to people where it stands.
    pub fn take(&mut self, bytes: Vec<u8>, place: &str) -> Option<(Batch, Sha256)> {
        let device = self.device;
        let parsed =
            SignedBatch::from_bytes(bytes).and_then(|signed| Ok((signed.parse()?, signed)));
        let Ok((batch, signed)) = parsed else {
            let place = place.to_owned();
            self.findings
                .push(Finding::BatchUnreadable { device, place });
            return None;
        };
        let (epoch, first, last) = (batch.epoch, batch.first_seq, batch.last_seq());
        if signed.verify(&self.key).is_err() {
            let place = place.to_owned();
            self.findings.push(if batch.device_id == device {
                self.damaged.push((epoch, SeqRange { first, last }));
                Finding::BatchChanged {
                    device,
                    epoch,
                    first,
                    last,
                    place,
                }
            } else {
                Finding::BatchForeign {
                    device,
                    found: batch.device_id,
                    place,
                }
            });
            return None;
        }
        if batch.device_id != device {
            let (found, place) = (batch.device_id, place.to_owned());
            self.findings.push(Finding::BatchForeign {
                device,
                found,
                place,
            });
            return None;
        }
        let link = self.link_of(&batch, signed.hash());
        self.place(link, place).then(|| {
            self.note_contents(&batch);
            (batch, link.hash)
        })
    }

    /// Notes a batch whose bytes cannot be read any more, where its numbers are known from elsewhere.
    pub fn unreadable(&mut self, epoch: Epoch, first: Seq, last: Seq, place: &str) {
        self.damaged.push((epoch, SeqRange { first, last }));
        self.findings.push(Finding::BatchChanged {
            device: self.device,
            epoch,
            first,
            last,
            place: place.to_owned(),
        });
    }

    /// Puts a genuine batch in its place in the chain; `false` if it must not stand there.
    fn place(&mut self, link: Link, place: &str) -> bool {
        let (device, epoch, first, last) = (self.device, link.epoch, link.first, link.last);
        if let Some(other) = self.links.overlapping(&link) {
            let place = place.to_owned();
            self.findings.push(if other.hash == link.hash {
                Finding::BatchTwice {
                    device,
                    epoch,
                    first,
                    last,
                    place,
                }
            } else {
                Finding::BatchRival {
                    device,
                    epoch,
                    first,
                    last,
                    place,
                }
            });
            return false;
        }
        let moved = self
            .latest
            .is_some_and(|(at, seq)| at == epoch && seq > first);
        if moved {
            let place = place.to_owned();
            self.findings.push(Finding::BatchMoved {
                device,
                epoch,
                first,
                last,
                place,
            });
        } else {
            self.latest = Some((epoch, first));
        }
        self.links.add(link);
        true
    }

    fn link_of(&self, batch: &Batch, hash: Sha256) -> Link {
        let times = batch.records.iter().filter_map(|bytes| {
            let any: AnyRecord = serde_json::from_slice(bytes).ok()?;
            Some(self.best_us(&any.time))
        });
        let span_us = times.fold(None, |span: Option<(i64, i64)>, at| {
            Some(span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))))
        });
        Link {
            epoch: batch.epoch,
            first: batch.first_seq,
            last: batch.last_seq(),
            hash,
            prev: batch.prev,
            span_us,
        }
    }

    /// The best known true time of a record.
    fn best_us(&self, time: &RecordTime) -> i64 {
        let trusted = matches!(time.clock.state, ClockState::Synced | ClockState::Holdover);
        match self.boots.get(&time.boot_id) {
            Some(began) if !trusted => {
                began
                    .plus_us(i64::try_from(time.boottime_ns / 1000).unwrap_or(i64::MAX))
                    .0
            }
            _ => time.corrected_us().0,
        }
    }

    fn note_contents(&mut self, batch: &Batch) {
        self.records += batch.records.len() as u64;
        for (index, bytes) in batch.records.iter().enumerate() {
            // What cannot be read was refused, which the receiver's list of refusals says; it is signed all the same.
            let Ok(record) = Record::from_json(bytes) else {
                continue;
            };
            match record.body {
                Body::Gap(gap) => self.gaps.push(GapSeen::of(&gap)),
                Body::Media(media) => self.pictures.push(PictureSeen {
                    epoch: batch.epoch,
                    seq: batch.first_seq.advanced_by(index as u64),
                    sha256: media.sha256,
                    camera: media.camera,
                    class: media.class,
                    at_us: self.best_us(&record.time),
                    device_us: record.time.captured_at_us.0,
                }),
                _ => {}
            }
        }
    }

    /// Checks everything that needs all batches.
    pub fn finish(self, context: &Context<'_>) -> DeviceReport {
        let mut report = DeviceReport {
            batches: self.links.len() as u64 - self.deleted_batches,
            records: self.records,
            deleted_records: self.deleted_records,
            epochs: self.links.epochs().len() as u64,
            named_pictures: self.pictures.iter().map(|picture| picture.sha256).collect(),
            findings: self.findings,
            ..DeviceReport::default()
        };
        if self.deleted_records > 0 {
            report.findings.push(Finding::RecordsDeleted {
                device: self.device,
                records: self.deleted_records,
                batches: self.deleted_batches,
            });
        }
        let mut gaps = self.gaps;
        let by_heads = anchor::check(self.device, &self.links, &self.damaged, context);
        report.newest_heads = by_heads.newest;
        let chain = holes_and_breaks(
            self.device,
            &self.links,
            &self.damaged,
            &by_heads.removed,
            &mut gaps,
            context,
        );
        let touched: BTreeSet<_> = chain.iter().filter_map(epoch_of).collect();
        report.findings.extend(chain);
        // That all batches together are not the stated ones is news only where no single one was named.
        report.findings.extend(by_heads.findings.into_iter().filter(|finding| {
            !matches!(finding, Finding::HistoryReplaced { epoch, .. } if touched.contains(epoch))
        }));
        if let Some(here) = context.pictures_here {
            let wanted = Pictures {
                here,
                not_arrived: context.pictures_not_arrived,
                range: context.range,
                cameras: context.cameras,
            };
            let (found, findings) =
                pictures::check(self.device, &self.pictures, &mut gaps, &wanted);
            report.pictures = found;
            report.findings.extend(findings);
        }
        for refusal in context
            .refused
            .iter()
            .filter(|refusal| self.links.touches(refusal))
        {
            report.findings.push(Finding::Refused {
                device: self.device,
                epoch: refusal.epoch,
                first: refusal.first_seq,
                last: refusal.last_seq,
                code: refusal.code.clone(),
            });
        }
        report
    }
}

fn epoch_of(finding: &Finding) -> Option<Epoch> {
    match finding {
        Finding::RecordsRemoved { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

/// What every version of a record has.
#[derive(serde::Deserialize)]
struct AnyRecord {
    #[serde(flatten)]
    time: RecordTime,
}
