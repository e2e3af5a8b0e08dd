//! Text that other people chose, made safe to print.

/// Shows control, bidi and other invisible characters as `\u{..}`, so that no name can move the cursor, recolour the
/// terminal or reorder what is read.
#[must_use]
pub fn display(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Control characters and what changes or hides the text around it (Unicode categories Cc, Zl, Zp and the Cf in use).
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidi_characters_are_shown_and_the_rest_stays() {
        assert_eq!(display("Zoë 日本.txt"), "Zoë 日本.txt");
        assert_eq!(display("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(display("cod\u{202e}gpj.exe"), "cod\\u{202e}gpj.exe");
        assert_eq!(display("a\nb\r\u{7}"), "a\\u{a}b\\u{d}\\u{7}");
    }
}
