//! One error type for each thing a caller can ask of a link.

use super::Role;

/// An error of the WebRTC stack, kept as a source without naming its type.
pub(super) type StackError = Box<dyn std::error::Error + Send + Sync>;

/// Why a link could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// [`Policy::RelayOnly`](super::Policy::RelayOnly) without a TURN server that can be used.
    #[error("only relayed connections are allowed, and no TURN server is known")]
    NoRelayServer,
    /// A TURN URL without username or credential.
    #[error("the TURN server {url} was given without username and credential")]
    NoCredential {
        /// The URL in question.
        url: String,
    },
    /// The stack could not start: no socket could be bound, or no certificate made.
    #[error("the connection could not be prepared")]
    Stack(#[source] StackError),
}

/// Why a signal was refused. The link goes on; the peer, or what carries its signals, is at fault.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// An offer to the offerer, an answer to the answerer, or an answer nobody waits for.
    #[error("{kind} is not expected now by the {role:?}")]
    Unexpected {
        /// `offer` or `answer`.
        kind: &'static str,
        /// This side.
        role: Role,
    },
    /// Longer than any real description or candidate.
    #[error("signal of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes received.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More candidates than any real device has.
    #[error("more than {limit} candidates for one description")]
    TooManyCandidates {
        /// Candidates allowed for one generation of ICE credentials.
        limit: usize,
    },
    /// Not SDP, or SDP that does not fit.
    #[error("the peer's description cannot be used")]
    Description(#[source] StackError),
    /// Not a candidate (RFC 8839 §5.1).
    #[error("the peer's candidate cannot be used")]
    Candidate(#[source] StackError),
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Over [`PeerLink::max_message_size`](super::PeerLink::max_message_size), or over 64 KiB on the control channel.
    #[error("message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The link closed before the message was taken.
    #[error("the link is closed")]
    Closed,
}

/// Why ICE could not be restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The answerer asks its peer for a new attempt instead.
    #[error("only the offerer can restart ICE")]
    NotOfferer,
    /// An offer is already on its way.
    #[error("the last offer has not been answered yet")]
    InProgress,
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
    /// The stack refused.
    #[error("the new offer could not be made")]
    Stack(#[source] StackError),
}
