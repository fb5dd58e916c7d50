//! Runs the real programs for whole-system tests.
