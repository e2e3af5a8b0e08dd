//! Messages in a stream: TCP and TLS have no datagrams, so lengths tell where one ends (RFC 8489 §6.2.2, RFC 8656 §12.5).

use crate::channel_data::CHANNEL_HEADER_BYTES;
use crate::stun::HEADER_BYTES;

/// The longest frame: ChannelData of 65 535 bytes with header and padding, which is more than any STUN message.
pub const MAX_FRAME_BYTES: usize = CHANNEL_HEADER_BYTES + 65_536;

/// The stream is not TURN, or no longer in step: close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The next byte starts neither STUN (0x00–0x3f) nor ChannelData (0x40–0x7f).
    #[error("byte {0:#04x} starts no TURN message")]
    NotTurn(u8),
    /// A STUN length that is no multiple of four, or goes beyond what TURN over a stream carries (RFC 8489 §5).
    #[error("STUN message with length field {0}")]
    WrongLength(u16),
}

/// A whole message at the start of a stream's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The message: a STUN message, or ChannelData with its padding.
    pub message: &'a [u8],
}

/// Finds the first frame of `bytes`; `None` when more bytes are needed.
///
/// # Errors
///
/// See [`StreamError`]; as soon as the header shows it, whatever follows.
pub fn first_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, StreamError> {
    let Some([first, _, length_high, length_low]) = bytes.first_chunk() else {
        return match bytes.first() {
            Some(first @ 0x80..) => Err(StreamError::NotTurn(*first)),
            _ => Ok(None),
        };
    };
    let length = u16::from_be_bytes([*length_high, *length_low]);
    let total = match first {
        0x00..=0x3f if length.is_multiple_of(4) => HEADER_BYTES + usize::from(length),
        0x00..=0x3f => return Err(StreamError::WrongLength(length)),
        0x40..=0x7f => CHANNEL_HEADER_BYTES + usize::from(length).next_multiple_of(4),
        0x80.. => return Err(StreamError::NotTurn(*first)),
    };
    Ok(bytes.get(..total).map(|message| Frame { message }))
}

/// Whether a connection's first byte starts a TURN client's: its first message is always STUN, never ChannelData.
/// HTTP methods and TLS records start with other bytes.
pub const fn is_first_byte_of_turn(byte: u8) -> bool {
    byte < 0x04
}

/// Collects a stream's bytes and gives out its frames.
///
/// Holds at most one unfinished frame ([`MAX_FRAME_BYTES`]) and what the last [`extend`](Self::extend) brought.
#[derive(Debug, Default)]
pub struct StreamFramer {
    buffer: Vec<u8>,
    /// Bytes at the start that were given out.
    taken: usize,
}

impl StreamFramer {
    /// A framer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they were read. Take all frames before the next call.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken.min(self.buffer.len()));
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// See [`StreamError`]; the stream cannot be read any further.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, StreamError> {
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let frame = first_frame(rest)?;
        self.taken += frame.map_or(0, |frame| frame.message.len());
        Ok(frame.map(|frame| frame.message))
    }

    /// Bytes that wait for the rest of their frame.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len().saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Vec<u8> {
        [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[5; 12]].concat()
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let channel_data = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
        let stream = [binding(), channel_data.to_vec(), binding()].concat();
        for step in 1..=stream.len() {
            let mut framer = StreamFramer::new();
            let mut frames = Vec::new();
            for piece in stream.chunks(step) {
                framer.extend(piece);
                while let Some(frame) = framer.next_frame().unwrap() {
                    frames.push(frame.to_vec());
                }
            }
            assert_eq!(frames, [binding(), channel_data.to_vec(), binding()]);
            assert_eq!(framer.pending_bytes(), 0);
        }
    }

    #[test]
    fn what_is_not_turn_is_refused_at_its_first_byte() {
        let mut framer = StreamFramer::new();
        framer.extend(&[0x80]);
        assert_eq!(framer.next_frame(), Err(StreamError::NotTurn(0x80)));
        assert_eq!(first_frame(&[0, 1, 0, 3]), Err(StreamError::WrongLength(3)));
    }

    #[test]
    fn unfinished_frame_never_exceeds_the_longest() {
        let mut framer = StreamFramer::new();
        framer.extend(&[0x7f, 0xff, 0xff, 0xff]);
        framer.extend(&vec![0; MAX_FRAME_BYTES - 5]);
        assert_eq!(framer.next_frame(), Ok(None));
        framer.extend(&[0]);
        assert_eq!(framer.next_frame().unwrap().unwrap().len(), MAX_FRAME_BYTES);
    }

    #[test]
    fn web_traffic_does_not_look_like_turn() {
        for byte in [b'G', b'P', b'H', b'O', b'D', b'C', b'T', 0x16, 0x80] {
            assert!(!is_first_byte_of_turn(byte));
        }
        assert!(is_first_byte_of_turn(0x00) && is_first_byte_of_turn(0x01));
    }
}
