//! Every page that can be reached by following links, as people meet it who see little or nothing, use a keyboard, or hold
//! a phone: judged by axe-core against WCAG 2.2 AA in a real browser.
//!
//! No page is named here but those that no link leads to: what a link leads to is found, so that a new page is looked at
//! from its first day.

use anyhow::{Context, Result, ensure};
use e2e::browser::{Browser, Viewer};
use e2e::customer::Customer;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::site::Site;
use e2e::operator::Operator;
use e2e::wait;
use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Pinned in `scripts/setup.sh`, which fetches it.
const AXE: &str = "../.cache/axe/axe-4.11.1.min.js";

/// Any two of language, size and colours meet in one of these.
const VIEWERS: [Viewer; 4] = [
    Viewer::PHONE_JA,
    Viewer {
        dark: true,
        ..Viewer::DESKTOP_JA
    },
    Viewer {
        dark: true,
        ..Viewer::PHONE_EN
    },
    Viewer::DESKTOP_EN,
];

/// Violations as lines, and how much wider than the window the page is.
const JUDGE: &str = "
    const done = arguments[0];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const told = (found) => found.violations.flatMap((rule) => rule.nodes.map(
        (node) => `${rule.id}: ${node.target.join(' ')}: ${node.failureSummary}`));
    axe.run(document, { runOnly: tags }).then((found) => {
        const wide = document.scrollingElement.scrollWidth - document.documentElement.clientWidth;
        done(wide > 0 ? [...told(found), `${wide} px wider than the window`] : told(found));
    }, (error) => done([String(error)]));";

const LINKS: &str = "
    return [...document.querySelectorAll('a[href]')]
        .filter((link) => link.origin === location.origin && !link.hasAttribute('download'))
        .map((link) => link.pathname + link.search)";

/// A site with events of every kind that its feeder makes, a tag, a notice, and somebody on each side of the portal.
struct Scene {
    site: Site,
    customer: Customer,
    operator: Operator,
}

impl Scene {
    async fn new() -> Result<Self> {
        let site = tokio::task::block_in_place(site_with_events)?;
        let customer = Customer::sign_in(&site.receiver, &site.account).await?;
        let operator = Operator::first_sign_in(&site.receiver).await?;
        Ok(Self {
            site,
            customer,
            operator,
        })
    }

    /// Only pages are looked at: no files, no pictures.
    async fn is_page(&self, path: &str) -> Result<bool> {
        let answer = match path.starts_with("/operator") {
            true => self.operator.get(path).await?,
            false => self.customer.get(path).await?,
        };
        let kind = answer.headers().get("content-type");
        let kind = kind.and_then(|kind| kind.to_str().ok());
        Ok(!answer.status().is_redirection()
            && kind.is_some_and(|kind| kind.starts_with("text/html")))
    }
}

fn site_with_events() -> Result<Site> {
    let site = Site::new()?;
    let mut feeder = site.start_feeder(&Options::default())?;
    let feed = Feed {
        events: 30,
        picture_every: 5,
        ..Feed::default()
    };
    feeder.put_all(feed, PATIENCE)?;
    feeder.drained(PATIENCE)?;
    feeder.stop()?;
    let contact = ["contract", "set", "契約", "--contact", "soumu@example.jp"];
    site.receiver.command(&contact)?;
    let notice = [
        "notice",
        "incident",
        "--what",
        "通信障害が発生しています。",
        "--since",
        "2026-11-01T10:00",
        "--yes",
    ];
    site.receiver.command(&notice)?;
    Ok(site)
}

/// One of each kind: identifiers and numbers in a path make no other page, nor does what is asked for.
fn kind_of(address: &str) -> String {
    let path = address.split('?').next().unwrap_or_default();
    let segments = path.split('/').map(|segment| {
        let is_id = segment.contains(|letter: char| letter.is_ascii_digit());
        if is_id { "*" } else { segment }
    });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_on_phone_and_desktop_in_both_languages_light_and_dark()
-> Result<()> {
    let axe = std::fs::read_to_string(AXE).context("run scripts/setup.sh test")?;
    let scene = Scene::new().await?;
    let mut problems = Vec::new();
    for viewer in VIEWERS {
        let browser = Browser::open(viewer).await?;
        let seen = visit_all(&scene, &browser, &axe, &mut problems).await;
        let seen = seen.with_context(|| format!("as {viewer:?}"))?;
        browser.close().await?;
        for page in [
            "/",
            "/events/*",
            "/charts",
            "/account",
            "/security",
            "/operator",
        ] {
            ensure!(
                seen.contains(page),
                "no link led to {page}: only to {seen:?}"
            );
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Answers the kinds of pages that were judged.
async fn visit_all(
    scene: &Scene,
    browser: &Browser,
    axe: &str,
    problems: &mut Vec<String>,
) -> Result<BTreeSet<String>> {
    let portal = scene.site.receiver.portal_url();
    let mut seen = BTreeSet::new();
    for door in ["/sign-in", "/operator/sign-in", "/offline"] {
        browser.goto(&format!("{portal}{door}")).await?;
        judge(browser, axe, door, problems).await?;
        seen.insert(door.to_owned());
    }
    browser.take_over(&portal, scene.customer.cookies()).await?;
    browser
        .take_over(&portal, &scene.operator.cookies())
        .await?;
    let begins = ["/", "/operator", "/no-such-page", "/operator/no-such-page"];
    let mut ahead: VecDeque<String> = begins.map(String::from).into();
    while let Some(address) = ahead.pop_front() {
        if !seen.insert(kind_of(&address)) || !scene.is_page(&address).await? {
            continue;
        }
        browser.goto(&format!("{portal}{address}")).await?;
        judge(browser, axe, &address, problems).await?;
        let links = browser.evaluate(LINKS).await?;
        let links: Vec<String> = serde_json::from_value(links)?;
        ahead.extend(
            links
                .into_iter()
                .filter(|link| !seen.contains(&kind_of(link))),
        );
    }
    Ok(seen)
}

async fn judge(browser: &Browser, axe: &str, page: &str, problems: &mut Vec<String>) -> Result<()> {
    browser.client.execute(axe, Vec::new()).await?;
    let found = browser.client.execute_async(JUDGE, Vec::new()).await?;
    let found: Vec<String> = serde_json::from_value(found)?;
    let at = browser
        .evaluate("return document.documentElement.lang + ' ' + innerWidth")
        .await?;
    problems.extend(
        found
            .into_iter()
            .map(|problem| format!("{page} ({at}): {problem}")),
    );
    Ok(())
}

/// From a share of the strip to another, with the button held.
async fn draw_over_the_strip(browser: &Browser, shares: [f64; 2]) -> Result<()> {
    let place = "const box = document.querySelector('.strip-zoom').getBoundingClientRect();
        return [box.left, box.width, box.top + box.height / 2]";
    let place: [f64; 3] = serde_json::from_value(browser.evaluate(place).await?)?;
    let to = |share: f64| PointerAction::MoveTo {
        duration: Some(Duration::from_millis(100)),
        x: place[0] + place[1] * share,
        y: place[2],
    };
    let button = fantoccini::actions::MOUSE_BUTTON_LEFT;
    let drag = MouseActions::new("mouse".into())
        .then(to(shares[0]))
        .then(PointerAction::Down { button })
        .then(to(shares[1]))
        .then(PointerAction::Up { button });
    Ok(browser.client.perform_actions(drag).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_day_that_is_drawn_over_opens_larger() -> Result<()> {
    let site = tokio::task::block_in_place(site_with_events)?;
    let customer = Customer::sign_in(&site.receiver, &site.account).await?;
    let browser = Browser::open(Viewer::DESKTOP_EN).await?;
    let portal = site.receiver.portal_url();
    browser.take_over(&portal, customer.cookies()).await?;
    // The strip of a day long ago: all of it is past, none of it changes.
    let day = format!("{portal}/events?day=2026-11-01");
    for (shares, expected) in [
        // Of 24 hours six to twelve, as five minutes round it; also from right to left.
        ([0.252, 0.498], "from=06%3A00&to=12%3A00"),
        ([0.498, 0.252], "from=06%3A00&to=12%3A00"),
        // To the end of the day, which needs no word.
        ([0.752, 0.998], "from=18%3A00"),
    ] {
        browser.goto(&day).await?;
        browser.see(".strip-zoom a", PATIENCE).await?;
        draw_over_the_strip(&browser, shares).await?;
        let zoomed = format!("{day}&{expected}");
        let at = wait::until_async("the part of the day", PATIENCE, || async {
            let at = browser.client.current_url().await.ok()?;
            (at.as_str() != day).then_some(at)
        });
        let at = at.await?;
        let query = |address: &str| -> BTreeSet<String> {
            let (_, query) = address.split_once('?').unwrap_or_default();
            query.split('&').map(str::to_owned).collect()
        };
        ensure!(query(at.as_str()) == query(&zoomed), "{at} is not {zoomed}");
    }
    browser.close().await
}
