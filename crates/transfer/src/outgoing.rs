//! One transfer as its sender sees it: offer, wait, read ahead, send, collect acknowledgements.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use lanyard_protocol::control::{
    ControlMessage, FailedFile, FileFailure, FileIndex, Hash, HeldFile, ManifestEntry, PauseReason, PieceRef, Span,
    TransferId, ViolationCode,
};
use lanyard_protocol::frame::PIECE_BYTES;

use crate::config::Config;
use crate::hash::{file_root, piece_count, piece_hash, piece_len};
use crate::manifest::Manifest;
use crate::outbox::Outbox;
use crate::output::{Event, Output, ReadError, ReadRequest};
use crate::progress::{Meter, Progress};
use crate::spans;

/// Entries and bytes of their paths in one `entries` message: at most 60 KiB of JSON.
const ENTRIES_IN_MESSAGE: usize = 128;
const PATH_BYTES_IN_MESSAGE: usize = 24 * 1024;

/// Failures in one `fail` message.
const FAILURES_IN_MESSAGE: usize = 500;

/// Pieces that wait to be sent once more: more than any window holds.
const PIECES_AGAIN: usize = 65_536;

/// What goes over the data channel next, in the order of the file.
#[derive(Debug)]
pub(crate) enum Dispatch {
    Restate { file: FileIndex, size_bytes: u64, version: u32, modified_ms: u64 },
    Piece { file: FileIndex, piece: u64, bytes: Vec<u8>, hash: Hash },
    FileEnd { file: FileIndex, size_bytes: u64, root: Hash },
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: TransferId,
    pub(crate) number: u32,
    manifest: Manifest,
    stage: Stage,
    files: Vec<OutFile>,
    cursor: Cursor,
    pipeline: VecDeque<Slot>,
    /// Bytes of the pipeline, read or asked for.
    read_ahead: u64,
    /// Pieces to be sent once more.
    again: BTreeSet<(FileIndex, u64)>,
    /// Failures to be told.
    untold: VecDeque<FailedFile>,
    /// Wanted entries that are neither received nor failed.
    open: u32,
    pub(crate) paused_by_us: Option<PauseReason>,
    pub(crate) paused_by_them: Option<PauseReason>,
    meter: Meter,
    taken_bytes: u64,
}

#[derive(Debug)]
enum Stage {
    /// Entries from `next` on are still to be told.
    Offering {
        next: u32,
    },
    /// The whole offer is out; `wanted` collects a long answer.
    Offered {
        wanted: Vec<Span>,
    },
    /// Accepted; waiting for what the receiver holds on this link.
    Asking,
    Sending,
}

#[derive(Debug, Default)]
struct OutFile {
    fate: Fate,
    size_bytes: u64,
    modified_ms: Option<u64>,
    /// As the receiver counts.
    version: u32,
    /// How often this process found it changed.
    changes: u32,
    /// Of the present version, as this process read it.
    hashes: BTreeMap<u64, Hash>,
    /// What the receiver says it holds, until it was compared.
    claims: BTreeMap<u64, Hash>,
    /// The next piece must be announced as part of another version.
    restate: bool,
    restated_on_link: bool,
    asked_in_pass: bool,
    /// The other side said so itself.
    failure_told: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fate {
    #[default]
    Unwanted,
    Pending,
    /// All of it was sent.
    Sent,
    Received,
    Failed(FileFailure),
}

/// Where reading goes on.
#[derive(Debug, Default)]
struct Cursor {
    /// The file being read, and its next piece.
    current: Option<(FileIndex, u64)>,
    /// The next file in the order of the manifest.
    next: FileIndex,
    /// Files to be read from their start once more.
    redo: VecDeque<FileIndex>,
}

#[derive(Debug)]
struct Slot {
    file: FileIndex,
    work: Work,
}

#[derive(Debug)]
enum Work {
    ReadPiece { piece: u64 },
    SendPiece { piece: u64, bytes: Vec<u8>, hash: Hash },
    CheckEnd,
    End,
}

impl Outgoing {
    pub(crate) fn new(id: TransferId, manifest: Manifest) -> Self {
        let files = manifest.entries().iter().map(OutFile::new).collect();
        Self {
            id,
            number: 0,
            manifest,
            stage: Stage::Offering { next: 0 },
            files,
            cursor: Cursor::default(),
            pipeline: VecDeque::new(),
            read_ahead: 0,
            again: BTreeSet::new(),
            untold: VecDeque::new(),
            open: 0,
            paused_by_us: None,
            paused_by_them: None,
            meter: Meter::default(),
            taken_bytes: 0,
        }
    }

    /// After a restart: everything in `wanted` is taken to be accepted, and nothing to be known about the files.
    pub(crate) fn restored(id: TransferId, manifest: Manifest, wanted: &[Span]) -> Self {
        let mut outgoing = Self::new(id, manifest);
        outgoing.want(wanted);
        outgoing.stage = Stage::Asking;
        outgoing
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Sending)
    }

    /// Whether every wanted entry is settled and the other side knows.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Sending) && self.open == 0 && self.untold.is_empty()
    }

    /// Entries that the other side accepted.
    pub(crate) fn wanted(&self) -> Vec<Span> {
        spans::from_indices(
            (0..).zip(&self.files).filter(|(_, state)| state.fate != Fate::Unwanted).map(|(file, _)| file),
        )
    }

    fn want(&mut self, wanted: &[Span]) {
        for file in spans::indices(wanted) {
            self.files[file as usize].fate = Fate::Pending;
            self.open += 1;
        }
    }

    // --- links ---

    pub(crate) fn handle_link_up(&mut self, number: u32, out: &mut Outbox) {
        self.number = number;
        self.paused_by_them = None;
        if self.is_accepted() {
            self.stage = Stage::Asking;
            out.say(ControlMessage::Resume { transfer: self.id, number });
        } else {
            self.stage = Stage::Offering { next: 0 };
            let summary = self.manifest.summary().clone();
            out.say(ControlMessage::Offer { transfer: self.id, number, summary });
        }
        self.say_paused(out);
    }

    fn say_paused(&self, out: &mut Outbox) {
        if let Some(reason) = self.paused_by_us {
            out.say(ControlMessage::Pause { transfer: self.id, reason });
        }
    }

    pub(crate) fn handle_link_lost(&mut self) {
        self.clear_pipeline();
        self.meter.restart();
        for state in &mut self.files {
            state.failure_told = false;
            // Said on a link that is gone: a receiver that crashed since may hold less.
            state.claims = BTreeMap::new();
        }
        if matches!(self.stage, Stage::Sending) {
            self.stage = Stage::Asking;
        }
    }

    fn clear_pipeline(&mut self) {
        self.pipeline.clear();
        self.again.clear();
        self.read_ahead = 0;
    }

    // --- what the receiver says ---

    pub(crate) fn handle_accept(
        &mut self,
        spans: Vec<Span>,
        last: bool,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        let entries = self.manifest.summary().entries;
        let Stage::Offered { wanted } = &mut self.stage else { return Err(ViolationCode::OutOfTurn) };
        wanted.extend(spans);
        if !spans::are_ascending(wanted, entries) {
            return Err(ViolationCode::BadValue);
        }
        if last {
            let wanted = std::mem::take(wanted);
            self.want(&wanted);
            self.stage = Stage::Asking;
            out.tell(Event::Accepted { transfer: self.id });
            // Said while it was only offered, it was not for the receiver.
            self.say_paused(out);
        }
        Ok(())
    }

    /// Whether the offer is out and not answered.
    pub(crate) fn may_be_declined(&self) -> bool {
        matches!(self.stage, Stage::Offering { .. } | Stage::Offered { .. })
    }

    pub(crate) fn handle_have(
        &mut self,
        done: &[Span],
        failed: Vec<FailedFile>,
        held: Vec<HeldFile>,
        last: bool,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        if !matches!(self.stage, Stage::Asking) {
            return Err(ViolationCode::OutOfTurn);
        }
        if !spans::are_ascending(done, self.manifest.summary().entries) {
            return Err(ViolationCode::BadValue);
        }
        for file in spans::indices(done) {
            self.settle_received(file, out)?;
        }
        for FailedFile { file, reason } in failed {
            self.handle_fail(file, reason, out)?;
        }
        for HeldFile { file, version, runs } in held {
            let held = self.wanted_mut(file)?;
            held.version = held.version.max(version);
            let pieces = piece_count(held.size_bytes);
            for run in runs {
                let claims = (run.first..).zip(run.hashes.0);
                held.claims.extend(claims.take_while(|(piece, _)| *piece < pieces));
            }
        }
        if last {
            self.begin_pass();
        }
        Ok(())
    }

    /// Starts to go through everything that is not received.
    fn begin_pass(&mut self) {
        self.clear_pipeline();
        self.untold.clear();
        self.cursor = Cursor::default();
        self.taken_bytes = 0;
        for (file, state) in (0..).zip(&mut self.files) {
            state.asked_in_pass = false;
            state.restated_on_link = false;
            match state.fate {
                Fate::Sent => state.fate = Fate::Pending,
                Fate::Received => self.taken_bytes += state.size_bytes,
                Fate::Failed(reason) if !state.failure_told => self.untold.push_back(FailedFile { file, reason }),
                Fate::Failed(_) | Fate::Unwanted | Fate::Pending => {}
            }
        }
        self.stage = Stage::Sending;
    }

    pub(crate) fn handle_again(&mut self, pieces: Vec<PieceRef>) -> Result<(), ViolationCode> {
        self.require_sending()?;
        for wanted in pieces {
            let file = self.wanted_mut(wanted.file)?;
            if wanted.piece >= piece_count(file.size_bytes) {
                return Err(ViolationCode::OffsetOutOfRange);
            }
            if matches!(file.fate, Fate::Pending | Fate::Sent) {
                self.again.insert((wanted.file, wanted.piece));
            }
            if self.again.len() > PIECES_AGAIN {
                return Err(ViolationCode::TooMany);
            }
        }
        Ok(())
    }

    pub(crate) fn handle_received(&mut self, spans: &[Span], out: &mut Outbox) -> Result<(), ViolationCode> {
        self.require_sending()?;
        if !spans::are_ascending(spans, self.manifest.summary().entries) {
            return Err(ViolationCode::BadValue);
        }
        spans::indices(spans).try_for_each(|file| self.settle_received(file, out))
    }

    fn settle_received(&mut self, file: FileIndex, out: &mut Outbox) -> Result<(), ViolationCode> {
        let state = self.wanted_mut(file)?;
        match std::mem::replace(&mut state.fate, Fate::Received) {
            Fate::Received => return Ok(()),
            // Given up here while the receiver was already done with it: what arrived, arrived.
            Fate::Failed(_) => {}
            Fate::Unwanted | Fate::Pending | Fate::Sent => self.open -= 1,
        }
        self.let_go(file);
        out.tell(Event::FileDone { transfer: self.id, file });
        Ok(())
    }

    /// The other side gives a file up.
    pub(crate) fn handle_fail(
        &mut self,
        file: FileIndex,
        reason: FileFailure,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        if !self.is_accepted() {
            return Err(ViolationCode::OutOfTurn);
        }
        self.wanted_mut(file)?.failure_told = true;
        self.fail(file, reason, out);
        Ok(())
    }

    /// This side gives a file up; `false` when it is settled already.
    pub(crate) fn give_up(&mut self, file: FileIndex, reason: FileFailure, out: &mut Outbox) -> bool {
        let failed = self.fail(file, reason, out);
        if failed {
            self.untold.push_back(FailedFile { file, reason });
        }
        failed
    }

    fn fail(&mut self, file: FileIndex, reason: FileFailure, out: &mut Outbox) -> bool {
        let Ok(state) = self.wanted_mut(file) else { return false };
        if !matches!(state.fate, Fate::Pending | Fate::Sent) {
            return false;
        }
        state.fate = Fate::Failed(reason);
        self.open -= 1;
        self.let_go(file);
        out.push(Output::CloseSource { transfer: self.id, file });
        out.tell(Event::FileFailed { transfer: self.id, file, reason });
        true
    }

    /// Drops everything that is only needed while a file is on its way.
    fn let_go(&mut self, file: FileIndex) {
        let state = &mut self.files[file as usize];
        state.hashes = BTreeMap::new();
        state.claims = BTreeMap::new();
        self.again.retain(|(again, _)| *again != file);
        self.cursor.redo.retain(|redo| *redo != file);
        self.drop_slots(file);
    }

    fn drop_slots(&mut self, file: FileIndex) {
        let size_bytes = self.files[file as usize].size_bytes;
        let read_ahead = &mut self.read_ahead;
        self.pipeline.retain(|slot| {
            if slot.file == file {
                *read_ahead -= slot.work.bytes(size_bytes);
            }
            slot.file != file
        });
    }

    fn require_sending(&self) -> Result<(), ViolationCode> {
        if matches!(self.stage, Stage::Sending) { Ok(()) } else { Err(ViolationCode::OutOfTurn) }
    }

    fn wanted_mut(&mut self, file: FileIndex) -> Result<&mut OutFile, ViolationCode> {
        let state = self.files.get_mut(file as usize).filter(|state| state.fate != Fate::Unwanted);
        state.ok_or(ViolationCode::UnknownFile)
    }

    // --- reading ---

    /// Asks for as much as may be read ahead.
    pub(crate) fn pull(&mut self, config: &Config, out: &mut Outbox) {
        let paused = self.paused_by_us.is_some() || self.paused_by_them.is_some();
        if !matches!(self.stage, Stage::Sending) || paused {
            return;
        }
        while self.read_ahead < config.read_ahead_bytes && self.pipeline.len() < config.read_ahead_reads {
            if let Some((file, piece)) = self.again.pop_first() {
                self.files[file as usize].claims.remove(&piece);
                self.read_piece(file, piece, out);
            } else if !self.pull_next(out) {
                return;
            }
        }
    }

    /// Takes one step through the files; `false` at the end.
    fn pull_next(&mut self, out: &mut Outbox) -> bool {
        let Some((file, piece)) = self.cursor.current else {
            let next = self.cursor.redo.pop_front().unwrap_or_else(|| {
                self.cursor.next += 1;
                self.cursor.next - 1
            });
            let Some(state) = self.files.get(next as usize) else {
                self.cursor.next = next;
                return false;
            };
            // Folders have nothing to be read; the receiver makes them by itself.
            let is_file = matches!(self.manifest.entry(next), Some(ManifestEntry::File { .. }));
            self.cursor.current = (is_file && state.fate == Fate::Pending).then_some((next, 0));
            return true;
        };
        let state = &self.files[file as usize];
        if state.fate == Fate::Pending && piece < piece_count(state.size_bytes) {
            self.cursor.current = Some((file, piece + 1));
            self.pull_piece(file, piece, out);
        } else {
            self.cursor.current = None;
            if state.fate == Fate::Pending {
                self.pull_end(file, out);
            }
        }
        true
    }

    fn pull_piece(&mut self, file: FileIndex, piece: u64, out: &mut Outbox) {
        let state = &mut self.files[file as usize];
        let known = state.hashes.get(&piece);
        if known.is_some() && known == state.claims.get(&piece) {
            // The receiver has it.
            state.claims.remove(&piece);
            self.taken_bytes += piece_len(state.size_bytes, piece);
        } else {
            self.read_piece(file, piece, out);
        }
    }

    fn read_piece(&mut self, file: FileIndex, piece: u64, out: &mut Outbox) {
        let state = &mut self.files[file as usize];
        state.asked_in_pass = true;
        let len = piece_len(state.size_bytes, piece);
        self.read_ahead += len;
        self.pipeline.push_back(Slot { file, work: Work::ReadPiece { piece } });
        let (transfer, version, offset) = (self.id, state.changes, piece * PIECE_BYTES);
        out.push(Output::Read(ReadRequest { transfer, file, version, offset, len }));
    }

    fn pull_end(&mut self, file: FileIndex, out: &mut Outbox) {
        let state = &self.files[file as usize];
        let work = if state.asked_in_pass {
            Work::End
        } else {
            let (transfer, version, offset) = (self.id, state.changes, state.size_bytes);
            out.push(Output::Read(ReadRequest { transfer, file, version, offset, len: 0 }));
            Work::CheckEnd
        };
        self.pipeline.push_back(Slot { file, work });
    }

    pub(crate) fn handle_read(&mut self, request: ReadRequest, result: Result<Vec<u8>, ReadError>, out: &mut Outbox) {
        let ReadRequest { file, version, offset, .. } = request;
        let asked = |slot: &Slot| {
            slot.file == file
                && match slot.work {
                    Work::ReadPiece { piece } => piece * PIECE_BYTES == offset,
                    Work::CheckEnd => true,
                    Work::SendPiece { .. } | Work::End => false,
                }
        };
        // Answers to what is no longer asked: the link was lost, or the file given up, in between.
        let is_present = self.files.get(file as usize).is_some_and(|state| state.changes == version);
        let Some(at) = self.pipeline.iter().position(asked).filter(|_| is_present) else { return };
        match result {
            Ok(bytes) => self.take_bytes(at, bytes, out),
            Err(ReadError::Unreadable) => {
                self.give_up(file, FileFailure::Unreadable, out);
            }
            Err(ReadError::Changed { size_bytes, modified_ms }) => {
                self.handle_changed(file, size_bytes, modified_ms, out);
            }
        }
    }

    fn take_bytes(&mut self, at: usize, bytes: Vec<u8>, out: &mut Outbox) {
        let Slot { file, work } = &mut self.pipeline[at];
        let (file, state) = (*file, &mut self.files[*file as usize]);
        let Work::ReadPiece { piece } = *work else {
            *work = Work::End;
            return;
        };
        let hash = piece_hash(&bytes);
        let is_short = bytes.len() as u64 != piece_len(state.size_bytes, piece);
        // The same file gave other bytes before: it is being changed by somebody who restores its time.
        if is_short || state.hashes.insert(piece, hash).is_some_and(|before| before != hash) {
            self.give_up(file, FileFailure::Changed, out);
            return;
        }
        match state.claims.remove(&piece) {
            Some(claim) if claim == hash => {
                // The receiver has it.
                self.read_ahead -= bytes.len() as u64;
                self.taken_bytes += bytes.len() as u64;
                self.pipeline.remove(at);
            }
            claim => {
                if claim.is_some() && !state.restated_on_link {
                    (state.restate, state.restated_on_link) = (true, true);
                    state.version += 1;
                }
                *work = Work::SendPiece { piece, bytes, hash };
            }
        }
    }

    /// The file is not the one that was offered. Before anything of it was read, its present content is sent instead, and
    /// the receiver told; afterwards it is given up, so that two contents never mix.
    fn handle_changed(&mut self, file: FileIndex, size_bytes: u64, modified_ms: Option<u64>, out: &mut Outbox) {
        let state = &self.files[file as usize];
        if !state.hashes.is_empty() || state.restated_on_link || size_bytes > lanyard_protocol::control::MAX_INTEGER {
            self.give_up(file, FileFailure::Changed, out);
            return;
        }
        self.drop_slots(file);
        let state = &mut self.files[file as usize];
        (state.version, state.changes) = (state.version + 1, state.changes + 1);
        (state.size_bytes, state.modified_ms) = (size_bytes, modified_ms);
        (state.restate, state.restated_on_link, state.asked_in_pass) = (true, true, false);
        let pieces = piece_count(size_bytes);
        state.claims.retain(|piece, _| *piece < pieces);
        self.again.retain(|(again, _)| *again != file);
        match &mut self.cursor.current {
            Some((current, piece)) if *current == file => *piece = 0,
            _ => self.cursor.redo.push_back(file),
        }
        out.tell(Event::Restated { transfer: self.id, file, size_bytes });
    }

    // --- sending ---

    /// What the data channel carries next, if it was read already.
    pub(crate) fn poll_dispatch(&mut self, out: &mut Outbox) -> Option<Dispatch> {
        if self.paused_by_us.is_some() || self.paused_by_them.is_some() {
            return None;
        }
        let Slot { file, work } = self.pipeline.front()?;
        let file = *file;
        if matches!(work, Work::ReadPiece { .. } | Work::CheckEnd) {
            return None;
        }
        let state = &mut self.files[file as usize];
        if std::mem::take(&mut state.restate) {
            let (size_bytes, version) = (state.size_bytes, state.version);
            let modified_ms = state.modified_ms.unwrap_or(0);
            return Some(Dispatch::Restate { file, size_bytes, version, modified_ms });
        }
        match self.pipeline.pop_front()?.work {
            Work::SendPiece { piece, bytes, hash } => {
                self.read_ahead -= bytes.len() as u64;
                Some(Dispatch::Piece { file, piece, bytes, hash })
            }
            Work::End => Some(self.end_file(file, out)),
            Work::ReadPiece { .. } | Work::CheckEnd => None,
        }
    }

    fn end_file(&mut self, file: FileIndex, out: &mut Outbox) -> Dispatch {
        let state = &mut self.files[file as usize];
        state.fate = Fate::Sent;
        out.push(Output::CloseSource { transfer: self.id, file });
        let root = file_root(state.size_bytes, state.hashes.values());
        Dispatch::FileEnd { file, size_bytes: state.size_bytes, root }
    }

    /// The receiver stored bytes of it.
    pub(crate) fn handle_taken(&mut self, now: Instant, bytes: u64) {
        self.taken_bytes += bytes;
        self.meter.add(now, bytes);
    }

    // --- long lists, made when there is room ---

    pub(crate) fn poll_message(&mut self) -> Option<ControlMessage> {
        if let Stage::Offering { next } = &mut self.stage {
            let first = *next;
            let mut path_bytes = 0;
            let fits = |entry: &&ManifestEntry| {
                path_bytes += entry.path().len();
                path_bytes <= PATH_BYTES_IN_MESSAGE
            };
            let rest = &self.manifest.entries()[first as usize..];
            let entries: Vec<_> = rest.iter().take(ENTRIES_IN_MESSAGE).take_while(fits).cloned().collect();
            *next += entries.len() as u32;
            if *next == self.manifest.summary().entries {
                self.stage = Stage::Offered { wanted: Vec::new() };
            }
            return Some(ControlMessage::Entries { transfer: self.id, first, entries });
        }
        if self.untold.is_empty() || !matches!(self.stage, Stage::Sending) {
            return None;
        }
        let count = self.untold.len().min(FAILURES_IN_MESSAGE);
        let files = self.untold.drain(..count).collect();
        Some(ControlMessage::Fail { transfer: self.id, files })
    }

    pub(crate) fn progress(&self, now: Instant) -> Progress {
        let mut progress = Progress {
            total_bytes: 0,
            verified_bytes: 0,
            durable_bytes: 0,
            entries: 0,
            done: 0,
            failed: 0,
            bytes_per_second: self.meter.bytes_per_second(now),
            left: None,
        };
        for state in &self.files {
            progress.entries += u32::from(state.fate != Fate::Unwanted);
            match state.fate {
                Fate::Unwanted => {}
                Fate::Pending | Fate::Sent => progress.total_bytes += state.size_bytes,
                Fate::Received => {
                    progress.total_bytes += state.size_bytes;
                    progress.durable_bytes += state.size_bytes;
                    progress.done += 1;
                }
                Fate::Failed(_) => progress.failed += 1,
            }
        }
        progress.verified_bytes = self.taken_bytes.clamp(progress.durable_bytes, progress.total_bytes);
        progress.left = self.meter.left(now, progress.total_bytes - progress.verified_bytes);
        progress
    }
}

impl OutFile {
    fn new(entry: &ManifestEntry) -> Self {
        let modified_ms = match entry {
            ManifestEntry::File { modified_ms, .. } => *modified_ms,
            ManifestEntry::Folder { .. } => None,
        };
        Self { size_bytes: entry.size_bytes(), modified_ms, ..Self::default() }
    }
}

impl Work {
    /// How much of the read-ahead it takes.
    fn bytes(&self, size_bytes: u64) -> u64 {
        match self {
            Self::ReadPiece { piece } => piece_len(size_bytes, *piece),
            Self::SendPiece { bytes, .. } => bytes.len() as u64,
            Self::CheckEnd | Self::End => 0,
        }
    }
}
