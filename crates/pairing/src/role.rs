//! The two parts in a handshake.

/// Who begins the handshake and who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `I`: scans, types or taps. Second in the mailbox.
    Initiator,
    /// `R`: shows, or is asked. First in the mailbox; makes the WebRTC offer.
    Responder,
}

impl Role {
    /// The part of the other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    /// `I` or `R` in ASCII, in front of what `bind` authenticates.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Initiator => b'I',
            Self::Responder => b'R',
        }
    }
}
