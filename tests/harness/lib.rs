//! Runs the real programs for whole-system tests.

pub mod camera;
pub mod film;
