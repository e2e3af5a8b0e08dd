//! The list of what is in a folder, as a page without any script.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::address::{encode, encode_path};
use super::registry::Shared;

/// What lies directly in `folder` (`""`, or a path with a slash at its end), as HTML with relative links: those who
/// walk, as `wget -r` does, stay within it. `None` when nothing is there.
pub(super) fn html(entries: &BTreeMap<String, Option<Shared>>, folder: &str) -> Option<String> {
    let mut lines = BTreeMap::new();
    let mut is_there = folder.is_empty();
    for path in entries.keys() {
        let Some(rest) = path.strip_prefix(folder) else {
            is_there |= format!("{path}/") == folder && entries.get(path).is_some_and(Option::is_none);
            continue;
        };
        let is_file = entries.get(path).is_some_and(Option::is_some);
        let (name, is_folder) = match rest.split_once('/') {
            Some((name, _)) => (name, true),
            None => (rest, !is_file),
        };
        if !name.is_empty() {
            lines.insert(name.to_owned(), is_folder);
        }
    }
    if lines.is_empty() && !is_there {
        return None;
    }
    let title = if folder.is_empty() { "Shared files" } else { folder.trim_end_matches('/') };
    let title = text(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n<ul>\n"
    );
    for (name, is_folder) in lines {
        let slash = if is_folder { "/" } else { "" };
        // `./` keeps a name with a colon from being read as an address.
        let line = writeln!(page, "<li><a href=\"./{}{slash}\">{}{slash}</a></li>", encode(&name), text(&name));
        line.ok()?;
    }
    page.push_str("</ul></body></html>\n");
    Some(page)
}

/// Where a folder's list is, for who left out the slash at its end.
pub(super) fn with_slash(prefix: &str, path: &str) -> String {
    format!("{prefix}{}/", encode_path(path))
}

/// Text that stays text in HTML; characters that only change how others are shown are written out.
fn text(name: &str) -> String {
    let shown = lanyard_transfer::display(name);
    shown.chars().fold(String::with_capacity(shown.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(paths: &[&str]) -> BTreeMap<String, Option<Shared>> {
        let shared = || Shared {
            path: "/nowhere".into(),
            version: tokio::sync::Mutex::default(),
            sent: std::sync::Mutex::default(),
            begun: std::sync::Mutex::default(),
        };
        paths.iter().map(|path| (path.trim_end_matches('/').to_owned(), (!path.ends_with('/')).then(shared))).collect()
    }

    #[test]
    fn ht_10_each_folder_lists_what_is_directly_in_it() {
        let entries = entries(&["trip/a b.txt", "trip/day 1/x", "trip/none/", "note.txt"]);
        let root = html(&entries, "").unwrap();
        assert!(root.contains("href=\"./note.txt\"") && root.contains("href=\"./trip/\""), "{root}");
        assert!(!root.contains("day"), "{root}");
        let trip = html(&entries, "trip/").unwrap();
        for link in ["./a%20b.txt", "./day%201/", "./none/"] {
            assert!(trip.contains(&format!("href=\"{link}\"")), "{trip}");
        }
        assert!(html(&entries, "trip/none/").is_some(), "an empty folder is there");
        for nothing in ["tri/", "x/", "note.txt/", "../"] {
            assert!(html(&entries, nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let page = html(&entries(&["<img src=x onerror=1>\".txt", "a\u{202e}b"]), "").unwrap();
        assert!(!page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    }
}
