//! Whether pages cost the same among ten million events as among ten thousand: `make bench-portal`, or
//! `cargo run --release -p cloud-receiver --example portal_speed [-- MILLIONS]`.
//!
//! Two stores are filled by the same generator, one with ten thousand events of ten days, one with ten million of a year
//! (27,400 a day), in temporary folders that need some 6 GB and are deleted at the end. Both are asked for the same pages over
//! TLS in turn, each page of a round at another time, so that nothing is warm that would not be in service; and what is
//! told is the median of the rounds of each, and how they compare. The pages are whole: HTML, strip, filter, gaps.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../tests/portal/browser.rs"]
mod browser;
#[path = "../../tests/portal/world.rs"]
mod world;

use browser::Browser;
use cloud_receiver::store::{Administration, LabelBook, Tagged};
use std::time::{Duration, Instant};
use wire::{CameraId, ContractId, EventId, UtcMicros};
use world::{Scene, World, camera_state, now};

const DAY_US: i64 = 86_400_000_000;
const SITES: usize = 4;
const CAMERAS: usize = 20;
/// Rounds of each page.
const ROUNDS: usize = 31;
/// What pages may cost more than among ten thousand.
const MOST_TIMES: f64 = 3.0;
const PASSWORD: &str = "a long enough password";
/// On one of twenty events, and on two cameras.
const EVENT_TAG: &str = "checked";
const CAMERA_TAG: &str = "gates";

#[tokio::main]
async fn main() {
    let millions: Option<u64> = std::env::args().nth(1).map(|n| n.parse().unwrap());
    let large = millions.unwrap_or(10) * 1_000_000;
    let small = Side::filled(10_000, 10).await;
    let large = Side::filled(large, 365).await;
    let mut missed = 0;
    println!(
        "\n{:<44} {:>12} {:>12} {:>7}",
        "page (median of 31)", "10,000", "many", "times"
    );
    for page in pages() {
        let (mut few, mut many) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS + 1 {
            let (one, two) = (small.ask(&page, round).await, large.ask(&page, round).await);
            // The first of each fills the server's caches of statements.
            if round > 0 {
                few.push(one);
                many.push(two);
            }
        }
        let (few, many) = (median(few), median(many));
        let times = many.as_secs_f64() / few.as_secs_f64();
        let mark = match (page.is_bound, times > MOST_TIMES) {
            (true, true) => {
                missed += 1;
                "  more than 3"
            }
            (true, false) => "",
            (false, _) => "  (bounded in rows)",
        };
        println!(
            "{:<44} {few:>12.1?} {many:>12.1?} {times:>7.2}{mark}",
            page.name
        );
    }
    assert_eq!(missed, 0, "pages cost more than {MOST_TIMES} times as much");
}

/// A page that is asked for.
struct Page {
    name: &'static str,
    address: fn(&Side, UtcMicros) -> String,
    /// Whether it is to stay within [`MOST_TIMES`].
    is_bound: bool,
}

fn pages() -> Vec<Page> {
    let page = |name, is_bound, address| Page {
        name,
        address,
        is_bound,
    };
    vec![
        page("overview", true, |_, _| "/".into()),
        page("events, newest", true, |_, _| "/events".into()),
        page("events of a day", true, |_, at| {
            format!("/events?day={}", day(at))
        }),
        page("events of a day, one site", true, |side, at| {
            format!("/events?day={}&site={}", day(at), side.site)
        }),
        page("events of a day, one camera", true, |side, at| {
            format!("/events?day={}&camera={}", day(at), side.cameras[0])
        }),
        page("events of a day, one class", true, |_, at| {
            format!("/events?day={}&class=person", day(at))
        }),
        page("events of a day, tag of events", true, |_, at| {
            format!("/events?day={}&tag={EVENT_TAG}", day(at))
        }),
        page("events of a day, tag of cameras", true, |_, at| {
            format!("/events?day={}&tag={CAMERA_TAG}", day(at))
        }),
        page("events of an hour, one class", true, |_, at| {
            format!("/events?day={}&from=03:00&to=04:00&class=person", day(at))
        }),
        page("back in time, rare class (1 of 100)", true, |_, at| {
            format!("/events?class=animal&before={}", before(at))
        }),
        page("back in time, quiet site (1 of 150)", true, |side, at| {
            format!("/events?site={}&before={}", side.quiet_site, before(at))
        }),
        page("back in time, class that never was", true, |_, at| {
            format!("/events?class=unicorn&before={}", before(at))
        }),
        page("an event", true, |side, at| {
            format!("/events/{}", side.event_at(at))
        }),
        page("an event, among those of a rare class", true, |side, at| {
            format!("/events/{}?class=animal", side.event_at(at))
        }),
        page("two conditions: class and tag of events", false, |_, at| {
            format!("/events?class=animal&tag={EVENT_TAG}&before={}", before(at))
        }),
        page("score that is never reached", false, |_, at| {
            format!("/events?score=100&before={}", before(at))
        }),
        page("charts of 90 days by day and class", false, |side, _| {
            let until = day(side.to);
            format!("/charts?by=day&until={until}&days=90")
        }),
    ]
}

fn day(at: UtcMicros) -> String {
    let zone = jiff::tz::TimeZone::get("Asia/Tokyo").unwrap();
    let at = jiff::Timestamp::from_microsecond(at.0).unwrap();
    at.to_zoned(zone).date().to_string()
}

fn before(at: UtcMicros) -> String {
    format!("{}_{}", at.0, uuid::Uuid::nil())
}

/// One receiver with its events.
struct Side {
    /// Keeps it running.
    _world: World,
    browser: Browser,
    site: String,
    quiet_site: String,
    cameras: Vec<CameraId>,
    from: UtcMicros,
    to: UtcMicros,
    /// Events of different times, in order.
    events: Vec<(UtcMicros, EventId)>,
}

impl Side {
    async fn filled(number: u64, days: i64) -> Self {
        let world = World::start().await;
        let contract = world.store.add_contract("Acme", now()).await.unwrap();
        world.user(contract, "user", PASSWORD, false).await;
        let (to, started) = (now().plus_us(-3_600_000_000), Instant::now());
        let from = to.plus_us(-days * DAY_US);
        let (sites, cameras) = seeds(&world, contract, to).await;
        let tag = async |camera: CameraId| {
            let on = Tagged::Camera(camera);
            world.store.add_tag(contract, on, CAMERA_TAG, now()).await
        };
        tag(cameras[0]).await.unwrap();
        tag(cameras[1]).await.unwrap();
        world
            .store
            .multiply_events(contract, number, (from, to), weight, EVENT_TAG)
            .await
            .unwrap();
        println!(
            "{number} events of {days} days made in {:.0?}",
            started.elapsed()
        );
        let browser = Browser::signed_in(&world, "user", PASSWORD).await;
        let events = events_of(&browser, from, to).await;
        Self {
            browser,
            site: sites[1].clone(),
            quiet_site: sites[SITES - 1].clone(),
            cameras,
            from,
            to,
            events,
            _world: world,
        }
    }

    /// Another moment each round, never near the ends.
    fn moment(&self, round: usize) -> UtcMicros {
        let length = self.to.since_us(self.from) / 10 * 8;
        let share = (round * 7 % 31) as i64;
        self.from
            .plus_us(self.to.since_us(self.from) / 10 + length / 31 * share)
    }

    fn event_at(&self, at: UtcMicros) -> EventId {
        let place = self.events.partition_point(|(opened, _)| *opened < at);
        self.events[place.min(self.events.len() - 1)].1
    }

    async fn ask(&self, page: &Page, round: usize) -> Duration {
        let address = (page.address)(self, self.moment(round));
        let started = Instant::now();
        let request = self.browser.request(reqwest::Method::GET, &address);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let length = answer.bytes().await.unwrap().len();
        assert!(status.is_success() && length > 1_000, "{address}: {status}");
        started.elapsed()
    }
}

/// Site four is quiet, and animals are rare.
fn weight(camera: usize, class: &str) -> u64 {
    let of_class = match class {
        "person" => 60,
        "vehicle" => 30,
        "bicycle" => 9,
        _ => 1,
    };
    let of_camera = if camera / (CAMERAS / SITES) == SITES - 1 {
        1
    } else {
        50
    };
    of_class * of_camera
}

/// Sites, cameras and one real event with its picture of each camera and class, as devices send them.
async fn seeds(world: &World, contract: ContractId, at: UtcMicros) -> (Vec<String>, Vec<CameraId>) {
    let (mut sites, mut cameras) = (Vec::new(), Vec::new());
    for site in 0..SITES {
        let mut device = world.device(contract, &format!("site {site}")).await;
        sites.push(device.row.site.to_string());
        for number in 0..CAMERAS / SITES {
            let camera = CameraId(uuid::Uuid::now_v7());
            cameras.push(camera);
            let name = format!("camera {site}-{number}");
            let mut records = vec![camera_state(camera, &name, "running", None, at)];
            for (index, class) in ["person", "vehicle", "bicycle", "animal"]
                .into_iter()
                .enumerate()
            {
                let scene = Scene::new(camera, class, at.plus_us(index as i64));
                let jpeg = format!("picture of {name} {class}");
                records.push(scene.event_record());
                records.push(scene.snapshot_record(jpeg.as_bytes(), (768, 576)));
                world.blob(&device, jpeg.as_bytes()).await;
            }
            world.deliver(&mut device, records).await;
        }
    }
    (sites, cameras)
}

/// One event at each of many moments.
async fn events_of(browser: &Browser, from: UtcMicros, to: UtcMicros) -> Vec<(UtcMicros, EventId)> {
    let mut events = Vec::new();
    for place in 0..200 {
        let at = from.plus_us(to.since_us(from) / 200 * place);
        let address = format!("/events?before={}", before(at.plus_us(1)));
        let answer = browser.request(reqwest::Method::GET, &address);
        let page = answer.send().await.unwrap().text().await.unwrap();
        let Some((_, rest)) = page.split_once("data-event=\"") else {
            continue;
        };
        events.push((at, rest[..36].parse().unwrap()));
    }
    events
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
