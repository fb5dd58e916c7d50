//! The clock against real time servers on loopback: Debian's chronyd, honest ones and one whose clock libfaketime
//! has moved by an hour, and nobody at all.
//!
//! What no real server would send (the next era, stratum 0 with a code) is answered by hand.
//!
//! Where chronyd or libfaketime is missing the tests fail and say so.

use edge_agent::clock::{RealClocks, SimClocks, TimeSource};
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

/// Fails where the real servers cannot be run.
fn assert_servers_can_run() {
    assert!(
        Path::new(CHRONYD).exists(),
        "CANNOT RUN: chronyd is missing (apt-get install chrony)"
    );
    assert!(
        faketime().is_some(),
        "CANNOT RUN: libfaketime is missing (apt-get install faketime)"
    );
    assert!(
        rustix::process::geteuid().is_root(),
        "CANNOT RUN: chronyd needs root"
    );
}

/// One round against these servers.
async fn round(servers: Vec<String>) -> (ClockReport, Vec<Record>) {
    let time = TimeSource::new(Arc::new(RealClocks::new()));
    round_at(&time, servers).await
}

/// The same for a box of that time.
async fn round_at(time: &TimeSource, servers: Vec<String>) -> (ClockReport, Vec<Record>) {
    let kept = Arc::new(Kept::default());
    let reporter = Health::default().unit("clock");
    let config = ClockConfig {
        servers,
        ..ClockConfig::default()
    };
    let mut clock = NtpClock::new(config, time.clone(), kept.clone(), reporter, build_time());
    let agreed = clock.round().await;
    assert_eq!(agreed, time.stamp().state == ClockState::Synced);
    let status = clock.status();
    let records = kept.0.lock().expect("no panic while pushing").clone();
    (status.report(), records)
}

fn verdicts(report: &ClockReport) -> Vec<Verdict> {
    report.servers.iter().map(|server| server.verdict).collect()
}

#[tokio::test]
async fn three_honest_servers_are_believed_and_the_first_sync_is_recorded() {
    assert_servers_can_run();
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
async fn fault_29_one_that_lies_by_an_hour_is_outvoted() {
    assert_servers_can_run();
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
async fn fault_29_a_liar_against_one_honest_server_leaves_the_clock_unsynced() {
    assert_servers_can_run();
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
async fn fault_29_servers_that_do_not_know_the_time_are_ignored() {
    assert_servers_can_run();
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
async fn fault_29_a_kiss_of_death_is_obeyed() {
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
    let reporter = Health::default().unit("clock");
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

/// Answers every request with what `answer` makes of it, for as long as the test runs.
fn by_hand(answer: impl Fn(&[u8; 48]) -> [u8; 48] + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let name = socket.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        let mut request = [0; 48];
        while let Ok((_, from)) = socket.recv_from(&mut request) {
            let _ = socket.send_to(&answer(&request), from);
        }
    });
    name
}

/// A stratum-1 server whose clock stands at so many seconds since 1900, as 32 bits hold them (RFC 5905 section 6).
fn stands_at(ntp_seconds: u64) -> String {
    by_hand(move |request| {
        let stamp = ((ntp_seconds & 0xffff_ffff) << 32).to_be_bytes();
        let mut answer = [0; 48];
        answer[..4].copy_from_slice(&[0x24, 1, 6, 0xec]);
        answer[12..16].copy_from_slice(b"GPS\0");
        for at in [16, 32, 40] {
            answer[at..at + 8].copy_from_slice(&stamp);
        }
        answer[24..32].copy_from_slice(&request[40..48]);
        answer
    })
}

const NTP_AT_1970: u64 = 2_208_988_800;
/// 2036-02-07T06:28:16Z: 32 bits of seconds since 1900 are over.
const NEXT_ERA: u64 = 1 << 32;

#[tokio::test]
async fn fault_29_answers_of_the_next_era_are_understood_by_a_box_of_any_time() {
    let before = i64::try_from(NEXT_ERA - NTP_AT_1970).expect("small") - 2;
    // A second after the change, and ten years.
    for truth in [before + 3, before + 315_360_000] {
        let ntp = truth.cast_unsigned() + NTP_AT_1970;
        for box_seconds in [600, before, truth] {
            let servers = (0..3).map(|_| stands_at(ntp)).collect();
            let clocks = SimClocks::new(UtcMicros(box_seconds * 1_000_000));
            let time = TimeSource::new(Arc::new(clocks));
            let (report, _) = round_at(&time, servers).await;
            assert_eq!(report.stamp.state, ClockState::Synced, "{report:#?}");
            let believed = time.now().corrected_us().0 / 1_000_000;
            assert_eq!(believed, truth, "for a box at {box_seconds}: {report:#?}");
        }
    }
}

#[tokio::test]
async fn fault_29_servers_that_woke_up_in_1900_or_1970_are_not_believed_however_many() {
    // Three in each case: no time at all, which is how a clock that was never set looks; the epoch of Unix; years ago.
    for ntp in [0, NTP_AT_1970 + 60, NTP_AT_1970 + 1_600_000_000] {
        let (report, records) = round((0..3).map(|_| stands_at(ntp)).collect()).await;
        assert_eq!(
            report.stamp.state,
            ClockState::Unsynced,
            "{ntp}: {report:#?}"
        );
        assert_eq!(records, []);
    }
}

#[tokio::test]
async fn fault_29_a_server_that_asks_to_be_asked_less_is_asked_less() {
    let asked = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = asked.clone();
    let name = by_hand(move |request| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut answer = [0; 48];
        answer[0] = 0xe4;
        answer[12..16].copy_from_slice(b"RATE");
        answer[24..32].copy_from_slice(&request[40..48]);
        answer
    });
    let clocks = Arc::new(SimClocks::new(build_time()));
    let config = ClockConfig {
        servers: vec![name],
        poll_seconds: 64,
        ..ClockConfig::default()
    };
    let reporter = Health::default().unit("clock");
    let time = TimeSource::new(clocks.clone());
    let mut clock = NtpClock::new(
        config,
        time,
        Arc::new(Kept::default()),
        reporter,
        build_time(),
    );
    // It would be asked every 64 seconds, for a day.
    for _ in 0..1350 {
        clock.round().await;
        clocks.advance(Duration::from_secs(64));
    }
    assert_eq!(verdicts(&clock.status().report()), [Verdict::Kiss]);
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    // Each time the pause doubles, up to an hour: 2 + 4 + 8 + 16 + 32 minutes, then hourly.
    assert!((20..=32).contains(&asked), "it was asked {asked} times");
}
