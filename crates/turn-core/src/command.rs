//! What the machine asks of the world, and the packets it passes on.

use std::net::{IpAddr, SocketAddr};

use crate::five_tuple::FiveTuple;
use crate::slab::Key;

/// Names a relay socket for as long as it is open. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub(crate) Key);

/// What a relay socket's port must be like (RFC 8656 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortRequest {
    /// Any port.
    Any,
    /// An even port (EVEN-PORT).
    Even,
    /// An even port, and the next one opened under this name at the same time (EVEN-PORT with its R bit set).
    EvenWithNext(RelayId),
}

/// What the shell must do. Drain with [`Server::poll_command`](crate::Server::poll_command) after every `handle_*`.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send this STUN message: client and server as in `tuple`, from `tuple.server` to `tuple.client`.
    SendToClient {
        /// The flow. For answers of RFC 5780 its ends may be others than those of the request.
        tuple: FiveTuple,
        /// One whole message. Its length is a multiple of four, so a stream needs no padding.
        message: &'a [u8],
    },
    /// Bind a UDP socket for peers, then call [`Server::relay_socket_opened`](crate::Server::relay_socket_opened).
    OpenRelaySocket {
        /// The name the socket goes by from now on.
        relay: RelayId,
        /// The local address to bind to. An IPv6 socket must be v6-only.
        bind: IpAddr,
        /// What the port must be like.
        port: PortRequest,
    },
    /// Close a relay socket; its name is void. It may still be on its way open: then close it once it is.
    CloseRelaySocket {
        /// The name.
        relay: RelayId,
    },
}

/// A payload on its way, to be sent without another look or copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward<'a> {
    /// Out of a relay socket.
    ToPeer(ForwardToPeer<'a>),
    /// Straight to another client of this server: the peer is its relayed transport address.
    ToClient(ForwardToClient<'a>),
}

/// A datagram for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardToPeer<'a> {
    /// The socket to send from.
    pub relay: RelayId,
    /// Where to.
    pub peer: SocketAddr,
    /// The whole datagram.
    pub payload: &'a [u8],
    /// Whether the IPv4 header must have DF set (RFC 8656 §14, DONT-FRAGMENT).
    pub dont_fragment: bool,
}

/// A datagram for a client: header, payload and padding, to be sent one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardToClient<'a> {
    /// The flow to send on, from `tuple.server` to `tuple.client`.
    pub tuple: FiveTuple,
    /// ChannelData header, or Data indication up to the payload.
    pub header: ForwardHeader,
    /// The payload as the peer sent it.
    pub payload: &'a [u8],
    /// Zero bytes after the payload, 0–3.
    pub padding: u8,
}

impl<'a> ForwardToClient<'a> {
    /// Header, payload and padding as slices, for one vectored send.
    pub fn slices(&'a self) -> [&'a [u8]; 3] {
        [self.header.as_bytes(), self.payload, [0; 3].get(..usize::from(self.padding)).unwrap_or_default()]
    }

    /// Bytes in all.
    pub fn size_bytes(&self) -> usize {
        self.slices().iter().map(|slice| slice.len()).fold(0, usize::saturating_add)
    }
}

/// What goes before a payload: up to 48 bytes, kept inline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ForwardHeader {
    bytes: [u8; Self::MAX_BYTES],
    len: u8,
}

impl ForwardHeader {
    /// A Data indication from an IPv6 peer: header 20, XOR-PEER-ADDRESS 24, header of DATA 4.
    pub const MAX_BYTES: usize = 48;

    /// One header from its parts, which fit by the types of the callers' arrays.
    pub(crate) fn from_parts(parts: &[&[u8]]) -> Self {
        let mut header = Self { bytes: [0; Self::MAX_BYTES], len: 0 };
        for (slot, byte) in header.bytes.iter_mut().zip(parts.iter().copied().flatten()) {
            *slot = *byte;
            header.len += 1;
        }
        header
    }

    /// The bytes to send first.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl std::fmt::Debug for ForwardHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ForwardHeader({} bytes)", self.len)
    }
}
