//! What an installer asked to hear of, as a customer sees it on a phone: zones, lines, counts, and a camera that no longer sees.

use crate::quiet::{await_stillness, camera, empty_street, number, scene};
use anyhow::{Context, Result, ensure};
use e2e::browser::{Browser, Viewer};
use e2e::film::Film;
use e2e::scene::{HEIGHT, Shows, WIDTH};
use e2e::wait;
use e2e::world::World;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);

/// The square on which people meet, and a line across the path that leads to it from the right: several go each way.
const SQUARE_AND_PATH: &str = r#"
[[camera.zone]]
name = "広場"
points = [[0.3, 0.2], [0.95, 0.2], [0.95, 1.0], [0.3, 1.0]]
loitering_seconds = 4
[[camera.line]]
name = "歩道"
from = [0.8, 1.0]
to = [0.8, 0.1]
"#;

/// A film that the camera can be switched to at once.
fn film(folder: &Path, name: &str, takes: &[(Shows, usize)]) -> Result<Arc<Film>> {
    let film = Film::encode(&scene(folder, name, takes)?)?;
    film.wait_complete();
    Ok(film)
}

/// A phone with the customer's list of events open, which is never loaded again.
async fn phone(world: &World) -> Result<Browser> {
    let browser = Browser::open(Viewer::PHONE_JA).await?;
    world.sign_in(&browser).await?;
    go(world, &browser, "/events").await?;
    Ok(browser)
}

async fn go(world: &World, browser: &Browser, page: &str) -> Result<()> {
    let portal = world.receiver.portal_url();
    browser.goto(&format!("{portal}{page}")).await
}

/// Waits for an event's card that says `words`, without loading the page; answers the event.
async fn card(browser: &Browser, words: &str) -> Result<String> {
    let script = format!(
        "return [...document.querySelectorAll('[data-event]')].find((card) => card.textContent.includes('{words}'))
            ?.dataset.event ?? null"
    );
    wait::until_async(format!("a card that says {words}"), PATIENCE, || async {
        Some(browser.evaluate(&script).await.ok()?.as_str()?.to_owned())
    })
    .await
}

/// Asks a question of the page until it answers with something.
async fn answer<T: for<'a> Deserialize<'a>>(
    browser: &Browser,
    what: &str,
    script: &str,
) -> Result<T> {
    wait::until_async(what, PATIENCE, || async {
        let value = browser.evaluate(script).await.ok()?;
        serde_json::from_value::<Option<T>>(value).ok()?
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_walks_over_the_square_is_told_with_the_zone_the_line_and_the_way_and_is_counted()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = tokio::task::block_in_place(|| empty_street(folder.path(), SQUARE_AND_PATH))?;
    let outcome = walk(&mut world, folder.path()).await;
    outcome.with_context(|| world.logs())
}

async fn walk(world: &mut World, folder: &Path) -> Result<()> {
    let browser = phone(world).await?;
    let takes = [(Shows::People, 15), (Shows::Empty, 20)];
    let people = tokio::task::block_in_place(|| film(folder, "people", &takes))?;
    let empty = Film::encode(&world.cameras.film_options())?;
    tokio::task::block_in_place(|| await_stillness(world))?;
    world.cameras.switch(people);
    card(&browser, "広場に入りました").await?;
    card(&browser, "広場に4秒以上とどまりました").await?;
    let crossed = card(&browser, "歩道の線を越えました").await?;
    wait::until_async("people to have gone both ways", PATIENCE, || async {
        let reasons = reasons(&browser).await.ok()?;
        let goes = |way| reasons.iter().any(|reason| reason.contains(&crossing(way)));
        (goes("入") && goes("出")).then_some(())
    })
    .await?;
    world.cameras.switch(empty);
    browser.keep("rules-cards").await?;

    go(world, &browser, &format!("/events/{crossed}")).await?;
    browser
        .see("svg.boxes g.own", PATIENCE)
        .await
        .context("the picture with its box")?;
    browser.keep("rules-event").await?;
    browser
        .evaluate("document.querySelector('ol.reasons').scrollIntoView({ block: 'center' })")
        .await?;
    browser.keep("rules-reasons").await?;
    let facts = browser
        .evaluate("return [...document.querySelectorAll('dl.facts')].map((facts) => facts.textContent).join(' ')")
        .await?;
    let facts = facts.as_str().unwrap_or_default();
    ensure!(facts.contains("ゾーン広場"), "{facts}");

    // Nobody is there any more, and what was counted so far is told by the stop.
    tokio::task::block_in_place(|| {
        wait::until("everybody to be gone", PATIENCE, || {
            (number(&camera(world)?, "events_open")? == 0.0).then_some(())
        })?;
        world.agent.stop()?;
        world.agent.start()?;
        wait::until("the agent's status", PATIENCE, || camera(world))?;
        world.delivered(PATIENCE)
    })?;
    counts_are_those_of_the_events(world, &browser).await?;
    browser.close().await
}

/// The chart of the camera, by its table: sums of each column over all hours.
async fn counts_are_those_of_the_events(world: &World, browser: &Browser) -> Result<()> {
    go(world, browser, "/").await?;
    let camera: String = answer(
        browser,
        "the camera's card",
        "return document.querySelector('[data-camera]')?.dataset.camera ?? null",
    )
    .await?;
    go(world, browser, &format!("/events?camera={camera}")).await?;
    let sums: BTreeMap<String, u64> = answer(
        browser,
        "the chart of counts",
        "const table = document.querySelector('[data-part=counts] table');
         if (!table) return null;
         const heads = [...table.querySelectorAll('thead th')].slice(1).map((head) => head.textContent);
         const rows = [...table.querySelectorAll('tbody tr')];
         return Object.fromEntries(heads.map((head, column) => [head, rows.reduce(
             (sum, row) => sum + Number(row.querySelectorAll('td')[column].textContent.replace(',', '')), 0)]))",
    )
    .await?;
    browser
        .evaluate("document.querySelector('[data-part=counts]').scrollIntoView()")
        .await?;
    browser.keep("rules-counts").await?;
    let drawn: Vec<String> = answer(
        browser,
        "the drawn charts",
        "return [...document.querySelectorAll('[data-part=counts] figure')]
            .filter((figure) => figure.querySelector('rect.strip-bar'))
            .map((figure) => figure.querySelector('b').textContent)",
    )
    .await?;
    for chart in ["人物", "歩道の線 · 人物", "広場 · 人物"] {
        ensure!(
            drawn.iter().any(|drawn| drawn == chart),
            "{chart}: {drawn:?}"
        );
    }

    let reasons = reasons(browser).await?;
    for way in ["入", "出"] {
        let told = reasons
            .iter()
            .filter(|reason| reason.contains(&crossing(way)))
            .count() as u64;
        let counted = sums.get(&format!("歩道の線 · 人物 {way}")).copied();
        ensure!(
            told > 0 && counted == Some(told),
            "{told} were told to go {way}: {sums:?}"
        );
    }
    let at_once = sums
        .iter()
        .find(|(head, _)| head.starts_with("広場 · 人物"));
    ensure!(
        at_once.is_some_and(|(_, most)| (2..=12).contains(most)),
        "several were on the square at a time: {sums:?}"
    );
    Ok(())
}

fn crossing(way: &str) -> String {
    format!("歩道の線を越えました（{way}）")
}

/// What the pages of all events in the open list say; a card has no room for more than three.
async fn reasons(browser: &Browser) -> Result<Vec<String>> {
    answer(
        browser,
        "the reasons of all events",
        "const ids = [...document.querySelectorAll('[data-event]')].map((card) => card.dataset.event);
         const told = await Promise.all(ids.map(async (id) => {
             const page = await (await fetch('/events/' + id)).text();
             const parsed = new DOMParser().parseFromString(page, 'text/html');
             return [...parsed.querySelectorAll('ol.reasons li')].map((reason) => reason.textContent);
         }));
         return told.flat()",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_the_lens_is_an_event_with_before_and_after_and_the_all_clear_follows()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = tokio::task::block_in_place(|| empty_street(folder.path(), ""))?;
    let outcome = cover(&mut world, folder.path()).await;
    outcome.with_context(|| world.logs())
}

async fn cover(world: &mut World, folder: &Path) -> Result<()> {
    let browser = phone(world).await?;
    let covered = tokio::task::block_in_place(|| film(folder, "covered", &[(Shows::Covered, 20)]))?;
    let empty = Film::encode(&world.cameras.film_options())?;
    tokio::task::block_in_place(|| {
        await_stillness(world)?;
        // Ten seconds, and five of the pictures that it shows every other second, make a view known.
        wait::until("the camera to know its view", PATIENCE, || {
            (number(&camera(world)?, "frames_in")? > 250.0).then_some(())
        })
    })?;
    world.cameras.switch(Arc::clone(&covered));
    let event = card(&browser, "カメラが覆われています").await?;
    browser.keep("covered-cards").await?;
    go(world, &browser, "/").await?;
    let sentence = "return document.body.textContent.includes('から覆われています') || null";
    answer::<bool>(&browser, "the overview to say so", sentence).await?;
    browser.keep("covered-overview").await?;
    go(world, &browser, &format!("/events/{event}")).await?;
    let moments: Vec<(String, Vec<u8>)> = answer(
        &browser,
        "both pictures",
        "const figures = [...document.querySelectorAll('.moments figure')].filter((figure) => figure.querySelector('img'));
         if (figures.length < 2) return null;
         return Promise.all(figures.map(async (figure) => {
             const answer = await fetch(figure.querySelector('img').src);
             return [figure.querySelector('b').textContent, [...new Uint8Array(await answer.arrayBuffer())]];
         }))",
    )
    .await?;
    browser.keep("covered-event").await?;
    let contrast = |index: usize, caption: &str| -> Result<f64> {
        let (said, jpeg) = &moments[index];
        ensure!(said == caption, "{said} in place of {caption}");
        contrast(jpeg)
    };
    let (before, after) = (contrast(0, "発生前")?, contrast(1, "発生後")?);
    ensure!(
        before > 20.0 && after < 5.0,
        "contrast before {before}, after {after}"
    );
    let page = browser.client.source().await?;
    ensure!(!page.contains("見えるようになりました"), "{page}");

    world.cameras.switch(empty);
    says(&browser, "見えるようになりました").await?;
    browser.keep("covered-clear").await?;
    go(world, &browser, "/").await?;
    says(&browser, "すべてのカメラが正常です").await?;
    a_stop_is_no_all_clear(world, &browser, covered).await?;
    browser.close().await
}

/// Nobody watches a camera that is covered: nobody knows whether it sees again.
async fn a_stop_is_no_all_clear(
    world: &mut World,
    browser: &Browser,
    covered: Arc<Film>,
) -> Result<()> {
    go(world, browser, "/events").await?;
    world.cameras.switch(covered);
    let event = card(browser, "カメラが覆われています").await?;
    tokio::task::block_in_place(|| world.agent.stop())?;
    go(world, browser, &format!("/events/{event}")).await?;
    says(browser, "継続中").await?;
    tokio::task::block_in_place(|| world.agent.start())?;
    says(browser, "見えるようになったかは不明です").await?;
    let page = browser.client.source().await?;
    ensure!(!page.contains("見えるようになりました"), "{page}");
    browser
        .evaluate("document.querySelector('ol.reasons').scrollIntoView({ block: 'center' })")
        .await?;
    browser.keep("covered-unknown").await?;
    go(world, browser, "/").await?;
    // It finds out anew, and takes its time: what has never been seen bright may be the night.
    says(browser, "見えていません").await
}

/// Waits until the page says so, loading it again: an event's own page does not change by itself.
async fn says(browser: &Browser, words: &str) -> Result<()> {
    wait::until_async(format!("the page to say {words}"), PATIENCE, || async {
        browser.client.refresh().await.ok()?;
        let page = browser.client.source().await.ok()?;
        page.contains(words).then_some(())
    })
    .await
}

/// Standard deviation of the brightness.
fn contrast(jpeg: &[u8]) -> Result<f64> {
    let picture = image::load_from_memory(jpeg)?.to_luma8();
    ensure!(picture.dimensions() == (WIDTH as u32, HEIGHT as u32));
    let count = f64::from(picture.width() * picture.height());
    let values = || picture.pixels().map(|pixel| f64::from(pixel.0[0]));
    let mean = values().sum::<f64>() / count;
    Ok((values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}
