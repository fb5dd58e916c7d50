//! What leaves the box: as much as asked, and no secret in it.

#![allow(clippy::unwrap_used)]

use super::*;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use tracing_subscriber::layer::SubscriberExt;

const AT: UtcMicros = UtcMicros(1_795_392_000_000_000);
const HIDDEN: [&str; 5] = [
    "hidden-anna",
    "hidden-word",
    "hidden-token",
    "hidden-ben",
    "hidden-other",
];

fn config(data_dir: &Path) -> Config {
    let mut config: Config = toml::from_str(
        r#"
        [[camera]]
        id = "00000000-0000-0000-0000-000000000001"
        name = "gate"
        url = "rtsp://hidden-anna:hidden-word@10.0.0.12/live?token=hidden-token"
        user = "hidden-ben"
        password = "hidden-other"
        "#,
    )
    .unwrap();
    config.device.data_dir = data_dir.to_owned();
    config
}

/// A log in which somebody was careless.
fn careless() -> RecentLog {
    let recent = RecentLog::default();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(recent.clone())
        .with_ansi(false);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info!(
            "camera gate connects to rtsp://hidden-anna:hidden-word@10.0.0.12/live?token=hidden-token"
        );
        tracing::warn!(user = "hidden-ben", "login hidden-other was refused");
        tracing::info!("the last line");
    });
    recent
}

fn agent(data_dir: &Path) -> Diagnostics {
    let file = data_dir.join("edge-agent.toml");
    Diagnostics::of_agent(&config(data_dir), &file, careless(), AT)
}

fn unpacked(bundle: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(bundle));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

#[tokio::test]
async fn an_excerpt_is_as_long_as_asked_and_says_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = agent(dir.path()).log(1, None, AT).await.unwrap();
    assert_eq!(log.lines, 1);
    let lines: Vec<&str> = log.text.lines().collect();
    assert_eq!(lines.len(), 2, "{}", log.text);
    assert!(
        lines[0].starts_with("# edge-agent ") && lines[0].contains("2026-11-23"),
        "{}",
        lines[0]
    );
    assert!(lines[1].ends_with("the last line"), "{}", lines[1]);
    let none = agent(dir.path()).log(0, None, AT).await.unwrap();
    assert_eq!((none.lines, none.text.lines().count()), (0, 1));
}

#[tokio::test]
async fn no_secret_of_the_configuration_is_in_what_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let agent = agent(dir.path());
    let bundle = agent.bundle(AT).await.unwrap();
    let parts = unpacked(&bundle.bytes);
    // This program is the tests and has no such commands: that is said, and the rest is there.
    for part in ["about.txt", "log.txt", "configuration.txt", "machine.txt"] {
        assert!(
            parts.contains_key(&format!("support/{part}")),
            "{part} of {:?}",
            parts.keys()
        );
    }
    let excerpt = agent.log(100, None, AT).await.unwrap().text;
    let texts = parts.values().chain([&excerpt]);
    for text in texts {
        for secret in HIDDEN {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }
    assert!(
        excerpt.contains("rtsp://***@10.0.0.12"),
        "what is no secret stays: {excerpt}"
    );
    assert!(parts["support/configuration.txt"].contains("gate"));
    assert!(!bundle.missing.is_empty());
    for why in &bundle.missing {
        assert!(parts["support/about.txt"].contains(why), "{why}");
    }
}
