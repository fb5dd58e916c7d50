//! Where the receiver listens: bound before anything is served, so that a port in use is known at once.

use crate::config::Config;
use anyhow::Context;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted: after a restart every device comes at once. The kernel has a limit of
/// its own, `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

pub(super) struct Sockets {
    pub(super) portal: TcpListener,
    pub(super) device: TcpListener,
    pub(super) mqtt: TcpListener,
    pub(super) monitors: Option<TcpListener>,
}

impl Sockets {
    pub(super) fn bind(config: &Config) -> anyhow::Result<Self> {
        let monitors = config.metrics.listen.map(|at| bind("metrics.listen", at));
        Ok(Self {
            portal: bind("listen.portal", config.listen.portal)?,
            device: bind("listen.device", config.listen.device)?,
            mqtt: bind("listen.mqtt", config.listen.mqtt)?,
            monitors: monitors.transpose()?,
        })
    }
}

fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // So that a port is free again at once after a restart.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| {
        format!(
            "listening on {address}; is it in use? \"{name}\" in the configuration sets another"
        )
    })
}
