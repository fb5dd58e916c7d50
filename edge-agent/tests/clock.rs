//! The clock against real time servers on loopback: Debian's chronyd, honest ones and one whose clock libfaketime
//! has moved by an hour, and nobody at all.
//!
//! Where chronyd or libfaketime is missing the tests say so and are skipped; with `CI=true` they fail.

use edge_agent::clock::{RealClocks, TimeSource};
use edge_agent::config::ClockConfig;
use edge_agent::health::Health;
use edge_agent::identity::build_time;
use edge_agent::ntp::{ClockReport, NtpClock, Verdict};
use edge_agent::sink::{Sink, SinkError};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wire::record::MediaRecord;
use wire::{Body, ClockState, Record, RecordTime, UtcMicros};

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const FAKETIME_ARM: &str = "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1";
const CHRONYD: &str = "/usr/sbin/chronyd";
const HOUR_US: i64 = 3_600_000_000;

/// Keeps what was recorded.
#[derive(Default)]
struct Kept(Mutex<Vec<Record>>);

impl Sink for Kept {
    fn put(&self, record: Record) -> Result<(), SinkError> {
        self.0.lock().expect("no panic while pushing").push(record);
        Ok(())
    }

    fn put_media(&self, _: RecordTime, _: MediaRecord, _: Vec<u8>) -> Result<(), SinkError> {
        unreachable!("the clock makes no pictures")
    }
}

/// A real NTP server on a loopback port, ended when dropped.
struct Chronyd {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Chronyd {
    /// `shift` moves its clock, as libfaketime writes it; `local` makes it claim to know the time.
    fn start(shift: Option<&str>, local: bool) -> Self {
        let folder = tempfile::tempdir().expect("temp dir");
        let port = free_port();
        let config = folder.path().join("chrony.conf");
        let claim = if local { "local stratum 3\n" } else { "" };
        let text = format!(
            "port {port}\ncmdport 0\nbindaddress 127.0.0.1\nallow 127.0.0.0/8\npidfile {}\n{claim}",
            folder.path().join("pid").display()
        );
        std::fs::write(&config, text).expect("write");
        let mut command = Command::new(CHRONYD);
        command
            .args(["-x", "-d", "-u", "root", "-f"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(shift) = shift {
            command
                .env("LD_PRELOAD", faketime().expect("asked for before"))
                .env("FAKETIME", shift)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let child = command.spawn().expect("chronyd starts");
        let server = Self {
            child,
            port,
            _folder: folder,
        };
        server.await_answer();
        server
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn await_answer(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let timeout = Some(Duration::from_millis(100));
        socket.set_read_timeout(timeout).expect("set");
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut request = [0; 48];
        request[0] = 0x23;
        while Instant::now() < deadline {
            let _ = socket.send_to(&request, ("127.0.0.1", self.port));
            if socket.recv(&mut [0; 128]).is_ok() {
                return;
            }
        }
        panic!("chronyd on port {} does not answer", self.port);
    }
}

fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.local_addr().expect("bound").port()
}

fn faketime() -> Option<PathBuf> {
    [FAKETIME, FAKETIME_ARM]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

/// Whether the real servers can be run here; says loudly if not.
fn servers_can_run() -> bool {
    let missing = if !Path::new(CHRONYD).exists() {
        "chronyd is missing (apt-get install chrony)"
    } else if faketime().is_none() {
        "libfaketime is missing (apt-get install faketime)"
    } else if !rustix::process::geteuid().is_root() {
        "chronyd needs root"
    } else {
        return true;
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
    eprintln!("SKIPPED: {missing}");
    false
}

/// One round against these servers.
async fn round(servers: Vec<String>) -> (ClockReport, Vec<Record>) {
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    let kept = Arc::new(Kept::default());
    let reporter = Health::default().unit("clock", UtcMicros(0));
    let config = ClockConfig {
        servers,
        ..ClockConfig::default()
    };
    let mut clock = NtpClock::new(config, time.clone(), kept.clone(), reporter, build_time());
    let agreed = clock.round().await;
    assert_eq!(agreed, time.stamp().state == ClockState::Synced);
    let status = clock.status();
    // The record is put on a thread of its own, which ends with the last other owner of the sink.
    drop(clock);
    let deadline = Instant::now() + Duration::from_secs(5);
    while Arc::strong_count(&kept) > 1 && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let records = kept.0.lock().expect("no panic while pushing").clone();
    (status.report(), records)
}

fn verdicts(report: &ClockReport) -> Vec<Verdict> {
    report.servers.iter().map(|server| server.verdict).collect()
}

#[tokio::test]
async fn three_honest_servers_are_believed_and_the_first_sync_is_recorded() {
    if !servers_can_run() {
        return;
    }
    let servers = [0; 3].map(|_| Chronyd::start(None, true));
    let (report, records) = round(servers.iter().map(Chronyd::name).collect()).await;
    assert_eq!(verdicts(&report), [Verdict::Agrees; 3], "{report:#?}");
    assert_eq!(report.stamp.state, ClockState::Synced);
    let error_us = report.stamp.error_us.expect("synced");
    // They read the very clock that we read.
    assert!(
        report.stamp.offset_us.unsigned_abs() <= error_us,
        "{report:#?}"
    );
    assert!(error_us < 50_000, "{report:#?}");
    let [record] = records.as_slice() else {
        panic!("one record: {records:?}");
    };
    let Body::Clock(clock) = &record.body else {
        panic!("a clock record: {record:?}");
    };
    assert_eq!(clock.before.state, ClockState::Unsynced);
    assert_eq!(clock.after.state, ClockState::Synced);
}

#[tokio::test]
async fn one_that_lies_by_an_hour_is_outvoted() {
    if !servers_can_run() {
        return;
    }
    let honest = [0; 2].map(|_| Chronyd::start(None, true));
    let liar = Chronyd::start(Some("+1h"), true);
    let (report, _) = round(vec![liar.name(), honest[0].name(), honest[1].name()]).await;
    assert_eq!(
        verdicts(&report),
        [Verdict::Outvoted, Verdict::Agrees, Verdict::Agrees],
        "{report:#?}"
    );
    let lie_us = report.servers[0].offset_us.expect("it answered");
    assert!((lie_us - HOUR_US).abs() < 2_000_000, "{report:#?}");
    assert!(report.stamp.offset_us.abs() < 100_000, "{report:#?}");
}

#[tokio::test]
async fn a_liar_against_one_honest_server_leaves_the_clock_unsynced() {
    if !servers_can_run() {
        return;
    }
    let honest = Chronyd::start(None, true);
    let liar = Chronyd::start(Some("-400d"), true);
    let nobody = format!("127.0.0.1:{}", free_port());
    let (report, records) = round(vec![liar.name(), honest.name(), nobody]).await;
    // What the liar states is before this program was built.
    assert_eq!(
        verdicts(&report),
        [Verdict::Implausible, Verdict::Undecided, Verdict::Silent],
        "{report:#?}"
    );
    assert_eq!(report.stamp.state, ClockState::Unsynced);
    assert_eq!(records, []);
}

#[tokio::test]
async fn servers_that_do_not_know_the_time_are_ignored() {
    if !servers_can_run() {
        return;
    }
    let honest = [0; 2].map(|_| Chronyd::start(None, true));
    let unsynchronised = Chronyd::start(None, false);
    let servers = [&honest[0], &unsynchronised, &honest[1]];
    let (report, _) = round(servers.map(Chronyd::name).to_vec()).await;
    assert_eq!(
        verdicts(&report),
        [Verdict::Agrees, Verdict::Unsynchronised, Verdict::Agrees],
        "{report:#?}"
    );
    assert_eq!(report.stamp.state, ClockState::Synced);
}

#[tokio::test]
async fn without_any_server_the_clock_is_unsynced_and_nothing_breaks() {
    let nobody = [0; 3].map(|_| format!("127.0.0.1:{}", free_port()));
    let (report, records) = round(nobody.to_vec()).await;
    assert_eq!(verdicts(&report), [Verdict::Silent; 3], "{report:#?}");
    assert_eq!(report.stamp.state, ClockState::Unsynced);
    assert_eq!(records, []);
}

#[tokio::test]
async fn a_kiss_of_death_is_obeyed() {
    // chronyd sends no DENY on loopback, so this one answers by hand: stratum 0 and a code (RFC 5905 section 7.4).
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let name = socket.local_addr().expect("bound").to_string();
    let timeout = Some(Duration::from_secs(5));
    socket.set_read_timeout(timeout).expect("set");
    let server = std::thread::spawn(move || {
        let mut request = [0; 48];
        let (_, from) = socket.recv_from(&mut request).expect("asked once");
        let mut answer = [0; 48];
        answer[0] = 0xe4;
        answer[12..16].copy_from_slice(b"DENY");
        // Echoes what the client sent as the origin of its request.
        answer[24..32].copy_from_slice(&request[40..48]);
        socket.send_to(&answer, from).expect("sent");
        let again = Some(Duration::from_millis(300));
        socket.set_read_timeout(again).expect("set");
        socket.recv_from(&mut request).is_ok()
    });
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    let config = ClockConfig {
        servers: vec![name],
        ..ClockConfig::default()
    };
    let reporter = Health::default().unit("clock", UtcMicros(0));
    let sink = Arc::new(Kept::default());
    let mut clock = NtpClock::new(config, time, sink, reporter, build_time());
    clock.round().await;
    assert_eq!(verdicts(&clock.status().report()), [Verdict::Kiss]);
    clock.round().await;
    assert_eq!(verdicts(&clock.status().report()), [Verdict::Kiss]);
    assert!(
        !server.join().expect("server"),
        "it was asked again at once"
    );
}
