//! Runs the real programs: cameras, agent, receiver and browser, each a process of its own, for the whole-system
//! tests, the demo and the programs that measure.
//!
//! Whatever is started here stops when its handle is dropped, so that a failing test leaves nothing behind.

pub mod acme;
pub mod agent;
pub mod browser;
pub mod camera;
pub mod camera_process;
pub mod customer;
pub mod fault;
pub mod film;
pub mod mail;
pub mod operator;
pub mod process;
pub mod receiver;
pub mod scene;
pub mod testdata;
pub mod usage;
pub mod wait;
pub mod watching;
pub mod world;
