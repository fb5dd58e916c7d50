//! Logs and support bundles of devices: who asked, what came, and until when it is kept.

use super::*;
use crate::blob::Blobs;
use crate::config::DeviceFiles;
use crate::jobs;
use crate::order;
use crate::store::{DeviceFileBook, DeviceFileRow, ErasureBook, Hold};
use wire::record::FileRef;

const DAY_US: i64 = 24 * 3600 * 1_000_000;
const LOG: &[u8] = b"a line of a log";

/// A log that was asked for, answered and delivered at `NOW`.
async fn delivered() -> (Bench, CommandId) {
    let bench = bench().await;
    let command = order::log_excerpt(bench.device.device, 10, None, NOW, 60);
    bench.store.add_command(&command).await.unwrap();
    let answer = AuditRecord {
        actor: "receiver".into(),
        action: "command.log_excerpt".into(),
        outcome: "done".into(),
        command: Some(command.id),
        detail: Some("1 line".into()),
        file: Some(FileRef {
            sha256: Sha256::of(LOG),
            bytes: LOG.len() as u64,
            content_type: "text/plain".into(),
        }),
    };
    let record = Record::new(time(NOW.0), Body::Audit(answer));
    bench
        .deliver(&chain(&bench, 1, Sha256::ZERO, &[record])[0])
        .await;
    (bench, command.id)
}

impl Bench {
    async fn file(&self, command: CommandId) -> DeviceFileRow {
        let found = self.store.device_file(self.device.device, command).await;
        found.unwrap().unwrap()
    }

    async fn log_arrives(&self) {
        let blob = BlobRow {
            contract: self.contract,
            sha256: Sha256::of(LOG),
            device: self.device.device,
            bytes: LOG.len() as u64,
            content_type: "text/plain".into(),
        };
        assert!(self.store.blob_arrived(blob, NOW).await.unwrap());
    }

    async fn files_gone_after(&self, days: i64) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let store = &self.store;
        let blobs = Blobs::open(dir.path(), Arc::new(store.clone()), 1 << 20).unwrap();
        let at = NOW.plus_us(days * DAY_US);
        let gone = jobs::retention::device_files(&blobs, store, DeviceFiles::default(), at).await;
        gone.unwrap()
    }
}

#[tokio::test]
async fn a_file_is_named_by_the_answer_and_here_once_its_bytes_are() {
    let (bench, command) = delivered().await;
    let row = bench.file(command).await;
    assert_eq!(row.state.detail.as_deref(), Some("1 line"));
    assert!(row.is_log() && !row.file.unwrap().arrived);
    bench.log_arrives().await;
    assert!(bench.file(command).await.file.unwrap().arrived);
    let device = bench.device.device;
    assert_eq!(bench.store.device_files(device).await.unwrap().len(), 1);
    let other = DeviceId(Uuid::from_u128(99));
    assert_eq!(bench.store.device_file(other, command).await.unwrap(), None);
    // No customer's picture: by no hash.
    let media = bench.store.media(bench.scope(), Sha256::of(LOG)).await;
    assert!(media.unwrap().is_none());
}

#[tokio::test]
async fn a_file_goes_after_thirty_days_unless_a_hold_covers_it() {
    let (bench, command) = delivered().await;
    bench.log_arrives().await;
    assert_eq!(bench.files_gone_after(30).await, 0);
    let hold = Hold {
        id: Uuid::from_u128(1),
        contract: bench.contract,
        site: Some(bench.device.site),
        camera: None,
        from_us: None,
        to_us: None,
        placed_us: NOW,
        why: "request".into(),
    };
    bench.store.add_hold(hold).await.unwrap();
    assert_eq!(bench.files_gone_after(31).await, 0);
    let lifted = bench.store.remove_hold(Uuid::from_u128(1), NOW);
    lifted.await.unwrap();
    assert_eq!(bench.files_gone_after(31).await, 1);
    assert_eq!(bench.files_gone_after(32).await, 0, "it goes once");
    let file = bench.file(command).await.file.unwrap();
    assert!(!file.arrived && file.expired_us.is_some());
    let blob = bench.store.blob(bench.contract, Sha256::of(LOG)).await;
    assert_eq!(blob.unwrap(), None);
}
