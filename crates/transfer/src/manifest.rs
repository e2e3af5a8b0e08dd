//! The whole of what is offered, checked before anybody is asked (TR-10, TR-43).

use std::collections::HashMap;

use lanyard_protocol::control::{FileIndex, MANIFEST_ENTRIES, MAX_INTEGER, ManifestEntry, OfferSummary};

use crate::name::{PathError, SafePath};

/// Bytes of all paths of a manifest together, and 64 for each entry.
pub const MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// A manifest whose every entry may be created: all paths are safe and none takes another's place on any common file
/// system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<ManifestEntry>,
    paths: Vec<SafePath>,
    summary: OfferSummary,
}

/// Why a list of entries is not offered, or not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// There is nothing in it.
    #[error("the offer is empty")]
    Empty,
    /// Over 100 000 entries or 16 MiB of names.
    #[error("the offer has too many entries")]
    TooMany,
    /// The sizes add up to more than 2⁵³ − 1.
    #[error("the offer is too large")]
    TooLarge,
    /// A path that cannot be made safe.
    #[error("entry {index}: {source}")]
    Path {
        /// Which entry.
        index: FileIndex,
        /// What is wrong with it.
        source: PathError,
    },
    /// Two entries that some file system would hold to be one, or a file that is also a folder.
    #[error("entries {first} and {second} would take one name")]
    Collision {
        /// The earlier entry.
        first: FileIndex,
        /// The later one.
        second: FileIndex,
    },
}

/// Who claimed a name, and as what.
struct Claim {
    by: FileIndex,
    spelling: String,
    is_folder: bool,
    is_entry: bool,
}

impl Manifest {
    /// Checks entries, in the order they will be sent in.
    ///
    /// # Errors
    /// The first thing that refuses them.
    pub fn new(entries: Vec<ManifestEntry>) -> Result<Self, ManifestError> {
        if entries.is_empty() {
            return Err(ManifestError::Empty);
        }
        let names: usize = entries.iter().map(|entry| entry.path().len() + 64).sum();
        if entries.len() > MANIFEST_ENTRIES as usize || names > MANIFEST_BYTES {
            return Err(ManifestError::TooMany);
        }
        let mut total_bytes = 0_u64;
        let mut files = 0;
        let mut paths = Vec::with_capacity(entries.len());
        let mut claims = HashMap::new();
        for (index, entry) in (0..).zip(&entries) {
            total_bytes = total_bytes.saturating_add(entry.size_bytes());
            if total_bytes > MAX_INTEGER {
                return Err(ManifestError::TooLarge);
            }
            let is_folder = matches!(entry, ManifestEntry::Folder { .. });
            files += u32::from(!is_folder);
            let path = SafePath::parse(entry.path()).map_err(|source| ManifestError::Path { index, source })?;
            claim(&mut claims, index, &path, is_folder)?;
            paths.push(path);
        }
        let summary = OfferSummary { entries: entries.len() as u32, files, total_bytes };
        Ok(Self { entries, paths, summary })
    }

    /// The entries as offered; names in them are hostile text.
    #[must_use]
    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// One entry.
    #[must_use]
    pub fn entry(&self, file: FileIndex) -> Option<&ManifestEntry> {
        self.entries.get(file as usize)
    }

    /// Where an entry goes beneath the receive folder.
    #[must_use]
    pub fn path(&self, file: FileIndex) -> Option<&SafePath> {
        self.paths.get(file as usize)
    }

    /// Entries, files and bytes.
    #[must_use]
    pub fn summary(&self) -> &OfferSummary {
        &self.summary
    }
}

fn claim(
    claims: &mut HashMap<String, Claim>,
    by: FileIndex,
    path: &SafePath,
    is_folder: bool,
) -> Result<(), ManifestError> {
    // Folding works component by component, so the folded path has its separators in the same order.
    let (spelled, folded) = (path.as_str(), path.fold());
    for (spelled_end, folded_end) in prefix_ends(spelled).zip(prefix_ends(&folded)) {
        let spelling = &spelled[..spelled_end];
        let is_entry = spelled_end == spelled.len();
        let is_folder = !is_entry || is_folder;
        let Some(old) = claims.get_mut(&folded[..folded_end]) else {
            let new = Claim { by, spelling: spelling.to_owned(), is_folder, is_entry };
            claims.insert(folded[..folded_end].to_owned(), new);
            continue;
        };
        let same_folder = old.is_folder && is_folder && old.spelling == spelling;
        if !same_folder || (old.is_entry && is_entry) {
            return Err(ManifestError::Collision { first: old.by, second: by });
        }
        old.is_entry |= is_entry;
    }
    Ok(())
}

/// Where each folder of the path ends, and then the path itself.
fn prefix_ends(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('/').map(|(at, _)| at).chain([path.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size_bytes: u64) -> ManifestEntry {
        ManifestEntry::File { path: path.to_owned(), size_bytes, modified_ms: None }
    }

    fn folder(path: &str) -> ManifestEntry {
        ManifestEntry::Folder { path: path.to_owned() }
    }

    fn collides(entries: Vec<ManifestEntry>) -> bool {
        matches!(Manifest::new(entries), Err(ManifestError::Collision { first: 0, second: 1 }))
    }

    #[test]
    fn sizes_and_files_are_summed() {
        let manifest = Manifest::new(vec![file("a/b", 3), folder("a"), file("a/c", 4)]).unwrap();
        assert_eq!(*manifest.summary(), OfferSummary { entries: 3, files: 2, total_bytes: 7 });
        assert_eq!(manifest.path(2).unwrap().as_str(), "a/c");
    }

    #[test]
    fn names_that_some_file_system_holds_to_be_one_are_refused() {
        assert!(collides(vec![file("a", 0), file("a", 0)]));
        assert!(collides(vec![file("README", 0), file("readme", 0)]));
        assert!(collides(vec![file("caf\u{e9}", 0), file("cafe\u{301}", 0)]));
        assert!(collides(vec![file("stra\u{df}e", 0), file("STRASSE", 0)]));
        assert!(collides(vec![file("a?", 0), file("a*", 0)]));
        assert!(collides(vec![file("A/x", 0), file("a/y", 0)]));
        assert!(collides(vec![folder("a"), folder("a")]));
    }

    #[test]
    fn file_that_is_also_a_folder_is_refused() {
        assert!(collides(vec![file("a", 0), file("a/b", 0)]));
        assert!(collides(vec![file("a/b", 0), file("a", 0)]));
        assert!(collides(vec![file("a", 0), folder("A")]));
    }

    #[test]
    fn limits_are_kept() {
        assert_eq!(Manifest::new(vec![]), Err(ManifestError::Empty));
        assert_eq!(Manifest::new(vec![file("a", MAX_INTEGER), file("b", 1)]), Err(ManifestError::TooLarge));
        assert!(Manifest::new(vec![file("a", MAX_INTEGER), file("b", 0)]).is_ok());
        let most = (0..MANIFEST_ENTRIES).map(|n| file(&n.to_string(), 0)).collect::<Vec<_>>();
        assert!(Manifest::new(most.clone()).is_ok());
        assert_eq!(Manifest::new([most, vec![file("x", 0)]].concat()), Err(ManifestError::TooMany));
        let long = (0..17_000).map(|n| file(&format!("{n}/{}", "x/".repeat(15) + &"y".repeat(950)), 0)).collect();
        assert_eq!(Manifest::new(long), Err(ManifestError::TooMany));
    }
}
