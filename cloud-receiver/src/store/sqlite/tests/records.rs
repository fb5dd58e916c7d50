//! Records whose agreed time is over: what goes, what stays, and that neither looks lost nor checked.

use super::super::records as rows;
use super::*;
use crate::blob::{Announced, Begun, Blobs, Ended, Owner};
use crate::evidence::check_store;
use crate::evidence::deliveries::balance;
use crate::evidence::export::Sources;
use crate::jobs;
use crate::store::retention::{Cutoffs, RecordBook, RecordsGone, RetentionBook, RetentionReads};
use crate::store::{ContractBook, ErasureBook, EvidenceReads, HeadsBook, Hold, Retention, Terms};
use wire::evidence::{Finding, Weight};
use wire::record::{DeviceStateRecord, GapRecord};

const DAY_US: i64 = 24 * 3600 * 1_000_000;
const MINUTE_US: i64 = 60_000_000;

fn days_ago(days: i64) -> i64 {
    NOW.0 - days * DAY_US
}

fn closed(id: u128, revision: u32, opened: i64) -> Record {
    let Body::Event(mut body) = event(id, revision, opened).body else {
        panic!("an event");
    };
    body.closed_at_us = Some(UtcMicros(opened + MINUTE_US));
    Record::new(time(opened), Body::Event(body))
}

fn picture(at: i64, bytes: &[u8], event: Option<u128>) -> Record {
    let Body::Media(mut media) = snapshot(1, bytes, 0.5).body else {
        panic!("a picture");
    };
    media.event = event.map(|id| EventId(Uuid::from_u128(id)));
    Record::new(time(at), Body::Media(media))
}

fn gap(at: i64, class: &str, camera: Option<CameraId>, count: u64) -> Record {
    let body = GapRecord {
        from_us: UtcMicros(at - MINUTE_US),
        to_us: UtcMicros(at),
        camera,
        class: class.into(),
        count,
        reason: "disk_full".into(),
    };
    Record::new(time(at), Body::Gap(body))
}

fn count(at: i64) -> Record {
    let body = CountRecord {
        camera: camera(1),
        minute_us: UtcMicros(at - MINUTE_US),
        class: "person".into(),
        zone: None,
        line: None,
        direction: None,
        count: 3,
        peak: None,
    };
    Record::new(time(at), Body::Count(body))
}

fn started(at: i64) -> Record {
    let body = DeviceStateRecord {
        state: "started".into(),
        agent_version: "0.1.0".into(),
        model: None,
    };
    Record::new(time(at), Body::DeviceState(body))
}

/// Batches, each of several records.
fn batches(bench: &Bench, epoch: u64, mut prev: Sha256, all: &[Vec<Record>]) -> Vec<Vec<u8>> {
    let mut made = Vec::new();
    let mut first = 1;
    for records in all {
        let batch = Batch {
            device_id: bench.device.device,
            epoch: Epoch(epoch),
            first_seq: Seq(first),
            prev,
            records: records.iter().map(Record::to_json).collect(),
        };
        first += records.len() as u64;
        let signed = batch.sign(&bench.key);
        prev = signed.hash();
        made.push(signed.into_bytes());
    }
    made
}

impl Bench {
    async fn deliver_at(&self, bytes: &[u8], at: UtcMicros) -> Receipt {
        let accepted = vec![self.judged(bytes)];
        let mut receipts = self.store.accept(accepted, at).await.unwrap();
        receipts.pop().unwrap().1
    }

    /// Each arrives when its first record is captured, a minute later.
    async fn deliver_all(&self, batches: &[Vec<u8>]) {
        for batch in batches {
            let accepted = self.judged(batch);
            let first = accepted.records[0].as_ref().unwrap();
            let at = first.time.captured_at_us.plus_us(MINUTE_US);
            self.deliver_at(batch, at).await;
        }
    }

    async fn agree(&self, records_days: Option<u32>, snapshots_days: Option<u32>) {
        let terms = Terms {
            retention: Retention {
                records_days,
                snapshots_days,
                ..Retention::default()
            },
            ..Terms::default()
        };
        let set = self.store.set_terms(self.contract, &terms, NOW);
        set.await.unwrap();
    }

    /// One pass of the job at so many days from now; how many records went.
    async fn pass(&self, days: i64) -> u64 {
        let at = NOW.plus_us(days * DAY_US);
        jobs::retention::once(&self.blobs(), &self.store, at)
            .await
            .unwrap();
        jobs::retention::records(&self.blobs(), &self.store, at)
            .await
            .unwrap()
    }

    fn blobs(&self) -> Blobs {
        Blobs::open(self._dir.path(), Arc::new(self.store.clone()), 1 << 20).unwrap()
    }

    async fn upload(&self, blobs: &Blobs, bytes: &'static [u8]) {
        let owner = Owner {
            contract: self.contract,
            device: self.device.device,
        };
        let announced = Announced {
            sha256: Sha256::of(bytes),
            offset: 0,
            length: bytes.len() as u64,
            content_type: "image/jpeg".into(),
        };
        let Begun::Upload(mut upload) = blobs.begin(owner, announced).await.unwrap() else {
            panic!("it is here already");
        };
        upload
            .write(bytes::Bytes::from_static(bytes))
            .await
            .unwrap();
        assert_eq!(upload.end(NOW).await.unwrap(), Ended::Stored(true));
    }

    async fn number(&self, sql: &'static str) -> i64 {
        let read = self
            .store
            .read(move |connection| Ok(connection.query_row(sql, [], |row| row.get(0))?));
        read.await.unwrap()
    }

    async fn left(&self) -> i64 {
        self.number("select count(*) from batch where length(sealed) > 0")
            .await
    }

    /// What `verify` finds.
    async fn found(&self) -> Vec<Finding> {
        let sources = Sources {
            store: self.store.clone(),
            blobs: Arc::new(self.blobs()),
            key: Arc::new(SigningKey::from_seed([8; 32])),
        };
        let report = check_store::check(&sources, None, Vec::new()).await;
        report.unwrap().findings
    }

    async fn nothing_looks_lost(&self) {
        let found = self.found().await;
        let bad: Vec<_> = found
            .iter()
            .filter(|finding| finding.weight() > Weight::Note)
            .collect();
        assert!(bad.is_empty(), "{bad:?}");
        let devices = self.store.evidence_devices(None).await.unwrap();
        let rows = self.store.audit_rows(self.device.device, None).await;
        let balance = balance(&devices[0], &rows.unwrap(), &[], None);
        assert_eq!(balance.differences, []);
    }

    async fn hold(&self, id: u128, camera: Option<CameraId>, from: Option<i64>, to: Option<i64>) {
        let hold = Hold {
            id: Uuid::from_u128(id),
            contract: self.contract,
            site: None,
            camera,
            from_us: from.map(UtcMicros),
            to_us: to.map(UtcMicros),
            placed_us: NOW,
            why: "request".into(),
        };
        self.store.add_hold(hold).await.unwrap();
    }
}

/// An old day with everything, and a young one.
fn two_days() -> Vec<Vec<Record>> {
    let old = days_ago(100);
    let young = days_ago(1);
    let mut last = closed(1, 2, old + MINUTE_US);
    last.time = time(old + 3 * MINUTE_US);
    vec![
        vec![started(old), camera_state(old, "running")],
        vec![
            closed(1, 1, old + MINUTE_US),
            picture(old + MINUTE_US, b"never came", Some(1)),
            count(old + 2 * MINUTE_US),
            gap(old + 2 * MINUTE_US, "snapshot", Some(camera(1)), 1),
        ],
        vec![last],
        vec![started(old + DAY_US), camera_state(old + DAY_US, "running")],
        vec![closed(2, 1, young), count(young + MINUTE_US)],
    ]
}

#[tokio::test]
async fn records_go_by_their_age_and_the_rest_still_verifies_and_adds_up() {
    let bench = bench().await;
    bench
        .deliver_all(&batches(&bench, 1, Sha256::ZERO, &two_days()))
        .await;
    let lines = async || {
        let rows = bench.store.audit_rows(bench.device.device, None).await;
        let devices = bench.store.evidence_devices(None).await.unwrap();
        let balance = balance(&devices[0], &rows.unwrap(), &[], None);
        let lines = balance.lines.into_iter();
        let received: Vec<_> = lines.map(|(key, line)| (key, line.received)).collect();
        (received, balance.deleted)
    };
    let before = lines().await;
    let holdings = bench.store.holdings().await.unwrap();
    bench.nothing_looks_lost().await;
    assert_eq!(bench.pass(0).await, 0, "nothing was agreed");
    bench.agree(Some(101), None).await;
    assert_eq!(bench.pass(0).await, 0, "too young");
    let seen = bench.store.records_before(bench.scope()).await.unwrap();
    assert_eq!(seen, None);
    bench.agree(Some(30), None).await;
    assert_eq!(bench.pass(0).await, 7);
    assert_eq!(bench.pass(0).await, 0, "again");
    // The second of the old states stays: it says how it stood when the time began that is kept.
    assert_eq!(bench.left().await, 2);
    for (table, rows) in [
        ("select count(*) from event", 1),
        ("select count(*) from media", 0),
        ("select count(*) from gap", 0),
        ("select count(*) from minute_count", 1),
        ("select count(*) from state_change", 2),
        ("select count(*) from camera_state", 1),
        ("select count(*) from event_batch", 0),
        ("select count(*) from event_hour", 1),
        ("select sum(q0 + q1 + q2 + q3) from event_hour", 1),
        ("select count(*) from stored_range", 1),
        ("select count(*) from batch", 5),
    ] {
        assert_eq!(bench.number(table).await, rows, "{table}");
    }
    bench.nothing_looks_lost().await;
    let told = bench.found().await;
    let deleted = Finding::RecordsDeleted {
        device: bench.device.device,
        records: 7,
        batches: 3,
    };
    assert!(told.contains(&deleted), "{told:?}");
    let after = lines().await;
    assert_eq!(
        (after.0, after.1),
        (before.0, 7),
        "counted as received, and told"
    );
    assert_eq!(bench.store.holdings().await.unwrap(), holdings);
    let seen = bench.store.records_before(bench.scope()).await.unwrap();
    assert_eq!(seen, Some(NOW.plus_us(-30 * DAY_US)));
    let noted = "select sum(detail ->> 'records') from audit where action = 'retention.delete'";
    assert_eq!(bench.number(noted).await, 7);
}

#[tokio::test]
async fn a_repeat_of_a_deleted_batch_is_known_and_a_late_one_goes_when_it_has_come() {
    let bench = bench().await;
    let all = batches(&bench, 1, Sha256::ZERO, &two_days());
    // The third, with the last revision of the event, is late.
    bench.deliver_all(&all[..2]).await;
    bench.deliver_all(&all[3..]).await;
    bench.agree(Some(30), None).await;
    assert_eq!(bench.pass(0).await, 6);
    let stored = bench.number("select count(*) from batch").await;
    let receipt = bench.deliver(&all[0]).await;
    assert_eq!(bench.number("select count(*) from batch").await, stored);
    assert!(receipt.rejected.is_empty());
    assert_eq!(bench.left().await, 2);

    let receipt = bench.deliver(&all[2]).await;
    assert!(receipt.rejected.is_empty() && receipt.holes.is_empty());
    assert_eq!(bench.left().await, 3);
    assert_eq!(bench.number("select count(*) from event").await, 2);
    assert_eq!(bench.pass(0).await, 1);
    assert_eq!(bench.number("select count(*) from event").await, 1);
    assert!(
        bench
            .links()
            .await
            .iter()
            .all(|link| *link == LinkState::Ok)
    );
    bench.nothing_looks_lost().await;
}

#[tokio::test]
async fn a_picture_that_is_kept_keeps_its_event_and_every_batch_of_it() {
    let bench = bench().await;
    let old = days_ago(100);
    let all = vec![
        vec![event(1, 1, old)],
        vec![picture(old, b"kept", Some(1))],
        vec![closed(1, 2, old)],
        vec![closed(2, 1, old)],
    ];
    bench
        .deliver_all(&batches(&bench, 1, Sha256::ZERO, &all))
        .await;
    let blobs = bench.blobs();
    bench.upload(&blobs, b"kept").await;
    bench.agree(Some(30), None).await;
    assert_eq!(bench.pass(0).await, 1, "only the event without a picture");
    assert_eq!(bench.left().await, 3);
    bench.nothing_looks_lost().await;
    // Its time is over, too: it goes, and its event with it, when it is looked at again.
    bench.agree(Some(30), Some(60)).await;
    assert_eq!(bench.pass(0).await, 0);
    assert_eq!(bench.pass(1).await, 3);
    assert_eq!(bench.left().await, 0);
    bench.nothing_looks_lost().await;
}

#[tokio::test]
async fn a_hold_keeps_what_it_covers() {
    let bench = bench().await;
    bench
        .deliver_all(&batches(&bench, 1, Sha256::ZERO, &two_days()))
        .await;
    let Body::Event(mut elsewhere) = closed(9, 1, days_ago(1)).body else {
        panic!("an event");
    };
    elsewhere.camera = camera(2);
    let elsewhere = Record::new(time(days_ago(1)), Body::Event(elsewhere));
    let more = batches(&bench, 2, Sha256::ZERO, &[vec![elsewhere]]);
    bench.deliver_all(&more).await;
    bench.agree(Some(30), None).await;
    let old = days_ago(100);
    bench.hold(1, None, None, None).await;
    assert_eq!(bench.pass(0).await, 0, "all of the contract");
    assert_eq!(bench.number("select count(*) from minute_count").await, 2);
    bench
        .hold(2, Some(camera(1)), Some(old), Some(old + MINUTE_US * 2))
        .await;
    bench
        .store
        .remove_hold(Uuid::from_u128(1), NOW)
        .await
        .unwrap();
    assert_eq!(bench.pass(1).await, 0, "of that camera and time");
    bench.hold(3, Some(camera(2)), None, None).await;
    bench.hold(4, None, Some(days_ago(50)), None).await;
    bench
        .store
        .remove_hold(Uuid::from_u128(2), NOW)
        .await
        .unwrap();
    assert_eq!(bench.pass(2).await, 7, "another camera, another time");
}

#[tokio::test]
async fn open_events_stay_until_their_device_starts_anew_and_guesses_until_they_are_old_here() {
    let bench = bench().await;
    let old = days_ago(100);
    let mut guess = closed(3, 1, old);
    guess.time.clock = ClockStamp::UNSYNCED;
    let all = vec![vec![event(1, 1, old)], vec![guess], vec![started(old - 1)]];
    let made = batches(&bench, 1, Sha256::ZERO, &all);
    for batch in &made {
        bench.deliver(batch).await;
    }
    bench.agree(Some(30), None).await;
    assert_eq!(bench.pass(0).await, 0);
    // The guess has been here for as long; the open one is still open.
    assert_eq!(bench.pass(31).await, 1);
    assert_eq!(
        bench
            .number("select count(*) from event where closed_us is null")
            .await,
        1
    );
    let again = batches(&bench, 2, hash_of(&made[2]), &[vec![started(days_ago(-1))]]);
    bench.deliver_at(&again[0], NOW.plus_us(DAY_US)).await;
    assert_eq!(bench.pass(33).await, 2, "with the former start");
    bench.nothing_looks_lost().await;
}

#[tokio::test]
async fn losses_that_were_told_still_explain_a_hole_when_the_record_of_them_is_gone() {
    let bench = bench().await;
    let old = days_ago(100);
    let all = vec![
        vec![started(old)],
        vec![closed(1, 1, old), closed(2, 1, old)],
        vec![gap(old + MINUTE_US, "records", None, 2)],
        vec![started(old + DAY_US)],
    ];
    let made = batches(&bench, 1, Sha256::ZERO, &all);
    for index in [0, 2, 3] {
        bench.deliver_all(&made[index..=index]).await;
    }
    let shed = |found: &[Finding]| {
        found
            .iter()
            .any(|finding| matches!(finding, Finding::RecordsShed { .. }))
    };
    assert!(shed(&bench.found().await));
    bench.agree(Some(30), None).await;
    assert_eq!(bench.pass(0).await, 2);
    assert!(shed(&bench.found().await));
    bench.nothing_looks_lost().await;
}

#[tokio::test]
async fn a_picture_that_comes_after_its_record_went_goes_too() {
    let bench = bench().await;
    let old = days_ago(100);
    bench
        .deliver_all(&batches(
            &bench,
            1,
            Sha256::ZERO,
            &[vec![picture(old, b"late", None)]],
        ))
        .await;
    bench.agree(Some(30), None).await;
    assert_eq!(bench.pass(0).await, 1);
    let blobs = bench.blobs();
    bench.upload(&blobs, b"late").await;
    let sha256 = Sha256::of(b"late");
    assert!(blobs.has(bench.contract, sha256).await.unwrap());
    bench.pass(0).await;
    assert!(!blobs.has(bench.contract, sha256).await.unwrap());
    assert_eq!(bench.number("select count(*) from blob").await, 0);
    bench.nothing_looks_lost().await;
}

#[tokio::test]
async fn a_batch_that_was_emptied_by_another_way_is_found() {
    let bench = bench().await;
    bench
        .deliver_all(&batches(&bench, 1, Sha256::ZERO, &two_days()))
        .await;
    bench.agree(Some(30), None).await;
    bench.pass(0).await;
    let emptied = "update batch set sealed = x'', records = '[]' where no = 5";
    let emptied = bench
        .store
        .write(move |connection| Ok(connection.execute(emptied, [])?));
    assert_eq!(emptied.await.unwrap(), 1);
    let found = bench.found().await;
    let unnoted = Finding::DeletionUnnoted {
        batches: 4,
        noted: 3,
    };
    assert!(found.contains(&unnoted), "{found:?}");
}

#[tokio::test]
async fn a_few_batches_a_commit_and_what_stays_is_looked_at_once_a_day() {
    let bench = bench().await;
    let old = days_ago(100);
    let mut all: Vec<Vec<Record>> = (0..10)
        .map(|index| vec![closed(index, 1, old + index as i64)])
        .collect();
    all.push(vec![event(99, 1, old + 20)]);
    bench
        .deliver_all(&batches(&bench, 1, Sha256::ZERO, &all))
        .await;
    let cutoff = NOW.plus_us(-30 * DAY_US);
    let gone = async |cutoff| {
        let gone = bench.store.expire_records(bench.contract, cutoff, 4, NOW);
        gone.await.unwrap()
    };
    let expected = |records, looked_at| RecordsGone {
        records,
        batches: records,
        looked_at,
    };
    assert_eq!(gone(cutoff).await, expected(4, 4));
    assert_eq!(gone(cutoff).await, expected(4, 4));
    assert_eq!(gone(cutoff).await, expected(2, 3));
    assert_eq!(gone(cutoff).await, expected(0, 0));
    let hour_us = 60 * MINUTE_US;
    assert_eq!(
        gone(cutoff.plus_us(23 * hour_us)).await,
        expected(0, 0),
        "looked at already"
    );
    assert_eq!(gone(cutoff.plus_us(24 * hour_us)).await, expected(0, 1));
    let none = Cutoffs::default();
    let pictures = bench.store.expire(bench.contract, none, 1, NOW).await;
    assert_eq!(pictures.unwrap(), []);
}

/// Every step begins at a key: none goes through a table, whatever it holds.
#[tokio::test]
async fn what_may_go_is_found_by_keys() {
    let bench = bench().await;
    let may_go = rows::may_go_sql();
    let plans = bench.store.read(move |connection| {
        let mut plans = Vec::new();
        let mut all = vec![rows::CANDIDATES.to_owned(), may_go];
        all.extend(rows::GO.iter().map(|sql| (*sql).to_owned()));
        for beside in &rows::BESIDE {
            all.extend([beside.is_any(), beside.go()]);
        }
        for sql in all {
            let mut statement = connection.prepare(&format!("explain query plan {sql}"))?;
            let steps = statement.query_map(
                rusqlite::params_from_iter(vec![
                    rusqlite::types::Null;
                    statement.parameter_count()
                ]),
                |row| row.get::<_, String>(3),
            )?;
            let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>()?;
            plans.push((sql, steps));
        }
        Ok(plans)
    });
    for (sql, steps) in plans.await.unwrap() {
        for step in &steps {
            let through = step.strip_prefix("SCAN ").unwrap_or_default();
            let own = [
                "b",
                "said",
                "clock",
                "e",
                "r VIRTUAL TABLE INDEX 1:",
                "CONSTANT ROW",
            ];
            let derived = through.starts_with('(') || own.contains(&through);
            assert!(through.is_empty() || derived, "{step}\n{sql}\n{steps:#?}");
        }
    }
}
