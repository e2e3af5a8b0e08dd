//! What lives as long as one link, and the data that comes over it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use lanyard_protocol::control::{FileIndex, TransferId, ViolationCode};
use lanyard_protocol::frame::{Body, Frame, Frames, HEADER_BYTES, PIECE_BYTES};

use super::Exchange;
use crate::config::Config;
use crate::credit::{Allowance, Grant};
use crate::hash::piece_hash;
use crate::incoming::State;
use crate::lane::Lane;
use crate::liveness::Liveness;
use crate::outbox::Outbox;
use crate::outgoing::Outgoing;
use crate::progress::Meter;
use crate::receiving::{Place, Receiving};

/// Messages of the data channel until the other side's speed is known, and bounds after.
const FIRST_MESSAGE_BYTES: usize = 64 * 1024;
const LEAST_MESSAGE_BYTES: usize = 4 * 1024;
const MOST_MESSAGE_BYTES: usize = PIECE_BYTES as usize;

/// One message is to take no longer than this on its way, so that a slow link is not taken for a dead one.
const MESSAGE_TIME: Duration = Duration::from_millis(250);
/// What lives as long as one link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) max_message_bytes: usize,
    pub(super) liveness: Liveness,
    pub(super) allowance: Allowance,
    pub(super) speed: Meter,
    pub(super) lane: Option<Lane>,
    pub(super) next_number: u32,
    /// Transfers that the other side numbered, and the highest number it used.
    pub(super) numbers: HashMap<u32, TransferId>,
    pub(super) highest_number: Option<u32>,
    pub(super) open_piece: Option<OpenPiece>,
    pub(super) offered: BTreeSet<TransferId>,
}

/// The piece that is being collected.
#[derive(Debug)]
pub(super) struct OpenPiece {
    pub(super) transfer: TransferId,
    pub(super) file: FileIndex,
    pub(super) piece: u64,
    pub(super) bytes: Vec<u8>,
}

impl Exchange {
    pub(super) fn handle_frames(&mut self, now: Instant, message: &[u8]) -> Result<(), ViolationCode> {
        if !self.grant.receive(now, message.len() as u64) {
            return Err(ViolationCode::OverCredit);
        }
        for frame in Frames::new(message) {
            let frame = frame.map_err(|_| ViolationCode::MalformedFrame)?;
            self.handle_frame(now, frame)?;
        }
        Ok(())
    }

    pub(super) fn handle_frame(&mut self, now: Instant, frame: Frame<'_>) -> Result<(), ViolationCode> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let Some(&transfer) = link.numbers.get(&frame.number) else { return Err(ViolationCode::UnknownTransfer) };
        let receiving = match self.incoming.get_mut(&transfer).map(|incoming| &mut incoming.state) {
            Some(State::Receiving(receiving)) => receiving,
            Some(State::Listing(_) | State::Offered(_)) => return Err(ViolationCode::DataBeforeAccept),
            // It was given up here; the sender does not know yet.
            None => return Ok(()),
        };
        let (file, offset) = (frame.file, frame.offset);
        let out = &mut self.out;
        match frame.body {
            Body::Chunk(bytes) => link.collect(receiving, transfer, file, offset, bytes, &mut self.grant, out),
            Body::PieceEnd { hash } => {
                if offset % PIECE_BYTES != 0 {
                    return Err(ViolationCode::BadValue);
                }
                let piece = offset / PIECE_BYTES;
                if receiving.handle_chunk(file, offset, offset, out)? == Place::Ignored {
                    return Ok(());
                }
                let is_this = |open: &mut OpenPiece| open.is(transfer, file, piece);
                let open = link.open_piece.take_if(is_this).ok_or(ViolationCode::Gap)?;
                let len = open.bytes.len() as u64;
                if len != receiving.piece_len(file, piece) {
                    return Err(ViolationCode::Gap);
                }
                if piece_hash(&open.bytes) == hash {
                    *self.writes.entry((transfer, file, offset)).or_default() += len;
                    receiving.handle_piece(file, piece, open.bytes, hash, out);
                    Ok(())
                } else {
                    self.grant.release(now, len);
                    receiving.handle_damaged(file, piece, self.config.piece_tries)
                }
            }
            Body::FileEnd { root } => receiving.handle_file_end(now, file, offset, root, out),
            Body::Restate { version, modified_ms } => {
                let growth = self.config.growth_bytes;
                receiving.handle_restate(file, offset, version, modified_ms, growth, out)
            }
        }
    }
}

impl Link {
    pub(super) fn new(now: Instant, max_message_bytes: usize, config: &Config) -> Self {
        Self {
            max_message_bytes: max_message_bytes.clamp(LEAST_MESSAGE_BYTES + 2 * HEADER_BYTES, MOST_MESSAGE_BYTES),
            liveness: Liveness::new(now, config.ping_after, config.silent_after),
            allowance: Allowance::default(),
            speed: Meter::default(),
            lane: None,
            next_number: 1,
            numbers: HashMap::new(),
            highest_number: None,
            open_piece: None,
            offered: BTreeSet::new(),
        }
    }

    pub(super) fn take_number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// How long the next message of the data channel may be.
    pub(super) fn message_bytes(&self, now: Instant) -> usize {
        let per_message = match self.speed.bytes_per_second(now) {
            0 => FIRST_MESSAGE_BYTES,
            speed => (speed / 1000).saturating_mul(MESSAGE_TIME.as_millis() as u64) as usize,
        };
        per_message.max(LEAST_MESSAGE_BYTES + HEADER_BYTES).min(self.max_message_bytes)
    }

    /// Adds a chunk to the piece it belongs to.
    #[expect(clippy::too_many_arguments, reason = "the parts of one frame, and the two things it changes")]
    pub(super) fn collect(
        &mut self,
        receiving: &mut Receiving,
        transfer: TransferId,
        file: FileIndex,
        offset: u64,
        bytes: &[u8],
        grant: &mut Grant,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        let end = offset + bytes.len() as u64;
        if receiving.handle_chunk(file, offset, end, out)? == Place::Ignored {
            return Ok(());
        }
        let piece = offset / PIECE_BYTES;
        let within = (offset % PIECE_BYTES) as usize;
        let open = match &mut self.open_piece {
            Some(open) if open.is(transfer, file, piece) => open,
            none @ None if within == 0 => none.insert(OpenPiece { transfer, file, piece, bytes: Vec::new() }),
            Some(_) | None => return Err(ViolationCode::Gap),
        };
        let have = open.bytes.len();
        if within > have {
            return Err(ViolationCode::Gap);
        }
        let (known, new) = bytes.split_at(bytes.len().min(have - within));
        if open.bytes[within..within + known.len()] != *known {
            return Err(ViolationCode::Overlap);
        }
        open.bytes.extend_from_slice(new);
        grant.hold(new.len() as u64);
        Ok(())
    }
}

impl OpenPiece {
    pub(super) fn is(&self, transfer: TransferId, file: FileIndex, piece: u64) -> bool {
        (self.transfer, self.file, self.piece) == (transfer, file, piece)
    }
}

/// Takes the next dispatch from the transfer whose turn it is.
pub(super) fn next_lane(
    outgoing: &mut BTreeMap<TransferId, Outgoing>,
    turns: &mut VecDeque<TransferId>,
    out: &mut Outbox,
) -> Option<Lane> {
    for at in 0..turns.len() {
        let transfer = turns[at];
        let Some(outgoing) = outgoing.get_mut(&transfer) else { continue };
        if let Some(dispatch) = outgoing.poll_dispatch(out) {
            turns.remove(at);
            turns.push_back(transfer);
            return Some(Lane::new(transfer, outgoing.number, dispatch));
        }
    }
    None
}
