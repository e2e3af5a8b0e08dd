//! Unfinished files of one device's transfers: part files, their journal, and the way to their final names.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use data_encoding::BASE64URL_NOPAD;
use lanyard_protocol::control::{FileIndex, TransferId};
use lanyard_transfer::journal::{JournalError, Kept, Record};
use lanyard_transfer::{Placement, WriteError};
use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use tracing::{debug, warn};

use super::ReceiveFolder;
use super::folder::{PARTS, make_directory, open_directory};
use super::place::{Placed, place_file, place_folder};
use crate::fail_point::{self, Step};

/// Part files held open at once; the one used longest ago is closed first.
const OPEN_FILES: usize = 32;

/// From so many files on, one sync of the file system is cheaper than one for each of them.
const SYNC_ALL_FROM: usize = 8;

/// Smaller files are written in one go, so that reserving their space would only cost time.
const RESERVE_FROM_BYTES: u64 = 1 << 20;

/// The longest journal that is read back: 100 000 entries and 32 bytes of hash for each MiB of a few TiB.
const MAX_JOURNAL_BYTES: u64 = 512 << 20;

const JOURNAL: &str = "journal";

/// Why an unfinished transfer cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another program, or another session of the same device, works on it now.
    #[error("this transfer is already being received elsewhere")]
    InUse,
    /// What the system says.
    #[error("unfinished files cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// The unfinished transfers of one device.
///
/// Folders are named by a hash over device and transfer, so that no device can name, or guess, another one's.
pub struct PartStore {
    folder: Arc<ReceiveFolder>,
    device_key: [u8; 32],
    transfers: HashMap<TransferId, PartFolder>,
    /// Records that found no room. They come before any later one.
    unwritten: HashMap<TransferId, Vec<u8>>,
    /// Files that could not be made for want of room, and their sizes.
    refused: HashMap<(TransferId, FileIndex), u64>,
}

struct PartFolder {
    name: String,
    /// Also carries the lock.
    directory: Dir,
    journal: Option<File>,
    open: Vec<(FileIndex, File)>,
}

impl PartStore {
    /// The store of the device with this static key.
    #[must_use]
    pub fn new(folder: Arc<ReceiveFolder>, device_key: [u8; 32]) -> Self {
        Self { folder, device_key, transfers: HashMap::new(), unwritten: HashMap::new(), refused: HashMap::new() }
    }

    /// What can be carried on: every journal of this device's transfers, cut to what is whole. What is in use elsewhere,
    /// or cannot be read, is left alone.
    pub fn kept(&mut self) -> Vec<Kept> {
        let Ok(all) = self.folder.parts(false) else { return Vec::new() };
        let Ok(entries) = all.entries() else { return Vec::new() };
        let mut kept = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            match self.read_kept(&all, name) {
                Ok(Some(found)) => kept.push(found),
                Ok(None) => {}
                Err(error) => debug!(%error, "an unfinished transfer was left alone"),
            }
        }
        kept
    }

    /// As [`Self::kept`], of one transfer.
    pub fn kept_of(&mut self, transfer: TransferId) -> Option<Kept> {
        let all = self.folder.parts(false).ok()?;
        let kept = self.read_kept(&all, &self.folder_name(transfer));
        kept.unwrap_or_else(|error| {
            debug!(%error, "an unfinished transfer was left alone");
            None
        })
    }

    /// One folder of unfinished files; `None` when it is another device's.
    fn read_kept(&mut self, all: &Dir, name: &str) -> Result<Option<Kept>, StoreError> {
        let directory = open_directory(all, name)?;
        let (journal, bytes) = read_journal(&directory)?;
        let mut kept = Kept::read(&bytes).map_err(io::Error::other)?;
        let transfer = kept.transfer();
        if self.folder_name(transfer) != name {
            return Ok(None);
        }
        // Locks it, so that nobody else writes from here on.
        if self.part_folder(transfer, false)?.is_none() {
            return Ok(None);
        }
        journal.set_len(kept.intact_bytes() as u64)?;
        let expected: Vec<FileIndex> = kept.parts().collect();
        for file in expected {
            match rustix::fs::statat(&directory, part_name(file), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => {}
                Err(_) => kept.part_is_missing(file),
            }
        }
        Ok(Some(kept))
    }

    /// Makes or opens a part file and reserves its space.
    ///
    /// # Errors
    /// No space, or it cannot be made.
    pub fn open(&mut self, transfer: TransferId, file: FileIndex, size_bytes: u64) -> Result<(), WriteError> {
        let opened = self.open_reserved(transfer, file, size_bytes);
        match opened {
            Err(WriteError::NoSpace) => drop(self.refused.insert((transfer, file), size_bytes)),
            Err(WriteError::Failed) | Ok(()) => drop(self.refused.remove(&(transfer, file))),
        }
        opened
    }

    fn open_reserved(&mut self, transfer: TransferId, file: FileIndex, size_bytes: u64) -> Result<(), WriteError> {
        let part = self.open_part(transfer, file, true).map_err(|error| write_error("open", &error))?;
        let reserve = || -> io::Result<()> {
            if part.metadata()?.len() != size_bytes {
                part.set_len(size_bytes)?;
            }
            if size_bytes >= RESERVE_FROM_BYTES {
                match rustix::fs::fallocate(part, FallocateFlags::empty(), 0, size_bytes) {
                    // Not every file system can; then running out of space is noticed when writing.
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        };
        fail_point::before(Step::Fallocate);
        let reserved = reserve();
        fail_point::after(Step::Fallocate);
        reserved.map_err(|error| write_error("reserve", &StoreError::Io(error)))
    }

    /// Writes bytes into a part file.
    ///
    /// # Errors
    /// No space, or an error of the disk.
    pub fn write(
        &mut self,
        transfer: TransferId,
        file: FileIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        if self.refused.contains_key(&(transfer, file)) {
            return Err(WriteError::NoSpace);
        }
        let part = self.existing_part(transfer, file).map_err(|error| write_error("open", &error))?;
        fail_point::before(Step::FirstWrite);
        let written = part.write_all_at(bytes, offset);
        fail_point::after(Step::FirstWrite);
        written.map_err(|error| write_error("write", &StoreError::Io(error)))
    }

    /// Reads bytes back from a part file; fewer at its end.
    ///
    /// # Errors
    /// It is not there, or an error of the disk.
    pub fn read(
        &mut self,
        transfer: TransferId,
        file: FileIndex,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let part = self.existing_part(transfer, file)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match part.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Makes what was written to these part files durable.
    ///
    /// # Errors
    /// No space, or an error of the disk. After that none of it may be trusted.
    pub fn sync(&mut self, transfer: TransferId, files: &[FileIndex]) -> Result<(), WriteError> {
        fail_point::before(Step::Fdatasync);
        let synced = self.sync_parts(transfer, files);
        fail_point::after(Step::Fdatasync);
        synced
    }

    fn sync_parts(&mut self, transfer: TransferId, files: &[FileIndex]) -> Result<(), WriteError> {
        let syncing = |error: io::Error| write_error("sync", &StoreError::Io(error));
        if files.len() >= SYNC_ALL_FROM {
            return rustix::fs::syncfs(self.folder.root()).map_err(|error| syncing(error.into()));
        }
        for file in files {
            let part = self.existing_part(transfer, *file).map_err(|error| write_error("open", &error))?;
            // Length and time are part of what was written.
            part.sync_all().map_err(syncing)?;
        }
        Ok(())
    }

    /// Appends records to a transfer's journal.
    ///
    /// # Errors
    /// The journal cannot be written. The records are kept, and written before the next ones; what was written of them
    /// is cut off again, so that nothing comes after a torn one.
    pub fn append_journal(&mut self, transfer: TransferId, records: &[Record], sync: bool) -> Result<(), WriteError> {
        let mut bytes = self.unwritten.remove(&transfer).unwrap_or_default();
        for record in records {
            record.encode(&mut bytes);
        }
        let appended = self.append_bytes(transfer, &bytes, sync);
        appended.map_err(|error| {
            self.unwritten.insert(transfer, bytes);
            write_error("journal", &error)
        })
    }

    fn append_bytes(&mut self, transfer: TransferId, bytes: &[u8], sync: bool) -> Result<(), StoreError> {
        let Some(parts) = self.part_folder(transfer, true)? else { return Err(not_found()) };
        if parts.journal.is_none() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let journal = rustix::fs::openat(&parts.directory, JOURNAL, flags, Mode::from_raw_mode(0o600));
            parts.journal = Some(File::from(journal.map_err(io::Error::from)?));
        }
        let Some(journal) = parts.journal.as_mut() else { return Err(not_found()) };
        let intact_bytes = journal.metadata()?.len();
        fail_point::before(Step::JournalAppend);
        let written = journal.write_all(bytes).and_then(|()| if sync { journal.sync_data() } else { Ok(()) });
        fail_point::after(Step::JournalAppend);
        if written.is_err() {
            journal.set_len(intact_bytes)?;
        }
        Ok(written?)
    }

    /// Puts entries under their final names: data durable first, then the names, then the folders that hold them.
    /// For each entry in order the path it got beneath the receive folder.
    pub fn place(&mut self, transfer: TransferId, entries: &[Placement]) -> Vec<Result<String, WriteError>> {
        // A folder that went away may come back; what is not noted in the journal must not be moved.
        let is_possible = match self.folder.check() {
            Ok(()) if self.unwritten.contains_key(&transfer) => self.append_journal(transfer, &[], true),
            Ok(()) => Ok(()),
            Err(error) => {
                debug!(%error, "nothing can be placed");
                Err(WriteError::NoSpace)
            }
        };
        if let Err(error) = is_possible {
            return entries.iter().map(|_| Err(error)).collect();
        }
        let prepared: Vec<_> = entries.iter().map(|entry| self.prepare(transfer, entry)).collect();
        let ready: Vec<FileIndex> = entries
            .iter()
            .zip(&prepared)
            .filter(|(entry, done)| !entry.is_folder && done.is_ok())
            .map(|(e, _)| e.file)
            .collect();
        fail_point::before(Step::FileFsync);
        let synced = self.sync_parts(transfer, &ready);
        fail_point::after(Step::FileFsync);
        let mut placed = Vec::with_capacity(entries.len());
        for (entry, prepared) in entries.iter().zip(prepared) {
            placed.push(prepared.and(if entry.is_folder { Ok(()) } else { synced }).and_then(|()| {
                self.place_one(transfer, entry).map_err(|error| write_error("place", &StoreError::Io(error)))
            }));
        }
        fail_point::before(Step::DirFsync);
        let placed = self.sync_names(placed);
        fail_point::after(Step::DirFsync);
        placed
    }

    /// Permissions and times, before the last sync.
    fn prepare(&mut self, transfer: TransferId, entry: &Placement) -> Result<(), WriteError> {
        if entry.is_folder {
            return Ok(());
        }
        // An empty file is made when it is placed, where there was no room before.
        if let Some(size_bytes) = self.refused.get(&(transfer, entry.file)).copied() {
            self.open(transfer, entry.file, size_bytes)?;
        }
        let part = self.existing_part(transfer, entry.file).map_err(|error| write_error("open", &error))?;
        // Received files are never executable, whatever they were.
        let mode = rustix::fs::fchmod(&*part, Mode::from_raw_mode(0o644));
        mode.map_err(|error| write_error("place", &StoreError::Io(error.into())))?;
        if let Some(modified_ms) = entry.modified_ms
            && let Err(error) = set_modified(part, modified_ms)
        {
            debug!(%error, "kept the time of arrival: the file system takes no other");
        }
        Ok(())
    }

    fn place_one(&mut self, transfer: TransferId, entry: &Placement) -> io::Result<Placed> {
        if entry.is_folder {
            return place_folder(self.folder.root(), &entry.path);
        }
        let root = self.folder.root().try_clone()?;
        let parts = self.transfers.get_mut(&transfer).ok_or(io::ErrorKind::NotFound)?;
        parts.open.retain(|(file, _)| *file != entry.file);
        fail_point::before(Step::Rename);
        let placed = place_file(&root, &parts.directory, &part_name(entry.file), &entry.path);
        fail_point::after(Step::Rename);
        placed
    }

    fn sync_names(&self, placed: Vec<Result<Placed, WriteError>>) -> Vec<Result<String, WriteError>> {
        let many = placed.len() >= SYNC_ALL_FROM;
        let all_synced = if many { rustix::fs::syncfs(self.folder.root()).map_err(io::Error::from) } else { Ok(()) };
        placed
            .into_iter()
            .map(|placed| {
                let placed = placed?;
                let synced = match &all_synced {
                    Ok(()) if many => Ok(()),
                    Ok(()) => placed.changed.iter().try_for_each(sync_directory),
                    Err(error) => Err(io::Error::from(error.kind())),
                };
                synced.map_err(|error| write_error("sync", &StoreError::Io(error)))?;
                Ok(placed.path)
            })
            .collect()
    }

    /// Removes part files.
    pub fn discard(&mut self, transfer: TransferId, files: &[FileIndex]) {
        let Ok(Some(parts)) = self.part_folder(transfer, false) else { return };
        parts.open.retain(|(file, _)| !files.contains(file));
        for file in files {
            remove_file(&parts.directory, &part_name(*file));
        }
    }

    /// Removes all that is left of a transfer: part files, journal, folder.
    pub fn forget(&mut self, transfer: TransferId) {
        self.unwritten.remove(&transfer);
        self.refused.retain(|(of, _), _| *of != transfer);
        let Ok(Some(_)) = self.part_folder(transfer, false) else { return };
        let Some(parts) = self.transfers.remove(&transfer) else { return };
        if let Ok(all) = self.folder.parts(false) {
            remove_part_folder(&all, &parts.name, &parts.directory);
        }
        // Gone when this was the last one, refused otherwise.
        let _ = rustix::fs::unlinkat(self.folder.root(), PARTS, AtFlags::REMOVEDIR);
    }

    /// Closes the files of a transfer that waits for its device.
    pub fn release(&mut self, transfer: TransferId) {
        self.transfers.remove(&transfer);
        self.unwritten.remove(&transfer);
        self.refused.retain(|(of, _), _| *of != transfer);
    }

    /// The transfer's folder, locked; `None` when there is none and none is to be made.
    fn part_folder(&mut self, transfer: TransferId, create: bool) -> Result<Option<&mut PartFolder>, StoreError> {
        if !self.transfers.contains_key(&transfer) {
            let all = match self.folder.parts(create) {
                Ok(all) => all,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let name = self.folder_name(transfer);
            if create {
                make_directory(&all, &name, 0o700)?;
            }
            let directory = match open_directory(&all, &name) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                // Some network file systems have no locks.
                Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF) => {}
                Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse),
                Err(error) => return Err(io::Error::from(error).into()),
            }
            let parts = PartFolder { name, directory, journal: None, open: Vec::new() };
            self.transfers.insert(transfer, parts);
        }
        Ok(self.transfers.get_mut(&transfer))
    }

    fn folder_name(&self, transfer: TransferId) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("lanyard/1 part");
        hasher.update(&self.device_key);
        hasher.update(&transfer.0);
        BASE64URL_NOPAD.encode(&hasher.finalize().as_bytes()[..16])
    }

    fn existing_part(&mut self, transfer: TransferId, file: FileIndex) -> Result<&mut File, StoreError> {
        self.open_part(transfer, file, false)
    }

    fn open_part(&mut self, transfer: TransferId, file: FileIndex, create: bool) -> Result<&mut File, StoreError> {
        let Some(parts) = self.part_folder(transfer, create)? else { return Err(not_found()) };
        if let Some(at) = parts.open.iter().position(|(open, _)| *open == file) {
            // Used last stands last.
            let entry = parts.open.remove(at);
            parts.open.push(entry);
        } else {
            let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            flags.set(OFlags::CREATE, create);
            let handle = rustix::fs::openat(&parts.directory, part_name(file), flags, Mode::from_raw_mode(0o600));
            let handle = handle.map_err(io::Error::from)?;
            if parts.open.len() >= OPEN_FILES {
                parts.open.remove(0);
            }
            parts.open.push((file, File::from(handle)));
        }
        parts.open.last_mut().map(|(_, handle)| handle).ok_or_else(not_found)
    }
}

/// Whether a folder holds nothing that is worth to be carried on: its program ended before there was any part file. The
/// sender may never have heard that its offer was accepted, and would then offer anew what nobody asks for here. What
/// cannot be read, or was written by a later version, may be of use.
pub(super) fn is_of_no_use(directory: &Dir) -> bool {
    match read_journal(directory) {
        Ok((_, bytes)) => match Kept::read(&bytes) {
            Ok(kept) => kept.is_blank() && directory.entries().is_ok_and(|entries| entries.count() == 1),
            Err(JournalError::NoHead | JournalError::Manifest(_)) => true,
            Err(JournalError::Version(_)) => false,
        },
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn read_journal(directory: &Dir) -> io::Result<(File, Vec<u8>)> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let journal = File::from(rustix::fs::openat(directory, JOURNAL, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    (&journal).take(MAX_JOURNAL_BYTES).read_to_end(&mut bytes)?;
    Ok((journal, bytes))
}

fn not_found() -> StoreError {
    StoreError::Io(io::ErrorKind::NotFound.into())
}

fn part_name(file: FileIndex) -> String {
    file.to_string()
}

/// Removes what this program made in a transfer's folder, and the folder. Anything else stays, and the folder with it.
pub(super) fn remove_part_folder(all: &Dir, name: &str, directory: &Dir) {
    let Ok(entries) = directory.entries() else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        if file_name == JOURNAL || file_name.parse::<FileIndex>().is_ok() {
            remove_file(directory, file_name);
        }
    }
    let _ = rustix::fs::unlinkat(all, name, AtFlags::REMOVEDIR);
}

fn remove_file(directory: &Dir, name: &str) {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => warn!(%error, "an unfinished file could not be removed"),
    }
}

fn sync_directory(directory: &Dir) -> io::Result<()> {
    match rustix::fs::fsync(directory) {
        // A few file systems cannot, and need not.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn set_modified(file: &File, modified_ms: u64) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(modified_ms));
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let modified = Timespec { tv_sec: seconds, tv_nsec: since.subsec_nanos().into() };
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: modified })?)
}

fn write_error(doing: &'static str, error: &StoreError) -> WriteError {
    debug!(%error, doing, "an unfinished file could not be worked on");
    match error {
        // A disk that became read-only may be made writable again, as a full one may be emptied.
        StoreError::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            WriteError::NoSpace
        }
        StoreError::Io(_) | StoreError::InUse => WriteError::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use lanyard_transfer::SafePath;

    use super::*;

    const TRANSFER: TransferId = TransferId([1; 16]);

    fn store(root: &tempfile::TempDir) -> PartStore {
        PartStore::new(Arc::new(ReceiveFolder::open(root.path()).unwrap()), [7; 32])
    }

    fn placement(file: FileIndex, path: &str) -> Placement {
        Placement { file, path: SafePath::parse(path).unwrap(), is_folder: false, modified_ms: Some(1_700_000_000_123) }
    }

    #[test]
    fn a_file_is_reserved_written_placed_and_nothing_else_is_left() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(&root);
        store.open(TRANSFER, 0, 2 << 20).unwrap();
        store.write(TRANSFER, 0, 1 << 20, &vec![2; 1 << 20]).unwrap();
        store.write(TRANSFER, 0, 0, &vec![1; 1 << 20]).unwrap();
        store.sync(TRANSFER, &[0]).unwrap();
        store.append_journal(TRANSFER, &[Record::Placing { file: 0 }], true).unwrap();
        let placed = store.place(TRANSFER, &[placement(0, "trip/a.bin")]);
        assert_eq!(placed, [Ok("trip/a.bin".to_owned())]);
        store.forget(TRANSFER);

        let metadata = std::fs::metadata(root.path().join("trip/a.bin")).unwrap();
        assert_eq!(metadata.len(), 2 << 20);
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o644);
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_700_000_000, 123_000_000));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "only the folder that was sent");
    }

    #[test]
    fn tr_60_records_that_found_no_room_come_before_the_next_ones_and_nothing_torn_between() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(&root);
        store.append_journal(TRANSFER, &[Record::Placing { file: 1 }], true).unwrap();
        // As a disk does that is full half-way through a record.
        let journal = store.transfers.get_mut(&TRANSFER).unwrap().journal.take().unwrap();
        let read_only = File::open("/dev/full").unwrap();
        store.transfers.get_mut(&TRANSFER).unwrap().journal = Some(read_only);
        assert!(store.append_journal(TRANSFER, &[Record::Placing { file: 2 }], true).is_err());
        assert_eq!(store.place(TRANSFER, &[placement(2, "a")]).len(), 1, "nothing is placed that is not noted");
        assert!(!root.path().join("a").exists());
        store.transfers.get_mut(&TRANSFER).unwrap().journal = Some(journal);
        store.append_journal(TRANSFER, &[Record::Placing { file: 3 }], true).unwrap();
        let mut expected = Vec::new();
        (1..=3).for_each(|file| Record::Placing { file }.encode(&mut expected));
        let folder = std::fs::read_dir(root.path().join(PARTS)).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::read(folder.join(JOURNAL)).unwrap(), expected);
    }

    #[test]
    fn unfinished_files_have_no_final_name_and_survive_the_process() {
        let root = tempfile::tempdir().unwrap();
        let mut first = store(&root);
        first.open(TRANSFER, 3, 5).unwrap();
        first.write(TRANSFER, 3, 0, b"hello").unwrap();
        first.append_journal(TRANSFER, &[Record::Placing { file: 3 }], true).unwrap();
        drop(first);
        let names: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [PARTS]);
        let mut second = store(&root);
        assert_eq!(second.read(TRANSFER, 3, 1, 100).unwrap(), b"ello");
    }

    #[test]
    fn one_device_cannot_reach_the_unfinished_files_of_another() {
        let root = tempfile::tempdir().unwrap();
        let mut ours = store(&root);
        ours.open(TRANSFER, 0, 5).unwrap();
        let folder = Arc::new(ReceiveFolder::open(root.path()).unwrap());
        let mut other = PartStore::new(folder, [8; 32]);
        assert!(other.read(TRANSFER, 0, 0, 5).is_err());
        other.forget(TRANSFER);
        assert_eq!(ours.read(TRANSFER, 0, 0, 5).unwrap(), [0; 5]);
    }

    #[test]
    fn a_transfer_is_worked_on_by_one_session_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (store(&root), store(&root));
        first.open(TRANSFER, 0, 5).unwrap();
        assert!(matches!(second.read(TRANSFER, 0, 0, 5), Err(StoreError::InUse)));
        first.release(TRANSFER);
        assert!(second.read(TRANSFER, 0, 0, 5).is_ok());
    }

    #[test]
    fn many_small_files_are_placed_together() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(&root);
        let count = 40;
        for file in 0..count {
            store.open(TRANSFER, file, 4).unwrap();
            store.write(TRANSFER, file, 0, &file.to_be_bytes()).unwrap();
        }
        let entries: Vec<_> = (0..count).map(|file| placement(file, &format!("many/{file}"))).collect();
        assert!(store.place(TRANSFER, &entries).iter().all(Result::is_ok));
        for file in 0..count {
            assert_eq!(std::fs::read(root.path().join(format!("many/{file}"))).unwrap(), file.to_be_bytes());
        }
    }

    #[test]
    fn forgetting_removes_only_what_was_made_here() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(&root);
        store.open(TRANSFER, 0, 5).unwrap();
        let folder = std::fs::read_dir(root.path().join(PARTS)).unwrap().next().unwrap().unwrap().path();
        std::fs::write(folder.join("not ours"), "keep").unwrap();
        store.forget(TRANSFER);
        assert_eq!(std::fs::read_to_string(folder.join("not ours")).unwrap(), "keep");
        assert!(!folder.join("0").exists());
    }

    #[test]
    fn a_link_planted_as_part_file_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let mut store = store(&root);
        store.open(TRANSFER, 0, 5).unwrap();
        let folder = std::fs::read_dir(root.path().join(PARTS)).unwrap().next().unwrap().unwrap().path();
        std::os::unix::fs::symlink(outside.path(), folder.join("1")).unwrap();
        assert_eq!(store.open(TRANSFER, 1, 5), Err(WriteError::Failed));
        assert_eq!(outside.as_file().metadata().unwrap().len(), 0);
    }
}
