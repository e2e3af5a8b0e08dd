//! Unfinished files that nobody came back for.

use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FlockOperation};
use tracing::{debug, info};

use super::ReceiveFolder;
use super::folder::{PARTS, open_directory};
use super::part::remove_part_folder;

/// How long unfinished files are kept.
pub const PARTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Removes unfinished transfers in which nothing changed for [`PARTS_KEPT`] before `now`; those in use are left alone.
pub fn sweep(folder: &ReceiveFolder, now: SystemTime) {
    let Ok(all) = folder.parts(false) else { return };
    let Ok(entries) = all.entries() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Ok(directory) = open_directory(&all, name) else { continue };
        if !is_old(&directory, now) {
            continue;
        }
        if rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
            debug!("an old unfinished transfer is in use");
            continue;
        }
        info!("removed an unfinished transfer of more than seven days ago");
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

    use lanyard_protocol::control::TransferId;

    use super::super::PartStore;
    use super::*;

    #[test]
    fn parts_are_swept_after_seven_days_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let folder = Arc::new(ReceiveFolder::open(root.path()).unwrap());
        let transfer = TransferId([1; 16]);
        let mut store = PartStore::new(folder.clone(), [7; 32]);
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
}
