//! Sets of entries as runs, the way the wire has them.

use lanyard_protocol::control::{FileIndex, Span};

/// The runs of ascending indices.
pub(crate) fn from_indices(indices: impl IntoIterator<Item = FileIndex>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for index in indices {
        match spans.last_mut() {
            Some(span) if span.first + span.count == index => span.count += 1,
            _ => spans.push(Span { first: index, count: 1 }),
        }
    }
    spans
}

/// Whether the runs are not empty, ascend, do not touch each other's entries and stay within `entries`.
pub(crate) fn are_ascending(spans: &[Span], entries: u32) -> bool {
    let mut end = 0;
    spans.iter().all(|span| {
        let fits = span.first >= end && span.count > 0 && span.count <= entries.saturating_sub(span.first);
        end = span.first.saturating_add(span.count);
        fits
    })
}

/// Every index of runs that were checked by [`are_ascending`].
pub(crate) fn indices(spans: &[Span]) -> impl Iterator<Item = FileIndex> {
    spans.iter().flat_map(|span| span.first..span.first + span.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_indices_are_two_ways_to_say_one_thing() {
        let spans = from_indices([0, 1, 2, 5, 7, 8]);
        assert_eq!(spans.len(), 3);
        assert_eq!(indices(&spans).collect::<Vec<_>>(), [0, 1, 2, 5, 7, 8]);
    }

    #[test]
    fn runs_that_are_empty_overlap_or_leave_the_manifest_are_told_apart() {
        let span = |first, count| Span { first, count };
        assert!(are_ascending(&[span(0, 2), span(2, 1)], 3));
        assert!(!are_ascending(&[span(0, 0)], 3));
        assert!(!are_ascending(&[span(0, 2), span(1, 1)], 3));
        assert!(!are_ascending(&[span(2, 2)], 3));
        assert!(!are_ascending(&[span(u32::MAX, u32::MAX)], 3));
    }
}
