//! Which bytes of a file were sent at least once.

use std::collections::BTreeMap;

/// Spans kept apart; more of them and the smallest gap is not looked at any closer.
const MAX_SPANS: usize = 4096;

/// Disjoint spans `first → end`.
#[derive(Debug, Default)]
pub(super) struct SpanSet {
    spans: BTreeMap<u64, u64>,
}

impl SpanSet {
    /// Adds `first..end`.
    pub(super) fn add(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let (mut first, mut end) = (first, end);
        if let Some((&before, &before_end)) = self.spans.range(..=first).next_back()
            && before_end >= first
        {
            first = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.spans.range(first..=end).next() {
            end = end.max(next_end);
            self.spans.remove(&next);
        }
        // A reader that asks for every second byte only makes its link live longer.
        if self.spans.len() < MAX_SPANS {
            self.spans.insert(first, end);
        }
    }

    /// How many bytes there are.
    pub(super) fn bytes(&self) -> u64 {
        self.spans.iter().map(|(first, end)| end - first).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_touching_spans_count_once() {
        let mut set = SpanSet::default();
        for (first, end) in [(10, 20), (30, 40), (20, 25), (5, 12), (24, 31), (50, 50)] {
            set.add(first, end);
        }
        assert_eq!(set.bytes(), 35);
        assert_eq!(set.spans.len(), 1);
        set.add(0, 100);
        assert_eq!(set.bytes(), 100);
    }
}
