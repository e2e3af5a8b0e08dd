//! The first message on the WebSocket `/v1/relay` (LK-32). Everything after it is sealed between the two devices.

use crate::LaneTicket;

/// Bytes of a [`LaneHello`].
pub const HELLO_BYTES: usize = 24;

/// Who opens which lane.
///
/// ```text
/// offset  0                               16              24
///         +-------------------------------+---------------+
///         | ticket, from `joined`         | stream, u64   |
///         +-------------------------------+---------------+
///
/// example 000102030405060708090a0b0c0d0e0f 0000000000000007
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneHello {
    /// From `joined`: which side of which mailbox this is.
    pub ticket: LaneTicket,
    /// The attempt's number. The server joins the two sides that name the same one.
    pub stream: u64,
}

/// A message that is not 24 bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the first message of a lane has {HELLO_BYTES} bytes, not {len}")]
pub struct LaneHelloError {
    /// Bytes received.
    pub len: usize,
}

impl LaneHello {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..16].copy_from_slice(&self.ticket.0);
        bytes[16..].copy_from_slice(&self.stream.to_be_bytes());
        bytes
    }

    /// Reads the message.
    ///
    /// # Errors
    /// It has another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, LaneHelloError> {
        let whole: &[u8; HELLO_BYTES] = bytes.try_into().map_err(|_| LaneHelloError { len: bytes.len() })?;
        let (mut ticket, mut stream) = ([0; 16], [0; 8]);
        ticket.copy_from_slice(&whole[..16]);
        stream.copy_from_slice(&whole[16..]);
        Ok(Self { ticket: LaneTicket(ticket), stream: u64::from_be_bytes(stream) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read_and_written() {
        let example = data_encoding::HEXLOWER.decode(b"000102030405060708090a0b0c0d0e0f0000000000000007").unwrap();
        let hello = LaneHello::decode(&example).unwrap();
        assert_eq!((hello.ticket.0[15], hello.stream), (15, 7));
        assert_eq!(hello.encode().as_slice(), example);
    }

    #[test]
    fn another_length_is_refused() {
        for len in [0, 23, 25] {
            assert_eq!(LaneHello::decode(&vec![0; len]), Err(LaneHelloError { len }));
        }
    }
}
