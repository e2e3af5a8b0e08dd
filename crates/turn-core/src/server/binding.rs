//! Binding: tells a client the address it is seen at (RFC 8489 §3), and helps to classify its NAT (RFC 5780).

use std::net::SocketAddr;
use std::time::Instant;

use super::Server;
use super::answer::UnknownAttributes;
use crate::config::Discovery;
use crate::five_tuple::{FiveTuple, Transport};
use crate::stun::{AttributeKind, Class, ErrorCode, Message};

/// What a Binding request may carry. Credentials are allowed, not needed, and not looked at (RFC 8489 §9.2.4).
const KNOWN_IN_BINDING: &[AttributeKind] = &[
    AttributeKind::USERNAME,
    AttributeKind::USERHASH,
    AttributeKind::REALM,
    AttributeKind::NONCE,
    AttributeKind::PASSWORD_ALGORITHM,
];

/// CHANGE-REQUEST's flags (RFC 5780 §7.2).
const CHANGE_IP: u32 = 0x4;
const CHANGE_PORT: u32 = 0x2;

/// The attributes of RFC 5780 that a server with two addresses understands in addition. PADDING is not among them:
/// it asks for answers of a size that others would have to receive (RFC 5780 §9).
const KNOWN_IN_DISCOVERY: &[AttributeKind] = &[AttributeKind::CHANGE_REQUEST, AttributeKind::RESPONSE_PORT];

impl Server {
    pub(super) fn handle_binding(&mut self, now: Instant, tuple: FiveTuple, request: &Message<'_>) {
        let discovery = self.config.discovery.filter(|_| tuple.transport == Transport::Udp);
        let discovery_kinds = if discovery.is_some() { KNOWN_IN_DISCOVERY } else { &[] };
        let unknown = UnknownAttributes::of(request, &[KNOWN_IN_BINDING, discovery_kinds]);
        if !unknown.is_empty() {
            // To where the request came from: nobody else can be made to receive a refusal.
            self.answer_unproven(now, tuple, tuple, request, Class::Error, |writer| {
                writer.error_code(ErrorCode::UNKNOWN_ATTRIBUTE, "");
                writer.attribute(AttributeKind::UNKNOWN_ATTRIBUTES, unknown.as_bytes());
            });
            return;
        }

        let found = discovery.and_then(|discovery| discover(&discovery, tuple, request));
        let to = found.map_or(tuple, |found| found.tuple);
        let answered = self.answer_unproven(now, tuple, to, request, Class::Success, |writer| {
            writer.xor_address(AttributeKind::XOR_MAPPED_ADDRESS, tuple.canonical_client());
            if let Some(found) = found {
                writer.address(AttributeKind::RESPONSE_ORIGIN, found.tuple.server);
                writer.address(AttributeKind::OTHER_ADDRESS, found.other);
            }
        });
        self.metrics.binding_answered += u64::from(answered);
    }
}

/// What a client that classifies its NAT asks for (RFC 5780 §6.1).
#[derive(Clone, Copy)]
struct Discovered {
    /// The flow to answer on.
    tuple: FiveTuple,
    /// The listener that differs in address and port.
    other: SocketAddr,
}

/// `None` on a listener that is none of the four.
fn discover(discovery: &Discovery, tuple: FiveTuple, request: &Message<'_>) -> Option<Discovered> {
    let change = number(request, AttributeKind::CHANGE_REQUEST).unwrap_or(0);
    let server = discovery.listener(tuple.server, change & CHANGE_IP != 0, change & CHANGE_PORT != 0)?;
    let other = discovery.listener(tuple.server, true, true)?;
    // A 16-bit port, then 16 bits of padding (RFC 5780 §7.5).
    let port = number(request, AttributeKind::RESPONSE_PORT).and_then(|value| u16::try_from(value >> 16).ok());
    let client = SocketAddr::new(tuple.client.ip(), port.unwrap_or(tuple.client.port()));
    Some(Discovered { tuple: FiveTuple { client, server, ..tuple }, other })
}

/// Reads a 32-bit attribute.
fn number(message: &Message<'_>, kind: AttributeKind) -> Option<u32> {
    message.attribute(kind)?.try_into().ok().map(u32::from_be_bytes)
}
