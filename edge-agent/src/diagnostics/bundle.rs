//! The support bundle: one archive with what a field engineer would look at first. What is missing from it is said in it.
//!
//! Most of it is what the commands of this very program print, asked of them as a person would: so the bundle tells the same
//! whether the receiver asked for it or somebody at the box, and also where no agent runs.

use super::asked::ask;
use super::{Diagnostics, machine};
use crate::identity::certificate::Validity;
use crate::identity::{Enrollment, Identity};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;
use wire::UtcMicros;

/// This program, also where its file was replaced meanwhile.
const OURSELVES: &str = "/proc/self/exe";
/// All within what a command of the receiver may take.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);
const CHECK_PATIENCE: Duration = Duration::from_secs(20);
const AUDIT_PATIENCE: Duration = Duration::from_secs(30);

/// A support bundle.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// A tar archive, gzipped.
    pub bytes: Vec<u8>,
    /// What is not in it, and why.
    pub missing: Vec<String>,
}

pub const CONTENT_TYPE: &str = "application/gzip";

struct Part {
    name: &'static str,
    content: Result<String, String>,
}

pub(super) async fn make(of: &Diagnostics, at: UtcMicros) -> io::Result<Bundle> {
    let (status, check, audit, log, machine) = tokio::join!(
        ours(of, &["status", "--json"], STATUS_PATIENCE),
        ours(of, &["check", "--offline", "--light"], CHECK_PATIENCE),
        ours(of, &["spool", "audit", "--json"], AUDIT_PATIENCE),
        of.log(usize::MAX, None, at),
        machine::facts(&of.config.device.data_dir),
    );
    let json = |text: Result<String, String>| text.map(|text| of.secrets.scrub_json(&text));
    let plain = |text: Result<String, String>| text.map(|text| of.secrets.scrub(&text));
    let parts = [
        part("log.txt", log.map(|log| log.text)),
        part("status.json", json(status)),
        part("check.txt", plain(check)),
        part("spool-audit.json", json(audit)),
        part("configuration.txt", plain(Ok(configuration(of)))),
        part("machine.txt", plain(Ok(machine))),
    ];
    let missing = parts.iter().filter_map(|part| {
        let why = part.content.as_ref().err()?;
        Some(format!("{}: {}", part.name, of.secrets.scrub(why)))
    });
    let missing: Vec<String> = missing.collect();
    let about = of.secrets.scrub(&about(of, at, &missing));
    let bytes = archive(&about, &parts, at)?;
    Ok(Bundle { bytes, missing })
}

fn part(name: &'static str, content: Result<String, String>) -> Part {
    Part { name, content }
}

async fn ours(of: &Diagnostics, args: &[&str], patience: Duration) -> Result<String, String> {
    let config_file = of.config_file.to_string_lossy();
    let args = args.iter().copied().chain(["--config", &*config_file]);
    ask(OURSELVES, args, patience).await
}

/// `Debug` of the configuration shows no login, and who adds a field decides there whether it may be shown.
fn configuration(of: &Diagnostics) -> String {
    let mut text = format!("{:#?}\n", of.config);
    for camera in &of.config.cameras {
        let _ = writeln!(
            text,
            "{}: {}",
            camera.name,
            crate::telemetry::redact(&camera.url)
        );
    }
    text
}

fn about(of: &Diagnostics, at: UtcMicros, missing: &[String]) -> String {
    let data_dir = &of.config.device.data_dir;
    let mut text = format!(
        "edge-agent {}\nmade {} by the box's clock\nconfiguration {}\n",
        env!("CARGO_PKG_VERSION"),
        in_words(at),
        of.config_file.display()
    );
    let _ = match Identity::load(data_dir) {
        Ok(Some(identity)) => writeln!(text, "device {}", identity.device_id),
        Ok(None) => writeln!(text, "device: no agent has run here yet"),
        Err(error) => writeln!(text, "device: its identity cannot be read: {error}"),
    };
    let _ = match Enrollment::load(data_dir) {
        Ok(Some(enrolled)) => {
            let until = Validity::of(&enrolled.certificate_pem).map(|validity| validity.until_us);
            let until = until.map_or_else(|| "?".into(), in_words);
            writeln!(
                text,
                "enrolled at {} / {}, receiver {}, certificate until {until}",
                enrolled.contract_name, enrolled.site_name, enrolled.device_url
            )
        }
        Ok(None) => writeln!(text, "not enrolled"),
        Err(error) => writeln!(text, "the enrollment cannot be read: {error}"),
    };
    for why in missing {
        let _ = writeln!(text, "NOT in this bundle: {why}");
    }
    text
}

fn in_words(at: UtcMicros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(
        |_| "?".to_owned(),
        |time| time.strftime("%F %T UTC").to_string(),
    )
}

fn archive(about: &str, parts: &[Part], at: UtcMicros) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let present = parts.iter().filter_map(|part| {
        let content = part.content.as_ref().ok()?;
        Some((part.name, content.as_str()))
    });
    for (name, content) in [("about.txt", about)].into_iter().chain(present) {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(at.0 / 1_000_000).unwrap_or(0));
        archive.append_data(&mut header, format!("support/{name}"), content.as_bytes())?;
    }
    archive.into_inner()?.finish()
}
