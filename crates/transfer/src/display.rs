//! Showing text that somebody else wrote.

use std::fmt::Write as _;

/// The text with everything that could move a cursor, turn its direction or hide shown as `\u{…}`, so that it can go to
/// a terminal, a log or a notification.
///
/// Covers control characters, bidirectional and other format characters, line and paragraph separators, and letters
/// that draw nothing. The result never holds a character that this function would change.
///
/// ```
/// assert_eq!(lanyard_transfer::display("holiday\u{202e}gpj.exe"), "holiday\\u{202e}gpj.exe");
/// ```
#[must_use]
pub fn display(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_treacherous(character) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Unicode general categories Cc, Cf, Zl, Zp, and the fillers that look like nothing.
fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(
            u32::from(character),
            0xad | 0x34f | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x115f..=0x1160
                | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x2800
                | 0x3164 | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0x110bd | 0x110cd | 0x13430..=0x1343f
                | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["holiday (1).jpg", "día de él", "日本語", "مرحبا", "🦊🚲", "a\\b"] {
            assert_eq!(display(text), text);
        }
    }

    #[test]
    fn terminal_escapes_and_direction_marks_are_shown() {
        assert_eq!(display("\u{1b}[2J\n"), "\\u{1b}[2J\\u{a}");
        assert_eq!(display("a\u{2066}b\u{200b}c\u{feff}"), "a\\u{2066}b\\u{200b}c\\u{feff}");
    }

    proptest! {
        #[test]
        fn shown_text_never_changes_again(text in any::<String>()) {
            let shown = display(&text);
            prop_assert_eq!(display(&shown), shown);
        }
    }
}
