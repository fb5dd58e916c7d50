//! Loses a camera again and again and shows that nothing stays behind: memory, descriptors and threads of the
//! capture after a thousand reconnects are those after the first fifty.
//!
//! A reconnect is one of: the camera closes the connection, ends the stream, or dies and is started again.
//! Exits with an error when the last figures exceed the first, or memory that of the middle of the run, by more
//! than is tolerated.

use anyhow::{Result, ensure};
use clap::Parser;
use e2e::camera_process::CameraProcess;
use e2e::film;
use e2e::process::free_port;
use e2e::usage::Usage;
use e2e::wait::until;
use e2e::watching::Watching;
use edge_agent::capture::{CameraState, RetryPolicy};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Full before the first measurement: a ring that still fills would look like a leak.
const RING_BYTES: usize = 128 << 10;

/// What threads and their allocators may come to hold over a whole run, however long.
const TOLERATED_KIB: i64 = 16 * 1024;
/// What may come on top in the second half of a run, when everything has found its size: noise, and so much for
/// each reconnect. A forgotten pipeline would be a hundred times that.
const TOLERATED_NOISE_KIB: i64 = 4 * 1024;
const TOLERATED_KIB_PER_RECONNECT: i64 = 1;
const TOLERATED_DESCRIPTORS: i64 = 2;
const TOLERATED_THREADS: i64 = 2;

#[derive(Parser)]
#[command(about = "Forces reconnects of a real camera and measures what stays behind")]
struct Cli {
    /// How many reconnects are counted.
    #[arg(long, default_value_t = 1000)]
    count: u64,
    /// How many come before the first measurement.
    #[arg(long, default_value_t = 25)]
    warm_up: u64,
    /// The camera's film; by default a test card.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Stop after so many minutes with what was reached.
    #[arg(long)]
    minutes: Option<u64>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let dir = tempfile::tempdir()?;
    let film = match &cli.file {
        Some(file) => file.clone(),
        None => {
            let path = dir.path().join("card.mkv");
            film::write_test_card(&path, 30)?;
            path
        }
    };
    let mut wall = Wall::hang(&film)?;
    for number in 0..cli.warm_up {
        wall.reconnect(number)?;
    }

    println!("reconnects  resident KiB  descriptors  threads  seconds");
    let began = Instant::now();
    let first = Usage::now()?;
    print(0, began)?;
    let mut middle = first;
    let print_every = (cli.count / 10).max(1);
    let mut reached = 0;
    while reached < cli.count && !over(began, cli.minutes) {
        wall.reconnect(reached)?;
        reached += 1;
        if reached.is_multiple_of(print_every) {
            print(reached, began)?;
        }
        if reached == cli.count / 2 {
            middle = Usage::now()?;
        }
    }
    judge(reached, cli.count / 2, [first, middle, Usage::now()?])
}

/// A real camera and the capture that watches it.
struct Wall {
    film: PathBuf,
    port: u16,
    camera: Option<CameraProcess>,
    watching: Watching,
}

impl Wall {
    fn hang(film: &Path) -> Result<Self> {
        let port = free_port()?;
        let camera = start_camera(film, port)?;
        let policy = RetryPolicy {
            first: Duration::from_millis(5),
            most: Duration::from_millis(50),
            ..RetryPolicy::default()
        };
        let watching = Watching::start(&camera.url, policy, RING_BYTES)?;
        let wall = Self {
            film: film.to_owned(),
            port,
            camera: Some(camera),
            watching,
        };
        wall.await_pictures()?;
        Ok(wall)
    }

    /// Loses the camera in one of three ways and waits until its pictures come again.
    fn reconnect(&mut self, number: u64) -> Result<()> {
        let before = self.watching.handle.status().reconnects;
        match (number % 10, &mut self.camera) {
            (9, camera) => {
                drop(camera.take());
                *camera = Some(start_camera(&self.film, self.port)?);
            }
            (4, Some(camera)) => camera.order("eos")?,
            (_, Some(camera)) => camera.order("drop")?,
            (_, None) => {}
        }
        until("the reconnect", Duration::from_secs(20), || {
            (self.watching.handle.status().reconnects > before).then_some(())
        })?;
        self.await_pictures()
    }

    fn await_pictures(&self) -> Result<()> {
        let handle = &self.watching.handle;
        let deadline = Instant::now() + Duration::from_secs(20);
        handle.lookout.take();
        while Instant::now() < deadline {
            if handle.status().state == CameraState::Running && handle.lookout.take().is_some() {
                return Ok(());
            }
            self.watching.wakeup.wait(Duration::from_millis(20));
        }
        anyhow::bail!("no pictures again: {:?}", handle.status())
    }
}

fn start_camera(film: &Path, port: u16) -> Result<CameraProcess> {
    let port = port.to_string();
    let args = ["--port", &port, "--gop-seconds", "0.5", "--file"].map(std::ffi::OsStr::new);
    CameraProcess::start(args.into_iter().chain([film.as_os_str()]))
}

fn over(began: Instant, minutes: Option<u64>) -> bool {
    minutes.is_some_and(|minutes| began.elapsed() >= Duration::from_secs(60 * minutes))
}

fn print(reconnects: u64, began: Instant) -> Result<()> {
    let usage = Usage::now()?;
    println!(
        "{reconnects:>10}  {:>12}  {:>11}  {:>7}  {:>7}",
        usage.resident_kib,
        usage.descriptors,
        usage.threads,
        began.elapsed().as_secs()
    );
    Ok(())
}

/// Compares the figures before, in the middle of, and after the run.
fn judge(reached: u64, half: u64, [first, middle, last]: [Usage; 3]) -> Result<()> {
    let grown = |before: u64, after: u64| after.cast_signed() - before.cast_signed();
    let second_half = i64::try_from(reached.saturating_sub(half))?;
    let tolerated_late_kib = TOLERATED_NOISE_KIB + TOLERATED_KIB_PER_RECONNECT * second_half;
    let figures = [
        (
            "KiB",
            grown(first.resident_kib, last.resident_kib),
            TOLERATED_KIB,
        ),
        (
            "KiB in the second half",
            grown(middle.resident_kib, last.resident_kib),
            tolerated_late_kib,
        ),
        (
            "descriptors",
            grown(first.descriptors, last.descriptors),
            TOLERATED_DESCRIPTORS,
        ),
        (
            "threads",
            grown(first.threads, last.threads),
            TOLERATED_THREADS,
        ),
    ];
    println!("after {reached} reconnects:");
    for (what, grown, tolerated) in figures {
        println!("{grown:>+8} {what} (tolerated {tolerated})");
    }
    let flat = figures
        .iter()
        .all(|(_, grown, tolerated)| grown <= tolerated);
    ensure!(flat, "something stays behind at every reconnect");
    println!("flat");
    Ok(())
}
