//! The product's whole sentence: a camera's stream in, a picture with boxes in a customer's browser out.

use anyhow::{Context, Result, ensure};
use e2e::browser::{Browser, Viewer};
use e2e::wait;
use e2e::world::World;
use edge_agent::config::{AnalysisConfig, ModelConfig};
use edge_agent::detect::{Detector, OnnxDetector};
use edge_agent::frame::Frame;
use fantoccini::Locator;
use serde::Deserialize;
use std::time::Duration;
use wire::record::NormBox;
use wire::{BootId, CameraId, ClockStamp, RecordTime, UtcMicros};

/// A cold start on a busy machine, with the browser beside it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A box as the page draws it, in the picture's pixels.
#[derive(Debug, Deserialize)]
struct Drawn {
    /// It is the event's own object.
    own: bool,
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walker_on_the_street_appears_live_in_the_browser_with_a_box_around_him() -> Result<()> {
    let mut world = tokio::task::block_in_place(|| World::start(1, 60))?;
    let outcome = watch(&world).await;
    outcome.with_context(|| world.logs())
}

async fn watch(world: &World) -> Result<()> {
    let browser = Browser::open(Viewer::DESKTOP_JA).await?;
    world.sign_in(&browser).await?;
    let portal = world.receiver.portal_url();
    browser.goto(&format!("{portal}/events")).await?;
    // Gone if the page is loaded again.
    browser
        .evaluate("window.notReloaded = true; window.before = new Set([...document.querySelectorAll('[data-event]')].map((card) => card.dataset.event))")
        .await?;
    let id = wait::until_async("an event to appear live", PATIENCE, || async {
        let new = browser
            .evaluate("return [...document.querySelectorAll('[data-event]')].filter((card) => card.textContent.includes('人物')).map((card) => card.dataset.event).find((id) => !window.before.has(id)) ?? null")
            .await
            .ok()?;
        new.as_str().map(String::from)
    })
    .await?;
    ensure!(
        browser
            .evaluate("return window.notReloaded === true")
            .await?
            == true,
        "the page was loaded again instead of being told"
    );

    // The card gets its picture without reloading, too.
    let with_picture = format!("[data-event=\"{id}\"] img, [data-event=\"{id}\"] image");
    browser.see(&with_picture, PATIENCE).await?;
    let link = browser
        .client
        .find(Locator::Css(&format!("[data-event=\"{id}\"] a")))
        .await?;
    link.click().await?;
    browser
        .see(&format!("[data-event-page=\"{id}\"] svg.boxes g"), PATIENCE)
        .await?;

    let boxes = browser
        .evaluate(
            "return [...document.querySelectorAll('svg.boxes g[data-class=person] rect.line')].map((rect) => ({
                own: rect.parentElement.classList.contains('own'), x: rect.x.baseVal.value, y: rect.y.baseVal.value,
                width: rect.width.baseVal.value, height: rect.height.baseVal.value }))",
        )
        .await?;
    let boxes: Vec<Drawn> = serde_json::from_value(boxes)?;
    let picture = browser
        .evaluate(
            "const image = document.querySelector('[data-event-page] img');
             const answer = await fetch(image.src);
             return [...new Uint8Array(await answer.arrayBuffer())]",
        )
        .await?;
    let picture: Vec<u8> = serde_json::from_value(picture)?;
    boxes_are_where_people_are(&boxes, &picture)?;

    let page = browser.client.source().await?;
    ensure!(
        page.contains("検証済み"),
        "the event is not called verified"
    );
    browser.close().await
}

/// Asks another network than the agent's (YOLOX-Nano) where it sees people in the very picture that is shown.
fn boxes_are_where_people_are(boxes: &[Drawn], jpeg: &[u8]) -> Result<()> {
    ensure!(!boxes.is_empty(), "no boxes are drawn");
    let Some(mut judge) = another_network()? else {
        return Ok(());
    };
    let picture = image::load_from_memory(jpeg)?.to_rgb8();
    let (width, height) = picture.dimensions();
    let time = RecordTime {
        captured_at_us: UtcMicros(0),
        boot_id: BootId(uuid::Uuid::nil()),
        boottime_ns: 0,
        clock: ClockStamp::UNSYNCED,
    };
    let camera = CameraId(uuid::Uuid::nil());
    let frame = Frame::from_rgb(camera, time, width, height, picture.into_raw());
    let people = judge.detect(&frame, &[])?.detections;
    #[allow(clippy::cast_precision_loss)]
    let (width, height) = (width as f32, height as f32);
    let mut strangers = 0;
    for drawn in boxes {
        let rect = NormBox {
            x: drawn.x / width,
            y: drawn.y / height,
            w: drawn.width / width,
            h: drawn.height / height,
        };
        let overlaps = people.iter().map(|person| iou(person.rect, rect));
        if overlaps.fold(0.0, f32::max) < 0.5 {
            ensure!(
                !drawn.own,
                "the event's own box {rect:?} is where another network sees nobody"
            );
            strangers += 1;
        }
    }
    // Two networks need not agree on everybody in the distance, but on most.
    ensure!(
        strangers * 3 <= boxes.len(),
        "{strangers} of {} boxes are drawn where another network sees nobody",
        boxes.len()
    );
    Ok(())
}

fn iou(a: NormBox, b: NormBox) -> f32 {
    let width = (a.x + a.w).min(b.x + b.w) - a.x.max(b.x);
    let height = (a.y + a.h).min(b.y + b.h) - a.y.max(b.y);
    let common = width.max(0.0) * height.max(0.0);
    common / (a.w * a.h + b.w * b.h - common)
}

/// YOLOX-Nano, which may not be shipped; without it the check is skipped, loudly, and fails in CI.
fn another_network() -> Result<Option<OnnxDetector>> {
    let Some(folder) = e2e::testdata::yolox_folder()? else {
        return Ok(None);
    };
    let model = ModelConfig {
        dir: folder.path().to_owned(),
        runtime_library: Some(e2e::agent::onnxruntime()),
        ..ModelConfig::default()
    };
    let analysis = AnalysisConfig {
        classes: vec!["person".into()],
        // A second opinion on a place somebody named already: weak evidence is enough.
        min_score: Some(0.2),
        ..AnalysisConfig::default()
    };
    Ok(Some(OnnxDetector::open(&model, &analysis)?))
}
