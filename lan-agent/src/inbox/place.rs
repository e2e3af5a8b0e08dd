//! From a part file to its final name: handle by handle, replacing nothing.

use std::io;

use cap_std::fs::Dir;
use lanyard_transfer::SafePath;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::folder::{make_directory, open_directory};

/// Other names tried for one that is taken. A folder with more copies than that needs a person.
const MAX_COPIES: u32 = 9_999;

/// What was placed.
#[derive(Debug)]
pub(super) struct Placed {
    /// Path beneath the root, with the name it really got.
    pub(super) path: String,
    /// The directories that hold the new names, to be synced; innermost last.
    pub(super) changed: Vec<Dir>,
}

/// Moves `part_name` from `parts` to `path` beneath `root`, or to the next free ` (n)` of it.
pub(super) fn place_file(root: &Dir, parts: &Dir, part_name: &str, path: &SafePath) -> io::Result<Placed> {
    let mut changed = vec![root.try_clone()?];
    let mut placed = String::new();
    let folders: Vec<&str> = path.components().collect();
    let Some((name, folders)) = folders.split_last() else { return Err(io::ErrorKind::InvalidInput.into()) };
    descend(folders, &mut changed, &mut placed)?;
    let Some(parent) = changed.last() else { return Err(io::ErrorKind::InvalidInput.into()) };
    for copy in 0..=MAX_COPIES {
        let candidate = copy_name(name, copy);
        match rename_no_replace(parts, part_name, parent, &candidate) {
            Ok(()) => {
                placed.push_str(&candidate);
                return Ok(Placed { path: placed, changed });
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes the folder `path` beneath `root`, or the next free ` (n)` where something else has the name.
pub(super) fn place_folder(root: &Dir, path: &SafePath) -> io::Result<Placed> {
    let mut changed = vec![root.try_clone()?];
    let mut placed = String::new();
    let folders: Vec<&str> = path.components().collect();
    descend(&folders, &mut changed, &mut placed)?;
    placed.truncate(placed.trim_end_matches('/').len());
    Ok(Placed { path: placed, changed })
}

/// Walks down, making what is missing. A name that is a file or a link is passed over for ` (1)` and so on.
fn descend(folders: &[&str], handles: &mut Vec<Dir>, placed: &mut String) -> io::Result<()> {
    for folder in folders {
        let Some(parent) = handles.last() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut found = None;
        for copy in 0..=MAX_COPIES {
            let candidate = copy_name(folder, copy);
            make_directory(parent, &candidate, 0o755)?;
            match open_directory(parent, &candidate) {
                Ok(handle) => {
                    found = Some((candidate, handle));
                    break;
                }
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let Some((name, handle)) = found else { return Err(io::ErrorKind::AlreadyExists.into()) };
        placed.push_str(&name);
        placed.push('/');
        handles.push(handle);
    }
    Ok(())
}

/// Whether the name belongs to a link or to something that is no directory.
fn is_taken(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    errno == Some(Errno::LOOP.raw_os_error()) || errno == Some(Errno::NOTDIR.raw_os_error())
}

fn rename_no_replace(from: &Dir, from_name: &str, to: &Dir, to_name: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, from_name, to, to_name, RenameFlags::NOREPLACE) {
        // Some network file systems know no such rename: a hard link refuses to replace as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(from, from_name, to, to_name, rustix::fs::AtFlags::empty())?;
            rustix::fs::unlinkat(from, from_name, rustix::fs::AtFlags::empty())
        }
        result => result,
    }
}

/// `name.ext`, `name (1).ext`, `name (2).ext`; cut so that no name grows over 255 bytes.
fn copy_name(name: &str, copy: u32) -> String {
    if copy == 0 {
        return name.to_owned();
    }
    let suffix = format!(" ({copy})");
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= 32);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mut end = stem.len().min(255_usize.saturating_sub(suffix.len() + extension.len()));
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}{extension}", &stem[..end])
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    struct Root {
        directory: tempfile::TempDir,
        root: Dir,
        parts: Dir,
    }

    fn root() -> Root {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("parts")).unwrap();
        let root = Dir::open_ambient_dir(directory.path(), ambient_authority()).unwrap();
        let parts = root.open_dir("parts").unwrap();
        Root { directory, root, parts }
    }

    fn place(root: &Root, path: &str, content: &str) -> String {
        root.parts.write("0", content).unwrap();
        place_file(&root.root, &root.parts, "0", &SafePath::parse(path).unwrap()).unwrap().path
    }

    #[test]
    fn nothing_is_replaced() {
        let root = root();
        assert_eq!(place(&root, "a.txt", "first"), "a.txt");
        assert_eq!(place(&root, "a.txt", "second"), "a (1).txt");
        assert_eq!(place(&root, "a.txt", "third"), "a (2).txt");
        assert_eq!(root.root.read_to_string("a.txt").unwrap(), "first");
        assert_eq!(root.root.read_to_string("a (2).txt").unwrap(), "third");
    }

    #[test]
    fn folders_are_shared_and_made_on_the_way() {
        let root = root();
        assert_eq!(place(&root, "trip/day 1/a.jpg", "a"), "trip/day 1/a.jpg");
        assert_eq!(place(&root, "trip/day 1/b.jpg", "b"), "trip/day 1/b.jpg");
        let folder = place_folder(&root.root, &SafePath::parse("trip/empty").unwrap()).unwrap();
        assert_eq!(folder.path, "trip/empty");
        assert!(root.directory.path().join("trip/empty").is_dir());
    }

    #[test]
    fn links_are_neither_followed_nor_replaced() {
        let root = root();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.directory.path().join("trip")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("new"), root.directory.path().join("a.txt")).unwrap();
        assert_eq!(place(&root, "trip/a.jpg", "a"), "trip (1)/a.jpg");
        assert_eq!(place(&root, "a.txt", "a"), "a (1).txt");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_stays() {
        let root = root();
        place(&root, "trip", "a file");
        assert_eq!(place(&root, "trip/a.jpg", "a"), "trip (1)/a.jpg");
        assert_eq!(root.root.read_to_string("trip").unwrap(), "a file");
    }

    #[test]
    fn copies_keep_extension_and_length() {
        assert_eq!(copy_name("a.tar.gz", 1), "a.tar (1).gz");
        assert_eq!(copy_name("Makefile", 12), "Makefile (12)");
        let long = format!("{}.txt", "ä".repeat(125));
        let copy = copy_name(&long, 7);
        assert!(copy.len() <= 255 && copy.ends_with(" (7).txt"), "{copy}");
    }
}
