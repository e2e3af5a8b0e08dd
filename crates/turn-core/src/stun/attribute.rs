//! Attribute types, and the iterator over a message's attributes.

/// An attribute's 16-bit type (RFC 8489 §14, RFC 8656 §18).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeKind(pub u16);

impl AttributeKind {
    /// RFC 8489 §14.1.
    pub const MAPPED_ADDRESS: Self = Self(0x0001);
    /// RFC 5780 §7.2.
    pub const CHANGE_REQUEST: Self = Self(0x0003);
    /// RFC 8489 §14.3.
    pub const USERNAME: Self = Self(0x0006);
    /// RFC 8489 §14.5.
    pub const MESSAGE_INTEGRITY: Self = Self(0x0008);
    /// RFC 8489 §14.8.
    pub const ERROR_CODE: Self = Self(0x0009);
    /// RFC 8489 §14.13.
    pub const UNKNOWN_ATTRIBUTES: Self = Self(0x000a);
    /// RFC 8656 §18.1.
    pub const CHANNEL_NUMBER: Self = Self(0x000c);
    /// RFC 8656 §18.2.
    pub const LIFETIME: Self = Self(0x000d);
    /// RFC 8656 §18.3.
    pub const XOR_PEER_ADDRESS: Self = Self(0x0012);
    /// RFC 8656 §18.4.
    pub const DATA: Self = Self(0x0013);
    /// RFC 8489 §14.9.
    pub const REALM: Self = Self(0x0014);
    /// RFC 8489 §14.10.
    pub const NONCE: Self = Self(0x0015);
    /// RFC 8656 §18.5.
    pub const XOR_RELAYED_ADDRESS: Self = Self(0x0016);
    /// RFC 8656 §18.6.
    pub const REQUESTED_ADDRESS_FAMILY: Self = Self(0x0017);
    /// RFC 8656 §18.7.
    pub const EVEN_PORT: Self = Self(0x0018);
    /// RFC 8656 §18.8.
    pub const REQUESTED_TRANSPORT: Self = Self(0x0019);
    /// RFC 8656 §18.9.
    pub const DONT_FRAGMENT: Self = Self(0x001a);
    /// RFC 8489 §14.6.
    pub const MESSAGE_INTEGRITY_SHA256: Self = Self(0x001c);
    /// RFC 8489 §14.12.
    pub const PASSWORD_ALGORITHM: Self = Self(0x001d);
    /// RFC 8489 §14.4.
    pub const USERHASH: Self = Self(0x001e);
    /// RFC 8489 §14.2.
    pub const XOR_MAPPED_ADDRESS: Self = Self(0x0020);
    /// RFC 8656 §18.10.
    pub const RESERVATION_TOKEN: Self = Self(0x0022);
    /// RFC 8445 §16.1; seen in ICE checks, which no server answers.
    pub const PRIORITY: Self = Self(0x0024);
    /// RFC 5780 §7.6.
    pub const PADDING: Self = Self(0x0026);
    /// RFC 5780 §7.5.
    pub const RESPONSE_PORT: Self = Self(0x0027);
    /// RFC 8656 §18.11.
    pub const ADDITIONAL_ADDRESS_FAMILY: Self = Self(0x8000);
    /// The same in a draft of that RFC. Clients of coturn before 4.16, Debian's among them, still send it.
    pub const ADDITIONAL_ADDRESS_FAMILY_OF_DRAFT: Self = Self(0x8032);
    /// RFC 8656 §18.12.
    pub const ADDRESS_ERROR_CODE: Self = Self(0x8001);
    /// RFC 8489 §14.11.
    pub const PASSWORD_ALGORITHMS: Self = Self(0x8002);
    /// RFC 8489 §14.16.
    pub const ALTERNATE_DOMAIN: Self = Self(0x8003);
    /// RFC 8656 §18.13.
    pub const ICMP: Self = Self(0x8004);
    /// RFC 8489 §14.14.
    pub const SOFTWARE: Self = Self(0x8022);
    /// RFC 8489 §14.15.
    pub const ALTERNATE_SERVER: Self = Self(0x8023);
    /// RFC 8489 §14.7.
    pub const FINGERPRINT: Self = Self(0x8028);
    /// RFC 5780 §7.3.
    pub const RESPONSE_ORIGIN: Self = Self(0x802b);
    /// RFC 5780 §7.4.
    pub const OTHER_ADDRESS: Self = Self(0x802c);

    /// Whether a message that carries this may not be acted on without understanding it (RFC 8489 §14).
    pub const fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

impl std::fmt::Debug for AttributeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AttributeKind({:#06x})", self.0)
    }
}

/// One attribute; `value` is without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The type.
    pub kind: AttributeKind,
    /// The value, borrowed from the message.
    pub value: &'a [u8],
}

/// Walks over attributes without copying; ends early at one that reaches past the end.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Bytes not walked over yet.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What is left; empty after the last attribute unless that was cut short.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let ([kind_high, kind_low, len_high, len_low], body) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
        let value = body.get(..len)?;
        // Values are padded to four bytes; what the padding holds is ignored (RFC 8489 §14).
        self.rest = body.get(len.next_multiple_of(4)..)?;
        Some(Attribute { kind: AttributeKind(u16::from_be_bytes([*kind_high, *kind_low])), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_walked_over_their_padding() {
        let bytes = [0x80, 0x22, 0, 3, b'a', b'b', b'c', 0xff, 0, 0x1a, 0, 0];
        let all: Vec<_> = Attributes::new(&bytes).collect();
        assert_eq!(
            all,
            [
                Attribute { kind: AttributeKind::SOFTWARE, value: b"abc" },
                Attribute { kind: AttributeKind::DONT_FRAGMENT, value: b"" },
            ]
        );
    }

    #[test]
    fn walking_ends_at_an_attribute_that_is_cut_short() {
        let bytes = [0, 0x1a, 0, 0, 0x80, 0x22, 0, 4, 1, 2, 3];
        let mut attributes = Attributes::new(&bytes);
        assert_eq!(attributes.next().unwrap().kind, AttributeKind::DONT_FRAGMENT);
        assert_eq!(attributes.next(), None);
        assert_eq!(attributes.remaining(), 7);
    }

    #[test]
    fn missing_padding_at_the_end_is_cut_short() {
        let bytes = [0x80, 0x22, 0, 3, 1, 2, 3];
        assert_eq!(Attributes::new(&bytes).next(), None);
    }
}
