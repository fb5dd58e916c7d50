//! A real browser: Debian's Chromium, driven through its own driver (W3C WebDriver).

use crate::process::{Process, free_port};
use crate::wait;
use anyhow::{Context, Result, ensure};
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

const FORM_PATIENCE: Duration = Duration::from_secs(20);

/// How a person looks at the portal.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    pub language: &'static str,
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

impl Viewer {
    pub const PHONE_JA: Viewer = Viewer {
        language: "ja",
        width: 390,
        height: 844,
        dark: false,
    };
    pub const PHONE_EN: Viewer = Viewer {
        language: "en",
        ..Self::PHONE_JA
    };
    pub const DESKTOP_JA: Viewer = Viewer {
        language: "ja",
        width: 1280,
        height: 860,
        dark: false,
    };
    pub const DESKTOP_EN: Viewer = Viewer {
        language: "en",
        ..Self::DESKTOP_JA
    };
}

/// A browser window with a profile of its own. Closed when dropped, with its driver.
#[derive(Debug)]
pub struct Browser {
    pub client: Client,
    // Dropped last: the driver ends its browser.
    _driver: Process,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub async fn open(viewer: Viewer) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = Command::new("chromedriver");
        command
            .arg(format!("--port={port}"))
            .env("HOME", profile.path())
            .env("LANGUAGE", viewer.language);
        let driver = Process::start("chromedriver", command, &profile.path().join("driver.log"))
            .context("starting chromedriver (Debian's chromium-driver)")?;
        wait::until("chromedriver", Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        })?;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(viewer, profile.path()))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("opening Chromium")?;
        // The real viewport, not the outer window, decides the layout.
        client.set_window_size(viewer.width, viewer.height).await?;
        Ok(Self {
            client,
            _driver: driver,
            _profile: profile,
        })
    }

    pub async fn goto(&self, url: &str) -> Result<()> {
        self.client
            .goto(url)
            .await
            .with_context(|| format!("opening {url}"))
    }

    /// Goes on with the session of somebody who signed in elsewhere: cookies as a browser sends them.
    pub async fn take_over(&self, portal: &str, cookies: &str) -> Result<()> {
        for (name, value) in cookies.split("; ").filter_map(|pair| pair.split_once('=')) {
            // W3C WebDriver's own command wants a domain, which a cookie with the prefix "__Host-" must not have.
            let cookie = json!({
                "name": name, "value": value, "url": portal, "secure": true, "httpOnly": true,
            });
            let set = DevTools {
                command: "Network.setCookie",
                parameters: cookie,
            };
            let done = self.client.issue_cmd(set).await?;
            ensure!(done["success"] == true, "{name} was not taken: {done}");
        }
        Ok(())
    }

    /// Waits until an element is there.
    pub async fn see(&self, css: &str, timeout: Duration) -> Result<fantoccini::elements::Element> {
        self.client
            .wait()
            .at_most(timeout)
            .for_element(Locator::Css(css))
            .await
            .with_context(|| format!("waiting for {css}"))
    }

    /// Types into a field of the page's form.
    pub async fn fill(&self, name: &str, text: &str) -> Result<()> {
        let css = format!("input[name={name}]:not([hidden])");
        let field = self.see(&css, FORM_PATIENCE).await?;
        Ok(field.send_keys(text).await?)
    }

    /// Presses the button of the page's first form.
    pub async fn submit(&self) -> Result<()> {
        let css = "main form button";
        let button = self.see(css, FORM_PATIENCE).await?;
        Ok(button.click().await?)
    }

    /// Evaluates JavaScript, `return ...`.
    pub async fn evaluate(&self, script: &str) -> Result<Value> {
        Ok(self.client.execute(script, Vec::new()).await?)
    }

    pub async fn screenshot(&self, path: &Path) -> Result<()> {
        let png = self.client.screenshot().await?;
        std::fs::write(path, png).with_context(|| format!("writing {}", path.display()))
    }

    /// Leaves a picture of what is on the screen in the folder that `E2E_SCREENSHOTS` names, for somebody to look at.
    pub async fn keep(&self, name: &str) -> Result<()> {
        match std::env::var_os("E2E_SCREENSHOTS") {
            Some(folder) => {
                let file = Path::new(&folder).join(format!("{name}.png"));
                self.screenshot(&file).await
            }
            None => Ok(()),
        }
    }

    pub async fn close(self) -> Result<()> {
        Ok(self.client.close().await?)
    }
}

/// A command of the Chrome DevTools Protocol, by chromedriver's own addition to WebDriver.
#[derive(Debug)]
struct DevTools {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = json!({ "cmd": self.command, "params": self.parameters });
        (Method::POST, Some(body.to_string()))
    }
}

fn capabilities(viewer: Viewer, profile: &Path) -> fantoccini::wd::Capabilities {
    let mut args = vec![
        "--headless=new".to_owned(),
        "--no-sandbox".into(),
        "--disable-gpu".into(),
        "--disable-quic".into(),
        "--disable-dev-shm-usage".into(),
        "--no-first-run".into(),
        "--disable-background-networking".into(),
        "--disable-component-update".into(),
        "--disable-sync".into(),
        "--hide-scrollbars".into(),
        format!("--lang={}", viewer.language),
        format!("--user-data-dir={}", profile.join("profile").display()),
        format!("--window-size={},{}", viewer.width, viewer.height),
    ];
    if viewer.dark {
        args.push("--blink-settings=preferredColorScheme=0".into());
    }
    // Chromium makes windows no narrower than 500 px; a phone is emulated.
    let mobile = (viewer.width < 500).then(|| {
        json!({ "deviceMetrics": {
            "width": viewer.width, "height": viewer.height, "pixelRatio": 2.0, "touch": true
        } })
    });
    let mut options = json!({
        "args": args,
        "prefs": { "intl.accept_languages": viewer.language },
    });
    if let Some(mobile) = mobile {
        options["mobileEmulation"] = mobile;
    }
    let all = json!({
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "goog:chromeOptions": options,
    });
    match all {
        Value::Object(map) => map,
        _ => unreachable!("an object was just made"),
    }
}
