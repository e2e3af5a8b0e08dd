//! `Content-Disposition` (RFC 6266, RFC 8187).

use super::address::encode;

/// `attachment` with a name for every reader: ASCII for the old ones, UTF-8 for the others.
pub(super) fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_quoted_and_others_come_twice() {
        assert_eq!(attachment("a b.txt"), "attachment; filename=\"a b.txt\"");
        assert_eq!(attachment("na\u{ef}ve.txt"), "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt");
    }

    #[test]
    fn no_name_leaves_its_quotes() {
        let header = attachment("x\"; evil=\"y\r\nSet-Cookie: a\\");
        assert!(!header.contains('\r') && !header.contains('\n') && !header.contains('\\'), "{header}");
        assert_eq!(header.matches('"').count(), 2, "{header}");
    }
}
