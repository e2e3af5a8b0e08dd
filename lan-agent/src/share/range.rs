//! `Range` (RFC 9110 §14).

/// Parts of one request; more are answered with the whole file, as they cost more than they save.
const MAX_PARTS: usize = 16;

/// Bytes `first..end` of a file; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: u64,
    pub(super) end: u64,
}

impl Part {
    pub(super) fn len(self) -> u64 {
        self.end - self.first
    }
}

/// What a `Range` asks of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it: the header is missing, or not one that has to be heeded.
    Whole,
    /// These parts, in the order asked for.
    Parts(Vec<Part>),
    /// Only bytes that the file does not have.
    Unsatisfiable,
}

/// Reads the value of a `Range` for a file of `size` bytes.
pub(super) fn read(value: Option<&str>, size: u64) -> Asked {
    let Some(set) = value.and_then(strip_unit) else { return Asked::Whole };
    let mut parts: Vec<Part> = Vec::new();
    let mut specs = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        specs += 1;
        match read_spec(spec, size) {
            // One bad part spoils the header (RFC 9110 §14.2: it may be ignored).
            None => return Asked::Whole,
            Some(None) => {}
            Some(Some(part)) => parts.push(part),
        }
        if specs > MAX_PARTS {
            return Asked::Whole;
        }
    }
    let overlap = |a: &Part, b: &Part| a.first < b.end && b.first < a.end;
    let overlapping = (1..parts.len()).any(|at| parts[..at].iter().any(|before| overlap(before, &parts[at])));
    match (specs, parts.is_empty()) {
        (0, _) => Asked::Whole,
        (_, true) => Asked::Unsatisfiable,
        _ if overlapping => Asked::Whole,
        _ => Asked::Parts(parts),
    }
}

fn strip_unit(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(set)
}

/// `None` when it is no part at all, `Some(None)` when it lies behind the end.
fn read_spec(spec: &str, size: u64) -> Option<Option<Part>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let len = number(last)?.min(size);
        return Some((len > 0).then_some(Part { first: size - len, end: size }));
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
    if !last.is_empty() && number(last)? < first {
        return None;
    }
    Some((first < end).then_some(Part { first, end }))
}

/// Digits only; more of them than fit mean "far behind the end".
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(list: &[(u64, u64)]) -> Asked {
        Asked::Parts(list.iter().map(|&(first, end)| Part { first, end }).collect())
    }

    #[test]
    fn ht_12_every_form_of_a_part_is_read() {
        for (value, asked) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=5-", parts(&[(5, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("bytes=2-99999999999999999999999", parts(&[(2, 10)])),
            ("Bytes = 1-2, 4-5 ,-1", parts(&[(1, 3), (4, 6), (9, 10)])),
            ("bytes=1-2,20-30", parts(&[(1, 3)])),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=20-30,40-", Asked::Unsatisfiable),
        ] {
            assert_eq!(read(Some(value), 10), asked, "{value}");
        }
        assert_eq!(read(Some("bytes=0-"), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn ht_12_what_need_not_be_heeded_gets_the_whole() {
        let many = format!("bytes={}", (0..20).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect::<Vec<_>>().join(","));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "lines=1-2",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=+1-2",
            "bytes=0-5,3-7",
            &many,
        ] {
            assert_eq!(read(Some(value), 100), Asked::Whole, "{value}");
        }
        assert_eq!(read(None, 10), Asked::Whole);
    }
}
