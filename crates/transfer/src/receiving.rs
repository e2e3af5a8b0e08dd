//! An accepted transfer as its receiver sees it: verify, write, make durable, place, acknowledge.

mod answers;
mod storage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use lanyard_protocol::control::{
    ControlMessage, FailedFile, FileFailure, FileIndex, Hash, ManifestEntry, PauseReason, Span, TransferId,
    ViolationCode,
};
use lanyard_protocol::frame::PIECE_BYTES;

use self::answers::{Answer, HavePart};
use crate::hash::{piece_count, piece_len};
use crate::journal::{Kept, Record};
use crate::manifest::Manifest;
use crate::outbox::Outbox;
use crate::output::{Event, Output};
use crate::progress::{Meter, Progress};
use crate::recheck::Recheck;
use crate::spans;

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

    // --- what can be seen ---

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
