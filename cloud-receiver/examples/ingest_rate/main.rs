//! How fast the receiver takes in, and against what: `make bench-ingest`, or
//! `cargo run --release -p cloud-receiver --example ingest_rate [-- THOUSANDS_OF_RECORDS]`. With the word `viewers`
//! another thing is measured with the same devices: see `viewers.rs`.
//!
//! The receiver is a process of its own; devices are this process. Batches are made and signed before the clock
//! starts, and every peer and every limit is driven by the same clients with the same bytes over the same TLS, so
//! that what a client costs is in every figure alike. Both sides share this machine's cores: therefore each line also
//! shows the processor time of the server alone, per record, which does not depend on what else runs.
//!
//! The two limits are *minimal receivers*: TLS and MQTT as everywhere, and then nothing but the one thing that cannot
//! be left out - rows into SQLite with the same durability (WAL, FULL, whatever is queued in one commit), or one
//! Ed25519 check of each batch. They are also measured bare, on one thread, with no network at all.
#![allow(clippy::unwrap_used)]

mod client;
mod limits;
mod material;
mod peers;
mod process;
mod viewers;

use client::{Carriage, Load};
use cloud_receiver::app::App;
use cloud_receiver::config::Config;
use material::{Site, World};
use process::{Server, Used};
use std::path::Path;
use std::time::{Duration, Instant};

/// About a JPEG of a 640-pixel snapshot.
const BLOB_BYTES: usize = 60 * 1024;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match words.as_slice() {
        ["receiver", dir] => runtime.block_on(serve(Path::new(dir))),
        ["limit-sqlite", dir] => {
            runtime.block_on(limits::serve(Path::new(dir), limits::Work::Sqlite))
        }
        ["limit-checks", dir] => {
            runtime.block_on(limits::serve(Path::new(dir), limits::Work::Checks))
        }
        ["viewers"] => runtime.block_on(viewers::measure(Duration::from_secs(60))),
        ["viewers", seconds] => {
            let seconds = seconds.parse().expect("seconds");
            runtime.block_on(viewers::measure(Duration::from_secs(seconds)));
        }
        [] => runtime.block_on(measure(60)),
        [thousands] => runtime.block_on(measure(thousands.parse().expect("thousands of records"))),
        _ => panic!("ingest_rate [THOUSANDS_OF_RECORDS | viewers [SECONDS]]"),
    }
}

/// The receiver's process.
async fn serve(dir: &Path) {
    let config = Config::load(&dir.join("receiver.toml")).unwrap();
    let app = App::start(&config).await.unwrap();
    let (mqtt, device, portal) = (app.mqtt.port(), app.device.port(), app.portal.port());
    println!("{mqtt} {device} {portal}");
    process::parent_has_gone().await;
    app.stop().await;
}

async fn measure(thousands: usize) {
    let site = Site::new();
    let mut world = World::new(&site).await;
    let receiver = Server::start(&["receiver", site.path()], "receiver").await;
    share_of_the_limit(&receiver, &site, &mut world, thousands).await;
    println!("\n{}", header());
    for (carriage, size, devices) in rows() {
        run(&receiver, &mut world, carriage, size, devices, thousands).await;
    }
    blobs(&receiver, &world).await;
    println!("receiver: {} MiB resident at most", receiver.peak_mib());
    drop(receiver);

    for limit in ["limit-sqlite", "limit-checks"] {
        let server = Server::start(&[limit, site.path()], limit).await;
        for (size, devices) in [(1, 8), (10, 1), (10, 8), (100, 8)] {
            run(
                &server,
                &mut world,
                Carriage::Mqtt,
                size,
                devices,
                thousands,
            )
            .await;
        }
    }
    if let Some(mosquitto) = peers::mosquitto(&site).await {
        for (size, devices) in [(1, 1), (1, 8), (10, 1), (10, 8), (100, 8)] {
            run(
                &mosquitto,
                &mut world,
                Carriage::Mqtt,
                size,
                devices,
                thousands,
            )
            .await;
        }
    }
    let (servers, _mounted) = peers::nginx(&site).await;
    for nginx in servers {
        blobs(&nginx, &world).await;
    }
}

/// What is promised: 8 devices, batches of 10. Limit and receiver take turns, so that whatever else this machine does
/// meets both; beside them mosquitto, which has no batches: a message a record.
async fn share_of_the_limit(receiver: &Server, site: &Site, world: &mut World, thousands: usize) {
    const ROUNDS: usize = 7;
    let mosquitto = peers::mosquitto(site).await;
    let mut shares = Vec::new();
    for round in 1..=ROUNDS {
        let bare = limits::bare(world, site.dir(), thousands * 1000);
        println!(
            "round {round}: bare, one thread, no network: {bare}\n{}",
            header()
        );
        let rate = run(receiver, world, Carriage::Mqtt, 10, 8, thousands).await;
        if let Some(mosquitto) = &mosquitto {
            run(mosquitto, world, Carriage::Mqtt, 1, 8, thousands).await;
        }
        shares.push(100.0 * rate / bare.limit());
    }
    shares.sort_by(f64::total_cmp);
    println!(
        "receiver, 8 devices, batches of 10: {:.0} % of the lower limit of its round (median; {:.0} to {:.0} %)",
        shares[ROUNDS / 2],
        shares[0],
        shares[ROUNDS - 1]
    );
}

fn rows() -> Vec<(Carriage, usize, usize)> {
    let mut rows = Vec::new();
    for carriage in [Carriage::Mqtt, Carriage::Https] {
        for size in [1, 10, 100] {
            rows.extend([(carriage, size, 1), (carriage, size, 8)]);
        }
    }
    rows
}

fn header() -> String {
    format!(
        "{:<14} {:<6} {:>7} {:>7} {:>11} {:>11} {:>14} {:>14}",
        "server",
        "over",
        "devices",
        "batch",
        "batches/s",
        "records/s",
        "server us/rec",
        "client us/rec"
    )
}

/// One line: so many records, in batches of `size`, from so many devices at once. Answers records a second.
async fn run(
    server: &Server,
    world: &mut World,
    carriage: Carriage,
    size: usize,
    devices: usize,
    thousands: usize,
) -> f64 {
    // Small batches are slower: fewer of them take as long.
    let records = thousands * if size == 1 { 250 } else { 1000 };
    let loads: Vec<Load> = (0..devices)
        .map(|device| world.load(device, size, records / devices / size))
        .collect();
    let batches: usize = loads.iter().map(|load| load.batches.len()).sum();
    let (ours, theirs, began) = (Used::own(), server.used(), Instant::now());
    client::deliver(server, carriage, loads).await;
    let (took, ours, theirs) = (began.elapsed(), Used::own() - ours, server.used() - theirs);
    let (rate, records) = (batches as f64 / took.as_secs_f64(), (batches * size) as f64);
    println!(
        "{:<14} {:<6} {devices:>7} {size:>7} {rate:>11.0} {:>11.0} {:>14.1} {:>14.1}",
        server.name,
        carriage.word(),
        rate * size as f64,
        theirs * 1e6 / records,
        ours * 1e6 / records,
    );
    rate * size as f64
}

async fn blobs(server: &Server, world: &World) {
    const DEVICES: usize = 8;
    const EACH: usize = 60;
    let before = server.used();
    let puts = client::put_blobs(server, world, DEVICES, EACH, BLOB_BYTES);
    let took = tokio::time::timeout(Duration::from_secs(120), puts).await;
    let took = took.expect("blobs within two minutes").as_secs_f64();
    let count = (DEVICES * EACH) as f64;
    println!(
        "{}: {:.0} blobs/s of {} KiB from {DEVICES} devices; {:.0} us of server time a blob",
        server.name,
        count / took,
        BLOB_BYTES / 1024,
        (server.used() - before) * 1e6 / count,
    );
}
