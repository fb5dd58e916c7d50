//! An export: one file with the signed records of a time range, its pictures, and all that is needed to check both.
//!
//! Batches come whole and as they were signed, of every device asked for, from one before the time range to one
//! after it: so whoever checks sees that nothing between was left out. A batch belongs to one device and a device to
//! one contract, so a whole batch never carries another contract's data. Pictures are those captured within the
//! range. Nothing is held in memory but the file being written; the manifest comes last.

mod choice;

use super::container::Writer;
use super::heads::file_name;
use super::local;
use super::page::{self, PageEvent};
use crate::blob::Blobs;
use crate::store::{
    BatchRow, ContractScope, ErasureBook, EvidenceDevice, EvidenceReads, HeadsBook, PictureRow,
    StoreError,
};
use bytes::Bytes;
use choice::{Chosen, choose, not_arrived};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::evidence::SignedHeads;
use wire::evidence::export::append_batch;
use wire::evidence::manifest::{
    self, CameraManifest, DeviceManifest, EpochManifest, FileManifest, HEADS, MANIFEST, Manifest,
    PICTURES, RECORDS, SIGNATURE,
};
use wire::{CameraId, ContractId, DeviceId, EventId, Sha256, SigningKey, SiteId, UtcMicros};

/// Batches of one file: at most 4 MiB in memory.
const BATCHES_A_FILE: usize = 16;

/// What is wanted: captured at or after `from`, before `to`.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: UtcMicros,
    pub to: UtcMicros,
    pub site: Option<SiteId>,
    pub device: Option<DeviceId>,
    /// Only this camera's pictures; records come of all cameras of its device.
    pub camera: Option<CameraId>,
    /// When it is made, as it says of itself. The same of the same data has the same bytes, so that a download goes on.
    pub made_at: UtcMicros,
}

/// What an export is made of.
#[derive(Clone, Debug)]
pub struct Sources<S> {
    pub store: S,
    pub blobs: Arc<Blobs>,
    /// The receiver's evidence key.
    pub key: Arc<SigningKey>,
}

/// What the store must answer for an export.
pub trait EvidenceStore: EvidenceReads + HeadsBook + ErasureBook + Send + Sync {}
impl<S: EvidenceReads + HeadsBook + ErasureBook + Send + Sync> EvidenceStore for S {}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no such device or camera in this contract")]
    NothingThere,
    #[error("the time range ends before it begins")]
    EmptyRange,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Whoever was to get it has gone.
    #[error("the download was given up")]
    GivenUp,
}

/// What went into the file.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Summary {
    pub devices: u64,
    pub batches: u64,
    pub records: u64,
    pub pictures: u64,
    pub events: u64,
    pub bytes: u64,
    /// Of the time range, but deleted since because their agreed time was over: the manifest has their numbers and hashes.
    pub deleted_records: u64,
    /// What should have been in it, but could not be read: run `verify`.
    pub unreadable: Vec<String>,
}

/// Streams the export of what a signed-in customer may see; pieces go into `out` as they are made. If the receiver
/// of `out` goes away, it ends with [`ExportError::GivenUp`].
pub async fn for_customer<S: EvidenceStore>(
    sources: &Sources<S>,
    scope: ContractScope,
    wanted: &Wanted,
    out: mpsc::Sender<Bytes>,
) -> Result<Summary, ExportError> {
    of_contract(sources, scope.contract(), wanted, out).await
}

/// The same for the operator's command line.
pub(crate) async fn of_contract<S: EvidenceStore>(
    sources: &Sources<S>,
    contract: ContractId,
    wanted: &Wanted,
    out: mpsc::Sender<Bytes>,
) -> Result<Summary, ExportError> {
    if wanted.to <= wanted.from {
        return Err(ExportError::EmptyRange);
    }
    let all = sources.store.evidence_devices(Some(contract)).await?;
    let all_devices = all.len();
    let devices: Vec<_> = all
        .into_iter()
        .filter(|device| is_wanted(device, wanted))
        .collect();
    let Some(contract_name) = devices.first().map(|device| device.contract_name.clone()) else {
        return Err(ExportError::NothingThere);
    };
    let mut export = Export {
        out: Out {
            sender: out,
            writer: Writer::default(),
            files: Vec::new(),
            bytes: 0,
        },
        sources,
        wanted,
        contract,
        summary: Summary {
            devices: devices.len() as u64,
            ..Summary::default()
        },
        shown: HashMap::new(),
        written: HashSet::new(),
    };
    let mut manifests = Vec::with_capacity(devices.len());
    for device in &devices {
        manifests.push(export.device(device).await?);
    }
    export.heads().await?;
    export.index(&contract_name, &devices).await?;
    let manifest = Manifest {
        v: manifest::VERSION,
        made_at_us: wanted.made_at,
        receiver_key: sources.key.verifying_key(),
        contract,
        contract_name,
        from_us: wanted.from,
        to_us: wanted.to,
        cameras: wanted.camera.map(|camera| vec![camera]),
        all_devices: devices.len() == all_devices,
        devices: manifests,
        files: std::mem::take(&mut export.out.files),
    };
    export.finish(&manifest).await
}

fn is_wanted(device: &EvidenceDevice, wanted: &Wanted) -> bool {
    wanted.site.is_none_or(|site| device.site == site)
        && wanted.device.is_none_or(|id| device.device == id)
        && wanted
            .camera
            .is_none_or(|camera| device.cameras.iter().any(|(id, _)| *id == camera))
}

struct Export<'a, S> {
    out: Out,
    sources: &'a Sources<S>,
    wanted: &'a Wanted,
    contract: ContractId,
    summary: Summary,
    /// Path of the picture that the index shows of an event.
    shown: HashMap<EventId, String>,
    written: HashSet<Sha256>,
}

impl<S: EvidenceStore> Export<'_, S> {
    async fn device(&mut self, device: &EvidenceDevice) -> Result<DeviceManifest, ExportError> {
        let range = (self.wanted.from, self.wanted.to);
        let store = &self.sources.store;
        let mut rows = store.batch_rows(device.device).await?;
        choice::correct_times(store, device, &mut rows).await?;
        let pictures = store.picture_rows(device.device, Some(range)).await?;
        let events = store.evidence_events(self.contract, range).await?;
        let of_events = events
            .iter()
            .filter(|event| event.device == device.device)
            .map(|event| event.batch);
        let named: HashSet<i64> = of_events
            .chain(pictures.iter().map(|picture| picture.batch))
            .collect();
        let chosen = choose(&rows, range, &named);
        for epoch in &chosen {
            self.batches(device, epoch).await?;
        }
        let wanted = |picture: &&PictureRow| {
            self.wanted
                .camera
                .is_none_or(|camera| picture.camera == camera)
        };
        let pictures: Vec<_> = pictures.iter().filter(wanted).cloned().collect();
        let missing = pictures
            .iter()
            .filter(|picture| !picture.arrived)
            .map(|picture| picture.sha256)
            .collect();
        for picture in pictures.iter().filter(|picture| picture.arrived) {
            self.picture(device, picture).await?;
        }
        Ok(manifest_of(device, &chosen, missing))
    }

    async fn batches(
        &mut self,
        device: &EvidenceDevice,
        chosen: &Chosen,
    ) -> Result<(), ExportError> {
        let (deleted, held): (Vec<&BatchRow>, Vec<&BatchRow>) =
            chosen.rows.iter().partition(|row| row.deleted);
        self.summary.deleted_records += deleted
            .iter()
            .map(|row| row.last.0 - row.first.0 + 1)
            .sum::<u64>();
        for part in held.chunks(BATCHES_A_FILE) {
            let numbers = part.iter().map(|row| row.no).collect();
            let store = &self.sources.store;
            let opened = store
                .batch_bytes(self.contract, device.device, numbers)
                .await?;
            let mut file = Vec::new();
            for (row, bytes) in part.iter().zip(opened) {
                match bytes {
                    Some(bytes) => self.count(row, &bytes, &mut file),
                    None => self.summary.unreadable.push(format!(
                        "device {}, epoch {}, records {}-{}",
                        device.device, row.epoch, row.first, row.last
                    )),
                }
            }
            let name = format!(
                "{RECORDS}{}/{}-{:020}.batches",
                device.device, chosen.epoch, part[0].first.0
            );
            self.out.put(&name, file.into()).await?;
        }
        Ok(())
    }

    fn count(&mut self, row: &BatchRow, bytes: &[u8], file: &mut Vec<u8>) {
        append_batch(file, bytes);
        self.summary.batches += 1;
        self.summary.records += row.last.0 - row.first.0 + 1;
    }

    async fn picture(
        &mut self,
        device: &EvidenceDevice,
        picture: &PictureRow,
    ) -> Result<(), ExportError> {
        let path = picture_path(device, picture);
        if !self.written.contains(&picture.sha256) {
            let unreadable = format!("picture {} of device {}", picture.sha256, device.device);
            let Some(brought_by) = picture.brought_by else {
                self.summary.unreadable.push(unreadable);
                return Ok(());
            };
            let Ok(Some(bytes)) = self
                .sources
                .blobs
                .get(self.contract, brought_by, picture.sha256)
                .await
            else {
                self.summary.unreadable.push(unreadable);
                return Ok(());
            };
            self.out.put(&path, bytes).await?;
            self.written.insert(picture.sha256);
            self.summary.pictures += 1;
        }
        if let Some(event) = picture.event.filter(|_| picture.class == "snapshot") {
            self.shown.entry(event).or_insert(path);
        }
        Ok(())
    }

    async fn heads(&mut self) -> Result<(), ExportError> {
        let Some(newest) = self.sources.store.newest_heads().await? else {
            return Ok(());
        };
        let signed = SignedHeads::from_json(newest.document.as_bytes()).map_err(|error| {
            StoreError::Corrupt(format!("heads no. {}: {error}", newest.number))
        })?;
        let theirs = signed.for_contract(self.contract).to_json();
        let name = format!("{HEADS}{}", file_name(newest.number));
        self.out.put(&name, theirs.into()).await
    }

    async fn index(
        &mut self,
        contract: &str,
        devices: &[EvidenceDevice],
    ) -> Result<(), ExportError> {
        let range = (self.wanted.from, self.wanted.to);
        let events = self
            .sources
            .store
            .evidence_events(self.contract, range)
            .await?;
        let ours = events.into_iter().filter(|event| {
            devices.iter().any(|device| device.device == event.device)
                && self
                    .wanted
                    .camera
                    .is_none_or(|camera| event.camera == camera)
        });
        let events: Vec<PageEvent> = ours
            .map(|event| {
                let device = devices.iter().find(|device| device.device == event.device);
                let camera = device
                    .and_then(|device| device.cameras.iter().find(|(id, _)| *id == event.camera));
                PageEvent {
                    site: device.map_or_else(String::new, |device| device.site_name.clone()),
                    camera: camera
                        .map_or_else(|| event.camera.to_string(), |(_, name)| name.clone()),
                    picture: self.shown.get(&event.id).cloned(),
                    event,
                }
            })
            .collect();
        self.summary.events = events.len() as u64;
        let html = page::render(
            contract,
            range,
            &events,
            &self.summary,
            &self.sources.key.verifying_key(),
        );
        self.out.put("index.html", html.into()).await?;
        self.out
            .put("events.csv", page::csv(&events).into())
            .await?;
        self.out
            .put("events.json", page::json(&events).into())
            .await
    }

    async fn finish(mut self, manifest: &Manifest) -> Result<Summary, ExportError> {
        let json = manifest.to_json();
        let signature = Manifest::sign(&json, &self.sources.key);
        self.out.put(MANIFEST, json.into()).await?;
        self.out.put(SIGNATURE, signature.into()).await?;
        let directory = std::mem::take(&mut self.out.writer).finish();
        self.out.send(directory.into()).await?;
        self.summary.bytes = self.out.bytes;
        Ok(self.summary)
    }
}

fn manifest_of(
    device: &EvidenceDevice,
    chosen: &[Chosen],
    not_arrived_pictures: Vec<Sha256>,
) -> DeviceManifest {
    let epochs = chosen.iter().map(|chosen| EpochManifest {
        epoch: chosen.epoch,
        first_seq: chosen.first(),
        last_seq: chosen.last(),
        not_arrived: not_arrived(&device.stored, chosen),
        goes_on: chosen.goes_on,
    });
    let rows = || chosen.iter().flat_map(|chosen| &chosen.rows);
    let deleted = || rows().filter(|row| row.deleted);
    DeviceManifest {
        device: device.device,
        site_name: device.site_name.clone(),
        record_key: device.record_key,
        enrolled_us: device.enrolled_us,
        revoked_us: device.revoked_us,
        cameras: device
            .cameras
            .iter()
            .map(|(camera, name)| CameraManifest {
                camera: *camera,
                name: name.clone(),
            })
            .collect(),
        epochs: epochs.collect(),
        boots: device.boots.clone(),
        refused: device.refused.clone(),
        not_arrived: not_arrived_pictures,
        deleted: deleted().map(BatchRow::as_deleted).collect(),
        deleted_gaps: match deleted().next() {
            Some(_) => device.deleted_gaps.clone(),
            None => Vec::new(),
        },
    }
}

/// `pictures/gate/20261122-140512-snapshot-ab12cd34ef56.jpg`
fn picture_path(device: &EvidenceDevice, picture: &PictureRow) -> String {
    let camera = device.cameras.iter().find(|(id, _)| *id == picture.camera);
    let camera = camera.map_or_else(
        || picture.camera.to_string(),
        |(id, name)| folder_name(name, *id),
    );
    let ending = match picture.content_type.as_str() {
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/webp" => "webp",
        "video/mp4" => "mp4",
        _ => "bin",
    };
    let hash = picture.sha256.to_string();
    format!(
        "{PICTURES}{camera}/{}-{}-{}.{ending}",
        local::in_name(picture.captured_us),
        folder_name(&picture.class, picture.camera),
        &hash[..12]
    )
}

/// A camera's name as every system takes it for a folder's.
fn folder_name(name: &str, camera: CameraId) -> String {
    let allowed = |c: char| !c.is_control() && !r#"\/:*?"<>|"#.contains(c);
    let kept: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .take(60)
        .collect();
    let kept = kept.trim_matches(|c: char| c == '.' || c.is_whitespace());
    if kept.is_empty() {
        camera.to_string()
    } else {
        kept.to_owned()
    }
}

/// The container on its way out.
struct Out {
    sender: mpsc::Sender<Bytes>,
    writer: Writer,
    files: Vec<FileManifest>,
    bytes: u64,
}

impl Out {
    async fn put(&mut self, path: &str, bytes: Bytes) -> Result<(), ExportError> {
        let header = self.writer.file(path, &bytes)?;
        self.files.push(FileManifest {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Sha256::of(&bytes),
        });
        self.send(header.into()).await?;
        self.send(bytes).await
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ExportError> {
        self.bytes += bytes.len() as u64;
        self.sender
            .send(bytes)
            .await
            .map_err(|_| ExportError::GivenUp)
    }
}
