//! Pictures of every page of the portal as the demo fills it: phone and desktop, Japanese and English.
//!
//! For the eyes of whoever changed a page, and for the README. Beside each picture it checks what a machine can:
//! nothing is wider than the window.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use cloud_receiver::auth::totp::Secret;
use e2e::browser::{Browser, Viewer};
use e2e::camera::CameraOptions;
use e2e::film::FilmOptions;
use e2e::operator;
use e2e::wait;
use e2e::world::{World, film};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(about = "Takes pictures of every page of the portal")]
struct Args {
    /// Folder for the pictures.
    #[arg(long, default_value = "target/screenshots")]
    out: PathBuf,
    #[arg(long, default_value_t = 4)]
    cameras: usize,
    /// How many events to wait for before the first picture.
    #[arg(long, default_value_t = 12)]
    events: usize,
}

/// Long enough to be told of.
const OUTAGE: Duration = Duration::from_secs(60);

const VIEWERS: [(&str, Viewer); 5] = [
    ("desktop-ja", Viewer::DESKTOP_JA),
    ("desktop-en", Viewer::DESKTOP_EN),
    ("phone-ja", Viewer::PHONE_JA),
    ("phone-en", Viewer::PHONE_EN),
    (
        "phone-ja-dark",
        Viewer {
            dark: true,
            ..Viewer::PHONE_JA
        },
    ),
];

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.out)?;
    let folder = tempfile::tempdir()?;
    let options = CameraOptions {
        cameras: args.cameras,
        ..CameraOptions::new(FilmOptions::new(film()))
    };
    let world = tokio::task::block_in_place(|| World::start_in(folder.path(), options, 15))?;
    // A real outage, so that the timeline has a gap to show.
    tokio::time::sleep(OUTAGE).await;
    world.cameras.stall();
    tokio::time::sleep(OUTAGE).await;
    world.cameras.resume();
    let issued = world.receiver.operator["operator_password"].as_str();
    let mut operator_password = issued.context("what init printed")?.to_owned();
    for (name, viewer) in VIEWERS {
        let browser = Browser::open(viewer).await?;
        let camera = Photographer {
            browser: &browser,
            folder: &args.out,
            viewer: name,
        };
        let outcome = async {
            customer_pages(&world, &browser, &args, &camera).await?;
            operator_pages(&world, &browser, &camera, &mut operator_password).await
        };
        outcome.await.with_context(|| format!("as {name}"))?;
        browser.close().await?;
    }
    println!("pictures are in {}", args.out.display());
    Ok(())
}

async fn customer_pages(
    world: &World,
    browser: &Browser,
    args: &Args,
    camera: &Photographer<'_>,
) -> Result<()> {
    let portal = world.receiver.portal_url();
    browser.goto(&format!("{portal}/sign-in")).await?;
    camera.take("sign-in").await?;
    world.sign_in(browser).await?;
    enough_events(world, browser, args.events).await?;
    browser.goto(&portal).await?;
    camera.take("overview").await?;
    browser.goto(&format!("{portal}/events")).await?;
    camera.take("events").await?;
    let event = browser
        .evaluate("return document.querySelector('[data-event]:has(img)').dataset.event")
        .await?;
    let event = event.as_str().context("an event with a picture")?;
    browser.goto(&format!("{portal}/events/{event}")).await?;
    camera.take("event").await?;
    browser.goto(&format!("{portal}/account")).await?;
    camera.take("account").await?;
    browser.goto(&format!("{portal}/password")).await?;
    camera.take("password").await?;
    browser.goto(&format!("{portal}/no-such-page")).await?;
    camera.take("not-found").await
}

/// The issued password must be changed at the first sign-in; later viewers use the chosen one.
async fn operator_pages(
    world: &World,
    browser: &Browser,
    camera: &Photographer<'_>,
    password: &mut String,
) -> Result<()> {
    const CHOSEN: &str = "correct horse battery staple";
    let portal = world.receiver.portal_url();
    browser.goto(&format!("{portal}/operator/sign-in")).await?;
    camera.take("operator-sign-in").await?;
    // Each viewer sees it set up anew.
    let reset = ["operator", "reset-second-factor", "--login-id", "operator"];
    world.receiver.command(&reset)?;
    browser.fill("login_id", "operator").await?;
    browser.fill("password", password).await?;
    browser.submit().await?;
    browser
        .see("form[action$=begin]", Duration::from_secs(20))
        .await?;
    browser.submit().await?;
    browser.see("#secret", Duration::from_secs(20)).await?;
    camera.take("operator-second-factor").await?;
    let secret = browser
        .evaluate("return document.getElementById('secret').textContent")
        .await?;
    let secret = secret.as_str().and_then(Secret::from_base32);
    let secret = secret.context("the page shows no secret")?;
    browser.fill("code", &operator::code(&secret)).await?;
    browser.submit().await?;
    browser.see(".recovery", Duration::from_secs(20)).await?;
    browser.goto(&format!("{portal}/operator")).await?;
    if password != CHOSEN {
        browser
            .see("input[name=repeated]", Duration::from_secs(20))
            .await?;
        camera.take("operator-password").await?;
        browser.fill("current", password).await?;
        browser.fill("new", CHOSEN).await?;
        browser.fill("repeated", CHOSEN).await?;
        browser.submit().await?;
        CHOSEN.clone_into(password);
    }
    browser
        .see("form[action*=picture]", Duration::from_secs(20))
        .await?;
    camera.take("operator").await
}

async fn enough_events(world: &World, browser: &Browser, events: usize) -> Result<()> {
    browser
        .goto(&format!("{}/events", world.receiver.portal_url()))
        .await?;
    wait::until_async(
        "enough events with pictures",
        Duration::from_secs(180),
        || async {
            let shown = browser
                .evaluate("return document.querySelectorAll('[data-event] img').length")
                .await
                .ok()?;
            (shown.as_u64()? >= events as u64).then_some(())
        },
    )
    .await
}

struct Photographer<'a> {
    browser: &'a Browser,
    folder: &'a Path,
    viewer: &'a str,
}

impl Photographer<'_> {
    async fn take(&self, page: &str) -> Result<()> {
        // Pictures and fonts first: a page is looked at when it is there.
        self.browser
            .evaluate("await document.fonts.ready; await Promise.all([...document.images].filter((image) => image.loading !== 'lazy').map((image) => image.decode().catch(() => {}))); return 1")
            .await?;
        let file = self.folder.join(format!("{page}-{}.png", self.viewer));
        self.browser.screenshot(&file).await?;
        let wide = self
            .browser
            .evaluate("return document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
            .await?;
        ensure!(
            wide.as_i64() == Some(0),
            "{page} is {wide} px wider than the window"
        );
        Ok(())
    }
}
