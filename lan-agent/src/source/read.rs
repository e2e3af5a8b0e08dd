//! Bytes of offered files, and the certainty that they are still those files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lanyard_protocol::control::FileIndex;
use lanyard_transfer::{ReadError, ReadRequest};

use super::SourceFile;
use super::walk::Identity;

/// Files held open at once; the one used longest ago is closed first.
const OPEN_FILES: usize = 16;

/// The files of one offer.
#[derive(Debug)]
pub struct SourceFiles {
    files: Vec<Option<SourceFile>>,
    open: Vec<(FileIndex, File)>,
}

impl SourceFiles {
    /// The files behind an offer's entries.
    #[must_use]
    pub fn new(files: Vec<Option<SourceFile>>) -> Self {
        Self { files, open: Vec::new() }
    }

    /// Reads what is asked for. A length of 0 only looks whether the file is unchanged.
    ///
    /// # Errors
    /// [`ReadError::Changed`] when it is another file than the asked version; requests for a later version get the
    /// content that the error told of.
    pub fn read(&mut self, request: &ReadRequest) -> Result<Vec<u8>, ReadError> {
        let file = request.file;
        let source = self.source(file)?;
        if request.version > source.version {
            source.version = request.version;
            source.identity = source.present.unwrap_or(source.identity);
        } else if request.version < source.version {
            return Err(changed(source.identity));
        }
        let expected = source.identity;
        // At most a piece of 1 MiB.
        let mut bytes = vec![0; usize::try_from(request.len).map_err(|_| ReadError::Unreadable)?];
        let handle = self.handle(file)?;
        let filled = fill(handle, &mut bytes, request.offset).map_err(|_| ReadError::Unreadable)?;
        // Looked at after reading, so that bytes of a changing file are never taken for the file.
        let opened = Identity::of(&handle.metadata().map_err(|_| ReadError::Unreadable)?);
        let source = self.source(file)?;
        // A file that was replaced by another one of its name lives on under our handle: look at the name too.
        let named = Identity::of(&std::fs::metadata(&source.path).map_err(|_| ReadError::Unreadable)?);
        if opened != expected || named != expected {
            source.present = Some(named);
            self.close(file);
            return Err(changed(named));
        }
        if filled < bytes.len() { Err(ReadError::Unreadable) } else { Ok(bytes) }
    }

    /// Closes a file that is not read for now.
    pub fn close(&mut self, file: FileIndex) {
        self.open.retain(|(open, _)| *open != file);
    }

    fn source(&mut self, file: FileIndex) -> Result<&mut SourceFile, ReadError> {
        let source = usize::try_from(file).ok().and_then(|index| self.files.get_mut(index));
        source.and_then(Option::as_mut).ok_or(ReadError::Unreadable)
    }

    fn handle(&mut self, file: FileIndex) -> Result<&File, ReadError> {
        if let Some(at) = self.open.iter().position(|(open, _)| *open == file) {
            // Used last stands last.
            let entry = self.open.remove(at);
            self.open.push(entry);
        } else {
            let handle = File::open(&self.source(file)?.path).map_err(|_| ReadError::Unreadable)?;
            if self.open.len() >= OPEN_FILES {
                self.open.remove(0);
            }
            self.open.push((file, handle));
        }
        self.open.last().map(|(_, handle)| handle).ok_or(ReadError::Unreadable)
    }
}

fn changed(now: Identity) -> ReadError {
    ReadError::Changed { size_bytes: now.size_bytes, modified_ms: now.modified_ms() }
}

fn fill(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;

    use lanyard_protocol::control::TransferId;

    use super::super::collect;
    use super::*;

    fn offered(content: &[u8]) -> (tempfile::TempDir, PathBuf, SourceFiles) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, content).unwrap();
        let collected = collect(std::slice::from_ref(&path), 10).unwrap();
        (root, path, SourceFiles::new(collected.files))
    }

    fn ask(file: FileIndex, version: u32, offset: u64, len: u64) -> ReadRequest {
        ReadRequest { transfer: TransferId([1; 16]), file, version, offset, len }
    }

    #[test]
    fn unchanged_files_are_read_at_any_offset() {
        let (_root, _path, mut files) = offered(b"hello world");
        assert_eq!(files.read(&ask(0, 0, 6, 5)), Ok(b"world".to_vec()));
        assert_eq!(files.read(&ask(0, 0, 0, 0)), Ok(Vec::new()));
        files.close(0);
        assert_eq!(files.read(&ask(0, 0, 0, 5)), Ok(b"hello".to_vec()));
        assert_eq!(files.read(&ask(7, 0, 0, 1)), Err(ReadError::Unreadable));
    }

    #[test]
    fn a_file_that_grew_is_told_until_its_present_content_is_asked_for() {
        let (_root, path, mut files) = offered(b"hello");
        files.read(&ask(0, 0, 0, 5)).unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
        for _ in 0..2 {
            assert!(matches!(files.read(&ask(0, 0, 0, 5)), Err(ReadError::Changed { size_bytes: 6, .. })));
        }
        assert_eq!(files.read(&ask(0, 1, 0, 6)), Ok(b"hello!".to_vec()));
        assert!(matches!(files.read(&ask(0, 0, 0, 5)), Err(ReadError::Changed { size_bytes: 6, .. })));
    }

    #[test]
    fn a_file_that_was_replaced_is_noticed_though_the_old_one_is_still_open() {
        let (root, path, mut files) = offered(b"old");
        files.read(&ask(0, 0, 0, 3)).unwrap();
        fs::write(root.path().join("other"), "new").unwrap();
        fs::rename(root.path().join("other"), &path).unwrap();
        assert!(matches!(files.read(&ask(0, 0, 0, 3)), Err(ReadError::Changed { size_bytes: 3, .. })));
        assert_eq!(files.read(&ask(0, 1, 0, 3)), Ok(b"new".to_vec()));
    }

    #[test]
    fn a_file_that_shrank_or_is_gone_is_told() {
        let (_root, path, mut files) = offered(b"hello");
        fs::write(&path, "he").unwrap();
        assert!(matches!(files.read(&ask(0, 0, 0, 5)), Err(ReadError::Changed { size_bytes: 2, .. })));
        fs::remove_file(&path).unwrap();
        assert_eq!(files.read(&ask(0, 1, 0, 2)), Err(ReadError::Unreadable));
    }
}
