//! Whom an allocation may exchange packets with.

/// The rule for peers, applied at permission, at bind, at send, and again whenever something it rests on changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeerPolicy {
    /// Only other members of the client's own room: addresses they were seen at, and their relayed addresses.
    /// A static user is a room of its own.
    #[default]
    Room,
    /// Any public address ([`AddressScope::Public`](crate::AddressScope::Public)), and relayed addresses of this
    /// server.
    Public,
    /// Any address. For tests: such a server is a way into its owner's network.
    Any,
}

/// Why a peer was refused; a counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// Its address is of a range that is never allowed under the policy.
    SpecialAddress,
    /// It is this server, at a port that is no relayed address the client may talk to.
    OwnAddress,
    /// It belongs to nobody in the client's room.
    OutsideRoom,
}

/// How a peer that is allowed may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At every port.
    Host,
    /// Only at ports that are relayed addresses, or published by a room-mate: asked again for every packet.
    ExactPorts,
}
