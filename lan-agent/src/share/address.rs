//! Paths in addresses: percent-encoded going out, decoded once coming in.

use std::fmt::Write;

/// A path as it stands in a link: each component encoded, `/` between.
pub(super) fn encode_path(path: &str) -> String {
    let components: Vec<String> = path.split('/').map(encode).collect();
    components.join("/")
}

/// Everything but the unreserved characters of RFC 3986 §2.3 is encoded.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Undoes [`encode`]; `None` for a broken escape, or for bytes that are no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went_in() {
        for name in ["a b.txt", "zoë 日本 🦊", "100%", "a?b#c&d", "\u{202e}x", "..."] {
            let encoded = encode(name);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()), "{encoded}");
            assert_eq!(decode(&encoded).as_deref(), Some(name));
        }
        assert_eq!(encode_path("a b/c"), "a%20b/c");
    }

    #[test]
    fn broken_escapes_are_refused() {
        for bad in ["%", "%4", "%zz", "%ff", "a%"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
