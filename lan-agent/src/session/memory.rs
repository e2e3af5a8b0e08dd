//! Memory for what is received, shared by all conversations of this process (SAFETY §6).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that all conversations together hold between their link and the disk.
const ALL_BYTES: u64 = 64 << 20;

/// What one conversation may take of it: with the 8 MiB that wait to be noted in the journal, at most 24 MiB travel
/// again after this program was killed.
const MOST_BYTES: u64 = 8 << 20;

/// Enough for the first pieces of an offer that was just accepted.
const LEAST_BYTES: u64 = 2 << 20;

/// Transfers that are received at once. Another one is told that this device is busy.
const TRANSFERS: u64 = 16;

/// Counts what is received now.
#[derive(Debug, Default)]
pub struct Memory(AtomicU64);

/// One transfer that is being received; over when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Memory>);

impl Memory {
    /// Begins to receive another transfer, unless there are as many as are allowed.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let more = |now: u64| (now < TRANSFERS).then_some(now + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(self)))
    }

    /// Bytes that a conversation may have in flight.
    pub(super) fn window(&self, is_receiving: bool) -> u64 {
        if !is_receiving {
            return LEAST_BYTES;
        }
        (ALL_BYTES / self.0.load(Ordering::Acquire).max(1)).clamp(LEAST_BYTES, MOST_BYTES)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_transfers_share_what_there_is_and_a_seventeenth_waits() {
        let memory = Arc::new(Memory::default());
        assert_eq!(memory.window(false), LEAST_BYTES);
        let mut places = Vec::new();
        for count in 1..=TRANSFERS {
            places.push(memory.enter().unwrap());
            assert!(memory.window(true) * count <= ALL_BYTES);
        }
        assert_eq!(memory.window(true), 4 << 20);
        assert!(memory.enter().is_none());
        places.truncate(1);
        assert_eq!(memory.window(true), MOST_BYTES);
    }
}
