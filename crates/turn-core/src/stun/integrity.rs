//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6) and their keys (§9.2.2).

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::message::HEADER_BYTES;

/// Which HMAC protects a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// MESSAGE-INTEGRITY: HMAC-SHA-1, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: HMAC-SHA-256. Always the full 32 bytes: TURN does not allow truncation.
    Sha256,
}

impl Integrity {
    /// Bytes of the HMAC.
    pub(super) const fn value_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// How username, realm and password become a key (RFC 8489 §18.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PasswordAlgorithm {
    /// 0x0001: what every client of RFC 5389 does.
    Md5,
    /// 0x0002.
    Sha256,
}

impl PasswordAlgorithm {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Md5 => 1,
            Self::Sha256 => 2,
        }
    }
}

/// A key for message integrity. Wiped when dropped; prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct IntegrityKey {
    bytes: [u8; 32],
    len: usize,
}

impl IntegrityKey {
    /// Long-term key: the hash of `username:realm:password` (RFC 8489 §9.2.2).
    ///
    /// All three are taken as they are: OpaqueString preparation is the caller's.
    pub fn long_term(algorithm: PasswordAlgorithm, username: &[u8], realm: &[u8], password: &[u8]) -> Self {
        let parts = [username, b":", realm, b":", password];
        let mut bytes = [0; 32];
        match algorithm {
            PasswordAlgorithm::Md5 => {
                let hash = parts.iter().fold(Md5::new(), Digest::chain_update).finalize();
                let (head, _) = bytes.split_at_mut(16);
                head.copy_from_slice(&hash);
                Self { bytes, len: 16 }
            }
            PasswordAlgorithm::Sha256 => {
                bytes.copy_from_slice(&parts.iter().fold(Sha256::new(), Digest::chain_update).finalize());
                Self { bytes, len: 32 }
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for IntegrityKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl std::fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

/// Whether `value`, the integrity attribute at `offset` of `message`, was made with `key`.
pub(super) fn verify(message: &[u8], kind: Integrity, offset: usize, value: &[u8], key: &IntegrityKey) -> bool {
    match kind {
        Integrity::Sha1 => {
            hmac::<Hmac<Sha1>>(message, kind, offset, key.as_bytes()).is_some_and(|mac| mac.verify_slice(value).is_ok())
        }
        Integrity::Sha256 => hmac::<Hmac<Sha256>>(message, kind, offset, key.as_bytes())
            .is_some_and(|mac| mac.verify_slice(value).is_ok()),
    }
}

/// The attribute's value for a message of `offset` bytes so far: bytes, and how many of them count.
pub(super) fn compute(message: &[u8], kind: Integrity, key: &IntegrityKey) -> ([u8; 32], usize) {
    let mut value = [0; 32];
    match kind {
        Integrity::Sha1 => {
            if let Some(mac) = hmac::<Hmac<Sha1>>(message, kind, message.len(), key.as_bytes()) {
                let (head, _) = value.split_at_mut(20);
                head.copy_from_slice(&mac.finalize().into_bytes());
            }
        }
        Integrity::Sha256 => {
            if let Some(mac) = hmac::<Hmac<Sha256>>(message, kind, message.len(), key.as_bytes()) {
                value.copy_from_slice(&mac.finalize().into_bytes());
            }
        }
    }
    (value, kind.value_bytes())
}

/// HMAC over the first `offset` bytes, with the header's length field set as if the attribute ended the message
/// (RFC 8489 §14.5). `None` only when the message is shorter than its header.
fn hmac<M: Mac + KeyInit>(message: &[u8], kind: Integrity, offset: usize, key: &[u8]) -> Option<M> {
    let end = offset.checked_add(4)?.checked_add(kind.value_bytes())?;
    let length = u16::try_from(end.checked_sub(HEADER_BYTES)?).ok()?;
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    mac.update(message.get(..2)?);
    mac.update(&length.to_be_bytes());
    mac.update(message.get(4..offset)?);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_term_key_is_the_worked_example_of_rfc_5389_section_15_4() {
        let key = IntegrityKey::long_term(PasswordAlgorithm::Md5, b"user", b"realm", b"pass");
        assert_eq!(data_encoding::HEXLOWER.encode(key.as_bytes()), "8493fbc53ba582fb4c044c456bdc40eb");
    }

    #[test]
    fn key_does_not_print_itself() {
        let key = IntegrityKey::long_term(PasswordAlgorithm::Sha256, b"user", b"realm", b"pass");
        assert_eq!(format!("{key:?}"), "IntegrityKey(..)");
    }
}
