//! The line between box and receiver: cut, flapping, lossy, slow, far, and a receiver that comes back knowing nothing.

use anyhow::{Result, ensure};
use e2e::browser::{Browser, Viewer};
use e2e::customer::Customer;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::net::OwnNetwork;
use e2e::fault::proxy::Conduct;
use e2e::fault::watcher::{Seen, now};
use e2e::fault::{Chance, Proxy, Said, Site, Size, Watcher};
use e2e::wait;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

fn options(chance: &Chance) -> Options {
    Options {
        seed: chance.seed(),
        ..Options::default()
    }
}

/// Events as long as somebody asks.
fn stream(per_second: u32) -> Feed {
    Feed {
        events: 1_000_000,
        per_second,
        ..Feed::default()
    }
}

#[test]
fn fault_15_a_line_that_is_cut_or_flaps_loses_nothing() -> Result<()> {
    let mut chance = Chance::new("fault_15");
    let size = Size::from_env();
    let site = Site::new()?;
    let lines = site.through_proxies()?;
    let mut feeder = site.start_feeder(&options(&chance))?;
    feeder.put(stream(50))?;

    lines.both(Proxy::cut);
    std::thread::sleep(size.of(Duration::from_secs(5), Duration::from_secs(600)));
    lines.both(Proxy::heal);
    for _ in 0..size.of(5, 50) {
        let flap = Duration::from_secs(2);
        let up = chance.duration(Duration::from_millis(100)..flap);
        std::thread::sleep(up);
        lines.both(Proxy::cut);
        std::thread::sleep(flap - up);
        lines.both(Proxy::heal);
    }
    feeder.kill();
    let feeder = site.start_feeder(&options(&chance))?;
    let verdict = site.settle(feeder, PATIENCE)?;
    ensure!(
        verdict.obligations > 100,
        "too little was tried: {verdict:?}"
    );
    Ok(())
}

#[test]
fn fault_16_ten_percent_loss_loses_no_record() -> Result<()> {
    let chance = Chance::new("fault_16");
    let network = OwnNetwork::enter()?;
    let site = Site::new()?;
    network.lose_percent(10)?;
    let mut feeder = fed(&site, &chance, Size::from_env().of(300, 3000))?;
    feeder.drained(PATIENCE)?;
    network.heal()?;
    site.settle(feeder, PATIENCE).map(drop)
}

#[test]
fn fault_16_64_kbit_a_second_and_600_ms_round_trip_are_slow_and_not_dead() -> Result<()> {
    let chance = Chance::new("fault_16");
    let site = Site::new()?;
    let lines = site.through_proxies()?;
    let thin = Conduct {
        bytes_per_second: 8_000,
        delay: Duration::from_millis(300),
        ..Conduct::GOOD
    };
    lines.both(|line| line.conduct(thin.clone()));
    let mut feeder = fed(&site, &chance, Size::from_env().of(40, 400))?;
    feeder.drained(PATIENCE * 4)?;
    let connections = (lines.mqtt.connections(), lines.https.connections());
    lines.both(Proxy::heal);
    site.settle(feeder, PATIENCE)?;
    ensure!(
        connections.0 <= 2,
        "a slow line was taken for a dead one: {connections:?} connections"
    );
    Ok(())
}

/// With so many events put; they wait in the spool or are on their way.
fn fed(site: &Site, chance: &Chance, events: u64) -> Result<e2e::fault::Feeder> {
    let mut feeder = site.start_feeder(&options(chance))?;
    let feed = Feed {
        events,
        picture_every: 10,
        ..Feed::default()
    };
    feeder.put_all(feed, PATIENCE)?;
    Ok(feeder)
}

#[test]
fn fault_18_a_receiver_that_comes_back_with_no_sessions_gets_what_was_in_flight() -> Result<()> {
    let mut chance = Chance::new("fault_18");
    let mut site = Site::new()?;
    let lines = site.through_proxies()?;
    let mut feeder = site.start_feeder(&options(&chance))?;
    for _ in 0..Size::from_env().of(3, 30) {
        // Nothing comes back any more, so what is sent stays in flight.
        lines.mqtt.stall();
        let feed = Feed {
            events: 200,
            per_second: 400,
            at_once: 4,
            ..Feed::default()
        };
        feeder.put_all(feed, PATIENCE)?;
        std::thread::sleep(chance.duration(Duration::from_millis(10)..Duration::from_millis(400)));
        site.receiver.kill();
        lines.mqtt.cut();
        site.receiver.serve()?;
        lines.mqtt.heal();
        feeder.drained(PATIENCE)?;
    }
    site.settle(feeder, PATIENCE).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_14_live_events_do_not_wait_behind_the_backlog() -> Result<()> {
    let chance = Chance::new("fault_14");
    let (records, pictures) = Size::from_env().of((4_000, 200), (100_000, 5_000));
    let site = tokio::task::block_in_place(|| -> Result<Site> {
        let site = Site::new()?;
        let offline = Options {
            no_uplink: true,
            ..options(&chance)
        };
        let mut feeder = site.start_feeder(&offline)?;
        let backlog = Feed {
            events: records,
            picture_every: records / pictures,
            at_once: 256,
            ..Feed::default()
        };
        feeder.put_all(backlog, PATIENCE * 4)?;
        feeder.stop()?;
        Ok(site)
    })?;
    let watcher = Watcher::start(&site.receiver, &site.account).await?;
    let page = timeline(&site).await?;
    tokio::task::block_in_place(|| live_overtakes(&site, &chance, &watcher, &page))
}

const SHOWN: &str =
    "return [...document.querySelectorAll('[data-event]')].map((card) => card.dataset.opened)";

/// The customer's list of events in a real browser.
async fn timeline(site: &Site) -> Result<Browser> {
    let customer = Customer::sign_in(&site.receiver, &site.account).await?;
    let page = Browser::open(Viewer::PHONE_JA).await?;
    let portal = site.receiver.portal_url();
    page.take_over(&portal, customer.cookies()).await?;
    page.goto(&format!("{portal}/events")).await?;
    page.see("body.is-live", PATIENCE).await?;
    page.evaluate("window.notReloaded = true").await?;
    Ok(page)
}

/// A page that is open shows them without being loaded again, whatever it was told of one by one.
async fn are_shown(live: &[Seen], page: &Browser) -> Result<()> {
    wait::until_async("all live events on the page", PATIENCE, || async {
        let shown = page.evaluate(SHOWN).await.ok()?;
        let shown: Vec<String> = serde_json::from_value(shown).ok()?;
        let is_shown = |seen: &Seen| shown.contains(&seen.opened_at.0.to_string());
        live.iter().all(is_shown).then_some(())
    })
    .await?;
    ensure!(
        page.evaluate("return window.notReloaded === true").await? == true,
        "the page was loaded again instead of being told"
    );
    Ok(())
}

fn live_overtakes(site: &Site, chance: &Chance, watcher: &Watcher, page: &Browser) -> Result<()> {
    let lines = site.through_proxies()?;
    // Slow enough that the backlog takes longer than the live events.
    lines.both(|line| {
        line.conduct(Conduct {
            bytes_per_second: 250_000,
            ..Conduct::GOOD
        });
    });
    let mut feeder = site.start_feeder(&options(chance))?;
    feeder.await_said("the connection", PATIENCE, |said| match said {
        Said::Figures { carriage, .. } if carriage == "mqtt" => Some(()),
        _ => None,
    })?;
    let began = now();
    let live = Feed {
        events: 10,
        per_second: 5,
        picture_every: 0,
        ..Feed::default()
    };
    feeder.put_all(live, PATIENCE)?;
    let ended = now();
    let seen = wait::until("all live events in the browser", PATIENCE, || {
        Some(watcher.seen_between(began, ended)).filter(|seen| seen.len() == 10)
    })?;
    let Some(Said::Figures {
        pending_records, ..
    }) = feeder.figures()
    else {
        anyhow::bail!("the feeder told no figures");
    };
    ensure!(
        pending_records > 0,
        "the backlog was through before the live events: nothing was tried"
    );
    lines.both(Proxy::heal);
    feeder.drained(PATIENCE * 4)?;
    tokio::runtime::Handle::current().block_on(are_shown(&seen, page))?;
    site.settle(feeder, PATIENCE).map(drop)
}
