//! A TCP line that can be made bad while it is in use: slow, far, cut, half-open, reset, cut after so many bytes.
//!
//! Bytes that arrive are stamped with the moment at which they are due on the other side, so a delay is a distance and
//! not a brake. A stalled line neither carries nor closes: that is what a dead peer looks like.

use anyhow::{Context, Result};
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Read at a time; also what a slow line carries at a time.
const CHUNK: usize = 4096;
/// Chunks under way in one direction of one connection.
const UNDER_WAY: usize = 4096;

/// How the line behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// One way.
    pub delay: Duration,
    /// Added to the delay, anything up to it.
    pub jitter: Duration,
    /// Each way; 0: as fast as the machine.
    pub bytes_per_second: u64,
    /// Neither carries nor closes.
    pub stalled: bool,
    /// New connections are reset at once.
    pub refusing: bool,
    /// Each connection is reset after so many bytes from the box; 0: never.
    pub cut_after: u64,
}

impl Conduct {
    pub const GOOD: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        bytes_per_second: 0,
        stalled: false,
        refusing: false,
        cut_after: 0,
    };
}

#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    // Ends every task when dropped.
    _runtime: Runtime,
}

#[derive(Debug)]
struct State {
    conduct: watch::Sender<Conduct>,
    /// Counts up when everything that stands is to be reset.
    cuts: watch::Sender<u64>,
    connections: AtomicU64,
    bytes_up: AtomicU64,
}

impl Proxy {
    /// Listens on a port of the loopback and carries to `target`, also one of the loopback.
    pub fn start(target: u16) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("line")
            .enable_all()
            .build()?;
        let listener = StdListener::bind("127.0.0.1:0").context("a port for the proxy")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            conduct: watch::Sender::new(Conduct::GOOD),
            cuts: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
        });
        let shared = state.clone();
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                if shared.conduct.borrow().refusing {
                    reset(client);
                } else {
                    tokio::spawn(carry(client, target, shared.clone()));
                }
            }
        });
        drop(_inside);
        Ok(Self {
            port,
            state,
            _runtime: runtime,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn conduct(&self, conduct: Conduct) {
        self.state.conduct.send_replace(conduct);
    }

    /// Back to a good line. What stalled stays dead: those bytes are gone.
    pub fn heal(&self) {
        self.conduct(Conduct::GOOD);
    }

    /// Resets what stands and lets nobody in.
    pub fn cut(&self) {
        self.conduct(Conduct {
            refusing: true,
            ..Conduct::GOOD
        });
        self.reset();
    }

    /// Resets what stands; new connections are welcome.
    pub fn reset(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Half-open from now on.
    pub fn stall(&self) {
        self.conduct(Conduct {
            stalled: true,
            ..Conduct::GOOD
        });
    }

    /// How often the box has connected.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Bytes from the box to the receiver.
    pub fn bytes_up(&self) -> u64 {
        self.state.bytes_up.load(Ordering::Relaxed)
    }
}

/// With zero linger closing sends a reset, as a firewall or a crash would.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

async fn carry(client: TcpStream, target: u16, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return reset(client);
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // Whichever way the two ends are dropped below, both sides see a reset.
    let _ = (client.set_zero_linger(), server.set_zero_linger());
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    let up = direction(client_in, server_out, state.clone(), true);
    let down = direction(server_in, client_out, state, false);
    tokio::select! {
        _ = cuts.changed() => {}
        _ = async { tokio::join!(up, down) } => {}
    }
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

/// Ends when the line is to be cut (an error) or when one side has closed orderly.
async fn direction(from: OwnedReadHalf, to: OwnedWriteHalf, state: Arc<State>, is_up: bool) {
    let (queue, chunks) = mpsc::channel(UNDER_WAY);
    let reading = read(from, queue, state.clone(), is_up);
    let writing = write(to, chunks, state.conduct.subscribe());
    tokio::join!(reading, writing);
}

async fn read(mut from: OwnedReadHalf, queue: mpsc::Sender<Chunk>, state: Arc<State>, is_up: bool) {
    let mut buffer = vec![0; CHUNK];
    let mut carried = 0u64;
    // Never before what was read earlier: bytes keep their order.
    let mut latest_due = Instant::now();
    loop {
        let Ok(count) = from.read(&mut buffer).await else {
            return;
        };
        if count == 0 {
            return;
        }
        let conduct = state.conduct.borrow().clone();
        if is_up {
            state.bytes_up.fetch_add(count as u64, Ordering::Relaxed);
            carried += count as u64;
            if conduct.cut_after > 0 && carried > conduct.cut_after {
                state.cuts.send_modify(|cuts| *cuts += 1);
                return;
            }
        }
        let jitter = conduct.jitter.mul_f64(rand::random());
        let mut due = latest_due.max(Instant::now() + conduct.delay + jitter);
        if let Some(ns) = (count as u64 * 1_000_000_000).checked_div(conduct.bytes_per_second) {
            due = due.max(latest_due + Duration::from_nanos(ns));
        }
        latest_due = due;
        let chunk = Chunk {
            due,
            bytes: buffer[..count].to_vec(),
        };
        if queue.send(chunk).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<Chunk>,
    mut conduct: watch::Receiver<Conduct>,
) {
    while let Some(chunk) = chunks.recv().await {
        tokio::time::sleep_until(chunk.due).await;
        if conduct.wait_for(|conduct| !conduct.stalled).await.is_err() {
            return;
        }
        if to.write_all(&chunk.bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
