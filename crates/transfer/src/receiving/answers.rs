//! What the receiver says, made when there is room on the link: lists may be long.

use lanyard_protocol::control::{ControlMessage, FailedFile, FileIndex, Hashes, HeldFile, PieceRef, PieceRun, Span};

use super::{Fate, InFile, Receiving};
use crate::spans;

/// Runs in one `accept` or `received` message, and pieces in one `again`: at most 48 KiB of JSON.
const ITEMS_IN_MESSAGE: usize = 1000;

/// What the parts of one `have` message may cost, in bytes of JSON, and what each costs at most.
const HAVE_COST: usize = 48_000;
const COST_OF_SPAN: usize = 40;
const COST_OF_FAILURE: usize = 48;
const COST_OF_FILE: usize = 64;
const COST_OF_RUN: usize = 48;
const COST_OF_HASH: usize = 43;

/// What is to be said about the offer on this link.
#[derive(Debug, Default)]
pub(super) enum Answer {
    #[default]
    Given,
    Accept {
        from: FileIndex,
    },
    Have {
        part: HavePart,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum HavePart {
    Done { from: FileIndex },
    Failed { from: FileIndex },
    Held { from: FileIndex, piece: u64 },
}

impl Receiving {
    pub(crate) fn poll_message(&mut self) -> Option<ControlMessage> {
        let transfer = self.id;
        match self.answer {
            Answer::Accept { from } => return Some(self.accept_part(from)),
            Answer::Have { part } if self.recheck.is_done() => return Some(self.have_part(part)),
            Answer::Have { .. } => return None,
            Answer::Given => {}
        }
        if !self.again.is_empty() && self.paused_by_us.is_none() {
            let mut pieces = Vec::new();
            while pieces.len() < ITEMS_IN_MESSAGE
                && let Some((file, piece)) = self.again.pop_first()
            {
                pieces.push(PieceRef { file, piece });
            }
            return Some(ControlMessage::Again { transfer, pieces });
        }
        if !self.untold.is_empty() {
            let count = self.untold.len().min(ITEMS_IN_MESSAGE / 2);
            return Some(ControlMessage::Fail { transfer, files: self.untold.drain(..count).collect() });
        }
        if !self.unacknowledged.is_empty() {
            let mut acknowledged = Vec::new();
            while acknowledged.len() < ITEMS_IN_MESSAGE
                && let Some(file) = self.unacknowledged.pop_first()
            {
                acknowledged.push(file);
            }
            return Some(ControlMessage::Received { transfer, files: spans::from_indices(acknowledged) });
        }
        None
    }

    fn accept_part(&mut self, from: FileIndex) -> ControlMessage {
        let all = (0..).zip(&self.files).filter(|(_, state)| state.fate != Fate::Unwanted).map(|(file, _)| file);
        let mut wanted = spans::from_indices(all.skip_while(|file| *file < from));
        let last = wanted.len() <= ITEMS_IN_MESSAGE;
        wanted.truncate(ITEMS_IN_MESSAGE);
        let end = wanted.last().map_or(0, |span| span.first + span.count);
        if last {
            self.begin_have();
        } else {
            self.answer = Answer::Accept { from: end };
        }
        ControlMessage::Accept { transfer: self.id, wanted, last }
    }

    fn have_part(&mut self, part: HavePart) -> ControlMessage {
        let mut have = HaveBuilder { cost: 0, done: Vec::new(), failed: Vec::new(), files: Vec::new() };
        let next = self.fill_have(part, &mut have);
        self.answer = next.map_or(Answer::Given, |part| Answer::Have { part });
        let HaveBuilder { done, failed, files, .. } = have;
        ControlMessage::Have { transfer: self.id, done, failed, files, last: next.is_none() }
    }

    /// Adds what fits; says where to go on.
    fn fill_have(&self, part: HavePart, have: &mut HaveBuilder) -> Option<HavePart> {
        let mut part = part;
        loop {
            part = match part {
                HavePart::Done { from } => match self.fill_done(from, have) {
                    Some(from) => return Some(HavePart::Done { from }),
                    None => HavePart::Failed { from: 0 },
                },
                HavePart::Failed { from } => match self.fill_failed(from, have) {
                    Some(from) => return Some(HavePart::Failed { from }),
                    None => HavePart::Held { from: 0, piece: 0 },
                },
                HavePart::Held { from, piece } => {
                    let next = self.fill_held(from, piece, have);
                    return next.map(|(from, piece)| HavePart::Held { from, piece });
                }
            };
        }
    }

    fn files_from(&self, from: FileIndex) -> impl Iterator<Item = (FileIndex, &InFile)> {
        (0..).zip(&self.files).skip(from as usize)
    }

    fn fill_done(&self, from: FileIndex, have: &mut HaveBuilder) -> Option<FileIndex> {
        for (file, _) in self.files_from(from).filter(|(_, state)| state.fate == Fate::Placed) {
            if let Some(span) = have.done.last_mut().filter(|span| span.first + span.count == file) {
                span.count += 1;
            } else if have.fits(COST_OF_SPAN) {
                have.done.push(Span { first: file, count: 1 });
            } else {
                return Some(file);
            }
        }
        None
    }

    fn fill_failed(&self, from: FileIndex, have: &mut HaveBuilder) -> Option<FileIndex> {
        for (file, state) in self.files_from(from) {
            let Fate::Failed(reason) = state.fate else { continue };
            if !have.fits(COST_OF_FAILURE) {
                return Some(file);
            }
            have.failed.push(FailedFile { file, reason });
        }
        None
    }

    fn fill_held(&self, from: FileIndex, from_piece: u64, have: &mut HaveBuilder) -> Option<(FileIndex, u64)> {
        for (file, state) in self.files_from(from) {
            let from_piece = if file == from { from_piece } else { 0 };
            let mut runs: Vec<PieceRun> = Vec::new();
            let mut cut = None;
            for (piece, held) in state.pieces.range(from_piece..) {
                let cost = match runs.last() {
                    Some(run) if run.first + run.hashes.0.len() as u64 == *piece => COST_OF_HASH,
                    Some(_) => COST_OF_HASH + COST_OF_RUN,
                    None => COST_OF_HASH + COST_OF_RUN + COST_OF_FILE,
                };
                if !have.fits(cost) {
                    cut = Some((file, *piece));
                    break;
                }
                match runs.last_mut() {
                    Some(run) if cost == COST_OF_HASH => run.hashes.0.push(held.hash),
                    _ => runs.push(PieceRun { first: *piece, hashes: Hashes(vec![held.hash]) }),
                }
            }
            if !runs.is_empty() {
                have.files.push(HeldFile { file, version: state.version, runs });
            }
            if cut.is_some() {
                return cut;
            }
        }
        None
    }
}

/// One `have` message in the making.
struct HaveBuilder {
    cost: usize,
    done: Vec<Span>,
    failed: Vec<FailedFile>,
    files: Vec<HeldFile>,
}

impl HaveBuilder {
    fn fits(&mut self, cost: usize) -> bool {
        let fits = self.cost + cost <= HAVE_COST;
        self.cost += if fits { cost } else { 0 };
        fits
    }
}
