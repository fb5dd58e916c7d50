//! The cloud receiver: takes in what devices deliver, verifies, stores and shows it.
//!
//! # Map
//!
//! | module | what it is |
//! |---|---|
//! | [`cmd`] | the command line, one verb per file; `main.rs` only calls it |
//! | [`app`] | the composition root: builds every part, gives each what it needs, ends them in order |
//! | [`config`], [`telemetry`], [`clock`] | the configuration file; logging; what time it is |
//! | [`keys`], [`ca`], [`tls`] | the receiver's secrets and their change; its certificate authority; the listeners' TLS |
//! | [`ingest`] | what devices send: MQTT endpoint, HTTPS, and the pure verdict on a batch (`ingest/accept.rs`) |
//! | [`evidence`] | signed heads and their time stamps, exports, verification, the balance of deliveries |
//! | [`acme`] | a certificate for browsers from a public authority |
//! | [`enroll`], [`renew`] | the claim-code exchange, by which a device comes to be known; its next certificates |
//! | [`erasure`] | when what a contract has is due to be erased, and the erasing itself |
//! | [`order`] | orders to devices: how one is made, what became of it |
//! | [`store`] | the seam to the database, and SQLite behind it; reads of customers' data take a `ContractScope` |
//! | [`backup`] | the operator's backup, sealed per contract, and bringing it back |
//! | [`blob`] | pictures and clips, by hash, resumable |
//! | `csv` | tables as files that a spreadsheet opens, and takes nothing in them for a formula |
//! | [`disk`] | how full a disk is; what is kept free of blobs |
//! | [`seal`] | encryption at rest: names, keys, AES-256-GCM |
//! | [`live`] | news of what was committed, for open pages |
//! | [`watch`] | who is silent, whose clock is off: judged, pure |
//! | [`notify`] | which user an event concerns, and when to write: pure |
//! | [`notice`] | what customers are told of, and the letters that say it |
//! | [`office`] | what an operator does, for the commands and the operators' area alike |
//! | [`mail`] | messages, and the mail server that takes them |
//! | [`auth`] | passwords, sign-in, sessions: the only maker of a `ContractScope` |
//! | [`portal`] | the pages of customers and, behind a door of their own, of operators |
//! | [`jobs`] | what runs by itself: renewing the certificate, leading devices to another CA, signing heads, erasing, retention, feeding the watchdog, sweeping blobs |
//!
//! # Who may import what
//!
//! ```text
//! main -> cmd -> app -> ingest, portal (what listens) -> auth, enroll, renew, order, blob -> store -> seal, live -> wire
//! ```
//!
//! - rusqlite stands in `store/` only, object_store in `blob.rs` and `blob/`, mqtt-protocol-core in `ingest/`, axum in `portal/`,
//!   `ingest/https`, `app.rs` and `acme/http.rs`. `tests/tidy.rs` keeps it so.
//! - `ingest` and `portal` do not know each other: what one commits the other hears of through `live` and reads from
//!   the store.
//! - `store` takes judged batches, the types of `ingest/accept.rs`; it calls nothing that listens.
//! - Nobody but `auth/session.rs` makes a `ContractScope`.

pub mod acme;
pub mod app;
pub mod auth;
pub mod backup;
pub mod blob;
pub mod ca;
pub mod capacity;
pub mod clock;
pub mod cmd;
pub mod config;
mod csv;
pub mod disk;
pub mod enroll;
pub mod erasure;
pub mod evidence;
pub mod ingest;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod mail;
pub mod metrics;
pub mod notice;
pub mod notify;
pub mod office;
pub mod order;
pub mod portal;
pub mod renew;
pub mod residency;
pub mod seal;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod watch;

#[cfg(test)]
mod testing;
