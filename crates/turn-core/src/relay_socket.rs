//! A socket for peers.

use std::net::{IpAddr, SocketAddr};

use crate::config::RelayAddress;
use crate::slab::Key;
use crate::stun::AddressFamily;

/// A relay socket, from the command that opens it to the command that closes it.
#[derive(Debug)]
pub(crate) struct RelaySocket {
    /// The allocation it serves; `None` while it is only reserved.
    pub(crate) allocation: Option<Key>,
    pub(crate) address: RelayAddress,
    pub(crate) wants_even_port: bool,
    /// 0 until it is open.
    pub(crate) port: u16,
}

impl RelaySocket {
    pub(crate) fn is_open(&self) -> bool {
        self.port != 0
    }

    pub(crate) fn family(&self) -> AddressFamily {
        AddressFamily::of(self.address.advertised)
    }

    /// The relayed transport address: where peers send to.
    pub(crate) fn relayed(&self) -> SocketAddr {
        SocketAddr::new(self.address.advertised, self.port)
    }

    /// Where the socket itself is.
    pub(crate) fn bound(&self) -> SocketAddr {
        SocketAddr::new(self.address.bind, self.port)
    }

    /// All addresses under which other clients of this server may name it.
    pub(crate) fn names(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        names(self.address).map({
            let port = self.port;
            move |ip| SocketAddr::new(ip, port)
        })
    }
}

/// The advertised address, and the bound one where that is another.
pub(crate) fn names(address: RelayAddress) -> impl Iterator<Item = IpAddr> {
    let bind = Some(address.bind).filter(|bind| *bind != address.advertised && !bind.is_unspecified());
    [Some(address.advertised), bind].into_iter().flatten()
}
