//! What happened so far: plain counters, read by the shell whenever it likes.

use derive_more::Add;

use crate::five_tuple::Transport;
use crate::peer_policy::Denial;
use crate::stun::ErrorCode;

/// What was relayed for clients of one transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Add)]
pub struct Traffic {
    /// Packets passed from clients to peers.
    pub to_peer_packets: u64,
    /// Payload bytes of these.
    pub to_peer_bytes: u64,
    /// Packets passed from peers to clients.
    pub to_client_packets: u64,
    /// Payload bytes of these.
    pub to_client_bytes: u64,
}

/// Counters since start. Those of several servers add up. They only grow, except for [`allocations`](Self::allocations).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Add)]
pub struct Metrics {
    /// Allocations at this moment; a gauge.
    pub allocations: u64,
    /// Allocations ever made.
    pub allocations_created: u64,
    /// Allocations that ran out without being given up.
    pub allocations_expired: u64,
    /// Binding requests answered.
    pub binding_answered: u64,
    /// Client messages that were neither STUN nor ChannelData, not well-formed, or of no known method.
    pub malformed: u64,
    /// Requests left unanswered so that this server amplifies nothing, and answers for which there was no room.
    pub answers_withheld: u64,
    /// Requests without credentials answered with 401.
    pub challenges: u64,
    /// Requests with wrong or expired credentials answered with 401.
    pub wrong_credentials: u64,
    /// Answers 438.
    pub stale_nonces: u64,
    /// Answers 403: a peer outside the policy.
    pub forbidden: u64,
    /// Answers 486.
    pub quota_reached: u64,
    /// Answers 508.
    pub insufficient_capacity: u64,
    /// All other refusals.
    pub other_refusals: u64,
    /// Peers refused, or packets dropped, for a special address.
    pub denied_special_address: u64,
    /// Peers refused, or packets dropped, for an address of this server itself.
    pub denied_own_address: u64,
    /// Peers refused, or packets dropped, for being outside the client's room.
    pub denied_outside_room: u64,
    /// Permissions, channels and allocations ended by a change of policy, credentials or membership.
    pub cut_by_reload: u64,
    /// Packets passed from clients to peers.
    pub to_peer_packets: u64,
    /// Payload bytes passed from clients to peers.
    pub to_peer_bytes: u64,
    /// Packets passed from peers to clients.
    pub to_client_packets: u64,
    /// Payload bytes passed from peers to clients.
    pub to_client_bytes: u64,
    /// Of all these, what was for clients over TCP.
    pub tcp: Traffic,
    /// Of all these, what was for clients over TLS.
    pub tls: Traffic,
    /// Of both, packets passed from client to client inside this server.
    pub local_packets: u64,
    /// Packets from clients without allocation, channel or permission.
    pub dropped_from_client: u64,
    /// Packets from peers without permission.
    pub dropped_from_peer: u64,
    /// Packets beyond a credential's bandwidth or the day's cap.
    pub dropped_over_limit: u64,
}

impl Metrics {
    /// What of the counters was for clients over this transport.
    #[must_use]
    pub fn traffic(&self, transport: Transport) -> Traffic {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
            Transport::Udp => Traffic {
                to_peer_packets: self.to_peer_packets - self.tcp.to_peer_packets - self.tls.to_peer_packets,
                to_peer_bytes: self.to_peer_bytes - self.tcp.to_peer_bytes - self.tls.to_peer_bytes,
                to_client_packets: self.to_client_packets - self.tcp.to_client_packets - self.tls.to_client_packets,
                to_client_bytes: self.to_client_bytes - self.tcp.to_client_bytes - self.tls.to_client_bytes,
            },
        }
    }

    pub(crate) fn count_to_peer(&mut self, transport: Transport, bytes: usize) {
        self.to_peer_packets += 1;
        self.to_peer_bytes += bytes as u64;
        if let Some(traffic) = self.stream(transport) {
            traffic.to_peer_packets += 1;
            traffic.to_peer_bytes += bytes as u64;
        }
    }

    pub(crate) fn count_to_client(&mut self, transport: Transport, bytes: usize) {
        self.to_client_packets += 1;
        self.to_client_bytes += bytes as u64;
        if let Some(traffic) = self.stream(transport) {
            traffic.to_client_packets += 1;
            traffic.to_client_bytes += bytes as u64;
        }
    }

    /// Counted apart for streams only: what is left over is UDP, the fast path.
    fn stream(&mut self, transport: Transport) -> Option<&mut Traffic> {
        match transport {
            Transport::Udp => None,
            Transport::Tcp => Some(&mut self.tcp),
            Transport::Tls => Some(&mut self.tls),
        }
    }

    pub(crate) fn count_refusal(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::FORBIDDEN => self.forbidden += 1,
            ErrorCode::STALE_NONCE => self.stale_nonces += 1,
            ErrorCode::ALLOCATION_QUOTA_REACHED => self.quota_reached += 1,
            ErrorCode::INSUFFICIENT_CAPACITY => self.insufficient_capacity += 1,
            _ => self.other_refusals += 1,
        }
    }

    pub(crate) fn count_denial(&mut self, denial: Denial) {
        match denial {
            Denial::SpecialAddress => self.denied_special_address += 1,
            Denial::OwnAddress => self.denied_own_address += 1,
            Denial::OutsideRoom => self.denied_outside_room += 1,
        }
    }
}
