//! FINGERPRINT: CRC-32 of all before it, XORed so that it differs from the application's own (RFC 8489 §14.7).

use super::message::HEADER_BYTES;

/// "STUN" in ASCII.
const XOR: u32 = 0x5354_554e;

/// Bytes of the whole attribute.
pub(super) const ATTRIBUTE_BYTES: usize = 8;

/// The value for a message whose length field already counts the attribute.
pub(super) fn compute(covered: &[u8]) -> u32 {
    crc32fast::hash(covered) ^ XOR
}

/// Whether `value` is right for `covered`: header and all attributes before FINGERPRINT.
///
/// The header's length field counts FINGERPRINT, as it must: it is the last attribute.
pub(super) fn verify(covered: &[u8], value: &[u8]) -> bool {
    covered.len() >= HEADER_BYTES && value == compute(covered).to_be_bytes()
}
