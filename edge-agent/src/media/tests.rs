//! Masks, JPEG and the queue tried with a list in place of the spool.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::health::Health;
use std::sync::mpsc;
use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

/// Keeps everything, or refuses everything.
#[derive(Default)]
struct List {
    refuse_media: bool,
    records: Mutex<Vec<Record>>,
    media: Mutex<Vec<(MediaRecord, Vec<u8>)>>,
}

impl Sink for List {
    fn put(&self, record: Record) -> Result<(), SinkError> {
        self.records.lock().unwrap().push(record);
        Ok(())
    }

    fn put_media(
        &self,
        _: RecordTime,
        media: MediaRecord,
        bytes: Vec<u8>,
    ) -> Result<(), SinkError> {
        if self.refuse_media {
            return Err(SinkError {
                kind: ErrorKind::Transient,
                message: "disk full".into(),
            });
        }
        self.media.lock().unwrap().push((media, bytes));
        Ok(())
    }
}

fn job(done: Option<Done>) -> MediaJob {
    let time = RecordTime {
        captured_at_us: UtcMicros(5),
        boot_id: BootId(uuid::Uuid::nil()),
        boottime_ns: 1,
        clock: ClockStamp::UNSYNCED,
    };
    MediaJob {
        frame: Frame::from_rgb(
            CameraId(uuid::Uuid::nil()),
            time,
            32,
            16,
            vec![9; 32 * 16 * 3],
        ),
        class: MediaClass::Requested,
        event: None,
        command: None,
        boxes: Vec::new(),
        quality: 0.5,
        masks: Arc::from([]),
        moment: None,
        done,
    }
}

fn run(worker: &MediaWorker) {
    let stop = CancellationToken::new();
    stop.cancel();
    let reporter = Health::default().unit("media");
    worker.run(&stop, &reporter);
}

#[test]
fn a_picture_is_kept_and_its_asker_told() {
    let sink = Arc::new(List::default());
    let (queue, worker) = queue(sink.clone());
    let (tell, told) = mpsc::channel();
    let done: Done = Box::new(move |outcome| tell.send(outcome).unwrap());
    queue.offer(job(Some(done))).unwrap();
    run(&worker);

    let media = sink.media.lock().unwrap();
    let (record, bytes) = &media[0];
    assert_eq!(told.recv().unwrap(), Ok(record.sha256));
    assert_eq!(record.sha256, Sha256::of(bytes));
    assert_eq!(
        (record.width, record.height, record.masked),
        (32, 16, false)
    );
    assert_eq!(record.bytes, bytes.len() as u64);
    let stats = queue.stats();
    assert_eq!((stats.made, stats.failed, stats.waiting), (1, 0, 0));
}

#[test]
fn the_ninth_job_is_given_back() {
    let (queue, worker) = queue(Arc::new(List::default()));
    for _ in 0..QUEUE_LENGTH {
        queue.offer(job(None)).unwrap();
    }
    assert!(queue.offer(job(None)).is_err());
    assert_eq!(queue.stats().waiting, QUEUE_LENGTH as u64);
    // What waited is finished after the stop, and then there is room again.
    run(&worker);
    assert_eq!(queue.stats().made, QUEUE_LENGTH as u64);
    assert!(queue.offer(job(None)).is_ok());
}

/// The spool counts what it does not take, so a word from here would count it twice.
#[test]
fn a_picture_the_spool_refuses_is_not_reported_twice() {
    let sink = Arc::new(List {
        refuse_media: true,
        ..List::default()
    });
    let (queue, worker) = queue(sink.clone());
    let (tell, told) = mpsc::channel();
    let done: Done = Box::new(move |outcome| tell.send(outcome).unwrap());
    queue.offer(job(Some(done))).unwrap();
    run(&worker);

    assert!(told.recv().unwrap().unwrap_err().contains("disk full"));
    assert!(sink.records.lock().unwrap().is_empty());
    assert_eq!(queue.stats().failed, 1);
}
