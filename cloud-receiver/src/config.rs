//! The configuration file: strict, so that a typing mistake is an error with its line, not a silent default.

mod portal;

pub use portal::{Acme, Portal, PortalCertificate, Source};

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where commands look for it unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/cloud-receiver/cloud-receiver.toml";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Database and blobs. Everything in it that belongs to customers is sealed.
    pub data_dir: PathBuf,
    /// The receiver's secrets; never inside `data_dir`. Under systemd `$CREDENTIALS_DIRECTORY` takes its place.
    pub key_dir: PathBuf,
    /// Names and addresses under which devices and browsers reach this receiver; the first one is what devices
    /// are told.
    #[serde(default = "default_hosts")]
    pub hosts: Vec<String>,
    #[serde(default)]
    pub listen: Listen,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub certificates: Certificates,
    #[serde(default)]
    pub contact: Contact,
    #[serde(default)]
    pub heads: Heads,
    #[serde(default)]
    pub mail: Mail,
    #[serde(default)]
    pub notices: Notices,
    #[serde(default)]
    pub alerts: Alerts,
    #[serde(default)]
    pub residency: Residency,
    #[serde(default)]
    pub metrics: Metrics,
    #[serde(default)]
    pub erasure: Erasure,
    #[serde(default)]
    pub portal: Portal,
    #[serde(default)]
    pub device_files: DeviceFiles,
}

/// Logs and support bundles of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceFiles {
    /// Deleted so long after they came, unless a hold covers them.
    pub keep_days: u32,
}

impl Default for DeviceFiles {
    fn default() -> Self {
        Self { keep_days: 30 }
    }
}

/// For a monitor on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// A loopback address and port; absent: none are served.
    pub listen: Option<SocketAddr>,
}

/// Where data may be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Residency {
    /// Regions, as the store's own file `region` names them; empty: any.
    pub allowed_regions: Vec<String>,
}

/// How what a contract has is erased when it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erasure {
    /// So many whole business days pass first, so that a mistaken date can be mended.
    pub after_business_days: u32,
    /// So long devices may take to say that they have wiped what they hold.
    pub wait_for_devices_hours: u32,
    /// Whether 29 December to 3 January are no business days.
    pub closed_at_year_end: bool,
    /// Where every contract's key is kept, wrapped; empty: beside the data folder.
    pub key_backup: PathBuf,
}

impl Default for Erasure {
    fn default() -> Self {
        Self {
            after_business_days: 1,
            wait_for_devices_hours: 12,
            closed_at_year_end: true,
            key_backup: PathBuf::new(),
        }
    }
}

/// With more, a day of three would not be left.
const MOST_BUSINESS_DAYS: u32 = 2;
const MOST_WAIT_HOURS: u32 = 12;

/// The signed heads: how often they are made, and where they go so that they can be compared later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heads {
    pub every_hours: u32,
    /// A folder, best one on another machine; empty: none.
    pub path: PathBuf,
    /// Who gets them by mail; empty: nobody.
    pub mail_to: Vec<String>,
    /// Address of an authority that states by a signature when each of them existed (RFC 3161); empty: none is asked.
    pub time_stamps_from: String,
    /// PEM of the authority whose time stamps are believed; empty: anybody's are, and whose they are is told.
    pub time_stamps_ca_file: PathBuf,
}

impl Default for Heads {
    fn default() -> Self {
        Self {
            every_hours: 24,
            path: PathBuf::new(),
            mail_to: Vec::new(),
            time_stamps_from: String::new(),
            time_stamps_ca_file: PathBuf::new(),
        }
    }
}

/// The mail server that takes this receiver's mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// Empty: no mail is sent.
    pub server: String,
    pub port: u16,
    pub encryption: Encryption,
    /// The sender's address.
    pub from: String,
    /// Empty: the server wants no sign-in.
    pub user: String,
    /// Holds the password, and nothing else.
    pub password_file: PathBuf,
    /// PEM of the authority that the server's certificate comes from; empty: the public ones.
    pub ca_file: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Begins in clear and must turn to TLS before anything is said: port 587.
    #[default]
    Starttls,
    /// TLS from the first byte: port 465.
    Tls,
    /// In clear: for a server on this very machine.
    None,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            server: String::new(),
            port: 587,
            encryption: Encryption::default(),
            from: String::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
        }
    }
}

/// Mail to customers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notices {
    /// A folder with the operator's own texts; empty: `letters` in the data folder, where the operators' area puts them.
    pub templates: PathBuf,
    /// Address of the portal as customers reach it; empty: the first host and the port that the portal listens on.
    pub portal_url: String,
}

/// What the operator is told of by mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Empty: nobody is.
    pub mail_to: Vec<String>,
}

/// Certificates that this receiver gives to devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Certificates {
    /// How long one lasts. A device renews it when a third is left; one that is switched off for longer than that
    /// has to enroll again.
    pub device_seconds: u64,
}

/// Below this devices would do little but renew; above, a stolen one stays good for too long.
const DEVICE_SECONDS: std::ops::RangeInclusive<u64> = 60..=400 * 24 * 3600;

impl Default for Certificates {
    fn default() -> Self {
        Self {
            device_seconds: 90 * 24 * 3600,
        }
    }
}

impl Certificates {
    pub fn device_life(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.device_seconds)
    }
}

/// Where customers turn to; shown on every page of the portal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contact {
    pub name: String,
    /// Empty: none.
    pub mail: String,
    /// Empty: none.
    pub phone: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Browsers, and devices that enroll.
    pub portal: SocketAddr,
    /// Enrolled devices: blobs, and batches where MQTT is blocked.
    pub device: SocketAddr,
    /// Enrolled devices: MQTT 5.
    pub mqtt: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest blob that is taken in.
    pub blob_bytes: u64,
    /// Connections at the same time, per listener; further ones wait.
    pub connections: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            portal: SocketAddr::from(([0, 0, 0, 0], 8443)),
            device: SocketAddr::from(([0, 0, 0, 0], 8444)),
            mqtt: SocketAddr::from(([0, 0, 0, 0], 8883)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blob_bytes: 256 * 1024 * 1024,
            connections: 10_000,
        }
    }
}

pub fn default_hosts() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "{path}: {source}; run \"cloud-receiver init --config {path}\" first, or name another file with --config"
    )]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    // The parser's message names line and column and quotes the line.
    #[error("{path}: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{path}: {key} {problem}")]
    Value {
        path: PathBuf,
        key: &'static str,
        problem: String,
    },
}

impl Config {
    /// The usual settings.
    pub fn new(data_dir: PathBuf, key_dir: PathBuf) -> Self {
        Self {
            data_dir,
            key_dir,
            hosts: default_hosts(),
            listen: Listen::default(),
            limits: Limits::default(),
            certificates: Certificates::default(),
            contact: Contact::default(),
            heads: Heads::default(),
            mail: Mail::default(),
            erasure: Erasure::default(),
            device_files: DeviceFiles::default(),
            notices: Notices::default(),
            alerts: Alerts::default(),
            residency: Residency::default(),
            metrics: Metrics::default(),
            portal: Portal::default(),
        }
    }

    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        config.check(path)?;
        Ok(config)
    }

    /// The file that `init` writes: every setting visible, with what it means.
    pub fn to_text(&self) -> String {
        let text = |text: &str| toml::Value::from(text).to_string();
        let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        let list = |texts: &[String]| {
            let texts: Vec<_> = texts.iter().map(|one| text(one)).collect();
            texts.join(", ")
        };
        format!(
            "# Configuration of the cloud receiver. Unknown keys are errors.\n\n\
             # Database and blobs.\n\
             data_dir = {}\n\n\
             # The receiver's secrets. Keep a sealed copy elsewhere: without them stored data is unreadable.\n\
             key_dir = {}\n\n\
             # Names and addresses of this receiver; devices are told the first one.\n\
             hosts = [{}]\n\n\
             [listen]\n\
             # Browsers, and devices that enroll.\n\
             portal = \"{}\"\n\
             # Enrolled devices: media, and records where MQTT is blocked.\n\
             device = \"{}\"\n\
             # Enrolled devices: MQTT 5.\n\
             mqtt = \"{}\"\n\n\
             [limits]\n\
             # Largest picture or clip that is taken in.\n\
             blob_bytes = {}\n\
             # Connections at the same time, per listener.\n\
             connections = {}\n\n\
             [certificates]\n\
             # How long a device's certificate lasts: 90 days are 7776000. Devices renew theirs at one third left.\n\
             device_seconds = {}\n\n\
             # Where customers turn to; shown on every page of the portal. Empty: not shown.\n\
             [contact]\n\
             name = {}\n\
             mail = {}\n\
             phone = {}\n\n\
             # Signed heads: what this receiver says it holds. Kept elsewhere, they show later that nothing was\n\
             # taken away. A folder on another machine, and people who get them by mail; empty: not sent.\n\
             [heads]\n\
             every_hours = {}\n\
             path = {}\n\
             mail_to = [{}]\n\
             # A time-stamp authority (RFC 3161), \"https://...\" or \"http://...\", that signs when each of them existed,\n\
             # and the file (PEM) of the certificate by which it is believed. Empty: no time stamps.\n\
             time_stamps_from = {}\n\
             time_stamps_ca_file = {}\n\n\
             # The mail server; empty: no mail is sent. encryption: \"starttls\", \"tls\", \"none\".\n\
             [mail]\n\
             server = {}\n\
             port = {}\n\
             encryption = \"{}\"\n\
             from = {}\n\
             user = {}\n\
             password_file = {}\n\
             ca_file = {}\n\n\
             # What a contract has is erased by the end of the third Japanese business day after its period is over and\n\
             # work for it is done. So many whole business days pass first, 0 to 2: time to mend a mistaken date.\n\
             [erasure]\n\
             after_business_days = {}\n\
             # So long its devices may take to say that they have wiped what they hold, 0 to 12.\n\
             wait_for_devices_hours = {}\n\
             # Whether 29 December to 3 January are no business days.\n\
             closed_at_year_end = {}\n\
             # The file of all contracts' keys, wrapped under the master key; empty: beside the data folder.\n\
             key_backup = {}\n\n\
             # Mail to customers: a folder with texts of your own (\"notice templates --write DIR\" fills it; empty: the\n\
             # folder \"letters\" in the data folder, where the operators' area puts them), and the portal's address as customers reach it (empty: the first host and its port).\n\
             [notices]\n\
             templates = {}\n\
             portal_url = {}\n\n\
             # Who is told by mail when devices or cameras are silent, or clocks are off; empty: nobody.\n\
             [alerts]\n\
             mail_to = [{}]\n\n\
             # Where data may be kept: with a store in another region nothing starts. The store says in which it is by a\n\
             # file \"region\" in data_dir. Empty: anywhere.\n\
             [residency]\n\
             allowed_regions = [{}]\n\n\
             # Prometheus metrics, on a loopback address only, like \"127.0.0.1:9464\".\n\
             [metrics]\n\
             {}\n\n\
             {}",
            quoted(&self.data_dir),
            quoted(&self.key_dir),
            list(&self.hosts),
            self.listen.portal,
            self.listen.device,
            self.listen.mqtt,
            self.limits.blob_bytes,
            self.limits.connections,
            self.certificates.device_seconds,
            text(&self.contact.name),
            text(&self.contact.mail),
            text(&self.contact.phone),
            self.heads.every_hours,
            quoted(&self.heads.path),
            list(&self.heads.mail_to),
            text(&self.heads.time_stamps_from),
            quoted(&self.heads.time_stamps_ca_file),
            text(&self.mail.server),
            self.mail.port,
            match self.mail.encryption {
                Encryption::Starttls => "starttls",
                Encryption::Tls => "tls",
                Encryption::None => "none",
            },
            text(&self.mail.from),
            text(&self.mail.user),
            quoted(&self.mail.password_file),
            quoted(&self.mail.ca_file),
            self.erasure.after_business_days,
            self.erasure.wait_for_devices_hours,
            self.erasure.closed_at_year_end,
            quoted(&self.erasure.key_backup),
            quoted(&self.notices.templates),
            text(&self.notices.portal_url),
            list(&self.alerts.mail_to),
            list(&self.residency.allowed_regions),
            match self.metrics.listen {
                Some(at) => format!("listen = \"{at}\""),
                None => "# listen = \"127.0.0.1:9464\"".to_owned(),
            },
            self.portal.to_text(),
        )
    }

    /// Where the secrets are: systemd's credentials if it passes them, else `key_dir`.
    pub fn keys_at(&self) -> PathBuf {
        std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(PathBuf::from)
            .filter(|dir| crate::keys::Keys::exist(dir))
            .unwrap_or_else(|| self.key_dir.clone())
    }

    /// Where the operator's own texts of letters are kept, or will be.
    pub fn letters_at(&self) -> PathBuf {
        match &self.notices.templates {
            none if none.as_os_str().is_empty() => self.data_dir.join("letters"),
            given => given.clone(),
        }
    }

    /// The same to read them from; empty where there are none. One that the configuration names must be there.
    pub fn letters(&self) -> PathBuf {
        let folder = self.letters_at();
        let is_wanted = !self.notices.templates.as_os_str().is_empty();
        if is_wanted || folder.is_dir() {
            folder
        } else {
            PathBuf::new()
        }
    }

    /// The key backup: not in the data folder, whose copies it is to outlive, and not among the secrets, because the
    /// service rewrites it.
    pub fn key_backup_at(&self) -> PathBuf {
        if !self.erasure.key_backup.as_os_str().is_empty() {
            return self.erasure.key_backup.clone();
        }
        let mut folder = self.data_dir.clone().into_os_string();
        folder.push("-keys");
        PathBuf::from(folder).join("contract-keys.json")
    }

    /// Name or address that devices are told.
    pub fn host(&self) -> &str {
        self.hosts.first().map_or("localhost", String::as_str)
    }

    /// The same as it stands in a URL: an IPv6 address in brackets (RFC 3986, section 3.2.2).
    pub fn host_in_url(&self) -> String {
        match self.host() {
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        }
    }

    /// The portal's address as customers reach it, without a slash at its end.
    pub fn portal_url(&self) -> String {
        let given = self.notices.portal_url.trim_end_matches('/');
        match (given, self.listen.portal.port()) {
            ("", 443) => format!("https://{}", self.host_in_url()),
            ("", port) => format!("https://{}:{port}", self.host_in_url()),
            (given, _) => given.to_owned(),
        }
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| {
            Err(ConfigError::Value {
                path: path.to_owned(),
                key,
                problem: problem.to_owned(),
            })
        };
        if self.key_dir.starts_with(&self.data_dir) {
            return wrong(
                "key_dir",
                "lies inside data_dir: a copy of the data would carry its own key; move it",
            );
        }
        if self.hosts.is_empty() {
            return wrong(
                "hosts",
                "is empty; name at least the host that devices connect to",
            );
        }
        if !DEVICE_SECONDS.contains(&self.certificates.device_seconds) {
            return wrong(
                "certificates.device_seconds",
                "must be from 60 (a minute) to 34560000 (400 days)",
            );
        }
        if self.limits.blob_bytes == 0 || self.limits.connections == 0 {
            return wrong("limits", "must be greater than 0");
        }
        if self.metrics.listen.is_some_and(|at| !at.ip().is_loopback()) {
            return wrong(
                "metrics.listen",
                "is no loopback address: whoever reaches it reads names of customers and how busy they are; use 127.0.0.1 or [::1]",
            );
        }
        if self.heads.every_hours == 0 {
            return wrong("heads.every_hours", "must be at least 1");
        }
        if !self.heads.path.as_os_str().is_empty() && self.heads.path.starts_with(&self.data_dir) {
            return wrong(
                "heads.path",
                "lies inside data_dir: whoever changes the data could change the heads too; choose a folder elsewhere",
            );
        }
        let from = self.heads.time_stamps_from.as_str();
        let host = ["https://", "http://"]
            .iter()
            .find_map(|scheme| from.strip_prefix(scheme));
        if !from.is_empty() && host.is_none_or(str::is_empty) {
            return wrong(
                "heads.time_stamps_from",
                "is no address of a time-stamp authority: it begins with https:// or http://",
            );
        }
        if from.is_empty() && !self.heads.time_stamps_ca_file.as_os_str().is_empty() {
            return wrong(
                "heads.time_stamps_ca_file",
                "names whose time stamps are believed, but heads.time_stamps_from names nobody to ask",
            );
        }
        if self.erasure.after_business_days > MOST_BUSINESS_DAYS {
            return wrong(
                "erasure.after_business_days",
                "must be 0, 1 or 2: by the end of the third everything has to be gone",
            );
        }
        if self.erasure.wait_for_devices_hours > MOST_WAIT_HOURS {
            return wrong("erasure.wait_for_devices_hours", "must be 12 at most");
        }
        if self.erasure.key_backup.starts_with(&self.data_dir) {
            return wrong(
                "erasure.key_backup",
                "lies inside data_dir: every copy of the data would carry keys that were destroyed since; choose a \
                 folder elsewhere",
            );
        }
        let mails = !self.heads.mail_to.is_empty();
        if mails && (self.mail.server.is_empty() || self.mail.from.is_empty()) {
            return wrong(
                "heads.mail_to",
                "asks for mail, but section [mail] names no server or no sender (from)",
            );
        }
        let alerts = !self.alerts.mail_to.is_empty();
        if alerts && (self.mail.server.is_empty() || self.mail.from.is_empty()) {
            return wrong(
                "alerts.mail_to",
                "asks for mail, but section [mail] names no server or no sender (from)",
            );
        }
        let url = self.notices.portal_url.as_str();
        if !url.is_empty() && url.strip_prefix("https://").is_none_or(str::is_empty) {
            return wrong(
                "notices.portal_url",
                "is no address of a portal: it begins with https://",
            );
        }
        self.check_portal(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Config {
        Config {
            hosts: vec!["receiver.example".into(), "192.0.2.7".into()],
            contact: Contact {
                name: "Ops \"24/7\"".into(),
                ..Contact::default()
            },
            ..Config::new(
                "/var/lib/cloud-receiver".into(),
                "/etc/cloud-receiver/keys".into(),
            )
        }
    }

    fn load(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(file.path())
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_urls_alone() {
        let told = |host: &str| {
            let hosts = vec![host.to_owned()];
            let config = Config { hosts, ..sample() };
            (config.host().to_owned(), config.host_in_url())
        };
        assert_eq!(told("::1"), ("::1".into(), "[::1]".into()));
        assert_eq!(told("192.0.2.7"), ("192.0.2.7".into(), "192.0.2.7".into()));
    }

    #[test]
    fn what_init_writes_reads_back() {
        assert_eq!(load(&sample().to_text()).unwrap(), sample());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let text = sample().to_text().replace("mqtt =", "mqt =");
        let error = load(&text).unwrap_err().to_string();
        assert!(
            error.contains("mqt") && error.contains("line 18"),
            "{error}"
        );
        let text = sample()
            .to_text()
            .replace("/etc/cloud-receiver/keys", "/var/lib/cloud-receiver/keys");
        assert!(
            load(&text)
                .unwrap_err()
                .to_string()
                .contains("inside data_dir")
        );
        let text = sample().to_text().replace("7776000", "59");
        assert!(load(&text).unwrap_err().to_string().contains("a minute"));
        let with = |key: &str, value: &str| {
            let text = sample().to_text();
            let changed = text.replace(&format!("{key} = \"\""), &format!("{key} = \"{value}\""));
            load(&changed).unwrap_err().to_string()
        };
        let error = with("time_stamps_from", "tsa.example");
        assert!(error.contains("begins with https://"), "{error}");
        let error = with("time_stamps_ca_file", "/etc/tsa.pem");
        assert!(error.contains("names nobody to ask"), "{error}");
        let text = sample().to_text().replace("0.0.0.0:8443", "8443");
        assert!(load(&text).unwrap_err().to_string().contains("portal"));
    }
}
