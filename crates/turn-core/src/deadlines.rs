//! When things run out: one ordered queue.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::reservation::ReservationToken;
use crate::slab::Key;

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// An allocation's lifetime, or the time its sockets may take to open.
    Allocation(Key),
    /// A reserved port.
    Reservation(ReservationToken),
}

/// Deadlines by time. The first is at hand without searching; setting one costs a walk down the tree.
#[derive(Debug)]
pub(crate) struct Deadlines {
    queue: BTreeSet<(Instant, Deadline)>,
    first: Option<Instant>,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self { queue: BTreeSet::new(), first: None }
    }

    pub(crate) fn add(&mut self, at: Instant, deadline: Deadline) {
        self.queue.insert((at, deadline));
        self.note_first();
    }

    /// Removes a deadline that was added for this time.
    pub(crate) fn remove(&mut self, at: Instant, deadline: Deadline) {
        self.queue.remove(&(at, deadline));
        self.note_first();
    }

    /// The next that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        if self.first? > now {
            return None;
        }
        let (_, deadline) = self.queue.pop_first()?;
        self.note_first();
        Some(deadline)
    }

    /// When the first is due; a field, not a search.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }

    fn note_first(&mut self) {
        self.first = self.queue.first().map(|(at, _)| *at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_come_in_order_and_only_when_due() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let token = |n: u8| Deadline::Reservation(ReservationToken([n; 8]));
        let mut deadlines = Deadlines::new();
        deadlines.add(at(3), token(3));
        deadlines.add(at(1), token(1));
        deadlines.add(at(2), token(2));
        deadlines.remove(at(2), token(2));
        assert_eq!((deadlines.first(), deadlines.pop_due(start)), (Some(at(1)), None));
        assert_eq!(deadlines.pop_due(at(5)), Some(token(1)));
        assert_eq!(deadlines.pop_due(at(5)), Some(token(3)));
        assert_eq!((deadlines.first(), deadlines.pop_due(at(5))), (None, None));
    }
}
