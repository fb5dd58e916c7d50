//! What faults are made with, and how it is judged that nothing was lost.
//!
//! - [`feeder`]: the agent's real spool and uplink in a process of their own, fed with made-up events.
//! - [`oracle`]: an id is an obligation once the spool has accepted it; the oracle says what became of each.
//! - [`proxy`]: a line between box and receiver that delays, cuts, stalls and resets.
//! - [`net`]: a network of its own that is slow or loses packets.
//! - [`disk`]: a file system of its own that loses power, fills up or turns read-only.
//! - [`cage`]: a limit on a process's memory.
//! - [`street`], [`keeper`]: the real agent with real cameras, kept as systemd keeps it.
//! - [`faketime`], [`time_server`]: another time for one process, and servers that know the true one.
//! - [`authority`]: OpenSSL's time-stamp authority, which answers rightly or wrongly.
//! - [`strace`]: system calls that fail, are delayed, or at which the program is killed.
//! - [`watcher`]: a signed-in browser that hears of events, and when.
//! - [`site`]: receiver, customer and enrolled box in one folder.
//! - [`chance`], [`size`]: seeded choices that a failure can be replayed from, and how much of them.

pub mod authority;
pub mod cage;
pub mod chance;
pub mod disk;
pub mod faketime;
pub mod feeder;
pub mod feeding;
pub mod keeper;
pub mod net;
pub mod oracle;
pub mod proxy;
pub mod site;
pub mod size;
pub mod strace;
pub mod street;
pub mod time_server;
pub mod watcher;

pub use cage::Cage;
pub use chance::Chance;
pub use faketime::FakeTime;
pub use feeder::Feeder;
pub use keeper::Keeper;
pub use oracle::Oracle;
pub use proxy::Proxy;
pub use site::Site;
pub use size::Size;
pub use street::Street;
pub use watcher::Watcher;

use edge_agent::spool::BalanceLine;
use feeding::Feed;
use serde::{Deserialize, Serialize};
use std::io::Write;
use wire::{Epoch, Sha256};

/// What a feeder is told, one JSON line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Put(Feed),
    /// Say the spool's counters.
    Balance,
    /// Renew the certificate, one attempt.
    Renew,
    /// Deliver what can be delivered in some seconds, and end.
    Stop,
}

/// What a feeder says, one JSON line each. Each is true whatever happens to the feeder afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    Started {
        epoch: Epoch,
        /// How long it took to open the spool.
        opening_ms: u64,
    },
    /// It will be offered to the spool now. Killed from here on, nobody can say whether it was accepted.
    Trying {
        record: Sha256,
        blob: Option<Sha256>,
    },
    /// The spool has accepted it: an obligation.
    Kept {
        record: Sha256,
        blob: Option<Sha256>,
        /// Of the record and its picture together.
        bytes: u64,
    },
    /// The spool has refused it, and said so.
    Refused {
        record: Sha256,
        why: String,
    },
    /// How a renewal came out.
    Renewed {
        done: bool,
        words: String,
    },
    Done {
        order: u64,
        kept: u64,
    },
    Figures {
        pending_records: u64,
        pending_blobs: u64,
        parked_records: u64,
        bytes: u64,
        /// Why the status would show the spool as anything but running.
        spool_trouble: Option<String>,
        /// As the status calls it: `mqtt`, `https`, `offline`, `disabled`.
        carriage: String,
        last_error: Option<String>,
    },
    /// Over all cameras, classes and hours: captured, settled, shed, parked.
    Balance {
        captured: u64,
        settled: u64,
        shed: u64,
        parked: u64,
    },
    Stopped,
}

impl Said {
    pub fn balance(lines: &[BalanceLine]) -> Self {
        let sum = |of: fn(&BalanceLine) -> u64| lines.iter().map(of).sum();
        Said::Balance {
            captured: sum(|line| line.captured),
            settled: sum(|line| line.settled),
            shed: sum(|line| line.shed),
            parked: sum(|line| line.parked),
        }
    }

    /// In one write, so that a process that is killed never leaves half a line.
    pub fn say(&self) {
        let mut line = serde_json::to_vec(self).expect("plain data");
        line.push(b'\n');
        // Nobody reads any more: the orders end at the same moment, and with them the feeder.
        let _ = std::io::stdout().lock().write_all(&line);
    }
}
