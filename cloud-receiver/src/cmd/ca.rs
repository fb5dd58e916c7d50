//! `ca`: a new certificate authority in the place of the one before, which stays trusted until no device needs it.
//!
//! `rotate`, restart the receiver, wait until `status` names no device any more, `retire`, restart the receiver.

use super::status::nearby;
use super::{Common, report, setup};
use crate::app::open_store;
use crate::ca::Ca;
use crate::clock::now;
use crate::config::Config;
use crate::evidence::local::utc;
use crate::keys::KeyFolder;
use crate::live::Live;
use crate::office::authority::{Authority, Change, Holder};
use crate::store::{AuditBook, Note};
use crate::tls;
use anyhow::{Context, bail};
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Serialize;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::UtcMicros;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Put a new CA in the place of the present one, which stays trusted until it is retired.
    ///
    /// The receiver takes it up when it is restarted. Then every device that is connected is asked to renew its
    /// certificate, and does so over the connection it has; nobody has to go there. The old CA's key is destroyed.
    Rotate,
    /// Which CAs there are, and which devices still need the one before.
    Status,
    /// Trust the CA before no longer, once no device needs it. The receiver must be restarted then.
    Retire {
        /// Even though devices or claim codes still need it: such a device delivers nothing more until it is enrolled
        /// again, and such a code is void.
        #[arg(long)]
        lock_out: bool,
    },
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Rotate => rotate(common).await,
        Verb::Status => {
            let progress = Progress::look(common).await?;
            report(common, &progress, &progress.words())
        }
        Verb::Retire { lock_out } => retire(common, lock_out).await,
    }
}

#[derive(Serialize)]
struct Rotated {
    current: Authority,
    before: Option<Authority>,
}

async fn rotate(common: &Common) -> anyhow::Result<()> {
    let config = Config::load(&common.config)?;
    let folder = KeyFolder::lock(&config.key_dir)?;
    let keys = folder.keys()?;
    // Before anything is made: what cannot be noted is not done.
    let store = open_store(&config, &keys, Live::default())?;
    let ca = keys.ca;
    let was_left_over = folder.finish_ca(&ca)?;
    if ca.before().is_some() && !was_left_over {
        bail!(
            "the CA before the present one is still trusted; when \"ca status\" names no device any more, run \"ca retire\" first"
        );
    }
    let ca = if was_left_over && ca.before().is_some() {
        ca
    } else {
        folder.rotate_ca(&ca, now())?
    };
    let (current, before) = Authority::of(&ca)?;
    let note = Note::new("ca.rotate").on(&current.fingerprint).with(
        "before",
        before.as_ref().map(|before| before.fingerprint.clone()),
    );
    store.note(super::console(), note, now()).await?;
    let words = format!(
        "There is a new CA.\n\
         \x20 new     {}  until {}\n\
         \x20 before  {}  trusted until \"ca retire\"; its key is destroyed\n\
         Now:\n\
         \x20 1. make a new sealed copy of {}; copies with the old CA key can be destroyed\n\
         \x20 2. restart the receiver: it then asks every device to renew its certificate\n\
         \x20 3. \"ca status\" says how far they are; then \"ca retire\"",
        current.fingerprint,
        utc(current.until_us),
        before
            .as_ref()
            .map_or("", |before| before.fingerprint.as_str()),
        config.key_dir.display(),
    );
    report(common, &Rotated { current, before }, &words)
}

/// What the receiver that runs has taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Running {
    /// These CAs.
    Current,
    /// Others: it was not restarted since the last change.
    Outdated,
    /// Nobody answers on the portal's port, or not with a certificate of these CAs.
    Silent,
}

/// How far a change of the CA is.
#[derive(Debug, Serialize)]
struct Progress {
    #[serde(flatten)]
    change: Change,
    running: Running,
    can_retire: bool,
    #[serde(skip)]
    at: UtcMicros,
}

impl Progress {
    async fn look(common: &Common) -> anyhow::Result<Self> {
        let setup = setup(common)?;
        let (at, ca) = (now(), &setup.keys.ca);
        let change = Change::of(&setup.store, ca, at).await?;
        let running = running(&setup.config, ca).await?;
        Ok(Self {
            can_retire: change.is_done() && running != Running::Outdated,
            change,
            running,
            at,
        })
    }

    fn words(&self) -> String {
        let mut lines = vec![format!(
            "CA        {}  until {}",
            self.change.current.fingerprint,
            utc(self.change.current.until_us)
        )];
        if let Some(before) = &self.change.before {
            lines.push(format!(
                "before    {}  until {}; succeeded on {}, still trusted",
                before.fingerprint,
                utc(before.until_us),
                before.succeeded_us.map(utc).unwrap_or_default(),
            ));
        }
        lines.push(format!(
            "receiver  {}",
            match self.running {
                Running::Current => "serves with this",
                Running::Outdated => "has NOT taken this up: restart it",
                Running::Silent => "does not answer; is it running?",
            }
        ));
        let (followed, behind) = (self.change.followed, self.change.behind.len());
        let mut devices = format!("devices   {followed} hold a certificate of this CA");
        if behind > 0 {
            devices += &match self.change.before {
                Some(_) => format!(", {behind} still one of the CA before:"),
                None => format!(
                    "; {behind} are LOCKED OUT, as theirs is of a CA that was retired. Enroll them again:"
                ),
            };
        }
        lines.push(devices);
        lines.extend(
            self.change
                .behind
                .iter()
                .map(|holder| self.describe(holder)),
        );
        if self.change.codes.count > 0 {
            lines.push(self.describe_codes());
        }
        if self.can_retire {
            lines.push("Nobody needs the CA before any more: cloud-receiver ca retire".to_owned());
        }
        lines.join("\n")
    }

    fn describe(&self, holder: &Holder) -> String {
        let heard = match holder.heard_us {
            None => "never heard".to_owned(),
            Some(heard) => format!("heard {} s ago", self.at.since_us(heard) / 1_000_000),
        };
        format!(
            "    {}  {}/{}  {heard}; its certificate ends on {}",
            holder.device,
            holder.contract,
            holder.site,
            utc(holder.certificate_until_us)
        )
    }

    fn describe_codes(&self) -> String {
        let until = self.change.codes.until_us.map(utc).unwrap_or_default();
        format!(
            "codes     not used yet, and name the CA before: {}; the last expires on {until}",
            self.change.codes.count
        )
    }
}

/// Looks at what the portal's listener presents.
async fn running(config: &Config, ca: &Ca) -> anyhow::Result<Running> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let connector = TlsConnector::from(tls::onlooker(ca)?);
    let host = config.hosts.first().map_or("localhost", String::as_str);
    let name = ServerName::try_from(host.to_owned())
        .with_context(|| format!("{host:?} in \"hosts\" is no name of a server"))?;
    let presented = async {
        let stream = TcpStream::connect(nearby(config.listen.portal)).await?;
        let stream = connector.connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        std::io::Result::Ok(chain.to_vec())
    };
    let presented: Vec<CertificateDer<'static>> =
        match tokio::time::timeout(PATIENCE, presented).await {
            Ok(Ok(presented)) => presented,
            Ok(Err(_)) | Err(_) => return Ok(Running::Silent),
        };
    Ok(match presented.get(1..) == Some(ca.chain().as_slice()) {
        true => Running::Current,
        false => Running::Outdated,
    })
}

#[derive(Serialize)]
struct Retired {
    retired: String,
    current: Authority,
    locked_out: Vec<Holder>,
}

async fn retire(common: &Common, lock_out: bool) -> anyhow::Result<()> {
    let config = Config::load(&common.config)?;
    let folder = KeyFolder::lock(&config.key_dir)?;
    let keys = folder.keys()?;
    let store = open_store(&config, &keys, Live::default())?;
    let ca = keys.ca;
    let progress = Progress::look(common).await?;
    let Some(before) = &progress.change.before else {
        bail!("no CA before the present one is trusted; there is nothing to retire");
    };
    if progress.running == Running::Outdated {
        bail!(
            "the running receiver has not taken up the present CA; restart it, and let the devices renew first"
        );
    }
    let is_needed = !progress.can_retire;
    if is_needed && !lock_out {
        let mut lines: Vec<_> = progress
            .change
            .behind
            .iter()
            .map(|one| progress.describe(one))
            .collect();
        if progress.change.codes.count > 0 {
            lines.push(format!("    {}", progress.describe_codes()));
        }
        bail!(
            "the CA before is still needed; nothing was changed. Wait for these, or lock them out with --lock-out and \
             enroll the devices again with new claim codes:\n{}",
            lines.join("\n")
        );
    }
    folder.retire_ca(&ca)?;
    let note = Note::new("ca.retire")
        .on(&before.fingerprint)
        .with("locked_out", progress.change.behind.len());
    store.note(super::console(), note, now()).await?;
    let mut words = format!(
        "The CA {} is trusted no longer. Now restart the receiver, and make a new sealed copy of {}.",
        before.fingerprint,
        config.key_dir.display()
    );
    for holder in &progress.change.behind {
        words += &format!(
            "\n  locked out: {}  {}/{}; enroll it again: \"device claim\", then on the device \"edge-agent enroll --again\"",
            holder.device, holder.contract, holder.site
        );
    }
    let retired = Retired {
        retired: before.fingerprint.clone(),
        locked_out: progress.change.behind,
        current: progress.change.current,
    };
    report(common, &retired, &words)
}
