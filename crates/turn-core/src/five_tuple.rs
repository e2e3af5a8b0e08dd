//! The flow between a client and this server.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// How a client reaches this server. Part of what tells flows apart (RFC 8656 §2, "5-tuple").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream: ChannelData is padded (RFC 8656 §12.5).
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// Whether messages travel in a stream rather than in datagrams. A stream's source address has proved itself.
    pub const fn is_stream(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls => true,
        }
    }
}

/// A flow between a client and this server (RFC 8656 §2). An allocation belongs to exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FiveTuple {
    /// The protocol below TURN.
    pub transport: Transport,
    /// The client, as this server sees it.
    pub client: SocketAddr,
    /// The listener's own address on which the client's packets arrive.
    pub server: SocketAddr,
}

impl Hash for FiveTuple {
    /// Three words instead of the dozen writes that the parts would make: this is looked up for every packet.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(ip_bits(self.client.ip()));
        state.write_u128(ip_bits(self.server.ip()));
        let transport = match self.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
        };
        state.write_u64(u64::from(self.client.port()) << 32 | u64::from(self.server.port()) << 8 | transport);
    }
}

const fn ip_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits() as u128,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FiveTuple {
    /// The client's address with an IPv4 address written as one, as a dual-stack socket does not do.
    pub(crate) fn canonical_client(&self) -> SocketAddr {
        SocketAddr::new(self.client.ip().to_canonical(), self.client.port())
    }
}
