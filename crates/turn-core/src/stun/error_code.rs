//! ERROR-CODE (RFC 8489 §14.8) and the codes this server sends.

/// A code and the reason that goes with it. Reasons are short: they count towards what an answer may weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// RFC 8489 §14.8: another server should be asked.
    pub const TRY_ALTERNATE: Self = Self(300);
    /// RFC 8489 §14.8: malformed; must not be sent again as it is.
    pub const BAD_REQUEST: Self = Self(400);
    /// RFC 8489 §14.8: no credentials, or wrong ones.
    pub const UNAUTHENTICATED: Self = Self(401);
    /// RFC 8656 §19: not allowed to this client.
    pub const FORBIDDEN: Self = Self(403);
    /// RFC 8489 §14.8: an attribute that must be understood was not.
    pub const UNKNOWN_ATTRIBUTE: Self = Self(420);
    /// RFC 8656 §19: an allocation is needed and there is none, or the other way round.
    pub const ALLOCATION_MISMATCH: Self = Self(437);
    /// RFC 8489 §14.8: right credentials, old nonce.
    pub const STALE_NONCE: Self = Self(438);
    /// RFC 8656 §19: no relayed addresses of this family here.
    pub const ADDRESS_FAMILY_NOT_SUPPORTED: Self = Self(440);
    /// RFC 8656 §19: the allocation belongs to other credentials.
    pub const WRONG_CREDENTIALS: Self = Self(441);
    /// RFC 8656 §19: only UDP is relayed.
    pub const UNSUPPORTED_TRANSPORT: Self = Self(442);
    /// RFC 8656 §19: the peer's family is not the relayed address's.
    pub const PEER_ADDRESS_FAMILY_MISMATCH: Self = Self(443);
    /// RFC 8656 §19: as many allocations as these credentials, or this source, may have.
    pub const ALLOCATION_QUOTA_REACHED: Self = Self(486);
    /// RFC 8656 §19: a limit of the server is reached.
    pub const INSUFFICIENT_CAPACITY: Self = Self(508);

    /// The recommended reason phrase, cut to what is needed.
    pub const fn reason(self) -> &'static str {
        match self.0 {
            300 => "Try Alternate",
            400 => "Bad Request",
            401 => "Unauthenticated",
            403 => "Forbidden",
            420 => "Unknown Attribute",
            437 => "Allocation Mismatch",
            438 => "Stale Nonce",
            440 => "Address Family not Supported",
            441 => "Wrong Credentials",
            442 => "Unsupported Transport",
            443 => "Peer Address Family Mismatch",
            486 => "Allocation Quota Reached",
            508 => "Insufficient Capacity",
            _ => "",
        }
    }

    /// Reads the first four bytes of ERROR-CODE's value; `None` outside 300–699.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let [_, _, class, number] = value.first_chunk()?;
        let (class, number) = (u16::from(class & 0b111), u16::from(*number));
        let code = class.checked_mul(100)?.checked_add(number)?;
        (number < 100 && (300..700).contains(&code)).then_some(Self(code))
    }

    /// The class and number octets of the wire form.
    pub(crate) const fn class_and_number(self) -> [u8; 2] {
        // Codes are at most 699, so both fit.
        [(self.0 / 100) as u8, (self.0 % 100) as u8]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_class_times_hundred_plus_number() {
        assert_eq!(ErrorCode::decode(&[0, 0, 4, 38, b'x']), Some(ErrorCode::STALE_NONCE));
        assert_eq!(ErrorCode::STALE_NONCE.class_and_number(), [4, 38]);
        assert_eq!(ErrorCode::decode(&[0, 0, 4, 100]), None);
        assert_eq!(ErrorCode::decode(&[0, 0, 2, 0]), None);
        assert_eq!(ErrorCode::decode(&[0, 0, 4]), None);
    }
}
