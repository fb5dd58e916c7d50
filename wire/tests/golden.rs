//! The compatibility promise as a test: one frozen sample of every kind and version, which every later version
//! must read with the same meaning. Files are added, never changed.
//!
//! `GOLDEN_WRITE=1 cargo test -p wire --test golden` writes samples that do not exist yet; it never overwrites.
#![allow(clippy::unwrap_used)]

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use wire::command::{Command, Request, SignedCommand};
use wire::enroll::{EnrollRequest, EnrollResponse, Refusal};
use wire::evidence::erasure;
use wire::evidence::heads::{AuditHead, DeviceHead, EpochHead, Section, SignedHeads, Statement};
use wire::evidence::manifest as export;
use wire::heartbeat::{CameraReport, Heartbeat, SpoolReport};
use wire::record::*;
use wire::renew::{RenewRequest, RenewResponse};
use wire::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

/// Reads the frozen file as `T` and expects `sample`; writing it anew must give the same JSON.
fn check<T: Serialize + DeserializeOwned + Debug>(name: &str, sample: &T) {
    check_as(name, sample, |text| serde_json::from_str(text));
}

fn check_as<T: Serialize + Debug>(
    name: &str,
    sample: &T,
    read: impl Fn(&str) -> serde_json::Result<T>,
) {
    let path = folder().join(format!("{name}.json"));
    if !path.exists() && std::env::var_os("GOLDEN_WRITE").is_some() {
        let text = serde_json::to_string_pretty(sample).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let read: T = read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        format!("{read:?}"),
        format!("{sample:?}"),
        "{name} is read differently"
    );
    let frozen: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        serde_json::to_value(sample).unwrap(),
        frozen,
        "{name} is written differently"
    );
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn time() -> RecordTime {
    RecordTime {
        captured_at_us: UtcMicros(1_795_000_000_123_456),
        boot_id: BootId(uuid(0xb007)),
        boottime_ns: 987_654_321,
        clock: ClockStamp {
            state: ClockState::Synced,
            offset_us: -1500,
            error_us: Some(2500),
        },
    }
}

fn record(body: Body) -> Record {
    Record {
        v: 1,
        time: time(),
        body,
    }
}

const RECT: NormBox = NormBox {
    x: 0.25,
    y: 0.5,
    w: 0.125,
    h: 0.375,
};

fn bodies() -> Vec<Body> {
    let camera = CameraId(uuid(0xca));
    vec![
        Body::Event(EventRecord {
            id: EventId(uuid(0xe1)),
            revision: 2,
            state: EventState::Closed,
            camera,
            class: "person".into(),
            score: 0.75,
            opened_at_us: UtcMicros(1_795_000_000_000_000),
            last_seen_at_us: UtcMicros(1_795_000_000_123_456),
            closed_at_us: Some(UtcMicros(1_795_000_002_000_000)),
            track: 17,
            rect: RECT,
            path: vec![PathPoint {
                at_us: UtcMicros(1_795_000_000_000_000),
                x: 0.5,
                y: 0.75,
            }],
            zones: vec!["入口".into()],
            reasons: Vec::new(),
            media: vec![Sha256([0x11; 32])],
        }),
        Body::Media(MediaRecord {
            sha256: Sha256([0x22; 32]),
            class: MediaClass::Snapshot,
            bytes: 45_678,
            content_type: "image/jpeg".into(),
            camera,
            width: 1920,
            height: 1080,
            event: Some(EventId(uuid(0xe1))),
            command: Some(CommandId(uuid(0xc0))),
            boxes: vec![ObjectBox {
                class: "vehicle".into(),
                score: 0.5,
                rect: RECT,
                track: Some(17),
                event: Some(EventId(uuid(0xe1))),
            }],
            quality: 0.5,
            masked: true,
            moment: None,
        }),
        Body::Count(CountRecord {
            camera,
            minute_us: UtcMicros(1_795_000_020_000_000),
            class: "person".into(),
            zone: Some("入口".into()),
            line: Some("gate".into()),
            direction: Some("in".into()),
            count: 3,
            peak: None,
        }),
        Body::CameraState(CameraStateRecord {
            camera,
            name: "正門".into(),
            state: "retrying".into(),
            reason: Some("timeout".into()),
            width: Some(1920),
            height: Some(1080),
            codec: Some("h264".into()),
        }),
        Body::DeviceState(DeviceStateRecord {
            state: "started".into(),
            agent_version: "0.1.0".into(),
            model: Some("nanodet-g-416-int8".into()),
        }),
        Body::Clock(ClockRecord {
            before: ClockStamp::UNSYNCED,
            after: time().clock,
        }),
        Body::Gap(GapRecord {
            from_us: UtcMicros(1),
            to_us: UtcMicros(2),
            camera: Some(camera),
            class: "periodic".into(),
            count: 9,
            reason: "quota".into(),
        }),
        Body::Audit(AuditRecord {
            actor: "receiver".into(),
            action: "command.picture_now".into(),
            outcome: "done".into(),
            command: Some(CommandId(uuid(0xc0))),
            detail: Some("1 picture".into()),
            file: None,
        }),
    ]
}

/// What was added to kinds that had a sample already.
fn additions() -> Vec<(&'static str, Body)> {
    let camera = CameraId(uuid(0xca));
    let at_us = UtcMicros(1_795_000_000_000_000);
    let reason = |rule: &str| Reason {
        rule: rule.into(),
        name: None,
        direction: None,
        count: None,
        seconds: None,
        at_us,
    };
    let mut told = Vec::new();
    for body in bodies() {
        match body {
            Body::Event(event) => {
                let gate = Some("門".to_owned());
                let reasons = vec![
                    Reason {
                        name: Some("入口".into()),
                        ..reason("zone")
                    },
                    Reason {
                        name: gate.clone(),
                        direction: Some("in".into()),
                        ..reason("line")
                    },
                    Reason {
                        name: gate.clone(),
                        seconds: Some(60),
                        ..reason("loitering")
                    },
                    Reason {
                        name: gate,
                        count: Some(5),
                        ..reason("occupancy")
                    },
                ];
                told.push((
                    "event-reasons",
                    Body::Event(EventRecord {
                        reasons,
                        ..event.clone()
                    }),
                ));
                let blind = EventRecord {
                    class: CAMERA_CLASS.into(),
                    reasons: vec![reason("covered")],
                    zones: Vec::new(),
                    ..event
                };
                told.push(("event-camera", Body::Event(blind)));
            }
            Body::Media(media) => {
                let moment = Some("before".into());
                told.push(("media-moment", Body::Media(MediaRecord { moment, ..media })));
            }
            Body::Audit(audit) => {
                let file = FileRef {
                    sha256: Sha256([5; 32]),
                    bytes: 12_345,
                    content_type: "text/plain; charset=utf-8".into(),
                };
                let answer = AuditRecord {
                    action: "command.log_excerpt".into(),
                    file: Some(file),
                    ..audit
                };
                told.push(("audit-file", Body::Audit(answer)));
            }
            Body::Count(count) => {
                let occupied = CountRecord {
                    camera,
                    line: None,
                    direction: None,
                    peak: Some(2),
                    ..count
                };
                told.push(("count-peak", Body::Count(occupied)));
            }
            _ => {}
        }
    }
    told
}

#[test]
fn every_addition_keeps_its_meaning() {
    for (name, body) in additions() {
        check_as(&format!("record-{name}"), &record(body), |text| {
            Record::from_json(text.as_bytes())
        });
    }
}

#[test]
fn every_kind_of_record_keeps_its_meaning() {
    for body in bodies() {
        check_as(&format!("record-{}", body.kind()), &record(body), |text| {
            Record::from_json(text.as_bytes())
        });
    }
}

#[test]
fn records_read_the_same_in_whatever_order_their_fields_stand() {
    let additions = additions().into_iter().map(|(_, body)| body);
    for body in bodies().into_iter().chain(additions) {
        let record = record(body);
        let fields = serde_json::to_value(&record).unwrap();
        let fields: Vec<_> = fields.as_object().unwrap().iter().collect();
        for turn in 0..fields.len() {
            let turned = fields.iter().cycle().skip(turn).take(fields.len());
            let turned: Vec<_> = turned.map(|(k, v)| format!("\"{k}\":{v}")).collect();
            let json = format!("{{{}}}", turned.join(","));
            assert_eq!(
                Record::from_json(json.as_bytes()).unwrap(),
                record,
                "{json}"
            );
            let (name, value) = fields[turn];
            let twice = format!("{{{},\"{name}\":{value}}}", turned.join(","));
            assert!(Record::from_json(twice.as_bytes()).is_err(), "{twice}");
            let without = format!("{{{}}}", turned[1..].join(","));
            if ["boot_id", "clock", "kind", "v"].contains(&fields[turn].0.as_str()) {
                assert!(Record::from_json(without.as_bytes()).is_err(), "{without}");
            }
        }
    }
}

#[test]
fn a_newer_kind_and_newer_fields_are_tolerated() {
    let text = std::fs::read_to_string(folder().join("record-from-a-newer-device.json")).unwrap();
    let read = Record::from_json(text.as_bytes()).unwrap();
    assert_eq!(read.body, Body::Unknown);
    assert_eq!(read.time, time());
}

#[test]
fn control_messages_keep_their_meaning() {
    check(
        "receipt",
        &Receipt {
            epoch: Epoch(0xfeed_0000_0000_0001),
            through: Seq(40),
            holes: vec![SeqRange {
                first: Seq(7),
                last: Seq(9),
            }],
            rejected: vec![Rejected {
                seq: Seq(12),
                code: "bad_shape".into(),
            }],
            receiver_time_us: UtcMicros(1_795_000_000_000_000),
        },
    );
    check(
        "heartbeat",
        &Heartbeat {
            sent_at_us: UtcMicros(1_795_000_000_000_000),
            epoch: Epoch(0xfeed_0000_0000_0001),
            agent_version: "0.1.0".into(),
            uptime_seconds: 60,
            clock: time().clock,
            clock_checked_seconds_ago: Some(40),
            spool: SpoolReport {
                pending_records: 1,
                pending_blobs: 2,
                bytes: 3,
                parked_records: 4,
                oldest_pending_us: Some(UtcMicros(5)),
            },
            carriage: "mqtt".into(),
            cameras: vec![CameraReport {
                camera: CameraId(uuid(0xca)),
                state: "running".into(),
                reason: None,
                since_us: UtcMicros(6),
                frames_per_second_in: 15.0,
                frames_per_second_analysed: 5.0,
            }],
        },
    );
    check(
        "refusal",
        &Refusal {
            code: "claim_used".into(),
            message: "This claim code was used already.".into(),
        },
    );
}

#[test]
fn enrollment_keeps_its_meaning() {
    let key = SigningKey::from_seed([9; 32]);
    check(
        "enroll-request",
        &EnrollRequest::new(
            &[0xaa; 16],
            DeviceId(uuid(0xde)),
            "CSR".into(),
            &key,
            "0.1.0".into(),
        ),
    );
    let response = EnrollResponse {
        certificate_pem: "CERT".into(),
        ca_pem: "CA".into(),
        device_url: "https://receiver.example:8444".into(),
        mqtt_host: "receiver.example".into(),
        mqtt_port: 8883,
        command_key: key.verifying_key(),
        contract: None,
        contract_name: "株式会社例".into(),
        site_name: "本社".into(),
        receiver_time_us: UtcMicros(1_795_000_000_000_000),
    };
    check("enroll-response", &response);
    check(
        "enroll-response-contract",
        &EnrollResponse {
            contract: Some(ContractId(uuid(0xc7))),
            ..response
        },
    );
    check(
        "renew-request",
        &RenewRequest {
            csr_pem: "CSR".into(),
            agent_version: "0.1.0".into(),
        },
    );
    check(
        "renew-response",
        &RenewResponse {
            certificate_pem: "CERT".into(),
            ca_pem: "CA".into(),
            receiver_time_us: UtcMicros(1_795_000_000_000_000),
        },
    );
}

#[test]
fn a_signed_command_from_then_still_opens() {
    let key = SigningKey::from_seed([9; 32]);
    let command = Command {
        id: CommandId(uuid(0xc0)),
        device: DeviceId(uuid(0xde)),
        issued_at_us: UtcMicros(10),
        deadline_us: UtcMicros(20),
        request: Request::PictureNow {
            camera: CameraId(uuid(0xca)),
        },
    };
    check("command", &command.sign(&key));
    let text = std::fs::read_to_string(folder().join("command.json")).unwrap();
    let signed: SignedCommand = serde_json::from_str(&text).unwrap();
    let opened = signed
        .open(&key.verifying_key(), command.device, UtcMicros(15))
        .unwrap();
    assert_eq!(opened, command);
    let renew = Command {
        request: Request::RenewCertificate,
        ..command
    };
    check("command-renew", &renew.sign(&key));
    let wipe = Command {
        request: Request::WipeContract {
            contract: ContractId(uuid(0xc0)),
        },
        ..renew
    };
    check("command-wipe", &wipe.sign(&key));
    let log = Command {
        request: Request::LogExcerpt {
            lines: 500,
            since_us: Some(UtcMicros(5)),
        },
        ..wipe
    };
    check("command-log", &log.sign(&key));
    let bundle = Command {
        request: Request::SupportBundle,
        ..log
    };
    check("command-support-bundle", &bundle.sign(&key));
}

#[test]
fn an_erasure_certificate_from_then_still_opens() {
    let key = SigningKey::from_seed([9; 32]);
    let certificate = erasure::Certificate {
        v: erasure::VERSION,
        id: uuid(0xe5),
        contract: ContractId(uuid(0xc0)),
        name: erasure::NameHash::of([7; 16], "株式会社例"),
        receiver_key: key.verifying_key(),
        period: erasure::Period {
            from_us: UtcMicros(1),
            until_us: Some(UtcMicros(20)),
            done_us: Some(UtcMicros(21)),
            due_us: Some(UtcMicros(40)),
        },
        order: erasure::Order {
            reason: "period_over".into(),
            why: None,
            actor: "system".into(),
            actor_name: None,
            at_us: UtcMicros(30),
        },
        steps: vec![erasure::StepDone {
            step: "destroy_key".into(),
            at_us: UtcMicros(31),
        }],
        counts: vec![erasure::KindCount {
            kind: "event".into(),
            before: 12,
            after: 0,
        }],
        devices: vec![erasure::DeviceWipe {
            device: DeviceId(uuid(0xde)),
            outcome: "unconfirmed".into(),
            answered_us: None,
        }],
        copies: erasure::Copies {
            backups_before_us: UtcMicros(31),
            key_backups: vec![erasure::KeyBackup {
                at_us: UtcMicros(5),
                path: "/mnt/safe/keys.json".into(),
            }],
        },
    };
    let signed = certificate.sign(&key);
    check("erasure-certificate", &signed);
    let opened = signed.open(&key.verifying_key()).unwrap();
    assert_eq!(opened, certificate);
    assert!(opened.is_of("株式会社例") && !opened.is_of("株式会社零") && opened.is_complete());
    let forged = erasure::SignedCertificate {
        certificate: signed.certificate.replace("12", "13"),
        ..signed
    };
    assert!(forged.open(&key.verifying_key()).is_err());
}

/// The bytes themselves are frozen, as hexadecimal digits: hashes and signatures hang on every one of them.
#[test]
fn a_signed_batch_from_then_still_verifies() {
    let key = SigningKey::from_seed([9; 32]);
    let batch = Batch {
        device_id: DeviceId(uuid(0xde)),
        epoch: Epoch(0xfeed_0000_0000_0001),
        first_seq: Seq(41),
        prev: Sha256([0x33; 32]),
        records: vec![b"{\"kind\":\"x\"}".to_vec(), b"{}".to_vec()],
    };
    let signed = batch.sign(&key);
    let hex = data_encoding::HEXLOWER.encode(signed.as_bytes());
    let path = folder().join("batch.hex");
    if !path.exists() && std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, format!("{hex}\n")).unwrap();
    }
    let frozen = std::fs::read_to_string(&path).unwrap();
    assert_eq!(frozen.trim(), hex);
    let bytes = data_encoding::HEXLOWER
        .decode(frozen.trim().as_bytes())
        .unwrap();
    let read = SignedBatch::from_bytes(bytes).unwrap();
    read.verify(&key.verifying_key()).unwrap();
    assert_eq!(read.parse().unwrap(), batch);
}

#[test]
fn evidence() {
    let key = SigningKey::from_seed([7; 32]);
    let range = SeqRange {
        first: Seq(1),
        last: Seq(9),
    };
    let head = DeviceHead {
        device: DeviceId(uuid(1)),
        record_key: key.verifying_key(),
        epochs: vec![EpochHead {
            epoch: Epoch(0xe),
            last_seq: Seq(9),
            records: 9,
            batches: 2,
            ranges: vec![range],
            last_batch: Sha256::of(b"batch"),
            first_us: UtcMicros(1),
            last_us: UtcMicros(2),
            digest: Sha256::of(b"digest"),
        }],
        refused: 1,
    };
    let section = Section {
        salt: "5a17".into(),
        contract: ContractId(uuid(2)),
        devices: vec![head],
    };
    check("heads-section", &section);
    let heads = SignedHeads::sign(&key, 3, UtcMicros(4), Sha256::of(b"before"), &[section]);
    check("heads", &heads);
    let statement: Statement = serde_json::from_str(&heads.statement).unwrap();
    check("heads-statement", &statement);
    heads.open(&key.verifying_key()).unwrap();
    let with_audit = Statement {
        audit: Some(AuditHead {
            no: 9,
            hash: Sha256::of(b"entry"),
        }),
        ..statement
    };
    check("heads-statement-with-audit", &with_audit);

    let manifest = export::Manifest {
        v: 1,
        made_at_us: UtcMicros(5),
        receiver_key: key.verifying_key(),
        contract: ContractId(uuid(2)),
        contract_name: "Acme".into(),
        from_us: UtcMicros(6),
        to_us: UtcMicros(7),
        cameras: Some(vec![CameraId(uuid(3))]),
        all_devices: false,
        devices: vec![export::DeviceManifest {
            device: DeviceId(uuid(1)),
            site_name: "Tokyo".into(),
            record_key: key.verifying_key(),
            enrolled_us: UtcMicros(8),
            revoked_us: Some(UtcMicros(9)),
            cameras: vec![export::CameraManifest {
                camera: CameraId(uuid(3)),
                name: "gate".into(),
            }],
            epochs: vec![export::EpochManifest {
                epoch: Epoch(0xe),
                first_seq: Seq(2),
                last_seq: Seq(8),
                not_arrived: vec![range],
                goes_on: true,
            }],
            boots: vec![export::Boot {
                boot: BootId(uuid(0xb007)),
                began_us: UtcMicros(10),
            }],
            refused: vec![export::Refusal {
                epoch: Epoch(0xe),
                first_seq: Seq(4),
                last_seq: Seq(5),
                code: "conflict".into(),
                sha256: Sha256::of(b"refused"),
                whole_batch: true,
                at_us: UtcMicros(11),
            }],
            not_arrived: vec![Sha256::of(b"picture")],
            deleted: Vec::new(),
            deleted_gaps: Vec::new(),
        }],
        files: vec![export::FileManifest {
            path: "index.html".into(),
            bytes: 3,
            sha256: Sha256::of(b"<p>"),
        }],
    };
    check("export-manifest", &manifest);
}
