//! Blobs on a real folder with a real store behind: cut anywhere, wrong, doubled, crashed.

#![allow(clippy::unwrap_used)]

use super::stream::CHUNK;
use super::*;
use crate::live::Live;
use crate::seal::SecretKey;
use crate::store::sqlite::{FILE_NAME, SqliteStore};
use crate::store::{Administration, Enrollments, HeldBlob, NewDevice, Result as StoreResult};
use async_trait::async_trait;
use std::sync::atomic::AtomicBool;
use uuid::Uuid;
use wire::SigningKey;

const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);
const MAX_BYTES: u64 = 1024 * 1024;

struct Bench {
    dir: tempfile::TempDir,
    rows: Arc<Rows>,
    blobs: Blobs,
}

/// The store's rows; they can be told to fail, as a disk that fills up just then.
#[derive(Debug)]
struct Rows {
    store: SqliteStore,
    refuse: AtomicBool,
}

#[async_trait]
impl BlobRows for Rows {
    async fn blob(&self, contract: ContractId, sha256: Sha256) -> StoreResult<Option<BlobRow>> {
        self.store.blob(contract, sha256).await
    }

    async fn blob_arrived(&self, blob: BlobRow, at: UtcMicros) -> StoreResult<bool> {
        if self.refuse.load(Ordering::SeqCst) {
            return Err(StoreError::Database("disk full".into()));
        }
        self.store.blob_arrived(blob, at).await
    }

    async fn has_blobs(&self) -> StoreResult<bool> {
        self.store.has_blobs().await
    }

    async fn names_blob(&self, contract: ContractId, sha256: Sha256) -> StoreResult<bool> {
        self.store.names_blob(contract, sha256).await
    }

    async fn blobs_after(
        &self,
        after: Option<(ContractId, Sha256)>,
        limit: u32,
    ) -> StoreResult<Vec<HeldBlob>> {
        self.store.blobs_after(after, limit).await
    }

    async fn blob_missing(
        &self,
        contract: ContractId,
        sha256: Sha256,
        since: Option<UtcMicros>,
    ) -> StoreResult<()> {
        self.store.blob_missing(contract, sha256, since).await
    }

    async fn contract_key(&self, contract: ContractId) -> StoreResult<SecretKey> {
        self.store.contract_key(contract).await
    }
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = SecretKey::from_bytes([9; 32]);
        let path = dir.path().join(FILE_NAME);
        let rows = Arc::new(Rows {
            store: SqliteStore::open(&path, master, Live::default(), true).unwrap(),
            refuse: AtomicBool::new(false),
        });
        let blobs = Blobs::open(dir.path(), rows.clone(), MAX_BYTES).unwrap();
        Self { dir, rows, blobs }
    }

    /// As after a crash: what was in memory is gone.
    fn reopened(self) -> Self {
        let blobs = Blobs::open(self.dir.path(), self.rows.clone(), MAX_BYTES).unwrap();
        Self { blobs, ..self }
    }

    async fn contract(&self, name: &str) -> ContractId {
        self.rows.store.add_contract(name, NOW).await.unwrap()
    }

    async fn owner(&self, contract: ContractId) -> Owner {
        let device = DeviceId(Uuid::new_v4());
        let store = &self.rows.store;
        let site = store.add_site(contract, &device.to_string(), NOW).await;
        let claim = Sha256::of(device.0.as_bytes());
        let expires = NOW.plus_us(1);
        store
            .add_claim(claim, site.unwrap(), NOW, expires)
            .await
            .unwrap();
        let new = NewDevice {
            device,
            record_key: SigningKey::generate().verifying_key(),
            agent_version: "0.1.0".into(),
            certificate: Default::default(),
        };
        store.enroll(claim, new, NOW).await.unwrap().unwrap();
        Owner { contract, device }
    }

    async fn begin(&self, owner: Owner, bytes: &[u8], offset: usize) -> Result<Begun, BlobError> {
        let announced = Announced {
            sha256: Sha256::of(bytes),
            offset: offset as u64,
            length: bytes.len() as u64,
            content_type: "image/jpeg".into(),
        };
        self.blobs.begin(owner, announced).await
    }

    async fn upload(&self, owner: Owner, bytes: &[u8], offset: usize) -> Upload {
        match self.begin(owner, bytes, offset).await.unwrap() {
            Begun::Upload(upload) => *upload,
            Begun::Complete => panic!("it is here already"),
        }
    }

    /// Sends the bytes of a range; the upload is cut after it.
    async fn send(&self, owner: Owner, bytes: &[u8], range: std::ops::Range<usize>) {
        let mut upload = self.upload(owner, bytes, range.start).await;
        let piece = Bytes::copy_from_slice(&bytes[range]);
        upload.write(piece).await.unwrap();
    }

    async fn finish(&self, owner: Owner, bytes: &[u8], from: usize) -> Ended {
        let upload = self.upload(owner, bytes, from).await;
        ended(upload, &bytes[from..]).await
    }

    /// As the portal reads: by the device that the row names.
    async fn read(&self, contract: ContractId, bytes: &[u8]) -> Option<Bytes> {
        let sha256 = Sha256::of(bytes);
        let row = self.rows.blob(contract, sha256).await.unwrap()?;
        self.blobs.get(contract, row.device, sha256).await.unwrap()
    }

    async fn progress(&self, owner: Owner, bytes: &[u8]) -> Progress {
        let progress = self.blobs.progress(owner, Sha256::of(bytes)).await;
        progress.unwrap()
    }

    /// Every file below a folder but the marker.
    fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.dir.path().join(below)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with(MARKER) {
                    files.push(path);
                }
            }
        }
        files
    }

    fn assert_nothing_in_clear(&self, bytes: &[u8]) {
        let files = self.files("");
        assert!(!files.is_empty());
        for file in files {
            let stored = std::fs::read(&file).unwrap();
            for plain in bytes.chunks_exact(16).step_by(997) {
                let shown = stored.windows(16).any(|window| window == plain);
                assert!(!shown, "{}", file.display());
            }
        }
    }
}

/// Begins like a JPEG, two chunks and a half.
fn picture() -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01".to_vec();
    let noise = (0..CHUNK as u32 * 5 / 2).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]);
    bytes.extend(noise);
    bytes
}

async fn ended(mut upload: Upload, rest: &[u8]) -> Ended {
    upload.write(Bytes::copy_from_slice(rest)).await.unwrap();
    upload.end(NOW).await.unwrap()
}

#[tokio::test]
async fn an_upload_goes_on_wherever_it_was_cut() {
    let bench = Bench::new();
    let bytes = picture();
    let cuts = [
        1,
        1000,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        2 * CHUNK + 7,
        bytes.len() - 1,
    ];
    for cut in cuts {
        let contract = bench.contract(&format!("cut at {cut}")).await;
        let owner = bench.owner(contract).await;
        bench.send(owner, &bytes, 0..cut).await;
        assert_eq!(
            bench.progress(owner, &bytes).await,
            Progress::Partial(cut as u64)
        );
        let elsewhere = bench.begin(owner, &bytes, cut + 1).await;
        assert!(matches!(elsewhere, Err(BlobError::WrongOffset(at)) if at == cut as u64));
        // Nobody else goes on with it.
        let other = bench.owner(contract).await;
        assert_eq!(bench.progress(other, &bytes).await, Progress::Absent);
        assert_eq!(bench.finish(owner, &bytes, cut).await, Ended::Stored(true));
        assert_eq!(bench.read(contract, &bytes).await.unwrap(), bytes);
        let again = bench.begin(owner, &bytes, 0).await.unwrap();
        assert!(matches!(again, Begun::Complete));
    }
    assert_eq!(bench.files("incoming"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_upload_in_many_pieces_is_kept_to_the_byte_and_nowhere_in_clear() {
    let bench = Bench::new();
    let bytes = picture();
    let contract = bench.contract("Acme").await;
    let owner = bench.owner(contract).await;
    let mut sent = 0;
    while sent + 30_011 < bytes.len() {
        bench.send(owner, &bytes, sent..sent + 30_011).await;
        sent += 30_011;
        bench.assert_nothing_in_clear(&bytes);
    }
    assert_eq!(bench.finish(owner, &bytes, sent).await, Ended::Stored(true));
    assert_eq!(bench.read(contract, &bytes).await.unwrap(), bytes);
    bench.assert_nothing_in_clear(&bytes);
}

#[tokio::test]
async fn wrong_bytes_leave_nothing() {
    let bench = Bench::new();
    let bytes = picture();
    let contract = bench.contract("Acme").await;
    let owner = bench.owner(contract).await;
    let mut changed = bytes.clone();
    changed[CHUNK + 5] ^= 1;
    let mut upload = bench.upload(owner, &bytes, 0).await;
    upload.write(Bytes::from(changed)).await.unwrap();
    assert!(matches!(upload.end(NOW).await, Err(BlobError::WrongHash)));
    let mut upload = bench.upload(owner, &bytes, 0).await;
    let long = [&bytes[..], b"!"].concat();
    let written = upload.write(Bytes::from(long)).await;
    assert!(matches!(written, Err(BlobError::TooLong)));
    drop(upload);
    let huge = vec![0; MAX_BYTES as usize + 1];
    let begun = bench.begin(owner, &huge, 0).await;
    assert!(matches!(begun, Err(BlobError::TooLarge(..))));
    assert_eq!(bench.progress(owner, &bytes).await, Progress::Absent);
    for folder in ["incoming", "blobs"] {
        assert_eq!(bench.files(folder), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn the_same_bytes_in_two_contracts_are_two_objects() {
    let bench = Bench::new();
    let bytes = picture();
    let (own, foreign) = (bench.contract("own").await, bench.contract("foreign").await);
    let (ours, theirs) = (bench.owner(own).await, bench.owner(foreign).await);
    bench.finish(ours, &bytes, 0).await;
    // Nothing tells the other contract that they are here.
    assert_eq!(bench.progress(theirs, &bytes).await, Progress::Absent);
    assert!(bench.read(foreign, &bytes).await.is_none());
    assert_eq!(bench.finish(theirs, &bytes, 0).await, Ended::Stored(true));
    let objects = bench.files("blobs");
    let [one, other] = objects.as_slice() else {
        panic!("{objects:?}");
    };
    assert_ne!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
    // Put in each other's place they do not open.
    std::fs::copy(one, other).unwrap();
    let moved = [(own, ours), (foreign, theirs)]
        .map(|(contract, owner)| bench.blobs.get(contract, owner.device, Sha256::of(&bytes)));
    let opened = futures::future::join_all(moved).await;
    assert_eq!(opened.iter().filter(|found| found.is_ok()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_bring_the_same_bytes_at_once_leave_one_that_opens() {
    let bench = Bench::new();
    let contract = bench.contract("Acme").await;
    let (one, other) = (bench.owner(contract).await, bench.owner(contract).await);
    for round in 0..40_u8 {
        let bytes = vec![round; 3000];
        // Both are let in before either has ended.
        let (first, second) =
            tokio::join!(bench.upload(one, &bytes, 0), bench.upload(other, &bytes, 0));
        let (first, second) = tokio::join!(ended(first, &bytes), ended(second, &bytes));
        let new = [first, second]
            .iter()
            .filter(|end| **end == Ended::Stored(true))
            .count();
        assert_eq!(new, 1, "round {round}");
        assert_eq!(bench.read(contract, &bytes).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn after_a_crash_between_object_and_row_it_comes_again() {
    let bench = Bench::new();
    let bytes = picture();
    let contract = bench.contract("Acme").await;
    let owner = bench.owner(contract).await;
    bench.rows.refuse.store(true, Ordering::SeqCst);
    let mut upload = bench.upload(owner, &bytes, 0).await;
    upload.write(Bytes::from(bytes.clone())).await.unwrap();
    assert!(
        matches!(upload.end(NOW).await, Err(BlobError::Store(_))),
        "nothing is answered"
    );
    assert_eq!(
        bench.files("blobs").len(),
        1,
        "the object is there, its row is not"
    );
    bench.rows.refuse.store(false, Ordering::SeqCst);
    let bench = bench.reopened();
    assert_eq!(bench.progress(owner, &bytes).await, Progress::Absent);
    assert_eq!(bench.finish(owner, &bytes, 0).await, Ended::Stored(true));
    assert_eq!(bench.read(contract, &bytes).await.unwrap(), bytes);
    assert_eq!(bench.files("blobs").len(), 1);
    assert_eq!(bench.files("incoming"), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_upload_that_a_crash_cut_goes_on_after_it() {
    let bench = Bench::new();
    let bytes = picture();
    let contract = bench.contract("Acme").await;
    let owner = bench.owner(contract).await;
    let mut upload = bench.upload(owner, &bytes, 0).await;
    let piece = Bytes::copy_from_slice(&bytes[..2 * CHUNK + 100]);
    upload.write(piece).await.unwrap();
    // A killed process runs no destructors.
    std::mem::forget(upload);
    let [torn] = bench.files("incoming").try_into().unwrap();
    let half_a_chunk = std::fs::metadata(&torn).unwrap().len() - CHUNK as u64 / 2;
    let file = std::fs::OpenOptions::new().write(true).open(&torn).unwrap();
    file.set_len(half_a_chunk).unwrap();
    let bench = bench.reopened();
    assert_eq!(
        bench.progress(owner, &bytes).await,
        Progress::Partial(CHUNK as u64)
    );
    assert_eq!(
        bench.finish(owner, &bytes, CHUNK).await,
        Ended::Stored(true)
    );
    assert_eq!(bench.read(contract, &bytes).await.unwrap(), bytes);
}

#[tokio::test]
async fn fault_08_a_file_without_a_row_is_swept_and_comes_again() {
    let bench = Bench::new();
    let owner = bench.owner(bench.contract("Acme").await).await;
    let bytes = picture();
    bench.rows.refuse.store(true, Ordering::SeqCst);
    let mut upload = bench.upload(owner, &bytes, 0).await;
    upload.write(Bytes::copy_from_slice(&bytes)).await.unwrap();
    upload.end(NOW).await.unwrap_err();
    // What the object store leaves of a write that a crash cut.
    let torn = bench.files("blobs")[0].with_extension("x#1");
    std::fs::write(&torn, b"torn").unwrap();

    let young = bench
        .blobs
        .sweep(Duration::from_secs(3600), NOW)
        .await
        .unwrap();
    assert_eq!(young, Swept::default(), "it may be on its way");
    let swept = bench.blobs.sweep(Duration::ZERO, NOW).await.unwrap();
    assert_eq!((swept.orphans_removed, swept.torn_removed), (1, 1));
    assert_eq!(bench.files("blobs"), Vec::<PathBuf>::new());

    bench.rows.refuse.store(false, Ordering::SeqCst);
    assert_eq!(bench.finish(owner, &bytes, 0).await, Ended::Stored(true));
    assert_eq!(bench.read(owner.contract, &bytes).await.unwrap(), bytes);
    let swept = bench.blobs.sweep(Duration::ZERO, NOW).await.unwrap();
    assert_eq!(swept, Swept::default(), "what has a row stays");
}

#[tokio::test]
async fn fault_08_a_row_without_a_file_is_told_and_taken_in_again() {
    let bench = Bench::new();
    let owner = bench.owner(bench.contract("Acme").await).await;
    let bytes = picture();
    bench.finish(owner, &bytes, 0).await;
    let file = bench.files("blobs").remove(0);
    let aside = bench.dir.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();

    let swept = bench.blobs.sweep(Duration::ZERO, NOW).await.unwrap();
    assert_eq!((swept.newly_missing, swept.missing), (1, 1));
    assert_eq!(bench.progress(owner, &bytes).await, Progress::Absent);
    let again = bench.blobs.sweep(Duration::ZERO, NOW).await.unwrap();
    assert_eq!((again.newly_missing, again.missing), (0, 1));

    // A copy is restored: the mark goes. It is lost again: the device brings it.
    std::fs::rename(&aside, &file).unwrap();
    let swept = bench.blobs.sweep(Duration::ZERO, NOW).await.unwrap();
    assert_eq!((swept.returned, swept.missing), (1, 0));
    assert_eq!(bench.read(owner.contract, &bytes).await.unwrap(), bytes);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(bench.read(owner.contract, &bytes).await, None);
    assert_eq!(bench.finish(owner, &bytes, 0).await, Ended::Stored(true));
    assert_eq!(bench.read(owner.contract, &bytes).await.unwrap(), bytes);
}

#[tokio::test]
async fn fault_26_a_folder_on_which_nothing_is_mounted_is_no_proof_of_loss() {
    let bench = Bench::new();
    let owner = bench.owner(bench.contract("Acme").await).await;
    let bytes = picture();
    bench.finish(owner, &bytes, 0).await;
    let (folder, aside) = (
        bench.dir.path().join("blobs"),
        bench.dir.path().join("aside"),
    );
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::create_dir(&folder).unwrap();

    let away = |error| matches!(error, BlobError::Away(_));
    assert!(away(
        bench.blobs.sweep(Duration::ZERO, NOW).await.unwrap_err()
    ));
    assert!(away(bench.begin(owner, b"another", 0).await.unwrap_err()));
    let got = bench
        .blobs
        .get(owner.contract, owner.device, Sha256::of(&bytes))
        .await;
    assert!(away(got.unwrap_err()));
    assert_eq!(
        bench.files("blobs"),
        Vec::<PathBuf>::new(),
        "nothing was written beside it"
    );

    std::fs::remove_dir(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(bench.read(owner.contract, &bytes).await.unwrap(), bytes);
    assert_eq!(
        bench.finish(owner, b"another", 0).await,
        Ended::Stored(true)
    );
}
