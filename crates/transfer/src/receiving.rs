//! An accepted transfer as its receiver sees it: verify, write, make durable, place, acknowledge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use lanyard_protocol::control::{
    ControlMessage, FailedFile, FileFailure, FileIndex, Hash, Hashes, HeldFile, ManifestEntry, PauseReason, PieceRef,
    PieceRun, Span, TransferId, ViolationCode,
};
use lanyard_protocol::frame::PIECE_BYTES;

use crate::config::Config;
use crate::hash::{file_root, piece_count, piece_len};
use crate::journal::{Kept, Record};
use crate::manifest::Manifest;
use crate::outbox::Outbox;
use crate::output::{Event, Output, Placement, WriteError};
use crate::progress::{Meter, Progress};
use crate::recheck::Recheck;
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

/// Entries of one `entries` record.
const ENTRIES_IN_RECORD: usize = 256;

#[derive(Debug)]
pub(crate) struct Receiving {
    id: TransferId,
    manifest: Manifest,
    files: Vec<InFile>,
    /// Wanted entries that are neither ready to be placed, placed nor failed.
    arriving: u32,
    /// Wanted entries that are neither placed nor failed.
    open: u32,
    grown_bytes: u64,
    dirty: Dirty,
    ready: VecDeque<FileIndex>,
    ready_since: Option<Instant>,
    ready_at_once: bool,
    placing: BTreeSet<FileIndex>,
    placed: Vec<FileIndex>,
    recheck: Recheck,
    answer: Answer,
    /// Pieces to be asked for once more, and those that wait for space first.
    again: BTreeSet<(FileIndex, u64)>,
    no_room_for: BTreeSet<(FileIndex, u64)>,
    unacknowledged: BTreeSet<FileIndex>,
    untold: VecDeque<FailedFile>,
    pub(crate) paused_by_us: Option<PauseReason>,
    pub(crate) paused_by_them: Option<PauseReason>,
    told_finished: bool,
    meter: Meter,
}

#[derive(Debug, Default)]
struct InFile {
    fate: Fate,
    is_folder: bool,
    size_bytes: u64,
    modified_ms: Option<u64>,
    version: u32,
    pieces: BTreeMap<u64, Piece>,
    /// How many of `pieces` are written.
    written: u64,
    root: Option<Hash>,
    is_open: bool,
    damaged: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fate {
    #[default]
    Unwanted,
    Arriving,
    /// Whole and checked.
    Ready,
    Placing,
    Placed,
    Failed(FileFailure),
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    hash: Hash,
    version: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Writing,
    Written,
    Durable,
}

/// Pieces that are written and not durable.
#[derive(Debug, Default)]
struct Dirty {
    pieces: BTreeSet<(FileIndex, u64)>,
    bytes: u64,
    since: Option<Instant>,
    syncing: Option<BTreeSet<(FileIndex, u64)>>,
}

/// What is to be said about the offer on this link.
#[derive(Debug, Default)]
enum Answer {
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
enum HavePart {
    Done { from: FileIndex },
    Failed { from: FileIndex },
    Held { from: FileIndex, piece: u64 },
}

/// What became of the start of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The piece is wanted: collect it.
    Wanted { version: u32 },
    /// The piece is here already, or the file is given up: let the bytes go.
    Ignored,
}

impl Receiving {
    pub(crate) fn new(now: Instant, id: TransferId, manifest: Manifest, wanted: &[Span], out: &mut Outbox) -> Self {
        let mut receiving = Self::with(id, manifest, wanted);
        let mut records = vec![Record::Accepted {
            version: 1,
            transfer: id,
            entries: receiving.manifest.summary().entries,
            wanted: wanted.to_vec(),
        }];
        let parts = receiving.manifest.entries().chunks(ENTRIES_IN_RECORD);
        records.extend(parts.map(|part| Record::Entries { entries: part.to_vec() }));
        out.push(Output::Journal { transfer: id, records, sync: true });
        receiving.make_folders_ready(now);
        receiving
    }

    fn with(id: TransferId, manifest: Manifest, wanted: &[Span]) -> Self {
        let mut files: Vec<_> = manifest.entries().iter().map(InFile::new).collect();
        let mut open = 0;
        for file in spans::indices(wanted) {
            files[file as usize].fate = Fate::Arriving;
            open += 1;
        }
        Self {
            id,
            manifest,
            files,
            arriving: open,
            open,
            grown_bytes: 0,
            dirty: Dirty::default(),
            ready: VecDeque::new(),
            ready_since: None,
            ready_at_once: false,
            placing: BTreeSet::new(),
            placed: Vec::new(),
            recheck: Recheck::default(),
            answer: Answer::Given,
            again: BTreeSet::new(),
            no_room_for: BTreeSet::new(),
            unacknowledged: BTreeSet::new(),
            untold: VecDeque::new(),
            paused_by_us: None,
            paused_by_them: None,
            told_finished: false,
            meter: Meter::default(),
        }
    }

    /// Carries on what a journal kept; part of it is read back before any of it is claimed (TR-64).
    pub(crate) fn restored(now: Instant, kept: Kept, random: &mut impl FnMut() -> u64) -> Self {
        let Kept { transfer, wanted, manifest, files, written, .. } = kept;
        let mut receiving = Self::with(transfer, manifest, &wanted);
        for (file, kept) in files {
            receiving.restore_file(file, kept);
        }
        let held = written.into_iter().filter(|(file, piece)| {
            let state = &receiving.files[*file as usize];
            state.fate == Fate::Arriving && state.pieces.contains_key(piece)
        });
        receiving.recheck = Recheck::choose(held.collect(), random);
        receiving.make_folders_ready(now);
        receiving
    }

    fn restore_file(&mut self, file: FileIndex, kept: crate::journal::KeptFile) {
        use crate::journal::Fate as KeptFate;
        let state = &mut self.files[file as usize];
        if state.fate == Fate::Unwanted {
            return;
        }
        state.version = kept.version;
        if let Some((size_bytes, modified_ms)) = kept.restated {
            self.grown_bytes += size_bytes.saturating_sub(state.size_bytes);
            (state.size_bytes, state.modified_ms) = (size_bytes, modified_ms);
        }
        match kept.fate {
            KeptFate::Placed => state.fate = Fate::Placed,
            KeptFate::Failed(reason) => state.fate = Fate::Failed(reason),
            KeptFate::Partial | KeptFate::Placing => {
                let pieces = piece_count(state.size_bytes);
                let held = kept.pieces.into_iter().filter(|(piece, _)| *piece < pieces);
                state.pieces = held
                    .map(|(piece, (version, hash))| (piece, Piece { hash, version, stage: Stage::Durable }))
                    .collect();
                state.written = state.pieces.len() as u64;
                return;
            }
        }
        self.arriving -= 1;
        self.open -= 1;
    }

    fn make_folders_ready(&mut self, now: Instant) {
        for file in 0..self.files.len() as FileIndex {
            let state = &self.files[file as usize];
            if state.is_folder && state.fate == Fate::Arriving {
                self.make_ready(now, file);
            }
        }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether bytes of this file are still wanted.
    pub(crate) fn is_arriving(&self, file: FileIndex) -> bool {
        self.files.get(file as usize).is_some_and(|state| state.fate == Fate::Arriving)
    }

    /// Whether every wanted entry is placed or failed.
    pub(crate) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// `true` once, when it becomes complete.
    pub(crate) fn take_finished(&mut self) -> bool {
        self.open == 0 && !std::mem::replace(&mut self.told_finished, true)
    }

    // --- links ---

    pub(crate) fn handle_link_up(&mut self) {
        self.paused_by_them = None;
    }

    pub(crate) fn handle_link_lost(&mut self) {
        self.answer = Answer::Given;
        self.again.clear();
        self.no_room_for.clear();
        self.meter.restart();
        for state in &mut self.files {
            if state.fate == Fate::Arriving {
                state.root = None;
            }
        }
    }

    /// The offer is known on this link: says that it is accepted, and what is held.
    pub(crate) fn answer_accept(&mut self, out: &mut Outbox) {
        self.answer = Answer::Accept { from: 0 };
        self.say_paused(out);
    }

    /// The sender carries on: says what is held.
    pub(crate) fn answer_have(&mut self, out: &mut Outbox) {
        self.begin_have();
        self.say_paused(out);
    }

    fn begin_have(&mut self) {
        // It says all of this; what comes up while it is being said is said after it.
        self.untold.clear();
        self.unacknowledged.clear();
        self.answer = Answer::Have { part: HavePart::Done { from: 0 } };
    }

    fn say_paused(&mut self, out: &mut Outbox) {
        if let Some(reason) = self.paused_by_us {
            out.say(ControlMessage::Pause { transfer: self.id, reason });
        }
    }

    // --- data ---

    /// Whether bytes of `file` from `offset` to `end` are to be collected.
    pub(crate) fn handle_chunk(
        &mut self,
        file: FileIndex,
        offset: u64,
        end: u64,
        out: &mut Outbox,
    ) -> Result<Place, ViolationCode> {
        let state = self.file_mut(file)?;
        if matches!(state.fate, Fate::Failed(_)) {
            return Ok(Place::Ignored);
        }
        if end > state.size_bytes {
            return Err(ViolationCode::OffsetOutOfRange);
        }
        let version = state.version;
        let piece = offset / PIECE_BYTES;
        match state.pieces.get(&piece) {
            Some(held) if held.version == version => Ok(Place::Ignored),
            _ if state.fate != Fate::Arriving => Ok(Place::Ignored),
            Some(_) => {
                self.drop_piece(file, piece, out);
                Ok(Place::Wanted { version })
            }
            None => Ok(Place::Wanted { version }),
        }
    }

    /// Bytes of a piece of this file.
    pub(crate) fn piece_len(&self, file: FileIndex, piece: u64) -> u64 {
        self.files.get(file as usize).map_or(0, |state| piece_len(state.size_bytes, piece))
    }

    /// A piece was collected and its hash is right: has it written.
    pub(crate) fn handle_piece(&mut self, file: FileIndex, piece: u64, bytes: Vec<u8>, hash: Hash, out: &mut Outbox) {
        let transfer = self.id;
        let Some(state) = self.files.get_mut(file as usize) else { return };
        if !std::mem::replace(&mut state.is_open, true)
            && let Some(path) = self.manifest.path(file).cloned()
        {
            out.push(Output::Open { transfer, file, path, size_bytes: state.size_bytes });
        }
        state.pieces.insert(piece, Piece { hash, version: state.version, stage: Stage::Writing });
        out.push(Output::Write { transfer, file, offset: piece * PIECE_BYTES, bytes });
    }

    /// A piece was collected and its hash is wrong.
    pub(crate) fn handle_damaged(&mut self, file: FileIndex, piece: u64, tries: u32) -> Result<(), ViolationCode> {
        let state = self.file_mut(file)?;
        state.damaged += 1;
        if state.damaged >= tries {
            return Err(ViolationCode::PieceCorrupt);
        }
        self.again.insert((file, piece));
        Ok(())
    }

    pub(crate) fn handle_file_end(
        &mut self,
        now: Instant,
        file: FileIndex,
        size_bytes: u64,
        root: Hash,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        let state = self.file_mut(file)?;
        if state.fate != Fate::Arriving {
            return Ok(());
        }
        if state.size_bytes != size_bytes {
            return Err(ViolationCode::OffsetOutOfRange);
        }
        state.root = Some(root);
        self.check_whole(now, file, out);
        Ok(())
    }

    pub(crate) fn handle_restate(
        &mut self,
        file: FileIndex,
        size_bytes: u64,
        version: u32,
        modified_ms: u64,
        growth_bytes: u64,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        let transfer = self.id;
        let state = self.file_mut(file)?;
        if state.fate != Fate::Arriving {
            return Ok(());
        }
        if version <= state.version {
            return Err(ViolationCode::BadValue);
        }
        let old_bytes = state.size_bytes;
        let cut: Vec<u64> = state
            .pieces
            .keys()
            .copied()
            .filter(|piece| piece_len(size_bytes, *piece) != piece_len(old_bytes, *piece))
            .collect();
        state.version = version;
        state.size_bytes = size_bytes;
        state.modified_ms = (modified_ms > 0).then_some(modified_ms);
        (state.root, state.is_open) = (None, false);
        let modified_ms = state.modified_ms;
        self.grown_bytes += size_bytes.saturating_sub(old_bytes);
        if self.grown_bytes > growth_bytes {
            self.give_up(file, FileFailure::Changed, out);
            return Ok(());
        }
        let mut records = vec![Record::Restated { file, version, size_bytes, modified_ms }];
        for piece in cut {
            self.remove_piece(file, piece);
            records.push(Record::Dropped { file, piece });
        }
        out.push(Output::Journal { transfer, records, sync: true });
        out.tell(Event::Restated { transfer, file, size_bytes });
        Ok(())
    }

    /// A piece of an older version is about to be written over; the journal must not vouch for it any more.
    fn drop_piece(&mut self, file: FileIndex, piece: u64, out: &mut Outbox) {
        self.remove_piece(file, piece);
        let records = vec![Record::Dropped { file, piece }];
        out.push(Output::Journal { transfer: self.id, records, sync: true });
    }

    fn remove_piece(&mut self, file: FileIndex, piece: u64) {
        let state = &mut self.files[file as usize];
        let len = piece_len(state.size_bytes, piece);
        if let Some(removed) = state.pieces.remove(&piece)
            && removed.stage != Stage::Writing
        {
            state.written -= 1;
        }
        if self.dirty.pieces.remove(&(file, piece)) {
            self.dirty.bytes = self.dirty.bytes.saturating_sub(len);
        }
    }

    // --- what the disk says ---

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

    fn check_whole(&mut self, now: Instant, file: FileIndex, out: &mut Outbox) {
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

    fn make_ready(&mut self, now: Instant, file: FileIndex) {
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

    fn forget_dirty(&mut self, file: FileIndex) {
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
        let hash = bytes.map(crate::hash::piece_hash);
        let expected = self.files.get(file as usize).and_then(|state| state.pieces.get(&piece)).map(|held| held.hash);
        let matches = expected.is_some() && expected == hash;
        if self.recheck.handle_read(file, piece, matches) && !matches {
            self.drop_piece(file, piece, out);
        }
    }

    // --- what people and the other side decide ---

    /// This side gives a file up; `false` when it is settled already.
    pub(crate) fn give_up(&mut self, file: FileIndex, reason: FileFailure, out: &mut Outbox) -> bool {
        let failed = self.fail(file, reason, out);
        if failed {
            self.untold.push_back(FailedFile { file, reason });
        }
        failed
    }

    /// The other side gives a file up.
    pub(crate) fn handle_fail(
        &mut self,
        file: FileIndex,
        reason: FileFailure,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        self.wanted_mut(file)?;
        self.fail(file, reason, out);
        Ok(())
    }

    fn fail(&mut self, file: FileIndex, reason: FileFailure, out: &mut Outbox) -> bool {
        let transfer = self.id;
        let Ok(state) = self.wanted_mut(file) else { return false };
        // What is being placed either arrives or fails by itself a moment later.
        if !matches!(state.fate, Fate::Arriving | Fate::Ready) {
            return false;
        }
        let was_arriving = state.fate == Fate::Arriving;
        state.fate = Fate::Failed(reason);
        state.pieces = BTreeMap::new();
        self.arriving -= u32::from(was_arriving);
        self.open -= 1;
        self.forget_dirty(file);
        self.ready.retain(|ready| *ready != file);
        self.again.retain(|(again, _)| *again != file);
        self.no_room_for.retain(|(waiting, _)| *waiting != file);
        out.push(Output::Discard { transfer, files: vec![file] });
        out.push(Output::Journal { transfer, records: vec![Record::Failed { file, reason }], sync: false });
        out.tell(Event::FileFailed { transfer, file, reason });
        true
    }

    pub(crate) fn pause(&mut self, reason: PauseReason, out: &mut Outbox) {
        if self.paused_by_us.is_none() {
            self.paused_by_us = Some(reason);
            out.say(ControlMessage::Pause { transfer: self.id, reason });
            out.tell(Event::Paused { transfer: self.id, reason, by: crate::Party::Us });
        }
    }

    /// After a pause for want of space, what could not be stored is asked for again.
    pub(crate) fn unpause(&mut self) {
        self.paused_by_us = None;
        self.again.append(&mut self.no_room_for);
    }

    fn wanted_mut(&mut self, file: FileIndex) -> Result<&mut InFile, ViolationCode> {
        let state = self.files.get_mut(file as usize).filter(|state| state.fate != Fate::Unwanted);
        state.ok_or(ViolationCode::UnknownFile)
    }

    /// Folders carry no bytes.
    fn file_mut(&mut self, file: FileIndex) -> Result<&mut InFile, ViolationCode> {
        self.wanted_mut(file).ok().filter(|state| !state.is_folder).ok_or(ViolationCode::UnknownFile)
    }

    // --- batches ---

    /// Has written bytes made durable, whole files placed and old bytes read back, when it is time.
    pub(crate) fn pull(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
        let transfer = self.id;
        let files = &self.files;
        self.recheck.pull(|file, piece| {
            let len = piece_len(files[file as usize].size_bytes, piece);
            out.push(Output::Read { transfer, file, offset: piece * PIECE_BYTES, len });
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

    fn sync_due(&self, config: &Config) -> Option<Instant> {
        let since = self.dirty.since.filter(|_| self.dirty.syncing.is_none())?;
        Some(if self.dirty.bytes >= config.sync_bytes { since } else { since + config.sync_after })
    }

    fn place_due(&self, config: &Config) -> Option<Instant> {
        let stands_still = self.paused_by_us == Some(PauseReason::NoSpace);
        let since = self.ready_since.filter(|_| self.placing.is_empty() && !stands_still)?;
        let at_once = self.ready_at_once || self.arriving == 0 || self.ready.len() >= config.commit_files;
        Some(if at_once { since } else { since + config.commit_after })
    }

    fn place(&mut self, now: Instant, config: &Config, out: &mut Outbox) {
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

    // --- long lists, made when there is room ---

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
                Fate::Unwanted => continue,
                Fate::Failed(_) => {
                    progress.failed += 1;
                    continue;
                }
                Fate::Placed => {
                    progress.done += 1;
                    progress.verified_bytes += state.size_bytes;
                    progress.durable_bytes += state.size_bytes;
                }
                Fate::Arriving | Fate::Ready | Fate::Placing => {
                    for (piece, held) in &state.pieces {
                        let len = piece_len(state.size_bytes, *piece);
                        progress.verified_bytes += if held.stage == Stage::Writing { 0 } else { len };
                        progress.durable_bytes += if held.stage == Stage::Durable { len } else { 0 };
                    }
                }
            }
            progress.total_bytes += state.size_bytes;
        }
        progress.left = self.meter.left(now, progress.total_bytes - progress.verified_bytes);
        progress
    }
}

impl InFile {
    fn new(entry: &ManifestEntry) -> Self {
        match entry {
            ManifestEntry::File { size_bytes, modified_ms, .. } => {
                Self { size_bytes: *size_bytes, modified_ms: *modified_ms, ..Self::default() }
            }
            ManifestEntry::Folder { .. } => Self { is_folder: true, ..Self::default() },
        }
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
