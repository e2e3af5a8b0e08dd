//! Addresses, plain (MAPPED-ADDRESS, RFC 8489 §14.1) and XORed (XOR-MAPPED-ADDRESS, §14.2).
//!
//! ```text
//! 00 family(8) port(16) address(32 or 128)      XORed: port ^ 0x2112, address ^ cookie ‖ transaction ID
//! 192.0.2.1:32853 as XOR-MAPPED-ADDRESS:  00 01 a1 47 e1 12 a6 43
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::message::{MAGIC_COOKIE, TransactionId};

/// Address families as STUN and TURN number them (RFC 8489 §14.1, RFC 8656 §18.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressFamily {
    /// 0x01.
    Ipv4,
    /// 0x02.
    Ipv6,
}

impl AddressFamily {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The family with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Ipv4),
            2 => Some(Self::Ipv6),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }
}

/// Reads MAPPED-ADDRESS and its like; `None` for an unknown family or a length that is not the family's.
pub fn decode_address(value: &[u8]) -> Option<SocketAddr> {
    decode(value, &[0; 16])
}

/// Reads XOR-MAPPED-ADDRESS and its like; `None` for an unknown family or a length that is not the family's.
pub fn decode_xor_address(value: &[u8], transaction_id: TransactionId) -> Option<SocketAddr> {
    decode(value, &mask(transaction_id))
}

fn decode(value: &[u8], mask: &[u8; 16]) -> Option<SocketAddr> {
    let ([_, family, port @ ..], address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes(*port) ^ u16::from_be_bytes(*mask.first_chunk()?);
    let ip = match AddressFamily::from_number(*family)? {
        AddressFamily::Ipv4 => {
            let address = u32::from_be_bytes(address.try_into().ok()?) ^ u32::from_be_bytes(*mask.first_chunk()?);
            IpAddr::V4(Ipv4Addr::from_bits(address))
        }
        AddressFamily::Ipv6 => {
            let address = u128::from_be_bytes(address.try_into().ok()?) ^ u128::from_be_bytes(*mask);
            IpAddr::V6(Ipv6Addr::from_bits(address))
        }
    };
    Some(SocketAddr::new(ip, port))
}

/// The value of MAPPED-ADDRESS: bytes, and how many of them count.
pub(crate) fn address_bytes(address: SocketAddr) -> ([u8; 20], usize) {
    encode(address, &[0; 16])
}

/// The value of XOR-MAPPED-ADDRESS: bytes, and how many of them count.
pub(crate) fn xor_address_bytes(address: SocketAddr, transaction_id: TransactionId) -> ([u8; 20], usize) {
    encode(address, &mask(transaction_id))
}

fn encode(address: SocketAddr, mask: &[u8; 16]) -> ([u8; 20], usize) {
    let mut value = [0; 20];
    let [_, family, port_high, port_low, ip @ ..] = &mut value;
    let [mask_high, mask_low, ..] = *mask;
    *family = AddressFamily::of(address.ip()).number();
    [*port_high, *port_low] = (address.port() ^ u16::from_be_bytes([mask_high, mask_low])).to_be_bytes();
    let len = match address.ip() {
        IpAddr::V4(v4) => {
            for (out, (byte, mask)) in ip.iter_mut().zip(v4.octets().iter().zip(mask)) {
                *out = byte ^ mask;
            }
            8
        }
        IpAddr::V6(v6) => {
            *ip = (v6.to_bits() ^ u128::from_be_bytes(*mask)).to_be_bytes();
            20
        }
    };
    (value, len)
}

/// What addresses and ports are XORed with: the cookie and the transaction ID (RFC 8489 §14.2).
fn mask(TransactionId(id): TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    let [c0, c1, c2, c3, rest @ ..] = &mut mask;
    [*c0, *c1, *c2, *c3] = MAGIC_COOKIE.to_be_bytes();
    *rest = id;
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = TransactionId([0xb7, 0xe7, 0xa7, 1, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

    #[test]
    fn worked_example_is_encoded_and_decoded() {
        let address: SocketAddr = "192.0.2.1:32853".parse().unwrap();
        let (value, len) = xor_address_bytes(address, ID);
        assert_eq!(value[..len], [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert_eq!(decode_xor_address(&value[..len], ID), Some(address));
    }

    #[test]
    fn both_families_survive_a_round_trip() {
        for text in ["198.51.100.7:0", "[2001:db8::1]:65535", "[::ffff:10.0.0.1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            let (value, len) = xor_address_bytes(address, ID);
            assert_eq!(decode_xor_address(&value[..len], ID), Some(address));
            let (value, len) = address_bytes(address);
            assert_eq!(decode_address(&value[..len]), Some(address));
        }
    }

    #[test]
    fn wrong_family_or_length_is_none() {
        assert_eq!(decode_address(&[0, 3, 0, 1, 1, 2, 3, 4]), None);
        assert_eq!(decode_address(&[0, 1, 0, 1, 1, 2, 3]), None);
        assert_eq!(decode_address(&[0, 1, 0, 1, 1, 2, 3, 4, 5]), None);
        assert_eq!(decode_address(&[0, 2, 0, 1, 1, 2, 3, 4]), None);
        assert_eq!(decode_address(&[0, 1, 0]), None);
    }
}
