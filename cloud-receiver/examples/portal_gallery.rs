//! The portal with real-looking data, to be looked at: `cargo run -p cloud-receiver --example portal_gallery -- FRAMES`.
//!
//! FRAMES is a folder with pictures `00.jpg` .. of the PETS street (768x576) and beside each a `00.json` with
//! the boxes of the people in it. Everything is delivered by signed batches into a real store. It prints the
//! address and the accounts, and serves until it is stopped.

#![allow(clippy::unwrap_used)]

#[path = "../tests/portal/world.rs"]
mod world;

use cloud_receiver::store::Administration;
use std::path::Path;
use uuid::Uuid;
use wire::record::{CAMERA_CLASS, CountRecord, ObjectBox, PathPoint, Reason};
use wire::{CameraId, ClockStamp, ClockState, Record, Sha256, UtcMicros};
use world::{
    Device, MINUTE_US, SECOND_US, SYNCED, Scene, World, camera_state, count, count_record,
    device_state, gap, heartbeat, moment_record, now, object, periodic_record, reason,
};

const SIZE: (u32, u32) = (768, 576);

struct Frame {
    jpeg: Vec<u8>,
    boxes: Vec<ObjectBox>,
}

fn frames(folder: &Path) -> Vec<Frame> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "jpg"))
        .collect();
    names.sort();
    names
        .iter()
        .map(|path| {
            let boxes: Vec<[f32; 4]> =
                serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap())
                    .unwrap();
            Frame {
                jpeg: std::fs::read(path).unwrap(),
                boxes: boxes
                    .into_iter()
                    .zip([0.91, 0.88, 0.83, 0.79, 0.76, 0.71, 0.66, 0.62, 0.58])
                    .map(|(rect, score)| object("person", score, rect))
                    .collect(),
            }
        })
        .collect()
}

fn camera() -> CameraId {
    CameraId(Uuid::now_v7())
}

fn walk(to: &ObjectBox, opened: UtcMicros) -> Vec<PathPoint> {
    (0..12)
        .map(|step| {
            let left = 1.0 - step as f32 / 11.0;
            PathPoint {
                at_us: opened.plus_us(step * SECOND_US),
                x: (to.rect.x + to.rect.w / 2.0 + left * 0.3).min(0.98),
                y: to.rect.y + to.rect.h - left * left * 0.12,
            }
        })
        .collect()
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).expect("the folder with frames");
    let frames = frames(Path::new(&folder));
    let world = World::start().await;
    let at = now();

    let contract = world
        .store
        .add_contract("株式会社みなと物流", at)
        .await
        .unwrap();
    world
        .user(contract, "minato-01", "orchard-lantern-42", false)
        .await;
    world
        .user(contract, "minato-02", "k7mq-x2hd-9wtp-c4rn", true)
        .await;
    world
        .operator("operator", "orchard-lantern-42", false)
        .await;
    let empty = world.store.add_contract("新規契約", at).await.unwrap();
    world
        .user(empty, "shinki-01", "orchard-lantern-42", false)
        .await;

    let mut warehouse = world.device(contract, "横浜倉庫").await;
    let mut office = world.device(contract, "本社ビル").await;
    let [gate, parking, dock, entrance, back] = [(); 5].map(|()| camera());
    world.device(contract, "第3倉庫（未接続）").await;
    let early = at.plus_us(-200 * MINUTE_US);
    let flaps = flaps(dock, at);
    world.deliver(&mut warehouse, flaps).await;
    world
        .deliver(
            &mut warehouse,
            vec![
                camera_state(gate, "正門", "running", None, early),
                camera_state(
                    parking,
                    "第2駐車場（トラック待機場・北側フェンス沿い）",
                    "running",
                    None,
                    early,
                ),
                camera_state(
                    dock,
                    "搬入口",
                    "retrying",
                    Some("connect"),
                    at.plus_us(-47 * MINUTE_US),
                ),
            ],
        )
        .await;
    world
        .deliver(
            &mut office,
            vec![
                camera_state(entrance, "エントランス", "running", None, early),
                camera_state(back, "通用口カメラ", "running", None, early),
            ],
        )
        .await;

    stop(&world, &mut office, at).await;
    let scenes = [
        (gate, "person", 0),
        (parking, "person", 3),
        (gate, "bicycle", 6),
        (gate, "person", 11),
        (parking, "vehicle", 25),
        (gate, "person", 52),
        (dock, "person", 70),
        (gate, "person", 75),
        (parking, "vehicle", 130),
        (gate, "person", 190),
        (dock, "vehicle", 600),
        (gate, "person", 1500),
        (gate, "person", 1502),
    ];
    for (number, (camera, class, minutes_ago)) in scenes.into_iter().enumerate() {
        let frame = &frames[number % frames.len()];
        let opened = at.plus_us(-minutes_ago * MINUTE_US - 12 * SECOND_US);
        let mut scene = Scene::new(camera, class, opened);
        scene.boxes = frame.boxes.clone();
        if let Some(own) = scene.boxes.first_mut() {
            own.class = class.into();
            own.track = Some(1);
            scene.path = walk(own, opened);
        }
        match number {
            0 => scene.closed = None,
            4 => scene.clock = ClockStamp::UNSYNCED,
            5 => {
                scene.clock = ClockStamp {
                    state: ClockState::Synced,
                    offset_us: -1_240_000,
                    error_us: Some(3_000),
                }
            }
            _ => {}
        }
        if number == 3 {
            // Its neighbour is still on the way: not verified yet.
            warehouse.lose(vec![scene.event_record()]);
        }
        let records = vec![
            scene.event_record(),
            scene.snapshot_record(&frame.jpeg, SIZE),
        ];
        world.deliver(&mut warehouse, records).await;
        // One is on its way, one was dropped on the device.
        if number != 1 && number != 7 {
            world.blob(&warehouse, &frame.jpeg).await;
        }
    }
    for (camera, frame, age) in [(gate, 0, 12), (parking, 1, 41), (dock, 2, 47 * 60)] {
        let jpeg = tagged(&frames[frame].jpeg, camera);
        let record = periodic_record(camera, &jpeg, SIZE, at.plus_us(-age * SECOND_US));
        world.deliver(&mut warehouse, vec![record]).await;
        world.blob(&warehouse, &jpeg).await;
    }
    let jpeg = tagged(&frames[3].jpeg, entrance);
    let record = periodic_record(entrance, &jpeg, SIZE, at.plus_us(-30 * SECOND_US));
    world.deliver(&mut office, vec![record]).await;
    world.blob(&office, &jpeg).await;

    rules(&world, &mut warehouse, [gate, parking], &frames[0].jpeg, at).await;
    blindness(
        &world,
        &mut office,
        entrance,
        [&frames[4].jpeg, &frames[5].jpeg],
        at,
    )
    .await;
    gaps(&world, &mut warehouse, [gate, parking], at).await;
    let mut silent = world.device(contract, "川崎倉庫").await;
    let yard = camera();
    let record = camera_state(yard, "ヤード", "running", None, early);
    world
        .deliver_at(&mut silent, vec![record], at.plus_us(-90 * MINUTE_US))
        .await;
    let mut last_words = heartbeat(SYNCED, 214, 0);
    last_words.spool.oldest_pending_us = Some(now().plus_us(-96 * MINUTE_US));
    last_words.sent_at_us = at.plus_us(-83 * MINUTE_US);
    world
        .heartbeat_at(&silent, &last_words, last_words.sent_at_us)
        .await;

    println!(
        "the operator's app: {}",
        world::secret_of("operator").to_base32()
    );
    println!("{}", world.url("/"));
    println!(
        "minato-01 / orchard-lantern-42, minato-02 (first use) / k7mq-x2hd-9wtp-c4rn, shinki-01 (empty); at /operator: operator / orchard-lantern-42"
    );
    // Goes on living: heartbeats, pictures, and now and then an event.
    let mut number = 0;
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(
        std::env::var("EVENT_EVERY_SECONDS")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(30),
    ));
    loop {
        tick.tick().await;
        let mut unsynced = heartbeat(ClockStamp::UNSYNCED, 1_482, 2);
        unsynced.spool.oldest_pending_us = Some(at.plus_us(-19 * MINUTE_US));
        world.heartbeat(&warehouse, &unsynced).await;
        world.heartbeat(&office, &heartbeat(SYNCED, 0, 0)).await;
        for (camera, device) in [(gate, &mut warehouse), (entrance, &mut office)] {
            let jpeg = tagged(&frames[number % frames.len()].jpeg, camera);
            world
                .deliver(device, vec![periodic_record(camera, &jpeg, SIZE, now())])
                .await;
            world.blob(device, &jpeg).await;
        }
        if number > 0 && std::env::var("EVENT_EVERY_SECONDS").is_ok() {
            let frame = &frames[number % frames.len()];
            let mut scene = Scene::new(gate, "person", now());
            scene.boxes = frame.boxes.clone();
            scene.clock = SYNCED;
            let records = vec![
                scene.event_record(),
                scene.snapshot_record(&frame.jpeg, SIZE),
            ];
            world.deliver(&mut warehouse, records).await;
            world.blob(&warehouse, &frame.jpeg).await;
        }
        number += 1;
    }
}

/// A camera that reconnects three times.
fn flaps(dock: CameraId, at: UtcMicros) -> Vec<Record> {
    let ago = |minutes: i64| at.plus_us(-minutes * MINUTE_US);
    let mut records = Vec::new();
    for minutes in [150, 149, 148] {
        let down = ago(minutes);
        let up = down.plus_us(41 * SECOND_US);
        records.push(camera_state(
            dock,
            "搬入口",
            "retrying",
            Some("timeout"),
            down,
        ));
        records.push(camera_state(dock, "搬入口", "running", None, up));
    }
    records
}

/// Events with their reasons, and counts of a day.
async fn rules(
    world: &World,
    device: &mut Device,
    [gate, parking]: [CameraId; 2],
    jpeg: &[u8],
    at: UtcMicros,
) {
    let opened = at.plus_us(-2 * MINUTE_US);
    let after = |seconds: i64| opened.plus_us(seconds * SECOND_US);
    let mut scene = Scene::new(gate, "person", opened);
    scene.closed = Some(after(97));
    scene.zones = vec!["入口".into(), "荷さばき場".into()];
    scene.reasons = vec![
        Reason {
            direction: Some("in".into()),
            ..reason("line", "正門", after(1))
        },
        reason("zone", "入口", after(3)),
        Reason {
            seconds: Some(60),
            ..reason("loitering", "入口", after(63))
        },
        reason("zone", "荷さばき場", after(81)),
    ];
    let mut full = Scene::new(parking, "person", opened);
    full.closed = None;
    full.reasons = vec![Reason {
        count: Some(5),
        ..reason("occupancy", "駐車場", after(20))
    }];
    let mut records = vec![
        scene.event_record(),
        scene.snapshot_record(jpeg, SIZE),
        full.event_record(),
        full.snapshot_record(jpeg, SIZE),
    ];
    // More by day than by night.
    for minutes_ago in (1..26 * 60).step_by(7) {
        let minute = at.plus_us(-minutes_ago * MINUTE_US);
        let hour = (minute.0 / MINUTE_US / 60 + 9) % 24;
        let many = u32::try_from(13 - (hour - 13).abs()).unwrap_or(0);
        let people = count(gate, "person", many, minute);
        for (zone, line, direction, number) in [
            (None, None, None, many),
            (None, Some("正門"), Some("in"), many / 2),
            (None, Some("正門"), Some("out"), many / 3),
            (Some("入口"), None, None, many / 4),
        ] {
            records.push(count_record(CountRecord {
                zone: zone.map(Into::into),
                line: line.map(Into::into),
                direction: direction.map(Into::into),
                count: number,
                peak: zone.map(|_| many / 4),
                ..people.clone()
            }));
        }
        records.push(count_record(count(parking, "vehicle", many / 6, minute)));
    }
    for batch in records.chunks(100) {
        world.deliver(device, batch.to_vec()).await;
    }
    world.blob(device, jpeg).await;
}

/// A camera that was turned for a while, and is covered now.
async fn blindness(
    world: &World,
    device: &mut Device,
    camera: CameraId,
    jpegs: [&[u8]; 2],
    at: UtcMicros,
) {
    for (rule, minutes_ago, closed) in [("turned", 80, Some(64)), ("covered", 9, None)] {
        let opened = at.plus_us(-minutes_ago * MINUTE_US);
        let mut scene = Scene::new(camera, CAMERA_CLASS, opened);
        scene.reasons = vec![reason(rule, "", opened)];
        scene.closed = closed.map(|minutes: i64| at.plus_us(-minutes * MINUTE_US));
        let [before, after] = jpegs.map(|jpeg| tagged(jpeg, camera));
        let records = vec![
            scene.event_record(),
            moment_record(&scene, "before", &before, opened.plus_us(-4 * SECOND_US)),
            moment_record(&scene, "after", &after, opened),
        ];
        world.deliver(device, records).await;
        for picture in [before, after] {
            world.blob(device, &picture).await;
        }
    }
}

/// Something of everything that can be missing.
async fn gaps(world: &World, device: &mut Device, cameras: [CameraId; 2], at: UtcMicros) {
    let [gate, parking] = cameras;
    let ago = |minutes: i64| at.plus_us(-minutes * MINUTE_US);
    let records = vec![
        gap(Some(gate), "periodic", "quota", 58, ago(190), ago(131)),
        gap(Some(gate), "periodic", "quota", 60, ago(130), ago(71)),
        gap(Some(gate), "snapshot", "quota", 12, ago(128), ago(73)),
        gap(Some(parking), "snapshot", "media_busy", 1, ago(24), ago(24)),
        gap(Some(parking), "event", "disk_full", 3, ago(322), ago(318)),
        gap(
            Some(parking),
            "periodic",
            "disk_full",
            5,
            ago(322),
            ago(318),
        ),
        gap(None, "records", "quarantine", 0, ago(1_530), ago(1_512)),
    ];
    world.deliver(device, records).await;
}

/// The box of the office was switched off for half an hour.
async fn stop(world: &World, device: &mut Device, at: UtcMicros) {
    let ago = |minutes: i64| at.plus_us(-minutes * MINUTE_US);
    let first = vec![
        device_state("started", ago(400)),
        device_state("stopping", ago(243)),
    ];
    world.deliver(device, first).await;
    device.restart();
    let then = vec![device_state("started", ago(211))];
    world.deliver(device, then).await;
}

/// The same picture as another camera's blob: bytes after the end of a JPEG are ignored.
fn tagged(jpeg: &[u8], camera: CameraId) -> Vec<u8> {
    let tag = Sha256::of(camera.0.as_bytes());
    [jpeg, &tag.0[..4]].concat()
}
