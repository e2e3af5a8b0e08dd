//! What the machine takes before it says no.

use std::time::Duration;

use lanyard_protocol::signaling::ServerLimits;

use crate::Rate;

/// Bounds of a [`crate::Server`]. The defaults are those of a relay on the internet.
///
/// "Source" is one IPv4 address or one IPv6 /64. Trusted connections (the agent in the same process) are exempt from
/// every bound per source and per socket, never from the totals.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Sockets in all.
    pub sockets: usize,
    /// Sockets of one source.
    pub sockets_per_source: usize,
    /// Mailboxes in all.
    pub mailboxes: usize,
    /// Mailboxes made by one source.
    pub mailboxes_per_source: usize,
    /// Mailboxes one socket is in.
    pub mailboxes_per_socket: usize,
    /// Messages waiting for one side of a mailbox.
    pub stored_messages: usize,
    /// Bytes of the bodies waiting for one side of a mailbox.
    pub stored_bytes: usize,
    /// Bytes waiting that were sent by one source.
    pub stored_bytes_per_source: usize,
    /// Bytes waiting in all.
    pub stored_bytes_total: usize,
    /// How long a new socket may take to do something useful.
    pub join_within: Duration,
    /// How long a mailbox nobody is in, and a nameplate, are kept.
    pub unjoined: Duration,
    /// How long a dropped socket's side is kept.
    pub slot_kept: Duration,
    /// Nameplates asked for by one source.
    pub allocations: Rate,
    /// Nameplates tried by one source in any minute.
    pub claims_per_minute: usize,
    /// Nameplates tried by one source in any hour.
    pub claims_per_hour: usize,
    /// Sources remembered for their tries; above it, sources not yet known may try none.
    pub sources_remembered: usize,
    /// Wrong nameplates from anywhere; above it new ones have a digit more, and claims cost work.
    pub failed_claims: Rate,
    /// Bits of work that a claim costs while there are more wrong ones than that.
    pub stamp_bits: u8,
    /// How long a used nameplate is not handed out again.
    pub nameplate_rest: Duration,
    /// Whether `nearby` lists are sent and devices may be listed.
    pub nearby: bool,
    /// Listings of one source.
    pub listed_per_source: usize,
    /// How long a page is listed at most.
    pub listed: Duration,
    /// Dials by one source.
    pub dials: Rate,
    /// Rings a device has not answered yet; at most one of them from one source.
    pub rings_per_device: usize,
    /// How long a ring waits for its answer.
    pub ring_lasts: Duration,
    /// How long the shell may take to answer [`crate::Output::Call`].
    pub call_answered_within: Duration,
    /// Messages read from one socket.
    pub messages: Rate,
    /// Bytes read from one socket.
    pub bytes: Rate,
    /// How long a socket may be at its rate without pause before it is closed.
    pub flood: Duration,
    /// How often members get fresh ICE credentials; `None` where there are none.
    pub credentials_renewed: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            sockets: 10_000,
            sockets_per_source: 32,
            mailboxes: 50_000,
            mailboxes_per_source: 512,
            mailboxes_per_socket: 256,
            stored_messages: 64,
            stored_bytes: 256 * 1024,
            stored_bytes_per_source: 4 * 1024 * 1024,
            stored_bytes_total: 64 * 1024 * 1024,
            join_within: Duration::from_secs(10),
            unjoined: 10 * MINUTE,
            slot_kept: Duration::from_secs(30),
            allocations: Rate::new(60, MINUTE, 60),
            claims_per_minute: 10,
            claims_per_hour: 60,
            sources_remembered: 100_000,
            failed_claims: Rate::new(100, MINUTE, 100),
            stamp_bits: 18,
            nameplate_rest: 10 * MINUTE,
            nearby: true,
            listed_per_source: 8,
            listed: 10 * MINUTE,
            dials: Rate::new(30, MINUTE, 10),
            rings_per_device: 3,
            ring_lasts: MINUTE,
            call_answered_within: Duration::from_secs(10),
            messages: Rate::new(30, Duration::from_secs(1), 60),
            bytes: Rate::new(128 * 1024, Duration::from_secs(1), 256 * 1024),
            flood: Duration::from_secs(20),
            credentials_renewed: None,
        }
    }
}

impl Limits {
    /// What `welcome` tells a client.
    pub(crate) fn announced(&self) -> ServerLimits {
        ServerLimits {
            body_bytes: lanyard_protocol::limits::BODY_BYTES as u32,
            messages_per_second: self.messages.per_second(),
            mailboxes: u32::try_from(self.mailboxes_per_socket).unwrap_or(u32::MAX),
            slot_kept_seconds: u32::try_from(self.slot_kept.as_secs()).unwrap_or(u32::MAX),
        }
    }
}
