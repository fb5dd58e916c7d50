//! What certificate browsers are shown: the receiver's own, one from a file, or one that an authority gives (ACME).

use super::{Config, ConfigError};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Portal {
    pub certificate: PortalCertificate,
}

/// With nothing set browsers are shown the certificate of the receiver's own CA, as devices are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PortalCertificate {
    /// PEM: the certificate, then those between it and a public authority. Empty: none.
    pub file: PathBuf,
    /// PEM of its key.
    pub key_file: PathBuf,
    /// Host under which devices enroll, where it must not be the first one: see docs/portal-certificate.md. Empty: the first.
    pub enroll_host: String,
    pub acme: Acme,
}

/// An authority that gives certificates to programs (RFC 8555).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// Address of its directory; empty: none is asked.
    pub directory: String,
    /// Mail addresses that it may write to.
    pub contact: Vec<String>,
    /// Whether the operator agrees to its terms of service.
    pub accept_terms: bool,
    /// For which names; empty: every name in `hosts` of the configuration that is no address.
    pub hosts: Vec<String>,
    /// PEM of an authority by which the directory's server is believed, beside the public ones. Empty: none.
    pub ca_file: PathBuf,
}

/// Where the certificate for browsers comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Its `hosts` are those that it is for.
    Acme(Acme),
}

impl Config {
    /// `None`: browsers are shown the receiver's own.
    pub fn portal_certificate(&self) -> Option<Source> {
        let wanted = &self.portal.certificate;
        if !wanted.file.as_os_str().is_empty() {
            return Some(Source::File {
                certificate: wanted.file.clone(),
                key: wanted.key_file.clone(),
            });
        }
        if wanted.acme.directory.is_empty() {
            return None;
        }
        let hosts = match wanted.acme.hosts.as_slice() {
            [] => self.hosts.iter().filter(|host| is_name(host)).cloned(),
            chosen => return Some(Source::Acme(with_hosts(&wanted.acme, chosen.to_vec()))),
        };
        Some(Source::Acme(with_hosts(&wanted.acme, hosts.collect())))
    }

    /// Host that a box is told to enroll at, as it stands in a URL.
    pub fn enroll_host_in_url(&self) -> String {
        match self.portal.certificate.enroll_host.as_str() {
            "" => self.host_in_url(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        }
    }

    pub(super) fn check_portal(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| {
            Err(ConfigError::Value {
                path: path.to_owned(),
                key,
                problem: problem.to_owned(),
            })
        };
        let PortalCertificate {
            file,
            key_file,
            enroll_host,
            acme,
        } = &self.portal.certificate;
        let is_set = |file: &Path| !file.as_os_str().is_empty();
        if is_set(file) != is_set(key_file) {
            return wrong(
                "portal.certificate",
                "names a certificate or a key alone: set both file and key_file",
            );
        }
        if !enroll_host.is_empty() && !self.hosts.contains(enroll_host) {
            return wrong(
                "portal.certificate.enroll_host",
                "is none of \"hosts\": add it there, so that the receiver's own certificate is for it too",
            );
        }
        if acme.directory.is_empty() {
            return Ok(());
        }
        if is_set(file) {
            return wrong(
                "portal.certificate",
                "names a file and an authority (acme): take one of them out",
            );
        }
        let host = acme.directory.strip_prefix("https://");
        if host.is_none_or(str::is_empty) {
            return wrong(
                "portal.certificate.acme.directory",
                "is no address of an authority's directory: it begins with https://",
            );
        }
        if !acme.accept_terms {
            return wrong(
                "portal.certificate.acme.accept_terms",
                "must be true: read the authority's terms of service, then say so",
            );
        }
        let Some(Source::Acme(Acme { hosts, .. })) = self.portal_certificate() else {
            return Ok(());
        };
        if hosts.is_empty() || !hosts.iter().all(|host| is_name(host)) {
            return wrong(
                "portal.certificate.acme.hosts",
                "must be names, and one at least: authorities give certificates for names, not for addresses",
            );
        }
        if hosts.contains(enroll_host) {
            return wrong(
                "portal.certificate.enroll_host",
                "is one of the names that the authority's certificate is for: choose an address or another name",
            );
        }
        Ok(())
    }
}

fn with_hosts(acme: &Acme, hosts: Vec<String>) -> Acme {
    Acme {
        hosts,
        ..acme.clone()
    }
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && host.parse::<IpAddr>().is_err()
}

impl Portal {
    /// Its sections in the file that `init` writes.
    pub(super) fn to_text(&self) -> String {
        let text = |text: &str| toml::Value::from(text).to_string();
        let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        let list = |texts: &[String]| {
            let texts: Vec<_> = texts.iter().map(|one| text(one)).collect();
            texts.join(", ")
        };
        let PortalCertificate {
            file,
            key_file,
            enroll_host,
            acme,
        } = &self.certificate;
        format!(
            "# What browsers are shown: a certificate and its key from files (PEM), taken up anew when they change, or one\n\
             # from an authority by ACME. Both empty: one of the receiver's own CA. docs/portal-certificate.md says more.\n\
             [portal.certificate]\n\
             file = {}\n\
             key_file = {}\n\
             enroll_host = {}\n\n\
             [portal.certificate.acme]\n\
             # Like \"https://acme-v02.api.letsencrypt.org/directory\". The authority must reach the portal at port 443.\n\
             directory = {}\n\
             contact = [{}]\n\
             accept_terms = {}\n\
             # Empty: every name in hosts above.\n\
             hosts = [{}]\n\
             ca_file = {}\n",
            quoted(file),
            quoted(key_file),
            text(enroll_host),
            text(&acme.directory),
            list(&acme.contact),
            acme.accept_terms,
            list(&acme.hosts),
            quoted(&acme.ca_file),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(change: impl Fn(&mut PortalCertificate)) -> Config {
        let hosts = ["portal.example", "192.0.2.7", "2001:db8::7"];
        let mut config = Config {
            hosts: hosts.map(String::from).to_vec(),
            ..Config::new("/data".into(), "/keys".into())
        };
        change(&mut config.portal.certificate);
        config
    }

    fn acme(wanted: &mut PortalCertificate) {
        wanted.acme.directory = "https://acme.example/directory".into();
        wanted.acme.accept_terms = true;
    }

    #[test]
    fn an_authority_is_asked_for_names_and_devices_may_enroll_elsewhere() {
        assert_eq!(config(|_| ()).portal_certificate(), None);
        let Some(Source::Acme(asked)) = config(acme).portal_certificate() else {
            panic!("an authority is to be asked");
        };
        assert_eq!(asked.hosts, ["portal.example"]);
        assert_eq!(
            config(acme).enroll_host_in_url(),
            config(acme).host_in_url()
        );
        let elsewhere = config(|wanted| wanted.enroll_host = "2001:db8::7".into());
        assert_eq!(elsewhere.enroll_host_in_url(), "[2001:db8::7]");
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let refused = |change: &dyn Fn(&mut PortalCertificate)| {
            let checked = config(change).check_portal(Path::new("file"));
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(refused(&acme), Ok(()));
        type Change<'a> = &'a dyn Fn(&mut PortalCertificate);
        let cases: [(Change, &str); 7] = [
            (&|wanted| wanted.file = "/a.pem".into(), "set both"),
            (&|wanted| wanted.enroll_host = "x".into(), "none of"),
            (
                &|wanted| {
                    acme(wanted);
                    (wanted.file, wanted.key_file) = ("/a.pem".into(), "/a.key".into());
                },
                "one of them",
            ),
            (
                &|wanted| wanted.acme.directory = "http://x".into(),
                "https://",
            ),
            (
                &|wanted| {
                    acme(wanted);
                    wanted.acme.accept_terms = false;
                },
                "terms",
            ),
            (
                &|wanted| {
                    acme(wanted);
                    wanted.acme.hosts = vec!["192.0.2.7".into()];
                },
                "not for addresses",
            ),
            (
                &|wanted| {
                    acme(wanted);
                    wanted.enroll_host = "portal.example".into();
                },
                "another name",
            ),
        ];
        for (change, expected) in cases {
            let error = refused(change).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
