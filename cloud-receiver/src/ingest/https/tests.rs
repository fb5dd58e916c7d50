//! Device HTTPS and enrollment over real TLS, with a real receiver behind.

#![allow(clippy::unwrap_used)]

mod renewal; // certificates: renewed, left behind, expired

use super::*;
use crate::store::{Administration, BlobRows, DeviceWrites, OperatorDesk};
use crate::testing::{DEADLINE, Device, Receiver, soon};
use reqwest::StatusCode;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;
use wire::command::{Command, Request, SignedCommand};
use wire::enroll::Refusal;
use wire::{CameraId, CommandId, DeviceId, Receipt, Seq, Sha256};

/// Begins like a JPEG, and is larger than a few chunks.
fn jpeg() -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01".to_vec();
    bytes.extend((0..300_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]));
    bytes
}

impl Device {
    fn put(
        &self,
        name: Sha256,
        offset: usize,
        length: usize,
        bytes: Vec<u8>,
    ) -> reqwest::RequestBuilder {
        self.client
            .put(format!("{}/blobs/{name}", self.url))
            .header("Upload-Offset", offset)
            .header("Upload-Length", length)
            .header("Content-Type", "image/jpeg")
            .body(bytes)
    }

    /// What HEAD says: the offset, or none.
    async fn offset(&self, name: Sha256) -> Option<usize> {
        let answer = self
            .client
            .head(format!("{}/blobs/{name}", self.url))
            .send()
            .await
            .unwrap();
        let offset = answer.headers().get("Upload-Offset")?;
        Some(offset.to_str().unwrap().parse().unwrap())
    }
}

async fn refusal(request: reqwest::RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    (
        answer.status(),
        answer.json::<Refusal>().await.unwrap().code,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_31_a_claim_code_enrolls_once_and_is_refused_by_name_otherwise() {
    let receiver = Receiver::start().await;
    let code = receiver.claim(60_000_000).await;
    let device = receiver.enroll(&code, 1).await.unwrap();
    let time = device
        .client
        .get(format!("{}/time", device.url))
        .send()
        .await
        .unwrap();
    assert_eq!(time.status(), StatusCode::OK);
    let refused = |outcome: Result<Device, Refusal>| outcome.err().map(|refusal| refusal.code);
    assert_eq!(
        refused(receiver.enroll(&code, 2).await).as_deref(),
        Some("claim_used")
    );
    let expired = receiver.claim(1).await;
    assert_eq!(
        refused(receiver.enroll(&expired, 2).await).as_deref(),
        Some("claim_expired")
    );
    let fresh = receiver.claim(60_000_000).await;
    assert_eq!(
        refused(receiver.enroll(&fresh, 1).await).as_deref(),
        Some("device_known")
    );
    // A race of eight for one code has one winner.
    let race = futures::future::join_all((10..18).map(|id| receiver.enroll(&fresh, id))).await;
    assert_eq!(race.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    // Guessing is noticed and throttled.
    let mut guess = receiver.claim(60_000_000).await;
    guess.secret = [0; 16];
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.extend(refused(receiver.enroll(&guess, 3).await));
    }
    assert_eq!(
        codes.iter().filter(|code| *code == "claim_unknown").count(),
        10
    );
    assert_eq!(codes.last().map(String::as_str), Some("throttled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_enrolled_and_unrevoked_devices_get_in() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let time = format!("{}/time", device.url);
    assert!(
        receiver.client(None).get(&time).send().await.is_err(),
        "no certificate, no connection"
    );
    // A certificate of another authority.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    let uri = wire::enroll::device_uri(device.id)
        .as_str()
        .try_into()
        .unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    let forged = params.self_signed(&key).unwrap().der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    assert!(
        receiver
            .client(Some((forged, key)))
            .get(&time)
            .send()
            .await
            .is_err()
    );

    let path = format!("{}/batch", device.url);
    let post = |bytes: Vec<u8>| device.client.post(&path).body(bytes);
    let first = device.batch(1, 2, Sha256::ZERO);
    let receipt: Receipt = post(first.as_bytes().to_vec())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(receipt.settles(wire::Epoch(1), Seq(1), Seq(2)));
    assert_eq!(
        refusal(post(b"junk".to_vec())).await,
        (StatusCode::UNPROCESSABLE_ENTITY, "bad_shape".into())
    );
    let oversize = refusal(post(vec![0; wire::batch::MAX_BATCH_BYTES + 1])).await;
    assert_eq!(
        oversize,
        (StatusCode::UNPROCESSABLE_ENTITY, "oversized".into())
    );

    receiver.app.store.revoke(device.id, now()).await.unwrap();
    let second = device.batch(3, 1, first.hash());
    let refused = refusal(post(second.into_bytes())).await;
    assert_eq!(refused, (StatusCode::FORBIDDEN, "device_revoked".into()));
    assert_eq!(
        receiver.app.store.records_stored(device.id).await.unwrap(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_comes_whole_or_in_pieces_and_stands_nowhere_in_clear() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let bytes = jpeg();
    let name = Sha256::of(&bytes);
    assert_eq!(device.offset(name).await, None);
    // In pieces: each is kept, whatever its size.
    let mut sent = 0;
    for piece in [1, 65_536, 100_000] {
        let part = bytes[sent..sent + piece].to_vec();
        let answer = device
            .put(name, sent, bytes.len(), part)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        sent += piece;
        assert_eq!(device.offset(name).await, Some(sent));
        assert_nothing_in_clear(&receiver, &bytes);
    }
    let wrong = device
        .put(name, 7, bytes.len(), bytes[7..].to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), StatusCode::CONFLICT);
    assert_eq!(wrong.headers()["Upload-Offset"], sent.to_string());
    let last = device
        .put(name, sent, bytes.len(), bytes[sent..].to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(last.status(), StatusCode::CREATED);
    assert_eq!(device.offset(name).await, Some(bytes.len()));
    // A repeat changes nothing.
    let again = device
        .put(name, 0, bytes.len(), bytes.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert_nothing_in_clear(&receiver, &bytes);

    let site = receiver.site().await;
    let row = receiver
        .app
        .store
        .blob(site.contract, name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.device, row.bytes), (device.id, bytes.len() as u64));
    let blobs = Blobs::open(
        &receiver.config.data_dir,
        Arc::new(receiver.app.store.clone()),
        1,
    )
    .unwrap();
    let opened = blobs.get(site.contract, device.id, name).await.unwrap();
    assert_eq!(opened.as_deref(), Some(bytes.as_slice()));
    // Bound to the device that brought it, and to the contract.
    let stranger = DeviceId(Uuid::from_u128(9));
    assert!(blobs.get(site.contract, stranger, name).await.is_err());
    let other = receiver
        .app
        .store
        .add_contract("Other", now())
        .await
        .unwrap();
    assert_eq!(blobs.get(other, device.id, name).await.unwrap(), None);
}

fn assert_nothing_in_clear(receiver: &Receiver, bytes: &[u8]) {
    for path in receiver.files() {
        let stored = std::fs::read(&path).unwrap();
        for needle in [&bytes[..12], &bytes[1_000..1_012]] {
            let found = stored.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{} holds a picture in clear", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_goes_on_where_it_was_cut() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let bytes = jpeg();
    let name = Sha256::of(&bytes);
    let mut offset = 0;
    let mut cuts = 0;
    // Cut after every 64 KiB: the connection dies in the middle of a body that was announced in full.
    while bytes.len() - offset > 65_536 {
        let mut raw = device.raw(receiver.app.device).await;
        let head = format!(
            "PUT /device/v1/blobs/{name} HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: {offset}\r\n\
             Upload-Length: {}\r\nContent-Length: {}\r\n\r\n",
            bytes.len(),
            bytes.len() - offset
        );
        raw.write_all(head.as_bytes()).await.unwrap();
        raw.write_all(&bytes[offset..offset + 65_536])
            .await
            .unwrap();
        raw.flush().await.unwrap();
        drop(raw);
        let before = offset;
        offset = soon("the cut upload is kept", async {
            loop {
                match device.offset(name).await {
                    Some(kept) if kept > before => return kept,
                    _ => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        cuts += 1;
    }
    assert!(cuts >= 4, "{cuts} cuts");
    let last = device
        .put(name, offset, bytes.len(), bytes[offset..].to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(last.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hash_or_length_leaves_nothing() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let bytes = jpeg();
    let name = Sha256::of(b"something else");
    let wrong_hash = device.put(name, 0, bytes.len(), bytes.clone());
    assert_eq!(
        refusal(wrong_hash).await,
        (StatusCode::UNPROCESSABLE_ENTITY, "wrong_hash".into())
    );
    let too_long = device.put(Sha256::of(&bytes), 0, 1_000, bytes.clone());
    assert_eq!(
        refusal(too_long).await,
        (StatusCode::UNPROCESSABLE_ENTITY, "wrong_length".into())
    );
    let too_large = device.put(name, 0, 9_000_000, vec![0; 10]);
    assert_eq!(
        refusal(too_large).await,
        (StatusCode::PAYLOAD_TOO_LARGE, "too_large".into())
    );
    let path = format!("{}/blobs/{}", device.url, name.to_string().to_uppercase());
    let odd = device.client.put(path).header("Upload-Length", 1).body("x");
    assert_eq!(refusal(odd).await.0, StatusCode::BAD_REQUEST);
    let left: Vec<_> = receiver
        .files()
        .into_iter()
        .filter(|path| {
            path.to_string_lossy().contains("incoming") || path.to_string_lossy().contains("blobs")
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_blob_put_a_hundred_times_at_once_is_stored_once() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let bytes = jpeg();
    let name = Sha256::of(&bytes);
    let puts = (0..100).map(|_| device.put(name, 0, bytes.len(), bytes.clone()).send());
    let answers = soon("a hundred uploads", futures::future::join_all(puts)).await;
    let statuses: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().status())
        .collect();
    assert!(
        statuses.iter().all(|status| status.is_success()),
        "{statuses:?}"
    );
    assert_eq!(
        statuses
            .iter()
            .filter(|status| **status == StatusCode::CREATED)
            .count(),
        1
    );
    let blobs = receiver
        .files()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/blobs/"))
        .count();
    assert_eq!(blobs, 1);
    let incoming = receiver
        .files()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("incoming"));
    assert_eq!(incoming.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_brings_a_command_once_and_signed() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let url = format!("{}/commands?wait_seconds=15", device.url);
    let poll = tokio::spawn(device.client.get(&url).send());
    let command = Command {
        id: CommandId(Uuid::from_u128(3)),
        device: device.id,
        issued_at_us: now(),
        deadline_us: now().plus_us(60_000_000),
        request: Request::PictureNow {
            camera: CameraId(Uuid::from_u128(4)),
        },
    };
    receiver.app.store.add_command(&command).await.unwrap();
    let answer = soon("the poll's answer", poll).await.unwrap().unwrap();
    let signed: Vec<SignedCommand> = answer.json().await.unwrap();
    assert_eq!(
        signed[0]
            .open(&device.command_key, device.id, now())
            .unwrap(),
        command
    );
    let none = device
        .client
        .get(format!("{}/commands", device.url))
        .send()
        .await
        .unwrap();
    assert_eq!(none.text().await.unwrap(), "[]");
    assert!(
        receiver
            .app
            .store
            .command(command.id)
            .await
            .unwrap()
            .unwrap()
            .sent_us
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_in_flight_and_refuses_what_is_new() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let url = format!("{}/commands?wait_seconds=60", device.url);
    let poll = tokio::spawn(device.client.get(&url).send());
    let mut raw = device.raw(receiver.app.device).await;
    let batch = device.batch(1, 1, Sha256::ZERO).into_bytes();
    let head = format!(
        "POST /device/v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n",
        batch.len()
    );
    raw.write_all(head.as_bytes()).await.unwrap();
    // The server says "100 Continue" when it begins to read the body: only then is the request surely in flight.
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    soon("100 Continue", raw.read_exact(&mut go_on))
        .await
        .unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));
    raw.write_all(&batch[..10]).await.unwrap();
    raw.flush().await.unwrap();
    let store = receiver.app.store.clone();
    let stopping = tokio::spawn(async move { receiver.app.stop().await });
    assert_eq!(
        soon("the poll ends", poll).await.unwrap().unwrap().status(),
        StatusCode::OK
    );
    raw.write_all(&batch[10..]).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, raw.read_to_string(&mut answer)).await;
    assert!(
        read.is_ok() && answer.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    soon("the stop", stopping).await.unwrap();
    assert_eq!(store.records_stored(device.id).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_began_before_it_was_revoked_is_not_kept() {
    let receiver = Receiver::start().await;
    let device = receiver.device(1).await;
    let bytes = jpeg();
    let name = Sha256::of(&bytes);
    let batch = device.batch(1, 1, Sha256::ZERO).into_bytes();
    let whole = [
        (
            format!(
                "PUT /device/v1/blobs/{name} HTTP/1.1\r\nHost: localhost\r\nUpload-Length: {0}\r\n\
                 Content-Length: {0}\r\nConnection: close\r\n\r\n",
                bytes.len()
            ),
            bytes,
        ),
        (
            format!(
                "POST /device/v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                batch.len()
            ),
            batch,
        ),
    ];
    let mut open = Vec::new();
    for (head, body) in &whole {
        let mut raw = device.raw(receiver.app.device).await;
        raw.write_all(head.as_bytes()).await.unwrap();
        raw.write_all(&body[..10]).await.unwrap();
        raw.flush().await.unwrap();
        open.push(raw);
    }
    // They are in flight once another request, sent later, has been answered.
    let time = format!("{}/time", device.url);
    device.client.get(&time).send().await.unwrap();
    receiver.app.store.revoke(device.id, now()).await.unwrap();
    for (mut raw, (head, body)) in open.into_iter().zip(&whole) {
        // A revocation ends connections, too: whichever comes first.
        let mut answer = String::new();
        let sent = raw.write_all(&body[10..]).await;
        let read = soon("the answer", raw.read_to_string(&mut answer)).await;
        if answer.is_empty() && (sent.is_err() || read.is_err()) {
            continue;
        }
        assert!(answer.starts_with("HTTP/1.1 403"), "{head}: {answer}");
        assert!(answer.contains("device_revoked"), "{head}: {answer}");
    }
    let store = &receiver.app.store;
    assert_eq!(store.records_stored(device.id).await.unwrap(), 0);
    let contract = store.device(device.id).await.unwrap().unwrap().contract;
    assert!(store.blob(contract, name).await.unwrap().is_none());
}
