//! The receiver's disks lose power, fail, fill up and turn read-only while a box delivers.

use super::fleet;
use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::fault::disk::Disk;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::{Chance, Feeder, Said, Site, Size, strace};
use e2e::wait;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two power cuts.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_millis(1200);

fn endless(per_second: u32) -> Feed {
    Feed {
        events: 1_000_000,
        per_second,
        picture_every: 3,
        ..Feed::default()
    }
}

#[test]
fn fault_02_power_cuts_of_the_receivers_disk_take_nothing_that_was_answered() -> Result<()> {
    let mut chance = Chance::new("fault_02");
    let cuts = Size::from_env().of(4, 25);
    let mut disk = Disk::ext4(384 * MIB, None)?;
    let own = tempfile::tempdir()?;
    let mut site = Site::in_folder(own.path(), disk.path())?;
    // What `init` wrote is not the matter here.
    let synced = Command::new("sync").arg("-f").arg(disk.path()).status()?;
    ensure!(synced.success(), "CANNOT RUN: sync -f");
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let mut feeder = site.start_feeder(&options)?;
    feeder.put(endless(150))?;
    for _ in 0..cuts {
        std::thread::sleep(chance.duration(PAUSE));
        disk.cut_power()?;
        site.receiver.kill();
        disk.restore()?;
        site.receiver.serve()?;
    }
    // What was answered is settled in the spool and never comes again: were it gone, it would be missing now.
    feeder.kill();
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    Ok(())
}

#[test]
fn fault_20_an_acknowledgement_without_a_commit_settles_nothing() -> Result<()> {
    let mut chance = Chance::new("fault_20");
    let mut site = Site::new()?;
    let rounds = Size::from_env().of(1, 10);
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let mut feeder = site.start_feeder(&options)?;
    feeder.put(endless(100))?;
    for round in 1..=rounds {
        site.receiver.stop()?;
        // Counted for each thread by itself: so the commits of the store fail, and then the files of pictures.
        let first = chance.number(5..15);
        let fail = format!("error=EIO:when={first}..{}", first + 3);
        let mut under = strace::inject(&[&format!("fsync:{fail}"), &format!("fdatasync:{fail}")])?;
        // The receiver is then the child and strace the grandchild, so that signals reach the receiver.
        under.insert(1, "-D".to_owned());
        site.receiver.serve_under(&under)?;
        await_failing_commits(&mut site, round)?;
    }
    feeder.kill();
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    Ok(())
}

/// Until commits have failed and succeed again, so many times since the log began. Asking for its health makes the receiver commit, also while the box
/// waits in its back-off.
fn await_failing_commits(site: &mut Site, times: usize) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    wait::until("commits that fail and succeed again", PATIENCE, || {
        let _ = runtime.block_on(fleet::health(&site.receiver));
        let log = site.receiver.process()?.log();
        (log.matches("commits again").count() >= times).then_some(())
    })
}

/// The numbers of records and of blobs that wait in the spool.
fn pending(feeder: &Feeder) -> Option<(u64, u64)> {
    match feeder.figures()? {
        Said::Figures {
            pending_records,
            pending_blobs,
            ..
        } => Some((pending_records, pending_blobs)),
        _ => None,
    }
}

/// A site whose receiver has its blobs on a disk of their own.
fn with_blobs_on(disk: &Disk, own: &Path, receiver: &Path) -> Result<Site> {
    let data = receiver.join("receiver/data");
    std::fs::create_dir_all(&data)?;
    symlink(disk.path(), data.join("blobs"))?;
    Site::in_folder(own, receiver)
}

fn await_health(site: &Site, records: &str, blobs: &str) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    wait::until(
        format!("records {records}, blobs {blobs}"),
        PATIENCE,
        || {
            let said = runtime.block_on(fleet::health(&site.receiver)).ok()?;
            (said == (records.to_owned(), blobs.to_owned())).then_some(())
        },
    )
}

#[test]
fn fault_26_records_go_on_without_the_object_store_and_pictures_follow() -> Result<()> {
    let chance = Chance::new("fault_26");
    let disk = Disk::memory(64 * MIB, None)?;
    let own = tempfile::tempdir()?;
    let site = with_blobs_on(&disk, own.path(), own.path())?;
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let mut feeder = site.start_feeder(&options)?;
    let some = Feed {
        events: 40,
        picture_every: 2,
        ..Feed::default()
    };
    feeder.put_all(some.clone(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    await_health(&site, "ok", "ok")?;

    disk.remount("ro")?;
    await_health(&site, "ok", "failing")?;
    feeder.put_all(some, PATIENCE)?;
    wait::until("records without their pictures", PATIENCE, || {
        matches!(pending(&feeder), Some((0, 20..))).then_some(())
    })
    .with_context(|| format!("{:?}\n{}", feeder.figures(), feeder.log_tail(20)))?;

    disk.remount("rw")?;
    let verdict = site.settle(feeder, PATIENCE)?;
    await_health(&site, "ok", "ok")?;
    eprintln!("{verdict:?}");
    Ok(())
}

#[test]
fn fault_26_without_room_for_the_database_nothing_is_answered_and_the_portal_reads_on() -> Result<()>
{
    let chance = Chance::new("fault_26");
    let (database, blobs) = (Disk::memory(48 * MIB, None)?, Disk::memory(64 * MIB, None)?);
    let own = tempfile::tempdir()?;
    let site = with_blobs_on(&blobs, own.path(), database.path())?;
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let some = Feed {
        events: 40,
        picture_every: 4,
        ..Feed::default()
    };
    let mut feeder = site.start_feeder(&options)?;
    feeder.put_all(some.clone(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let customer = runtime.block_on(Customer::sign_in(&site.receiver, &site.account))?;
    let stored_before = site.stored()?.len();

    let filler = database.path().join("filler");
    fill(&filler)?;
    // What the log has taken up of the disk before is used first: records go on until that is full too.
    let many = Feed {
        events: 300,
        picture_every: 100,
        ..Feed::default()
    };
    wait::until("a database without room", PATIENCE, || {
        feeder.put_all(many.clone(), PATIENCE).ok()?;
        let (records, _) = runtime.block_on(fleet::health(&site.receiver)).ok()?;
        (records == "failing").then_some(())
    })?;
    let pages = runtime.block_on(customer.page("/events"))?;
    ensure!(pages.contains("/events/"), "the timeline shows no event");
    let pictures = runtime.block_on(customer.pictures("/events"))?;
    let picture = pictures.first().context("a picture on the timeline")?;
    ensure!(
        runtime
            .block_on(customer.get(picture))?
            .status()
            .is_success()
    );
    wait::until("pictures that wait in the spool", PATIENCE, || {
        pending(&feeder).filter(|(_, blobs)| *blobs > 0)
    })?;

    std::fs::remove_file(&filler)?;
    let verdict = site.settle(feeder, PATIENCE)?;
    ensure!(site.stored()?.len() > stored_before);
    await_health(&site, "ok", "ok")?;
    eprintln!("{verdict:?}");
    Ok(())
}

/// Takes every byte that is left.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let mut piece = vec![0; 64 * 1024];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
    Ok(())
}
