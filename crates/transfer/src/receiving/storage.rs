//! What the disk says, and what it is asked to do in batches.

use std::collections::BTreeMap;
use std::time::Instant;

use lanyard_protocol::control::{FileFailure, FileIndex, Hashes, PauseReason};
use lanyard_protocol::frame::PIECE_BYTES;

use super::{Fate, InFile, Receiving, Stage};
use crate::config::Config;
use crate::hash::{file_root, piece_count, piece_hash, piece_len};
use crate::journal::Record;
use crate::outbox::Outbox;
use crate::output::{Event, Output, Placement, ReadRequest, WriteError};

impl Receiving {
    pub(crate) fn handle_written(&mut self, now: Instant, file: FileIndex, offset: u64, out: &mut Outbox) {
        let piece = offset / PIECE_BYTES;
        let Some(state) = self.files.get_mut(file as usize) else { return };
        let len = piece_len(state.size_bytes, piece);
        let Some(held) = state.pieces.get_mut(&piece).filter(|held| held.stage == Stage::Writing) else { return };
        held.stage = Stage::Written;
        state.written += 1;
        self.meter.add(now, len);
        self.dirty.pieces.insert((file, piece));
        self.dirty.bytes += len;
        self.dirty.since.get_or_insert(now);
        self.check_whole(now, file, out);
    }

    pub(crate) fn handle_write_failed(&mut self, file: FileIndex, offset: u64, error: WriteError, out: &mut Outbox) {
        let piece = offset / PIECE_BYTES;
        let Some(state) = self.files.get_mut(file as usize) else { return };
        if state.fate != Fate::Arriving {
            return;
        }
        match error {
            WriteError::Failed => {
                self.give_up(file, FileFailure::CannotWrite, out);
            }
            WriteError::NoSpace => {
                state.is_open = false;
                if state.pieces.get(&piece).is_some_and(|held| held.stage == Stage::Writing) {
                    state.pieces.remove(&piece);
                    self.no_room_for.insert((file, piece));
                }
                self.pause(PauseReason::NoSpace, out);
            }
        }
    }

    pub(crate) fn handle_synced(&mut self, out: &mut Outbox) {
        let Some(synced) = self.dirty.syncing.take() else { return };
        let mut records: Vec<Record> = Vec::new();
        for (file, piece) in synced {
            let state = &mut self.files[file as usize];
            if state.fate != Fate::Arriving {
                continue;
            }
            let Some(held) = state.pieces.get_mut(&piece).filter(|held| held.stage == Stage::Written) else { continue };
            held.stage = Stage::Durable;
            match records.last_mut() {
                Some(Record::Pieces { file: last, version, first, hashes })
                    if *last == file && *version == held.version && *first + hashes.0.len() as u64 == piece =>
                {
                    hashes.0.push(held.hash);
                }
                _ => records.push(Record::Pieces {
                    file,
                    version: held.version,
                    first: piece,
                    hashes: Hashes(vec![held.hash]),
                }),
            }
        }
        if !records.is_empty() {
            out.push(Output::Journal { transfer: self.id, records, sync: false });
        }
    }

    /// Nothing that was to be made durable may be trusted.
    pub(crate) fn handle_sync_failed(&mut self, error: WriteError, out: &mut Outbox) {
        let Some(syncing) = self.dirty.syncing.take() else { return };
        for (file, piece) in syncing {
            let state = &mut self.files[file as usize];
            let is_written = state.pieces.get(&piece).is_some_and(|held| held.stage == Stage::Written);
            if state.fate != Fate::Arriving || !is_written {
                continue;
            }
            match error {
                WriteError::NoSpace => {
                    state.pieces.remove(&piece);
                    state.written -= 1;
                    state.is_open = false;
                    self.no_room_for.insert((file, piece));
                }
                WriteError::Failed => {
                    self.give_up(file, FileFailure::CannotWrite, out);
                }
            }
        }
        if error == WriteError::NoSpace {
            self.pause(PauseReason::NoSpace, out);
        }
    }

    pub(super) fn check_whole(&mut self, now: Instant, file: FileIndex, out: &mut Outbox) {
        let state = &self.files[file as usize];
        let Some(root) = state.root else { return };
        if state.fate != Fate::Arriving || state.written < piece_count(state.size_bytes) {
            return;
        }
        if file_root(state.size_bytes, state.pieces.values().map(|held| &held.hash)) != root {
            self.give_up(file, FileFailure::Damaged, out);
            return;
        }
        if !state.is_open
            && let Some(path) = self.manifest.path(file).cloned()
        {
            // An empty file, or one that was whole before this process began.
            out.push(Output::Open { transfer: self.id, file, path, size_bytes: state.size_bytes });
        }
        self.make_ready(now, file);
    }

    pub(super) fn make_ready(&mut self, now: Instant, file: FileIndex) {
        let state = &mut self.files[file as usize];
        state.fate = Fate::Ready;
        state.is_open = true;
        self.ready_at_once |= state.size_bytes >= PIECE_BYTES;
        self.arriving -= 1;
        // Placing makes it durable as a whole.
        self.forget_dirty(file);
        self.ready.push_back(file);
        self.ready_since.get_or_insert(now);
    }

    pub(super) fn forget_dirty(&mut self, file: FileIndex) {
        let size_bytes = self.files[file as usize].size_bytes;
        let mine: Vec<_> = self.dirty.pieces.range((file, 0)..=(file, u64::MAX)).copied().collect();
        for (file, piece) in mine {
            self.dirty.pieces.remove(&(file, piece));
            self.dirty.bytes = self.dirty.bytes.saturating_sub(piece_len(size_bytes, piece));
        }
        if self.dirty.pieces.is_empty() {
            (self.dirty.since, self.dirty.bytes) = (None, 0);
        }
    }

    pub(crate) fn handle_placed(
        &mut self,
        now: Instant,
        file: FileIndex,
        result: Result<(), WriteError>,
        out: &mut Outbox,
    ) {
        if !self.placing.remove(&file) {
            return;
        }
        let transfer = self.id;
        let state = &mut self.files[file as usize];
        match result {
            Ok(()) => {
                state.fate = Fate::Placed;
                state.pieces = BTreeMap::new();
                self.open -= 1;
                self.placed.push(file);
                out.tell(Event::FileDone { transfer, file });
            }
            Err(WriteError::NoSpace) => {
                state.fate = Fate::Ready;
                self.ready.push_back(file);
                self.ready_since.get_or_insert(now);
                self.pause(PauseReason::NoSpace, out);
            }
            Err(WriteError::Failed) => {
                state.fate = Fate::Ready;
                self.give_up(file, FileFailure::CannotWrite, out);
            }
        }
        if self.placing.is_empty() && !self.placed.is_empty() {
            let placed = std::mem::take(&mut self.placed);
            let records = placed.iter().map(|file| Record::Placed { file: *file }).collect();
            out.push(Output::Journal { transfer, records, sync: false });
            self.unacknowledged.extend(placed);
        }
    }

    pub(crate) fn handle_read_back(&mut self, file: FileIndex, offset: u64, bytes: Option<&[u8]>, out: &mut Outbox) {
        let piece = offset / PIECE_BYTES;
        let hash = bytes.map(piece_hash);
        let expected = self.files.get(file as usize).and_then(|state| state.pieces.get(&piece)).map(|held| held.hash);
        let matches = expected.is_some() && expected == hash;
        if self.recheck.handle_read(file, piece, matches) && !matches {
            self.drop_piece(file, piece, out);
        }
    }

    /// Has written bytes made durable, whole files placed and old bytes read back, when it is time.
    pub(crate) fn pull(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        let transfer = self.id;
        let files = &self.files;
        self.recheck.pull(|file, piece| {
            let InFile { version, size_bytes, .. } = files[file as usize];
            let (offset, len) = (piece * PIECE_BYTES, piece_len(size_bytes, piece));
            out.push(Output::Read(ReadRequest { transfer, file, version, offset, len }));
        });
        if self.sync_due(config).is_some_and(|due| due <= now) {
            self.dirty.since = None;
            self.dirty.bytes = 0;
            let pieces = std::mem::take(&mut self.dirty.pieces);
            let mut files: Vec<_> = pieces.iter().map(|(file, _)| *file).collect();
            files.dedup();
            self.dirty.syncing = Some(pieces);
            out.push(Output::Sync { transfer, files });
        }
        if self.place_due(config).is_some_and(|due| due <= now) {
            self.place(now, config, out);
        }
    }

    pub(super) fn sync_due(&self, config: &Config) -> Option<Instant> {
        let since = self.dirty.since.filter(|_| self.dirty.syncing.is_none())?;
        Some(if self.dirty.bytes >= config.sync_bytes { since } else { since + config.sync_after })
    }

    pub(super) fn place_due(&self, config: &Config) -> Option<Instant> {
        let stands_still = self.paused_by_us == Some(PauseReason::NoSpace);
        let since = self.ready_since.filter(|_| self.placing.is_empty() && !stands_still)?;
        let at_once = self.ready_at_once || self.arriving == 0 || self.ready.len() >= config.commit_files;
        Some(if at_once { since } else { since + config.commit_after })
    }

    pub(super) fn place(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        let transfer = self.id;
        let count = self.ready.len().min(config.commit_files);
        let batch: Vec<_> = self.ready.drain(..count).collect();
        (self.ready_since, self.ready_at_once) = ((!self.ready.is_empty()).then_some(now), false);
        let mut entries = Vec::with_capacity(batch.len());
        let mut records = Vec::with_capacity(batch.len());
        for file in batch {
            let state = &mut self.files[file as usize];
            let Some(path) = self.manifest.path(file).cloned() else { continue };
            state.fate = Fate::Placing;
            self.placing.insert(file);
            entries.push(Placement { file, path, is_folder: state.is_folder, modified_ms: state.modified_ms });
            records.push(Record::Placing { file });
        }
        out.push(Output::Journal { transfer, records, sync: true });
        out.push(Output::Place { transfer, entries });
    }

    pub(crate) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        [self.sync_due(config), self.place_due(config)].into_iter().flatten().min()
    }
}
