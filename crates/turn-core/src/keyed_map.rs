//! Hash maps whose order and collisions depend on a secret seed, and that give memory back.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::FixedState;

/// A hash map keyed by a seed: deterministic for tests, unpredictable from outside.
#[derive(Debug)]
pub(crate) struct KeyedMap<K, V>(HashMap<K, V, FixedState>);

impl<K: Eq + Hash, V> KeyedMap<K, V> {
    pub(crate) fn new(seed: u64) -> Self {
        Self(HashMap::with_hasher(FixedState::with_seed(seed)))
    }

    /// Removes an entry. A table that has become sparse shrinks, at a cost that the removals before have paid for.
    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let value = self.0.remove(key);
        if self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(self.0.len() * 2);
        }
        value
    }
}

impl<K: Eq + Hash> KeyedMap<K, u32> {
    /// Counts one less, and forgets what has come to nothing.
    pub(crate) fn decrement(&mut self, key: &K) {
        if let Some(count) = self.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.remove(key);
            }
        }
    }
}

impl<K, V> std::ops::Deref for KeyedMap<K, V> {
    type Target = HashMap<K, V, FixedState>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K, V> std::ops::DerefMut for KeyedMap<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_map_gives_its_memory_back() {
        let mut map = KeyedMap::new(1);
        for n in 0..10_000 {
            map.insert(n, n);
        }
        for n in 0..10_000 {
            assert_eq!(map.remove(&n), Some(n));
        }
        assert!(map.capacity() < 100);
    }
}
