//! Spoken codes: `4821-piano-tiger` (PA-4).

use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::words;

/// A nameplate that the relay knows, and two words that it does not: 22 bits, good for one guess.
///
/// What counts is the digits and the letters of both words in a row, so hyphens, spaces and case never matter.
#[derive(Clone)]
pub struct Code {
    nameplate: String,
    words: [&'static str; 2],
}

impl Code {
    /// The longest text that is read as a code, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Draws two words for a nameplate that the relay drew (SAFETY §3: the relay's part is independent of the words).
    ///
    /// # Errors
    /// [`CodeError::NoNumber`] when the nameplate is not 4 to 6 digits.
    pub fn generate(nameplate: &str, rng: &mut impl CryptoRng) -> Result<Self, CodeError> {
        if !is_nameplate(nameplate) {
            return Err(CodeError::NoNumber);
        }
        let mut draw = || {
            let mut bytes = [0; 2];
            rng.fill_bytes(&mut bytes);
            // 2048 divides 65536, so every word is equally likely.
            words::words()[usize::from(u16::from_be_bytes(bytes)) % words::words().len()]
        };
        Ok(Self { nameplate: nameplate.to_owned(), words: [draw(), draw()] })
    }

    /// Reads what a person typed, ignoring case, white space, hyphens and dashes.
    ///
    /// # Errors
    /// Says what is missing, before anything is sent: a typing error does not burn the code.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > Self::MAX_BYTES {
            return Err(CodeError::TooLong);
        }
        let compact: Zeroizing<String> = Zeroizing::new(
            text.chars().filter(|&letter| !is_separator(letter)).map(|letter| letter.to_ascii_lowercase()).collect(),
        );
        if let Some(strange) = compact.chars().find(|letter| !letter.is_ascii_alphanumeric()) {
            return Err(CodeError::StrangeCharacter(strange));
        }
        let digits = compact.bytes().take_while(u8::is_ascii_digit).count();
        let (nameplate, letters) = compact.split_at(digits);
        if !is_nameplate(nameplate) {
            return Err(CodeError::NoNumber);
        }
        if letters.is_empty() {
            return Err(CodeError::NoWords);
        }
        let words = split_words(letters).ok_or(CodeError::NotTwoWords)?;
        Ok(Self { nameplate: nameplate.to_owned(), words })
    }

    /// Whole texts that what was typed so far may become, at most eight, for completion. Only the last word grows.
    #[must_use]
    pub fn complete(text: &str) -> Vec<String> {
        if text.len() > Self::MAX_BYTES || !text.trim_start().starts_with(|first: char| first.is_ascii_digit()) {
            return Vec::new();
        }
        let head = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let begun = &text[head.len()..];
        words::complete(begun).iter().take(8).map(|word| format!("{head}{word}")).collect()
    }

    /// The digits, as the relay has them.
    #[must_use]
    pub fn nameplate(&self) -> &str {
        &self.nameplate
    }

    /// The two words. Where letters in a row can be cut in two ways, one of them.
    #[must_use]
    pub fn words(&self) -> [&'static str; 2] {
        self.words
    }

    /// What to show and to read out: `4821-piano-tiger`. Never log it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}-{}-{}", self.nameplate, self.words[0], self.words[1]))
    }

    /// The letters of both words in a row.
    pub(crate) fn password(&self) -> Zeroizing<String> {
        Zeroizing::new(self.words.concat())
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.nameplate.zeroize();
        self.words = [""; 2];
    }
}

/// Why a text is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Longer than [`Code::MAX_BYTES`].
    #[error("this is too long for a code: a code is a number and two words, such as 4821-piano-tiger")]
    TooLong,
    /// It does not begin with 4 to 6 digits.
    #[error("a code begins with a number of 4 to 6 digits, such as 4821-piano-tiger")]
    NoNumber,
    /// The words are missing; the number alone protects nothing.
    #[error("the two words are missing: type the whole code, such as 4821-piano-tiger")]
    NoWords,
    /// The letters are not two words of the list.
    #[error("these are not two words of the list: check the spelling, the words complete while you type")]
    NotTwoWords,
    /// Something else than digits, letters, spaces and hyphens.
    #[error("{0:?} does not belong in a code: a code is a number and two words, such as 4821-piano-tiger")]
    StrangeCharacter(char),
}

impl CodeError {
    /// The name both languages and the vectors use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NoNumber => "no_number",
            Self::NoWords => "no_words",
            Self::NotTwoWords => "not_two_words",
            Self::StrangeCharacter(_) => "strange_character",
        }
    }
}

fn is_nameplate(text: &str) -> bool {
    (4..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// White space, the hyphen, and the dashes that keyboards make of it.
fn is_separator(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The longest first word for which the rest is a word too.
fn split_words(letters: &str) -> Option<[&'static str; 2]> {
    (1..letters.len()).rev().find_map(|at| {
        let (first, second) = letters.split_at(at);
        let (first, second) = (words::index_of(first)?, words::index_of(second)?);
        Some([words::words()[first], words::words()[second]])
    })
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../vectors/codes.json")).unwrap()
    }

    #[test]
    fn every_valid_code_is_read_the_same_however_it_is_typed() {
        for case in vectors()["valid"].as_array().unwrap() {
            let code = Code::parse(case["text"].as_str().unwrap()).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(code.nameplate(), case["nameplate"]);
            // Where letters in a row can be cut in two ways, both are one password.
            assert_eq!(*code.password(), case["letters"]);
            assert_eq!(*code.to_text(), case["shown"]);
        }
    }

    #[test]
    fn every_invalid_code_is_refused_with_its_reason() {
        for case in vectors()["invalid"].as_array().unwrap() {
            let error = Code::parse(case["text"].as_str().unwrap()).err().map(|error| error.name());
            assert_eq!(error, case["error"].as_str(), "{case}");
        }
    }

    #[test]
    fn completion_grows_only_the_last_word() {
        for case in vectors()["completions"].as_array().unwrap() {
            assert_eq!(Value::from(Code::complete(case["text"].as_str().unwrap())), case["whole"], "{case}");
        }
    }

    #[test]
    fn generated_code_reads_back() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        for _ in 0..100 {
            let code = Code::generate("4821", &mut rng).unwrap();
            let read = Code::parse(&code.to_text()).unwrap();
            assert_eq!((read.nameplate(), read.password()), (code.nameplate(), code.password()));
        }
        assert_eq!(Code::generate("48", &mut rng).err(), Some(CodeError::NoNumber));
    }
}
