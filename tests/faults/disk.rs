//! A disk that has no room, no inodes, or can no longer be written: the box goes on, says so, sheds in order with exact
//! gap records, and heals by itself.

use anyhow::{Context, Result, ensure};
use e2e::fault::disk::Disk;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::{Chance, Feeder, Order, Said, Site, Size};
use e2e::wait;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::MediaClass;

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

fn options(chance: &Chance, disk: &Disk, no_uplink: bool) -> Options {
    Options {
        spool_dir: Some(disk.path().join("spool")),
        seed: chance.seed(),
        no_uplink,
        ..Options::default()
    }
}

fn pictures(class: MediaClass, events: u64, picture_bytes: usize) -> Feed {
    Feed {
        events,
        picture_every: 1,
        picture_bytes,
        class,
        ..Feed::default()
    }
}

/// Waits until the status shows trouble with the spool that says `word`.
fn in_trouble(feeder: &mut Feeder, word: &str) -> Result<()> {
    feeder.await_figures(
        "the status to say so",
        PATIENCE,
        |said| matches!(said, Said::Figures { spool_trouble: Some(why), .. } if why.contains(word)),
    )
}

/// Waits until the status shows none.
fn healed(feeder: &mut Feeder) -> Result<()> {
    feeder.await_figures("the spool to be well again", PATIENCE, |said| {
        matches!(
            said,
            Said::Figures {
                spool_trouble: None,
                ..
            }
        )
    })
}

/// Shed by class, as the box's own books say; they must add up.
fn shed(site: &Site, spool: &Path) -> Result<BTreeMap<String, u64>> {
    let audit = site.audit_spool(spool)?;
    ensure!(
        audit.differences.is_empty(),
        "the spool does not add up: {:?}",
        audit.differences
    );
    let mut shed = BTreeMap::new();
    for line in audit.lines {
        *shed.entry(line.balance.class).or_default() += line.balance.shed;
    }
    shed.retain(|_, count| *count > 0);
    Ok(shed)
}

/// What the gap records at the receiver say, by class.
fn named(gaps: &BTreeMap<(String, String), u64>) -> BTreeMap<String, u64> {
    let mut named = BTreeMap::new();
    for ((class, _), count) in gaps {
        *named.entry(class.clone()).or_default() += count;
    }
    named
}

#[test]
fn fault_09_a_32_mib_disk_with_the_cloud_down_sheds_in_order_and_heals() -> Result<()> {
    let chance = Chance::new("fault_09");
    let site = Site::new()?;
    let disk = Disk::ext4(32 * MIB, None)?;
    let mut options = options(&chance, &disk, true);
    let spool = disk.path().join("spool");
    let size = Size::from_env();
    let mut feeder = site.start_feeder(&options)?;
    // The dearest comes first, so that the order is not that of arrival. Two classes have room, the third has not.
    let each = 35;
    for class in [MediaClass::Snapshot, MediaClass::Periodic, MediaClass::Clip] {
        feeder.put_all(pictures(class, each, 200_000), PATIENCE)?;
    }
    feeder.stop()?;
    let first = shed(&site, &spool)?;
    ensure!(
        first.keys().eq(["clip"]) && first["clip"] < each,
        "clips go first: {first:?}"
    );

    // Snapshots alone, more than there is room for.
    let mut feeder = site.start_feeder(&options)?;
    let more = size.of(120, 600);
    feeder.put_all(pictures(MediaClass::Snapshot, more, 200_000), PATIENCE)?;
    feeder.stop()?;
    let second = shed(&site, &spool)?;
    ensure!(
        second["clip"] == each && second["periodic"] == each && second["snapshot"] > 0,
        "everything cheaper goes before a snapshot: {second:?}"
    );
    ensure!(!second.contains_key("event"), "records last: {second:?}");

    // The cloud is back: what is left arrives, what is not is named, one by one.
    options.no_uplink = false;
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle_with_gaps(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    let books = shed(&site, &spool)?;
    ensure!(
        named(&verdict.gaps) == books,
        "named {:?}, shed {books:?}",
        verdict.gaps
    );
    ensure!(
        verdict.blobs_named_lost == books.values().sum::<u64>(),
        "every shed picture was one that had been accepted: {verdict:?}"
    );
    Ok(())
}

/// Another program that takes all room, to the last byte.
fn fill(disk: &Disk) -> Result<PathBuf> {
    let path = disk.path().join("of-another-program");
    let mut file = File::create(&path)?;
    for block in [1 << 20, 4096, 1] {
        let bytes = vec![0x5a; block];
        while file.write_all(&bytes).is_ok() {}
    }
    let _ = file.sync_all();
    Ok(path)
}

#[test]
fn fault_10_another_program_fills_the_disk_and_the_box_goes_on() -> Result<()> {
    let chance = Chance::new("fault_10");
    let site = Site::new()?;
    let disk = Disk::ext4(64 * MIB, None)?;
    let mut options = options(&chance, &disk, true);
    let mut feeder = site.start_feeder(&options)?;
    feeder.put_all(pictures(MediaClass::Snapshot, 60, 100_000), PATIENCE)?;
    // Again and again: what the first time left behind decides about the second.
    for _ in 0..Size::from_env().of(2, 5) {
        let filled = fill(&disk)?;
        // Records and pictures go on being accepted: older pictures give way.
        let kept = feeder.put_all(pictures(MediaClass::Snapshot, 60, 100_000), PATIENCE)?;
        ensure!(kept > 60, "only {kept} were accepted on a full disk");
        in_trouble(&mut feeder, "full")?;
        // The other program takes what became free, too.
        let again = {
            let path = disk.path().join("more-of-it");
            let mut file = File::create(&path)?;
            while file.write_all(&[0x5a; 4096]).is_ok() {}
            path
        };
        feeder.put_all(pictures(MediaClass::Snapshot, 20, 100_000), PATIENCE)?;
        fs::remove_file(filled)?;
        fs::remove_file(again)?;
        feeder.order(&Order::Balance)?;
        healed(&mut feeder)?;
        ensure!(
            disk.path().join("spool/ballast").exists(),
            "the ballast is back"
        );
    }
    feeder.stop()?;
    options.no_uplink = false;
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle_with_gaps(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    ensure!(
        verdict.blobs_named_lost > 0,
        "pictures gave way: {verdict:?}"
    );
    ensure!(
        verdict.records_named_lost == 0,
        "no record was lost: {verdict:?}"
    );
    shed(&site, &disk.path().join("spool")).map(drop)
}

#[test]
fn fault_11_without_inodes_records_are_kept_and_pictures_give_way() -> Result<()> {
    let chance = Chance::new("fault_11");
    let site = Site::new()?;
    let disk = Disk::ext4(64 * MIB, Some(256))?;
    let mut options = options(&chance, &disk, true);
    let mut feeder = site.start_feeder(&options)?;
    feeder.put_all(pictures(MediaClass::Snapshot, 40, 5_000), PATIENCE)?;
    let others = disk.path().join("of-another-program");
    fs::create_dir(&others)?;
    let mut taken = 0;
    let mut take_all = || {
        while File::create(others.join(taken.to_string())).is_ok() {
            taken += 1;
        }
    };
    take_all();
    let kept = feeder.put_all(pictures(MediaClass::Snapshot, 60, 5_000), PATIENCE)?;
    ensure!(kept > 60, "only {kept} were accepted without inodes");
    // What the box gives up the other program takes too, until the box has nothing left to give.
    let remedy = format!(
        "inodes free): pictures are shed; make room on {}",
        disk.path().join("spool").display()
    );
    wait::until(
        "the status to say what is wrong and where",
        PATIENCE,
        || {
            take_all();
            let Said::Figures { spool_trouble, .. } = feeder.figures()? else {
                return None;
            };
            let words = spool_trouble?;
            (words.starts_with("the disk is nearly full (") && words.ends_with(&remedy))
                .then_some(())
        },
    )
    .with_context(|| format!("{:?}: {}", feeder.figures(), feeder.log_tail(15)))?;
    fs::remove_dir_all(&others)?;
    healed(&mut feeder)?;
    let kept = feeder.put_all(pictures(MediaClass::Snapshot, 10, 5_000), PATIENCE)?;
    ensure!(kept == 22, "after healing {kept} of 22 were accepted");
    feeder.stop()?;
    options.no_uplink = false;
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle_with_gaps(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    ensure!(verdict.records_named_lost == 0, "{verdict:?}");
    shed(&site, &disk.path().join("spool")).map(drop)
}
