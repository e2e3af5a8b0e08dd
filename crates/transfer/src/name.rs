//! From a path that somebody else wrote to one that is safe to create beneath the receive folder (TR-40 to TR-44).

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Bytes of a path as offered.
pub const PATH_BYTES: usize = 1024;

/// Components of a path.
pub const PATH_DEPTH: usize = 32;

/// Bytes of one component as it is created; longer ones are shortened.
pub const COMPONENT_BYTES: usize = 255;

/// Bytes of an extension, dot included, that shortening keeps.
const KEPT_EXTENSION_BYTES: usize = 32;

/// Why a path is refused. One bad path refuses the whole offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No component at all, or one of no characters: `a//b`, `a/`.
    #[error("the path or a part of it is empty")]
    Empty,
    /// It starts at a root: `/a`, `\a`, `C:a`.
    #[error("the path is absolute")]
    Absolute,
    /// A component is `.` or `..`.
    #[error("the path climbs")]
    Climbs,
    /// A character below U+0020, U+007F to U+009F, among them NUL.
    #[error("the path holds a control character")]
    Control,
    /// Over [`PATH_BYTES`].
    #[error("the path is too long")]
    TooLong,
    /// Over [`PATH_DEPTH`].
    #[error("the path is too deep")]
    TooDeep,
}

/// A relative path of 1 to 32 components, each a name that every common file system takes as an ordinary file: never
/// empty, `.`, `..`, hidden, reserved, with a separator, a stream, a control character, or over 255 bytes.
///
/// Only this type is carried by outputs that create something; there is no other way to make one than [`SafePath::parse`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafePath(String);

impl SafePath {
    /// Reads a path as offered; `/` and `\` both separate.
    ///
    /// Made safe without asking: characters Windows forbids and `:` become `_`; a leading dot, and a reserved device
    /// name, get `_` before them; trailing dots and spaces become `_`; long names are shortened, keeping a short
    /// extension; the result is in Unicode normalisation form C. Two paths may become one: see [`crate::Manifest`].
    ///
    /// # Errors
    /// What refuses it.
    pub fn parse(offered: &str) -> Result<Self, PathError> {
        if offered.len() > PATH_BYTES {
            return Err(PathError::TooLong);
        }
        if offered.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        let is_separator = |character| matches!(character, '/' | '\\');
        if offered.starts_with(is_separator) || starts_with_drive(offered) {
            return Err(PathError::Absolute);
        }
        let mut path = String::with_capacity(offered.len());
        for (depth, component) in offered.split(is_separator).enumerate() {
            if depth == PATH_DEPTH {
                return Err(PathError::TooDeep);
            }
            match component {
                "" => return Err(PathError::Empty),
                "." | ".." => return Err(PathError::Climbs),
                _ => {}
            }
            if depth > 0 {
                path.push('/');
            }
            path.push_str(&safe_component(component));
        }
        Ok(Self(path))
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The components joined by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two paths share when some file system holds them to be one: case and normalisation folded away.
    pub(crate) fn fold(&self) -> String {
        let upper = self.0.nfc().collect::<String>().to_uppercase();
        upper.to_lowercase().nfc().collect()
    }
}

/// For people; safe for a terminal.
impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::display(&self.0))
    }
}

impl fmt::Debug for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafePath({self})")
    }
}

fn starts_with_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn safe_component(component: &str) -> String {
    let replaced = component.nfc().map(|character| match character {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
        other => other,
    });
    let mut name: String = replaced.collect();
    if name.starts_with('.') || is_reserved(&name) {
        name.insert(0, '_');
    }
    let mut name = shorten(&name);
    let kept = name.trim_end_matches(['.', ' ']).len();
    let stripped = name.len() - kept;
    name.truncate(kept);
    name.extend(std::iter::repeat_n('_', stripped));
    name
}

/// Device names of DOS, with any extension; Windows takes superscript digits for digits.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let mut digits = number.unwrap_or("").chars();
    matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
}

/// Cuts the stem so that the name fits; an extension of at most [`KEPT_EXTENSION_BYTES`] stays.
fn shorten(name: &str) -> String {
    if name.len() <= COMPONENT_BYTES {
        return name.to_owned();
    }
    let extension_at = name.rfind('.').filter(|&at| at > 0 && name.len() - at <= KEPT_EXTENSION_BYTES);
    let extension = extension_at.map_or("", |at| &name[at..]);
    let stem_end = name.floor_char_boundary(COMPONENT_BYTES - extension.len());
    format!("{}{extension}", &name[..stem_end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn safe(offered: &str) -> String {
        SafePath::parse(offered).unwrap_or_else(|error| panic!("{offered:?}: {error}")).as_str().to_owned()
    }

    #[test]
    fn ordinary_paths_stay_as_they_are() {
        for path in ["a.txt", "holiday/IMG_2041.mov", "día/日本語.pdf", "a b/c (1).tar.gz", "COM10", "console"] {
            assert_eq!(safe(path), path);
        }
    }

    #[test]
    fn backslash_separates_on_every_system() {
        assert_eq!(safe("a\\b/c"), "a/b/c");
        assert_eq!(SafePath::parse("a\\..\\b"), Err(PathError::Climbs));
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("/etc/passwd", PathError::Absolute),
            ("\\\\server\\share", PathError::Absolute),
            ("C:\\x", PathError::Absolute),
            ("c:x", PathError::Absolute),
            ("..", PathError::Climbs),
            ("a/../b", PathError::Climbs),
            ("./a", PathError::Climbs),
            ("a\0b", PathError::Control),
            ("a\u{1b}[2Jb", PathError::Control),
            ("a\u{85}b", PathError::Control),
        ] {
            assert_eq!(SafePath::parse(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn names_with_a_meaning_are_made_plain() {
        for (offered, made) in [
            (".bashrc", "_.bashrc"),
            (".ssh/authorized_keys", "_.ssh/authorized_keys"),
            ("CON", "_CON"),
            ("con.txt", "_con.txt"),
            ("nul .txt", "_nul .txt"),
            ("com¹", "_com¹"),
            ("LPT9.log", "_LPT9.log"),
            ("12:30.txt", "12_30.txt"),
            ("file.txt:stream", "file.txt_stream"),
            ("what?.txt", "what_.txt"),
            ("end.", "end_"),
            ("end . ", "end___"),
            (" ", "_"),
            ("..a", "_..a"),
            ("...", "____"),
        ] {
            assert_eq!(safe(offered), made, "{offered:?}");
        }
    }

    #[test]
    fn long_names_are_shortened_and_keep_their_extension() {
        let name = safe(&format!("{}.jpeg", "é".repeat(200)));
        assert!(name.len() <= COMPONENT_BYTES && name.ends_with("é.jpeg"), "{name}");
        assert_eq!(safe(&"x".repeat(300)).len(), COMPONENT_BYTES);
        let name = safe(&format!("a.{}", "x".repeat(300)));
        assert_eq!(name.len(), COMPONENT_BYTES);
    }

    #[test]
    fn long_or_deep_paths_are_refused() {
        assert_eq!(SafePath::parse(&"a/".repeat(600)), Err(PathError::TooLong));
        assert_eq!(SafePath::parse(&["a"; 33].join("/")), Err(PathError::TooDeep));
        assert!(SafePath::parse(&["a"; 32].join("/")).is_ok());
    }

    #[test]
    fn decomposed_names_are_composed() {
        assert_eq!(safe("cafe\u{301}"), "caf\u{e9}");
    }

    fn assert_is_safe(path: &SafePath) {
        assert!(path.components().count() <= PATH_DEPTH);
        for name in path.components() {
            assert!(!name.is_empty() && name.len() <= COMPONENT_BYTES, "{name:?}");
            assert!(!name.starts_with('.') && !name.ends_with(['.', ' ']), "{name:?}");
            assert!(!name.contains(['/', '\\', ':', '\0', '<', '>', '"', '|', '?', '*']), "{name:?}");
            assert!(!name.chars().any(char::is_control), "{name:?}");
            assert!(!is_reserved(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_offered_is_refused_or_safe(offered in any::<String>()) {
            if let Ok(path) = SafePath::parse(&offered) {
                assert_is_safe(&path);
            }
        }

        #[test]
        fn hostile_alphabets_are_refused_or_safe(offered in "[./\\\\: CcOoNn1¹~a\u{301}\u{202e}é]{0,40}") {
            if let Ok(path) = SafePath::parse(&offered) {
                assert_is_safe(&path);
            }
        }

        #[test]
        fn a_safe_path_read_again_is_the_same(offered in "[./\\\\: CcOoNn1a\u{301}é?_]{1,40}") {
            if let Ok(path) = SafePath::parse(&offered) {
                prop_assert_eq!(SafePath::parse(path.as_str()), Ok(path.clone()));
            }
        }
    }
}
