//! Conditional requests (RFC 9110 §13): what a file's version must be for the answer that is asked for.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, header};
use httpdate::parse_http_date;

use super::version::Version;

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer; with the parts asked for, or (`false`) whole.
    Answer {
        /// Whether a `Range` is to be heeded.
        ranges: bool,
    },
    /// 304: who asks has it.
    NotModified,
    /// 412: it is not what who asks wants.
    PreconditionFailed,
    /// 409: a part of a file that changed, and who asks cannot say of which version.
    Changed,
}

/// Judges a GET or HEAD. `changed`: the file is not what it was when who asks began to take it.
pub(super) fn judge(headers: &HeaderMap, version: &Version, changed: bool) -> Verdict {
    let etag = version.etag();
    let modified = version.modified();
    if headers.contains_key(header::IF_MATCH) {
        if !lists(headers, &header::IF_MATCH, &etag, Comparison::Strong) {
            return Verdict::PreconditionFailed;
        }
    } else if date(headers, &header::IF_UNMODIFIED_SINCE).is_some_and(|since| modified > since) {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if lists(headers, &header::IF_NONE_MATCH, &etag, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| modified <= since) {
        return Verdict::NotModified;
    }
    let is_part = headers.contains_key(header::RANGE);
    let ranges = match headers.get(header::IF_RANGE).map(|value| value.to_str().unwrap_or_default().trim()) {
        Some(tag) if tag.starts_with('"') => tag == etag,
        // A date names a version only as exactly as it was told; weak tags name none.
        Some(date) => parse_http_date(date).is_ok_and(|date| date == modified) && !changed,
        // Who asks could not tell the versions apart, and would join one to the other: `wget -c` does even with a whole
        // answer.
        None if changed && is_part => return Verdict::Changed,
        None => true,
    };
    Verdict::Answer { ranges }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn lists(headers: &HeaderMap, name: &HeaderName, etag: &str, comparison: Comparison) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let tag = if comparison == Comparison::Weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag == etag
    })
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::version::OpenVersion;
    use super::*;

    fn version() -> Version {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello").unwrap();
        OpenVersion::open(&path, None).unwrap().version
    }

    fn verdict(version: &Version, changed: bool, headers: &[(HeaderName, String)]) -> Verdict {
        let map = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        judge(&map, version, changed)
    }

    const HEEDED: Verdict = Verdict::Answer { ranges: true };
    const WHOLE: Verdict = Verdict::Answer { ranges: false };

    #[test]
    fn ht_13_if_range_is_heeded_only_for_this_very_version() {
        let version = version();
        let date = httpdate::fmt_http_date(version.modified());
        let if_range = |value: &str| verdict(&version, false, &[(header::IF_RANGE, value.to_owned())]);
        assert_eq!(if_range(&version.etag()), HEEDED);
        assert_eq!(if_range(&date), HEEDED);
        for other in ["\"00\"", "W/\"00\"", "Thu, 01 Jan 1970 00:00:00 GMT", "nonsense", ""] {
            assert_eq!(if_range(other), WHOLE, "{other}");
        }
        assert_eq!(if_range(&format!("W/{}", version.etag())), WHOLE, "a weak tag names no bytes");
    }

    #[test]
    fn ht_13_parts_of_a_changed_file_are_only_for_who_names_its_version() {
        let version = version();
        let part = (header::RANGE, "bytes=1-".to_owned());
        assert_eq!(verdict(&version, true, std::slice::from_ref(&part)), Verdict::Changed);
        assert_eq!(verdict(&version, false, std::slice::from_ref(&part)), HEEDED);
        assert_eq!(verdict(&version, true, &[part, (header::IF_RANGE, version.etag())]), HEEDED);
    }

    #[test]
    fn other_conditions_are_judged_as_rfc_9110_says() {
        let version = version();
        let date = httpdate::fmt_http_date(version.modified());
        let old = "Thu, 01 Jan 1970 00:00:00 GMT".to_owned();
        for (name, value, expected) in [
            (header::IF_NONE_MATCH, version.etag(), Verdict::NotModified),
            (header::IF_NONE_MATCH, format!("\"x\", W/{}", version.etag()), Verdict::NotModified),
            (header::IF_NONE_MATCH, "\"x\"".to_owned(), HEEDED),
            (header::IF_MATCH, "*".to_owned(), HEEDED),
            (header::IF_MATCH, "\"x\"".to_owned(), Verdict::PreconditionFailed),
            (header::IF_MODIFIED_SINCE, date.clone(), Verdict::NotModified),
            (header::IF_MODIFIED_SINCE, old.clone(), HEEDED),
            (header::IF_UNMODIFIED_SINCE, old, Verdict::PreconditionFailed),
            (header::IF_UNMODIFIED_SINCE, date, HEEDED),
        ] {
            assert_eq!(verdict(&version, false, &[(name.clone(), value.clone())]), expected, "{name}: {value}");
        }
    }
}
