//! The flow between a client and this server.

use std::net::SocketAddr;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    /// The protocol below TURN.
    pub transport: Transport,
    /// The client, as this server sees it.
    pub client: SocketAddr,
    /// The listener's own address on which the client's packets arrive.
    pub server: SocketAddr,
}

impl FiveTuple {
    /// The client's address with an IPv4 address written as one, as a dual-stack socket does not do.
    pub(crate) fn canonical_client(&self) -> SocketAddr {
        SocketAddr::new(self.client.ip().to_canonical(), self.client.port())
    }
}
