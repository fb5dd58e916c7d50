//! A seeded mix of everything, for as long as asked: `make soak DURATION=1h`. In CI a short one.
//!
//! At the end nothing is lost, and neither memory nor descriptors nor the spool's disk have grown.

use anyhow::{Context, Result, ensure};
use e2e::fault::disk::Disk;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::proxy::Conduct;
use e2e::fault::site::Lines;
use e2e::fault::{Chance, Feeder, Proxy, Site};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// `SOAK_SECONDS` in the environment asks for longer.
const SHORT: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(180);
const DISK_BYTES: u64 = 256 << 20;
const RECEIVER_DISK_BYTES: u64 = 4 << 30;
/// Between two faults, and how long one lasts.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_millis(2500);
/// By so much the second half may use more than the first, beside noise of the allocator.
const GROWTH: f64 = 1.25;
const NOISE_BYTES: u64 = 24 << 20;

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillBox,
    KillReceiver,
    RestartBox,
    BoxPowerCut,
    ReceiverPowerCut,
    CutLine,
    ResetLine,
    StallLine,
    SlowLine,
    CutAfterBytes,
    ReceiverHangs,
    FullDisk,
}

const FAULTS: [Fault; 12] = [
    Fault::KillBox,
    Fault::KillReceiver,
    Fault::RestartBox,
    Fault::BoxPowerCut,
    Fault::ReceiverPowerCut,
    Fault::CutLine,
    Fault::ResetLine,
    Fault::StallLine,
    Fault::SlowLine,
    Fault::CutAfterBytes,
    Fault::ReceiverHangs,
    Fault::FullDisk,
];

#[test]
fn fault_41_a_seeded_mix_of_everything_loses_nothing_and_grows_nothing() -> Result<()> {
    let chance = Chance::new("fault_41");
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let lasting = seconds.map_or(SHORT, Duration::from_secs);
    let mut soak = Soak::start(chance)?;
    let began = Instant::now();
    let mut used = Vec::new();
    while began.elapsed() < lasting {
        let fault = *soak.chance.pick(&FAULTS);
        eprintln!("{:7.1} s {fault:?}", began.elapsed().as_secs_f64());
        soak.strike(fault).with_context(|| format!("{fault:?}"))?;
        let pause = soak.chance.duration(PAUSE);
        std::thread::sleep(pause);
        used.push(soak.usage()?);
    }
    flat(&used)?;
    soak.end()
}

struct Soak {
    chance: Chance,
    box_disk: Disk,
    receiver_disk: Disk,
    site: Site,
    lines: Lines,
    options: Options,
    feeder: Option<Feeder>,
    // Removed last.
    _folder: tempfile::TempDir,
}

/// What the two programs hold at one moment.
#[derive(Clone, Copy, Debug)]
struct Used {
    memory_bytes: u64,
    descriptors: u64,
}

impl Soak {
    fn start(chance: Chance) -> Result<Self> {
        let box_disk = Disk::ext4(DISK_BYTES, None)?;
        let receiver_disk = Disk::ext4(RECEIVER_DISK_BYTES, None)?;
        let folder = tempfile::tempdir()?;
        let site = Site::in_folder(folder.path(), receiver_disk.path())?;
        // What an operator set up long ago is on the disk.
        rustix::fs::sync();
        let lines = site.through_proxies()?;
        let options = Options {
            seed: chance.seed(),
            spool_dir: Some(box_disk.path().join("spool")),
            min_free_bytes: Some(16 << 20),
            ..Options::default()
        };
        let mut soak = Self {
            chance,
            box_disk,
            receiver_disk,
            site,
            lines,
            options,
            feeder: None,
            _folder: folder,
        };
        soak.start_box()?;
        Ok(soak)
    }

    fn start_box(&mut self) -> Result<()> {
        let mut feeder = self.site.start_feeder(&self.options)?;
        feeder.put(Feed {
            events: u64::MAX,
            per_second: 60,
            picture_every: 4,
            picture_bytes: 12_000,
            ..Feed::default()
        })?;
        self.feeder = Some(feeder);
        Ok(())
    }

    fn feeder(&mut self) -> Result<&mut Feeder> {
        self.feeder.as_mut().context("the box runs")
    }

    fn strike(&mut self, fault: Fault) -> Result<()> {
        let lasting = self.chance.duration(PAUSE);
        match fault {
            Fault::KillBox => {
                self.feeder()?.kill();
                self.start_box()?;
            }
            Fault::RestartBox => {
                if let Some(feeder) = self.feeder.take() {
                    feeder.stop()?;
                }
                self.start_box()?;
            }
            Fault::KillReceiver => {
                self.site.receiver.kill();
                std::thread::sleep(lasting);
                self.site.receiver.serve()?;
            }
            Fault::BoxPowerCut => {
                self.box_disk.cut_power()?;
                self.feeder()?.kill();
                self.box_disk.restore()?;
                self.start_box()?;
            }
            Fault::ReceiverPowerCut => {
                self.receiver_disk.cut_power()?;
                std::thread::sleep(lasting / 4);
                self.site.receiver.kill();
                self.receiver_disk.restore()?;
                self.site.receiver.serve()?;
            }
            Fault::CutLine => {
                self.lines.both(Proxy::cut);
                std::thread::sleep(lasting);
            }
            Fault::ResetLine => self.lines.both(Proxy::reset),
            Fault::StallLine => {
                self.lines.both(Proxy::stall);
                std::thread::sleep(lasting);
                self.lines.both(Proxy::reset);
            }
            Fault::SlowLine => {
                self.misbehave(Conduct {
                    bytes_per_second: 50_000,
                    delay: Duration::from_millis(100),
                    jitter: Duration::from_millis(100),
                    ..Conduct::GOOD
                });
                std::thread::sleep(lasting);
            }
            Fault::CutAfterBytes => {
                let cut_after = self.chance.number(2_000..200_000);
                self.misbehave(Conduct {
                    cut_after,
                    ..Conduct::GOOD
                });
                std::thread::sleep(lasting);
            }
            Fault::ReceiverHangs => self.hang_receiver(lasting)?,
            Fault::FullDisk => {
                fill(&self.box_disk.path().join("somebody-else"))?;
                std::thread::sleep(lasting);
                std::fs::remove_file(self.box_disk.path().join("somebody-else"))?;
            }
        }
        self.lines.both(Proxy::heal);
        Ok(())
    }

    fn misbehave(&self, conduct: Conduct) {
        self.lines.both(|line| line.conduct(conduct.clone()));
    }

    fn hang_receiver(&mut self, lasting: Duration) -> Result<()> {
        let process = self.site.receiver.process().context("it runs")?;
        process.signal(Signal::STOP);
        std::thread::sleep(lasting);
        process.signal(Signal::CONT);
        Ok(())
    }

    fn usage(&mut self) -> Result<Used> {
        let mut used = Used {
            memory_bytes: 0,
            descriptors: 0,
        };
        let receiver = self.site.receiver.process().context("it runs")?.id();
        for id in [receiver, self.feeder()?.id()] {
            let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            used.memory_bytes += kib.context("VmRSS")? * 1024;
            used.descriptors += std::fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64;
        }
        Ok(used)
    }

    fn end(mut self) -> Result<()> {
        self.feeder()?.kill();
        let feeder = self.site.start_feeder(&self.options)?;
        let verdict = self.site.settle_with_gaps(feeder, PATIENCE)?;
        let left = bytes_below(&self.box_disk.path().join("spool"))?;
        eprintln!("{verdict:?}; the empty spool takes {left} bytes");
        ensure!(
            verdict.obligations > 100,
            "too little was tried: {verdict:?}"
        );
        ensure!(
            verdict.records_named_lost == 0,
            "pictures may be shed when the disk is full, records not: {verdict:?}"
        );
        ensure!(left < 64 << 20, "an empty spool takes {left} bytes");
        Ok(())
    }
}

/// Takes every free block.
fn fill(path: &Path) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let block = vec![0xa5; 1 << 20];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..4096]).is_ok() {}
    Ok(())
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            bytes_below(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

/// The most of the second half is not more than the most of the first.
fn flat(used: &[Used]) -> Result<()> {
    // Too few to have halves worth comparing.
    if used.len() < 20 {
        return Ok(());
    }
    let (first, second) = used.split_at(used.len() / 2);
    let most = |half: &[Used], of: fn(&Used) -> u64| half.iter().map(of).max().unwrap_or_default();
    for (what, noise, of) in [
        (
            "memory",
            NOISE_BYTES,
            (|used| used.memory_bytes) as fn(&Used) -> u64,
        ),
        ("descriptors", 32, |used| used.descriptors),
    ] {
        let (before, after) = (most(first, of), most(second, of));
        eprintln!("{what}: at most {before} in the first half, {after} in the second");
        #[allow(clippy::cast_precision_loss)]
        let allowed = before as f64 * GROWTH + noise as f64;
        #[allow(clippy::cast_precision_loss)]
        let is_flat = after as f64 <= allowed;
        ensure!(
            is_flat,
            "{what} grows: {before} in the first half, {after} in the second"
        );
    }
    Ok(())
}
