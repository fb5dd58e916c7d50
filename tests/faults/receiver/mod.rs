//! What the receiver has answered for is there, whatever happens to its disk; and who comes to it, however many and
//! however cut, is served.

mod blobs; // uploads cut, doubled, wrong
mod disk; // power cuts, failing commits, full and absent disks
mod fleet; // simulated devices
mod sessions; // five hundred of them at once
