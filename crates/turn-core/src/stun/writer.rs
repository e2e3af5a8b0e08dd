//! Writes a message at the end of a buffer the caller owns. No allocation when the buffer has room.

use std::net::SocketAddr;

use super::address::{address_bytes, xor_address_bytes};
use super::attribute::AttributeKind;
use super::error_code::ErrorCode;
use super::fingerprint;
use super::integrity::{self, Integrity, IntegrityKey};
use super::message::{Class, HEADER_BYTES, MAGIC_COOKIE, Method, TransactionId, message_type};

/// More than a 16-bit length field can say (RFC 8489 §5). The buffer is as it was before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a STUN message cannot hold {len} bytes of attributes")]
pub struct MessageTooLong {
    /// Bytes of attributes there would have been.
    pub len: usize,
}

/// Appends one message to a buffer: attributes in the order of the calls, integrity and fingerprint last.
#[derive(Debug)]
pub struct MessageWriter<'b> {
    buffer: &'b mut Vec<u8>,
    start: usize,
    transaction_id: TransactionId,
    too_long: bool,
}

impl<'b> MessageWriter<'b> {
    /// Starts a message at the end of `buffer`.
    pub fn new(buffer: &'b mut Vec<u8>, class: Class, method: Method, transaction_id: TransactionId) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&message_type(class, method).to_be_bytes());
        buffer.extend_from_slice(&[0, 0]);
        buffer.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        buffer.extend_from_slice(&transaction_id.0);
        Self { buffer, start, transaction_id, too_long: false }
    }

    /// Adds an attribute; its padding is zero (RFC 8489 §14).
    pub fn attribute(&mut self, kind: AttributeKind, value: &[u8]) -> &mut Self {
        self.attribute_of(kind, &[value])
    }

    /// Adds an attribute whose value is these parts one after another.
    pub fn attribute_of(&mut self, kind: AttributeKind, parts: &[&[u8]]) -> &mut Self {
        let len = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
        let Ok(length) = u16::try_from(len) else {
            self.too_long = true;
            return self;
        };
        self.buffer.extend_from_slice(&kind.0.to_be_bytes());
        self.buffer.extend_from_slice(&length.to_be_bytes());
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        let padding = len.next_multiple_of(4).saturating_sub(len);
        self.buffer.extend(std::iter::repeat_n(0, padding));
        self
    }

    /// Adds a 32-bit attribute such as LIFETIME.
    pub fn u32(&mut self, kind: AttributeKind, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Adds an address as it is, such as ALTERNATE-SERVER.
    pub fn address(&mut self, kind: AttributeKind, address: SocketAddr) -> &mut Self {
        let (value, len) = address_bytes(address);
        self.attribute(kind, value.get(..len).unwrap_or_default())
    }

    /// Adds an XORed address, such as XOR-MAPPED-ADDRESS.
    pub fn xor_address(&mut self, kind: AttributeKind, address: SocketAddr) -> &mut Self {
        let (value, len) = xor_address_bytes(address, self.transaction_id);
        self.attribute(kind, value.get(..len).unwrap_or_default())
    }

    /// Adds ERROR-CODE with this reason, which may be empty.
    pub fn error_code(&mut self, code: ErrorCode, reason: &str) -> &mut Self {
        let [class, number] = code.class_and_number();
        self.attribute_of(AttributeKind::ERROR_CODE, &[&[0, 0, class, number], reason.as_bytes()])
    }

    /// Bytes of the message so far, header included.
    pub fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    /// Never: the header is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Adds MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 over all so far. Only a fingerprint may follow.
    pub fn integrity(&mut self, kind: Integrity, key: &IntegrityKey) -> &mut Self {
        let message = self.buffer.get(self.start..).unwrap_or_default();
        let (value, len) = integrity::compute(message, kind, key);
        let attribute = match kind {
            Integrity::Sha1 => AttributeKind::MESSAGE_INTEGRITY,
            Integrity::Sha256 => AttributeKind::MESSAGE_INTEGRITY_SHA256,
        };
        self.attribute(attribute, value.get(..len).unwrap_or_default())
    }

    /// Adds FINGERPRINT over all so far. Nothing may follow.
    pub fn fingerprint(&mut self) -> &mut Self {
        self.set_length(fingerprint::ATTRIBUTE_BYTES);
        let value = fingerprint::compute(self.buffer.get(self.start..).unwrap_or_default());
        self.u32(AttributeKind::FINGERPRINT, value)
    }

    /// Completes the header.
    ///
    /// # Errors
    ///
    /// When the attributes are longer than 65 532 bytes in all; nothing is left in the buffer then.
    pub fn finish(mut self) -> Result<(), MessageTooLong> {
        let len = self.len().saturating_sub(HEADER_BYTES);
        if self.too_long || u16::try_from(len).is_err() {
            self.buffer.truncate(self.start);
            return Err(MessageTooLong { len });
        }
        self.set_length(0);
        Ok(())
    }

    /// Forgets the message; the buffer is as it was before.
    pub fn discard(self) {
        self.buffer.truncate(self.start);
    }

    /// Writes the length field for what is there and `extra` bytes to come.
    fn set_length(&mut self, extra: usize) {
        let len = self.len().saturating_sub(HEADER_BYTES).saturating_add(extra);
        let length = u16::try_from(len).unwrap_or(u16::MAX);
        let field = self.buffer.get_mut(self.start.saturating_add(2)..).and_then(|bytes| bytes.first_chunk_mut());
        if let Some(field) = field {
            *field = length.to_be_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::Message;

    const ID: TransactionId = TransactionId([9; 12]);

    #[test]
    fn what_is_written_is_read_back_after_what_was_there() {
        let mut buffer = b"before".to_vec();
        let mut writer = MessageWriter::new(&mut buffer, Class::Success, Method::REFRESH, ID);
        writer.u32(AttributeKind::LIFETIME, 600).attribute(AttributeKind::SOFTWARE, b"abcde").fingerprint();
        writer.finish().unwrap();
        let message = Message::decode(&buffer[6..]).unwrap();
        assert_eq!(
            (message.class(), message.method(), message.transaction_id()),
            (Class::Success, Method::REFRESH, ID)
        );
        assert_eq!(message.attribute(AttributeKind::LIFETIME), Some(&600_u32.to_be_bytes()[..]));
        assert_eq!(message.attribute(AttributeKind::SOFTWARE), Some(&b"abcde"[..]));
        assert!(message.has_fingerprint());
    }

    #[test]
    fn padding_is_zero_even_in_a_used_buffer() {
        let mut buffer = vec![0xff; 64];
        buffer.clear();
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID);
        writer.attribute(AttributeKind::SOFTWARE, b"a");
        writer.finish().unwrap();
        assert_eq!(buffer[24..], [b'a', 0, 0, 0]);
    }

    #[test]
    fn message_longer_than_its_length_field_is_taken_back() {
        let mut buffer = vec![1];
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::DATA, ID);
        writer.attribute(AttributeKind::DATA, &[0; 65_530]).attribute(AttributeKind::SOFTWARE, b"abcd");
        assert!(writer.finish().is_err());
        assert_eq!(buffer, [1]);
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::DATA, ID);
        writer.attribute(AttributeKind::DATA, &[0; 70_000]);
        assert!(writer.finish().is_err());
        assert_eq!(buffer, [1]);
    }
}
