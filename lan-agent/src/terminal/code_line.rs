//! The line in which a code is typed: it completes the words of the list. Pure; the console reads keys and draws.

use lanyard_pairing::Code;

/// Characters of one line: a link has about 80.
const MAX_CHARS: usize = 512;

/// What was typed so far.
#[derive(Debug, Default)]
pub(super) struct CodeLine {
    text: String,
    /// Inside an escape sequence of a key that means nothing here, such as an arrow.
    escape: Escape,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Sequence,
}

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Draw the line again.
    More,
    /// Enter was pressed: this is the line.
    Line(String),
    /// End of input on an empty line.
    End,
}

impl CodeLine {
    /// Takes one key's character.
    pub(super) fn handle_key(&mut self, key: char) -> Typed {
        match (std::mem::take(&mut self.escape), key) {
            (Escape::Begun, '[' | 'O') => self.escape = Escape::Sequence,
            (Escape::Begun, _) => {}
            (Escape::Sequence, '0'..='9' | ';') => self.escape = Escape::Sequence,
            (Escape::Sequence, _) => {}
            (Escape::None, '\x1b') => self.escape = Escape::Begun,
            (Escape::None, '\r' | '\n') => return Typed::Line(std::mem::take(&mut self.text)),
            (Escape::None, '\x04') if self.text.is_empty() => return Typed::End,
            (Escape::None, '\x08' | '\x7f') => drop(self.text.pop()),
            (Escape::None, '\x15') => self.text.clear(),
            (Escape::None, '\x17') => {
                let kept = self.text.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).trim_end_matches(['-', ' ']);
                self.text.truncate(kept.len());
            }
            (Escape::None, '\t') => self.complete(),
            (Escape::None, ' ') if self.is_code() => self.separate(),
            (Escape::None, key) if key.is_control() => {}
            (Escape::None, key) => {
                if self.text.chars().count() < MAX_CHARS {
                    self.text.push(key);
                }
            }
        }
        Typed::More
    }

    /// What was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What would come after it, were the first word that fits meant.
    pub(super) fn suggestion(&self) -> String {
        let first = Code::complete(&self.text).into_iter().next();
        first.and_then(|whole| whole.get(self.text.len()..).map(str::to_owned)).unwrap_or_default()
    }

    /// The words that fit, when there are several.
    pub(super) fn choices(&self) -> Vec<String> {
        let all = Code::complete(&self.text);
        if all.len() < 2 {
            return Vec::new();
        }
        all.iter().filter_map(|whole| whole.rsplit(['-', ' ']).next().map(str::to_owned)).collect()
    }

    /// Takes over what all words that fit have in common, and the hyphen after a first word that is certain.
    fn complete(&mut self) {
        let all = Code::complete(&self.text);
        let Some(first) = all.first() else { return };
        let common = all.iter().fold(first.len(), |common, other| common_len(&first[..common], other));
        let certain = all.len() == 1;
        self.text = first[..common].to_owned();
        if certain && self.words() == 1 {
            self.text.push('-');
        }
    }

    /// A space between the parts of a code is shown as its hyphen.
    fn separate(&mut self) {
        if self.text.chars().last().is_some_and(|last| last.is_ascii_alphanumeric()) {
            self.text.push('-');
        }
    }

    fn is_code(&self) -> bool {
        self.text.starts_with(|first: char| first.is_ascii_digit())
    }

    fn words(&self) -> usize {
        self.text.split(['-', ' ']).filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())).count()
    }
}

fn common_len(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> CodeLine {
        let mut line = CodeLine::default();
        for key in keys.chars() {
            assert_eq!(line.handle_key(key), Typed::More);
        }
        line
    }

    #[test]
    fn tab_completes_both_words_and_sets_the_hyphens() {
        let mut line = typed("4821 pian\ttige\t");
        assert_eq!(line.text(), "4821-piano-tiger");
        assert_eq!(line.handle_key('\r'), Typed::Line("4821-piano-tiger".to_owned()));
    }

    #[test]
    fn the_rest_of_the_word_is_suggested_while_typing() {
        assert_eq!(typed("4821-pia").suggestion(), "no");
        assert_eq!(typed("4821-PIA").suggestion(), "no");
        assert_eq!(typed("4821-").suggestion(), "");
        assert_eq!(typed("http://a").suggestion(), "");
    }

    #[test]
    fn where_several_words_fit_tab_goes_as_far_as_they_agree_and_they_are_listed() {
        let line = typed("4821-ac\t");
        assert_eq!(line.text(), "4821-ac");
        assert!(line.choices().contains(&"acid".to_owned()) && line.choices().len() == 8);
        assert_eq!(typed("4821-exerc").choices(), Vec::<String>::new());
        assert_eq!(typed("4821-abs\t").text(), "4821-abs");
        assert_eq!(typed("4821-abst\t").text(), "4821-abstract-");
    }

    #[test]
    fn keys_for_correction_work_and_others_do_nothing() {
        assert_eq!(typed("48x\x7f21").text(), "4821");
        assert_eq!(typed("4821-piano\x17").text(), "4821");
        assert_eq!(typed("4821\x15 9").text(), " 9");
        assert_eq!(typed("48\x1b[D\x1b[3~21\x1bOA\x01").text(), "4821");
        assert_eq!(CodeLine::default().handle_key('\x04'), Typed::End);
    }

    #[test]
    fn a_link_is_taken_as_it_is_pasted() {
        let link = "https://relay.example/#1.Xl5eXl5eXl5eXl5eXl5eXg.VHDUm6COrssguteyVJJeZQ";
        assert_eq!(typed(link).text(), link);
    }
}
