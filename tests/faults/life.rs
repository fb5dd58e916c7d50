//! Units that stall, hang, or fail; disks that take nothing; little memory; a thousand reconnects. With the real agent
//! where the fault concerns capture, vision or the watchdog.

use anyhow::{Context, Result, ensure};
use e2e::fault::feeder::{Journal, Options};
use e2e::fault::feeding::Feed;
use e2e::fault::street::PATIENCE;
use e2e::fault::{Cage, Feeder, Keeper, Oracle, Site, Size, Street, disk::Disk, strace};
use e2e::process::run_ok;
use e2e::usage::Usage;
use e2e::wait;
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

/// In place of the unit's WatchdogSec=60, so that the test need not wait so long.
const WATCHDOG: Duration = Duration::from_secs(6);
/// RELIABILITY.md: a unit is back within so long.
const UNIT_BACK_WITHIN: Duration = Duration::from_secs(15);
/// Looking at few frames is enough, and leaves the processor to the other tests.
const FEW_LOOKS: &str = "[clock]\nservers = []\n[analysis]\nframes_per_second = 2.0\n";
const FOR_EVER: &str = "delay_enter=600000000";

/// What the test did, with everybody's last words if it failed.
fn told(street: &mut Street, outcome: Result<()>) -> Result<()> {
    outcome.with_context(|| street.logs())
}

#[test]
fn fault_39_a_stalled_camera_is_back_within_15_s_and_the_other_notices_nothing() -> Result<()> {
    let mut street = Street::new(2, FEW_LOOKS)?;
    street.agent.start()?;
    let outcome = stalled_camera(&street);
    told(&mut street, outcome)
}

fn stalled_camera(street: &Street) -> Result<()> {
    street.await_watching()?;
    let count = |index: usize, what: &str| street.camera(index)?.get(what)?.as_u64();
    let stalls = Size::from_env().of(1, 10);
    for _ in 0..stalls {
        let before = count(1, "frames_in").context("the other camera")?;
        let reconnects = count(1, "reconnects");
        let began = Instant::now();
        street.cameras[0].stall();
        wait::until("the stall to be noticed", UNIT_BACK_WITHIN, || {
            let camera = street.camera(0)?;
            (camera["state"] == "retrying").then_some(())
        })?;
        street.cameras[0].resume();
        wait::until("the camera to be back", PATIENCE, || {
            let camera = street.camera(0)?;
            (camera["state"] == "running").then_some(())
        })?;
        let took = began.elapsed();
        ensure!(took <= UNIT_BACK_WITHIN, "it took {took:?}");

        let came = count(1, "frames_in").context("the other camera")? - before;
        ensure!(
            count(1, "reconnects") == reconnects,
            "the other one reconnected"
        );
        // The film has about ten frames a second.
        ensure!(
            came as f64 > took.as_secs_f64() * 3.0,
            "the other camera gave {came} frames in {took:?}"
        );
    }
    Ok(())
}

#[test]
fn fault_39_a_disk_call_that_never_returns_ends_the_process_and_nothing_accepted_is_lost()
-> Result<()> {
    let mut street = Street::new(1, FEW_LOOKS)?;
    let outcome = hang(&mut street, "spool", &format!("fdatasync,fsync:{FOR_EVER}"));
    told(&mut street, outcome)
}

#[test]
fn fault_39_a_vision_thread_that_never_returns_ends_the_process_and_nothing_accepted_is_lost()
-> Result<()> {
    let mut street = Street::new(1, FEW_LOOKS)?;
    // The thread stops at its next system call, whatever it is: from outside, a call that never returns.
    let outcome = hang(&mut street, "vision-0", &format!("futex:{FOR_EVER}"));
    told(&mut street, outcome)
}

/// While the receiver is away, stops one thread for ever; the process is to be ended and started again.
fn hang(street: &mut Street, thread: &str, inject: &str) -> Result<()> {
    let keeper = Keeper::new(street.folder(), WATCHDOG)?;
    keeper.start(&mut street.agent, PATIENCE)?;
    keeper.keep_until("the camera to be watched", PATIENCE, || {
        street.analysed(0).filter(|looks| *looks > 3)
    })?;
    street.receiver.stop()?;
    keeper.keep_until("records that wait", PATIENCE, || {
        let pending = street.agent.status()?["spool"]["pending_records"].as_u64()?;
        (pending >= 4).then_some(())
    })?;

    let victim = street.thread(thread)?;
    let hanging = strace::attach(victim, true, &[inject])?;
    let took = keeper.end_when_silent(&mut street.agent, WATCHDOG * 4)?;
    eprintln!("{thread} hung: ended after {took:?}");
    drop(hanging);
    street.agent.kill();

    let again = Instant::now();
    keeper.start(&mut street.agent, PATIENCE)?;
    keeper.keep_until("the camera to be watched again", PATIENCE, || {
        street.analysed(0).filter(|looks| *looks > 3)
    })?;
    eprintln!("watching again {:?} after its start", again.elapsed());
    street.receiver.serve()?;
    let records = street.nothing_is_lost()?;
    ensure!(records >= 4, "{records} records");
    street.agent.stop()
}

#[test]
fn fault_39_events_that_were_open_at_kill_9_do_not_go_on_for_ever() -> Result<()> {
    let mut street = Street::new(1, FEW_LOOKS)?;
    street.agent.start()?;
    let outcome = cut_off(&mut street);
    told(&mut street, outcome)
}

fn cut_off(street: &mut Street) -> Result<()> {
    let open = |street: &Street| -> Result<BTreeSet<Vec<u8>>> {
        let database =
            Connection::open_with_flags(street.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut statement = database.prepare("select id from event where closed_us is null")?;
        let ids = statement.query_map((), |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    };
    let cut = wait::until("open events", PATIENCE, || {
        open(street).ok().filter(|ids| ids.len() >= 2)
    })?;
    street.agent.kill();
    // Nobody is watched any more, and the customer sees nothing new either.
    street.cameras.clear();
    street.agent.start()?;
    wait::until("the end of what was cut off", PATIENCE, || {
        open(street).ok().filter(BTreeSet::is_empty)
    })?;
    let records = street.nothing_is_lost()?;
    // And once only: another start has nothing to end.
    street.agent.kill();
    street.agent.start()?;
    wait::until("the next start's first word", PATIENCE, || {
        let all = street.nothing_is_lost().ok()?;
        (all > records).then_some(())
    })?;
    let events = |stored: Vec<e2e::fault::oracle::StoredRecord>| {
        stored
            .iter()
            .filter(|record| record.kind == "event")
            .count()
    };
    let before = events(street.stored()?);
    street.agent.stop()?;
    ensure!(
        events(street.stored()?) == before,
        "an event was ended twice"
    );
    ensure!(!cut.is_empty(), "something was cut off");
    Ok(())
}

#[test]
fn fault_07_a_disk_that_turns_read_only_stops_neither_detection_nor_status() -> Result<()> {
    let mut disk = Disk::ext4(128 << 20, None)?;
    let mut street = Street::with_agent_in(Some(disk.path()), 1, FEW_LOOKS)?;
    let outcome = read_only(&mut street, &mut disk);
    told(&mut street, outcome)
}

fn read_only(street: &mut Street, disk: &mut Disk) -> Result<()> {
    let looks = Size::from_env().of(12, 600);
    let keeper = Keeper::new(street.folder(), WATCHDOG)?;
    keeper.start(&mut street.agent, PATIENCE)?;
    keeper.keep_until("the camera to be watched", PATIENCE, || {
        street.analysed(0).filter(|looks| *looks > 3)
    })?;
    street.receiver.stop()?;
    let pending = keeper.keep_until("records that wait", PATIENCE, || {
        let pending = street.agent.status()?["spool"]["pending_records"].as_u64()?;
        (pending >= 4).then_some(pending)
    })?;
    disk.sync()?;
    disk.turn_read_only()?;
    let before = street.analysed(0).context("the status answers")?;
    keeper.keep_until("detection to go on", 10 * PATIENCE, || {
        street.analysed(0).filter(|now| *now > before + looks)
    })?;
    let status = street.agent.status().context("the status answers")?;
    let spool = &status["units"]["spool"];
    ensure!(
        spool["state"] == "retrying" && spool["last_error"].is_string(),
        "the status does not say what is wrong: {spool}"
    );
    let words = street.agent.command_raw(&["status"])?;
    eprintln!("{}", String::from_utf8_lossy(&words.stdout));

    street.agent.kill();
    disk.restore()?;
    street.receiver.serve()?;
    keeper.start(&mut street.agent, PATIENCE)?;
    let records = street.nothing_is_lost()?;
    ensure!(
        records >= pending,
        "{records} records, {pending} had waited"
    );
    street.agent.stop()
}

#[test]
fn fault_07_a_disk_that_refuses_writes_for_a_while_costs_nothing_that_fits_into_memory()
-> Result<()> {
    let mut street = Street::new(1, FEW_LOOKS)?;
    let outcome = refused_for_a_while(&mut street);
    told(&mut street, outcome)
}

fn refused_for_a_while(street: &mut Street) -> Result<()> {
    let keeper = Keeper::new(street.folder(), WATCHDOG)?;
    keeper.start(&mut street.agent, PATIENCE)?;
    keeper.keep_until("the camera to be watched", PATIENCE, || {
        street.analysed(0).filter(|looks| *looks > 3)
    })?;
    let process = street.agent.process().context("it runs")?.id();
    let refusing = strace::attach(process, false, &["pwrite64,fdatasync,fsync:error=EROFS"])?;
    keeper.keep_until("the spool to be refused", PATIENCE, || {
        let unit = street.agent.status()?["units"]["spool"].clone();
        (unit["state"] == "retrying").then_some(())
    })?;
    let before = street.analysed(0).context("the status answers")?;
    keeper.keep_until("detection to go on", PATIENCE, || {
        street.analysed(0).filter(|now| *now > before + 15)
    })?;
    drop(refusing);
    keeper.keep_until("the spool to write again", PATIENCE, || {
        let unit = street.agent.status()?["units"]["spool"].clone();
        (unit["state"] == "running").then_some(())
    })?;
    // Whatever the agent decided meanwhile is there, told to its end by the stop.
    let told = street.camera(0).context("its status")?["events_total"]
        .as_u64()
        .context("a count")?;
    street.agent.stop()?;
    street.cameras.clear();
    street.agent.start()?;
    street.nothing_is_lost()?;
    let database =
        Connection::open_with_flags(street.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let (all, ended): (i64, i64) =
        database.query_row("select count(*), count(closed_us) from event", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    ensure!(
        ended == all && all.cast_unsigned() >= told,
        "{told} events were decided; {all} arrived, {ended} of them with their end"
    );
    street.agent.stop()
}

#[test]
fn fault_39_a_stop_ends_in_time_though_the_disk_hangs() -> Result<()> {
    let mut street = Street::new(1, FEW_LOOKS)?;
    street.agent.start()?;
    let outcome = stop_in_time(&mut street);
    told(&mut street, outcome)
}

fn stop_in_time(street: &mut Street) -> Result<()> {
    /// Of the unit's TimeoutStopSec=20.
    const SYSTEMD_PATIENCE: Duration = Duration::from_secs(20);
    street.await_watching()?;
    let inject = format!("fdatasync,fsync:{FOR_EVER}");
    let hanging = strace::attach(street.thread("spool")?, true, &[&inject])?;
    let process = street.agent.process().context("it runs")?;
    let began = Instant::now();
    process.signal(rustix::process::Signal::TERM);
    // Whoever traces keeps it from being buried, not from ending.
    let status = format!("/proc/{}/status", process.id());
    wait::until("its end", SYSTEMD_PATIENCE, || {
        let status = std::fs::read_to_string(&status).ok()?;
        let state = status
            .lines()
            .find_map(|line| line.strip_prefix("State:"))?;
        state.trim().starts_with('Z').then_some(())
    })?;
    eprintln!("stopped after {:?}", began.elapsed());
    drop(hanging);
    street.agent.kill();
    street.agent.start()?;
    street.nothing_is_lost()?;
    street.agent.stop()
}

#[test]
fn fault_12_256_mib_are_enough_for_a_day_of_backlog() -> Result<()> {
    let mut street = Street::new(1, FEW_LOOKS)?;
    let outcome = caged(&mut street);
    told(&mut street, outcome)
}

fn caged(street: &mut Street) -> Result<()> {
    const LIMIT: u64 = 256 << 20;
    let size = Size::from_env();
    // A day of a busy box: eight cameras, each with a picture a minute, and an event every few seconds.
    let (records, pictures) = size.of((20_000, 200), (300_000, 11_520));
    let minutes = Duration::from_secs(size.of(120, 3600));
    let away = Options {
        no_uplink: true,
        ..Options::default()
    };
    let journal = Journal::default();
    let log = street.folder().join("feeder.log");
    let mut feeder = Feeder::start(&street.agent.data_dir(), &log, &away, &journal)?;
    let facts = Feed {
        events: records,
        picture_every: 0,
        at_once: 256,
        ..Feed::default()
    };
    feeder.put_all(facts, minutes)?;
    let seen = Feed {
        events: pictures,
        picture_every: 1,
        picture_bytes: 60_000,
        ..Feed::default()
    };
    feeder.put_all(seen, minutes)?;
    feeder.stop()?;

    // With model and camera, while it delivers all that.
    let cage = Cage::new("agent", LIMIT)?;
    street.agent.start()?;
    cage.take(street.agent.process().context("it runs")?.id())?;
    street.await_watching()?;
    street.nothing_is_lost_within(minutes)?;
    ensure!(cage.killed()? == 0, "the kernel ended it");
    let process = street.agent.process().context("it runs")?;
    ensure!(process.ended().is_none(), "it has ended");
    let resident = process.resident_bytes()?;
    street.agent.stop()?;
    // The camera's own events are there too; what the feeder put has to be.
    let oracle = Oracle::hear(&journal);
    let stored: HashSet<_> = street.stored()?.iter().map(|one| one.sha256).collect();
    let missing = oracle.obligations_not_in(&stored);
    eprintln!(
        "{} records and {pictures} pictures; at most {} MiB, page cache included; {} MiB resident at the end",
        oracle.obligations(),
        cage.peak_bytes()? >> 20,
        resident >> 20
    );
    ensure!(
        resident < LIMIT,
        "{resident} bytes are resident, libraries included"
    );
    ensure!(missing == 0, "{missing} records are gone");
    ensure!(oracle.obligations() > records, "the feeder put too little");
    Ok(())
}

#[test]
fn fault_13_camera_reconnects_leave_nothing_behind() -> Result<()> {
    let (count, warm_up) = Size::from_env().of(("30", "10"), ("1000", "25"));
    let printed = run_ok("reconnects", ["--count", count, "--warm-up", warm_up])?;
    eprintln!("{printed}");
    Ok(())
}

#[test]
fn fault_13_uplink_reconnects_leave_nothing_behind() -> Result<()> {
    let (warm_up, count) = Size::from_env().of((2, 5), (50, 1000));
    let site = Site::new()?;
    let lines = site.through_proxies()?;
    let mut feeder = site.start_feeder(&Options::default())?;
    let reconnect = |feeder: &mut Feeder| -> Result<()> {
        lines.both(|line| line.reset());
        let few = Feed {
            events: 5,
            // One after the other: how many threads wait for the spool at once is no matter of the line.
            at_once: 1,
            ..Feed::default()
        };
        feeder.put_all(few, PATIENCE)?;
        feeder.drained(PATIENCE)
    };
    for _ in 0..warm_up {
        reconnect(&mut feeder)?;
    }
    let first = Usage::of(feeder.id())?;
    for _ in 0..count {
        reconnect(&mut feeder)?;
    }
    let last = Usage::of(feeder.id())?;
    let grown_kib = last.resident_kib.saturating_sub(first.resident_kib);
    eprintln!("{count} reconnects: +{grown_kib} KiB, {first:?} -> {last:?}");
    ensure!(
        last.descriptors <= first.descriptors + 3,
        "descriptors grow"
    );
    ensure!(last.threads <= first.threads + 3, "threads grow");
    // What allocators come to hold, and so much for each reconnect: a forgotten session would be a hundred times that.
    ensure!(grown_kib <= 8 * 1024 + count, "memory grows");
    site.settle(feeder, PATIENCE)?;
    Ok(())
}
