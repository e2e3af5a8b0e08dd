//! Amounts and times in the words of the product: decimal units, one decimal under ten.

use std::time::Duration;

/// `3.6 GB`, `38 MB`, `512 B`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let mut amount = count as f64 / 1000.0;
    let mut unit = 0;
    // 999.5 would round to "1000".
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(amount < 9.95);
    format!("{amount:.decimals$} {}", UNITS[unit])
}

/// `35 s`, `4 min`, `1 h 10 min`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60).min(59)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Shortens a name to `columns` characters with an ellipsis in the middle; what follows the last dot stays.
#[must_use]
pub fn shorten(name: &str, columns: usize) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= columns || columns < 5 {
        return characters.into_iter().take(columns.max(1)).collect();
    }
    let extension = characters.iter().rposition(|&c| c == '.').map_or(0, |dot| characters.len() - dot);
    let tail = extension.clamp((columns - 1) / 3, columns - 2);
    let head = columns - 1 - tail;
    characters[..head].iter().chain(['…'].iter()).chain(characters[characters.len() - tail..].iter()).collect()
}

/// Breaks sentences between words, so that a terminal of that many columns does not break them within one. What has no
/// space, such as a link, stays whole.
pub(super) fn wrap(text: &str, columns: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    let mut column = 0;
    for (at, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > columns && column > 0 {
            wrapped.push('\n');
            column = 0;
        } else if at > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column = word.rsplit_once('\n').map_or(column + width, |(_, last)| last.chars().count());
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_break_between_words_and_links_do_not_break() {
        assert_eq!(wrap("Nothing was moved.", 80), "Nothing was moved.");
        assert_eq!(wrap("Sent it, checked by the other device.", 16), "Sent it, checked\nby the other\ndevice.");
        assert_eq!(wrap("See http://192.168.1.5:53380/ now", 10), "See\nhttp://192.168.1.5:53380/\nnow");
        assert_eq!(wrap("two\nlines of it", 9), "two\nlines of\nit");
        assert_eq!(wrap("", 10), "");
    }

    #[test]
    fn bytes_are_decimal_with_one_decimal_under_ten() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_960, "10 kB"),
            (999_499, "999 kB"),
            (999_600, "1.0 MB"),
            (3_600_000_000, "3.6 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (230, "4 min"), (3599, "59 min"), (4200, "1 h 10 min")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn long_names_lose_their_middle_and_keep_their_extension() {
        assert_eq!(shorten("short.txt", 20), "short.txt");
        let cut = shorten("a very long name of a holiday picture.jpeg", 20);
        assert_eq!(cut.chars().count(), 20);
        assert!(cut.starts_with("a very") && cut.ends_with(".jpeg"), "{cut}");
    }
}
