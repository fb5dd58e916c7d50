//! Reading records fast: a receiver spends as long on it as on checking signatures.
//!
//! Serde's own way for a flattened, tagged type keeps every value in memory until it has seen the tag, and takes three
//! times as long. Here the head is read as it comes, and when `kind` is known the rest goes straight into the body.

use super::{
    AuditRecord, Body, CameraStateRecord, ClockRecord, CountRecord, DeviceStateRecord, EventRecord,
    EventState, GapRecord, MediaRecord, NormBox, PathPoint, Reason, Record,
};
use crate::digest::Sha256;
use crate::ids::{CameraId, EventId};
use crate::time::{BootId, ClockStamp, RecordTime, UtcMicros};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use std::borrow::Cow;
use std::fmt;

/// What every record has beside its body.
#[derive(Deserialize)]
struct Head<'a> {
    v: u8,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    captured_at_us: UtcMicros,
    boot_id: BootId,
    boottime_ns: u64,
    clock: ClockStamp,
}

/// Reads the head, and then the same bytes again as what the head says they are.
pub(super) fn in_any_order(bytes: &[u8]) -> serde_json::Result<Record> {
    let head: Head<'_> = serde_json::from_slice(bytes)?;
    let mut body = serde_json::Deserializer::from_slice(bytes);
    Ok(Record {
        v: head.v,
        body: read_body(&head.kind, &mut body)?,
        time: RecordTime {
            captured_at_us: head.captured_at_us,
            boot_id: head.boot_id,
            boottime_ns: head.boottime_ns,
            clock: head.clock,
        },
    })
}

/// `None` where `kind` does not stand behind the rest of the head and before the body.
pub(super) fn in_order(bytes: &[u8]) -> serde_json::Result<Option<Record>> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let record = json.deserialize_map(InOrder)?;
    json.end()?;
    Ok(record)
}

fn read_body<'de, D: Deserializer<'de>>(kind: &str, rest: D) -> Result<Body, D::Error> {
    Ok(match kind {
        "event" => Body::Event(EventRecord::deserialize(rest)?),
        "media" => Body::Media(MediaRecord::deserialize(rest)?),
        "count" => Body::Count(CountRecord::deserialize(rest)?),
        "camera_state" => Body::CameraState(CameraStateRecord::deserialize(rest)?),
        "device_state" => Body::DeviceState(DeviceStateRecord::deserialize(rest)?),
        "clock" => Body::Clock(ClockRecord::deserialize(rest)?),
        "gap" => Body::Gap(GapRecord::deserialize(rest)?),
        "audit" => Body::Audit(AuditRecord::deserialize(rest)?),
        _ => {
            IgnoredAny::deserialize(rest)?;
            Body::Unknown
        }
    })
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    V,
    CapturedAtUs,
    BootId,
    BoottimeNs,
    Clock,
    Kind,
    #[serde(other)]
    OfBody,
}

#[derive(Default)]
struct Seen {
    v: Option<u8>,
    captured_at_us: Option<UtcMicros>,
    boot_id: Option<BootId>,
    boottime_ns: Option<u64>,
    clock: Option<ClockStamp>,
}

impl Seen {
    fn head(self) -> Option<(u8, RecordTime)> {
        let time = RecordTime {
            captured_at_us: self.captured_at_us?,
            boot_id: self.boot_id?,
            boottime_ns: self.boottime_ns?,
            clock: self.clock?,
        };
        Some((self.v?, time))
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Option<Record>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = Seen::default();
        while let Some(field) = map.next_key()? {
            let is_first = match field {
                Field::V => once(&mut seen.v, &mut map)?,
                Field::CapturedAtUs => once(&mut seen.captured_at_us, &mut map)?,
                Field::BootId => once(&mut seen.boot_id, &mut map)?,
                Field::BoottimeNs => once(&mut seen.boottime_ns, &mut map)?,
                Field::Clock => once(&mut seen.clock, &mut map)?,
                Field::Kind => {
                    let kind: Cow<'de, str> = map.next_value()?;
                    let Some((v, time)) = seen.head() else {
                        break;
                    };
                    let body = read_body(&kind, MapAccessDeserializer::new(Rest(&mut map)))?;
                    return Ok(Some(Record { v, time, body }));
                }
                Field::OfBody => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if !is_first {
                break;
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// What stands behind `kind`. Nothing of the head may come again: others would read the last one, we the first.
struct Rest<'a, A>(&'a mut A);

const HEAD: [&str; 6] = [
    "v",
    "captured_at_us",
    "boot_id",
    "boottime_ns",
    "clock",
    "kind",
];

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(Name(name)) = self.0.next_key()? else {
            return Ok(None);
        };
        if HEAD.contains(&name.as_ref()) {
            let twice = format_args!("duplicate field `{name}`");
            return Err(de::Error::custom(twice));
        }
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}

/// Whether the field had not been there before.
fn once<'de, T: de::Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    map: &mut A,
) -> Result<bool, A::Error> {
    Ok(place.replace(map.next_value()?).is_none())
}

/// An event as it is read: `flatten` would keep every value in memory to look for the rectangle's, and events are most
/// of what a receiver reads.
#[derive(Deserialize)]
pub(super) struct EventFields {
    id: EventId,
    revision: u32,
    state: EventState,
    camera: CameraId,
    class: String,
    score: f32,
    opened_at_us: UtcMicros,
    last_seen_at_us: UtcMicros,
    #[serde(default)]
    closed_at_us: Option<UtcMicros>,
    track: u64,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
    #[serde(default)]
    path: Vec<PathPoint>,
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    reasons: Vec<Reason>,
    #[serde(default)]
    media: Vec<Sha256>,
}

impl From<EventFields> for EventRecord {
    fn from(read: EventFields) -> Self {
        Self {
            id: read.id,
            revision: read.revision,
            state: read.state,
            camera: read.camera,
            class: read.class,
            score: read.score,
            opened_at_us: read.opened_at_us,
            last_seen_at_us: read.last_seen_at_us,
            closed_at_us: read.closed_at_us,
            track: read.track,
            rect: NormBox {
                x: read.x,
                y: read.y,
                w: read.w,
                h: read.h,
            },
            path: read.path,
            zones: read.zones,
            reasons: read.reasons,
            media: read.media,
        }
    }
}
