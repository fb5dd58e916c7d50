//! Evidence: proving what is held, to the operator and to anybody else.
//!
//! | module | what it is |
//! |---|---|
//! | [`heads`] | makes the signed heads and sends them out: `files`, `mail` |
//! | [`export`] | one file with signed records, pictures and all that is needed to check them; `page` is its index |
//! | [`container`] | the ZIP form of that file, written in one way only, so that any change of it is seen |
//! | [`audit_file`] | a part of the audit log as a file that can be checked by itself |
//! | [`check_export`], [`check_store`] | bring the bytes of an export, or of the store, to the checks of `wire::evidence` |
//! | [`check_stamps`] | the same for time stamps |
//! | [`deliveries`] | the balance: what arrived of each camera and hour, and what did not |
//! | [`time_stamp`] | another authority's signature over when heads existed |
//! | [`local`] | times as people read and write them |
//!
//! What is judged is judged in `wire::evidence`, without files, database or clock.

pub mod audit_file;
pub mod check_export;
mod check_index;
pub mod check_stamps;
pub mod check_store;
pub mod container;
pub mod deliveries;
pub mod export;
mod files;
pub mod heads;
pub mod local;
mod mail;
mod page;
pub mod time_stamp;
