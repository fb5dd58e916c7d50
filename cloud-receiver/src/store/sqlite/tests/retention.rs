//! What goes when its agreed time is over, what stays, and what is said of it.

use super::*;
use crate::blob::Blobs;
use crate::jobs;
use crate::store::retention::{Cutoffs, RetentionBook};
use crate::store::{ContractBook, ErasureBook, EvidenceReads, Hold, Retention, Snapshot, Terms};

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// A picture of a class, of an age in days, as delivered with its bytes.
fn picture(days_old: i64, class: MediaClass, bytes: &[u8], event: Option<u128>) -> Record {
    let Body::Media(mut media) = snapshot(1, bytes, 0.5).body else {
        panic!("a picture");
    };
    media.class = class;
    media.event = event.map(|id| EventId(Uuid::from_u128(id)));
    Record::new(time(NOW.0 - days_old * DAY_US), Body::Media(media))
}

impl Bench {
    async fn arrived(&self, bytes: &[u8]) {
        let blob = BlobRow {
            contract: self.contract,
            sha256: Sha256::of(bytes),
            device: self.device.device,
            bytes: bytes.len() as u64,
            content_type: "image/jpeg".into(),
        };
        assert!(self.store.blob_arrived(blob, NOW).await.unwrap());
    }

    async fn expired(&self, snapshots: Option<u32>, periodic: Option<u32>) -> Vec<Sha256> {
        let retention = Retention {
            snapshots_days: snapshots,
            periodic_days: periodic,
            ..Retention::default()
        };
        let cutoffs = Cutoffs::of(&retention, NOW);
        let gone = self.store.expire(self.contract, cutoffs, 100, NOW);
        gone.await.unwrap()
    }
}

async fn delivered() -> Bench {
    let bench = bench().await;
    let old = NOW.0 - 100 * DAY_US;
    let records = [
        camera_state(old, "running"),
        event(1, 1, old),
        picture(100, MediaClass::Snapshot, b"old", Some(1)),
        picture(50, MediaClass::Snapshot, b"young", None),
        picture(100, MediaClass::Periodic, b"periodic", None),
        // The same bytes, as the picture of an old record and of a young one.
        picture(100, MediaClass::Snapshot, b"shared", None),
        picture(10, MediaClass::Snapshot, b"shared", None),
    ];
    for batch in chain(&bench, 1, Sha256::ZERO, &records) {
        bench.deliver(&batch).await;
    }
    for bytes in [&b"old"[..], b"young", b"periodic", b"shared"] {
        bench.arrived(bytes).await;
    }
    bench
}

#[tokio::test]
async fn pictures_go_by_class_and_age_and_are_called_deleted_not_lost() {
    let bench = delivered().await;
    assert_eq!(bench.expired(None, None).await, []);
    assert_eq!(bench.expired(Some(101), Some(101)).await, []);
    assert_eq!(
        bench.expired(None, Some(90)).await,
        [Sha256::of(b"periodic")]
    );
    assert_eq!(
        bench.expired(Some(90), Some(90)).await,
        [Sha256::of(b"old")]
    );
    assert_eq!(bench.expired(Some(90), Some(90)).await, []);

    let store = &bench.store;
    let detail = store
        .event(bench.scope(), EventId(Uuid::from_u128(1)))
        .await;
    assert_eq!(detail.unwrap().unwrap().row.snapshot, Snapshot::Expired);
    assert_eq!(store.overdue_media(NOW.plus_us(1)).await.unwrap(), []);
    let audit = store.audit_rows(bench.device.device, None).await.unwrap();
    assert_eq!(audit.awaited, []);
    let here: u64 = audit.pictures_here.iter().map(|row| row.count).sum();
    assert_eq!(here, 5, "all five arrived");
    // With the younger of the two the shared bytes go, too.
    assert_eq!(bench.expired(Some(9), None).await.len(), 2);
}

#[tokio::test]
async fn a_hold_keeps_what_it_covers_and_no_more() {
    let bench = delivered().await;
    let hold = |id, from: Option<i64>, camera: Option<CameraId>| Hold {
        id: Uuid::from_u128(id),
        contract: bench.contract,
        site: Some(bench.device.site),
        camera,
        from_us: from.map(|days| NOW.plus_us(-days * DAY_US)),
        to_us: None,
        placed_us: NOW,
        why: "request".into(),
    };
    let store = &bench.store;
    // Of a later time: nothing old is covered but what is shared with it.
    store
        .add_hold(hold(1, Some(20), Some(camera(1))))
        .await
        .unwrap();
    assert_eq!(bench.expired(Some(90), None).await, [Sha256::of(b"old")]);
    assert_eq!(bench.expired(Some(9), None).await, [Sha256::of(b"young")]);
    store.add_hold(hold(2, None, None)).await.unwrap();
    assert_eq!(bench.expired(Some(1), Some(1)).await, []);
    for id in [1, 2] {
        store.remove_hold(Uuid::from_u128(id), NOW).await.unwrap();
    }
    assert_eq!(bench.expired(Some(1), Some(1)).await.len(), 2);
}

#[tokio::test]
async fn a_hold_on_a_site_covers_what_was_seen_there_by_a_box_that_moved_since() {
    let bench = delivered().await;
    let (store, device) = (&bench.store, &bench.device);
    let other = store
        .add_site(bench.contract, "elsewhere", NOW)
        .await
        .unwrap();
    let claim = Sha256::of(b"moved");
    let moved_at = NOW.plus_us(-60 * DAY_US);
    store.add_claim(claim, other, moved_at, NOW).await.unwrap();
    let moved = NewDevice {
        device: device.device,
        record_key: bench.key.verifying_key(),
        agent_version: "0.1.0".into(),
        certificate: Default::default(),
    };
    store.enroll(claim, moved, moved_at).await.unwrap().unwrap();
    let hold = Hold {
        id: Uuid::from_u128(1),
        contract: bench.contract,
        site: Some(device.site),
        camera: None,
        from_us: None,
        to_us: None,
        placed_us: NOW,
        why: "request".into(),
    };
    store.add_hold(hold).await.unwrap();
    // What it saw at the other site is not covered.
    let gone = bench.expired(Some(1), Some(1)).await;
    assert_eq!(gone, [Sha256::of(b"young")]);
    store.remove_hold(Uuid::from_u128(1), NOW).await.unwrap();
    assert_eq!(bench.expired(Some(1), Some(1)).await.len(), 3);
}

#[tokio::test]
async fn what_is_wrong_with_one_contract_keeps_no_other_from_its_turn() {
    let bench = delivered().await;
    let store = &bench.store;
    let terms = Terms {
        retention: Retention {
            snapshots_days: Some(90),
            ..Retention::default()
        },
        ..Terms::default()
    };
    store.set_terms(bench.contract, &terms, NOW).await.unwrap();
    // The first by name, which is the first to be looked at.
    let broken = store.add_contract("0", NOW).await.unwrap();
    store.set_terms(broken, &terms, NOW).await.unwrap();
    let damage = "update contract set sealed_terms = x'00' where id = ?1";
    let damaged = store.write(move |connection| Ok(connection.execute(damage, [id16(broken.0)])?));
    assert_eq!(damaged.await.unwrap(), 1);
    assert!(store.contract(broken).await.is_err());
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(dir.path(), Arc::new(store.clone()), 1 << 20).unwrap();
    let gone = jobs::retention::once(&blobs, store, NOW).await.unwrap();
    assert_eq!(gone, 1, "the old one");
}
