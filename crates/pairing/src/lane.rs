//! Frames of a sealed WebSocket: what kind they are, and that none is missing (LK-33).

use crate::{OpenError, Opener, SEAL_OVERHEAD, Sealer};

/// Bytes of payload that one frame carries at most.
const PAYLOAD_BYTES: usize = 64 * 1024;

/// The session id of a lane's bind begins with this (LK-37).
const BIND_PREFIX: [u8; 4] = *b"lane";

/// What stands for a certificate in a lane's bind.
pub const NO_CERTIFICATE: [u8; 32] = [0; 32];

/// The session id of the bind on a lane (LK-37).
#[must_use]
pub fn lane_session_id(attempt: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&BIND_PREFIX);
    id[12..].copy_from_slice(&attempt.to_be_bytes());
    id
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneFrame {
    /// The first one each way.
    Bind(Vec<u8>),
    /// JSON text of the control channel.
    Control(String),
    /// Frames of the data channel.
    Data(Vec<u8>),
    /// Nothing: the side is alive.
    Alive,
}

/// Seals one direction.
pub struct LaneSealer {
    sealer: Sealer,
}

/// Opens one direction. After an error the lane is to be closed.
pub struct LaneOpener {
    opener: Opener,
    /// The counter that is due.
    due: u64,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// Shorter than counter, tag and kind, or it does not open under the key.
    #[error("a frame was changed on its way")]
    Forged,
    /// It came before.
    #[error("a frame came twice or late")]
    Replayed,
    /// One before it did not come.
    #[error("a frame was left out")]
    Missing,
    /// The other device sealed something that is no frame.
    #[error("the other device sent a frame of an unknown kind")]
    UnknownKind,
    /// More payload than a frame carries.
    #[error("the other device sent a frame that is too long")]
    TooLong,
}

impl LaneSealer {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self { sealer }
    }

    /// Seals the bind.
    pub fn bind(&mut self, bind: &[u8]) -> Vec<u8> {
        self.seal(1, bind)
    }

    /// Seals a control message of at most 64 KiB.
    pub fn control(&mut self, text: &str) -> Vec<u8> {
        self.seal(2, text.as_bytes())
    }

    /// Seals a data message of at most 64 KiB.
    pub fn data(&mut self, frames: &[u8]) -> Vec<u8> {
        self.seal(3, frames)
    }

    /// Seals a sign of life.
    pub fn alive(&mut self) -> Vec<u8> {
        self.seal(4, &[])
    }

    fn seal(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut plaintext = Vec::with_capacity(1 + payload.len());
        plaintext.push(kind);
        plaintext.extend_from_slice(payload);
        self.sealer.seal(&plaintext)
    }
}

impl LaneOpener {
    pub(crate) fn new(opener: Opener) -> Self {
        Self { opener, due: 0 }
    }

    /// Opens the next frame.
    ///
    /// # Errors
    /// See [`LaneError`]: close the lane, and say why.
    pub fn open(&mut self, sealed: &[u8]) -> Result<LaneFrame, LaneError> {
        if sealed.len() > PAYLOAD_BYTES + 1 + SEAL_OVERHEAD {
            return Err(LaneError::TooLong);
        }
        let counter = sealed.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(LaneError::Forged)?;
        // Before the key is tried: a frame that was left out must not look like a forged one.
        match counter.cmp(&self.due) {
            std::cmp::Ordering::Less => return Err(LaneError::Replayed),
            std::cmp::Ordering::Greater => return Err(LaneError::Missing),
            std::cmp::Ordering::Equal => {}
        }
        let mut plaintext = self.opener.open(sealed).map_err(|error| match error {
            OpenError::Replayed => LaneError::Replayed,
            OpenError::TooFarAhead => LaneError::Missing,
            OpenError::TooShort { .. } | OpenError::Forged => LaneError::Forged,
        })?;
        self.due += 1;
        if plaintext.is_empty() {
            return Err(LaneError::UnknownKind);
        }
        let kind = plaintext.remove(0);
        match kind {
            1 => Ok(LaneFrame::Bind(plaintext)),
            2 => String::from_utf8(plaintext).map(LaneFrame::Control).map_err(|_| LaneError::UnknownKind),
            3 => Ok(LaneFrame::Data(plaintext)),
            4 => Ok(LaneFrame::Alive),
            _ => Err(LaneError::UnknownKind),
        }
    }
}
