//! What was accepted of an offer, kept so that sending the same files to the same device again carries on.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use lanyard_pairing::PublicKey;
use lanyard_protocol::control::{ManifestEntry, Span, TransferId};
use lanyard_transfer::Manifest;
use serde::{Deserialize, Serialize};
use tracing::debug;

/// The receiver keeps unfinished files as long.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of one record; the list of accepted entries is short unless somebody picked every second one.
const MAX_BYTES: u64 = 4 << 20;

/// One accepted offer. Holds neither names nor content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentRecord {
    pub(super) transfer: TransferId,
    pub(super) wanted: Vec<Span>,
}

/// The record of this offer to this device, wherever it is kept.
pub(super) fn path(directory: &Path, device: &PublicKey, manifest: &Manifest) -> PathBuf {
    let mut hasher = blake3::Hasher::new_derive_key("lanyard/1 sent record");
    hasher.update(&device.0);
    for entry in manifest.entries() {
        let (size, modified) = match entry {
            ManifestEntry::File { size_bytes, modified_ms, .. } => (*size_bytes, modified_ms.unwrap_or(u64::MAX)),
            ManifestEntry::Folder { .. } => (u64::MAX, 0),
        };
        let path = entry.path().as_bytes();
        hasher.update(&(path.len() as u64).to_be_bytes());
        hasher.update(path);
        hasher.update(&size.to_be_bytes());
        hasher.update(&modified.to_be_bytes());
    }
    directory.join(BASE64URL_NOPAD.encode(&hasher.finalize().as_bytes()[..16]))
}

/// Reads a record that is not too old.
pub(super) fn read(path: &Path, now: SystemTime) -> Option<SentRecord> {
    let metadata = fs::metadata(path).ok()?;
    let age = now.duration_since(metadata.modified().ok()?).unwrap_or_default();
    if age > KEPT || metadata.len() > MAX_BYTES {
        remove(path);
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Keeps a record. Without it a break of this program only costs sending again from the start.
pub(super) fn keep(path: &Path, record: &SentRecord) {
    let write = || -> std::io::Result<()> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec(record)?)
    };
    if let Err(error) = write() {
        debug!(%error, "cannot keep what is being sent");
    }
}

/// Forgets a record.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(size_bytes: u64) -> Manifest {
        let entry = ManifestEntry::File { path: "a".to_owned(), size_bytes, modified_ms: Some(5) };
        Manifest::new(vec![entry]).unwrap()
    }

    #[test]
    fn a_record_is_found_for_the_same_files_and_device_only() {
        let directory = tempfile::tempdir().unwrap();
        let device = PublicKey([1; 32]);
        let record = SentRecord { transfer: TransferId([2; 16]), wanted: vec![Span { first: 0, count: 1 }] };
        let kept_at = path(directory.path(), &device, &manifest(7));
        keep(&kept_at, &record);
        assert_eq!(read(&kept_at, SystemTime::now()), Some(record));
        assert_ne!(path(directory.path(), &device, &manifest(8)), kept_at);
        assert_ne!(path(directory.path(), &PublicKey([3; 32]), &manifest(7)), kept_at);
    }

    #[test]
    fn old_and_damaged_records_are_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("record");
        fs::write(&file, "{").unwrap();
        assert_eq!(read(&file, SystemTime::now()), None);
        keep(&file, &SentRecord { transfer: TransferId([2; 16]), wanted: Vec::new() });
        assert_eq!(read(&file, SystemTime::now() + KEPT + Duration::from_secs(1)), None);
        assert!(!file.exists());
    }
}
