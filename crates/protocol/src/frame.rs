//! Device ↔ device on the open link's data channel: bytes of files in binary frames.
//!
//! One message of the channel holds one or more whole frames, so that many small files share a message. Integers are
//! big-endian.
//!
//! ```text
//! offset  0       1               4               8              12              20
//!         +-------+---------------+---------------+---------------+---------------+------------
//!         | kind  | body length   | number        | file          | offset        | body
//!         | u8    | u24, bytes    | u32, transfer | u32, entry    | u64, bytes    |
//!         +-------+---------------+---------------+---------------+---------------+------------
//! ```
//!
//! | kind | name | offset | body |
//! |---|---|---|---|
//! | 1 | chunk | of its first byte in the file | 1 to 1 MiB of the file, inside one piece |
//! | 2 | piece end | of the piece's first byte | BLAKE3 of the piece, 32 bytes |
//! | 3 | file end | the file's size | root of the file, 32 bytes |
//! | 4 | restate | the file's new size | new version u32, last change in ms since 1970 u64 |
//!
//! `number` is what this link's `offer` or `resume` called the transfer. Worked example: the five bytes `hello` at the
//! start of entry 2 of transfer number 7 are
//!
//! ```
//! use lanyard_protocol::frame::{Body, Frame};
//!
//! let frame = Frame { number: 7, file: 2, offset: 0, body: Body::Chunk(b"hello") };
//! let mut message = Vec::new();
//! frame.encode(&mut message);
//! let hex = "01 000005 00000007 00000002 0000000000000000 68656c6c6f".replace(' ', "");
//! assert_eq!(message, data_encoding::HEXLOWER.decode(hex.as_bytes())?);
//! assert_eq!(Frame::decode(&message)?, (frame, 25));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::control::{FileIndex, Hash, MAX_INTEGER};

/// Bytes of a file that are hashed and verified together; the last piece of a file may be shorter.
pub const PIECE_BYTES: u64 = 1024 * 1024;

/// Bytes before the body.
pub const HEADER_BYTES: usize = 20;

/// One frame of the data channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The transfer, as this link's `offer` or `resume` numbered it.
    pub number: u32,
    /// Which entry of its manifest.
    pub file: FileIndex,
    /// In bytes; meaning by kind. At most 2⁵³ − 1.
    pub offset: u64,
    /// What it carries.
    pub body: Body<'a>,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// The slice of a piece that one frame carries: 1 to [`PIECE_BYTES`] bytes, inside one piece.
    Chunk(&'a [u8]),
    /// All chunks of the piece that starts at `offset` were sent.
    PieceEnd {
        /// Of the piece's bytes.
        hash: Hash,
    },
    /// The whole file was sent; `offset` is its size.
    FileEnd {
        /// BLAKE3 in key-derivation mode over size and piece hashes.
        root: Hash,
    },
    /// The file is another one than the receiver holds; `offset` is its size now. What follows belongs to it.
    Restate {
        /// Larger than every version before.
        version: u32,
        /// Milliseconds since 1970, 0 when not known.
        modified_ms: u64,
    },
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Fewer bytes than header and body need.
    #[error("frame needs {needed} bytes, {len} are there")]
    TooShort {
        /// Bytes there.
        len: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// A kind this version does not know.
    #[error("frame kind {0} is unknown")]
    UnknownKind(u8),
    /// The body's length does not fit the kind.
    #[error("a body of {len} bytes does not fit frame kind {kind}")]
    BodyLength {
        /// The kind.
        kind: u8,
        /// The length.
        len: usize,
    },
    /// Offset, size or time beyond 2⁵³ − 1.
    #[error("number {0} is beyond 2^53 - 1")]
    OutOfRange(u64),
    /// A chunk that crosses from one piece into the next.
    #[error("chunk crosses the end of its piece")]
    CrossesPiece,
}

const CHUNK: u8 = 1;
const PIECE_END: u8 = 2;
const FILE_END: u8 = 3;
const RESTATE: u8 = 4;

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`; also says how many bytes it took.
    ///
    /// # Errors
    /// What is wrong with it. Nothing after a bad frame can be read.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), FrameError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::TooShort { len: bytes.len(), needed: HEADER_BYTES });
        };
        let [kind, l0, l1, l2, n0, n1, n2, n3, f0, f1, f2, f3, offset @ ..] = *header;
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let Some(body) = rest.get(..len) else {
            return Err(FrameError::TooShort { len: bytes.len(), needed: HEADER_BYTES + len });
        };
        let offset = in_range(u64::from_be_bytes(offset))?;
        let wrong_length = FrameError::BodyLength { kind, len };
        let body = match kind {
            CHUNK if len == 0 || len as u64 > PIECE_BYTES => return Err(wrong_length),
            CHUNK if offset % PIECE_BYTES + len as u64 > PIECE_BYTES => return Err(FrameError::CrossesPiece),
            CHUNK => Body::Chunk(body),
            PIECE_END => Body::PieceEnd { hash: body.try_into().map_err(|_| wrong_length)? },
            FILE_END => Body::FileEnd { root: body.try_into().map_err(|_| wrong_length)? },
            RESTATE => {
                let [v0, v1, v2, v3, modified @ ..]: [u8; 12] = body.try_into().map_err(|_| wrong_length)?;
                let version = u32::from_be_bytes([v0, v1, v2, v3]);
                Body::Restate { version, modified_ms: in_range(u64::from_be_bytes(modified))? }
            }
            other => return Err(FrameError::UnknownKind(other)),
        };
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        let file = u32::from_be_bytes([f0, f1, f2, f3]);
        Ok((Frame { number, file, offset, body }, HEADER_BYTES + len))
    }

    /// Appends the frame to a message.
    pub fn encode(&self, message: &mut Vec<u8>) {
        let (kind, len) = match &self.body {
            Body::Chunk(bytes) => (CHUNK, bytes.len() as u32),
            Body::PieceEnd { .. } => (PIECE_END, 32),
            Body::FileEnd { .. } => (FILE_END, 32),
            Body::Restate { .. } => (RESTATE, 12),
        };
        debug_assert!(u64::from(len) <= PIECE_BYTES, "a chunk is at most a piece");
        message.push(kind);
        message.extend_from_slice(&len.to_be_bytes()[1..]);
        message.extend_from_slice(&self.number.to_be_bytes());
        message.extend_from_slice(&self.file.to_be_bytes());
        message.extend_from_slice(&self.offset.to_be_bytes());
        match &self.body {
            Body::Chunk(bytes) => message.extend_from_slice(bytes),
            Body::PieceEnd { hash } | Body::FileEnd { root: hash } => message.extend_from_slice(hash),
            Body::Restate { version, modified_ms } => {
                message.extend_from_slice(&version.to_be_bytes());
                message.extend_from_slice(&modified_ms.to_be_bytes());
            }
        }
    }
}

fn in_range(number: u64) -> Result<u64, FrameError> {
    if number <= MAX_INTEGER { Ok(number) } else { Err(FrameError::OutOfRange(number)) }
}

/// The frames of one message of the data channel, in order. Ends after the first error.
#[derive(Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Reads `message` as it came; an empty one holds no frame.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Frame::decode(self.rest) {
            Ok((frame, len)) => {
                self.rest = &self.rest[len..];
                Some(Ok(frame))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_frames_share_a_message() {
        let mut message = Vec::new();
        let frames = [
            Frame { number: 1, file: 0, offset: 0, body: Body::Chunk(b"a") },
            Frame { number: 1, file: 0, offset: 0, body: Body::PieceEnd { hash: [2; 32] } },
            Frame { number: 1, file: 0, offset: 1, body: Body::FileEnd { root: [3; 32] } },
            Frame { number: 1, file: 1, offset: 9, body: Body::Restate { version: 4, modified_ms: 5 } },
        ];
        frames.iter().for_each(|frame| frame.encode(&mut message));
        let read: Vec<_> = Frames::new(&message).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, frames);
    }

    #[test]
    fn chunk_may_touch_but_not_cross_the_end_of_its_piece() {
        let mut message = Vec::new();
        Frame { number: 1, file: 0, offset: PIECE_BYTES - 2, body: Body::Chunk(b"ab") }.encode(&mut message);
        assert!(Frame::decode(&message).is_ok());
        message[19] += 1;
        assert_eq!(Frame::decode(&message), Err(FrameError::CrossesPiece));
    }

    #[test]
    fn nothing_is_read_after_a_bad_frame() {
        let mut frames = Frames::new(&[9; 64]);
        assert!(frames.next().is_some_and(|frame| frame.is_err()));
        assert!(frames.next().is_none());
    }
}
