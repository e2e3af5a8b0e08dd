//! From the paths a person named to the list that is offered.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use lanyard_protocol::control::{MANIFEST_ENTRIES, MAX_INTEGER, ManifestEntry};

/// Entries that one offer may hold.
pub const MAX_ENTRIES: usize = MANIFEST_ENTRIES as usize;

/// Deepest folder that is walked, as the receiver takes no deeper path.
const MAX_DEPTH: usize = 32;

/// A file as it was when it was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is here.
    pub path: PathBuf,
    /// What tells it from a changed one.
    pub(super) identity: Identity,
    /// Which content that is: 0 is the one that was offered.
    pub(super) version: u32,
    /// The content that was found in its place, for requests of a later version.
    pub(super) present: Option<Identity>,
}

/// Size, last change and inode: when one differs, the file is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) size_bytes: u64,
    pub(super) modified: (i64, i64),
    pub(super) inode: (u64, u64),
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
        }
    }

    /// Milliseconds since 1970; `None` before that.
    pub(super) fn modified_ms(&self) -> Option<u64> {
        let (seconds, nanos) = self.modified;
        let seconds = u64::try_from(seconds).ok()?;
        let millis = u64::try_from(nanos / 1_000_000).ok()?;
        seconds.checked_mul(1000)?.checked_add(millis).filter(|time| *time <= MAX_INTEGER)
    }
}

/// Something that was named or found but is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is.
    pub path: PathBuf,
    /// Why, in words.
    pub reason: String,
}

/// Everything that will be offered.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// The list, in the order of `files`.
    pub entries: Vec<ManifestEntry>,
    /// For each entry the file behind it; `None` for folders.
    pub files: Vec<Option<SourceFile>>,
    /// What is left out, to be told.
    pub skipped: Vec<Skipped>,
}

/// Why nothing can be offered.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A named path is not there or cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// As named.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A named path is a socket, a device or a pipe.
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile {
        /// As named.
        path: PathBuf,
    },
    /// Nothing in it can be sent.
    #[error("there is nothing to send")]
    Nothing,
    /// More than one offer may hold.
    #[error("more than {limit} files and folders cannot go in one offer; send them in parts")]
    TooMany {
        /// What one offer may hold.
        limit: usize,
    },
}

/// Lists `paths`. A named link is followed, because a person meant what it leads to; links inside folders are not.
///
/// # Errors
/// A named path cannot be read, there is nothing, or there is too much.
pub fn collect(paths: &[PathBuf], max_entries: usize) -> Result<Collected, SourceError> {
    let mut walk = Walk { collected: Collected::default(), top_names: HashMap::new(), max_entries };
    for path in paths {
        let unreadable = |source| SourceError::Unreadable { path: path.clone(), source };
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let metadata = fs::metadata(&absolute).map_err(unreadable)?;
        let name = walk.top_name(&absolute);
        if metadata.is_file() {
            // Opened for a moment, so that a file that may not be read is told before anybody is asked to take it.
            fs::File::open(&absolute).map_err(unreadable)?;
            walk.add_file(absolute, &metadata, name)?;
        } else if metadata.is_dir() {
            fs::read_dir(&absolute).map_err(unreadable)?;
            walk.folder(&absolute, &name, 1)?;
        } else {
            return Err(SourceError::NotAFile { path: path.clone() });
        }
    }
    if walk.collected.entries.is_empty() {
        return Err(SourceError::Nothing);
    }
    Ok(walk.collected)
}

struct Walk {
    collected: Collected,
    top_names: HashMap<String, u32>,
    max_entries: usize,
}

impl Walk {
    /// The last component of a named path; a second one of the same name gets ` (1)`, since both go into one folder.
    fn top_name(&mut self, path: &Path) -> String {
        // `..` and `/` have no name of their own: what they lead to has, or it is the root.
        let resolved = path.file_name().is_none().then(|| path.canonicalize().ok()).flatten();
        let path = resolved.as_deref().unwrap_or(path);
        let name = path.file_name().map_or_else(|| "files".to_owned(), |name| name.to_string_lossy().into_owned());
        let seen = self.top_names.entry(name.to_lowercase()).or_insert(0);
        let copy = *seen;
        *seen += 1;
        if copy == 0 {
            return name;
        }
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => format!("{stem} ({copy}).{extension}"),
            _ => format!("{name} ({copy})"),
        }
    }

    fn folder(&mut self, path: &Path, name: &str, depth: usize) -> Result<(), SourceError> {
        if depth > MAX_DEPTH {
            self.skip(path, "is nested too deep");
            return Ok(());
        }
        let mut children = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(children) => children,
            Err(error) => {
                self.skip(path, &format!("cannot be read: {error}"));
                return Ok(());
            }
        };
        children.sort_by_key(fs::DirEntry::file_name);
        let before = self.collected.entries.len();
        for child in children {
            let child_path = child.path();
            let child_name = child.file_name();
            let Some(child_name) = child_name.to_str() else {
                self.skip(&child_path, "has a name that is not Unicode");
                continue;
            };
            let offered = format!("{name}/{child_name}");
            match fs::symlink_metadata(&child_path) {
                Ok(metadata) if metadata.is_file() => self.add_file(child_path, &metadata, offered)?,
                Ok(metadata) if metadata.is_dir() => self.folder(&child_path, &offered, depth + 1)?,
                Ok(metadata) if metadata.is_symlink() => self.skip(&child_path, "is a link"),
                Ok(_) => self.skip(&child_path, "is neither a file nor a folder"),
                Err(error) => self.skip(&child_path, &format!("cannot be read: {error}")),
            }
        }
        if self.collected.entries.len() == before {
            self.add(ManifestEntry::Folder { path: name.to_owned() }, None)?;
        }
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf, metadata: &Metadata, offered: String) -> Result<(), SourceError> {
        let identity = Identity::of(metadata);
        if identity.size_bytes > MAX_INTEGER {
            self.skip(&path, "is too large");
            return Ok(());
        }
        let modified_ms = metadata.modified().ok().filter(|time| *time >= UNIX_EPOCH).and(identity.modified_ms());
        let entry = ManifestEntry::File { path: offered, size_bytes: identity.size_bytes, modified_ms };
        self.add(entry, Some(SourceFile { path, identity, version: 0, present: None }))
    }

    fn add(&mut self, entry: ManifestEntry, file: Option<SourceFile>) -> Result<(), SourceError> {
        if self.collected.entries.len() >= self.max_entries {
            return Err(SourceError::TooMany { limit: self.max_entries });
        }
        self.collected.entries.push(entry);
        self.collected.files.push(file);
        Ok(())
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        self.collected.skipped.push(Skipped { path: path.to_owned(), reason: reason.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(collected: &Collected) -> Vec<&str> {
        collected.entries.iter().map(ManifestEntry::path).collect()
    }

    #[test]
    fn folders_are_walked_in_order_without_following_links() {
        let root = tempfile::tempdir().unwrap();
        let trip = root.path().join("trip");
        fs::create_dir_all(trip.join("empty")).unwrap();
        fs::create_dir(trip.join("b")).unwrap();
        fs::write(trip.join("b/zoë 日本.txt"), "x").unwrap();
        fs::write(trip.join("a"), "").unwrap();
        std::os::unix::fs::symlink("/etc", trip.join("link")).unwrap();
        std::os::unix::fs::symlink(&trip, trip.join("b/loop")).unwrap();
        let collected = collect(std::slice::from_ref(&trip), 100).unwrap();
        assert_eq!(names(&collected), ["trip/a", "trip/b/zoë 日本.txt", "trip/empty"]);
        assert_eq!(collected.files.iter().filter(|file| file.is_some()).count(), 2);
        assert_eq!(collected.skipped.len(), 2);
        assert!(collected.skipped.iter().all(|skipped| skipped.reason == "is a link"));
    }

    #[test]
    fn two_named_files_of_one_name_both_go() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["one", "two"] {
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("a.txt"), folder).unwrap();
        }
        let paths = [root.path().join("one/a.txt"), root.path().join("two/a.txt")];
        assert_eq!(names(&collect(&paths, 100).unwrap()), ["a.txt", "a (1).txt"]);
    }

    #[test]
    fn a_named_link_is_followed_and_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("real"), "content").unwrap();
        let link = root.path().join("latest.log");
        std::os::unix::fs::symlink(root.path().join("real"), &link).unwrap();
        let collected = collect(&[link], 100).unwrap();
        assert_eq!(names(&collected), ["latest.log"]);
        assert_eq!(collected.entries[0].size_bytes(), 7);
    }

    #[test]
    fn what_cannot_be_offered_is_said_before_anybody_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let missing = collect(&[root.path().join("nowhere")], 100);
        assert!(matches!(missing, Err(SourceError::Unreadable { .. })));
        assert!(matches!(collect(&[PathBuf::from("/dev/null")], 100), Err(SourceError::NotAFile { .. })));
        assert!(matches!(collect(&[], 100), Err(SourceError::Nothing)));
        fs::write(root.path().join("a"), "").unwrap();
        fs::write(root.path().join("b"), "").unwrap();
        assert!(matches!(collect(&[root.path().to_owned()], 1), Err(SourceError::TooMany { limit: 1 })));
    }

    #[test]
    fn the_current_folder_has_the_name_of_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("named");
        fs::create_dir_all(folder.join("inner")).unwrap();
        let collected = collect(&[folder.join("inner/..")], 100).unwrap();
        assert_eq!(names(&collected), ["named/inner"]);
    }
}
