//! The one whole-system test binary: one program to build, one list of what belongs where.

mod tidy; // rules over the source itself
