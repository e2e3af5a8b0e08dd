//! One content of a shared file: its root, and the certainty that what is read is still it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lanyard_protocol::frame::PIECE_BYTES;
use lanyard_transfer::{file_root, piece_hash};

/// How often a file that changes while it is hashed is tried again.
const HASH_TRIES: u32 = 3;

/// What differs when a file is another one, or its content was touched; nobody can set the time of the change of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    status_changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            status_changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A content that was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    stamp: Stamp,
    root: String,
}

impl Version {
    /// `"<root>"`, quotes included.
    pub(super) fn etag(&self) -> String {
        format!("\"{}\"", self.root)
    }

    pub(super) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// In whole seconds, as HTTP tells it.
    pub(super) fn modified(&self) -> SystemTime {
        let seconds = u64::try_from(self.stamp.modified.0).unwrap_or(0);
        UNIX_EPOCH + Duration::from_secs(seconds)
    }
}

/// A file that is open in the version it was hashed in.
#[derive(Debug)]
pub(super) struct OpenVersion {
    file: File,
    path: PathBuf,
    pub(super) version: Version,
}

impl OpenVersion {
    /// Opens a file and hashes it unless `known` is its present version. Blocks.
    ///
    /// # Errors
    /// It cannot be read, is no file, or does not stop changing.
    pub(super) fn open(path: &Path, known: Option<Version>) -> io::Result<Self> {
        for _ in 0..HASH_TRIES {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let stamp = Stamp::of(&metadata);
            let path = path.to_owned();
            match &known {
                Some(known) if known.stamp == stamp => return Ok(Self { file, path, version: known.clone() }),
                Some(_) | None => {}
            }
            let root = HEXLOWER.encode(&hash(&file, stamp.size)?);
            let opened = Self { file, path, version: Version { stamp, root } };
            if opened.is_unchanged()? {
                return Ok(opened);
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "the file changes all the time"))
    }

    /// Reads at most `len` bytes; an error when the file is no longer the version that was hashed. Blocks.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        // Looked at after reading, so that bytes of a changing file are never taken for the file.
        if self.is_unchanged()? { Ok(bytes.into()) } else { Err(io::Error::other("the file changed")) }
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        // A file that was replaced by another one of its name lives on under our handle: look at the name too.
        let named = Stamp::of(&std::fs::metadata(&self.path)?);
        Ok(Stamp::of(&self.file.metadata()?) == self.version.stamp && named == self.version.stamp)
    }
}

fn hash(file: &File, size: u64) -> io::Result<[u8; 32]> {
    let mut pieces = Vec::new();
    let mut buffer = vec![0; usize::try_from(PIECE_BYTES).unwrap_or(1 << 20)];
    let mut offset = 0;
    while offset < size {
        let len = usize::try_from(PIECE_BYTES.min(size - offset)).unwrap_or(0);
        file.read_exact_at(&mut buffer[..len], offset)?;
        pieces.push(piece_hash(&buffer[..len]));
        offset += len as u64;
    }
    Ok(file_root(size, &pieces))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn ht_11_the_tag_is_the_root_and_changes_with_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "hello").unwrap();
        let first = OpenVersion::open(&path, None).unwrap();
        let root = file_root(5, [&piece_hash(b"hello")]);
        assert_eq!(first.version.etag(), format!("\"{}\"", HEXLOWER.encode(&root)));
        let again = OpenVersion::open(&path, Some(first.version.clone())).unwrap();
        assert_eq!(again.version, first.version);

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "jello").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let second = OpenVersion::open(&path, Some(first.version.clone())).unwrap();
        assert_ne!(second.version.etag(), first.version.etag(), "though size and time are the same");
    }

    #[test]
    fn ht_14_an_open_version_gives_no_byte_of_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "hello").unwrap();
        let open = OpenVersion::open(&path, None).unwrap();
        assert_eq!(&open.read(1, 3).unwrap()[..], b"ell");
        fs::write(folder.path().join("other"), "HELLO").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        assert!(open.read(1, 3).is_err(), "replaced");
        let open = OpenVersion::open(&path, None).unwrap();
        fs::write(&path, "HEL").unwrap();
        assert!(open.read(0, 3).is_err(), "cut off");
        fs::remove_file(&path).unwrap();
        assert!(OpenVersion::open(&path, None).is_err());
    }

    #[test]
    fn folders_and_devices_are_no_versions() {
        assert!(OpenVersion::open(Path::new("/"), None).is_err());
        assert!(OpenVersion::open(Path::new("/dev/null"), None).is_err());
    }
}
