//! `status`: whether the receiver can do its work, and what needs an operator's hand. Exit code 1 where something
//! does. It looks for itself, at the same database and folders, so it also answers where the receiver does not.

use super::{Common, report, setup};
use crate::app::TLS_DIR;
use crate::blob::Blobs;
use crate::clock::now;
use crate::config::{self, Config};
use crate::disk::Room;
use crate::evidence::heads::AT_ONCE;
use crate::evidence::local;
use crate::jobs::sweep::OVERDUE_AFTER_US;
use crate::store::{HeadsBook, HeadsRow, MissingBlobs, OperatorDesk, OverdueMedia};
use crate::tls::standing::Standing;
use anyhow::Context;
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use wire::UtcMicros;

#[derive(Serialize)]
struct Status {
    /// Listeners that do not answer.
    silent: Vec<String>,
    /// Absent where records can be committed; else why not.
    records: Option<String>,
    /// Absent where pictures can be taken in; else why not.
    blobs: Option<String>,
    free_bytes: u64,
    total_bytes: u64,
    missing: Vec<MissingBlobs>,
    overdue: Vec<OverdueMedia>,
    /// How it is with the certificate for browsers; absent where they are shown the receiver's own.
    portal_certificate: Option<CertificateState>,
    /// The newest signed heads; absent where none were made yet.
    heads: Option<HeadsState>,
}

#[derive(Serialize)]
struct CertificateState {
    #[serde(flatten)]
    standing: Standing,
    needs_hand: bool,
}

/// Where the newest heads are, and what hinders them.
#[derive(Serialize)]
struct HeadsState {
    number: u64,
    at_us: UtcMicros,
    stamped_us: Option<UtcMicros>,
    /// Heads that have not gone out, and why.
    unsent: Option<Trouble>,
    /// Heads without the time stamp that was asked for, and why.
    unstamped: Option<Trouble>,
}

/// The oldest heads that wait for something, and why.
#[derive(Serialize)]
struct Trouble {
    number: u64,
    at_us: UtcMicros,
    problem: String,
}

/// What still fails after this long needs a hand; before, the next attempt may cure it.
const HEADS_LATE_AFTER_US: i64 = 6 * 3600 * 1_000_000;

pub(super) async fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let setup = setup(common)?;
    let dir = &setup.config.data_dir;
    let blobs = Blobs::beside(
        dir,
        Arc::new(setup.store.clone()),
        setup.config.limits.blob_bytes,
    )
    .with_context(|| format!("opening the blobs in {}", dir.display()))?;
    let room = Room::at(dir)?;
    let listen = &setup.config.listen;
    let listeners = [
        ("portal", listen.portal),
        ("device", listen.device),
        ("mqtt", listen.mqtt),
    ];
    let silent = listeners.into_iter().filter(|(_, at)| !answers(*at));
    let status = Status {
        silent: silent.map(|(name, at)| format!("{name} {at}")).collect(),
        records: setup
            .store
            .probe()
            .await
            .err()
            .map(|error| error.to_string()),
        blobs: blobs.probe().await.err().map(|error| error.to_string()),
        free_bytes: room.free_bytes,
        total_bytes: room.total_bytes,
        missing: setup.store.missing_blobs().await?,
        overdue: setup
            .store
            .overdue_media(now().plus_us(-OVERDUE_AFTER_US))
            .await?,
        portal_certificate: CertificateState::of(&setup.config, now()),
        heads: HeadsState::of(&setup.store.heads().await?, &setup.config.heads),
    };
    report(common, &status, &status.words())?;
    Ok(if status.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn answers(at: SocketAddr) -> bool {
    TcpStream::connect_timeout(&nearby(at), Duration::from_secs(2)).is_ok()
}

/// Where on this machine a listener is reached.
pub(super) fn nearby(at: SocketAddr) -> SocketAddr {
    let mut to = at;
    if at.ip().is_unspecified() {
        to.set_ip(match at {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    to
}

impl Status {
    /// Pictures that are overdue are the device's matter as often as ours: told, but no failure.
    fn is_good(&self) -> bool {
        self.silent.is_empty()
            && self.records.is_none()
            && self.blobs.is_none()
            && self.missing.is_empty()
            && !self
                .portal_certificate
                .as_ref()
                .is_some_and(|certificate| certificate.needs_hand)
            && !self.heads.as_ref().is_some_and(HeadsState::is_late)
    }

    fn words(&self) -> String {
        let mut lines = Vec::new();
        lines.push(match self.silent.as_slice() {
            [] => "listeners   all answer".to_owned(),
            silent => format!(
                "listeners   no answer: {}; is the receiver running?",
                silent.join(", ")
            ),
        });
        lines.push(match &self.records {
            None => "records     are taken in".to_owned(),
            Some(why) => format!("records     CANNOT be taken in: {why}"),
        });
        lines.push(match &self.blobs {
            None => "pictures    are taken in".to_owned(),
            Some(why) => format!("pictures    CANNOT be taken in: {why}"),
        });
        let mib = |bytes: u64| bytes / (1024 * 1024);
        let (free, total) = (mib(self.free_bytes), mib(self.total_bytes));
        lines.push(format!("disk        {free} of {total} MiB free"));
        for missing in &self.missing {
            let (device, count, since) =
                (missing.device, missing.count, local::time(missing.since_us));
            lines.push(format!(
                "missing     device {device}: the files of {count} stored pictures are gone, known since {since}; restore \
                 them from a copy of \"blobs\""
            ));
        }
        lines.push(match &self.heads {
            None => "heads       none were signed yet".to_owned(),
            Some(heads) => heads.words(),
        });
        if let Some(certificate) = &self.portal_certificate {
            lines.push(certificate.words());
        }
        for OverdueMedia { device, count, .. } in &self.overdue {
            lines.push(format!(
                "overdue     device {device}: {count} pictures announced more than a day ago have not arrived"
            ));
        }
        lines.join("\n")
    }
}

impl CertificateState {
    fn of(config: &Config, at: UtcMicros) -> Option<Self> {
        config.portal_certificate()?;
        let standing = Standing::load(&config.data_dir.join(TLS_DIR)).unwrap_or_default();
        Some(Self {
            needs_hand: standing.needs_hand(at),
            standing,
        })
    }

    fn words(&self) -> String {
        let mut words = match self.standing.not_after_us {
            Some(until) => format!("portal      certificate good until {}", local::time(until)),
            None => "portal      NO public certificate: browsers warn".to_owned(),
        };
        if let Some(problem) = &self.standing.problem {
            let since = self.standing.problem_since_us.map(local::time);
            words += &format!(
                "\n            NO newer one, tried since {}: {problem}",
                since.unwrap_or_default()
            );
        }
        words
    }
}

impl HeadsState {
    /// Only what the configuration still asks for, and of a longer time no more than is still tried.
    fn of(rows: &[HeadsRow], wanted: &config::Heads) -> Option<Self> {
        let newest = rows.last()?;
        let tried = &rows[rows.len().saturating_sub(AT_ONCE)..];
        let trouble = |row: &HeadsRow, problem: &Option<String>| {
            Some(Trouble {
                number: row.number,
                at_us: row.at_us,
                problem: problem.clone()?,
            })
        };
        let is_unsent = |row: &&HeadsRow| {
            let to_file = !wanted.path.as_os_str().is_empty() && row.written_us.is_none();
            to_file || !wanted.mail_to.is_empty() && row.mailed_us.is_none()
        };
        let mut unsent = tried.iter().filter(is_unsent);
        let is_unstamped =
            |row: &&HeadsRow| !wanted.time_stamps_from.is_empty() && row.stamp.is_none();
        let mut unstamped = tried.iter().filter(is_unstamped);
        Some(Self {
            number: newest.number,
            at_us: newest.at_us,
            stamped_us: newest.stamp.as_ref().map(|stamp| stamp.at_us),
            unsent: unsent.find_map(|row| trouble(row, &row.problem)),
            unstamped: unstamped.find_map(|row| trouble(row, &row.stamp_problem)),
        })
    }

    fn is_late(&self) -> bool {
        let troubles = [&self.unsent, &self.unstamped];
        let mut oldest = troubles.into_iter().flatten();
        oldest.any(|trouble| now().since_us(trouble.at_us) > HEADS_LATE_AFTER_US)
    }

    fn words(&self) -> String {
        let mut words = format!(
            "heads       no. {} signed {}",
            self.number,
            local::time(self.at_us)
        );
        if let Some(at) = self.stamped_us {
            words += &format!(", time-stamped {}", local::time(at));
        }
        if let Some(Trouble {
            number, problem, ..
        }) = &self.unsent
        {
            words += &format!("\n            no. {number} did NOT go out: {problem}");
        }
        if let Some(Trouble {
            number, problem, ..
        }) = &self.unstamped
        {
            words += &format!("\n            no. {number} got NO time stamp: {problem}");
        }
        words
    }
}
