//! The header, and the checks a message passes before anything looks inside.

use super::attribute::{Attribute, AttributeKind, Attributes};
use super::fingerprint;
use super::integrity::{self, Integrity, IntegrityKey};

/// Bytes of the STUN header (RFC 8489 §5).
pub const HEADER_BYTES: usize = 20;

/// The second 32-bit word of every STUN message (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// Names a request and its response; 96 random bits (RFC 8489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// What kind of message this is (RFC 8489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for none.
    Indication,
    /// The request was carried out.
    Success,
    /// The request was refused.
    Error,
}

/// What is asked for: 12 bits (RFC 8489 §18.2, RFC 8656 §17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Method(pub u16);

impl Method {
    /// What address do you see me at? (RFC 8489 §3)
    pub const BINDING: Self = Self(0x001);
    /// Lease a relayed transport address (RFC 8656 §7).
    pub const ALLOCATE: Self = Self(0x003);
    /// Renew or give up the lease (RFC 8656 §8).
    pub const REFRESH: Self = Self(0x004);
    /// Payload from client to peer (RFC 8656 §11).
    pub const SEND: Self = Self(0x006);
    /// Payload from peer to client (RFC 8656 §11).
    pub const DATA: Self = Self(0x007);
    /// Let peers at these addresses send in (RFC 8656 §10).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// Give a peer a channel number (RFC 8656 §12).
    pub const CHANNEL_BIND: Self = Self(0x009);
}

/// Why bytes are no STUN message (RFC 8489 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the header (RFC 8489 §5).
    #[error("{len} bytes are shorter than the 20-byte header")]
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// The two top bits are not zero (RFC 8489 §5).
    #[error("the two top bits are not zero")]
    NotStun,
    /// The cookie differs, as in messages of RFC 3489, which are not served (RFC 8489 §5).
    #[error("wrong magic cookie")]
    WrongCookie,
    /// The length field is no multiple of four, or is not the length of what follows (RFC 8489 §5).
    #[error("length field {length} does not fit {len} bytes")]
    WrongLength {
        /// The field's value.
        length: usize,
        /// Bytes given.
        len: usize,
    },
    /// An attribute reaches past the end (RFC 8489 §14).
    #[error("attribute {kind:#06x} reaches past the end")]
    TruncatedAttribute {
        /// The attribute's type.
        kind: u16,
    },
    /// FINGERPRINT is there, but wrong, or not the last attribute (RFC 8489 §14.7).
    #[error("wrong FINGERPRINT")]
    WrongFingerprint,
}

/// A whole and well-formed STUN message, borrowed from the bytes it came in.
///
/// Every attribute's bounds have been checked, and FINGERPRINT where there is one. Attributes that come after
/// MESSAGE-INTEGRITY are not protected by it, and are not shown (RFC 8489 §14.5, §14.6).
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the attributes that may be believed end: at the first integrity attribute, or at the end.
    protected_end: usize,
    integrity: Option<Found<'a>>,
    has_fingerprint: bool,
    /// Whether no attribute reaches past the end.
    is_whole: bool,
}

/// The strongest integrity attribute of a message.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    kind: Integrity,
    /// Offset of the attribute's header in the message.
    offset: usize,
    value: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message that fills `bytes` exactly, as a datagram does.
    ///
    /// # Errors
    ///
    /// See [`DecodeError`]; such bytes are dropped without an answer (RFC 8489 §6.3).
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::decode_header(bytes)?;
        message.walk()?;
        Ok(message)
    }

    /// The same as far as the attributes go, when they break off: what is protected by an integrity attribute is whole
    /// whatever comes after it.
    ///
    /// # Errors
    ///
    /// See [`DecodeError`]; all but [`TruncatedAttribute`](DecodeError::TruncatedAttribute).
    pub(crate) fn decode_as_far_as_it_goes(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut message = Self::decode_header(bytes)?;
        match message.walk() {
            Err(DecodeError::TruncatedAttribute { .. }) => message.is_whole = false,
            walked => walked?,
        }
        Ok(message)
    }

    fn decode_header(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(DecodeError::TooShort { len: bytes.len() })?;
        let [type_high, _, length_high, length_low, cookie @ ..] = header;
        if type_high & 0b1100_0000 != 0 {
            return Err(DecodeError::NotStun);
        }
        if cookie.first_chunk() != Some(&MAGIC_COOKIE.to_be_bytes()) {
            return Err(DecodeError::WrongCookie);
        }
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        if length % 4 != 0 || bytes.len().checked_sub(HEADER_BYTES) != Some(length) {
            return Err(DecodeError::WrongLength { length, len: bytes.len() });
        }
        Ok(Self { bytes, protected_end: bytes.len(), integrity: None, has_fingerprint: false, is_whole: true })
    }

    /// One pass over all attributes: bounds, FINGERPRINT, and where the integrity attribute is.
    fn walk(&mut self) -> Result<(), DecodeError> {
        let mut attributes = Attributes::new(self.body());
        loop {
            let offset = self.bytes.len().saturating_sub(attributes.remaining());
            let Some(attribute) = attributes.next() else { break };
            match attribute.kind {
                AttributeKind::FINGERPRINT => {
                    let covered = self.bytes.get(..offset).unwrap_or_default();
                    if attributes.remaining() != 0 || !fingerprint::verify(covered, attribute.value) {
                        return Err(DecodeError::WrongFingerprint);
                    }
                    self.has_fingerprint = true;
                    self.protected_end = self.protected_end.min(offset);
                }
                AttributeKind::MESSAGE_INTEGRITY if self.integrity.is_none() => {
                    self.integrity = Some(Found { kind: Integrity::Sha1, offset, value: attribute.value });
                    self.protected_end = self.protected_end.min(offset);
                }
                // It may follow MESSAGE-INTEGRITY, and then counts instead of it (RFC 8489 §9.2.4).
                AttributeKind::MESSAGE_INTEGRITY_SHA256 if self.integrity_kind() != Some(Integrity::Sha256) => {
                    self.integrity = Some(Found { kind: Integrity::Sha256, offset, value: attribute.value });
                    self.protected_end = self.protected_end.min(offset);
                }
                _ => {}
            }
        }
        match attributes.rest() {
            [] => Ok(()),
            [high, low, ..] => Err(DecodeError::TruncatedAttribute { kind: u16::from_be_bytes([*high, *low]) }),
            [_] => Err(DecodeError::TruncatedAttribute { kind: 0 }),
        }
    }

    /// The message as it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The message's class.
    pub fn class(&self) -> Class {
        let bits = self.type_bits();
        match (bits & 0x0100 != 0, bits & 0x0010 != 0) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, false) => Class::Success,
            (true, true) => Class::Error,
        }
    }

    /// The message's method. The class bits lie between its bits (RFC 8489 §5, figure 3).
    pub fn method(&self) -> Method {
        let bits = self.type_bits();
        Method((bits & 0x000f) | ((bits & 0x00e0) >> 1) | ((bits & 0x3e00) >> 2))
    }

    /// The message's transaction ID.
    pub fn transaction_id(&self) -> TransactionId {
        let id = self.bytes.get(8..HEADER_BYTES).and_then(<[u8]>::first_chunk);
        TransactionId(id.copied().unwrap_or_default())
    }

    /// The attributes that may be believed, in order: all before the first integrity attribute.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.bytes.get(HEADER_BYTES..self.protected_end).unwrap_or_default())
    }

    /// The value of the first attribute of this kind; later ones are ignored (RFC 8489 §14).
    pub fn attribute(&self, kind: AttributeKind) -> Option<&'a [u8]> {
        self.attributes().find(|attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// Which integrity attribute the message carries; the stronger, if both.
    pub fn integrity_kind(&self) -> Option<Integrity> {
        self.integrity.map(|found| found.kind)
    }

    /// Whether a (correct) FINGERPRINT ended the message. An answer then carries one, too.
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// Whether all attributes could be read.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the message carries an integrity attribute made with `key`. Takes constant time for equal lengths.
    pub fn verify_integrity(&self, key: &IntegrityKey) -> bool {
        self.integrity.is_some_and(|found| integrity::verify(self.bytes, found.kind, found.offset, found.value, key))
    }

    /// Attributes that must be understood and are not in `known` (RFC 8489 §6.3.1).
    pub fn unknown_attributes(self, known: &'a [AttributeKind]) -> impl Iterator<Item = AttributeKind> + 'a {
        self.attributes()
            .map(|Attribute { kind, .. }| kind)
            .filter(move |kind| kind.is_comprehension_required() && !known.contains(kind))
    }

    fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    fn type_bits(&self) -> u16 {
        self.bytes.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
    }
}

/// The first 16 bits of a message (RFC 8489 §5, figure 3).
pub(super) fn message_type(class: Class, method: Method) -> u16 {
    let Method(method) = method;
    let class = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    class | (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u16) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(length.to_be_bytes());
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend([7; 12]);
        bytes
    }

    #[test]
    fn type_is_split_into_class_and_method_for_every_method() {
        for method in 0..0x1000 {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let mut bytes = header(0);
                bytes[..2].copy_from_slice(&message_type(class, Method(method)).to_be_bytes());
                let message = Message::decode(&bytes).unwrap();
                assert_eq!((message.class(), message.method()), (class, Method(method)));
            }
        }
    }

    #[test]
    fn header_alone_is_a_message() {
        let bytes = header(0);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.transaction_id(), TransactionId([7; 12]));
        assert_eq!(message.attributes().count(), 0);
    }

    #[test]
    fn wrong_headers_are_refused() {
        assert_eq!(Message::decode(&[0; 19]).unwrap_err(), DecodeError::TooShort { len: 19 });
        let mut top_bit = header(0);
        top_bit[0] = 0x40;
        assert_eq!(Message::decode(&top_bit).unwrap_err(), DecodeError::NotStun);
        let mut cookie = header(0);
        cookie[4] = 0;
        assert_eq!(Message::decode(&cookie).unwrap_err(), DecodeError::WrongCookie);
        assert_eq!(Message::decode(&header(4)).unwrap_err(), DecodeError::WrongLength { length: 4, len: 20 });
        let mut trailing = header(0);
        trailing.push(0);
        assert_eq!(Message::decode(&trailing).unwrap_err(), DecodeError::WrongLength { length: 0, len: 21 });
    }

    #[test]
    fn attribute_past_the_end_is_refused() {
        let mut bytes = header(4);
        bytes.extend([0x80, 0x22, 0, 1]);
        assert_eq!(Message::decode(&bytes).unwrap_err(), DecodeError::TruncatedAttribute { kind: 0x8022 });
    }

    #[test]
    fn attributes_after_integrity_are_not_shown() {
        let mut bytes = header(24 + 8);
        bytes.extend([0, 8, 0, 20]);
        bytes.extend([0; 20]);
        bytes.extend([0, 0x0d, 0, 4, 0, 0, 0, 1]);
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(message.attribute(AttributeKind::LIFETIME), None);
        assert_eq!(message.integrity_kind(), Some(Integrity::Sha1));
    }
}
