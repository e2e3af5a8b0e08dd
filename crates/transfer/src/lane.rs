//! What is on its way onto the data channel: the piece being cut into chunks, and the short frames around it.

use lanyard_protocol::control::{FileIndex, Hash, TransferId};
use lanyard_protocol::frame::{Body, Frame, HEADER_BYTES, PIECE_BYTES};

use crate::outgoing::Dispatch;

/// A chunk is not made smaller than this only to fill a message.
const LEAST_CHUNK: usize = 4096;

/// One dispatch of one transfer, and how much of it was sent. It is always sent to its end, whatever becomes of the
/// transfer meanwhile, so that the receiver never has to guess where a piece breaks off (TR-24).
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) transfer: TransferId,
    number: u32,
    dispatch: Dispatch,
    sent: usize,
}

impl Lane {
    pub(crate) fn new(transfer: TransferId, number: u32, dispatch: Dispatch) -> Self {
        Self { transfer, number, dispatch, sent: 0 }
    }

    /// Adds what fits into `room` more bytes; says whether all of it is sent now.
    pub(crate) fn fill(&mut self, message: &mut Vec<u8>, room: usize) -> bool {
        let end = message.len() + room;
        match &self.dispatch {
            &Dispatch::Restate { file, size_bytes, version, modified_ms } => {
                let body = Body::Restate { version, modified_ms };
                self.fits(message, end, file, size_bytes, body)
            }
            &Dispatch::FileEnd { file, size_bytes, root } => {
                self.fits(message, end, file, size_bytes, Body::FileEnd { root })
            }
            Dispatch::Piece { file, piece, bytes, hash } => {
                let (file, start, hash): (FileIndex, u64, Hash) = (*file, piece * PIECE_BYTES, *hash);
                while self.sent < bytes.len() {
                    let left = bytes.len() - self.sent;
                    let space = (end - message.len()).saturating_sub(HEADER_BYTES);
                    if space < left.min(LEAST_CHUNK) {
                        return false;
                    }
                    let chunk = &bytes[self.sent..self.sent + left.min(space)];
                    let offset = start + self.sent as u64;
                    Frame { number: self.number, file, offset, body: Body::Chunk(chunk) }.encode(message);
                    self.sent += chunk.len();
                }
                self.fits(message, end, file, start, Body::PieceEnd { hash })
            }
        }
    }

    /// Bytes of the piece, when it is one.
    pub(crate) fn piece_bytes(&self) -> Option<u64> {
        match &self.dispatch {
            Dispatch::Piece { bytes, .. } => Some(bytes.len() as u64),
            Dispatch::Restate { .. } | Dispatch::FileEnd { .. } => None,
        }
    }

    fn fits(&self, message: &mut Vec<u8>, end: usize, file: FileIndex, offset: u64, body: Body<'_>) -> bool {
        let len = HEADER_BYTES + 32;
        let fits = message.len() + len <= end;
        if fits {
            Frame { number: self.number, file, offset, body }.encode(message);
        }
        fits
    }
}
