//! What the box has accepted survives its disk: power cuts, failing system calls, damaged files, a restored copy, a crash
//! at every step between a blob and its row.

use anyhow::{Context, Result, ensure};
use e2e::fault::disk::Disk;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::strace::{has_killed, inject, inject_logged};
use e2e::fault::{Chance, Feeder, Site, Size};
use e2e::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// RELIABILITY.md: a start after a power cut.
const START_WITHIN: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

fn endless() -> Feed {
    Feed {
        events: 1_000_000,
        picture_every: 3,
        ..Feed::default()
    }
}

fn options(chance: &Chance, spool: &Path) -> Options {
    Options {
        spool_dir: Some(spool.to_owned()),
        seed: chance.seed(),
        ..Options::default()
    }
}

fn start(site: &Site, options: &Options) -> Result<Feeder> {
    let mut feeder = site.spawn_feeder(options)?;
    let took = feeder.opened(START_WITHIN)?;
    ensure!(took <= START_WITHIN, "the start took {took:?}");
    Ok(feeder)
}

/// Everything is delivered or named, and the box's own books agree.
fn settle(site: &Site, options: &Options, nothing_lost: bool) -> Result<()> {
    let delivering = Options {
        no_uplink: false,
        under: Vec::new(),
        ..options.clone()
    };
    let feeder = start(site, &delivering)?;
    let verdict = if nothing_lost {
        site.settle(feeder, PATIENCE)?
    } else {
        site.settle_with_gaps(feeder, PATIENCE)?
    };
    eprintln!("{verdict:?}");
    let spool = options.spool_dir.clone();
    adds_up(site, &spool.context("a spool of its own")?)
}

fn adds_up(site: &Site, spool: &Path) -> Result<()> {
    let audit = site.audit_spool(spool)?;
    ensure!(
        audit.differences.is_empty(),
        "the spool does not add up: {:?}",
        audit.differences
    );
    Ok(())
}

#[test]
fn fault_01_power_cuts_of_the_boxs_disk_lose_nothing_that_was_accepted() -> Result<()> {
    let mut chance = Chance::new("fault_01");
    let cuts = Size::from_env().of(25, 100);
    let site = Site::new()?;
    let mut disk = Disk::ext4(256 * MIB, None)?;
    let mut options = options(&chance, &disk.path().join("spool"));
    for _ in 0..cuts {
        // With the line down a backlog grows, which the next start has to know; with it up rows and files go, too.
        options.no_uplink = *chance.pick(&[true, true, false]);
        let mut feeder = start(&site, &options)?;
        feeder.put(endless())?;
        std::thread::sleep(chance.duration(Duration::ZERO..Duration::from_millis(400)));
        disk.cut_power()?;
        feeder.kill();
        disk.restore()?;
    }
    settle(&site, &options, true)
}

#[test]
fn fault_04_failed_fsyncs_full_writes_and_short_writes_lose_nothing() -> Result<()> {
    let mut chance = Chance::new("fault_04");
    let rounds = Size::from_env().of(1, 10);
    for _ in 0..rounds {
        let (site, mut disk) = (Site::new()?, Disk::ext4(128 * MIB, None)?);
        let mut options = options(&chance, &disk.path().join("spool"));
        options.no_uplink = true;
        // Again and again, or for a while: a disk that never takes as many pages as the log has cannot heal.
        let (often, thrice) = (true, false);
        for (call, often) in [
            // Whichever of the two the database was built to call.
            ("fdatasync,fsync:error=EIO", often),
            ("pwrite64:error=EIO", thrice),
            ("pwrite64:error=ENOSPC", thrice),
            // The shortest short write there is.
            ("pwrite64:retval=0", thrice),
            ("rename:error=EIO", often),
        ] {
            let when = if often {
                // Counted for each thread by itself: making a new spool takes 16 before the first record.
                format!("{}+{}", chance.number(20..38), chance.number(16..48))
            } else {
                let first = chance.number(30..300);
                format!("{first}..{}", first + 2)
            };
            options.under = inject(&[&format!("{call}:when={when}")])?;
            let mut feeder = start(&site, &options).with_context(|| call.to_owned())?;
            let feed = Feed {
                events: 120,
                picture_every: 2,
                ..Feed::default()
            };
            feeder
                .put_all(feed, PATIENCE)
                .with_context(|| call.to_owned())?;
            // What is only in the page cache after a failed fsync is not kept: the power tells.
            disk.cut_power()?;
            feeder.kill();
            disk.restore()?;
            settle(&site, &options, false).with_context(|| format!("{call}:when={when}"))?;
        }
    }
    Ok(())
}

/// Fills a spool and leaves it as a crash does.
fn crashed(site: &Site, options: &Options, events: u64) -> Result<()> {
    let mut feeder = start(site, options)?;
    let feed = Feed {
        events,
        picture_every: 4,
        at_once: 4,
        ..Feed::default()
    };
    feeder.put_all(feed, PATIENCE)?;
    feeder.kill();
    Ok(())
}

fn flip(path: &Path, chance: &mut Chance, range: std::ops::Range<u64>) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let at = usize::try_from(chance.number(range))?;
    bytes[at] ^= 1 << chance.number(0..8);
    Ok(fs::write(path, bytes)?)
}

#[test]
fn fault_05_damage_is_set_aside_and_named_and_the_box_starts() -> Result<()> {
    let mut chance = Chance::new("fault_05");
    let rounds = Size::from_env().of(3, 40);
    for _ in 0..rounds {
        let site = Site::new()?;
        let spool = site.folder().join("spool-of-its-own");
        let mut options = options(&chance, &spool);
        options.no_uplink = true;
        for damage in ["database", "log", "torn tail", "blob"] {
            crashed(&site, &options, 150)?;
            let (database, log) = (spool.join("spool.db"), spool.join("spool.db-wal"));
            match damage {
                "database" => {
                    let len = fs::metadata(&database)?.len();
                    if len > 0 {
                        flip(&database, &mut chance, 0..len)?;
                    }
                }
                // In front of the last commits: in the very last one a flip cannot be told from a torn tail.
                "log" => {
                    let len = fs::metadata(&log)?.len();
                    flip(&log, &mut chance, 0..len / 2)?;
                }
                "torn tail" => {
                    let mut bytes = fs::read(&log)?;
                    let half = usize::try_from(chance.number(1..4000))?;
                    bytes.extend(vec![0x5a; half]);
                    fs::write(&log, bytes)?;
                }
                _ => {
                    let blobs = files(&spool.join("blobs"))?;
                    let blob = chance.pick(&blobs).clone();
                    let len = fs::metadata(&blob)?.len();
                    flip(&blob, &mut chance, 0..len)?;
                }
            }
            start(&site, &options)
                .with_context(|| format!("after damage to the {damage}"))?
                .stop()?;
            adds_up(&site, &spool).with_context(|| damage.to_owned())?;
        }
        settle(&site, &options, false)?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut files: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    Ok(files)
}

#[test]
fn fault_06_a_restored_spool_reuses_no_key_and_the_break_is_shown() -> Result<()> {
    let chance = Chance::new("fault_06");
    let site = Site::new()?;
    let spool = site.folder().join("spool-of-its-own");
    let options = options(&chance, &spool);
    let feed = || Feed {
        events: 60,
        ..Feed::default()
    };
    let mut feeder = start(&site, &options)?;
    feeder.put_all(feed(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    feeder.stop()?;
    let yesterday = site.folder().join("yesterday");
    copy(&spool, &yesterday)?;

    // Today's records are delivered and go on from yesterday's last batch.
    let mut feeder = start(&site, &options)?;
    feeder.put_all(feed(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    feeder.stop()?;
    ensure!(broken_links(&site)? == 0, "no link is broken yet");

    // The copy goes on from there, too.
    fs::remove_dir_all(&spool)?;
    copy(&yesterday, &spool)?;
    let mut feeder = start(&site, &options)?;
    feeder.put_all(feed(), PATIENCE)?;
    // Everything of both days is there: nothing was overwritten.
    let verdict = site.settle(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    ensure!(broken_links(&site)? == 1, "the break is shown once");
    adds_up(&site, &spool)
}

fn broken_links(site: &Site) -> Result<u64> {
    let device = site.device.to_string();
    let report = site
        .receiver
        .command(&["device", "deliveries", "--device", &device])?;
    let epochs = report.as_array().context("a list of epochs")?;
    Ok(epochs
        .iter()
        .filter_map(|epoch| epoch["links_broken"].as_u64())
        .sum())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for path in files(from)? {
        let target = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[test]
fn fault_08_a_crash_at_any_step_between_blob_and_row_leaves_neither_alone() -> Result<()> {
    let mut chance = Chance::new("fault_08");
    let rounds = Size::from_env().of(1, 12);
    let site = Site::new()?;
    let spool = site.folder().join("spool-of-its-own");
    let mut options = options(&chance, &spool);
    for _ in 0..rounds {
        // Coming in: the file is written, fsynced, renamed, its folder fsynced, its row written and fsynced. Going out:
        // the row is deleted, and then its file.
        for (call, delivers) in [
            ("write", false),
            ("fsync", false),
            ("rename", false),
            ("pwrite64", false),
            ("pwrite64", true),
            ("fsync", true),
            ("unlink", true),
        ] {
            options.no_uplink = !delivers;
            // Counted by thread; `pwrite64` happens often in a start already.
            let when = match call {
                "pwrite64" => chance.number(40..200),
                _ => chance.number(6..30),
            };
            let log = site.folder().join("strace.log");
            let _ = fs::remove_file(&log);
            options.under = inject_logged(&[&format!("{call}:signal=KILL:when={when}")], &log)?;
            let mut feeder = site.spawn_feeder(&options)?;
            let feed = Feed {
                picture_every: 1,
                picture_bytes: 4000,
                at_once: 4,
                ..endless()
            };
            // It may die before it hears the order.
            let _ = feeder.put(feed);
            wait::until(format!("{call} number {when}"), PATIENCE, || {
                (feeder.ended().is_some() || has_killed(&log)).then_some(())
            })?;
            feeder.kill();
            options.under = Vec::new();
            options.no_uplink = true;
            start(&site, &options)?.stop()?;
            adds_up(&site, &spool).with_context(|| format!("killed at {call} number {when}"))?;
        }
    }
    settle(&site, &options, true)
}
