//! A real mail server: Debian's opensmtpd, which delivers into a folder, behind stunnel, which speaks STARTTLS for it.
//!
//! Debian 12's opensmtpd cannot speak TLS itself: built against OpenSSL 3 it loses its key in every handshake
//! (OpenSMTPD issues 1171 and 1239). Its spool and its control socket have fixed places, so each server has a mount namespace of its
//! own with empty ones: this needs root, as the tests of disks and networks do.

use crate::process::{Process, free_port};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Empty places for what opensmtpd keeps below /var and /run, then itself.
const IN_A_NAMESPACE: &str = "mount -t tmpfs tmpfs /var/spool && mkdir -m 711 /var/spool/smtpd && \
     mount -t tmpfs tmpfs /run && exec /usr/sbin/smtpd -d -f \"$0\"";

#[derive(Debug)]
pub struct MailServer {
    folder: PathBuf,
    /// Where mail is offered, with STARTTLS.
    pub port: u16,
    inner_port: u16,
    processes: Vec<Process>,
}

/// One message as a mail program reads it.
#[derive(Clone, Debug, Deserialize)]
pub struct Mail {
    /// Into whose folder it was delivered: the part before the at sign.
    pub folder: String,
    pub message_id: String,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub unsubscribe: String,
    pub unsubscribe_post: String,
    pub auto_submitted: String,
    /// Content types of all parts.
    pub parts: Vec<String>,
}

impl MailServer {
    /// Made for these addresses, and refuses all others; it does not run yet.
    pub fn new(folder: &Path, addresses: &[String]) -> Result<Self> {
        std::fs::create_dir_all(folder.join("mail"))?;
        // It delivers as nobody, below folders that nobody may pass.
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.join("mail"), all)?;
        let pass = std::fs::Permissions::from_mode(0o755);
        let mut above = Some(folder);
        while let Some(place) = above.filter(|place| *place != Path::new("/tmp")) {
            if std::fs::set_permissions(place, pass.clone()).is_err() {
                break;
            }
            above = place.parent().filter(|parent| parent.starts_with("/tmp/"));
        }
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(folder.join("mail.pem"), own.cert.pem())?;
        std::fs::write(folder.join("mail.key"), own.signing_key.serialize_pem())?;
        let secret = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.join("mail.key"), secret)?;
        std::fs::write(folder.join("known"), addresses.join("\n") + "\n")?;
        let (port, inner_port) = (free_port()?, free_port()?);
        let at = folder.display();
        let smtpd = format!(
            "table known file:{at}/known\n\
             table everybody {{ \"@\" = \"nobody\" }}\n\
             listen on 127.0.0.1 port {inner_port} hostname localhost\n\
             action \"keep\" maildir \"{at}/mail/%{{rcpt.user}}\" virtual <everybody>\n\
             match from any for rcpt-to <known> action \"keep\"\n"
        );
        std::fs::write(folder.join("smtpd.conf"), smtpd)?;
        let tunnel = format!(
            "foreground = yes\npid =\n[smtp]\nprotocol = smtp\naccept = 127.0.0.1:{port}\n\
             connect = 127.0.0.1:{inner_port}\ncert = {at}/mail.pem\nkey = {at}/mail.key\n"
        );
        std::fs::write(folder.join("stunnel.conf"), tunnel)?;
        Ok(Self {
            folder: folder.to_owned(),
            port,
            inner_port,
            processes: Vec::new(),
        })
    }

    pub fn start(&mut self) -> Result<()> {
        let mut smtpd = Command::new("unshare");
        smtpd.args(["--mount", "sh", "-c", IN_A_NAMESPACE]);
        smtpd.arg(self.folder.join("smtpd.conf"));
        let log = self.folder.join("smtpd.log");
        self.processes
            .push(Process::start("opensmtpd", smtpd, &log)?);
        let mut tunnel = Command::new("stunnel");
        tunnel.arg(self.folder.join("stunnel.conf"));
        let log = self.folder.join("stunnel.log");
        self.processes
            .push(Process::start("stunnel", tunnel, &log)?);
        let ports = [self.inner_port, self.port];
        wait::until("the mail server", PATIENCE, || {
            for process in &mut self.processes {
                if let Some(status) = process.ended() {
                    return Some(Err(anyhow::anyhow!(
                        "{} ended with {status}; are opensmtpd and stunnel4 installed (scripts/setup.sh test)?\n{}",
                        process.name(),
                        process.log_tail(10)
                    )));
                }
            }
            ports
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                .then_some(Ok(()))
        })?
    }

    pub fn stop(&mut self) -> Result<()> {
        for mut process in self.processes.drain(..).rev() {
            process.stop(PATIENCE)?;
        }
        Ok(())
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("mail.pem")
    }

    /// How many messages lie there; quick.
    pub fn count(&self) -> usize {
        let folders = std::fs::read_dir(self.folder.join("mail"));
        let folders = folders.into_iter().flatten().flatten();
        folders
            .filter_map(|folder| std::fs::read_dir(folder.path().join("new")).ok())
            .map(Iterator::count)
            .sum()
    }

    /// Everything that was delivered, taken apart by Python's mail parser: not by ours, which would make our mistakes again.
    pub fn mails(&self) -> Result<Vec<Mail>> {
        let output = Command::new("/usr/bin/python3")
            .args(["-c", PARSER])
            .arg(self.folder.join("mail"))
            .output()
            .context("python3 is needed")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("what the parser printed")
    }

    /// Waits for so many messages.
    pub fn await_mails(&self, count: usize, timeout: Duration) -> Result<Vec<Mail>> {
        wait::until(format!("{count} messages"), timeout, || {
            (self.count() >= count).then_some(())
        })
        .with_context(|| format!("{} messages came", self.count()))?;
        self.mails()
    }
}

const PARSER: &str = r#"
import email, email.policy, json, pathlib, sys
mails = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/new/*")):
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    part = lambda kind: message.get_body((kind,))
    text = lambda kind: part(kind).get_content() if part(kind) else ""
    header = lambda name: str(message.get(name, ""))
    mails.append({
        "folder": path.parent.parent.name, "message_id": header("Message-ID"), "to": header("To"),
        "subject": header("Subject"), "text": text("plain"), "html": text("html"),
        "unsubscribe": header("List-Unsubscribe").strip("<>"), "unsubscribe_post": header("List-Unsubscribe-Post"),
        "auto_submitted": header("Auto-Submitted"), "parts": [p.get_content_type() for p in message.walk()],
    })
json.dump(mails, sys.stdout)
"#;
