//! Devices this one remembers: their pinned keys, the secrets shared with them, and what they may do.

mod book;
mod entry;

pub use book::{BookError, DeviceBook, MAX_DEVICES};
pub use entry::Remembered;
