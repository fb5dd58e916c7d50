//! Clocks that are wrong, and set: the real agent under a clock of its own, real cameras, and what the customer sees.

use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::fault::street::PATIENCE;
use e2e::fault::time_server::TimeServers;
use e2e::fault::{Chance, FakeTime, Size, Street};
use e2e::wait;
use edge_agent::clock::{Clocks, RealClocks};
use rusqlite::{Connection, OpenFlags};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// RELIABILITY.md: corrected within so much.
const WITHIN_US: i64 = 1_000_000;

fn street(servers: &TimeServers) -> Result<Street> {
    let looks = "[analysis]\nframes_per_second = 3.0\n";
    Street::new(1, &format!("{}{looks}", servers.toml()))
}

/// Where the receiver puts an event, and where it belongs by the boot-time clock, which nobody sets.
#[derive(Debug)]
struct Placed {
    opened_us: i64,
    captured_us: i64,
    boottime_us: i64,
    /// From the opening to the revision, by the device's clock.
    age_us: i64,
}

impl Placed {
    /// How far off it is.
    fn error_us(&self, booted_us: i64) -> i64 {
        let belongs = booted_us + self.boottime_us - self.age_us;
        self.opened_us - belongs
    }
}

fn events(street: &Street) -> Result<Vec<Placed>> {
    let database =
        Connection::open_with_flags(street.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = database.prepare(
        "select opened_us, captured_device_us, boottime_us, captured_device_us - opened_device_us from event",
    )?;
    let rows = statement.query_map((), |row| {
        Ok(Placed {
            opened_us: row.get(0)?,
            captured_us: row.get(1)?,
            boottime_us: row.get(2)?,
            age_us: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// True UTC at the boot of this machine, by its own clock.
fn booted_us() -> i64 {
    let clocks = RealClocks::new();
    clocks.utc().0 - i64::try_from(clocks.boottime().as_micros()).expect("a short uptime")
}

fn await_events(street: &Street, count: usize) -> Result<()> {
    wait::until(format!("{count} events"), 2 * PATIENCE, || {
        events(street).ok().filter(|events| events.len() >= count)
    })
    .map(drop)
}

fn all_in_place(street: &Street) -> Result<()> {
    let booted_us = booted_us();
    for event in events(street)? {
        let error_us = event.error_us(booted_us);
        ensure!(
            error_us.abs() <= WITHIN_US,
            "an event is {} s off: {event:?}",
            error_us / 1_000_000
        );
    }
    Ok(())
}

async fn nothing_shows(street: &Street, year: &str) -> Result<()> {
    let customer = Customer::sign_in(&street.receiver, &street.account).await?;
    for page in ["/", "/events"] {
        let text = customer.page(page).await?;
        for shape in [format!("{year}年"), format!("\"{year}-")] {
            ensure!(!text.contains(&shape), "{page} shows {shape}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_27_what_was_captured_in_1970_is_shown_at_its_true_time() -> Result<()> {
    let servers = TimeServers::start(3)?;
    let mut street = tokio::task::block_in_place(|| street(&servers))?;
    let outcome = boot_in_1970(&mut street, &servers).await;
    outcome.with_context(|| street.logs())
}

async fn boot_in_1970(street: &mut Street, servers: &TimeServers) -> Result<()> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)?
        .as_secs()
        .cast_signed();
    let fake = FakeTime::new(street.folder(), 600 - now)?;
    street.agent.start_with(|command| fake.dress(command))?;
    let capture = Duration::from_secs(Size::from_env().of(5, 600));
    let began = Instant::now();
    tokio::task::block_in_place(|| {
        await_events(street, 3)?;
        wait::until("so much capture", capture + PATIENCE, || {
            (began.elapsed() >= capture).then_some(())
        })
    })?;
    let before = events(street)?;
    ensure!(
        before
            .iter()
            .all(|event| event.captured_us < DAY * 1_000_000),
        "the agent does not believe that it is 1970: {before:?}"
    );
    // The box is online: even before it knows the time nobody sees 1970.
    nothing_shows(street, "1970").await?;

    servers.answer();
    tokio::task::block_in_place(|| {
        wait::until("the clock to be synchronised", PATIENCE, || {
            (street.agent.status()?["clock"]["stamp"]["state"] == "synced").then_some(())
        })?;
        // Then somebody sets the machine's clock, in the middle of events.
        fake.set(0)?;
        await_events(street, before.len() + 2)?;
        street.agent.stop()
    })?;
    let after = events(street)?;
    eprintln!(
        "{} events, {} of them before the clock was known",
        after.len(),
        before.len()
    );
    all_in_place(street)?;
    nothing_shows(street, "1970").await
}

#[test]
fn fault_28_a_clock_that_jumps_loses_nothing_moves_nothing_and_asks_for_no_certificate()
-> Result<()> {
    let servers = TimeServers::start(3)?;
    servers.answer();
    let mut street = street(&servers)?;
    let outcome = jumps(&mut street);
    outcome.with_context(|| street.logs())
}

fn jumps(street: &mut Street) -> Result<()> {
    let mut chance = Chance::new("fault_28");
    let fake = FakeTime::new(street.folder(), 0)?;
    street.agent.start_with(|command| fake.dress(command))?;
    wait::until("the clock to be synchronised", PATIENCE, || {
        (street.agent.status()?["clock"]["stamp"]["state"] == "synced").then_some(())
    })?;
    await_events(street, 1)?;
    let certificate = identity(street)?;
    let more = Size::from_env().of(0, 40);
    let random = (0..more).map(|_| *chance.pick(&[400 * DAY, -400 * DAY, HOUR, -HOUR, 0]));
    for offset in [400 * DAY, -400 * DAY, HOUR, -HOUR, 0]
        .into_iter()
        .chain(random)
    {
        let before = events(street)?.len();
        fake.set(offset)?;
        await_events(street, before + 1)?;
    }
    // Everything that was ever recorded is there, nothing was shed, and all of it where it belongs.
    street.agent.stop()?;
    street.agent.start()?;
    street.nothing_is_lost()?;
    all_in_place(street)?;
    let gaps = street.stored()?;
    let gaps: Vec<_> = gaps
        .iter()
        .filter_map(|record| record.gap.as_ref())
        .collect();
    ensure!(gaps.is_empty(), "something was lost: {gaps:?}");
    ensure!(
        identity(street)? == certificate,
        "the certificate was renewed"
    );
    street.agent.stop()
}

/// The box's certificates, names and bytes.
fn identity(street: &Street) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = street.agent.data_dir().join("identity");
    let mut files = Vec::new();
    for file in std::fs::read_dir(&folder)? {
        let path = file?.path();
        let name = path
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        if ["enroll", "cert", "tls"]
            .iter()
            .any(|part| name.contains(part))
        {
            files.push((name, std::fs::read(&path)?));
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no certificate in {}", folder.display());
    Ok(files)
}
