//! The one whole-system test binary: one program to build, one list of what belongs where.

mod capture; // a camera and the agent's capture over real sockets, in good and bad times
mod tidy; // rules over the source itself
