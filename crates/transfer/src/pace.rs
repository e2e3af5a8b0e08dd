//! Whether a link that is heard also moves what waits for it (LK-46). SCTP without tail-loss probes stands still for a
//! second or more after each burst that is lost, while its signs of life still come.

use std::time::{Duration, Instant};

/// Less than [`LEAST_BYTES`] in so long, while more waited all the time, is slow.
const LOOK: Duration = Duration::from_millis(500);
/// Half a mebibyte a second: below what any local network does, above what is worth another path elsewhere.
const LEAST_BYTES: u64 = 256 * 1024;

/// Watches one link.
#[derive(Debug, Default)]
pub struct Pace {
    waiting: Option<Waiting>,
}

/// Since when something waits without a break, and what had moved by then.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    moved_bytes: u64,
}

impl Pace {
    /// Looks at the link, after each time that it was fed and when [`Pace::poll_timeout`] says so. `moved_bytes` is what
    /// it took since it was opened; `waits`: it takes no more now. Says whether it is slow, at most once for each look.
    pub fn handle_look(&mut self, now: Instant, moved_bytes: u64, waits: bool) -> bool {
        if !waits {
            self.waiting = None;
            return false;
        }
        let waiting = *self.waiting.get_or_insert(Waiting { since: now, moved_bytes });
        if now < waiting.since + LOOK {
            return false;
        }
        self.waiting = Some(Waiting { since: now, moved_bytes });
        moved_bytes.saturating_sub(waiting.moved_bytes) < LEAST_BYTES
    }

    /// When to look at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.map(|waiting| waiting.since + LOOK)
    }
}
