//! The form of a handshake message in a mailbox (PA-10).
//!
//! ```text
//! offset  bytes  field
//! 0       1      version, 0x01
//! 1       1      method: 1 link, 2 code, 3 nearby, 4 remembered, 5 resumed
//! 2       1      step, see `Step`
//! 3       ...    payload of that step
//! ```
//!
//! At most 4096 bytes in all. Nothing here is trusted: version and method are also in the Noise prologue.

use crate::{PairingError, Role};

/// The longest handshake message in bytes, header included.
pub const MAX_MESSAGE_BYTES: usize = 4096;

pub(crate) const VERSION: u8 = 1;
const HEADER_BYTES: usize = 3;

/// How two devices meet. The byte stands in each message and in the Noise prologue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// QR code or link.
    Link,
    /// Spoken code, SPAKE2. Another PAKE would get another byte.
    Code,
    /// On the same network, compared by pictures.
    Nearby,
    /// Both sides pinned each other's key before.
    Remembered,
    /// A session that lost its connection.
    Resumed,
}

impl Method {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Link => 1,
            Self::Code => 2,
            Self::Nearby => 3,
            Self::Remembered => 4,
            Self::Resumed => 5,
        }
    }
}

/// One message of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// R → I, codes only: SPAKE2 element of side A, 33 bytes.
    Pake,
    /// I → R: (codes: SPAKE2 element of side B, 33 bytes, then) Noise message 1.
    M1,
    /// R → I: Noise message 2.
    M2,
    /// I → R: Noise message 3.
    M3,
    /// I → R, nearby only, sealed as all below: the commitment, 32 bytes.
    Commit,
    /// R → I: R's nonce, 32 bytes.
    Nonce,
    /// I → R: I's nonce, 32 bytes.
    Reveal,
    /// I → R: I's human saw the right pictures.
    ConfirmI,
    /// R → I: R's human picked the right row.
    ConfirmR,
    /// Either side, in the clear: one byte of reason. It ends the attempt and proves nothing.
    Abort,
}

impl Step {
    const fn byte(self) -> u8 {
        match self {
            Self::Pake => 0x01,
            Self::M1 => 0x11,
            Self::M2 => 0x12,
            Self::M3 => 0x13,
            Self::Commit => 0x21,
            Self::Nonce => 0x22,
            Self::Reveal => 0x23,
            Self::ConfirmI => 0x24,
            Self::ConfirmR => 0x25,
            Self::Abort => 0xff,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Pake,
            0x11 => Self::M1,
            0x12 => Self::M2,
            0x13 => Self::M3,
            0x21 => Self::Commit,
            0x22 => Self::Nonce,
            0x23 => Self::Reveal,
            0x24 => Self::ConfirmI,
            0x25 => Self::ConfirmR,
            0xff => Self::Abort,
            _ => return None,
        })
    }

    /// Who sends it; an abort comes from either side.
    const fn sender(self) -> Option<Role> {
        match self {
            Self::M1 | Self::M3 | Self::Commit | Self::Reveal | Self::ConfirmI => Some(Role::Initiator),
            Self::Pake | Self::M2 | Self::Nonce | Self::ConfirmR => Some(Role::Responder),
            Self::Abort => None,
        }
    }
}

pub(crate) fn encode(method: Method, step: Step, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + payload.len());
    message.extend_from_slice(&[VERSION, method.byte(), step.byte()]);
    message.extend_from_slice(payload);
    message
}

/// Splits a message for `receiver`, who meets by `method`.
pub(crate) fn decode(message: &[u8], method: Method, receiver: Role) -> Result<(Step, &[u8]), PairingError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(PairingError::TooLong { len: message.len() });
    }
    let (header, payload) = message.split_first_chunk::<HEADER_BYTES>().ok_or(PairingError::Malformed)?;
    let [version, method_byte, step] = *header;
    if version > VERSION {
        return Err(PairingError::NewerVersion { theirs: version });
    }
    if version < VERSION {
        return Err(PairingError::OlderVersion { theirs: version });
    }
    if method_byte != method.byte() {
        return Err(PairingError::WrongMethod);
    }
    let step = Step::from_byte(step).ok_or(PairingError::Malformed)?;
    if step.sender().is_some_and(|sender| sender == receiver) {
        return Err(PairingError::WrongRole);
    }
    Ok((step, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_byte_has_one_meaning() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&byte| Step::from_byte(byte).is_some()).collect();
        assert_eq!(known.len(), 10);
        for byte in known {
            assert_eq!(Step::from_byte(byte).map(Step::byte), Some(byte));
        }
    }

    #[test]
    fn messages_of_other_versions_methods_and_sizes_are_named() {
        let read = |message: &[u8]| decode(message, Method::Link, Role::Responder).map(|(step, _)| step);
        assert_eq!(read(&[1, 1, 0x11]), Ok(Step::M1));
        assert_eq!(read(&[2, 1, 0x11]), Err(PairingError::NewerVersion { theirs: 2 }));
        assert_eq!(read(&[0, 1, 0x11]), Err(PairingError::OlderVersion { theirs: 0 }));
        assert_eq!(read(&[1, 2, 0x11]), Err(PairingError::WrongMethod));
        assert_eq!(read(&[1, 1, 0x12]), Err(PairingError::WrongRole));
        assert_eq!(read(&[1, 1, 0x7f]), Err(PairingError::Malformed));
        assert_eq!(read(&[1, 1]), Err(PairingError::Malformed));
        let mut longest = vec![1, 1, 0x11];
        longest.resize(MAX_MESSAGE_BYTES, 0);
        assert_eq!(read(&longest), Ok(Step::M1));
        longest.push(0);
        assert_eq!(read(&longest), Err(PairingError::TooLong { len: 4097 }));
    }
}
