//! Pictures and clips: taken in by their SHA-256, sealed from the first byte that touches the disk.
//!
//! An upload is sealed chunk by chunk while it is hashed, see [`stream`]: in memory while it is short, then in a
//! file below `incoming/`, so that memory is bounded whatever the size. Each upload owns its file alone; one that is
//! cut leaves its file behind under the blob's name, and the next upload takes that over by renaming it, so two
//! never write the same file. A whole one whose hash fits is put into the object store (fsync of file and folder),
//! then its row is committed, then it is answered: a row never points at nothing. One whose hash or length is wrong
//! leaves nothing. What is left by crashes is swept, see [`sweep`].
//!
//! A marker file says that the object store is there. Without it - nothing is mounted on the folder - nothing is
//! taken in, given out or concluded, however empty or writable the folder looks.
//!
//! The only place that imports object_store. Blobs belong to a contract: the same bytes in another contract are
//! another object under another key, and nothing tells one contract what another holds.

mod erase;
mod part;
pub(crate) mod stream;
mod sweep;

pub use sweep::Swept;

use crate::clock::now;
use crate::disk::Room;
use crate::seal::{Name, Purpose, SealError, SecretKey};
use crate::store::{BlobRow, BlobRows, StoreError};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};
use part::PartFile;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use wire::digest::Hasher;
use wire::{ContractId, DeviceId, Sha256, UtcMicros};

/// Uploads at the same time; further ones wait. Each holds [`part::IN_MEMORY`] and a chunk at most: 48 MiB for all.
const UPLOADS: usize = 256;
/// A device whose upload waited so long is told to come again, before it takes the line for dead.
const WAIT_FOR_TURN: Duration = Duration::from_secs(15);
/// Its presence says that the folder is the object store, and not the place where it should be mounted.
pub(crate) const MARKER: &str = "this-is-the-blob-store";
/// Put into the object store in pieces of this size.
const PIECE: usize = 1024 * 1024;
/// Locks among which blobs are spread; two blobs that share one only wait for each other.
const TURNS: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the blob store: {0}")]
    Io(#[from] io::Error),
    #[error("the blob store: {0}")]
    Objects(#[from] object_store::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a stored blob: {0}")]
    Seal(#[from] SealError),
    #[error(
        "the blob store {} is not there: its marker {MARKER:?} is missing; mount it, or restore it from a copy",
        .0.display()
    )]
    Away(PathBuf),
    #[error("the disk below {} has too little room left for pictures; free some, or add to it", .0.display())]
    NoRoom(PathBuf),
    #[error("{UPLOADS} uploads are going on already")]
    Busy,
    #[error("a blob of {0} bytes is larger than the {1} allowed")]
    TooLarge(u64, u64),
    /// The upload must go on from here.
    #[error("the upload must go on at {0}")]
    WrongOffset(u64),
    #[error("more bytes came than were announced")]
    TooLong,
    #[error("the bytes have another SHA-256")]
    WrongHash,
    #[error("the announced length is another than the one of the upload that is being continued")]
    WrongLength,
}

impl BlobError {
    /// Room on a disk cures it.
    pub fn is_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                );
            }
            cause = error.source();
        }
        matches!(self, Self::NoRoom(_) | Self::Store(StoreError::NoSpace(_)))
    }
}

/// Whose blob it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub contract: ContractId,
    pub device: DeviceId,
}

/// What an upload says about itself.
#[derive(Clone, Debug)]
pub struct Announced {
    pub sha256: Sha256,
    pub offset: u64,
    pub length: u64,
    pub content_type: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Absent,
    Partial(u64),
    Complete(u64),
}

/// How an upload begins.
#[derive(Debug)]
pub enum Begun {
    /// The blob is here already.
    Complete,
    Upload(Box<Upload>),
}

/// How an upload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Stored, durably; `false`: another upload of the same bytes was first.
    Stored(bool),
    /// So many bytes are kept, and the rest is awaited.
    Incomplete(u64),
}

#[derive(Debug)]
pub struct Blobs {
    rows: Arc<dyn BlobRowsDebug>,
    objects: Arc<LocalFileSystem>,
    /// Where the objects are.
    folder: PathBuf,
    incoming: PathBuf,
    max_bytes: u64,
    uploads: Arc<Semaphore>,
    turns: Arc<Turns>,
    counter: AtomicU64,
}

/// Storing an object and committing its row is one turn. An object is sealed under the name of the device that
/// brought it, and its row says which: without turns, a second device of the contract that brings the same bytes
/// at the same moment could overwrite the object just before the first one's row is written, and nobody could
/// open it any more.
#[derive(Debug)]
struct Turns([Mutex<()>; TURNS]);

impl Turns {
    fn of(&self, sha256: Sha256) -> &Mutex<()> {
        &self.0[usize::from(sha256.0[0]) % TURNS]
    }
}

/// The rows' trait, printable.
pub trait BlobRowsDebug: BlobRows + std::fmt::Debug {}
impl<T: BlobRows + std::fmt::Debug> BlobRowsDebug for T {}

impl Blobs {
    /// `dir` holds `blobs/` and `incoming/`. What a crash left of uploads can be continued. For the one process that
    /// serves.
    pub fn open(
        dir: &Path,
        rows: Arc<dyn BlobRowsDebug>,
        max_bytes: u64,
    ) -> Result<Self, BlobError> {
        let this = Self::beside(dir, rows, max_bytes)?;
        part::recover(&this.incoming)?;
        Ok(this)
    }

    /// For other processes: touches no upload of the one that serves.
    pub fn beside(
        dir: &Path,
        rows: Arc<dyn BlobRowsDebug>,
        max_bytes: u64,
    ) -> Result<Self, BlobError> {
        let (blobs, incoming) = (dir.join("blobs"), dir.join("incoming"));
        std::fs::create_dir_all(&blobs)?;
        std::fs::create_dir_all(&incoming)?;
        Ok(Self {
            rows,
            objects: Arc::new(LocalFileSystem::new_with_prefix(&blobs)?.with_fsync(true)),
            folder: blobs,
            incoming,
            max_bytes,
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            turns: Arc::new(Turns(std::array::from_fn(|_| Mutex::default()))),
            counter: AtomicU64::new(0),
        })
    }

    /// Whether the object is there, whatever the rows say.
    pub async fn has(&self, contract: ContractId, sha256: Sha256) -> Result<bool, BlobError> {
        match self.objects.head(&object_path(contract, sha256)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The opened blob. `device` is who brought it: [`crate::store::MediaRow`] names it.
    pub async fn get(
        &self,
        contract: ContractId,
        device: DeviceId,
        sha256: Sha256,
    ) -> Result<Option<Bytes>, BlobError> {
        let sealed = match self.objects.get(&object_path(contract, sha256)).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => {
                self.present().await?;
                if self.rows.blob(contract, sha256).await?.is_some() {
                    self.mark_missing(contract, sha256, now()).await?;
                }
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let key = self.rows.contract_key(contract).await?;
        let name = name(Owner { contract, device }, sha256);
        Ok(Some(stream::open(&key, &name, &sealed)?.into()))
    }

    pub async fn progress(&self, owner: Owner, sha256: Sha256) -> Result<Progress, BlobError> {
        if let Some(blob) = self.rows.blob(owner.contract, sha256).await? {
            return Ok(Progress::Complete(blob.bytes));
        }
        let key = self.rows.contract_key(owner.contract).await?;
        let path = self.part_path(owner, sha256);
        let name = name(owner, sha256);
        let kept = blocking(move || part::kept(&path, &key, &name)).await?;
        Ok(kept.map_or(Progress::Absent, Progress::Partial))
    }

    pub async fn begin(&self, owner: Owner, announced: Announced) -> Result<Begun, BlobError> {
        if announced.length > self.max_bytes {
            return Err(BlobError::TooLarge(announced.length, self.max_bytes));
        }
        if self
            .rows
            .blob(owner.contract, announced.sha256)
            .await?
            .is_some()
        {
            return Ok(Begun::Complete);
        }
        let turn = tokio::time::timeout(WAIT_FOR_TURN, Arc::clone(&self.uploads).acquire_owned());
        let permit = turn
            .await
            .map_err(|_| BlobError::Busy)?
            .expect("the semaphore is never closed");
        self.present().await?;
        self.room_for(announced.length - announced.offset.min(announced.length))?;
        let key = self.rows.contract_key(owner.contract).await?;
        let path = self.part_path(owner, announced.sha256);
        let own = path.with_extension(format!(
            "{}.own",
            self.counter.fetch_add(1, Ordering::Relaxed)
        ));
        let name = name(owner, announced.sha256);
        let offset = announced.offset;
        let part = blocking(move || PartFile::begin(path, own, &key, &name, offset)).await?;
        if part.received() > announced.length {
            part.discard();
            return Err(BlobError::WrongLength);
        }
        Ok(Begun::Upload(Box::new(Upload {
            rows: Arc::clone(&self.rows),
            objects: Arc::clone(&self.objects),
            turns: Arc::clone(&self.turns),
            owner,
            announced,
            part: Some(part),
            _permit: permit,
        })))
    }

    /// Whether the object store is there. An empty one is marked when it is first used.
    pub async fn present(&self) -> Result<(), BlobError> {
        let marker = self.folder.join(MARKER);
        if marker.exists() {
            return Ok(());
        }
        if self.rows.has_blobs().await? {
            return Err(BlobError::Away(self.folder.clone()));
        }
        blocking(move || {
            let file = std::fs::File::create(&marker)?;
            file.sync_all()?;
            let folder = marker.parent().expect("it lies in a folder");
            Ok(std::fs::File::open(folder)?.sync_all()?)
        })
        .await
    }

    /// Whether a blob could be taken in now: the object store is there, takes a file, and has room.
    pub async fn probe(&self) -> Result<(), BlobError> {
        self.present().await?;
        self.room_for(0)?;
        let probe = ObjectPath::from("probe");
        self.objects.put(&probe, PutPayload::from("probe")).await?;
        Ok(self.objects.delete(&probe).await?)
    }

    /// Refuses while there is still room for records.
    pub fn room_for(&self, bytes: u64) -> Result<(), BlobError> {
        for folder in [&self.folder, &self.incoming] {
            if !Room::at(folder)?.has_room_for(bytes) {
                return Err(BlobError::NoRoom(folder.clone()));
            }
        }
        Ok(())
    }

    fn part_path(&self, owner: Owner, sha256: Sha256) -> PathBuf {
        // Of the device, not of the contract: nobody goes on with what another began.
        let name = format!("{}-{}-{sha256}.part", owner.contract, owner.device);
        self.incoming.join(name)
    }
}

/// A blob that is coming in. Dropped before its end - the connection was cut - it keeps what came.
#[derive(Debug)]
pub struct Upload {
    rows: Arc<dyn BlobRowsDebug>,
    objects: Arc<LocalFileSystem>,
    turns: Arc<Turns>,
    owner: Owner,
    announced: Announced,
    /// Away only while a blocking thread writes to it, which then keeps it if this is dropped meanwhile.
    part: Option<PartFile>,
    _permit: OwnedSemaphorePermit,
}

impl Upload {
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        let received = self.part.as_ref().map_or(0, PartFile::received);
        if received + bytes.len() as u64 > self.announced.length {
            self.discard();
            return Err(BlobError::TooLong);
        }
        self.on_part(move |part| part.append(&bytes)).await
    }

    /// To be called when the body has ended in good order.
    pub async fn end(mut self, at: UtcMicros) -> Result<Ended, BlobError> {
        let received = self.part.as_ref().map_or(0, PartFile::received);
        if received < self.announced.length {
            return Ok(Ended::Incomplete(received));
        }
        let found = self.on_part(PartFile::seal_end).await?;
        if found != self.announced.sha256 {
            self.discard();
            return Err(BlobError::WrongHash);
        }
        let mut part = self.part.take().expect("only away inside on_part");
        let turns = Arc::clone(&self.turns);
        let _turn = turns.of(self.announced.sha256).lock().await;
        let (contract, sha256) = (self.owner.contract, self.announced.sha256);
        if self.rows.blob(contract, sha256).await?.is_some() {
            part.discard();
            return Ok(Ended::Stored(false));
        }
        match part.take_memory() {
            Some(sealed) => self.put_short(sealed).await?,
            None => self.put(part.path()).await?,
        }
        let row = BlobRow {
            contract: self.owner.contract,
            sha256: self.announced.sha256,
            device: self.owner.device,
            bytes: self.announced.length,
            content_type: self.announced.content_type.clone(),
        };
        let new = self.rows.blob_arrived(row, at).await?;
        part.discard();
        Ok(Ended::Stored(new))
    }

    async fn on_part<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut PartFile) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let mut part = self.part.take().expect("only away inside on_part");
        let (part, outcome) = blocking(move || {
            let outcome = work(&mut part);
            Ok((part, outcome))
        })
        .await?;
        self.part = Some(part);
        Ok(outcome?)
    }

    fn discard(&mut self) {
        if let Some(part) = self.part.take() {
            part.discard();
        }
    }

    async fn put_short(&self, sealed: Vec<u8>) -> Result<(), BlobError> {
        let target = object_path(self.owner.contract, self.announced.sha256);
        self.objects.put(&target, PutPayload::from(sealed)).await?;
        Ok(())
    }

    async fn put(&self, sealed: &Path) -> Result<(), BlobError> {
        use tokio::io::AsyncReadExt;
        let target = object_path(self.owner.contract, self.announced.sha256);
        let mut file = tokio::fs::File::open(sealed).await?;
        let mut writer = WriteMultipart::new(self.objects.put_multipart(&target).await?);
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).await?;
            if count == 0 {
                break;
            }
            writer.wait_for_capacity(1).await?;
            writer.write(&piece[..count]);
        }
        writer.finish().await?;
        Ok(())
    }
}

/// The file of an object below the data folder, for whoever copies objects as they are.
pub(crate) fn object_file(dir: &Path, contract: ContractId, sha256: Sha256) -> PathBuf {
    dir.join("blobs")
        .join(contract.to_string())
        .join(sha256.to_string())
}

/// Whether a sealed file opens, and holds the bytes that it is named after.
pub(crate) fn opens(
    sealed: impl io::Read,
    key: &SecretKey,
    owner: Owner,
    sha256: Sha256,
) -> io::Result<bool> {
    let mut opener = stream::Opener::begin(key, &name(owner, sha256), sealed)?;
    let mut hasher = Hasher::default();
    while let Some(plain) = opener.next()? {
        hasher.update(plain);
    }
    Ok(hasher.finish() == sha256)
}

fn object_path(contract: ContractId, sha256: Sha256) -> ObjectPath {
    ObjectPath::from(format!("{contract}/{sha256}"))
}

fn name(owner: Owner, hash: Sha256) -> Name {
    Name {
        contract: owner.contract,
        device: owner.device,
        purpose: Purpose::Blob,
        hash,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

#[cfg(test)]
mod tests;
