//! A device that sends what it makes at a pace, as an agent does: a batch over MQTT, and its picture over HTTPS beside it.

use super::{BATCH, PICTURE_BYTES};
use crate::client::{self, next_packet, packet_id};
use crate::material::{Device, event};

use cloud_receiver::seal::random;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use wire::record::{MediaClass, MediaRecord};
use wire::{Body, CameraId, EventId, Record, Sha256};

/// Batches and pictures that may wait for their answers.
const IN_FLIGHT: usize = 32;
const PUTS: usize = 2;

/// Sends for `length` to the ports of MQTT and HTTPS, so many batches a second or as fast as they are answered. Answers how
/// many were acknowledged, each with its picture.
pub async fn send(
    (mqtt, https): (u16, u16),
    mut device: Device,
    batches_a_second: Option<f64>,
    length: Duration,
) -> (Device, usize) {
    let line = client::connect(mqtt, device.id, &device.tls).await;
    let (input, mut output) = tokio::io::split(line);
    let window = Arc::new(Semaphore::new(IN_FLIGHT));
    let puts = Arc::new(Semaphore::new(PUTS));
    let hearing = tokio::spawn(acknowledged(input, Arc::clone(&window)));
    let http = client::http(&device.tls);
    let noise: Vec<u8> = (0..PICTURE_BYTES / 32)
        .flat_map(|_| random::<32>())
        .collect();
    let topic = client::batches_of(device.id);
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < length {
        if let Some(pace) = batches_a_second {
            let due = began + Duration::from_secs_f64(sent as f64 / pace);
            tokio::time::sleep_until(due.into()).await;
        }
        window.acquire().await.unwrap().forget();
        let put = Arc::clone(&puts).acquire_owned().await.unwrap();
        let picture = [&random::<32>()[..], &noise].concat();
        let batch = batch(&mut device, &picture);
        let mut out = Vec::new();
        client::publish(&mut out, &topic, packet_id(sent), &batch);
        output.write_all(&out).await.unwrap();
        output.flush().await.unwrap();
        let url = format!(
            "https://localhost:{https}/device/v1/blobs/{}",
            Sha256::of(&picture)
        );
        let request = http.put(url).header("upload-length", picture.len());
        let answer = request.body(picture).send();
        tokio::spawn(async move {
            assert_eq!(answer.await.unwrap().status(), 201);
            drop(put);
        });
        sent += 1;
    }
    let _all = window.acquire_many(IN_FLIGHT as u32).await.unwrap();
    let _all = puts.acquire_many(PUTS as u32).await.unwrap();
    hearing.abort();
    (device, sent)
}

/// Gives back a place in the window for each acknowledgement.
async fn acknowledged(mut line: impl AsyncRead + Unpin, window: Arc<Semaphore>) {
    let mut input = bytes::BytesMut::with_capacity(16 * 1024);
    while line.read_buf(&mut input).await.unwrap() > 0 {
        while let Some((kind, body)) = next_packet(&mut input) {
            if kind >> 4 == 4 {
                let code = body.get(2);
                assert!(matches!(code, None | Some(0 | 0x10)), "refused: {body:?}");
                window.add_permits(1);
            }
        }
    }
}

/// Events, and the picture of the last of them.
fn batch(device: &mut Device, picture: &[u8]) -> Vec<u8> {
    let mut records: Vec<Record> = (1..BATCH).map(|_| event(device.camera)).collect();
    let Some(Record {
        time,
        body: Body::Event(newest),
        ..
    }) = records.last()
    else {
        unreachable!("a batch of events");
    };
    let media = snapshot(picture, device.camera, newest.id);
    records.push(Record::new(*time, Body::Media(media)));
    device.batch_of(records)
}

fn snapshot(picture: &[u8], camera: CameraId, event: EventId) -> MediaRecord {
    MediaRecord {
        sha256: Sha256::of(picture),
        class: MediaClass::Snapshot,
        bytes: picture.len() as u64,
        content_type: "image/jpeg".into(),
        camera,
        width: 640,
        height: 480,
        event: Some(event),
        command: None,
        boxes: Vec::new(),
        quality: 0.8,
        masked: false,
        moment: None,
    }
}
