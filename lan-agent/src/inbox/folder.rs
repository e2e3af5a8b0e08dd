//! The receive folder as a handle, and whether it is still the folder that the person named.

use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, MetadataExt};
use rustix::fs::{Access, AtFlags, Mode, OFlags};

/// Where unfinished files live, beneath the receive folder.
pub(super) const PARTS: &str = ".lanyard-part";

/// Space that receiving leaves free: at least this.
const MIN_RESERVE_BYTES: u64 = 1 << 30;

/// A receive folder that was there and could be written when it was opened.
#[derive(Debug)]
pub struct ReceiveFolder {
    path: PathBuf,
    root: Dir,
}

/// Why files cannot be received into a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such folder.
    #[error("the receive folder {} does not exist; create it or name another one", path.display())]
    Missing {
        /// As named.
        path: PathBuf,
    },
    /// It is a file, or something else.
    #[error("{} is not a folder; name another one", path.display())]
    NotAFolder {
        /// As named.
        path: PathBuf,
    },
    /// Mounted read-only, or not ours to write.
    #[error("the receive folder {} cannot be written to; allow it or name another one", path.display())]
    NotWritable {
        /// As named.
        path: PathBuf,
    },
    /// Another folder stands in its place since the start.
    #[error("the receive folder {} was replaced while the agent runs; start it again", path.display())]
    Replaced {
        /// As named.
        path: PathBuf,
    },
    /// What the system says.
    #[error("the receive folder {} cannot be used: {source}", path.display())]
    Other {
        /// As named.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

impl ReceiveFolder {
    /// Opens the folder; makes nothing in it.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // Opened for reading: a handle that is only a place (`O_PATH`) cannot be synced.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| describe(&path, error.into()))?;
        let root = Dir::from_std_file(handle.into());
        let folder = Self { path, root };
        folder.check_writable()?;
        Ok(folder)
    }

    /// As the person named it, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder is still there, still the same one and still writable.
    ///
    /// # Errors
    /// What changed since the start.
    pub fn check(&self) -> Result<(), FolderError> {
        let now = std::fs::metadata(&self.path).map_err(|error| describe(&self.path, error))?;
        let opened = self.root.dir_metadata().map_err(|error| describe(&self.path, error))?;
        let same = std::os::unix::fs::MetadataExt::dev(&now) == opened.dev()
            && std::os::unix::fs::MetadataExt::ino(&now) == opened.ino();
        if !same {
            return Err(FolderError::Replaced { path: self.path.clone() });
        }
        self.check_writable()
    }

    /// Bytes that may be received now: what is free, less a twentieth of it and never less than 1 GiB, which stays for
    /// the rest of the system.
    #[must_use]
    pub fn available_bytes(&self) -> u64 {
        let free = self.free_bytes();
        free.saturating_sub(MIN_RESERVE_BYTES.max(free / 20))
    }

    /// Bytes free on the folder's file system.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let space = rustix::fs::fstatvfs(&self.root);
        space.map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize))
    }

    pub(super) fn root(&self) -> &Dir {
        &self.root
    }

    /// The folder of unfinished files, made on the way if `create`.
    pub(super) fn parts(&self, create: bool) -> io::Result<Dir> {
        if create {
            make_directory(&self.root, PARTS, 0o700)?;
        }
        open_directory(&self.root, PARTS)
    }

    fn check_writable(&self) -> Result<(), FolderError> {
        let allowed = rustix::fs::accessat(&self.root, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty());
        allowed.map_err(|error| describe(&self.path, error.into()))
    }
}

fn describe(path: &Path, error: io::Error) -> FolderError {
    let path = path.to_owned();
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        FolderError::Missing { path }
    } else if kind == io::ErrorKind::NotADirectory {
        FolderError::NotAFolder { path }
    } else if matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        FolderError::NotWritable { path }
    } else {
        FolderError::Other { path, source: error }
    }
}

/// Makes a directory unless something has the name already.
pub(super) fn make_directory(parent: &Dir, name: &str, mode: u32) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory of one component, never through a link.
pub(super) fn open_directory(parent: &Dir, name: &str) -> io::Result<Dir> {
    debug_assert!(!name.contains('/'), "one component at a time");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    Ok(Dir::from_std_file(handle.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_makes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let folder = ReceiveFolder::open(directory.path()).unwrap();
        folder.check().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(folder.available_bytes() < folder.free_bytes());
    }

    #[test]
    fn a_missing_folder_and_a_file_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("nowhere");
        assert!(matches!(ReceiveFolder::open(&missing), Err(FolderError::Missing { .. })));
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(ReceiveFolder::open(&file), Err(FolderError::NotAFolder { .. })));
    }

    #[test]
    fn a_folder_that_was_replaced_or_removed_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("in");
        std::fs::create_dir(&path).unwrap();
        let folder = ReceiveFolder::open(&path).unwrap();
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        assert!(matches!(folder.check(), Err(FolderError::Missing { .. })));
        std::os::unix::fs::symlink("/tmp", &path).unwrap();
        assert!(matches!(folder.check(), Err(FolderError::Replaced { .. })));
    }

    #[test]
    fn directories_are_never_opened_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", directory.path().join(PARTS)).unwrap();
        let folder = ReceiveFolder::open(directory.path()).unwrap();
        assert!(folder.parts(true).is_err());
    }
}
