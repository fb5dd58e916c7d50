//! The one whole-system test binary.
