//! What this device sends: a list of files and folders, and their bytes as long as they do not change.

mod read;
mod walk;

pub use read::SourceFiles;
pub use walk::{Collected, MAX_ENTRIES, Skipped, SourceError, SourceFile, collect};
