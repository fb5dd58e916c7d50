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
use e2e::receiver::Receiver;
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
    /// Only the operators' area, without waiting for events.
    #[arg(long)]
    operators: bool,
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
    if args.operators {
        let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
        receiver.serve()?;
        receiver.customer("株式会社みなと物流", "横浜倉庫", "minato-01")?;
        let mut stage = Stage::new(&receiver, folder.path())?;
        for (name, viewer) in VIEWERS {
            let browser = Browser::open(viewer).await?;
            let camera = Photographer {
                browser: &browser,
                folder: &args.out,
                viewer: name,
            };
            let outcome = stage.operator_pages(&browser, &camera).await;
            outcome.with_context(|| format!("as {name}"))?;
            browser.close().await?;
        }
        println!("pictures are in {}", args.out.display());
        return Ok(());
    }
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
    let mut stage = Stage::new(&world.receiver, folder.path())?;
    for (name, viewer) in VIEWERS {
        let browser = Browser::open(viewer).await?;
        let camera = Photographer {
            browser: &browser,
            folder: &args.out,
            viewer: name,
        };
        let outcome = async {
            customer_pages(&world, &browser, &args, &camera).await?;
            stage.operator_pages(&browser, &camera).await
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

/// Over, and nobody has said that work is done.
const ENDED: &str = "やまと商店";

/// What the operators' area has to tell: ended contracts, a hold, an erasure, notices, a backup.
struct Stage<'a> {
    receiver: &'a Receiver,
    password: String,
    contract: String,
    held: String,
    ended: String,
    erasure: String,
    hold: String,
    notice: String,
}

impl<'a> Stage<'a> {
    fn new(receiver: &'a Receiver, folder: &Path) -> Result<Self> {
        let run = |args: &[&str]| receiver.command(args);
        let text = |value: &serde_json::Value, key: &str| {
            let found = value[key].as_str().map(str::to_owned);
            found.with_context(|| format!("no {key} in {value}"))
        };
        for name in ["有限会社みどり商会", "株式会社あおば", "旧契約", ENDED] {
            run(&["contract", "add", "--name", name])?;
        }
        run(&["contract", "end", ENDED, "--on", "2026-01-31", "--yes"])?;
        run(&["operator", "add", "--login-id", "sato"])?;
        for name in ["有限会社みどり商会", "株式会社あおば"] {
            run(&["contract", "end", name, "--on", "2026-01-31", "--yes"])?;
            run(&["contract", "done", name, "--yes"])?;
        }
        let why = "訴訟のため（法務部より依頼）";
        let hold = run(&[
            "hold",
            "add",
            "--contract",
            "有限会社みどり商会",
            "--why",
            why,
        ])?;
        run(&[
            "erase",
            "run",
            "旧契約",
            "--now",
            "--why",
            "written request",
            "--yes",
            "--wait-for-devices",
            "0",
        ])?;
        let erasures = run(&["erase", "list"])?;
        let listed = run(&["contract", "list"])?;
        let id_of = |wanted: &dyn Fn(&str) -> bool| {
            let rows = listed.as_array().into_iter().flatten();
            let mut rows = rows.filter(|row| row["name"].as_str().is_some_and(wanted));
            rows.next()
                .and_then(|row| row["id"].as_str())
                .map(str::to_owned)
        };
        let held = id_of(&|name| name == "有限会社みどり商会").context("the held contract")?;
        let ended = id_of(&|name| name == ENDED).context("the ended contract")?;
        let others = ["有限会社みどり商会", "株式会社あおば", ENDED];
        let contract = id_of(&|name| !others.contains(&name));
        let contract = contract.context("the contract with cameras")?;
        run(&[
            "contract",
            "set",
            &contract,
            "--contact",
            "admin@example.jp",
        ])?;
        let later = |days: i64| {
            let at = jiff::Zoned::now().saturating_add(jiff::Span::new().days(days));
            at.strftime("%Y-%m-%dT22:00").to_string()
        };
        let (from, to) = (later(20), later(21));
        let impact = "ポータルを30分ほどご利用いただけません。";
        let notice = run(&[
            "notice",
            "maintenance",
            "--from",
            &from,
            "--to",
            &to,
            "--impact",
            impact,
            "--contract",
            &contract,
            "--yes",
        ])?;
        let out = folder.join("backups").to_string_lossy().into_owned();
        run(&["backup", "--out", &out])?;
        run(&["backup", "verify", "--from", &out])?;
        let issued = receiver.operator["operator_password"].as_str();
        Ok(Self {
            receiver,
            password: issued.context("what init printed")?.to_owned(),
            contract,
            held,
            ended,
            erasure: text(&erasures[0], "id")?,
            hold: text(&hold, "id")?,
            notice: text(&notice["notice"], "id")?,
        })
    }

    /// The issued password must be changed at the first sign-in; later viewers use the chosen one.
    async fn operator_pages(&mut self, browser: &Browser, camera: &Photographer<'_>) -> Result<()> {
        const CHOSEN: &str = "correct horse battery staple";
        let portal = self.receiver.portal_url();
        let password = &mut self.password;
        browser.goto(&format!("{portal}/operator/sign-in")).await?;
        camera.take("operator-sign-in").await?;
        // Each viewer sees it set up anew.
        let reset = ["operator", "reset-second-factor", "--login-id", "operator"];
        self.receiver.command(&reset)?;
        browser.fill("login_id", "operator").await?;
        browser.fill("password", &*password).await?;
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
        browser.fill("password", &*password).await?;
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
        browser.goto(&format!("{portal}/operator/devices")).await?;
        camera.take("operator-devices").await?;
        self.pages(browser, camera).await
    }

    async fn pages(&self, browser: &Browser, camera: &Photographer<'_>) -> Result<()> {
        let Self {
            contract,
            held,
            ended,
            erasure,
            hold,
            notice,
            ..
        } = self;
        let pages = [
            ("start", String::new()),
            ("alerts", "/alerts".into()),
            ("contracts", "/contracts".into()),
            ("contract", format!("/contracts/{contract}")),
            ("terms", format!("/contracts/{contract}/terms")),
            ("ending", format!("/contracts/{contract}/ending")),
            ("ending-held", format!("/contracts/{held}/ending")),
            ("ending-asks", format!("/contracts/{ended}/ending")),
            ("places", format!("/contracts/{contract}/places")),
            ("hold-remove", format!("/holds/{hold}/remove")),
            ("erasures", "/erasures".into()),
            ("erasure", format!("/erasures/{erasure}")),
            ("notices", "/notices".into()),
            ("notice", format!("/notices/{notice}")),
            ("notice-end", format!("/notices/{notice}/end")),
            ("notice-maintenance", "/notices/maintenance".into()),
            ("notice-incident", "/notices/incident".into()),
            ("letters", "/letters".into()),
            ("letter", "/letters/maintenance.ja".into()),
            ("operators", "/operators".into()),
            ("operator-remove", "/operators/sato/remove".into()),
            ("keys", "/keys".into()),
            ("account", "/password".into()),
            ("mail", "/mail".into()),
            ("mail-one", "/mail/1".into()),
            ("receiver", "/receiver".into()),
            ("audit", "/audit".into()),
        ];
        let area = format!("{}/operator", self.receiver.portal_url());
        for (name, path) in pages {
            browser.goto(&format!("{area}{path}")).await?;
            camera.take(&format!("operator-{name}")).await?;
            camera.take_rest(&format!("operator-{name}")).await?;
        }
        Ok(())
    }
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
    /// What is below the first view, where there is more.
    async fn take_rest(&self, page: &str) -> Result<()> {
        let script = "const all = document.scrollingElement; all.scrollTo(0, all.scrollHeight); return all.scrollTop";
        let below = self.browser.evaluate(script).await?;
        if below.as_f64() == Some(0.0) {
            return Ok(());
        }
        let file = self.folder.join(format!("{page}-{}-end.png", self.viewer));
        self.browser.screenshot(&file).await
    }

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
