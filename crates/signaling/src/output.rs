//! What the shell must do.

use lanyard_protocol::signaling::{IceServer, ServerLimits, ServerMessage};
use lanyard_protocol::{DeviceId, LaneTicket, MailboxId, MemberNumber, PROTOCOL_VERSION, SlotToken};

use crate::{CallId, ConnectionId};

/// A thing for the shell to do, in the order they come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// To which socket.
        to: ConnectionId,
        /// What.
        message: ServerMessage,
    },
    /// Complete with the wall clock and send.
    Welcome(Welcome),
    /// Complete with ICE servers and lane ticket for this member and send.
    Joined(Joined),
    /// Send `ice_servers` with fresh credentials.
    RenewCredentials {
        /// To which socket.
        to: ConnectionId,
        /// For which mailbox.
        mailbox: MailboxId,
        /// Which side of it this is.
        member: MemberNumber,
    },
    /// A side is given up for good: credentials made for it are worth nothing from now on.
    MemberGone {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// Which side.
        member: MemberNumber,
    },
    /// Call [`crate::Server::handle_drained`] when everything sent to this socket so far is written.
    ReportDrained {
        /// Which socket.
        connection: ConnectionId,
    },
    /// Ring a fronted device; answer with [`crate::Server::answer_call`].
    Call {
        /// Goes into the answer.
        call: CallId,
        /// From [`crate::Fronted`].
        key: String,
    },
    /// Write what was sent so far and close. The machine has already forgotten the socket.
    Close {
        /// Which socket.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
}

/// Why the machine closes a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The versions do not fit; `refused` was sent.
    Refused,
    /// It said something that is no message, or out of order.
    Malformed,
    /// It did nothing useful within [`crate::Limits::join_within`].
    JoinTimeout,
    /// It stayed at its rate limit without pause.
    Flooding,
}

/// `welcome` without the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// To which socket.
    pub to: ConnectionId,
    /// The socket's new id.
    pub device: DeviceId,
    /// What to tell the client about limits.
    pub limits: ServerLimits,
}

impl Welcome {
    /// The message, at `time_ms` milliseconds since 1970.
    #[must_use]
    pub fn at(self, time_ms: u64) -> ServerMessage {
        ServerMessage::Welcome { protocol_version: PROTOCOL_VERSION, device: self.device, time_ms, limits: self.limits }
    }
}

/// `joined` without ICE servers and lane ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// To which socket.
    pub to: ConnectionId,
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// The side it has.
    pub member: MemberNumber,
    /// The other side, where there is one.
    pub others: Vec<MemberNumber>,
    /// Brings it back after a drop.
    pub slot: SlotToken,
}

impl Joined {
    /// The message.
    #[must_use]
    pub fn with_paths(self, ice_servers: Vec<IceServer>, lane: Option<LaneTicket>) -> ServerMessage {
        ServerMessage::Joined {
            mailbox: self.mailbox,
            member: self.member,
            others: self.others,
            slot: self.slot,
            ice_servers,
            lane,
        }
    }
}
