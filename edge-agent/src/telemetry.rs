//! Logging: to journald when systemd runs us, readable on a terminal otherwise, and always to memory, for whoever asks from
//! afar. And the one function that takes credentials out of an address before anybody prints it.

mod recent;

pub use recent::{Excerpt, RecentLog};

use anyhow::Context;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Name the filter where `--log` is not given; the first that is set counts.
pub const FILTER_VARIABLES: [&str; 2] = ["EDGE_AGENT_LOG", "RUST_LOG"];

/// What is logged when nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// Our state changes, and other crates' warnings.
    Service,
    /// Nothing: the command itself says what there is to say.
    Command,
}

impl Talk {
    fn filter(self) -> &'static str {
        match self {
            Talk::Service => "warn,edge_agent=info",
            Talk::Command => "off",
        }
    }
}

/// Installs logging for this process. `filter` is `--log`: a level, or `target=level` pairs. What is given back fills as
/// the process logs.
pub fn init(filter: Option<&str>, talk: Talk) -> anyhow::Result<RecentLog> {
    let from_environment = FILTER_VARIABLES
        .iter()
        .filter(|_| talk == Talk::Service)
        .find_map(|variable| std::env::var(variable).ok());
    let text = filter.or(from_environment.as_deref());
    let filter = text.map_or(Ok(EnvFilter::new(talk.filter())), |text| {
        EnvFilter::try_new(widen(text))
            .with_context(|| format!("cannot read the log filter \"{text}\"; try --log debug"))
    })?;
    let recent = RecentLog::default();
    let memory = tracing_subscriber::fmt::layer()
        .with_writer(recent.clone())
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter).with(memory);
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal).init();
        return Ok(recent);
    }
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    registry.with(terminal).init();
    Ok(recent)
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
pub(crate) fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stderr| named == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// Of an address only scheme, host and port, readable even where it is no valid URL. Rather hides too much: some
/// cameras want their login in the path or the query, and where an `@` stands behind a slash, nobody can tell the host
/// from a password that holds a slash.
pub fn redact(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        _ if behind.contains('@') => format!("{scheme}***"),
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => format!("{scheme}{authority}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_survives() {
        for (url, expected) in [
            ("rtsp://10.0.0.1/a", "rtsp://10.0.0.1"),
            ("rtsp://u:p@10.0.0.1:554/a", "rtsp://***@10.0.0.1:554"),
            ("rtsp://h/user=u&password=p&channel=1", "rtsp://h"),
            ("rtsp://h:554?user=u&password=p", "rtsp://h:554"),
            ("rtsp://u:p@ss@h/a", "rtsp://***@h"),
            ("rtsp://u:p@ss/w#rd@h/a", "rtsp://***"),
            ("u:p@h/a", "***@h"),
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
