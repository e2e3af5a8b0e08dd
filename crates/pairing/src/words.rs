//! The 2048 words of spoken codes: the English list of BIP-39. No two share their first four letters.

/// All words, sorted.
#[must_use]
pub fn words() -> &'static [&'static str] {
    &WORDS
}

/// The words that begin with `prefix`, sorted, for completion. Case does not matter; an empty prefix has none.
#[must_use]
pub fn complete(prefix: &str) -> &'static [&'static str] {
    let prefix = prefix.to_ascii_lowercase();
    if prefix.is_empty() {
        return &[];
    }
    let start = WORDS.partition_point(|word| *word < prefix.as_str());
    let len = WORDS[start..].partition_point(|word| word.starts_with(&prefix));
    &WORDS[start..start + len]
}

/// The place of a lower-case word in the list.
pub(crate) fn index_of(word: &str) -> Option<usize> {
    WORDS.binary_search(&word).ok()
}

static TEXT: &str = include_str!("words_english.txt");
static WORDS: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| TEXT.lines().collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_the_one_of_bip_39() {
        assert_eq!(words().len(), 2048);
        assert!(words().is_sorted());
        let digest = <sha2::Sha256 as sha2::Digest>::digest(TEXT.as_bytes());
        let expected = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda";
        assert_eq!(data_encoding::HEXLOWER.encode(&digest), expected);
    }

    #[test]
    fn four_letters_complete_to_one_word() {
        for word in words().iter().filter(|word| word.len() >= 4) {
            assert_eq!(complete(&word[..4]), [*word]);
        }
        assert_eq!(complete("PIAN"), ["piano"]);
        assert_eq!(complete("act"), ["act", "action", "actor", "actress", "actual"]);
        assert!(complete("").is_empty());
        assert!(complete("zzz").is_empty());
    }
}
