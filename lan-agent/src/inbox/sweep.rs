//! Unfinished files that nobody came back for.

use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation};
use tracing::{debug, info};

use super::ReceiveFolder;
use super::folder::{PARTS, open_directory};
use super::part::{is_of_no_use, remove_part_folder};

/// How long unfinished files are kept.
pub const PARTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Removes unfinished transfers in which nothing changed for [`PARTS_KEPT`] before `now`, and those that nobody can carry
/// on; those in use are left alone. Before this program receives anything.
pub fn sweep(folder: &ReceiveFolder, now: SystemTime) {
    let Ok(all) = folder.parts(false) else { return };
    let Ok(entries) = all.entries() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Ok(directory) = open_directory(&all, name) else { continue };
        let is_old = is_old(&directory, now);
        if !is_old && !is_of_no_use(&directory) {
            continue;
        }
        if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
            debug!("an unfinished transfer that would be removed is in use");
            continue;
        }
        info!(is_old, "removed an unfinished transfer that is too old, or was never begun");
        remove_part_folder(&all, name, &directory);
    }
    // Gone when nothing is left in it, refused otherwise.
    let _ = rustix::fs::unlinkat(folder.root(), PARTS, AtFlags::REMOVEDIR);
}

/// Whether neither the folder nor anything in it changed lately. What cannot be read counts as new.
fn is_old(directory: &Dir, now: SystemTime) -> bool {
    let old = |modified: std::io::Result<cap_std::time::SystemTime>| {
        modified.is_ok_and(|modified| now.duration_since(modified.into_std()).is_ok_and(|age| age > PARTS_KEPT))
    };
    let Ok(mut entries) = directory.entries() else { return false };
    let contents_old =
        entries.all(|entry| entry.and_then(|entry| entry.metadata()).is_ok_and(|metadata| old(metadata.modified())));
    contents_old && directory.dir_metadata().is_ok_and(|metadata| old(metadata.modified()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lanyard_protocol::control::{ManifestEntry, Span, TransferId};
    use lanyard_transfer::journal::Record;

    use super::super::PartStore;
    use super::*;

    #[test]
    fn parts_are_swept_after_seven_days_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(ReceiveFolder::open(root.path()).unwrap());
        let transfer = TransferId([1; 16]);
        let mut store = PartStore::new(folder.clone(), [7; 32]);
        let entry = ManifestEntry::File { path: "a".to_owned(), size_bytes: 5, modified_ms: None };
        let head = [
            Record::Accepted { version: 1, transfer, entries: 1, wanted: vec![Span { first: 0, count: 1 }] },
            Record::Entries { entries: vec![entry] },
        ];
        store.append_journal(transfer, &head, true).unwrap();
        store.open(transfer, 0, 5).unwrap();
        let later = SystemTime::now() + PARTS_KEPT + Duration::from_secs(60);

        sweep(&folder, later);
        assert!(root.path().join(PARTS).exists(), "a transfer in use is left alone");
        store.release(transfer);
        sweep(&folder, SystemTime::now());
        assert!(root.path().join(PARTS).exists(), "young parts are kept");
        sweep(&folder, later);
        assert!(!root.path().join(PARTS).exists());
    }

    #[test]
    fn what_ended_before_it_had_a_part_file_is_swept_at_once_unless_something_of_it_arrived() {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(ReceiveFolder::open(root.path()).unwrap());
        let entries =
            ["a", "b"].map(|path| ManifestEntry::File { path: path.to_owned(), size_bytes: 5, modified_ms: None });
        for (number, settled) in [(1, None), (2, Some(Record::Placed { file: 0 }))] {
            let transfer = TransferId([number; 16]);
            let mut store = PartStore::new(folder.clone(), [7; 32]);
            let wanted = vec![Span { first: 0, count: 2 }];
            let mut records = vec![
                Record::Accepted { version: 1, transfer, entries: 2, wanted },
                Record::Entries { entries: entries.to_vec() },
            ];
            records.extend(settled);
            store.append_journal(transfer, &records, true).unwrap();
            store.release(transfer);
        }
        sweep(&folder, SystemTime::now());
        assert_eq!(std::fs::read_dir(root.path().join(PARTS)).unwrap().count(), 1);
    }

    #[test]
    fn what_ended_before_its_journal_had_a_head_is_swept_at_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(ReceiveFolder::open(root.path()).unwrap());
        let parts = root.path().join(PARTS);
        for (name, journal) in [("no journal", None), ("empty", Some("")), ("torn", Some("\0\0\0\u{20}half"))] {
            std::fs::create_dir_all(parts.join(name)).unwrap();
            if let Some(journal) = journal {
                std::fs::write(parts.join(name).join("journal"), journal).unwrap();
            }
        }
        sweep(&folder, SystemTime::now());
        assert!(!parts.exists());
    }
}
