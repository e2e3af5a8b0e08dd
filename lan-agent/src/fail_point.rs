//! Places where tests end this process as a crash would: before and after each step that a transfer must survive.
//!
//! `LANYARD_FAIL_POINT=before-rename` aborts at that place, the first time it is reached. Only builds with debug
//! assertions have this; in a release nothing of it is left. The environment of a process is set by who starts it, so
//! no other device can reach it.

use std::fmt;

/// A step that may be cut off on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An offer is accepted.
    Accept,
    /// Space for a file is reserved.
    Fallocate,
    /// The first bytes of a part file are written.
    FirstWrite,
    /// Written bytes are made durable.
    Fdatasync,
    /// Records are appended to the journal.
    JournalAppend,
    /// A whole file is compared with what its sender says of it.
    RootCheck,
    /// A whole file is made durable.
    FileFsync,
    /// A file gets its final name.
    Rename,
    /// The folders that hold new names are made durable.
    DirFsync,
    /// The sender is told that files are safe.
    Ack,
    /// A person is asked.
    Prompt,
    /// This device's key is kept.
    KeyWrite,
}

impl Step {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Accept,
        Self::Fallocate,
        Self::FirstWrite,
        Self::Fdatasync,
        Self::JournalAppend,
        Self::RootCheck,
        Self::FileFsync,
        Self::Rename,
        Self::DirFsync,
        Self::Ack,
        Self::Prompt,
        Self::KeyWrite,
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Fallocate => "fallocate",
            Self::FirstWrite => "first-write",
            Self::Fdatasync => "fdatasync",
            Self::JournalAppend => "journal-append",
            Self::RootCheck => "root-check",
            Self::FileFsync => "file-fsync",
            Self::Rename => "rename",
            Self::DirFsync => "dir-fsync",
            Self::Ack => "ack",
            Self::Prompt => "prompt",
            Self::KeyWrite => "key-write",
        })
    }
}

/// Ends the process if the environment names the place before this step.
pub(crate) fn before(step: Step) {
    reach("before", step);
}

/// Ends the process if the environment names the place after this step.
pub(crate) fn after(step: Step) {
    reach("after", step);
}

/// Whether any place is named, for checks that would cost time otherwise.
#[cfg(debug_assertions)]
pub(crate) fn is_armed() -> bool {
    named().is_some()
}

#[cfg(not(debug_assertions))]
pub(crate) fn is_armed() -> bool {
    false
}

#[cfg(debug_assertions)]
fn named() -> Option<&'static str> {
    use std::sync::OnceLock;

    static NAMED: OnceLock<Option<String>> = OnceLock::new();
    NAMED.get_or_init(|| std::env::var("LANYARD_FAIL_POINT").ok()).as_deref()
}

#[cfg(debug_assertions)]
fn reach(side: &str, step: Step) {
    if named().is_some_and(|named| named == format!("{side}-{step}")) {
        // As a crash does it: nothing is flushed, dropped or said.
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
fn reach(_side: &str, _step: Step) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_name_of_its_own() {
        let mut names: Vec<String> = Step::ALL.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
