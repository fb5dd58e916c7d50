//! The nineteen clauses of the published white paper, each tried on the real programs as its user would try it. A test is
//! named after its clause; `docs/clauses.md` has the table.

mod accounts; // who has an account, and what is written down
mod backup; // 13: everything lost, and brought back
mod capacity; // where data is, and how much room there is
mod certificate; // 10: what browsers are shown
mod contracts; // what is agreed with a customer, and kept
mod custody; // what is kept cannot be changed or read unnoticed
mod device_logs; // 15: what a box logs, brought to the operator
mod erasure; // what is left of a customer who has left
mod foreign; // 17: what strangers and mad boxes send
mod handover; // a box that goes on to the next customer
mod keys; // 10, 15: keys that change while it runs
mod notices; // 12, 18: maintenance and incidents
mod pages; // whether everybody can use every page
mod portal; // what customers find there, and take home
mod records; // 11: records whose agreed time is over
mod story; // what most of these begin with
mod told; // 19: what comes by mail by itself
mod upgrade; // what an upgrade leaves as it was
