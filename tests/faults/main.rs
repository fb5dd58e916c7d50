//! Faults: each made on purpose, each with what must hold. One test binary, apart from the other whole-system tests so
//! that it can be run by itself and at length (`make faults`, `make soak`).
//!
//! A test is named after its number in `docs/reliability.md`. A failure prints the seed of its choices.

mod clock; // clocks that are wrong and set
mod disk; // a disk that is full, has no inodes left, or turns read-only
mod durability; // power cuts, failing system calls, damaged files, a restored copy
mod evidence; // exports, the receiver's own store, heads and the balance
mod identity; // certificates and claim codes, and lines that fall silent
mod killed; // kill -9 of box and receiver
mod life; // units that stall and hang, disks that take nothing, little memory, reconnects
mod network; // the line between box and receiver
mod receiver; // the receiver's disks, its many devices, their uploads
mod soak; // a seeded mix of everything
mod time_stamps; // time stamps over signed heads, right ones and wrong ones
