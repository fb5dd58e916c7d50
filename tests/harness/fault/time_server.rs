//! NTP servers that know the true time: this machine's. They answer, or they do not. Interoperation with real ones is tried
//! against chronyd in `edge-agent/tests/clock.rs`.

use anyhow::Result;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// From 1900, where NTP begins, to 1970.
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// Silent until told to answer; ends when dropped.
#[derive(Debug)]
pub struct TimeServers {
    pub names: Vec<String>,
    answer: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
}

impl TimeServers {
    pub fn start(count: usize) -> Result<Self> {
        let (answer, end) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut names = Vec::new();
        for _ in 0..count {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            names.push(socket.local_addr()?.to_string());
            let (answer, end) = (answer.clone(), end.clone());
            std::thread::spawn(move || serve(&socket, &answer, &end));
        }
        Ok(Self { names, answer, end })
    }

    pub fn answer(&self) {
        self.answer.store(true, Ordering::Relaxed);
    }

    /// As the agent's configuration names them.
    pub fn toml(&self) -> String {
        format!("[clock]\nservers = {:?}\npoll_seconds = 2\n", self.names)
    }
}

impl Drop for TimeServers {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn serve(socket: &UdpSocket, answers: &AtomicBool, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let mut request = [0; 48];
        let Ok((48, from)) = socket.recv_from(&mut request) else {
            continue;
        };
        if answers.load(Ordering::Relaxed) {
            // Whoever asked has gone: it asks again.
            let _ = socket.send_to(&answer_to(&request), from);
        }
    }
}

/// Stratum 1 and sure of itself (RFC 5905 section 7.3).
fn answer_to(request: &[u8; 48]) -> [u8; 48] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("this machine's clock is after 1970");
    let seconds = now.as_secs() + UNIX_EPOCH_IN_NTP;
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    let stamp = ((seconds << 32) | fraction).to_be_bytes();
    let mut answer = [0; 48];
    answer[..4].copy_from_slice(&[0x24, 1, 6, 0xec]);
    answer[12..16].copy_from_slice(b"GPS\0");
    for at in [16, 32, 40] {
        answer[at..at + 8].copy_from_slice(&stamp);
    }
    answer[24..32].copy_from_slice(&request[40..48]);
    answer
}
