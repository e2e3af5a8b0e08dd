//! What a server is told at the start.

use std::net::SocketAddr;

/// Settings of a [`Server`](crate::Server).
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The two addresses of a server that helps to classify NATs (RFC 5780 §6); `None` without a second address.
    pub discovery: Option<Discovery>,
}

/// Two addresses and two ports, listened on in all four combinations (RFC 5780 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// First address and first port.
    pub primary: SocketAddr,
    /// Second address and second port. Both differ from the first; the family is the same.
    pub alternate: SocketAddr,
}

impl Discovery {
    /// The listener that differs from `from` in what is asked for; `None` when `from` is none of the four.
    pub(crate) fn listener(&self, from: SocketAddr, change_ip: bool, change_port: bool) -> Option<SocketAddr> {
        let ips = [self.primary.ip(), self.alternate.ip()];
        let ports = [self.primary.port(), self.alternate.port()];
        let ip = other_of(ips, from.ip(), change_ip)?;
        let port = other_of(ports, from.port(), change_port)?;
        Some(SocketAddr::new(ip, port))
    }
}

/// `value` itself, or the other of the pair; `None` when it is not of the pair.
fn other_of<T: Copy + PartialEq>([first, second]: [T; 2], value: T, change: bool) -> Option<T> {
    if value == first {
        Some(if change { second } else { first })
    } else if value == second {
        Some(if change { first } else { second })
    } else {
        None
    }
}
