//! What no receiver on this machine could exceed: the same bytes into SQLite with the same durability, and one
//! signature check a batch. Bare, and as minimal receivers under the same clients.

use crate::client::{next_packet, packet};
use crate::material::World;
use cloud_receiver::clock::now;
use cloud_receiver::config::default_hosts;
use cloud_receiver::keys::Keys;
use cloud_receiver::tls::{self, ServerCertificate};
use rusqlite::Connection;
use std::fmt;
use std::path::Path;
use std::sync::{LazyLock, mpsc};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use wire::{Batch, Record, SignedBatch, SigningKey, VerifyingKey};

/// Batches of one commit in the bare measurement: what 8 devices with 32 on their way have queued while the commit
/// before is under way.
const GROUP: usize = 128;

#[derive(Clone, Copy, Debug)]
pub enum Work {
    Sqlite,
    Checks,
}

/// What one thread does with no network, in records a second.
pub struct Bare {
    /// A row a record into SQLite.
    rows: f64,
    /// Hashes and Ed25519 checks of batches of [`SIZE`].
    checked: f64,
    /// Records read from their JSON.
    read: f64,
}

const SIZE: usize = 10;

impl Bare {
    /// The limit that nothing can exceed: the lower one of storing and checking.
    pub fn limit(&self) -> f64 {
        self.rows.min(self.checked)
    }
}

impl fmt::Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} records/s stored ({} rows in a commit), {:.0} checked in batches of {SIZE}, {:.0} read from JSON",
            self.rows,
            GROUP * SIZE,
            self.checked,
            self.read
        )
    }
}

pub fn bare(world: &mut World, dir: &Path, records: usize) -> Bare {
    let key = world.devices.last().unwrap().key.verifying_key();
    let load = world.load(world.devices.len() - 1, SIZE, records / SIZE);
    let batches: Vec<SignedBatch> = load
        .batches
        .into_iter()
        .map(|bytes| SignedBatch::from_bytes(bytes).unwrap())
        .collect();
    let began = Instant::now();
    for batch in &batches {
        SignedBatch::from_bytes(batch.as_bytes().to_vec())
            .unwrap()
            .verify(&key)
            .unwrap();
    }
    let checked = records as f64 / began.elapsed().as_secs_f64();
    let parsed: Vec<Batch> = batches.iter().map(|batch| batch.parse().unwrap()).collect();
    let began = Instant::now();
    for record in parsed.iter().flat_map(|batch| &batch.records) {
        Record::from_json(record).unwrap();
    }
    let read = records as f64 / began.elapsed().as_secs_f64();
    let connection = open(&dir.join("bare.db"));
    let began = Instant::now();
    for group in parsed.chunks(GROUP) {
        commit(&connection, group);
    }
    let rows = records as f64 / began.elapsed().as_secs_f64();
    Bare {
        rows,
        checked,
        read,
    }
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "full")
        .unwrap();
    connection
        .pragma_update(None, "wal_autocheckpoint", 16_384)
        .unwrap();
    connection
        .pragma_update(None, "cache_size", -32 * 1024)
        .unwrap();
    connection
        .execute_batch(
            "create table if not exists record (device blob not null, epoch integer not null,
                seq integer not null, bytes blob not null, primary key (device, epoch, seq)) strict",
        )
        .unwrap();
    connection
}

/// One row a record, each once, in one commit.
fn commit(connection: &Connection, batches: &[Batch]) {
    connection.execute_batch("begin immediate").unwrap();
    let mut insert = connection
        .prepare_cached("insert or ignore into record values (?1, ?2, ?3, ?4)")
        .unwrap();
    for batch in batches {
        for (seq, record) in (batch.first_seq.0.cast_signed()..).zip(&batch.records) {
            let row = (
                batch.device_id.0.as_bytes(),
                batch.epoch.0.cast_signed(),
                seq,
                record,
            );
            insert.execute(row).unwrap();
        }
    }
    drop(insert);
    connection.execute_batch("commit").unwrap();
}

/// By the last byte of the device's id, as `material.rs` makes them.
static KEYS: LazyLock<Vec<VerifyingKey>> = LazyLock::new(|| {
    let key = |number| SigningKey::from_seed([number; 32]).verifying_key();
    (0..16).map(key).collect()
});

type Job = (Batch, oneshot::Sender<()>);

/// A minimal receiver that does one thing.
pub async fn serve(dir: &Path, work: Work) {
    let keys = Keys::load(&dir.join("keys")).unwrap();
    let certificate =
        ServerCertificate::open(&dir.join("data/tls"), &default_hosts(), &keys.ca, now()).unwrap();
    let tls = tls::devices(certificate.into(), &keys.ca, &[b"mqtt"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let (jobs, queue) = mpsc::sync_channel(1024);
    let path = dir.join("limit.db");
    std::thread::spawn(move || write(&open(&path), &queue));
    let accept = async {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (tls, jobs) = (TlsAcceptor::from(tls.clone()), jobs.clone());
            tokio::spawn(async move { connection(tcp, tls, work, jobs).await });
        }
    };
    tokio::select! {
        () = accept => {}
        () = crate::process::parent_has_gone() => {}
    }
}

/// Whatever is queued goes into one commit, as in the receiver.
fn write(connection: &Connection, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        jobs.extend(queue.try_iter().take(255));
        let (batches, replies): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        commit(connection, &batches);
        for reply in replies {
            let _ = reply.send(());
        }
    }
}

async fn connection(tcp: TcpStream, tls: TlsAcceptor, work: Work, jobs: mpsc::SyncSender<Job>) {
    tcp.set_nodelay(true).unwrap();
    let stream = tls.accept(tcp).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (answers, mut due) =
        tokio::sync::mpsc::channel::<(Vec<u8>, Option<oneshot::Receiver<()>>)>(64);
    tokio::spawn(async move {
        while let Some((bytes, commit)) = due.recv().await {
            if let Some(commit) = commit {
                commit.await.unwrap();
            }
            let sent = writer.write_all(&bytes).await;
            if sent.is_err() || due.is_empty() && writer.flush().await.is_err() {
                return;
            }
        }
    });
    let mut input = bytes::BytesMut::with_capacity(64 * 1024);
    while reader.read_buf(&mut input).await.is_ok_and(|read| read > 0) {
        while let Some((kind, body)) = next_packet(&mut input) {
            let mut answer = Vec::new();
            let mut commit = None;
            match kind >> 4 {
                1 => packet(&mut answer, 0x20, &[&[0, 0, 0]]),
                8 => packet(&mut answer, 0x90, &[&body[..2], &[0, 0]]),
                3 => {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    packet(&mut answer, 0x40, &[&body[2 + topic..4 + topic]]);
                    commit = Some(handle(work, body[5 + topic..].to_vec(), &jobs));
                }
                _ => continue,
            }
            if answers.send((answer, commit)).await.is_err() {
                return;
            }
        }
    }
}

fn handle(work: Work, payload: Vec<u8>, jobs: &mpsc::SyncSender<Job>) -> oneshot::Receiver<()> {
    let (reply, done) = oneshot::channel();
    match work {
        Work::Sqlite => {
            // Not hashed: the limit does nothing but store. The record bytes are found by their lengths.
            let batch = frames(&payload);
            let send = || jobs.send((batch, reply)).unwrap();
            tokio::task::block_in_place(send);
        }
        Work::Checks => {
            tokio::spawn(async move {
                let signed = SignedBatch::from_bytes(payload).unwrap();
                let number = signed.as_bytes()[8 + 15];
                signed.verify(&KEYS[usize::from(number)]).unwrap();
                let _ = reply.send(());
            });
        }
    }
    done
}

/// `Batch::parse` without the hash before it.
fn frames(bytes: &[u8]) -> Batch {
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let length = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 76;
    let records = (0..length(72))
        .map(|_| {
            let len = length(at);
            at += 4 + len;
            bytes[at - len..at].to_vec()
        })
        .collect();
    Batch {
        device_id: wire::DeviceId(uuid::Uuid::from_slice(&bytes[8..24]).unwrap()),
        epoch: wire::Epoch(number(24)),
        first_seq: wire::Seq(number(32)),
        prev: wire::Sha256::ZERO,
        records,
    }
}
