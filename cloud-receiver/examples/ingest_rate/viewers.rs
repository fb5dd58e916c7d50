//! Whether people can look while boxes send: `make bench-viewers`, or
//! `cargo run --release -p cloud-receiver --example ingest_rate -- viewers [SECONDS]`.
//!
//! Ten devices send batches of ten events and a picture with each, first as fast as the receiver takes them, which is the
//! limit of this run; then at 60 % of it, while fifty signed-in viewers have their live updates open, do with the news
//! what the page's script does (cards at its pace, the whole list where there is more), and open another page every few
//! seconds. Before, one viewer alone has opened the same pages on the same store. Told are the times of
//! pages in both, what the receiver held in memory at most, and whether every record and picture sent is there: the
//! receiver is a process of its own, devices and viewers are this one, on the same cores.

mod sender;
mod viewer;

use crate::material::{Site, World};
use crate::process::{Server, Used};
use std::time::{Duration, Instant};
use viewer::{Seen, Viewer};

const DEVICES: usize = 10;
const VIEWERS: usize = 50;
/// Records of a batch; with each goes one picture.
const BATCH: usize = 10;
const PICTURE_BYTES: usize = 60 * 1024;
/// Of the limit.
const SHARE: f64 = 0.6;
/// What a page may take, in times of what it takes when nobody else is there.
const MOST_TIMES: f64 = 5.0;
const MOST_MIB: u64 = 400;
/// How long the limit is measured.
const FLAT_OUT: Duration = Duration::from_secs(10);
/// Openings of each page by the viewer who is alone.
const ALONE: usize = 40;

pub async fn measure(length: Duration) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::new();
    let mut world = World::new(&site).await;
    let users = world.users(VIEWERS, viewer::PASSWORD).await;
    let server = Server::start(&["receiver", site.path()], "receiver").await;

    let flat_out = send(&server, &mut world, None, FLAT_OUT).await;
    let limit = flat_out.batches as f64 / flat_out.took.as_secs_f64();
    println!(
        "limit: {:.0} records/s and {limit:.0} pictures/s of {} KiB from {DEVICES} devices",
        limit * BATCH as f64,
        PICTURE_BYTES / 1024
    );

    let before = server.peak_mib();
    let mut viewers = Vec::new();
    for login in users {
        viewers.push(Viewer::signed_in(&server, &world, &login).await);
    }
    let alone = viewers[0].opens_each_page(ALONE).await;

    let (used, began) = (server.used(), Instant::now());
    let watching = tokio::spawn(viewer::watch(viewers, length));
    let beside = send(&server, &mut world, Some(limit * SHARE), length).await;
    let seen = watching.await.unwrap();
    let cores = (server.used() - used) / began.elapsed().as_secs_f64();
    println!(
        "beside {VIEWERS} viewers: {:.0} % of the limit was asked for, {:.0} % was sent; {cores:.1} cores, {:.1} of them ours",
        SHARE * 100.0,
        beside.batches as f64 / beside.took.as_secs_f64() / limit * 100.0,
        Used::own() / began.elapsed().as_secs_f64(),
    );
    let mut missed = tell_pages(&alone, &seen);
    let peak = server.peak_mib();
    println!("memory: {before} MiB at most until the limit was known, {peak} MiB in all");
    missed |= peak > MOST_MIB;
    drop(server);
    missed |= !is_everything_there(&world, flat_out.batches + beside.batches).await;
    assert!(!missed, "not what it must be");
}

/// What was sent and acknowledged.
struct Sent {
    batches: usize,
    took: Duration,
}

/// Ten devices for so long, each as fast as it goes or at its share of `batches_a_second`.
async fn send(
    server: &Server,
    world: &mut World,
    batches_a_second: Option<f64>,
    length: Duration,
) -> Sent {
    let ports = (server.mqtt, server.https);
    let each = batches_a_second.map(|all| all / DEVICES as f64);
    let began = Instant::now();
    let sending: Vec<_> = world
        .devices
        .drain(..DEVICES)
        .map(|device| tokio::spawn(sender::send(ports, device, each, length)))
        .collect();
    let mut batches = 0;
    for done in futures::future::join_all(sending).await {
        let (device, sent) = done.unwrap();
        world.devices.push(device);
        batches += sent;
    }
    // The one that does not send stays the last.
    world.devices.rotate_left(1);
    Sent {
        batches,
        took: began.elapsed(),
    }
}

/// One line a page; answers whether one is too slow.
fn tell_pages(alone: &Seen, beside: &Seen) -> bool {
    println!(
        "{:<24} {:>12} {:>12} {:>7} {:>12} {:>12}",
        "page", "alone", "beside", "times", "p95 alone", "p95 beside"
    );
    let mut missed = false;
    for (name, times) in &beside.pages {
        let (few, many) = (&alone.pages[name], times);
        let ratio = at(many, 50).as_secs_f64() / at(few, 50).as_secs_f64();
        missed |= ratio > MOST_TIMES;
        println!(
            "{name:<24} {:>12.1?} {:>12.1?} {ratio:>7.1} {:>12.1?} {:>12.1?}",
            at(few, 50),
            at(many, 50),
            at(few, 95),
            at(many, 95)
        );
    }
    println!(
        "{} pages opened; {} news heard and {} calls to reload, {} cards and {} lists fetched for them",
        beside.pages.values().map(Vec::len).sum::<usize>(),
        beside.news,
        beside.reloads,
        beside.cards,
        beside.lists
    );
    missed
}

fn at(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Counted in the store by the process that sent, not by the one that received.
async fn is_everything_there(world: &World, batches: usize) -> bool {
    let usage = world.usage().await;
    let pictures: u64 = usage.contracts.iter().map(|of| of.objects).sum();
    let sent = batches as u64;
    println!(
        "records: {} sent and acknowledged, {} in the store; pictures: {sent} and {pictures}",
        sent * BATCH as u64,
        usage.records(),
    );
    sent * BATCH as u64 == usage.records() && sent == pictures
}
