//! Whether the box's network has changed: a new address or route is the best moment to connect again.
//!
//! Looked at only while somebody waits for the receiver; a box that is connected asks nobody.

use std::path::{Path, PathBuf};
use wire::Sha256;

/// Both change when an interface gets or loses an address, a cable or a way out. (`ipv6_route` counts its uses, and
/// so changes all the time.)
const FILES: [&str; 2] = ["net/route", "net/if_inet6"];

/// The network as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network(Sha256);

impl Network {
    pub(super) fn now() -> Self {
        // Of this very thread: it may live in a network namespace of its own.
        Self::of(Path::new("/proc/thread-self"))
    }

    fn of(folder: &Path) -> Self {
        // A file that is missing counts as empty: a kernel without IPv6 has no `if_inet6`.
        let read =
            |name: &&str| std::fs::read(PathBuf::from(folder).join(name)).unwrap_or_default();
        Self(Sha256::of(
            &FILES.iter().map(read).collect::<Vec<_>>().concat(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_route_or_address_is_seen_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temp dir");
        let net = folder.path().join("net");
        std::fs::create_dir(&net).expect("make");
        let before = Network::of(folder.path());
        std::fs::write(net.join("route"), "eth0 0").expect("write");
        let routed = Network::of(folder.path());
        assert_ne!(before, routed);
        std::fs::write(net.join("if_inet6"), "fe80 eth0").expect("write");
        assert_ne!(Network::of(folder.path()), routed);
        std::fs::remove_file(net.join("if_inet6")).expect("remove");
        assert_eq!(Network::of(folder.path()), routed);
        assert_eq!(
            Network::now(),
            Network::now(),
            "and it holds still by itself"
        );
    }
}
