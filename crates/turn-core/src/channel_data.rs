//! ChannelData (RFC 8656 §12.4): the four-byte framing of payloads on a bound channel.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        channel number         |    length of the payload      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  payload; over TCP and TLS then zeros up to a multiple of 4   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! `40 00 00 02 68 69` carries "hi" on channel 0x4000.

/// Bytes of the ChannelData header.
pub const CHANNEL_HEADER_BYTES: usize = 4;

/// A channel number, `0x4000..=0x7fff`.
///
/// RFC 8656 §12 narrowed the range of RFC 5766 §11 to `0x4000..=0x4fff`; clients of the older document (libwebrtc,
/// Debian's coturn) may use all of it, and nothing else on these ports starts with such a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// The number, when it is in range.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 0x4000 && number <= 0x7fff { Some(Self(number)) } else { None }
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Why a ChannelData message could not be read; it is dropped without an answer (RFC 8656 §12.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelDataError {
    /// Fewer bytes than the header (RFC 8656 §12.4).
    #[error("ChannelData of {len} bytes is shorter than its 4-byte header")]
    TooShort {
        /// Bytes given.
        len: usize,
    },
    /// Outside `0x4000..=0x7fff` (RFC 5766 §11).
    #[error("channel number {0:#06x} is out of range")]
    NumberOutOfRange(u16),
    /// The length field says more than there is (RFC 8656 §12.6).
    #[error("ChannelData says {length} bytes but holds {len}")]
    LengthBeyondEnd {
        /// The length field.
        length: usize,
        /// Bytes after the header.
        len: usize,
    },
}

/// A ChannelData message, borrowed from the bytes it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelData<'a> {
    /// The channel.
    pub channel: ChannelNumber,
    /// The payload, without padding. May be empty.
    pub payload: &'a [u8],
}

impl<'a> ChannelData<'a> {
    /// Reads a message. Bytes after the payload are padding and ignored (RFC 8656 §12.5).
    ///
    /// # Errors
    ///
    /// See [`ChannelDataError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ChannelDataError> {
        let ([number_high, number_low, length @ ..], rest) =
            bytes.split_first_chunk::<CHANNEL_HEADER_BYTES>().ok_or(ChannelDataError::TooShort { len: bytes.len() })?;
        let number = u16::from_be_bytes([*number_high, *number_low]);
        let channel = ChannelNumber::new(number).ok_or(ChannelDataError::NumberOutOfRange(number))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let payload = rest.get(..length).ok_or(ChannelDataError::LengthBeyondEnd { length, len: rest.len() })?;
        Ok(Self { channel, payload })
    }

    /// The header for a payload of `len` bytes; `None` when it does not fit the length field.
    pub fn header(channel: ChannelNumber, len: usize) -> Option<[u8; CHANNEL_HEADER_BYTES]> {
        let [number_high, number_low] = channel.number().to_be_bytes();
        let [length_high, length_low] = u16::try_from(len).ok()?.to_be_bytes();
        Some([number_high, number_low, length_high, length_low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_example_is_read_and_written() {
        let bytes = [0x40, 0, 0, 2, b'h', b'i'];
        let channel = ChannelNumber::new(0x4000).unwrap();
        assert_eq!(ChannelData::decode(&bytes), Ok(ChannelData { channel, payload: b"hi" }));
        assert_eq!(ChannelData::header(channel, 2), Some([0x40, 0, 0, 2]));
    }

    #[test]
    fn payload_never_reaches_past_the_datagram() {
        for datagram_bytes in [4_usize, 5, 20, 576, 1500] {
            let mut datagram = vec![0xa5; datagram_bytes];
            for length in 0..=u16::MAX {
                datagram[..2].copy_from_slice(&[0x40, 0x01]);
                datagram[2..4].copy_from_slice(&length.to_be_bytes());
                match ChannelData::decode(&datagram) {
                    Ok(data) => assert_eq!(data.payload.len(), usize::from(length)),
                    Err(_) => assert!(usize::from(length) > datagram_bytes - 4),
                }
            }
        }
    }

    #[test]
    fn numbers_of_rfc_5766_are_accepted_and_no_others() {
        for number in 0..=u16::MAX {
            assert_eq!(ChannelNumber::new(number).is_some(), (0x4000..=0x7fff).contains(&number));
        }
    }

    #[test]
    fn short_or_foreign_bytes_are_refused() {
        assert_eq!(ChannelData::decode(&[0x40, 0, 0]), Err(ChannelDataError::TooShort { len: 3 }));
        assert_eq!(ChannelData::decode(&[0x80, 0, 0, 0]), Err(ChannelDataError::NumberOutOfRange(0x8000)));
    }
}
