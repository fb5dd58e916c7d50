//! Logging: to journald when systemd runs us, readable on a terminal otherwise. And the one function that takes
//! credentials out of an address before anybody prints it.

use anyhow::Context;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged when nobody says otherwise: our state changes, and other crates' warnings.
const DEFAULT_FILTER: &str = "warn,edge_agent=info";
/// Names the filter where `--log` is not given.
pub const FILTER_VARIABLE: &str = "EDGE_AGENT_LOG";

/// Installs logging for this process. `filter` is `--log`: a level, or `target=level` pairs.
pub fn init(filter: Option<&str>) -> anyhow::Result<()> {
    let from_environment = std::env::var(FILTER_VARIABLE).ok();
    let text = filter.or(from_environment.as_deref());
    let filter = text.map_or(Ok(EnvFilter::new(DEFAULT_FILTER)), |text| {
        EnvFilter::try_new(widen(text))
            .with_context(|| format!("cannot read the log filter \"{text}\"; try --log debug"))
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal).init();
        return Ok(());
    }
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    registry.with(terminal).init();
    Ok(())
}

/// A bare level means our own code: other crates' debug output drowns it.
fn widen(text: &str) -> String {
    let text = text.trim();
    if text.contains(['=', ',', '[']) {
        text.to_owned()
    } else {
        format!("warn,edge_agent={text}")
    }
}

/// systemd names device and inode of the journal's stream; a redirected stderr differs (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/dev/stderr")
        .is_ok_and(|stderr| named == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// An address without user and password, readable even where it is no valid URL. Rather hides too much: a
/// password may hold any symbol, so everything up to the last `@` goes.
pub fn redact(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_survives() {
        for (url, expected) in [
            ("rtsp://10.0.0.1/a", "rtsp://10.0.0.1/a"),
            ("rtsp://u:p@10.0.0.1:554/a", "rtsp://***@10.0.0.1:554/a"),
            ("rtsp://u:p@ss/w#rd@h/a", "rtsp://***@h/a"),
            ("u:p@h/a", "***@h/a"),
            ("", ""),
        ] {
            assert_eq!(redact(url), expected, "{url}");
        }
    }

    #[test]
    fn a_bare_level_is_ours_alone() {
        assert_eq!(widen("debug"), "warn,edge_agent=debug");
        assert_eq!(widen("debug,rumqttc=off"), "debug,rumqttc=off");
    }
}
