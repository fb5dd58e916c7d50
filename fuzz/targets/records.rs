//! Records as a device may sign them: a real batch, signed by the device's own key, of made-up records, taken in by a real
//! store. Zero bytes part the records.
#![no_main]

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use fuzz::{DEVICE, Receiver};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::{Batch, Epoch, Seq, Sha256};

static RECEIVER: LazyLock<Receiver> = LazyLock::new(Receiver::default);
static EPOCH: AtomicU64 = AtomicU64::new(1);

fuzz_target!(|bytes: &[u8]| {
    let records: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let batch = Batch {
        device_id: DEVICE,
        epoch: Epoch(EPOCH.fetch_add(1, Ordering::Relaxed)),
        first_seq: Seq(1),
        prev: Sha256::ZERO,
        records,
    };
    let signed = batch.sign(&RECEIVER.record_key);
    let status = RECEIVER.ask(
        Method::POST,
        Uri::from_static("/device/v1/batch"),
        HeaderMap::new(),
        signed.into_bytes(),
    );
    // Whatever the records are: a batch that is signed is answered by a receipt, unless it is larger than one may be.
    assert!(matches!(
        status,
        StatusCode::OK | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    ));
});
