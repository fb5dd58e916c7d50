//! The pure verdict on what a device delivers: what may be committed, and what is refused for good, with a code.
//!
//! Size, shape, device and signature are judged here, of the batch and of every record in it. What needs the
//! database - repeats, conflicts, links, whose camera it is - is judged by the store inside the commit.

use crate::store::DeviceRow;
use wire::{
    Batch, BatchError, Body, ContractId, DeviceId, Epoch, Record, RecordTime, Rejected, Seq,
    Sha256, SignedBatch, SiteId,
};

/// Codes of refusals. Stable words for programs: devices park by them, operators search for them.
pub mod code {
    pub const BAD_SHAPE: &str = "bad_shape";
    pub const BAD_SIGNATURE: &str = "bad_signature";
    pub const OVERSIZED: &str = "oversized";
    pub const FOREIGN_DEVICE: &str = "foreign_device";
    pub const FOREIGN_CAMERA: &str = "foreign_camera";
    pub const FOREIGN_EVENT: &str = "foreign_event";
    /// The same record number with other bytes.
    pub const CONFLICT: &str = "conflict";
}

/// A batch whose signature and shape were checked; the store may commit it.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub device: DeviceId,
    pub contract: ContractId,
    pub site: SiteId,
    pub batch: Batch,
    /// Exactly what arrived: canonical bytes and signature.
    pub signed_bytes: Vec<u8>,
    pub hash: Sha256,
    /// Each record of the batch as read, in order; or the code by which it is refused for good.
    pub records: Vec<Result<Record, &'static str>>,
}

/// A batch refused for good, and as much of its key as could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: &'static str,
    /// Hash of the batch; zero where it was too short or too long to have one.
    pub hash: Sha256,
    /// Absent where not even the numbers can be read.
    pub numbers: Option<Numbers>,
}

/// The record numbers of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub epoch: Epoch,
    pub first: Seq,
    pub last: Seq,
}

impl Numbers {
    pub fn of(batch: &Batch) -> Self {
        Self {
            epoch: batch.epoch,
            first: batch.first_seq,
            last: batch.last_seq(),
        }
    }

    /// How a receipt says that all of them are refused.
    pub fn rejected(self, code: &str) -> impl Iterator<Item = Rejected> {
        (self.first.0..=self.last.0).map(move |seq| Rejected {
            seq: Seq(seq),
            code: code.to_owned(),
        })
    }
}

/// Judges the bytes that the device of this certificate sent.
pub fn judge(device: &DeviceRow, bytes: Vec<u8>) -> Result<Accepted, Refused> {
    let signed = SignedBatch::from_bytes(bytes).map_err(|error| Refused {
        code: match error {
            BatchError::Oversized(_) => code::OVERSIZED,
            BatchError::Shape(_) | BatchError::BadSignature(_) => code::BAD_SHAPE,
        },
        hash: Sha256::ZERO,
        numbers: None,
    })?;
    let hash = signed.hash();
    let batch = signed.parse().map_err(|_| Refused {
        code: code::BAD_SHAPE,
        hash,
        numbers: None,
    })?;
    let refused = |code| Refused {
        code,
        hash,
        numbers: Some(Numbers::of(&batch)),
    };
    if batch.device_id != device.device {
        return Err(refused(code::FOREIGN_DEVICE));
    }
    signed
        .verify(&device.record_key)
        .map_err(|_| refused(code::BAD_SIGNATURE))?;
    let records = batch.records.iter().map(|bytes| read(bytes)).collect();
    Ok(Accepted {
        device: device.device,
        contract: device.contract,
        site: device.site,
        batch,
        signed_bytes: signed.into_bytes(),
        hash,
        records,
    })
}

/// What every version of a record has; the rest of a newer one may be beyond us.
#[derive(serde::Deserialize)]
struct AnyVersion {
    v: u8,
    #[serde(flatten)]
    time: RecordTime,
}

/// Reads one record. One of a newer version that does not fit ours is taken in as of unknown kind: a newer
/// device must be able to deliver to an older receiver.
fn read(bytes: &[u8]) -> Result<Record, &'static str> {
    let record = Record::from_json(bytes).or_else(|_| {
        match serde_json::from_slice::<AnyVersion>(bytes) {
            Ok(any) if any.v > wire::record::VERSION => Ok(Record {
                v: any.v,
                time: any.time,
                body: Body::Unknown,
            }),
            _ => Err(code::BAD_SHAPE),
        }
    })?;
    if is_reckonable(&record) {
        Ok(record)
    } else {
        Err(code::BAD_SHAPE)
    }
}

/// Whether the record's numbers can be reckoned with. Times beyond the calendar overflow when clocks are corrected,
/// and a batch whose commit fails for ever would block its device; a score that is no number cannot be stored.
fn is_reckonable(record: &Record) -> bool {
    /// The end of the year 9999.
    const END_US: i64 = 253_402_300_799_999_999;
    let near = |us: i64| (-END_US..=END_US).contains(&us);
    let time = &record.time;
    let at_sane_time = near(time.captured_at_us.0)
        && near(time.clock.offset_us)
        && time.boottime_ns / 1000 <= END_US.unsigned_abs();
    at_sane_time
        && match &record.body {
            Body::Event(event) => {
                near(event.opened_at_us.0)
                    && near(event.last_seen_at_us.0)
                    && event.closed_at_us.is_none_or(|at| near(at.0))
                    && event.score.is_finite()
            }
            Body::Media(media) => media.quality.is_finite(),
            Body::Clock(clock) => near(clock.after.offset_us),
            Body::Gap(gap) => near(gap.from_us.0) && near(gap.to_us.0),
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use wire::SigningKey;

    fn key() -> SigningKey {
        SigningKey::from_seed([1; 32])
    }

    fn device() -> DeviceRow {
        DeviceRow {
            device: DeviceId(Uuid::from_u128(1)),
            contract: ContractId(Uuid::from_u128(2)),
            site: SiteId(Uuid::from_u128(3)),
            record_key: key().verifying_key(),
            revoked_us: None,
            certificate: Default::default(),
            heard_us: None,
            heartbeat: None,
        }
    }

    fn batch(records: &[&str]) -> Batch {
        Batch {
            device_id: device().device,
            epoch: Epoch(1),
            first_seq: Seq(5),
            prev: Sha256::ZERO,
            records: records.iter().map(|r| r.as_bytes().to_vec()).collect(),
        }
    }

    const TIME: &str = r#""captured_at_us":1,"boot_id":"00000000-0000-0000-0000-000000000001",
        "boottime_ns":1,"clock":{"state":"unsynced","offset_us":0}"#;

    fn code_of(bytes: Vec<u8>) -> (&'static str, bool) {
        let refused = judge(&device(), bytes).expect_err("refused");
        (refused.code, refused.numbers.is_some())
    }

    #[test]
    fn what_is_wrong_is_told_by_code() {
        let good = batch(&["{}"]).sign(&key()).into_bytes();
        let mut changed = good.clone();
        *changed.last_mut().expect("bytes") ^= 1;
        let foreign = Batch {
            device_id: DeviceId(Uuid::from_u128(9)),
            ..batch(&["{}"])
        };
        let cases = [
            (changed, (code::BAD_SIGNATURE, true)),
            (good[..good.len() - 1].to_vec(), (code::BAD_SHAPE, false)),
            (b"short".to_vec(), (code::BAD_SHAPE, false)),
            (
                vec![0; wire::batch::MAX_BATCH_BYTES + 1],
                (code::OVERSIZED, false),
            ),
            (
                foreign.sign(&key()).into_bytes(),
                (code::FOREIGN_DEVICE, true),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(code_of(bytes), expected);
        }
    }

    #[test]
    fn numbers_that_nobody_can_reckon_with_are_refused() {
        let state = |time: &str| {
            format!(
                r#"{{"v":1,{time},"kind":"device_state","state":"started","agent_version":"1"}}"#
            )
        };
        let changed = |from: &str, to: &str| state(&TIME.replace(from, to));
        let cases = [
            (state(TIME), true),
            (
                changed(
                    r#""captured_at_us":1"#,
                    r#""captured_at_us":9223372036854775807"#,
                ),
                false,
            ),
            (
                changed(
                    r#""captured_at_us":1"#,
                    r#""captured_at_us":-9223372036854775808"#,
                ),
                false,
            ),
            (
                changed(r#""captured_at_us":1"#, r#""captured_at_us":1e99"#),
                false,
            ),
            (
                changed(r#""captured_at_us":1"#, r#""captured_at_us":NaN"#),
                false,
            ),
            (
                changed(
                    r#""boottime_ns":1"#,
                    r#""boottime_ns":18446744073709551615"#,
                ),
                true,
            ),
            (
                changed(r#""offset_us":0"#, r#""offset_us":-9223372036854775808"#),
                false,
            ),
            (
                changed(
                    r#""captured_at_us":1"#,
                    r#""captured_at_us":253402300799999999"#,
                ),
                true,
            ),
        ];
        for (json, good) in cases {
            assert_eq!(read(json.as_bytes()).is_ok(), good, "{json}");
        }
        let media = |quality: &str| {
            format!(
                r#"{{"v":1,{TIME},"kind":"media","sha256":"{}","class":"snapshot","bytes":1,
                "content_type":"image/jpeg","camera":"00000000-0000-0000-0000-000000000001","width":1,
                "height":1,"boxes":[],"quality":{quality},"masked":false}}"#,
                Sha256::ZERO
            )
        };
        for (quality, good) in [("0.5", true), ("1e300", false), ("1e999", false)] {
            assert_eq!(read(media(quality).as_bytes()).is_ok(), good, "{quality}");
        }
    }

    #[test]
    fn a_bad_record_does_not_take_its_neighbours_along() {
        let known = format!(
            r#"{{"v":1,{TIME},"kind":"device_state","state":"started","agent_version":"1"}}"#
        );
        let unknown = format!(r#"{{"v":1,{TIME},"kind":"levitation","height":3}}"#);
        let newer = format!(r#"{{"v":2,{TIME},"kind":"event","id":17}}"#);
        let broken = format!(r#"{{"v":1,{TIME},"kind":"event","id":17}}"#);
        let signed = batch(&[&known, &unknown, &newer, &broken, "not json"]).sign(&key());
        let accepted = judge(&device(), signed.into_bytes()).expect("accepted");
        let kinds: Vec<_> = accepted
            .records
            .iter()
            .map(|record| record.as_ref().map(|r| r.body.kind()).map_err(|code| *code))
            .collect();
        assert_eq!(
            kinds,
            [
                Ok("device_state"),
                Ok("unknown"),
                Ok("unknown"),
                Err(code::BAD_SHAPE),
                Err(code::BAD_SHAPE)
            ]
        );
    }
}
