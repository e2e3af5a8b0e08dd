//! Answers, and what they may weigh before the client has proved its address.

use std::net::IpAddr;
use std::time::Instant;

use super::Server;
use super::authenticate::Sender;
use crate::five_tuple::FiveTuple;
use crate::stun::{AttributeKind, Class, ErrorCode, Message, MessageWriter};

impl Server {
    /// Answers a request whose source address may be forged. `false` when its source has had enough.
    ///
    /// `from` is the flow the request came on, `to` the one to answer on.
    pub(super) fn answer_unproven(
        &mut self,
        now: Instant,
        from: FiveTuple,
        to: FiveTuple,
        request: &Message<'_>,
        class: Class,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> bool {
        let source = from.canonical_client().ip();
        let budget = &mut self.reply_budget;
        let answered = self.outbox.reply(to, |buffer| {
            let mut writer = MessageWriter::new(buffer, class, request.method(), request.transaction_id());
            fill(&mut writer);
            if request.has_fingerprint() {
                writer.fingerprint();
            }
            let request_bytes = request.bytes().len() + overhead_bytes(source);
            let reply_bytes = writer.len() + overhead_bytes(source);
            let may = from.transport.is_stream() || budget.take_bytes(now, source, request_bytes, reply_bytes);
            may.then(|| writer.finish().ok()).flatten()
        });
        self.metrics.answers_withheld += u64::from(!answered);
        answered
    }

    /// Answers a request of a proved sender, protected as the request was (RFC 8489 §9.2.4).
    pub(super) fn answer(
        &mut self,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
        class: Class,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) {
        let answered = self.outbox.reply(tuple, |buffer| {
            let mut writer = MessageWriter::new(buffer, class, request.method(), request.transaction_id());
            fill(&mut writer);
            writer.integrity(sender.integrity, &sender.key);
            if request.has_fingerprint() {
                writer.fingerprint();
            }
            writer.finish().ok()
        });
        self.metrics.answers_withheld += u64::from(!answered);
    }

    /// Says success, and nothing else.
    pub(super) fn accept(&mut self, tuple: FiveTuple, request: &Message<'_>, sender: &Sender) {
        self.answer(tuple, request, sender, Class::Success, |_| {});
    }

    /// Refuses the request of a proved sender.
    pub(super) fn reject(&mut self, tuple: FiveTuple, request: &Message<'_>, sender: &Sender, code: ErrorCode) {
        self.metrics.count_refusal(code);
        self.answer(tuple, request, sender, Class::Error, |writer| {
            writer.error_code(code, code.reason());
        });
    }

    /// Names the attributes that a request should not have carried (RFC 8489 §6.3.1.1).
    pub(super) fn reject_unknown(
        &mut self,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
        unknown: &UnknownAttributes,
    ) {
        let code = ErrorCode::UNKNOWN_ATTRIBUTE;
        self.metrics.count_refusal(code);
        self.answer(tuple, request, sender, Class::Error, |writer| {
            writer.error_code(code, code.reason());
            writer.attribute(AttributeKind::UNKNOWN_ATTRIBUTES, unknown.as_bytes());
        });
    }
}

/// Bytes of the IP and UDP headers around a datagram.
pub(super) const fn overhead_bytes(ip: IpAddr) -> usize {
    match ip {
        IpAddr::V4(_) => 28,
        IpAddr::V6(_) => 48,
    }
}

/// The value of UNKNOWN-ATTRIBUTES (RFC 8489 §14.13).
pub(super) struct UnknownAttributes {
    bytes: [u8; 2 * Self::MAX_LISTED],
    len: usize,
}

impl UnknownAttributes {
    /// More are not listed, so that the answer stays light.
    const MAX_LISTED: usize = 8;

    /// The attributes of `request` that must be understood and are in none of the lists (RFC 8489 §6.3.1).
    pub(super) fn of(request: &Message<'_>, known: &[&[AttributeKind]]) -> Self {
        let mut unknown = Self { bytes: [0; 2 * Self::MAX_LISTED], len: 0 };
        let kinds = request
            .attributes()
            .map(|attribute| attribute.kind)
            .filter(|kind| kind.is_comprehension_required() && !known.iter().any(|list| list.contains(kind)));
        for (kind, slot) in kinds.zip(unknown.bytes.chunks_exact_mut(2)) {
            slot.copy_from_slice(&kind.0.to_be_bytes());
            unknown.len += 2;
        }
        unknown
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
