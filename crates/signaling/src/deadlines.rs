//! When what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One deadline a key, in order. Taking one back removes it at once, so nothing is left behind by what is gone.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    queue: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Deadlines<K> {
    pub(crate) fn new() -> Self {
        Self { queue: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets the key's deadline, in place of an earlier one.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.by_key.insert(key, at) {
            self.queue.remove(&(before, key));
        }
        self.queue.insert((at, key));
    }

    /// Sets it only where none is.
    pub(crate) fn set_if_none(&mut self, key: K, at: Instant) {
        if !self.by_key.contains_key(&key) {
            self.set(key, at);
        }
    }

    pub(crate) fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.queue.remove(&(at, key));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the first key that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.clear(key);
        Some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moved_and_cleared_deadlines_leave_nothing_behind() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new();
        deadlines.set('a', start + Duration::from_secs(1));
        deadlines.set('b', start + Duration::from_secs(2));
        deadlines.set('a', start + Duration::from_secs(3));
        assert_eq!(deadlines.next(), Some(start + Duration::from_secs(2)));
        deadlines.clear('b');
        assert_eq!(deadlines.pop_due(start + Duration::from_secs(2)), None);
        assert_eq!(deadlines.pop_due(start + Duration::from_secs(3)), Some('a'));
        assert_eq!((deadlines.len(), deadlines.by_key.len()), (0, 0));
    }
}
